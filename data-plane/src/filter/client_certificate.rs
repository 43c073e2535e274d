//! Who a client is, by the certificate that it showed when it connected.

use super::{
    Attached,
    sequence::Lent,
    verdict::{Challenge, Said, Verdict},
};
use crate::{
    context::Context,
    error::{Fault, Refusal},
    principal::{Principal, Whom},
};
use http::{HeaderValue, StatusCode, header};
use proto::{
    name::Name,
    policy::{ClientCertificate, Distrust},
};
use rustls::pki_types::UnixTime;
use std::{rc::Rc, sync::Arc};

/// No scheme is registered for it. The name says what to do.
const CHALLENGE: HeaderValue = HeaderValue::from_static("ClientCertificate");

/// The policy, alive.
#[derive(Debug)]
pub(crate) struct ClientCertificateFilter {
    name: Name,
    policy: Arc<ClientCertificate>,
}

// === impl ClientCertificateFilter ===

impl ClientCertificateFilter {
    pub(super) fn build(attached: &Attached<'_>, policy: &Arc<ClientCertificate>) -> ClientCertificateFilter {
        ClientCertificateFilter { name: attached.policy.name.clone(), policy: policy.clone() }
    }

    pub(super) fn request(&self, context: &mut Context, lent: Lent<'_>) -> Verdict<'static> {
        let Some(certificate) = &context.certificate else {
            return match self.policy.optional {
                true => Verdict::CONTINUE,
                false => Verdict::Now(Said::Absent(Challenge(CHALLENGE))),
            };
        };
        let judged = certificate.judge(&self.policy, lent.now, |chain| {
            let subject: Box<str> = self.policy.identify(chain, UnixTime::now())?.into();
            let consumer = if self.policy.consumers { whom(&subject) } else { Whom::Nobody };
            let known = Principal::new("client_certificate", self.name.clone(), subject);
            Ok(Rc::new(Principal { consumer, ..known }))
        });
        match judged {
            Ok(principal) => {
                context.principals.add(principal);
                Verdict::CONTINUE
            }
            Err(distrust) => Verdict::refuse(refusal(distrust)),
        }
    }
}

// Ids with that character are for tokens, whose issuer stands before it.
fn whom(subject: &str) -> Whom {
    if subject.contains('#') { Whom::Nobody } else { Whom::Called(subject.into()) }
}

fn refusal(distrust: Distrust) -> Refusal {
    let (status, reason, detail) = match distrust {
        Distrust::Unknown => (
            StatusCode::UNAUTHORIZED,
            "certificate_unknown",
            "no authority that counts here vouches for the client's certificate; were all certificates in between shown?",
        ),
        Distrust::Expired => (
            StatusCode::UNAUTHORIZED,
            "certificate_expired",
            "the client's certificate has expired, or is not valid yet; show one that is valid",
        ),
        Distrust::Revoked => (
            StatusCode::UNAUTHORIZED,
            "certificate_revoked",
            "the client's certificate was revoked; have a new one issued",
        ),
        Distrust::NotAllowed => {
            (StatusCode::FORBIDDEN, "certificate_not_allowed", "the client's certificate is good, but not for this")
        }
    };
    let challenges = (status == StatusCode::UNAUTHORIZED).then_some((header::WWW_AUTHENTICATE, CHALLENGE));
    Refusal { status, fault: Fault::Client, reason, detail: detail.into(), headers: challenges.into_iter().collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_no_token() {
        assert!(matches!(whom("spiffe://prod/billing"), Whom::Called(id) if &*id == "spiffe://prod/billing"));
        for name in ["https://login.test#acme", "cn:https://login.test#acme", "#"] {
            assert!(matches!(whom(name), Whom::Nobody), "{name}");
        }
    }
}
