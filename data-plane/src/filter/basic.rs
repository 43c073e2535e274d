//! Who a client is, by a name and a password.

use super::{
    Attached,
    sequence::Lent,
    verdict::{Challenge, Said, Verdict},
};
use crate::{
    context::Context,
    error::{Fault, Refusal},
    passwords::{Checked, Passwords},
    principal::Principal,
    states::States,
};
use base64ct::{Base64, Encoding};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use proto::{
    name::Name,
    policy::{Basic, Hashed},
};
use std::{rc::Rc, sync::Arc};

/// The most that a name and a password have together, with the colon.
const MAX_CREDENTIALS: usize = 1024;
/// When whoever is told to come again may do so.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("1");

/// The policy, alive.
#[derive(Debug)]
pub(crate) struct BasicFilter {
    name: Name,
    policy: Arc<Basic>,
    passwords: Arc<Passwords>,
}

/// What a request carries of such credentials.
enum Carried<'h> {
    None,
    Malformed,
    // In base64.
    Some(&'h [u8]),
}

// === impl BasicFilter ===

impl BasicFilter {
    pub(super) fn build(attached: &Attached<'_>, policy: &Arc<Basic>, states: &States) -> BasicFilter {
        BasicFilter {
            name: attached.policy.name.clone(),
            policy: policy.clone(),
            passwords: Passwords::inherit(states),
        }
    }

    pub(super) fn request<'a>(&'a self, context: &'a mut Context, lent: Lent<'_>) -> Verdict<'a> {
        let mut memory = [0; MAX_CREDENTIALS];
        let decoded = match carried(&context.headers) {
            Carried::None if self.policy.optional => return Verdict::CONTINUE,
            Carried::None => return Verdict::Now(Said::Absent(Challenge(self.policy.challenge.clone()))),
            Carried::Malformed => None,
            Carried::Some(text) => Base64::decode(text, &mut memory).ok().and_then(split),
        };
        let Some((user, password)) = decoded else { return Verdict::Now(self.wrong()) };
        let (hash, digest) = match self.policy.hash(user) {
            Hashed::Known(hash) => (hash, self.passwords.digest(user, password.as_bytes(), hash)),
            Hashed::Unknown(hash) => (hash, None),
        };
        if digest.is_some_and(|digest| self.passwords.remembers(&digest, lent.now)) {
            return Verdict::Now(self.right(user.into(), context));
        }
        let (user, password, hash) = (user.into(), password.as_bytes().to_vec(), hash.clone());
        Verdict::Wait(Box::pin(async move {
            match self.passwords.check(password, hash, digest).await {
                Checked::Right => self.right(user, context),
                Checked::Wrong => self.wrong(),
                Checked::Busy => busy(),
            }
        }))
    }

    fn right(&self, subject: Box<str>, context: &mut Context) -> Said {
        if self.policy.strip {
            context.headers.remove(header::AUTHORIZATION);
        }
        context.principals.add(Rc::new(Principal::new("basic", self.name.clone(), subject)));
        Said::Continue
    }

    // Whoever asks does not learn what of it was wrong.
    fn wrong(&self) -> Said {
        Said::Refuse(Box::new(Refusal {
            status: StatusCode::UNAUTHORIZED,
            fault: Fault::Client,
            reason: "password_wrong",
            detail: "the name or the password is wrong".into(),
            headers: vec![(header::WWW_AUTHENTICATE, self.policy.challenge.clone())],
        }))
    }
}

fn busy() -> Said {
    Said::Refuse(Box::new(Refusal {
        status: StatusCode::SERVICE_UNAVAILABLE,
        fault: Fault::Gateway,
        reason: "passwords_busy",
        detail: "too many passwords are being checked at this moment; try again in a second".into(),
        headers: vec![(header::RETRY_AFTER, RETRY_AFTER)],
    }))
}

fn carried(headers: &HeaderMap) -> Carried<'_> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter().map(HeaderValue::as_bytes);
    match (values.next(), values.next()) {
        (Some(only), None) => credentials(only).map_or(Carried::None, Carried::Some),
        // Which of them would the upstream go by?
        (Some(first), Some(second))
            if [first, second].into_iter().chain(values).any(|value| credentials(value).is_some()) =>
        {
            Carried::Malformed
        }
        (None | Some(_), _) => Carried::None,
    }
}

// What follows the name of the scheme, if it is this one.
fn credentials(value: &[u8]) -> Option<&[u8]> {
    const SCHEME: &[u8] = b"basic";
    let (scheme, rest) = value.split_at_checked(SCHEME.len())?;
    let ends = rest.first().is_none_or(|byte| *byte == b' ');
    (ends && scheme.eq_ignore_ascii_case(SCHEME)).then(|| rest.trim_ascii())
}

// A name has no colon, and neither has control characters (RFC 7617, 2).
fn split(decoded: &[u8]) -> Option<(&str, &str)> {
    let text = std::str::from_utf8(decoded).ok()?;
    text.split_once(':').filter(|_| !text.contains(char::is_control))
}
