//! Whether an endpoint takes traffic: what checks say of it, and what requests to it came to.
//!
//! The state is the node's, in atomics that all workers share, and it is inherited with the endpoint. Who changes
//! something counts that in the [`Vitals`] of the upstream; so a worker sees with one load that its list of live
//! endpoints is old. Nobody waits for the end of an ejection: a worker that has ejected endpoints looks at the clock.

pub(super) mod checks;
mod probe;
mod report;

pub(crate) use report::HealthReport;

use proto::upstream::Ejection;
use std::{
    sync::{
        Arc, LazyLock,
        atomic::{
            AtomicU8, AtomicU32, AtomicU64,
            Ordering::{Acquire, Relaxed, Release, SeqCst},
        },
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use tokio::sync::{Notify, futures::Notified};

/// What the endpoints of an upstream share of their health.
#[derive(Debug, Default)]
pub(crate) struct Vitals {
    // How often an endpoint came or went.
    changes: AtomicU64,
    ejections: [AtomicU64; Cause::ALL.len()],
    checks_passed: AtomicU64,
    checks_failed: AtomicU64,
    names_resolved: AtomicU64,
    names_failed: AtomicU64,
    // Wakes who waits for a change.
    changed: Notify,
}

/// The health of one endpoint.
#[derive(Debug)]
pub(super) struct Health {
    vitals: Arc<Vitals>,
    checked: AtomicU8,
    // Failures in a row.
    failures: AtomicU32,
    // `IN`, `TRIAL`, or the moment until which it is ejected.
    ejected: AtomicU64,
    // How many ejections came before, without a time of being well.
    before: AtomicU32,
    // The moment of its return.
    returned: AtomicU64,
    // The moment from which its share grows; 0 where it need not.
    warming: AtomicU64,
    cause: AtomicU8,
    // Since when it is as it is, in milliseconds of Unix time.
    since: AtomicU64,
}

/// Why an endpoint is ejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// It does not accept connections.
    Connect,
    /// It did not do so, or did not answer, in time.
    Timeout,
    /// It broke the connection, or what it said is not HTTP.
    Broken,
    /// It answered that it cannot.
    Status,
}

/// Milliseconds since the process first asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Moment(u64);

/// What checks say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Checked {
    /// Nothing yet.
    Unknown,
    /// It is well.
    Passed,
    /// It is not.
    Failed,
}

/// Where an endpoint stands with its ejection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It is not ejected.
    In,
    /// It is, until then; afterwards one request may try it.
    Out(Moment),
    /// One request tries it.
    Trial,
}

// What `Health::ejected` is besides a moment.
const IN: u64 = 0;
const TRIAL: u64 = u64::MAX;

// === impl Vitals ===

impl Vitals {
    /// How often an endpoint came or went.
    pub(crate) fn changes(&self) -> u64 {
        self.changes.load(Acquire)
    }

    /// Something changed.
    pub(super) fn change(&self) {
        self.changes.fetch_add(1, Release);
        self.changed.notify_waiters();
    }

    /// Resolves at the next change after it was enabled.
    pub(super) fn changed(&self) -> Notified<'_> {
        self.changed.notified()
    }

    /// How many ejections there were, by cause.
    pub(crate) fn ejections(&self) -> impl Iterator<Item = (Cause, u64)> {
        Cause::ALL.into_iter().zip(&self.ejections).map(|(cause, n)| (cause, n.load(Relaxed)))
    }

    /// How many checks passed and failed.
    pub(crate) fn checks(&self) -> (u64, u64) {
        (self.checks_passed.load(Relaxed), self.checks_failed.load(Relaxed))
    }

    /// Counts a look-up of a name.
    pub(super) fn count_resolution(&self, resolved: bool) {
        let counter = if resolved { &self.names_resolved } else { &self.names_failed };
        counter.fetch_add(1, Relaxed);
    }

    /// How often names were resolved and not.
    pub(crate) fn resolutions(&self) -> (u64, u64) {
        (self.names_resolved.load(Relaxed), self.names_failed.load(Relaxed))
    }
}

