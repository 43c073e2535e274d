//! What policies decided, counted: each decision, and how often it was about a consumer's request.
//!
//! A configuration may have a million consumers, and a series costs whoever collects it. So only the first are told apart.

use crate::context::Decision;
use proto::name::Name;
use std::collections::BTreeMap;

/// The most decisions that are told apart; what comes later is counted as one.
const MAX_DECISIONS: usize = 2_000;
/// The most pairs of a decision and a consumer; in what comes later, consumers are one.
const MAX_PAIRS: usize = 2_000;

/// Requests that policies refused, or would have.
#[derive(Clone, Debug, Default)]
pub(crate) struct Decided {
    each: BTreeMap<Decision, Times>,
    pairs: usize,
    /// Decisions beyond those that are told apart.
    pub(crate) others: u64,
}

/// How often one decision was made.
#[derive(Clone, Debug, Default)]
pub(crate) struct Times {
    /// All together.
    pub(crate) all: u64,
    /// Of those, about requests of consumers.
    pub(crate) by_consumer: BTreeMap<Name, u64>,
    /// About those of consumers beyond these.
    pub(crate) of_others: u64,
}

// === impl Decided ===

impl Decided {
    /// Each decision, and how often it was made.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Decision, &Times)> {
        self.each.iter()
    }

    pub(super) fn note(&mut self, decision: &Decision, consumer: Option<&Name>) {
        if !self.each.contains_key(decision) {
            if self.each.len() >= MAX_DECISIONS {
                self.others += 1;
                return;
            }
            self.each.insert(decision.clone(), Times::default());
        }
        let Some(times) = self.each.get_mut(decision) else { return };
        times.all += 1;
        let Some(consumer) = consumer else { return };
        if let Some(n) = times.by_consumer.get_mut(consumer) {
            *n += 1;
        } else if self.pairs < MAX_PAIRS {
            self.pairs += 1;
            times.by_consumer.insert(consumer.clone(), 1);
        } else {
            times.of_others += 1;
        }
    }

    pub(super) fn add(&mut self, other: Decided) {
        for (decision, theirs) in other.each {
            let times = self.each.entry(decision).or_default();
            times.all += theirs.all;
            times.of_others += theirs.of_others;
            for (consumer, n) in theirs.by_consumer {
                *times.by_consumer.entry(consumer).or_default() += n;
            }
        }
        self.others += other.others;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::Made;

    fn decision(policy: &str) -> Decision {
        Decision { policy: Name::parse(policy).unwrap(), kind: "access", reason: "forbidden", made: Made::Shadowed }
    }

    fn consumer(n: usize) -> Name {
        Name::parse(&format!("c{n}")).unwrap()
    }

    #[test]
    fn consumers_are_told_apart_up_to_a_limit_and_none_is_left_out() {
        let (mut decided, one, two) = (Decided::default(), decision("one"), decision("two"));
        for n in 0..MAX_PAIRS + 5 {
            decided.note(&one, Some(&consumer(n)));
        }
        for times in [&two, &one] {
            decided.note(times, Some(&consumer(0)));
            decided.note(times, None);
        }
        let times = &decided.each[&one];
        assert_eq!((times.all, times.by_consumer.len(), times.of_others), (MAX_PAIRS as u64 + 7, MAX_PAIRS, 5));
        assert_eq!(times.by_consumer[&consumer(0)], 2);
        let times = &decided.each[&two];
        assert_eq!((times.all, times.by_consumer.len(), times.of_others), (2, 0, 1));
        // Another worker's.
        let mut total = decided.clone();
        total.add(decided);
        let times = &total.each[&one];
        assert_eq!((times.by_consumer[&consumer(0)], times.by_consumer[&consumer(1)], times.of_others), (4, 2, 10));
    }

    #[test]
    fn decisions_are_told_apart_up_to_a_limit() {
        let mut decided = Decided::default();
        for n in 0..MAX_DECISIONS + 3 {
            decided.note(&decision(&format!("p{n}")), None);
        }
        decided.note(&decision("p0"), None);
        assert_eq!((decided.each.len(), decided.others, decided.each[&decision("p0")].all), (MAX_DECISIONS, 3, 2));
    }
}
