//! Which requests are logged, and what of them. Checked, it is what a node goes by, line for line: nothing is left to be
//! looked up or parsed.

mod field;

pub use field::LogField;

use crate::{
    invalid::{Faults, did_you_mean},
    pb,
    quantity::Share,
};
use http::{HeaderName, header};

/// The most request headers that are logged.
const MAX_HEADERS: usize = 16;
/// The longest text form, in bytes.
const MAX_FORMAT: usize = 1024;
/// What the field of a request header begins with.
const HEADER: &str = "http.request.header.";
/// Whatever has one of these in its name is taken for a credential.
const CREDENTIALS: [&str; 11] = [
    "authorization",
    "cookie",
    "token",
    "secret",
    "password",
    "passwd",
    "credential",
    "api-key",
    "apikey",
    "signature",
    "session",
];

/// Which requests are logged, and what of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessLog {
    /// How many of them.
    pub sample: Share,
    /// Whether failures are sampled too; otherwise all of them are logged.
    pub sample_failures: bool,
    /// What a line is like.
    pub form: LogForm,
}

/// What a line of the log is like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogForm {
    /// There is none.
    Off,
    /// One JSON object, with these fields in the order of the log, and then these headers.
    Json(Vec<LogField>, Vec<LoggedHeader>),
    /// Text.
    Text(Vec<LogPiece>),
}

/// A request header that is logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedHeader {
    /// Its name.
    pub name: HeaderName,
    /// What stands before its value in a JSON object, after another.
    pub key: String,
}

/// A piece of a line of text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogPiece {
    /// As it stands.
    Text(String),
    /// What the log says of the request.
    Field(LogField),
    /// A request header.
    Header(LoggedHeader),
}

// === impl AccessLog ===

impl Default for AccessLog {
    fn default() -> AccessLog {
        AccessLog {
            sample: Share::ALL,
            sample_failures: false,
            form: LogForm::Json(LogField::ALL.to_vec(), Vec::new()),
        }
    }
}

impl AccessLog {
    pub(super) fn check(message: &pb::AccessLog, faults: &mut Faults) -> Option<AccessLog> {
        let before = faults.count();
        let pb::AccessLog { sample, sample_failures, fields, request_headers, text, off } = message;
        let share = faults.at("sample", |faults| match sample.as_str() {
            "" => Some(Share::ALL),
            text => faults.take(Share::parse(text)),
        });
        let (sampled, told) = (!sample.is_empty() || *sample_failures, fields.len() + request_headers.len());
        let form = match (off, text) {
            (Some(_), text) => {
                if sampled || told > 0 || text.is_some() {
                    faults.note_at("off", "nothing is logged, so it stands alone");
                }
                LogForm::Off
            }
            (None, Some(_)) if told > 0 => {
                faults.note_at("text", "its `format` names the fields; leave out `fields` and `request_headers`");
                return None;
            }
            (None, Some(text)) => {
                let pieces =
                    faults.at("text", |faults| faults.at("format", |faults| faults.take(pieces(&text.format))));
                LogForm::Text(pieces.unwrap_or_default())
            }
            (None, None) => LogForm::Json(check_fields(fields, faults), check_headers(request_headers, faults)),
        };
        (faults.count() == before).then_some(AccessLog { sample: share?, sample_failures: *sample_failures, form })
    }

    /// Whether a request of that trace is logged.
    pub fn takes(&self, trace: u128, failed: bool) -> bool {
        self.form != LogForm::Off && ((failed && !self.sample_failures) || self.sample.takes(trace))
    }

    /// The request headers that lines tell.
    pub fn headers(&self) -> impl Iterator<Item = &HeaderName> {
        let (headers, pieces): (&[LoggedHeader], &[LogPiece]) = match &self.form {
            LogForm::Off => (&[], &[]),
            LogForm::Json(_, headers) => (headers, &[]),
            LogForm::Text(pieces) => (&[], pieces),
        };
        let in_text = pieces.iter().filter_map(|piece| match piece {
            LogPiece::Header(header) => Some(header),
            LogPiece::Text(_) | LogPiece::Field(_) => None,
        });
        headers.iter().chain(in_text).map(|header| &header.name)
    }
}

fn check_fields(names: &[String], faults: &mut Faults) -> Vec<LogField> {
    if names.is_empty() {
        return LogField::ALL.to_vec();
    }
    let mut fields: Vec<LogField> = faults.at("fields", |faults| {
        let parse = |(at, name): (usize, &String)| faults.at(at, |faults| faults.take(field(name)));
        names.iter().enumerate().filter_map(parse).collect()
    });
    fields.sort_unstable();
    fields.dedup();
    fields
}

