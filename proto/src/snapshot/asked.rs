//! Upstreams that policies ask: whether they speak what they are asked in.

use super::{Snapshot, checked::Checked};
use crate::{
    invalid::Invalid,
    policy::{Attachment, Policy},
    resource::{Kind, ResourceKey},
    upstream::Protocol,
};
use std::collections::BTreeSet;

impl Snapshot {
    // Notes policies that ask by gRPC whoever does not speak HTTP/2: gRPC needs it.
    pub(super) fn check_asked(&self, touched: &BTreeSet<ResourceKey>, invalid: &mut Vec<Invalid>) {
        let mut suspects: BTreeSet<&ResourceKey> = touched.iter().collect();
        for key in touched.iter().filter(|key| key.kind == Kind::Upstream) {
            suspects.extend(self.referrers(key));
        }
        for key in suspects {
            let Some(entry) = self.get(key) else { continue };
            for (policy, at) in standing(&entry.checked) {
                let Some(asks) = policy.kind.asks_by_grpc() else { continue };
                let Some((name, _)) = policy.kind.upstream() else { continue };
                let asked = self.get(&ResourceKey::new(Kind::Upstream, name.clone()));
                let asked = asked.and_then(|entry| entry.checked.as_upstream());
                if asked.is_some_and(|upstream| matches!(upstream.protocol, Protocol::Http1)) {
                    let detail = format!(
                        "upstream {:?} speaks HTTP/1, and gRPC needs HTTP/2; give it `protocol: {{http2: {{}}}}`",
                        name.as_str()
                    );
                    invalid.push(Invalid { resource: Some(key.clone()), pointer: format!("{at}{asks}"), detail });
                }
            }
        }
    }
}

// The policies that stand in a resource, each with its pointer.
fn standing(checked: &Checked) -> Vec<(&Policy, String)> {
    match checked {
        Checked::Policy(policy) => vec![(policy, String::new())],
        Checked::Route(route) => route.policies.iter().enumerate().filter_map(inline).collect(),
        Checked::Upstream(upstream) => upstream.policies.iter().enumerate().filter_map(inline).collect(),
        Checked::Certificate(_) | Checked::Consumer(_) | Checked::Keyring(_) | Checked::Test(_) => Vec::new(),
    }
}

fn inline((at, attachment): (usize, &Attachment)) -> Option<(&Policy, String)> {
    match attachment {
        Attachment::Inline(policy) => Some((policy, format!("/policies/{at}"))),
        Attachment::Ref(_) => None,
    }
}
