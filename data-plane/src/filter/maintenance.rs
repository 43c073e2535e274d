//! Maintenance: nobody is served but those who see to it. It says no before anybody is asked who he is.

use super::verdict::Verdict;
use crate::{
    context::Context,
    error::{Fault, Refusal},
};
use http::{HeaderName, HeaderValue, StatusCode, header};
use ipnet::IpNet;
use proto::policy::Maintenance;
use std::borrow::Cow;

/// The policy, alive.
#[derive(Debug)]
pub(crate) struct MaintenanceFilter {
    allow: Vec<IpNet>,
    detail: Cow<'static, str>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

// === impl MaintenanceFilter ===

impl MaintenanceFilter {
    pub(super) fn build(policy: &Maintenance) -> MaintenanceFilter {
        let retry_after = HeaderValue::from(policy.retry_after.as_secs());
        MaintenanceFilter {
            allow: policy.allow.clone(),
            detail: match &policy.detail {
                Some(detail) => detail.clone().into(),
                None => "the service is under maintenance; try again later".into(),
            },
            headers: vec![(header::RETRY_AFTER, retry_after)],
        }
    }

    pub(super) fn request(&self, context: &Context) -> Verdict<'static> {
        if self.allow.iter().any(|block| block.contains(&context.client)) {
            return Verdict::CONTINUE;
        }
        Verdict::refuse(Refusal {
            status: StatusCode::SERVICE_UNAVAILABLE,
            fault: Fault::Gateway,
            reason: "maintenance",
            detail: self.detail.clone().into(),
            headers: self.headers.clone(),
        })
    }
}
