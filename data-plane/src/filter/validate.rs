//! Let only bodies pass that fit a JSON Schema. They are judged after all other filters let the request pass, so that nothing
//! is read for somebody who is not let in.

use crate::{
    context::{Context, Reading, RequestBody, Whole},
    error::{Error, Fault, Refusal},
};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use http_body::Body;
use proto::policy::Validate;
use std::{borrow::Cow, sync::Arc};

/// The policy, alive.
#[derive(Debug)]
pub(crate) struct ValidateFilter {
    policy: Arc<Validate>,
}

/// A body that was judged.
pub(super) struct Judged {
    /// What is sent on, if it is.
    pub(super) body: RequestBody,
    /// Why it should not be.
    pub(super) refused: Option<Error>,
}

// === impl ValidateFilter ===

impl ValidateFilter {
    pub(super) fn build(policy: &Arc<Validate>) -> ValidateFilter {
        ValidateFilter { policy: policy.clone() }
    }

    /// Judges the body; an error where it did not come whole.
    pub(super) async fn judge(
        &self,
        context: &Context,
        body: RequestBody,
        reading: Reading<'_>,
    ) -> Result<Judged, Error> {
        let policy = &*self.policy;
        let refuse = |body, refusal| Ok(Judged { body, refused: Some(Error::Denied(Box::new(refusal))) });
        if body.is_end_stream() {
            let has_none = [Method::GET, Method::HEAD, Method::DELETE, Method::OPTIONS].contains(&context.method);
            return match policy.optional || has_none {
                true => Ok(Judged { body, refused: None }),
                false => {
                    refuse(body, refusal(StatusCode::BAD_REQUEST, "body_missing", "the request has no body".into()))
                }
            };
        }
        if !self.takes(&context.headers) {
            let detail =
                format!("the body is of a type that cannot be judged; send {}", policy.content_types.join(", "));
            return refuse(body, refusal(StatusCode::UNSUPPORTED_MEDIA_TYPE, "content_type", detail.into()));
        }
        let read = match reading.read(body, policy.max_body).await.map_err(Error::Upload)? {
            Whole::Read(read) => read,
            Whole::TooLarge(body) => {
                let detail = format!("the body is larger than {} bytes", policy.max_body);
                return refuse(body, refusal(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", detail.into()));
            }
        };
        let judged = policy.judge(&read);
        let body = RequestBody::Whole(Some(read).filter(|read: &Bytes| !read.is_empty()));
        match judged {
            Ok(faults) if faults.is_empty() => Ok(Judged { body, refused: None }),
            Ok(faults) => Ok(Judged { body, refused: Some(Error::BodyInvalid(faults)) }),
            Err(fault) => {
                let detail = format!("the body is no JSON that everybody reads alike: {fault}");
                refuse(body, refusal(StatusCode::BAD_REQUEST, "body_malformed", detail.into()))
            }
        }
    }

    // One type, and no coding, which would have to be undone.
    fn takes(&self, headers: &HeaderMap) -> bool {
        let mut types = headers.get_all(header::CONTENT_TYPE).iter();
        let is_taken = |content_type: &HeaderValue| self.policy.takes(content_type.as_bytes());
        types.next().is_some_and(is_taken) && types.next().is_none() && !headers.contains_key(header::CONTENT_ENCODING)
    }
}

fn refusal(status: StatusCode, reason: &'static str, detail: Cow<'static, str>) -> Refusal {
    Refusal { status, fault: Fault::Client, reason, detail: detail.into(), headers: Vec::new() }
}