fn check_headers(names: &[String], faults: &mut Faults) -> Vec<LoggedHeader> {
    faults.at("request_headers", |faults| {
        if names.len() > MAX_HEADERS {
            faults.note(format!("at most {MAX_HEADERS} headers are logged"));
        }
        let mut headers: Vec<LoggedHeader> = Vec::new();
        for (at, name) in names.iter().enumerate() {
            let Some(header) = faults.at(at, |faults| faults.take(LoggedHeader::parse(name))) else { continue };
            // A JSON object has each name once.
            if headers.contains(&header) {
                faults.note_at(at, format!("{name:?} is named twice"));
            }
            headers.push(header);
        }
        headers
    })
}

fn field(name: &str) -> Result<LogField, String> {
    LogField::parse(name).ok_or_else(|| {
        let names = LogField::ALL.iter().map(|field| field.name());
        match did_you_mean(name, names.clone()) {
            none if none.is_empty() => {
                format!("{name:?} is no field; the log has {}", names.collect::<Vec<_>>().join(", "))
            }
            meant => format!("{name:?} is no field of the log{meant}"),
        }
    })
}

/// `text {field} text`; a brace is written twice.
fn pieces(format: &str) -> Result<Vec<LogPiece>, String> {
    match format {
        "" => return Err("say what a line is like, as in \"{client.address} {url.path}\"".into()),
        long if long.len() > MAX_FORMAT => return Err(format!("a format has at most {MAX_FORMAT} bytes")),
        lines if lines.chars().any(char::is_control) => {
            return Err("a line of the log is one line, without control characters".into());
        }
        _ => {}
    }
    let (mut pieces, mut text, mut rest, mut headers) = (Vec::new(), String::new(), format, 0);
    while let Some(at) = rest.find(['{', '}']) {
        text.push_str(&rest[..at]);
        let (brace, after) = (&rest[at..at + 1], &rest[at + 1..]);
        if let Some(after) = after.strip_prefix(brace) {
            text.push_str(brace);
            rest = after;
            continue;
        }
        let reference = if brace == "{" { after.split_once('}') } else { None };
        let (name, after) = reference.ok_or("a brace without its other one; write it twice to mean the character")?;
        if !text.is_empty() {
            pieces.push(LogPiece::Text(std::mem::take(&mut text)));
        }
        pieces.push(match name.strip_prefix(HEADER) {
            Some(name) => {
                headers += 1;
                LogPiece::Header(LoggedHeader::parse(name)?)
            }
            None => LogPiece::Field(field(name)?),
        });
        rest = after;
    }
    text.push_str(rest);
    if headers > MAX_HEADERS {
        return Err(format!("at most {MAX_HEADERS} headers are logged"));
    }
    if pieces.is_empty() {
        return Err("every line would be the same; name a field in braces, as in \"{url.path}\"".into());
    }
    if !text.is_empty() {
        pieces.push(LogPiece::Text(text));
    }
    Ok(pieces)
}

// === impl LoggedHeader ===

impl LoggedHeader {
    fn parse(text: &str) -> Result<LoggedHeader, String> {
        let name = HeaderName::from_bytes(text.as_bytes()).map_err(|_| format!("{text:?} is not a header name"))?;
        let plain = name.as_str().replace('_', "-");
        if CREDENTIALS.iter().any(|word| plain.contains(word)) {
            return Err(format!("{text:?} is taken for a credential, and credentials are never logged"));
        }
        // Every character of a name can stand in a string of JSON.
        let key = format!(",\"{HEADER}{name}\":");
        Ok(LoggedHeader { name, key })
    }

