//! How an endpoint is chosen, checked.

use super::StickyCookie;
use crate::{hash_key::HashKey, invalid::Faults, pb};

/// How an endpoint is chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Balance {
    /// In turn.
    RoundRobin,
    /// The less busy of two.
    LeastRequest,
    /// At random.
    Random,
    /// By a key of the request.
    ConsistentHash(ConsistentHash),
    /// By a cookie that names the endpoint.
    StickyCookie(StickyCookie),
}

/// By a key of the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsistentHash {
    /// What tells requests apart.
    pub key: HashKey,
    /// The most that an endpoint may have of the average load, in percent; `None`: as much as comes.
    pub max_load: Option<u32>,
}

// === impl Balance ===

impl Balance {
    /// Checks the field `balance`. What is wrong is noted, and then the result says nothing.
    pub(super) fn check(upstream: &pb::Upstream, faults: &mut Faults) -> Balance {
        use pb::balance::Kind;
        match upstream.balance.as_ref().and_then(|message| message.kind.as_ref()) {
            None | Some(Kind::RoundRobin(_)) => Balance::RoundRobin,
            Some(Kind::LeastRequest(_)) => Balance::LeastRequest,
            Some(Kind::Random(_)) => Balance::Random,
            Some(Kind::ConsistentHash(message)) => faults
                .at("consistent_hash", |faults| ConsistentHash::check(message, faults))
                .map_or(Balance::Random, Balance::ConsistentHash),
            Some(Kind::StickyCookie(message)) => faults
                .at("sticky_cookie", |faults| StickyCookie::check(message, &upstream.name, faults))
                .map_or(Balance::Random, Balance::StickyCookie),
        }
    }
}

// === impl ConsistentHash ===

impl ConsistentHash {
    fn check(message: &pb::ConsistentHash, faults: &mut Faults) -> Option<ConsistentHash> {
        // An upstream has no path of its own that could capture anything.
        let key = faults.at("key", |faults| HashKey::check(message.key.as_ref(), &[], faults));
        if message.max_load.is_some_and(|percent| !(101..=1000).contains(&percent)) {
            faults.note_at("max_load", "101 to 1000 percent of the average load, or nothing for no bound");
        }
        Some(ConsistentHash { key: key?, max_load: message.max_load })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pb::{balance, hash_key};

    #[test]
    fn a_hash_has_a_key_and_a_bound_above_the_average() {
        let check = |key: Option<hash_key::Kind>, max_load: Option<u32>| {
            let key = Some(pb::HashKey { kind: key });
            let hash = pb::ConsistentHash { key, max_load };
            let mut faults = Faults::default();
            let balance = Some(pb::Balance { kind: Some(balance::Kind::ConsistentHash(hash)) });
            Balance::check(&pb::Upstream { balance, ..Default::default() }, &mut faults);
            faults.into_found().into_iter().map(|fault| fault.pointer).collect::<Vec<_>>().join(" ")
        };
        let header = || Some(hash_key::Kind::Header("x-tenant".into()));
        assert_eq!(check(header(), None), "");
        assert_eq!(check(header(), Some(125)), "");
        assert_eq!(check(header(), Some(100)), "/consistent_hash/max_load");
        assert_eq!(check(None, Some(1001)), "/consistent_hash/key /consistent_hash/max_load");
        assert_eq!(check(Some(hash_key::Kind::Template("{path.id}".into())), None), "/consistent_hash/key/template");
    }
}
