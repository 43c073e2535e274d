//! One line: what the log can say of a request, and how the policy has it written.

use super::{clock::WallClock, push_digits};
use crate::{
    context::{Decision, hex},
    json,
    pool::Phases,
    telemetry::version_label,
};
use http::{HeaderMap, Version};
use proto::{
    matching::Scheme,
    policy::{LogField, LogForm, LogPiece, LoggedHeader},
};
use std::time::{Duration, Instant};

/// How much of what a client sent in one header is told.
const MAX_TOLD: usize = 256;
/// What is told of a credential.
const REDACTED: &[u8] = b"[redacted]";

/// One request.
#[derive(Debug)]
pub(crate) struct Line<'a> {
    pub(crate) method: &'a str,
    pub(crate) path: &'a [u8],
    pub(crate) scheme: Scheme,
    pub(crate) version: Version,
    pub(crate) host: &'a [u8],
    pub(crate) client: &'a str,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) user_agent: &'a [u8],
    pub(crate) request_id: &'a [u8],
    pub(crate) trace: u128,
    pub(crate) span: u64,
    pub(crate) status: u16,
    pub(crate) route: Option<(&'a str, &'a str)>,
    pub(crate) upstream: Option<&'a str>,
    pub(crate) endpoint: Option<&'a str>,
    pub(crate) duration: Duration,
    pub(crate) phases: Option<Phases>,
    pub(crate) received: u64,
    pub(crate) sent: u64,
    pub(crate) retries: u32,
    pub(crate) reason: Option<&'a str>,
    pub(crate) decisions: &'a [Decision],
    pub(crate) subject: Option<&'a str>,
    pub(crate) revision: u64,
}