    /// Whether its value is an address, whose query may hold secrets.
    pub fn is_address(&self) -> bool {
        self.name == header::REFERER
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(message: pb::AccessLog) -> Result<AccessLog, Vec<String>> {
        let mut faults = Faults::default();
        let log = AccessLog::check(&message, &mut faults);
        let found: Vec<String> = faults.into_found().iter().map(ToString::to_string).collect();
        if found.is_empty() { Ok(log.unwrap()) } else { Err(found) }
    }

    fn json(fields: &[&str], headers: &[&str]) -> pb::AccessLog {
        let owned = |names: &[&str]| names.iter().map(ToString::to_string).collect();
        pb::AccessLog { fields: owned(fields), request_headers: owned(headers), ..Default::default() }
    }

    fn text(format: &str) -> pb::AccessLog {
        pb::AccessLog { text: Some(pb::AccessLogText { format: format.into() }), ..Default::default() }
    }

    #[test]
    fn fields_stand_in_the_order_of_the_log() {
        let log = check(json(&["revision", "url.path", "url.path"], &["X-Tenant"])).unwrap();
        let key = ",\"http.request.header.x-tenant\":".to_string();
        let header = LoggedHeader { name: HeaderName::from_static("x-tenant"), key };
        assert_eq!(log.form, LogForm::Json(vec![LogField::Path, LogField::Revision], vec![header]));
        assert_eq!(check(json(&[], &[])).unwrap(), AccessLog::default());
        assert_eq!(LogField::Path.key(), ",\"url.path\":\"");
        assert_eq!(LogField::Status.key(), ",\"http.response.status_code\":");
    }

    #[test]
    fn text_is_made_of_pieces() {
        let log = check(text("{{{url.path}}} {http.request.header.referer}.")).unwrap();
        let LogForm::Text(pieces) = &log.form else { panic!("{log:?}") };
        let plain = |text: &str| LogPiece::Text(text.into());
        assert_eq!(pieces[..3], [plain("{"), LogPiece::Field(LogField::Path), plain("} ")]);
        assert!(matches!(&pieces[3], LogPiece::Header(header) if header.is_address()));
        assert_eq!(pieces[4..], [plain(".")]);
        assert_eq!(log.headers().collect::<Vec<_>>(), ["referer"]);
    }

    #[test]
    fn the_description_names_all_fields() {
        let description = include_str!("../../portico/v1/policy.proto");
        for field in LogField::ALL {
            assert!(description.contains(&format!("`{}`", field.name())), "{}", field.name());
        }
    }

    #[test]
    fn what_cannot_be_logged_is_refused() {
        let off = Some(pb::AccessLogOff {});
        for (message, expect) in [
            (json(&["url.pth"], &[]), "/fields/0: \"url.pth\" is no field of the log; did you mean \"url.path\"?"),
            (json(&["url.query.text"], &[]), "/fields/0: \"url.query.text\" is no field; the log has timestamp, "),
            (json(&[], &["a b"]), "/request_headers/0: \"a b\" is not a header name"),
            (json(&[], &["x-a", "X-A"]), "/request_headers/1: \"X-A\" is named twice"),
            (json(&[], &["x"; 17]), "/request_headers: at most 16"),
            (text(""), "/text/format: say what a line"),
            (text("plain"), "/text/format: every line would be the same"),
            (text("{url.path"), "/text/format: a brace without its other one"),
            (text("url.path}"), "/text/format: a brace without its other one"),
            (text("{}"), "/text/format: \"\" is no field"),
            (text("{url.path}\n"), "/text/format: a line of the log is one line"),
            (text("{http.request.header.cookie}"), "/text/format: \"cookie\" is taken for a credential"),
            (pb::AccessLog { sample: "1".into(), ..Default::default() }, "/sample: \"1\" is not a share"),
            (pb::AccessLog { sample: "1%".into(), off, ..Default::default() }, "/off: nothing is logged"),
            (pb::AccessLog { off, ..text("{url.path}") }, "/off: nothing is logged"),
            (pb::AccessLog { off, ..json(&[], &["x"]) }, "/off: nothing is logged"),
            (pb::AccessLog { fields: vec!["route".into()], ..text("{url.path}") }, "/text: its `format` names"),
        ] {
            let found = check(message).unwrap_err();
            assert!(found[0].starts_with(expect), "{found:?}");
        }
    }

    #[test]
    fn no_credential_is_logged() {
        for name in [
            "authorization",
            "Proxy-Authorization",
            "cookie",
            "set-cookie",
            "x-api-key",
            "X_API_KEY",
            "apikey",
            "x-auth-token",
            "x-amz-security-token",
            "client-secret",
        ] {
            assert!(check(json(&[], &[name])).unwrap_err()[0].contains("is taken for a credential"), "{name}");
        }
    }

    #[test]
    fn failures_are_logged_whatever_the_sample() {
        let none = AccessLog { sample: Share::NONE, ..Default::default() };
        assert_eq!([false, true].map(|failed| none.takes(u128::MAX, failed)), [false, true]);
        let strict = AccessLog { sample_failures: true, ..none.clone() };
        assert_eq!([false, true].map(|failed| strict.takes(u128::MAX, failed)), [false, false]);
        let off = AccessLog { form: LogForm::Off, ..AccessLog::default() };
        assert!(!off.takes(u128::MAX, true) && AccessLog::default().takes(0, false));
    }
}
