//! Deadlines of one request at a time: of a connection of HTTP/1, or of a stream of HTTP/2.
//!
//! There is one timer a wire, and it is lazy: whoever waits only notes a deadline here, and [`Wire::drive`] arms the timer
//! again when it fires too early. So a request that is answered in time never touches the runtime's timer wheel. A wire
//! waits for one thing at a time: for a head, for an upstream, for the client to take what is written.

use std::{
    cell::Cell,
    future::poll_fn,
    pin::{Pin, pin},
    task::Poll,
    time::{Duration, Instant},
};
use tokio::time::sleep_until;

/// The deadlines of one request at a time.
#[derive(Debug)]
pub(crate) struct Wire {
    // When the first byte of the request in hand came.
    begun: Cell<Instant>,
    // When the last answer ended.
    ended: Cell<Instant>,
    // Until when it waits for something.
    deadline: Cell<Option<Instant>>,
    // When the answer to the request in hand has to be there, once that was sent.
    due: Cell<Option<Instant>>,
}

/// It took too long.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Elapsed;

// === impl Wire ===

impl Wire {
    /// A wire that was opened at this time.
    pub(crate) fn new(now: Instant) -> Wire {
        Wire { begun: Cell::new(now), ended: Cell::new(now), deadline: Cell::new(None), due: Cell::new(None) }
    }

    /// The first byte of a request came.
    pub(crate) fn begin(&self, now: Instant) {
        self.begun.set(now);
    }

    /// When it came.
    pub(crate) fn begun(&self) -> Instant {
        self.begun.get()
    }

    /// The request: its answer ended.
    pub(crate) fn finish(&self, now: Instant) {
        self.ended.set(now);
        self.deadline.set(None);
    }

    /// Whether no request came yet.
    pub(crate) fn is_fresh(&self) -> bool {
        self.begun.get() == self.ended.get()
    }

    /// When the last answer ended; before the first, when the wire was opened.
    pub(crate) fn ended(&self) -> Instant {
        self.ended.get()
    }

    /// Awaits the future, but no longer than that.
    pub(crate) async fn limit<F: Future>(&self, within: Duration, future: F) -> Result<F::Output, Elapsed> {
        let mut future = pin!(future);
        poll_fn(|cx| match future.as_mut().poll(cx) {
            Poll::Ready(output) => {
                self.progress();
                Poll::Ready(Ok(output))
            }
            Poll::Pending => self.wait(within).map_or_else(|elapsed| Poll::Ready(Err(elapsed)), |()| Poll::Pending),
        })
        .await
    }

    /// There is nothing to go on with: notes the deadline, and says when it has passed.
    pub(crate) fn wait(&self, within: Duration) -> Result<(), Elapsed> {
        let now = Instant::now();
        match self.deadline.get() {
            None => self.deadline.set(Some(now + within)),
            Some(deadline) if deadline <= now => {
                self.deadline.set(None);
                return Err(Elapsed);
            }
            Some(_) => {}
        }
        Ok(())
    }

    /// Like [`Wire::wait`], for a deadline that stands, or that may change while it is awaited.
    pub(crate) fn wait_until(&self, deadline: Instant) -> Result<(), Elapsed> {
        // The timer sees to one that is new, so that it costs no look at the clock.
        if self.deadline.get() == Some(deadline) && deadline <= Instant::now() {
            self.deadline.set(None);
            return Err(Elapsed);
        }
        self.deadline.set(Some(deadline));
        Ok(())
    }

    /// Until when it waits for something.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.deadline.get()
    }

    /// When the answer to the request in hand has to be there, whoever it comes from.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.due.get()
    }

    /// Says when, or that it is not known yet.
    pub(crate) fn set_due(&self, due: Option<Instant>) {
        self.due.set(due);
    }

    /// It went on: the next wait has a deadline of its own.
    pub(crate) fn progress(&self) {
        self.deadline.set(None);
    }

    /// Runs what uses this wire: polls it also when its deadline has passed.
    pub(crate) async fn drive<F: Future>(&self, mut future: Pin<&mut F>) -> F::Output {
        let mut timer = pin!(sleep_until(self.begun.get().into()));
        // When the timer fires.
        let mut armed: Option<Instant> = None;
        let mut due = None;
        poll_fn(|cx| {
            'poll: loop {
                if let Poll::Ready(output) = future.as_mut().poll(cx) {
                    return Poll::Ready(output);
                }
                // Nobody waits for it any more.
                if due.take().is_some_and(|due| self.deadline.get() == Some(due)) {
                    self.progress();
                }
                while let Some(deadline) = self.deadline.get() {
                    // A timer that fires too early is left alone: it is armed again when it fires.
                    if armed.is_none_or(|armed| deadline < armed) {
                        timer.as_mut().reset(deadline.into());
                        armed = Some(deadline);
                    } else if !timer.is_elapsed() {
                        return Poll::Pending;
                    }
                    if timer.as_mut().poll(cx).is_pending() {
                        return Poll::Pending;
                    }
                    armed = None;
                    if deadline <= Instant::now() {
                        due = Some(deadline);
                        continue 'poll;
                    }
                }
                return Poll::Pending;
            }
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOMENT: Duration = Duration::from_millis(20);

    #[tokio::test]
    async fn what_takes_too_long_is_polled_when_it_does() {
        let wire = Wire::new(Instant::now());
        let start = Instant::now();
        assert_eq!(wire.drive(pin!(wire.limit(MOMENT, std::future::pending::<()>()))).await, Err(Elapsed));
        assert!(start.elapsed() >= MOMENT);
        // A deadline that was moved fires when it is due, and no sooner.
        let start = Instant::now();
        let moved = poll_fn(|_| {
            if start.elapsed() < MOMENT {
                wire.progress();
            }
            wire.wait(2 * MOMENT).map_or(Poll::Ready(()), |()| Poll::Pending)
        });
        wire.drive(pin!(moved)).await;
        assert!(start.elapsed() >= 2 * MOMENT);
    }

    #[tokio::test]
    async fn what_goes_on_has_a_new_deadline() {
        let wire = Wire::new(Instant::now());
        assert_eq!(wire.wait(Duration::ZERO), Ok(()));
        wire.progress();
        assert_eq!(wire.wait(MOMENT), Ok(()));
        let now = Instant::now();
        assert_eq!((wire.wait_until(now), wire.wait_until(now)), (Ok(()), Err(Elapsed)));
        assert_eq!(wire.drive(pin!(wire.limit(MOMENT, std::future::ready(7)))).await, Ok(7));
    }
}