// What a field says.
enum Value<'a> {
    Now,
    /// Chosen by others.
    Text(&'a [u8]),
    /// Of characters that JSON takes as they are, by what it is: a name, a token, an address.
    Plain(&'a str),
    Number(u64),
    Seconds(Duration),
    Trace(u128),
    Span(u64),
    Shadowed(&'a [Decision]),
}

// === impl Line ===

impl Line<'_> {
    /// Whether it is of a request that failed.
    pub(super) fn failed(&self) -> bool {
        self.status >= 500 || self.reason.is_some()
    }

    /// Appends the line.
    pub(super) fn format(&self, form: &LogForm, clock: &mut WallClock, now: Instant, out: &mut Vec<u8>) {
        match form {
            LogForm::Off => return,
            LogForm::Json(fields, headers) => self.json((fields, headers), clock, now, out),
            LogForm::Text(pieces) => self.text(pieces, clock, now, out),
        }
        out.push(b'\n');
    }

    fn json(&self, told: (&[LogField], &[LoggedHeader]), clock: &mut WallClock, now: Instant, out: &mut Vec<u8>) {
        let begin = out.len();
        for field in told.0 {
            let Some(value) = self.value(*field) else { continue };
            out.extend_from_slice(field.key().as_bytes());
            match value {
                Value::Now
                | Value::Text(_)
                | Value::Plain(_)
                | Value::Trace(_)
                | Value::Span(_)
                | Value::Shadowed(_) => {
                    out.push(b'"');
                    value.append(clock, now, out);
                    out.push(b'"');
                }
                Value::Number(_) | Value::Seconds(_) => value.append(clock, now, out),
            }
        }
        for header in told.1 {
            if !self.headers.contains_key(&header.name) {
                continue;
            }
            out.extend_from_slice(header.key.as_bytes());
            out.extend_from_slice(b"[\"");
            self.header(header, b"\",\"", out);
            out.extend_from_slice(b"\"]");
        }
        // A comma stands before each, but the first opens the object.
        match out.get_mut(begin) {
            Some(first) => *first = b'{',
            None => out.push(b'{'),
        }
        out.push(b'}');
    }

    fn text(&self, pieces: &[LogPiece], clock: &mut WallClock, now: Instant, out: &mut Vec<u8>) {
        for piece in pieces {
            match piece {
                LogPiece::Text(text) => out.extend_from_slice(text.as_bytes()),
                LogPiece::Field(field) => match self.value(*field) {
                    Some(value) => value.append(clock, now, out),
                    None => out.push(b'-'),
                },
                LogPiece::Header(header) if self.headers.contains_key(&header.name) => self.header(header, b", ", out),
                LogPiece::Header(_) => out.push(b'-'),
            }
        }
    }

    // Its values, up to a limit.
    fn header(&self, header: &LoggedHeader, between: &[u8], out: &mut Vec<u8>) {
        let mut left = MAX_TOLD;
        for (at, value) in self.headers.get_all(&header.name).iter().enumerate() {
            if left == 0 {
                return;
            }
            if at > 0 {
                out.extend_from_slice(between);
            }
            // A policy has read a credential there.
            let mut value = if value.is_sensitive() { REDACTED } else { value.as_bytes() };
            if header.is_address() {
                value = value.split(|byte| matches!(byte, b'?' | b'#')).next().unwrap_or_default();
            }
            let told = &value[..value.len().min(left)];
            json::escape(told, out);
            left -= told.len();
        }
    }

    fn value(&self, field: LogField) -> Option<Value<'_>> {
        let phases = self.phases.as_ref();
        Some(match field {
            LogField::Timestamp => Value::Now,
            LogField::Method => Value::Plain(self.method),
            LogField::Path => Value::Text(self.path),
            LogField::Scheme => Value::Plain(self.scheme.as_str()),
            LogField::Version => Value::Plain(version_label(self.version)),
            LogField::Status => Value::Number(self.status.into()),
            LogField::Duration => Value::Seconds(self.duration),
            LogField::PhaseGateway => Value::Seconds(phases?.gateway),
            LogField::PhaseTries => Value::Seconds(phases.map(|phases| phases.tries).filter(|tries| !tries.is_zero())?),
            LogField::PhaseConnect => Value::Seconds(phases?.connect?),
            LogField::PhaseUpstream => Value::Seconds(phases?.upstream),
            LogField::PhaseBody => Value::Seconds(phases?.body),
            LogField::Client => Value::Plain(self.client),
            LogField::Host => Value::Text(self.host),
            LogField::UserAgent if self.user_agent.is_empty() => return None,
            LogField::UserAgent => Value::Text(&self.user_agent[..self.user_agent.len().min(MAX_TOLD)]),
            LogField::RequestId => Value::Text(self.request_id),
            LogField::TraceId => Value::Trace(self.trace),
            LogField::SpanId => Value::Span(self.span),
            LogField::Route => Value::Plain(self.route?.0),
            LogField::RouteLabel => Value::Text(self.route?.1.as_bytes()),
            LogField::Upstream => Value::Plain(self.upstream?),
            LogField::Endpoint => Value::Text(self.endpoint?.as_bytes()),
            LogField::Reason => Value::Plain(self.reason?),
            LogField::Policy => {
                let refused = self.decisions.iter().find(|decision| !decision.shadow)?;
                Value::Plain(refused.policy.as_str())
            }
            LogField::Shadowed if self.decisions.iter().any(|decision| decision.shadow) => {
                Value::Shadowed(self.decisions)
            }
            LogField::Shadowed => return None,
            LogField::Subject => {
                let subject = self.subject?.as_bytes();
                Value::Text(&subject[..subject.len().min(MAX_TOLD)])
            }
            LogField::Received => Value::Number(self.received),
            LogField::Sent => Value::Number(self.sent),
            LogField::Retries => Value::Number(self.retries.into()),
            LogField::Revision => Value::Number(self.revision),
        })
    }
}

// === impl Value ===

impl Value<'_> {
    // Without what stands around it.
    fn append(&self, clock: &mut WallClock, now: Instant, out: &mut Vec<u8>) {
        match self {
            Value::Now => clock.append(now, out),
            Value::Text(text) => json::escape(text, out),
            Value::Plain(text) => out.extend_from_slice(text.as_bytes()),
            Value::Number(number) => out.extend_from_slice(itoa::Buffer::new().format(*number).as_bytes()),
            Value::Seconds(duration) => seconds(*duration, out),
            Value::Trace(id) => digits::<32>(*id, out),
            Value::Span(id) => digits::<16>((*id).into(), out),
            Value::Shadowed(decisions) => {
                for (at, decision) in decisions.iter().filter(|decision| decision.shadow).enumerate() {
                    if at > 0 {
                        out.push(b',');
                    }
                    // Neither has a character that would have to be escaped.
                    out.extend_from_slice(decision.policy.as_str().as_bytes());
                    out.push(b':');
                    out.extend_from_slice(decision.reason.as_bytes());
                }
            }
        }
    }
}

fn digits<const N: usize>(number: u128, out: &mut Vec<u8>) {
    let mut digits = [0; N];
    hex(number, &mut digits);
    out.extend_from_slice(&digits);
}

