//! Waiting until as many nodes as wanted run a configuration, wherever they are.
//!
//! That all run it is said only after a reading of what the other control planes wrote that began during the wait, and
//! of which the last did not fail: what is not known is not promised.

use super::{Fleet, view::View};
use crate::nodes::{NodeStatus, reaches};
use proto::identity::Identity;
use std::time::{Duration, Instant};

/// How long the first reading is waited for beyond the deadline of a wait.
const FIRST_READING: Duration = Duration::from_secs(2);

/// A look at all nodes that takes longer is not taken again at once.
const LONG_LOOK: Duration = Duration::from_micros(100);

/// But after so many times as long.
const LOOK_SHARE: u32 = 4;

/// How many of the live nodes a wait is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// Each.
    All,
    /// That share, in per cent, rounded up.
    Percent(u8),
    /// That many.
    Count(usize),
}

/// How a wait ended.
#[derive(Clone, Debug)]
pub struct Waited {
    /// Whether as many run it as were wanted; true without live nodes, unless a number was wanted.
    pub reached: bool,
    /// How many live nodes run it.
    pub running: usize,
    /// The live nodes that do not, those that refused it among them.
    pub lagging: Vec<NodeStatus>,
    /// How many live nodes there are.
    pub live: usize,
    /// Whether the database did not answer, so that nodes at other control planes may be missing.
    pub stale: bool,
}

/// What is known at one moment.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    live: usize,
    running: usize,
    refused: usize,
}

/// What follows from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Reached,
    /// There is nothing to wait for.
    Hopeless,
    Open,
}

// === impl Fleet ===

impl Fleet {
    /// Waits until as many live nodes as wanted run the configuration or a later one of its history, or the deadline.
    /// Without live nodes, or when too many have refused it, there is nothing to wait for.
    pub async fn wait(&self, identity: &Identity, want: Want, deadline: Instant) -> Waited {
        let began = Instant::now();
        let (mut reports, mut views) = (self.nodes.reports(), self.view.subscribe());
        loop {
            reports.borrow_and_update();
            let view = views.borrow_and_update().clone();
            let now = Instant::now();
            let fresh = !view.failed && view.read >= began;
            let tally = self.tally(&view, identity, now);
            let verdict = tally.verdict(want, fresh);
            // A short wait is answered by what is known, not by what was not asked.
            let is_over = now >= deadline && (view.tried >= began || now >= began + FIRST_READING);
            if verdict != Verdict::Open || is_over {
                let mut lagging = self.find(&view, |_| true, |status, live| live && !status.runs(identity));
                let detailed = self.fill(&mut lagging).await;
                let lagging = lagging.into_iter().map(|found| found.status).collect();
                let (reached, stale) = (verdict == Verdict::Reached, !(fresh && detailed));
                return Waited { reached, running: tally.running, lagging, live: tally.live, stale };
            }
            self.asked.notify_one();
            // Among many nodes a look takes its time, and they report all at once.
            if now.elapsed() > LONG_LOOK {
                tokio::time::sleep(now.elapsed() * LOOK_SHARE).await;
            }
            // Silence is no report, but a node that falls silent ceases to be live.
            let recheck = now + Duration::from_secs(1);
            let recheck = if now < deadline { deadline.min(recheck) } else { recheck };
            tokio::select! {
                _ = reports.changed() => {}
                _ = views.changed() => {}
                () = tokio::time::sleep_until(recheck.into()) => {}
            }
        }
    }

    fn tally(&self, view: &View, identity: &Identity, now: Instant) -> Tally {
        let (mut tally, revoked) = (Tally::default(), self.access.revoked());
        self.nodes.look(|own| {
            for (status, mark) in own.iter() {
                let is_live = status.is_live_after(mark.silence) && !revoked.has(&status.id);
                if is_live && !view.beats(&status.id, &mark, now) {
                    tally.count(status.runs(identity), status.refuses(identity));
                }
            }
            for (id, word) in view.iter() {
                let believed = || own.get(id).is_none_or(|(_, mark)| !mark.beats(&word.mark(view, now)));
                if word.is_live(view, now) && !revoked.has(id) && believed() {
                    let summary = word.summary();
                    let runs = summary.running().is_some_and(|running| reaches(running, identity));
                    tally.count(runs, summary.refused() == Some(identity));
                }
            }
        });
        tally
    }
}

// === impl Tally ===

impl Tally {
    fn count(&mut self, runs: bool, refuses: bool) {
        self.live += 1;
        self.running += usize::from(runs);
        self.refused += usize::from(refuses);
    }

    // More nodes than are known cannot make a number too small, but a share.
    fn verdict(&self, want: Want, fresh: bool) -> Verdict {
        let needed = want.of(self.live);
        match want {
            Want::Count(_) if self.running >= needed => Verdict::Reached,
            Want::All | Want::Percent(_) if self.running >= needed && fresh => Verdict::Reached,
            Want::All | Want::Percent(_) | Want::Count(_) => {
                let too_many_refused = self.refused > 0 && self.live - self.refused < needed;
                if fresh && (self.live == 0 || too_many_refused) { Verdict::Hopeless } else { Verdict::Open }
            }
        }
    }
}

// === impl Want ===

impl Want {
    fn of(self, live: usize) -> usize {
        match self {
            Want::All => live,
            Want::Percent(share) => (live * usize::from(share)).div_ceil(100),
            Want::Count(count) => count,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(tally: (usize, usize, usize), want: Want, fresh: bool, expect: Verdict) {
        let (live, running, refused) = tally;
        let verdict = Tally { live, running, refused }.verdict(want, fresh);
        assert_eq!(verdict, expect, "{tally:?} {want:?} fresh: {fresh}");
    }

    #[test]
    fn a_share_of_the_nodes_is_rounded_up() {
        for (want, live, expect) in
            [(Want::All, 7, 7), (Want::Percent(50), 7, 4), (Want::Percent(95), 100, 95), (Want::Percent(1), 0, 0)]
        {
            assert_eq!(want.of(live), expect, "{want:?} of {live}");
        }
        assert_eq!(Want::Count(3).of(0), 3);
    }

    #[test]
    fn what_is_known_afresh_is_judged() {
        check((3, 3, 0), Want::All, true, Verdict::Reached);
        check((3, 2, 0), Want::All, true, Verdict::Open);
        check((3, 2, 0), Want::Percent(60), true, Verdict::Reached);
        check((0, 0, 0), Want::All, true, Verdict::Reached);
        check((0, 0, 0), Want::Count(1), true, Verdict::Hopeless);
        check((3, 1, 1), Want::All, true, Verdict::Hopeless);
        check((3, 1, 1), Want::Count(2), true, Verdict::Open);
    }

    #[test]
    fn of_all_and_of_a_share_nothing_is_promised_while_nodes_may_be_missing() {
        for want in [Want::All, Want::Percent(1)] {
            check((3, 3, 0), want, false, Verdict::Open);
            check((0, 0, 0), want, false, Verdict::Open);
            check((1, 0, 1), want, false, Verdict::Open);
        }
        check((3, 3, 0), Want::Count(3), false, Verdict::Reached);
        check((3, 2, 1), Want::Count(3), false, Verdict::Open);
    }
}
