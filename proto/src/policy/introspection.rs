//! Whose request it is, by a token that its issuer is asked about (RFC 7662).

use crate::{
    claims::ClaimPath,
    fields::{authority, check_reference},
    invalid::Faults,
    name::Name,
    pb, quantity, secret,
};
use base64ct::{Base64, Encoding};
use http::{HeaderValue, uri::PathAndQuery};
use std::{fmt::Write, time::Duration};

/// How long an answer counts, where nothing else is said, and at most.
const CACHE: Duration = Duration::from_secs(30);
const MAX_CACHE: Duration = Duration::from_secs(60 * 60);
/// How long the server may take, where nothing else is said, and at most.
const TIMEOUT: Duration = Duration::from_secs(2);
const MAX_TIMEOUT: Duration = Duration::from_secs(30);
/// The longest name of an issuer.
const MAX_ISSUER: usize = 200;
/// The most audiences.
const MAX_AUDIENCES: usize = 64;

/// Whose request it is, by a token that its issuer is asked about.
#[derive(Clone, Debug)]
pub struct Introspection {
    /// Whom.
    pub upstream: Name,
    /// What of it.
    pub path: PathAndQuery,
    /// By which name, if not by that of the upstream.
    pub host: HeaderValue,
    /// How the gateway says who it is; no log has it.
    pub authorization: Option<HeaderValue>,
    /// One of these a token has to be for; empty: any.
    pub audiences: Vec<String>,
    /// How long an answer counts.
    pub cache: Duration,
    /// How long the server may take, all together.
    pub timeout: Duration,
    /// Whether the token is taken out before the request goes on.
    pub strip: bool,
    /// Whether requests without one pass, as nobody's.
    pub optional: bool,
    /// What says which consumer it is.
    pub consumer: Option<ConsumerClaim>,
}

/// What says which consumer it is: what an issuer calls somebody is that issuer's, whatever others call him.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerClaim {
    /// The issuer, as ids of consumers have it.
    pub issuer: String,
    /// The claim that follows it there.
    pub claim: ClaimPath,
}

impl Introspection {
    pub(super) fn check(message: &pb::Introspection, faults: &mut Faults) -> Option<Introspection> {
        let upstream = check_reference("upstream", &message.upstream, faults);
        let path = faults.at("path", |faults| faults.take(check_path(&message.path)));
        let host = faults.at("host", |faults| match message.host.as_str() {
            "" => HeaderValue::from_str(upstream.as_ref()?.as_str()).ok(),
            host => faults.take(authority(host)),
        });
        let authorization = check_client(message, faults);
        if message.audiences.len() > MAX_AUDIENCES {
            faults.note_at("audiences", format!("at most {MAX_AUDIENCES} can be given"));
        }
        if let Some(at) = message.audiences.iter().position(String::is_empty) {
            faults.at("audiences", |faults| faults.note_at(at, "an audience is not empty"));
        }
        let cache = faults.at("cache", |faults| match message.cache.as_str() {
            "" => Some(CACHE),
            text => faults.take(within(text, Duration::ZERO, MAX_CACHE)),
        });
        let timeout = faults.at("timeout", |faults| match message.timeout.as_str() {
            "" => Some(TIMEOUT),
            text => faults.take(within(text, Duration::from_millis(1), MAX_TIMEOUT)),
        });
        let consumer = check_consumer(message, faults);
        Some(Introspection {
            upstream: upstream?,
            path: path?,
            host: host?,
            authorization: authorization?,
            audiences: message.audiences.clone(),
            cache: cache?,
            timeout: timeout?,
            strip: message.strip,
            optional: message.optional,
            consumer: consumer?,
        })
    }
}

fn check_consumer(message: &pb::Introspection, faults: &mut Faults) -> Option<Option<ConsumerClaim>> {
    let pb::Introspection { consumer, issuer, .. } = message;
    if consumer.is_empty() {
        if !issuer.is_empty() {
            faults.note_at("issuer", "it is for consumers; say by `consumer` which claim tells them");
        }
        return Some(None);
    }
    let claim = faults.at("consumer", |faults| faults.take(ClaimPath::parse(consumer)));
    let plain = |byte: u8| byte.is_ascii_graphic() && byte != b'#';
    if !(1..=MAX_ISSUER).contains(&issuer.len()) || !issuer.bytes().all(plain) {
        let advice = "say what ids of consumers call the issuer, as \"https://login.example.com\"";
        faults.note_at("issuer", format!("{advice}: 1 to {MAX_ISSUER} characters of ASCII, without # and space"));
    }
    Some(Some(ConsumerClaim { issuer: issuer.clone(), claim: claim? }))
}