// === impl Health ===

impl Health {
    /// Of an endpoint of which nothing is known.
    pub(super) fn new(vitals: &Arc<Vitals>) -> Health {
        Health {
            vitals: vitals.clone(),
            checked: AtomicU8::new(Checked::Unknown as u8),
            failures: AtomicU32::new(0),
            ejected: AtomicU64::new(IN),
            before: AtomicU32::new(0),
            returned: AtomicU64::new(0),
            warming: AtomicU64::new(0),
            cause: AtomicU8::new(0),
            since: AtomicU64::new(unix_millis()),
        }
    }

    /// Where it stands with its ejection.
    pub(super) fn standing(&self) -> Standing {
        match self.ejected.load(Relaxed) {
            IN => Standing::In,
            TRIAL => Standing::Trial,
            until => Standing::Out(Moment(until)),
        }
    }

    /// Whether it is ejected, be it that one request tries it.
    pub(super) fn is_out(&self) -> bool {
        self.ejected.load(SeqCst) != IN
    }

    /// What checks say.
    pub(super) fn checked(&self) -> Checked {
        match self.checked.load(Relaxed) {
            1 => Checked::Passed,
            2 => Checked::Failed,
            _ => Checked::Unknown,
        }
    }

    /// Takes note of what checks say; whether that is new.
    pub(super) fn set_checked(&self, checked: Checked) -> bool {
        let before = self.checked.swap(checked as u8, Relaxed);
        let is_new = before != checked as u8;
        if is_new {
            if before == Checked::Failed as u8 {
                self.warm_up(Moment::now());
            }
            self.note_change();
        }
        is_new
    }

    /// From now on its share grows.
    pub(super) fn warm_up(&self, now: Moment) {
        self.warming.store(now.0, Relaxed);
    }

    /// How much of its share it has when growing takes so long, in thousandths, where that is not all of it.
    pub(super) fn warmth(&self, now: Moment, window: Duration) -> Option<u32> {
        let since = self.warming.load(Relaxed);
        if since == 0 {
            return None;
        }
        let window = u64::try_from(window.as_millis()).unwrap_or(u64::MAX).max(1);
        let thousandths = now.0.saturating_sub(since).saturating_mul(1000) / window;
        u32::try_from(thousandths)
            .ok()
            .filter(|thousandths| *thousandths < 1000)
            .map(|thousandths| thousandths.max(100))
    }

    /// Counts a check.
    pub(super) fn count_check(&self, passed: bool) {
        let counter = if passed { &self.vitals.checks_passed } else { &self.vitals.checks_failed };
        counter.fetch_add(1, Relaxed);
    }

    /// Why it takes no traffic, and since when in milliseconds of Unix time; `None` when it does.
    pub(super) fn down(&self) -> Option<(&'static str, u64)> {
        let reason = match (self.checked(), self.standing()) {
            (Checked::Failed, Standing::In | Standing::Out(_) | Standing::Trial) => "check",
            (Checked::Unknown | Checked::Passed, Standing::Out(_) | Standing::Trial) => {
                Cause::ALL.get(usize::from(self.cause.load(Relaxed))).map_or("", |cause| cause.as_str())
            }
            (Checked::Unknown | Checked::Passed, Standing::In) => return None,
        };
        Some((reason, self.since.load(Relaxed)))
    }

    /// A request was answered well.
    pub(super) fn succeeded(&self) {
        // Mostly it is none already, and then the line in the cache stays everybody's.
        if self.failures.load(Relaxed) != 0 {
            self.failures.store(0, Relaxed);
        }
    }

    /// A request failed; how many have now done so in a row.
    pub(super) fn failed(&self) -> u32 {
        self.failures.fetch_add(1, Relaxed).saturating_add(1)
    }

