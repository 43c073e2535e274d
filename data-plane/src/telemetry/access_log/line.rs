//! One line: what the log can say of a request, and how the policy has it written.

use super::{
    clock::WallClock,
    digits::digits,
    pen::{Pen, Short},
};
use crate::{
    context::{Decision, Made, hex},
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
/// What stands before each field of a JSON object, by its place among all.
const KEYS: [Short; LogField::ALL.len()] = {
    let mut keys = [Short::new(""); LogField::ALL.len()];
    let mut at = 0;
    while at < keys.len() {
        keys[at] = Short::new(LogField::ALL[at].key());
        at += 1;
    }
    keys
};
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
    pub(crate) incomplete: Option<&'a str>,
    pub(crate) subject: Option<&'a str>,
    pub(crate) consumer: Option<&'a str>,
    pub(crate) revision: u64,
}

// === impl Line ===

impl Line<'_> {
    /// Whether it is of a request that failed.
    pub(super) fn failed(&self) -> bool {
        self.status >= 500 || self.reason.is_some()
    }

    /// Writes the line.
    pub(super) fn format(&self, form: &LogForm, clock: &mut WallClock, now: Instant, pen: &mut Pen<'_>) {
        match form {
            LogForm::Off => return,
            LogForm::Json(fields, headers) => self.json((fields, headers), clock, now, pen),
            LogForm::Text(pieces) => self.words(pieces, clock, now, pen),
        }
        pen.byte(b'\n');
    }

    fn json(&self, told: (&[LogField], &[LoggedHeader]), clock: &mut WallClock, now: Instant, pen: &mut Pen<'_>) {
        let begin = pen.at();
        for field in told.0 {
            let before = pen.at();
            pen.short(KEYS[*field as usize]);
            match self.write(*field, clock, now, pen) {
                true if field.is_text() => pen.byte(b'"'),
                true => {}
                false => pen.back_to(before),
            }
        }
        for header in told.1 {
            if !self.headers.contains_key(&header.name) {
                continue;
            }
            pen.text(header.key.as_bytes());
            pen.text(b"[\"");
            self.header(header, b"\",\"", pen);
            pen.text(b"\"]");
        }
        // A comma stands before each, but the first opens the object.
        match pen.at() {
            at if at == begin => pen.byte(b'{'),
            _ => pen.replace(begin, b'{'),
        }
        pen.byte(b'}');
    }

    fn words(&self, pieces: &[LogPiece], clock: &mut WallClock, now: Instant, pen: &mut Pen<'_>) {
        for piece in pieces {
            match piece {
                LogPiece::Text(text) => pen.text(text.as_bytes()),
                LogPiece::Field(field) => {
                    if !self.write(*field, clock, now, pen) {
                        pen.byte(b'-');
                    }
                }
                LogPiece::Header(header) if self.headers.contains_key(&header.name) => self.header(header, b", ", pen),
                LogPiece::Header(_) => pen.byte(b'-'),
            }
        }
    }

    // Its values, up to a limit.
    fn header(&self, header: &LoggedHeader, between: &[u8], pen: &mut Pen<'_>) {
        let mut left = MAX_TOLD;
        for (at, value) in self.headers.get_all(&header.name).iter().enumerate() {
            if left == 0 {
                return;
            }
            if at > 0 {
                pen.text(between);
            }
            // A policy has read a credential there.
            let mut value = if value.is_sensitive() { REDACTED } else { value.as_bytes() };
            if header.is_address() {
                value = value.split(|byte| matches!(byte, b'?' | b'#')).next().unwrap_or_default();
            }
            let told = &value[..value.len().min(left)];
            escape(told, pen);
            left -= told.len();
        }
    }

    // What a field says, without what stands around it; false: nothing. To call it would cost as much as what it does.
    #[inline(always)]
    fn write(&self, field: LogField, clock: &mut WallClock, now: Instant, pen: &mut Pen<'_>) -> bool {
        match field {
            LogField::Timestamp => clock.write(now, pen),
            LogField::Method => plain(self.method, pen),
            LogField::Path => escape(self.path, pen),
            LogField::Scheme => plain(self.scheme.as_str(), pen),
            LogField::Version => plain(version_label(self.version), pen),
            LogField::Status => number(self.status.into(), pen),
            LogField::Duration => seconds(self.duration, pen),
            LogField::PhaseGateway => return told(self.phases.as_ref(), |phases| seconds(phases.gateway, pen)),
            LogField::PhaseTries => {
                let tries = self.phases.as_ref().map(|phases| phases.tries).filter(|tries| !tries.is_zero());
                return told(tries, |tries| seconds(tries, pen));
            }
            LogField::PhaseConnect => {
                return told(self.phases.as_ref().and_then(|phases| phases.connect), |connect| seconds(connect, pen));
            }
            LogField::PhaseUpstream => return told(self.phases.as_ref(), |phases| seconds(phases.upstream, pen)),
            LogField::PhaseBody => return told(self.phases.as_ref(), |phases| seconds(phases.body, pen)),
            LogField::Client => plain(self.client, pen),
            LogField::Host => escape(self.host, pen),
            LogField::UserAgent if self.user_agent.is_empty() => return false,
            LogField::UserAgent => escape(&self.user_agent[..self.user_agent.len().min(MAX_TOLD)], pen),
            LogField::RequestId => escape(self.request_id, pen),
            LogField::TraceId => hexadecimal::<32>(self.trace, pen),
            LogField::SpanId => hexadecimal::<16>(self.span.into(), pen),
            LogField::Route => return told(self.route, |(name, _)| plain(name, pen)),
            LogField::RouteLabel => return told(self.route, |(_, label)| escape(label.as_bytes(), pen)),
            LogField::Upstream => return told(self.upstream, |upstream| plain(upstream, pen)),
            LogField::Endpoint => return told(self.endpoint, |endpoint| escape(endpoint.as_bytes(), pen)),
            LogField::Reason => return told(self.reason, |reason| plain(reason, pen)),
            LogField::Policy => {
                let refused = self.decisions.iter().find(|decision| decision.made == Made::Refused);
                return told(refused, |decision| plain(decision.policy.as_str(), pen));
            }
            LogField::Shadowed => return let_pass(self.decisions, Made::Shadowed, pen),
            LogField::FailedOpen => return let_pass(self.decisions, Made::FailedOpen, pen),
            LogField::Incomplete => return told(self.incomplete, |incomplete| plain(incomplete, pen)),
            LogField::Subject => {
                let subject = self.subject.map(str::as_bytes);
                return told(subject, |subject| escape(&subject[..subject.len().min(MAX_TOLD)], pen));
            }
            LogField::Consumer => return told(self.consumer, |consumer| plain(consumer, pen)),
            LogField::Received => number(self.received, pen),
            LogField::Sent => number(self.sent, pen),
            LogField::Retries => number(self.retries.into(), pen),
            LogField::Revision => number(self.revision, pen),
        }
        true
    }
}

