//! Where a route sends its requests, checked: to one upstream, or divided among several.

use crate::{fields::check_reference, hash_key::HashKey, invalid::Faults, name::Name, pb};

/// The most upstreams of a split.
const MAX_SIDES: usize = 16;
/// The largest weight.
const MAX_WEIGHT: u32 = 1000;

/// Where requests are sent.
#[derive(Clone, Debug)]
pub enum Destination {
    /// To one upstream, proven to exist.
    Upstream(Name),
    /// To several.
    Split(Split),
}

/// Upstreams that divide the requests.
#[derive(Clone, Debug)]
pub struct Split {
    /// At least one, and not all of the weight 0.
    pub sides: Vec<SplitSide>,
    /// What keeps requests together; `None`: nothing.
    pub key: Option<HashKey>,
}

/// One of several upstreams.
#[derive(Clone, Debug)]
pub struct SplitSide {
    /// Its name, proven to exist.
    pub upstream: Name,
    /// Its share.
    pub weight: u32,
}

// === impl Destination ===

impl Destination {
    pub(super) fn check(message: &pb::Forward, variables: &[(&str, bool)], faults: &mut Faults) -> Option<Destination> {
        let key = message.split_key.as_ref();
        let key = key.and_then(|key| faults.at("split_key", |faults| HashKey::check(Some(key), variables, faults)));
        if message.split.is_empty() {
            if message.split_key.is_some() {
                faults.note_at("split_key", "there is nothing to choose between; it belongs to a `split`");
            }
            return check_reference("upstream", &message.upstream, faults).map(Destination::Upstream);
        }
        if !message.upstream.is_empty() {
            faults.note_at("split", "requests go to one `upstream` or to those of a `split`, not both");
        }
        let sides = faults.at("split", |faults| check_sides(&message.split, faults));
        Some(Destination::Split(Split { sides, key }))
    }

    /// The upstreams, each with the pointer of the reference below `forward`.
    pub fn upstreams(&self) -> Vec<(&Name, String)> {
        match self {
            Destination::Upstream(name) => vec![(name, "upstream".into())],
            Destination::Split(split) => {
                let sides = split.sides.iter().enumerate();
                sides.map(|(at, side)| (&side.upstream, format!("split/{at}/upstream"))).collect()
            }
        }
    }
}

fn check_sides(messages: &[pb::SplitUpstream], faults: &mut Faults) -> Vec<SplitSide> {
    if messages.len() > MAX_SIDES {
        faults.note(format!("requests are divided among {MAX_SIDES} upstreams at most"));
    }
    let mut sides: Vec<SplitSide> = Vec::new();
    for (at, message) in messages.iter().enumerate() {
        faults.at(at, |faults| {
            let weight = message.weight.unwrap_or(1);
            if weight > MAX_WEIGHT {
                faults.note_at("weight", format!("a weight is 0 to {MAX_WEIGHT}"));
            }
            let Some(upstream) = check_reference("upstream", &message.upstream, faults) else { return };
            if sides.iter().any(|side| side.upstream == upstream) {
                faults.note_at("upstream", format!("{:?} stands twice; give it a larger `weight`", upstream.as_str()));
            }
            sides.push(SplitSide { upstream, weight });
        });
    }
    if !sides.is_empty() && sides.iter().all(|side| side.weight == 0) {
        faults.note("no upstream has a weight above 0, so none would get a request");
    }
    sides
}

#[cfg(test)]
mod tests {
    use super::*;
    use pb::hash_key::Kind;

    fn check(upstream: &str, split: &[(&str, u32)], key: Option<Kind>) -> (Vec<String>, String) {
        let split = split
            .iter()
            .map(|(upstream, weight)| pb::SplitUpstream { upstream: (*upstream).into(), weight: Some(*weight) });
        let message = pb::Forward {
            upstream: upstream.into(),
            split: split.collect(),
            split_key: key.map(|kind| pb::HashKey { kind: Some(kind) }),
            ..Default::default()
        };
        let mut faults = Faults::default();
        let destination = Destination::check(&message, &[], &mut faults);
        let pointers = destination.iter().flat_map(Destination::upstreams).map(|(_, pointer)| pointer).collect();
        let found: Vec<_> = faults.into_found().into_iter().map(|fault| fault.pointer).collect();
        (pointers, found.join(" "))
    }

    #[test]
    fn requests_go_to_one_upstream_or_are_divided() {
        let fault = |upstream, split: &[_], key| check(upstream, split, key).1;
        let cookie = || Some(Kind::Cookie("id".into()));
        assert_eq!(check("a", &[], None), (vec!["upstream".into()], String::new()));
        let two = check("", &[("a", 90), ("b", 0)], cookie());
        assert_eq!(two, (vec!["split/0/upstream".into(), "split/1/upstream".into()], String::new()));
        assert_eq!(fault("", &[], None), "/upstream");
        assert_eq!(fault("a", &[("a", 1)], None), "/split");
        assert_eq!(fault("a", &[], cookie()), "/split_key");
        assert_eq!(fault("", &[("a", 1), ("a", 2)], None), "/split/1/upstream");
        assert_eq!(fault("", &[("a", 0), ("b", 0)], None), "/split");
        assert_eq!(fault("", &[("a", 1001), ("?", 1)], None), "/split/0/weight /split/1/upstream");
        assert_eq!(fault("", &[("a", 1)], Some(Kind::Cookie("a b".into()))), "/split_key/cookie");
        let names: Vec<String> = (0..17).map(|n| format!("u{n}")).collect();
        let many: Vec<_> = names.iter().map(|name| (name.as_str(), 1)).collect();
        assert_eq!(fault("", &many, None), "/split");
    }
}
