//! What a node remembers of who its clients are: tokens and passwords that it has checked, what issuers said of others, and
//! the keys of issuers.

use crate::{
    introspected::Introspected, issuer_keys::IssuerKeys, passwords::Passwords, remote::Figures, states::States,
    telemetry::counters::CacheCounts,
};
use prometheus_client::{
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
    registry::Unit,
};
use proto::name::Name;
use std::{collections::BTreeMap, fmt};

/// The most places of keys, and the most policies, that have series of their own.
const MAX_SERIES: usize = 200;

/// What is remembered.
#[derive(Clone, Debug)]
pub(super) struct Remembered {
    tokens: CacheCounts,
    // `None`: nobody is known by a password.
    passwords: Option<CacheCounts>,
    // By policy.
    introspected: BTreeMap<Name, CacheCounts>,
    // By place.
    keys: BTreeMap<String, Figures>,
}

// === impl Remembered ===

impl Remembered {
    pub(super) fn read(tokens: CacheCounts, states: &States) -> Remembered {
        let mut introspected: BTreeMap<Name, CacheCounts> = BTreeMap::new();
        for one in Introspected::all(states) {
            introspected.entry(one.policy().clone()).or_default().add(one.counts());
        }
        let keys = IssuerKeys::all(states);
        Remembered {
            tokens,
            passwords: Passwords::find(states).map(|passwords| passwords.counts()),
            introspected: introspected.into_iter().take(MAX_SERIES).collect(),
            keys: keys.iter().map(|keys| (keys.place(), keys.remote.figures())).take(MAX_SERIES).collect(),
        }
    }

    pub(super) fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Tokens of requests, by whether a worker had checked them before";
        lookups(encoder, "portico_token_lookups", help, [(None, self.tokens)])?;
        known(encoder, "portico_tokens_known", "Tokens that workers have checked and remember", self.tokens)?;
        if let Some(passwords) = self.passwords {
            let help = "Passwords of requests, by whether the node had found them right a moment before";
            lookups(encoder, "portico_password_lookups", help, [(None, passwords)])?;
            known(encoder, "portico_passwords_known", "Passwords that were right and are remembered", passwords)?;
        }
        let help = "Tokens of requests, by whether it was known what their issuer says of them";
        let introspected = self.introspected.iter().map(|(policy, counts)| (Some(policy), *counts));
        lookups(encoder, "portico_introspection_lookups", help, introspected)?;
        let help = "Tokens, good and other, of which it is remembered what their issuer said";
        let mut family = encoder.encode_descriptor("portico_introspections_known", help, None, MetricType::Gauge)?;
        for (policy, counts) in &self.introspected {
            ConstGauge::new(counts.known as f64).encode(family.encode_family(&[("policy", policy.as_str())])?)?;
        }
        self.encode_keys(encoder)
    }

    fn encode_keys(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Loads of the keys of issuers";
        let mut family = encoder.encode_descriptor("portico_issuer_keys_loads", help, None, MetricType::Counter)?;
        for (place, figures) in &self.keys {
            for (result, n) in [("loaded", figures.loaded), ("failed", figures.failed)] {
                ConstCounter::new(n).encode(family.encode_family(&[("place", place.as_str()), ("result", result)])?)?;
            }
        }
        let help = "How old the keys of issuers are; none are left out";
        let (name, unit) = ("portico_issuer_keys_age", Unit::Seconds);
        let mut family = encoder.encode_descriptor(name, help, Some(&unit), MetricType::Gauge)?;
        for (place, age) in self.keys.iter().filter_map(|(place, figures)| Some((place, figures.age?))) {
            ConstGauge::new(age.as_secs_f64()).encode(family.encode_family(&[("place", place.as_str())])?)?;
        }
        Ok(())
    }
}

// What was looked for, of each policy, or of all together.
fn lookups<'c>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    counts: impl IntoIterator<Item = (Option<&'c Name>, CacheCounts)>,
) -> fmt::Result {
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    for (policy, counts) in counts {
        for (result, n) in [("hit", counts.hits), ("miss", counts.misses)] {
            let policy = policy.map(|policy| ("policy", policy.as_str()));
            let labels: Vec<(&str, &str)> = policy.into_iter().chain([("result", result)]).collect();
            ConstCounter::new(n).encode(family.encode_family(&labels)?)?;
        }
    }
    Ok(())
}

// How much there is of it.
fn known(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, counts: CacheCounts) -> fmt::Result {
    let family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    ConstGauge::new(counts.known as f64).encode(family)
}
