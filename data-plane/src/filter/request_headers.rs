//! Change the headers of the request: remove, then set, then add.
//!
//! What a policy sets is the gateway's word: whatever the client sent under that name is taken out first, also where the
//! policy has nothing to say for this request, and also where the client wrote an underscore for a dash, which many servers
//! take for the same. Values are made of the request as it came.

use super::{header_text::HeaderText, verdict::Verdict};
use crate::{
    context::{Context, remove_alike},
    error::{Fault, Refusal},
};
use http::{HeaderName, HeaderValue, StatusCode};
use proto::{policy::RequestHeaders, template::RenderError};

/// The policy, alive.
#[derive(Debug)]
pub(crate) struct RequestHeadersFilter {
    remove: Vec<HeaderName>,
    set: Vec<(HeaderName, HeaderText)>,
    add: Vec<(HeaderName, HeaderText)>,
}

// === impl RequestHeadersFilter ===

impl RequestHeadersFilter {
    pub(super) fn build(policy: &RequestHeaders) -> RequestHeadersFilter {
        RequestHeadersFilter {
            remove: policy.remove.clone(),
            set: HeaderText::build_all(&policy.set),
            add: HeaderText::build_all(&policy.add),
        }
    }

    pub(super) fn request(&self, context: &mut Context) -> Verdict<'static> {
        // Before anything is taken out: one header may become another.
        let written = self.set.iter().chain(&self.add).map(|(_, text)| text.render(context));
        let written: Result<Vec<Option<HeaderValue>>, RenderError> = written.collect();
        let headers = &mut context.headers;
        remove_alike(headers, self.remove.iter().chain(self.set.iter().map(|(name, _)| name)));
        let written = match written {
            Ok(written) => written,
            Err(error) => {
                return Verdict::refuse(Refusal {
                    status: StatusCode::BAD_REQUEST,
                    fault: Fault::Client,
                    reason: "request_headers",
                    detail: format!("a header of the request cannot be made: {error}").into(),
                    headers: Vec::new(),
                });
            }
        };
        let (set, add) = written.split_at(self.set.len());
        for ((name, _), value) in self.set.iter().zip(set) {
            if let Some(value) = value {
                headers.insert(name, value.clone());
            }
        }
        for ((name, _), value) in self.add.iter().zip(add) {
            if let Some(value) = value {
                headers.append(name, value.clone());
            }
        }
        Verdict::CONTINUE
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::verdict::Said;
    use http::Method;
    use proto::template::{Target, Template};

    fn filter(set: &[(&'static str, &str)], add: &[(&'static str, &str)]) -> RequestHeadersFilter {
        let build = |headers: &[(&'static str, &str)]| {
            let text = |text: &str| Template::parse(text, Target::HeaderValue, None).unwrap();
            let header =
                |(name, value): &(&'static str, &str)| (HeaderName::from_static(name), HeaderText::build(&text(value)));
            headers.iter().map(header).collect()
        };
        RequestHeadersFilter { remove: vec![HeaderName::from_static("x-old")], set: build(set), add: build(add) }
    }

    fn ask(filter: &RequestHeadersFilter, sent: &[(&str, &str)]) -> Result<Vec<(String, String)>, &'static str> {
        let mut context = Context::of_request(Method::GET, "/x?q=%0a");
        for (name, value) in sent {
            context.headers.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        }
        let Verdict::Now(said) = filter.request(&mut context) else { panic!("it waits") };
        match said {
            Said::Refuse(refusal) => Err(refusal.reason),
            Said::Continue => {
                let text = |(name, value): (&HeaderName, &HeaderValue)| {
                    (name.to_string(), value.to_str().unwrap().to_string())
                };
                Ok(context.headers.iter().map(text).collect())
            }
            Said::Absent(_) | Said::Answer(_) => panic!("it says something else"),
        }
    }

    #[test]
    fn what_it_sets_is_its_own_word() {
        let pairs = |pairs: &[(&str, &str)]| {
            Ok(pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect::<Vec<_>>())
        };
        let known = filter(&[("x-id", "{header.x-old}"), ("x-user", "{claims.sub}")], &[("x-tag", "new")]);
        let sent = [("x_user", "eve"), ("x-user", "eve"), ("x-user", "bob"), ("x-old", "7"), ("x-tag", "old")];
        // Nobody is known, so the header is not there; what was under another name before is.
        assert_eq!(ask(&known, &sent), pairs(&[("x-tag", "old"), ("x-tag", "new"), ("x-id", "7")]));
        assert_eq!(ask(&known, &[]), pairs(&[("x-tag", "new")]));
        assert_eq!(ask(&filter(&[("x-q", "{query.q}")], &[]), &[]), Err("request_headers"));
    }
}
