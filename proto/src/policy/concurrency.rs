//! So many requests at once.

use crate::{invalid::Faults, limit_key::LimitKey, pb};

/// So many requests at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConcurrencyLimit {
    /// How many of one key.
    pub limit: u32,
    /// What tells them apart.
    pub key: LimitKey,
}

impl ConcurrencyLimit {
    pub(super) fn check(message: &pb::ConcurrencyLimit, faults: &mut Faults) -> Option<ConcurrencyLimit> {
        if message.limit == 0 {
            faults.note_at("limit", "say how many requests there may be at once, as in 10");
        }
        let key = LimitKey::check(&message.key, message.skip_missing, faults);
        (message.limit > 0).then_some(ConcurrencyLimit { limit: message.limit, key })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_at_least_one() {
        let check = |limit| {
            let mut faults = Faults::default();
            let checked = ConcurrencyLimit::check(&pb::ConcurrencyLimit { limit, ..Default::default() }, &mut faults);
            (checked.map(|checked| checked.limit), faults.count())
        };
        assert_eq!(check(0), (None, 1));
        assert_eq!(check(1), (Some(1), 0));
    }
}
