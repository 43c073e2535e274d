//! Whose request it is, by a name and a password (RFC 7617). Of passwords only hashes are ever here.

use crate::{invalid::Faults, pb, secret};
use argon2::{
    Params,
    password_hash::phc::{Output, PasswordHash},
};
use http::HeaderValue;
use std::{collections::HashMap, fmt};

/// The most users of one policy.
const MAX_USERS: usize = 1000;
/// The longest name, in bytes.
const MAX_NAME: usize = 255;
/// The longest realm, in bytes.
const MAX_REALM: usize = 128;
/// What one check may cost: KiB of memory, and passes over it.
const MAX_MEMORY: u32 = 64 * 1024;
const MAX_PASSES: u32 = 16;
const MAX_LANES: u32 = 16;

/// Whose request it is, by a name and a password.
#[derive(Clone)]
pub struct Basic {
    /// How a client is told to say who it is.
    pub challenge: HeaderValue,
    /// Whether the credentials are taken out before the request goes on.
    pub strip: bool,
    /// Whether requests without any pass, as nobody's.
    pub optional: bool,
    users: HashMap<Box<str>, PasswordHash>,
    // Nobody's. To check it costs as much as the dearest of the others.
    unknown: PasswordHash,
}

/// The hash of a user's password, or one that stands in for a user who is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hashed<'p> {
    /// The user's.
    Known(&'p PasswordHash),
    /// Nobody's: it is checked all the same, so that nobody learns who is there.
    Unknown(&'p PasswordHash),
}

// === impl Basic ===

impl Basic {
    pub(super) fn check(message: &pb::Basic, faults: &mut Faults) -> Option<Basic> {
        let pb::Basic { users: said, realm, strip, optional } = message;
        let users = faults.at("users", |faults| check_users(said, faults));
        let challenge = faults.at("realm", |faults| faults.take(challenge(realm)));
        let unknown = nobodys(users.values().max_by_key(|hash| cost(hash))?);
        Some(Basic { challenge: challenge?, strip: *strip, optional: *optional, users, unknown })
    }

    /// The hash to check a password of that user by.
    pub fn hash(&self, user: &str) -> Hashed<'_> {
        self.users.get(user).map_or(Hashed::Unknown(&self.unknown), Hashed::Known)
    }
}

impl fmt::Debug for Basic {
    // Hashes help whoever guesses passwords.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Basic").field("users", &self.users.len()).finish_non_exhaustive()
    }
}

fn check_users(users: &[pb::BasicUser], faults: &mut Faults) -> HashMap<Box<str>, PasswordHash> {
    match users.len() {
        0 => faults.note("nobody could ever come in; give at least one user"),
        n if n > MAX_USERS => faults.note(format!("at most {MAX_USERS} users can be given")),
        _ => {}
    }
    let mut all = HashMap::new();
    for (at, pb::BasicUser { name, password_hash }) in users.iter().enumerate() {
        faults.at(at, |faults| {
            if name.is_empty() || name.len() > MAX_NAME || name.contains(|c: char| c == ':' || c.is_control()) {
                let detail = format!("a name has 1 to {MAX_NAME} bytes, and neither a colon nor control characters");
                faults.note_at("name", detail);
            }
            let hash = faults.at("password_hash", |faults| {
                let text = secret::check(password_hash.as_ref(), faults)?;
                faults.take(password(text))
            });
            if hash.is_some_and(|hash| all.insert(name.as_str().into(), hash).is_some()) {
                faults.note_at("name", format!("{name:?} stands twice"));
            }
        });
    }
    all
}

// No message quotes the text: it may be a password after all.
fn password(text: &str) -> Result<PasswordHash, String> {
    let hash = PasswordHash::new(text.trim_end())
        .map_err(|_| "is not a hash in PHC form; it begins with $argon2id$v=19$m=".to_string())?;
    let params = Params::try_from(&hash).map_err(|_| "its parameters are not those of Argon2".to_string())?;
    if hash.algorithm.as_str() != "argon2id" || hash.version != Some(19) {
        return Err("only Argon2id of version 19 is taken: $argon2id$v=19$".into());
    }
    if hash.salt.as_ref().is_none_or(|salt| salt.len() < 8) || hash.hash.as_ref().is_none_or(|hash| hash.len() < 16) {
        return Err("a salt of at least 8 bytes and a hash of at least 16 are needed".into());
    }
    if params.m_cost() > MAX_MEMORY || params.t_cost() > MAX_PASSES || params.p_cost() > MAX_LANES {
        return Err(format!(
            "every check of it would cost too much; at most m={MAX_MEMORY} (KiB), t={MAX_PASSES} and p={MAX_LANES}"
        ));
    }
    Ok(hash)
}

