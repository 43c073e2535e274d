//! Maintenance: for a while nobody is served, but those who see to it.

use crate::{fields::check_addresses, invalid::Faults, pb, quantity};
use ipnet::IpNet;
use std::time::Duration;

/// When clients may come again, where nothing else is said.
const RETRY_AFTER: Duration = Duration::from_secs(60);
/// The longest detail, in bytes.
const MAX_DETAIL: usize = 1024;

/// For a while nobody is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Maintenance {
    /// When clients may come again; in whole seconds.
    pub retry_after: Duration,
    /// What they are told.
    pub detail: Option<String>,
    /// Who is served all the same.
    pub allow: Vec<IpNet>,
}

impl Maintenance {
    pub(super) fn check(message: &pb::Maintenance, faults: &mut Faults) -> Option<Maintenance> {
        let pb::Maintenance { retry_after, detail, allow } = message;
        let retry_after = faults.at("retry_after", |faults| match retry_after.as_str() {
            "" => Some(RETRY_AFTER),
            text => {
                let age = faults.take(quantity::age(text))?;
                (age >= Duration::from_secs(1)).then_some(age).or_else(|| {
                    faults.note("clients count in seconds; give at least \"1s\"");
                    None
                })
            }
        });
        if detail.len() > MAX_DETAIL {
            faults.note_at("detail", format!("it has at most {MAX_DETAIL} bytes"));
        }
        let allow = check_addresses("allow", allow, faults);
        let detail = Some(detail.clone()).filter(|detail| !detail.is_empty());
        Some(Maintenance { retry_after: retry_after?, detail, allow })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_faults_are_told_at_once() {
        let message = pb::Maintenance {
            retry_after: "0s".into(),
            detail: "x".repeat(MAX_DETAIL + 1),
            allow: vec!["10.0.0.0/8".into(), "10.0.0.1/8".into()],
        };
        let mut faults = Faults::default();
        assert!(Maintenance::check(&message, &mut faults).is_none());
        let found: Vec<String> = faults.into_found().iter().map(ToString::to_string).collect();
        assert_eq!(found.len(), 3, "{found:?}");
        for (fault, expect) in found.iter().zip(["/retry_after: clients count", "/detail: it has", "/allow/1: "]) {
            assert!(fault.starts_with(expect), "{found:?}");
        }
        let mut faults = Faults::default();
        let plain = Maintenance::check(&pb::Maintenance::default(), &mut faults).unwrap();
        assert_eq!((plain.retry_after, plain.detail, faults.count()), (RETRY_AFTER, None, 0));
    }
}