// Servers answer to nobody whom they do not know (RFC 7662, 2.1); one that is told apart otherwise needs no name here.
fn check_client(message: &pb::Introspection, faults: &mut Faults) -> Option<Option<HeaderValue>> {
    let (id, said) = (&message.client_id, message.client_secret.as_ref());
    if id.is_empty() {
        if said.is_some() {
            faults.note_at("client_id", "a secret is of somebody; give the client's id with it");
        }
        return Some(None);
    }
    let secret = faults.at("client_secret", |faults| secret::check(said, faults))?;
    // RFC 6749, 2.3.1.
    let text = format!("Basic {}", Base64::encode_string(format!("{}:{}", form(id), form(secret)).as_bytes()));
    let mut value = HeaderValue::try_from(text).ok()?;
    value.set_sensitive(true);
    Some(Some(value))
}

/// Text as forms have it.
pub fn form(text: impl AsRef<[u8]>) -> String {
    let text = text.as_ref();
    let mut out = String::with_capacity(text.len());
    for byte in text {
        match byte.is_ascii_alphanumeric() || b"-._~".contains(byte) {
            true => out.push(char::from(*byte)),
            // Nothing fails that is written to memory.
            false => drop(write!(out, "%{byte:02X}")),
        }
    }
    out
}

fn check_path(text: &str) -> Result<PathAndQuery, String> {
    let text = if text.is_empty() { "/introspect" } else { text };
    let advice = || format!("{text:?} is not a path; it begins with /, as in \"/oauth2/introspect\"");
    let path = PathAndQuery::try_from(text).map_err(|_| advice())?;
    if text.starts_with('/') && !text.contains('#') { Ok(path) } else { Err(advice()) }
}

fn within(text: &str, least: Duration, most: Duration) -> Result<Duration, String> {
    let duration = quantity::duration(text)?;
    match (least..=most).contains(&duration) {
        true => Ok(duration),
        false => Err(format!("give {} to {}", quantity::write(least), quantity::write(most))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pb::secret::Source;

    fn check(change: impl FnOnce(&mut pb::Introspection)) -> Result<Introspection, Vec<String>> {
        let mut message = pb::Introspection { upstream: "issuer".into(), ..pb::Introspection::default() };
        change(&mut message);
        let mut faults = Faults::default();
        let policy = Introspection::check(&message, &mut faults);
        let found: Vec<String> = faults.into_found().iter().map(ToString::to_string).collect();
        if found.is_empty() { Ok(policy.unwrap()) } else { Err(found) }
    }

    fn secret(text: &str) -> Option<pb::Secret> {
        Some(pb::Secret { source: Some(Source::Value(text.into())) })
    }

    #[test]
    fn the_gateway_says_who_it_is_as_forms_do() {
        let policy = check(|message| {
            (message.client_id, message.client_secret) = ("gate way".into(), secret("a:b/ü"));
        })
        .unwrap();
        let authorization = policy.authorization.unwrap();
        // `gate%20way:a%3Ab%2F%C3%BC`
        assert_eq!(authorization, "Basic Z2F0ZSUyMHdheTphJTNBYiUyRiVDMyVCQw==");
        assert!(authorization.is_sensitive());
        let policy = check(|_| {}).unwrap();
        assert_eq!((policy.path.as_str(), policy.host.to_str().unwrap()), ("/introspect", "issuer"));
        assert_eq!((policy.authorization, policy.cache, policy.timeout), (None, CACHE, TIMEOUT));
    }

    #[test]
    fn faults_say_where_and_what_to_do() {
        let fails = |change: fn(&mut pb::Introspection), expect: &str| {
            let found = check(change).unwrap_err();
            assert!(found.len() == 1 && found[0].starts_with(expect), "{expect}: {found:?}");
        };
        fails(|message| message.upstream = "Issuer".into(), "/upstream: ");
        fails(|message| message.path = "introspect".into(), "/path: ");
        fails(|message| message.host = "a b".into(), "/host: ");
        fails(|message| message.client_id = "a".into(), "/client_secret: a secret is missing");
        fails(|message| message.client_secret = secret("a"), "/client_id: a secret is of somebody");
        fails(|message| message.cache = "2h".into(), "/cache: give");
        fails(|message| message.timeout = "31s".into(), "/timeout: give");
        fails(|message| message.audiences = vec!["a".into(), String::new()], "/audiences/1: ");
        fails(|message| message.consumer = "sub".into(), "/issuer: say what ids");
        fails(|message| message.issuer = "https://a".into(), "/issuer: it is for consumers");
        let both = |message: &mut pb::Introspection, consumer: &str, issuer: &str| {
            (message.consumer, message.issuer) = (consumer.into(), issuer.into());
        };
        let issuer = |issuer: &str| check(|message| both(message, "sub", issuer));
        assert_eq!(issuer("https://a").unwrap().consumer.unwrap().issuer, "https://a");
        for wrong in ["https://a#b", "a b", "\u{e9}", &"a".repeat(MAX_ISSUER + 1)] {
            let found = issuer(wrong).unwrap_err();
            assert!(found.len() == 1 && found[0].starts_with("/issuer: say what ids"), "{wrong}: {found:?}");
        }
        let found = check(|message| both(message, "a..b", "https://a")).unwrap_err();
        assert!(found.len() == 1 && found[0].starts_with("/consumer: "), "{found:?}");
    }
}
