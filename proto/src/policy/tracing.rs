//! How many requests are recorded as traces.

use crate::{invalid::Faults, pb, quantity::Share};

/// Which traces are recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tracing {
    /// Of those that begin here; a trace that goes on is recorded if it was before.
    pub sample: Share,
}

impl Tracing {
    pub(super) fn check(message: &pb::Tracing, faults: &mut Faults) -> Option<Tracing> {
        let sample = faults.at("sample", |faults| match message.sample.as_str() {
            "" => {
                faults.note("say how many of the traces that begin here are recorded, as in \"1%\"");
                None
            }
            text => faults.take(Share::parse(text)),
        });
        Some(Tracing { sample: sample? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_is_needed() {
        let check = |sample: &str| {
            let mut faults = Faults::default();
            let tracing = Tracing::check(&pb::Tracing { sample: sample.into() }, &mut faults);
            (tracing, faults.into_found().iter().map(ToString::to_string).collect::<Vec<_>>())
        };
        assert_eq!(check("100%"), (Some(Tracing { sample: Share::ALL }), vec![]));
        for (bad, fault) in [("", "/sample: say how many"), ("0.1", "/sample: \"0.1\" is not a share")] {
            let (tracing, faults) = check(bad);
            assert!(tracing.is_none() && faults.len() == 1 && faults[0].starts_with(fault), "{faults:?}");
        }
    }
}
