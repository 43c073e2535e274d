//! Who asks for something: the name and role of the token, and the request that it came with.

use otel::TraceContext;
use std::{fmt, net::IpAddr};
use uuid::Uuid;

/// The name that the token of the settings has in the history and the audit.
pub const BOOTSTRAP: &str = "bootstrap";

/// What a token may do; each role may do what the ones before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Reads the configuration, the history and the nodes.
    Viewer,
    /// Writes the configuration.
    Editor,
    /// Decides who may do what, and reads who did what.
    Admin,
}

/// All roles, the least first.
pub const ROLES: [Role; 3] = [Role::Viewer, Role::Editor, Role::Admin];

/// Who asks, and by which request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Author {
    /// The name of the token.
    pub name: String,
    /// Tells the token from others of that name; `None`: that of the settings.
    pub token: Option<Uuid>,
    /// What it may do.
    pub role: Role,
    /// Where the request comes from.
    pub peer: Option<IpAddr>,
    /// The id of the request.
    pub request_id: String,
    /// The method of the request.
    pub method: String,
    /// Its path, as the API describes it.
    pub path: String,
    /// The span of the request, if it is traced.
    pub trace: Option<TraceContext>,
}

// === impl Role ===

impl Role {
    /// The role as it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Role::Viewer => "viewer",
            Role::Editor => "editor",
            Role::Admin => "admin",
        }
    }

    /// Reads a role.
    pub fn parse(text: &str) -> Option<Role> {
        ROLES.into_iter().find(|role| role.as_str() == text)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

// === impl Author ===

impl Author {
    /// Somebody inside of this process, without a request.
    pub fn inside(name: &str) -> Author {
        let (request_id, method, path) = (String::new(), String::new(), String::new());
        Author { name: name.into(), token: None, role: Role::Admin, peer: None, request_id, method, path, trace: None }
    }
}
