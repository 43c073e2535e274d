//! What policies that do not stand at a route have to know of it.

use proto::{matching::PathPattern, name::Name, route::Route};

/// The route of a request.
#[derive(Debug)]
pub(crate) struct Routed {
    /// Its name.
    pub(crate) name: Name,
    /// The names that its path captures, in their order.
    pub(crate) variables: Box<[String]>,
    /// The kinds of policies that do not hold for it.
    pub(crate) disabled: Box<[&'static str]>,
}

// === impl Routed ===

impl Routed {
    /// A route, as policies see it.
    pub(crate) fn new(route: &Route) -> Routed {
        Routed {
            name: route.name.clone(),
            variables: variables(route).into(),
            disabled: route.disable.as_slice().into(),
        }
    }
}

/// The names that the route's path captures, in their order.
pub(crate) fn variables(route: &Route) -> &[String] {
    match &route.matches.path {
        PathPattern::Template(template) => &template.variables,
        PathPattern::Any | PathPattern::Exact(_) | PathPattern::Prefix(_) | PathPattern::Regex(_) => &[],
    }
}
