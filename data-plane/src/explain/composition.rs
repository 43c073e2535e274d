//! What a composition would call, and in which order.

use crate::compose::{Foretold, ForetoldPart, Plan};
use proto::{
    compose::Need,
    pb::{self, explanation::Outcome},
    quantity,
};

/// What becomes of the request; on what else that depends, is noted.
pub(super) fn composed(foretold: &Foretold<'_>, plan: &Plan, depends: &mut Vec<String>) -> Outcome {
    for ForetoldPart { part, .. } in &foretold.parts {
        let name = part.pool.name();
        let health = format!("health: which endpoints of {name} take traffic, and whether any does");
        let policies = format!("policies of {name}: they judge each of its calls");
        for note in [Some(health), (!part.pool.spec().policies.is_empty()).then_some(policies)].into_iter().flatten() {
            if !depends.contains(&note) {
                depends.push(note);
            }
        }
    }
    depends.push("answers: what the parts say, and whether each is there in time".into());
    let parts = foretold.parts.iter().map(|foretold| part(foretold, plan)).collect();
    Outcome::Compose(pb::Composed { variant: foretold.variant.unwrap_or_default().into(), parts })
}

fn part(foretold: &ForetoldPart<'_>, plan: &Plan) -> pb::ComposedPart {
    let spec = &foretold.part.spec;
    let need = match spec.need {
        Need::Required(_) => "required",
        Need::Optional => "optional",
        Need::Fallback(_) => "fallback",
    };
    pb::ComposedPart {
        name: spec.name.to_string(),
        need: need.into(),
        upstream: foretold.part.pool.name().to_string(),
        wave: foretold.after + 1,
        method: spec.call().method.to_string(),
        target: foretold.target.clone().unwrap_or_default(),
        timeout: quantity::write(spec.timeout.unwrap_or(plan.deadline)),
    }
}