// How much is read and written.
fn cost(hash: &PasswordHash) -> u64 {
    Params::try_from(hash).map_or(0, |params| u64::from(params.m_cost()) * u64::from(params.t_cost()))
}

fn nobodys(like: &PasswordHash) -> PasswordHash {
    PasswordHash { hash: Output::new(&[0; 32]).ok(), ..like.clone() }
}

fn challenge(realm: &str) -> Result<HeaderValue, String> {
    let realm = if realm.is_empty() { "portico" } else { realm };
    let plain = |c: u8| (0x20..0x7f).contains(&c) && c != b'"' && c != b'\\';
    if realm.len() > MAX_REALM || !realm.bytes().all(plain) {
        return Err(format!("a realm has at most {MAX_REALM} printable characters of ASCII, and neither \" nor \\"));
    }
    HeaderValue::try_from(format!("Basic realm=\"{realm}\", charset=\"UTF-8\""))
        .map_err(|_| "cannot stand in a header".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use pb::secret::Source;

    // By the reference implementation: `echo -n open-sesame | argon2 saltsalt -id -t 2 -k 64 -e`.
    const HASH: &str = "$argon2id$v=19$m=64,t=2,p=1$c2FsdHNhbHQ$Vg8IUp++4R3ekSx7Q7QX/9vk3iNDxxuVSd+1k1HRhjE";

    fn check(users: &[(&str, &str)], realm: &str) -> Result<Basic, Vec<String>> {
        let user = |(name, hash): &(&str, &str)| pb::BasicUser {
            name: name.to_string(),
            password_hash: Some(pb::Secret { source: Some(Source::Value(hash.to_string())) }),
        };
        let message =
            pb::Basic { users: users.iter().map(user).collect(), realm: realm.into(), strip: false, optional: false };
        let mut faults = Faults::default();
        let basic = Basic::check(&message, &mut faults);
        let found: Vec<String> = faults.into_found().iter().map(ToString::to_string).collect();
        if found.is_empty() { Ok(basic.unwrap()) } else { Err(found) }
    }

    #[test]
    fn whoever_is_not_there_costs_as_much_as_the_dearest() {
        let dear = HASH.replace("t=2", "t=3");
        let basic = check(&[("ada", HASH), ("bob", &dear), ("eve", HASH)], "").unwrap();
        assert_eq!(basic.hash("ada"), Hashed::Known(&PasswordHash::new(HASH).unwrap()));
        let Hashed::Unknown(unknown) = basic.hash("Ada") else { panic!("names are told apart") };
        assert_eq!(cost(unknown), cost(&PasswordHash::new(&dear).unwrap()));
        assert_eq!(unknown.hash, Output::new(&[0; 32]).ok());
        assert_eq!(basic.challenge, "Basic realm=\"portico\", charset=\"UTF-8\"");
        assert!(!format!("{basic:?}").contains("argon2"));
    }

    #[test]
    fn faults_say_where_and_what_to_do_and_quote_no_secret() {
        for (users, realm, expect) in [
            (&[][..], "", "/users: nobody could"),
            (&[("a:b", HASH)], "", "/users/0/name: a name has"),
            (&[("", HASH)], "", "/users/0/name: a name has"),
            (&[("ada", HASH), ("ada", HASH)], "", "/users/1/name: \"ada\" stands twice"),
            (&[("ada", "open-sesame")], "", "/users/0/password_hash: is not a hash"),
            (&[("ada", &HASH.replace("argon2id", "argon2i"))], "", "/users/0/password_hash: only Argon2id"),
            (&[("ada", &HASH.replace("v=19", "v=16"))], "", "/users/0/password_hash: only Argon2id"),
            (&[("ada", &HASH.replace("m=64", "m=65537"))], "", "/users/0/password_hash: every check"),
            (&[("ada", &HASH.replace("t=2", "t=17"))], "", "/users/0/password_hash: every check"),
            (&[("ada", &HASH.replace("m=64", "m=1"))], "", "/users/0/password_hash: its parameters"),
            (&[("ada", HASH.rsplit_once('$').unwrap().0)], "", "/users/0/password_hash: a salt"),
            (&[("ada", HASH)], "a\"b", "/realm: a realm has"),
        ] {
            let found = check(users, realm).unwrap_err();
            assert!(found.len() == 1 && found[0].starts_with(expect), "{expect}: {found:?}");
            assert!(!found[0].contains("sesame") && !found[0].contains(HASH.rsplit_once('$').unwrap().1), "{found:?}");
        }
    }
}