// Writes what there is, and says whether there is any.
fn told<T>(value: Option<T>, write: impl FnOnce(T)) -> bool {
    value.map(write).is_some()
}

// Of characters that JSON takes as they are, by what it is: a name, a token, an address.
fn plain(text: &str, pen: &mut Pen<'_>) {
    pen.text(text.as_bytes());
}

// Chosen by others.
fn escape(text: &[u8], pen: &mut Pen<'_>) {
    json::escape(text, |piece| pen.text(piece));
}

fn number(number: u64, pen: &mut Pen<'_>) {
    match u8::try_from(number) {
        Ok(small @ 0..=9) => pen.byte(b'0' + small),
        Ok(_) | Err(_) => pen.text(itoa::Buffer::new().format(number).as_bytes()),
    }
}

fn let_pass(decisions: &[Decision], made: Made, pen: &mut Pen<'_>) -> bool {
    let mut between: &[u8] = b"";
    for decision in decisions.iter().filter(|decision| decision.made == made) {
        // None has a character that would have to be escaped.
        for text in [between, decision.policy.as_str().as_bytes(), b":", decision.reason.as_bytes()] {
            pen.text(text);
        }
        between = b",";
    }
    !between.is_empty()
}

fn hexadecimal<const N: usize>(number: u128, pen: &mut Pen<'_>) {
    let mut digits = [0; N];
    hex(number, &mut digits);
    pen.array(digits);
}

// Seconds with six decimals.
fn seconds(duration: Duration, pen: &mut Pen<'_>) {
    number(duration.as_secs(), pen);
    pen.byte(b'.');
    pen.array(digits::<6>(duration.subsec_micros()));
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
            incomplete: None,
            subject: None,
            consumer: None,
            revision: 4,
        }
    }

    fn written(line: &Line<'_>, form: &LogForm) -> String {
        let mut room = vec![0; 4096];
        let mut pen = Pen::new(&mut room);
        line.format(form, &mut WallClock::new(), Instant::now(), &mut pen);
        let written = pen.written().unwrap();
        room.truncate(written);
        let text = String::from_utf8(room).unwrap();
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
            json::escape(&[byte], |text| out.extend_from_slice(text));
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
