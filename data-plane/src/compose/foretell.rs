//! What a run would do, as far as the request alone says it: the same steps, up to where somebody would be called.

use super::{
    part::prepare,
    plan::{Part, Plan, Set},
    run::{check, choose},
    value::Alone,
};
use crate::{context::Values, error::Error};
use proto::template::Reference;

/// What a run would do.
pub(crate) struct Foretold<'p> {
    /// The variant that it is for.
    pub(crate) variant: Option<&'p str>,
    /// The parts that it calls, as written.
    pub(crate) parts: Vec<ForetoldPart<'p>>,
}

/// A part that would be called.
pub(crate) struct ForetoldPart<'p> {
    /// The part.
    pub(crate) part: &'p Part,
    /// How many parts have to be there first, one after the other.
    pub(crate) after: u32,
    /// The path and query that its upstream gets; `None` where another part's answer says it.
    pub(crate) target: Option<String>,
}

/// What a run would do with the request.
pub(crate) fn foretell<'p>(plan: &'p Plan, values: &Values<'_>) -> Result<Foretold<'p>, Error> {
    let variant = choose(plan, values).and_then(|at| plan.variants.get(at));
    let skip = variant.map_or(Set::default(), |variant| variant.skip);
    check(plan, values, skip)?;
    let after = depths(plan);
    let foretold = |(at, part): (usize, &'p Part)| ForetoldPart {
        part,
        after: after.get(at).copied().unwrap_or_default(),
        target: target(part, values),
    };
    let called = plan.parts.iter().enumerate().filter(|(at, _)| !skip.has(*at));
    Ok(Foretold { variant: variant.map(|variant| &*variant.name), parts: called.map(foretold).collect() })
}

fn target(part: &Part, values: &Values<'_>) -> Option<String> {
    let is_of_answer = |reference: &Reference| matches!(reference, Reference::Part { .. } | Reference::Item(_));
    if part.call().path.references().any(is_of_answer) {
        return None;
    }
    prepare(part.call(), &Alone(values), values.context()).ok().map(|prepared| prepared.target.to_string())
}

// No part waits for itself: after as many rounds as there are parts, all of them are known.
fn depths(plan: &Plan) -> Vec<u32> {
    let mut depths = vec![0; plan.parts.len()];
    for _ in 0..plan.parts.len() {
        for (at, part) in plan.parts.iter().enumerate() {
            let used = depths.iter().enumerate().filter(|(used, _)| part.uses.has(*used));
            let depth = used.map(|(_, depth)| depth + 1).max().unwrap_or_default();
            if let Some(known) = depths.get_mut(at) {
                *known = depth;
            }
        }
    }
    depths
}