// Seconds with six decimals.
fn seconds(duration: Duration, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(duration.as_secs()).as_bytes());
    out.push(b'.');
    push_digits::<6>(duration.subsec_micros(), out);
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use http::HeaderName;
    use std::sync::LazyLock;

    pub(in crate::telemetry::access_log) fn line() -> Line<'static> {
        static HEADERS: LazyLock<HeaderMap> = LazyLock::new(HeaderMap::new);
        let second = Duration::from_secs(1);
        Line {
            method: "GET",
            path: b"/a\"\n",
            scheme: Scheme::Https,
            version: Version::HTTP_2,
            host: b"api.example",
            client: "10.0.0.1",
            headers: &HEADERS,
            user_agent: b"curl",
            request_id: b"7",
            trace: 0xa1,
            span: 2,
            status: 200,
            route: Some(("orders", "/orders/*")),
            upstream: Some("orders"),
            endpoint: Some("o:80"),
            duration: Duration::from_micros(1_002_003),
            phases: Some(Phases {
                gateway: second,
                tries: Duration::ZERO,
                connect: None,
                upstream: second,
                body: second,
            }),
            received: 1,
            sent: 2,
            retries: 3,
            reason: None,
            decisions: &[],
            subject: None,
            revision: 4,
        }
    }

    fn written(line: &Line<'_>, form: &LogForm) -> String {
        let mut out = Vec::new();
        line.format(form, &mut WallClock::new(), Instant::now(), &mut out);
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text.find('\n'), text.len().checked_sub(1), "a line is a line");
        text
    }

    fn header(name: &'static str) -> LoggedHeader {
        LoggedHeader { name: HeaderName::from_static(name), key: format!(",\"http.request.header.{name}\":") }
    }

    fn all() -> LogForm {
        LogForm::Json(LogField::ALL.to_vec(), Vec::new())
    }

    #[test]
    fn a_line_is_one_json_object() {
        let value: serde_json::Value = serde_json::from_str(&written(&line(), &all())).unwrap();
        assert_eq!(value["url.path"], "/a\"\n");
        assert_eq!(value["duration"], 1.002003);
        assert_eq!((&value["phase.upstream"], &value["phase.tries"]), (&1.0.into(), &serde_json::Value::Null));
        assert_eq!((&value["retries"], &value["revision"]), (&3.into(), &4.into()));
        assert_eq!(value["trace_id"], "000000000000000000000000000000a1");
        assert_eq!(value["span_id"], "0000000000000002");
        assert_eq!((&value["url.scheme"], &value["network.protocol.version"]), (&"https".into(), &"2".into()));
        let refused = Line { reason: Some("no_route"), route: None, upstream: None, endpoint: None, ..line() };
        let value: serde_json::Value = serde_json::from_str(&written(&refused, &all())).unwrap();
        assert_eq!((&value["reason"], &value["route"]), (&"no_route".into(), &serde_json::Value::Null));
    }

    #[test]
    fn a_method_has_nothing_to_escape() {
        for byte in 0..=u8::MAX {
            let mut out = Vec::new();
            json::escape(&[byte], &mut out);
            assert!(out == [byte] || http::Method::from_bytes(&[byte]).is_err(), "{byte}");
        }
    }

    #[test]
    fn a_line_has_what_the_policy_wants() {
        let mut headers = HeaderMap::new();
        for (name, value) in [("x-tenant", "a\"b"), ("x-tenant", "c"), ("referer", "https://a/b?token=hush#x")] {
            headers.append(name, value.parse().unwrap());
        }
        headers.insert("x-long", "x".repeat(300).parse().unwrap());
        let line = Line { headers: &headers, route: None, ..line() };
        let told = ["x-tenant", "x-none", "referer", "x-long"].map(header);
        let json = |fields: &[LogField]| written(&line, &LogForm::Json(fields.to_vec(), told.to_vec()));
        let long = "x".repeat(256);
        let expect = format!(
            "\"http.request.header.x-tenant\":[\"a\\\"b\",\"c\"],\"http.request.header.referer\":[\"https://a/b\"],\
             \"http.request.header.x-long\":[\"{long}\"]}}\n"
        );
        assert_eq!(json(&[LogField::Route]), format!("{{{expect}"), "what is not there is left out");
        assert_eq!(json(&[LogField::Route, LogField::Status]), format!("{{\"http.response.status_code\":200,{expect}"));
        assert_eq!(written(&line, &LogForm::Json(vec![LogField::Route], vec![])), "{}\n");
        let pieces = [
            LogPiece::Field(LogField::Status),
            LogPiece::Text(" \"".into()),
            LogPiece::Field(LogField::Path),
            LogPiece::Text("\" ".into()),
            LogPiece::Field(LogField::Route),
            LogPiece::Header(header("x-tenant")),
            LogPiece::Header(header("x-none")),
        ];
        assert_eq!(written(&line, &LogForm::Text(pieces.to_vec())), "200 \"/a\\\"\\u000a\" -a\\\"b, c-\n");
    }
}
