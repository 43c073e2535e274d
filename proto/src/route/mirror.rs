//! An upstream that gets copies of requests, checked.

use crate::{fields::check_reference, invalid::Faults, name::Name, pb, quantity};

/// The largest body that can be copied.
const MAX_BODY: u64 = 1024 * 1024;
/// Where nothing is said.
const DEFAULT_BODY: u64 = 64 * 1024;

/// Another upstream that gets a copy of requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror {
    /// Its name, proven to exist.
    pub upstream: Name,
    /// Of how many in a hundred.
    pub percent: u32,
    /// The largest body that is copied, in bytes.
    pub max_body: usize,
}

// === impl Mirror ===

impl Mirror {
    pub(super) fn check(message: &pb::Mirror, faults: &mut Faults) -> Option<Mirror> {
        let upstream = check_reference("upstream", &message.upstream, faults);
        let percent = message.percent.unwrap_or(100);
        if !(1..=100).contains(&percent) {
            faults.note_at("percent", "1 to 100 percent; leave out the mirror for none");
        }
        let max_body = match message.max_body.as_str() {
            "" => Some(DEFAULT_BODY),
            text => faults.at("max_body", |faults| {
                let size = faults.take(quantity::size(text));
                if size.is_some_and(|size| size > MAX_BODY) {
                    faults.note("bodies are copied up to 1MiB");
                }
                size
            }),
        };
        let max_body = usize::try_from(max_body?).ok()?;
        Some(Mirror { upstream: upstream?, percent, max_body })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mirror_is_bounded() {
        let check = |upstream: &str, percent: Option<u32>, max_body: &str| {
            let message = pb::Mirror { upstream: upstream.into(), percent, max_body: max_body.into() };
            let mut faults = Faults::default();
            let mirror = Mirror::check(&message, &mut faults);
            faults.into_found().pop().map_or_else(|| Ok(mirror.unwrap()), |fault| Err(fault.pointer))
        };
        let upstream = Name::parse("shadow").unwrap();
        assert_eq!(
            check("shadow", None, ""),
            Ok(Mirror { upstream: upstream.clone(), percent: 100, max_body: 64 * 1024 })
        );
        assert_eq!(check("shadow", Some(5), "1KiB"), Ok(Mirror { upstream, percent: 5, max_body: 1024 }));
        assert_eq!(check("", None, ""), Err("/upstream".into()));
        for (percent, max_body, pointer) in
            [(0, "", "/percent"), (101, "", "/percent"), (1, "2MiB", "/max_body"), (1, "much", "/max_body")]
        {
            assert_eq!(check("shadow", Some(percent), max_body), Err(pointer.into()));
        }
    }
}
