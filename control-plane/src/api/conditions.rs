//! Conditions on what is there before a write (RFC 9110, 13): `If-Match` guards against a lost update, `If-None-Match`
//! makes a write create only. They are judged on the configuration that the change is worked out on.

use super::form::{Form, Tag, Tags};
use crate::commit::Refusal;
use http::{HeaderMap, header};
use proto::resource::Hash;

/// The conditions of one request.
#[derive(Clone, Debug)]
pub(crate) struct Conditions {
    matches: Option<Tags>,
    none_matches: Option<Tags>,
}

impl Conditions {
    /// Reads the conditions of a request.
    pub(crate) fn read(headers: &HeaderMap) -> Conditions {
        Conditions {
            matches: Tags::read(headers.get_all(header::IF_MATCH).iter()),
            none_matches: Tags::read(headers.get_all(header::IF_NONE_MATCH).iter()),
        }
    }

    /// Refuses when what is there, by its digest, does not meet the conditions.
    pub(crate) fn check(&self, current: Option<Hash>) -> Result<(), Refusal> {
        let refuse = |detail: String| Err(Refusal::Precondition { detail });
        let now = |digest| format!("its ETag is {} now; read it again", Tag::of(digest, Form::Json).as_str());
        match (&self.matches, current) {
            (Some(_), None) => return refuse("If-Match: it does not exist".into()),
            (Some(tags), Some(digest)) if !tags.has(digest) => return refuse(format!("If-Match: {}", now(digest))),
            (Some(_), Some(_)) | (None, _) => {}
        }
        match (&self.none_matches, current) {
            (Some(Tags::Any), Some(_)) => refuse("If-None-Match: it exists already".into()),
            (Some(tags), Some(digest)) if tags.has(digest) => refuse(format!("If-None-Match: {}", now(digest))),
            (Some(_), Some(_) | None) | (None, _) => Ok(()),
        }
    }
}