    /// Ejects it; whether it was not before. The others learn of it by [`Health::proclaim`].
    pub(super) fn eject(&self, now: Moment, ejection: &Ejection, jitter: f32) -> bool {
        let until = now.after(self.next_time(now, ejection, jitter));
        self.ejected.compare_exchange(IN, until.0, SeqCst, Relaxed).is_ok()
    }

    /// Takes an ejection back that went too far.
    pub(super) fn pardon(&self) {
        self.ejected.store(IN, Relaxed);
    }

    /// Makes an ejection known and counts it.
    pub(super) fn proclaim(&self, cause: Cause) {
        self.before.fetch_add(1, Relaxed);
        self.failures.store(0, Relaxed);
        self.cause.store(cause as u8, Relaxed);
        self.vitals.ejections[cause as usize].fetch_add(1, Relaxed);
        self.note_change();
    }

    /// Begins the trial after an ejection, if its time is over and nobody else has.
    pub(super) fn begin_trial(&self, now: Moment) -> bool {
        let until = self.ejected.load(Relaxed);
        let is_due = until != IN && until <= now.0;
        is_due && self.ejected.compare_exchange(until, TRIAL, Relaxed, Relaxed).is_ok()
    }

    /// The trial came to nothing: somebody else may try.
    pub(super) fn give_up_trial(&self, now: Moment) {
        self.ejected.compare_exchange(TRIAL, now.0.max(1), Relaxed, Relaxed).ok();
    }

    /// The trial passed: it takes traffic again.
    pub(super) fn pass_trial(&self, now: Moment) {
        self.failures.store(0, Relaxed);
        self.returned.store(now.0, Relaxed);
        self.warm_up(now);
        if self.ejected.compare_exchange(TRIAL, IN, Relaxed, Relaxed).is_ok() {
            self.note_change();
        }
    }

    /// The trial failed: it is ejected again, for longer.
    pub(super) fn fail_trial(&self, now: Moment, ejection: &Ejection, jitter: f32) {
        let until = now.after(self.next_time(now, ejection, jitter));
        if self.ejected.compare_exchange(TRIAL, until.0, Relaxed, Relaxed).is_ok() {
            self.before.fetch_add(1, Relaxed);
            // Those that are out are who they were, but the time is another.
            self.vitals.change();
        }
    }

    fn next_time(&self, now: Moment, ejection: &Ejection, jitter: f32) -> Duration {
        let returned = self.returned.load(Relaxed);
        if returned != 0 && self.standing() != Standing::Trial && now >= Moment(returned).after(ejection.max) {
            self.before.store(0, Relaxed);
        }
        ejection.time(self.before.load(Relaxed)).mul_f32(1.0 + 0.1 * jitter)
    }

    fn note_change(&self) {
        self.since.store(unix_millis(), Relaxed);
        self.vitals.change();
    }
}

// === impl Cause ===

impl Cause {
    const ALL: [Cause; 4] = [Cause::Connect, Cause::Timeout, Cause::Broken, Cause::Status];

    /// The label in metrics and reports.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Cause::Connect => "connect",
            Cause::Timeout => "timeout",
            Cause::Broken => "broken",
            Cause::Status => "status",
        }
    }
}

// === impl Moment ===

impl Moment {
    pub(super) fn now() -> Moment {
        static START: LazyLock<Instant> = LazyLock::new(Instant::now);
        // Never 0, which is no moment.
        Moment(u64::try_from(START.elapsed().as_millis()).unwrap_or(u64::MAX - 2) + 1)
    }

    /// The first.
    #[cfg(test)]
    pub(super) fn start() -> Moment {
        Moment(1)
    }

    pub(super) fn millis(self) -> u64 {
        self.0
    }

    /// The second that it is in.
    pub(super) fn second(self) -> u32 {
        u32::try_from(self.0 / 1000).unwrap_or(u32::MAX)
    }

