//! What the other control planes wrote, as it was last read, and how old that is.
//!
//! Ages are those that the database told, and from then on the time that passes here. While the database is away nobody
//! can write that a node was seen, so that time makes no node older: otherwise the first who reaches the database again
//! would take all nodes of the others for gone.

use super::record::{Ages, Summary};
use crate::{
    nodes::{LIVE_FOR, Mark, NodeStatus, is_live},
    store::status::StatusRow,
};
use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

/// What was read last.
#[derive(Clone)]
pub(super) struct View {
    words: Arc<BTreeMap<String, Word>>,
    /// When the reading began that gave it; none yet, when it is that of the start.
    pub(super) read: Instant,
    /// When the last reading began, whatever came of it.
    pub(super) tried: Instant,
    /// Whether that failed.
    pub(super) failed: bool,
    // From the last answer before the database was away until the first after.
    away: Option<(Instant, Option<Instant>)>,
}

/// What one control plane wrote of a node.
pub(super) struct Word {
    control_plane: String,
    connected: bool,
    ages: Ages,
    // Read again only when the text is another.
    text: String,
    summary: Arc<Summary>,
}

// === impl View ===

impl View {
    /// Nothing was read yet.
    pub(super) fn new(now: Instant) -> View {
        View { words: Arc::default(), read: now, tried: now, failed: true, away: None }
    }

    /// What was read after this, by a reading that began then.
    pub(super) fn with(&self, rows: Vec<StatusRow>, began: Instant) -> View {
        let word = |row: StatusRow| {
            let known = self.words.get(&row.id).filter(|known| known.text == row.summary);
            let summary = known.map_or_else(|| Arc::new(Summary::read(&row.summary)), |known| known.summary.clone());
            let StatusRow { id, control_plane, connected, since, seen, running, refused, summary: text, .. } = row;
            (id, Word { control_plane, connected, ages: Ages { since, seen, running, refused }, text, summary })
        };
        let words = Arc::new(rows.into_iter().map(word).collect());
        let away = self.away.map(|(from, until)| (from, Some(until.unwrap_or(began))));
        View { words, read: began, tried: began, failed: false, away }
    }

    /// A reading that began then has failed.
    pub(super) fn without_answer(&self, began: Instant) -> View {
        let away = match self.away {
            // One of the start says nothing of how long the database was there before.
            None if self.words.is_empty() && self.failed => None,
            None => Some((self.read, None)),
            // Whoever did not have the time to be seen in between is no older for it.
            Some((from, Some(until))) if self.read.duration_since(until) < LIVE_FOR => Some((from, None)),
            Some((_, Some(_))) => Some((self.read, None)),
            Some((from, None)) => Some((from, None)),
        };
        View { tried: began, failed: true, away, ..self.clone() }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&String, &Word)> {
        self.words.iter()
    }

    /// Whether what another control plane wrote of a node is to be believed rather than what is known here.
    pub(super) fn beats(&self, id: &str, own: &Mark, now: Instant) -> bool {
        self.words.get(id).is_some_and(|word| !own.beats(&word.mark(self, now)))
    }

    // For how long a node has said nothing, when the database tells so long.
    fn silence(&self, seen: Duration, now: Instant) -> Duration {
        let passed = now.duration_since(self.read);
        let age = seen + passed;
        let Some((from, until)) = self.away else { return age };
        let (from, until) = (now.duration_since(from), until.map_or(Duration::ZERO, |until| now.duration_since(until)));
        age.saturating_sub(from.min(age).saturating_sub(until))
    }
}

// === impl Word ===

impl Word {
    pub(super) fn mark(&self, view: &View, now: Instant) -> Mark {
        let passed = now.duration_since(view.read);
        Mark { connected: self.connected, since: self.ages.since + passed, silence: view.silence(self.ages.seen, now) }
    }

    pub(super) fn is_live(&self, view: &View, now: Instant) -> bool {
        let silence = view.silence(self.ages.seen, now);
        is_live(self.summary.draining, self.connected, silence)
    }

    /// What it runs and refused.
    pub(super) fn summary(&self) -> &Summary {
        &self.summary
    }

    pub(super) fn status(&self, id: &str, view: &View, now: Instant) -> NodeStatus {
        let passed = now.duration_since(view.read);
        let Ages { since, seen, running, refused } = self.ages;
        let older = |age: Duration| age + passed;
        let ages =
            Ages { since: older(since), seen: older(seen), running: running.map(older), refused: refused.map(older) };
        let silence = view.silence(seen, now);
        // Of a control plane that died nobody writes that its streams have ended.
        let connected = self.connected && silence < LIVE_FOR;
        let mut status = self.summary.status(id, &self.control_plane, connected, &ages);
        status.live = status.is_live_after(silence);
        status
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: u64 = 1_000;

    /// Seconds after some moment.
    fn at(moment: Instant, seconds: u64) -> Instant {
        moment + Duration::from_secs(seconds)
    }

    fn seen(ago: u64) -> Vec<StatusRow> {
        vec![StatusRow {
            id: "n".into(),
            control_plane: "other".into(),
            written: 1,
            connected: true,
            since: Duration::from_secs(ago + 60),
            seen: Duration::from_secs(ago),
            running: None,
            refused: None,
            summary: "{}".into(),
            detail: "{}".into(),
        }]
    }

    /// Whether the one node is live then.
    fn live(view: &View, now: Instant) -> bool {
        let (_, word) = view.iter().next().unwrap();
        let status = word.status("n", view, now);
        assert_eq!(status.live, word.is_live(view, now));
        assert_eq!(status.connected, status.live, "of who is silent no stream is known to stand");
        status.live
    }

    #[test]
    fn a_node_is_live_until_15_seconds_after_it_was_seen() {
        let moment = Instant::now();
        let view = View::new(moment).with(seen(7), at(moment, START));
        assert!(live(&view, at(moment, START)));
        assert!(live(&view, at(moment, START + 7)));
        assert!(!live(&view, at(moment, START + 8)));
        assert!(!live(&View::new(moment).with(seen(16), at(moment, START)), at(moment, START)));
    }

    #[test]
    fn the_time_that_the_database_is_away_makes_no_node_older() {
        let moment = Instant::now();
        let view = View::new(moment).with(seen(3), at(moment, START)).without_answer(at(moment, START + 5));
        assert!(view.failed);
        assert!(live(&view, at(moment, START + 60)), "while it is away");
        // It is back after a minute, and the other control plane has not written yet.
        let back = START + 60;
        let view = view.with(seen(63), at(moment, back));
        assert!(live(&view, at(moment, back)));
        assert!(live(&view, at(moment, back + 11)));
        assert!(!live(&view, at(moment, back + 12)), "it had its time to be seen");
        let dead = View { words: View::new(moment).with(seen(80), at(moment, back)).words, ..view.clone() };
        assert!(!live(&dead, at(moment, back)), "it was silent for long when the database went away");
        // Once more, before there was time to be seen.
        let again = view.without_answer(at(moment, back + 2)).with(seen(75), at(moment, back + 12));
        assert!(live(&again, at(moment, back + 12)));
        // And seen since.
        let seen_since = again.with(seen(1), at(moment, back + 20));
        assert!(live(&seen_since, at(moment, back + 33)));
        assert!(!live(&seen_since, at(moment, back + 34)));
    }

    #[test]
    fn a_database_that_was_not_there_at_the_start_proves_nothing() {
        let moment = Instant::now();
        let view = View::new(moment).without_answer(at(moment, 1)).without_answer(at(moment, 2));
        assert!(!live(&view.with(seen(20), at(moment, 30)), at(moment, 30)));
    }
}