    pub(super) fn after(self, time: Duration) -> Moment {
        Moment(self.0.saturating_add(u64::try_from(time.as_millis()).unwrap_or(u64::MAX)).min(TRIAL - 1))
    }
}

fn unix_millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::upstream::CountedAnswers;

    const EJECTION: Ejection = Ejection {
        consecutive_failures: 2,
        answers: CountedAnswers::Gateway,
        base: Duration::from_secs(10),
        max: Duration::from_secs(60),
        max_share: 50,
    };

    fn at(seconds: u64) -> Moment {
        Moment(1000 * seconds)
    }

    fn ejected(health: &Health, now: u64) {
        assert!(health.eject(at(now), &EJECTION, 0.0));
        health.proclaim(Cause::Status);
    }

    #[test]
    fn after_its_time_one_request_tries() {
        let health = Health::new(&Arc::default());
        let before = health.vitals.changes();
        ejected(&health, 100);
        assert!(health.vitals.changes() > before);
        assert!(!health.eject(at(100), &EJECTION, 0.0), "it is already");
        assert_eq!((health.standing(), health.down().map(|(why, _)| why)), (Standing::Out(at(110)), Some("status")));
        assert!(!health.begin_trial(at(109)));
        assert!(health.begin_trial(at(110)) && !health.begin_trial(at(110)));
        // Whoever tried went away without an answer.
        health.give_up_trial(at(111));
        assert!(health.begin_trial(at(111)));
        health.pass_trial(at(112));
        assert_eq!((health.standing(), health.down()), (Standing::In, None));
    }

    #[test]
    fn the_time_grows_until_it_was_well_for_long() {
        let health = Health::new(&Arc::default());
        ejected(&health, 100);
        assert!(health.begin_trial(at(110)));
        health.fail_trial(at(110), &EJECTION, 1.0);
        assert_eq!(health.standing(), Standing::Out(at(132)), "twice as long, and a tenth");
        assert!(health.begin_trial(at(132)));
        health.pass_trial(at(132));
        ejected(&health, 150);
        assert_eq!(health.standing(), Standing::Out(at(190)));
        assert!(health.begin_trial(at(190)));
        health.pass_trial(at(190));
        ejected(&health, 250);
        assert_eq!(health.standing(), Standing::Out(at(260)));
        assert_eq!(health.vitals.ejections().map(|(_, n)| n).sum::<u64>(), 3);
    }

    #[test]
    fn failures_count_only_in_a_row() {
        let health = Health::new(&Arc::default());
        assert_eq!((health.failed(), health.failed()), (1, 2));
        health.succeeded();
        assert_eq!(health.failed(), 1);
    }

    #[test]
    fn a_share_grows_from_a_tenth_to_all() {
        let health = Health::new(&Arc::default());
        let warmth = |now| health.warmth(at(now), Duration::from_secs(100));
        assert_eq!(warmth(5), None);
        health.warm_up(at(100));
        assert_eq!((warmth(100), warmth(105), warmth(150), warmth(199)), (Some(100), Some(100), Some(500), Some(990)));
        assert_eq!((warmth(200), warmth(10_000), warmth(90)), (None, None, Some(100)));
    }

    #[test]
    fn who_was_down_begins_anew_and_who_was_not_does_not() {
        let hour = Duration::from_secs(3600);
        let health = Health::new(&Arc::default());
        assert!(health.set_checked(Checked::Passed));
        assert_eq!(health.warmth(Moment::now(), hour), None);
        assert!(health.set_checked(Checked::Failed) && health.set_checked(Checked::Passed));
        assert_eq!(health.warmth(Moment::now(), hour), Some(100));
        let health = Health::new(&Arc::default());
        ejected(&health, 100);
        assert!(health.begin_trial(at(110)));
        health.pass_trial(at(110));
        assert_eq!(health.warmth(at(111), hour), Some(100));
    }
}
