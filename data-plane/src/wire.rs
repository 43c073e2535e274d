//! What a client's connection is doing: shared by its socket, its driver and the request in hand.
//!
//! A connection has one timer, which is lazy: whoever waits only notes a deadline here, and the driver re-arms the timer
//! when it fires too early. So a request that is answered in time never touches the runtime's timer wheel.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    pin::pin,
    task::Poll,
    time::{Duration, Instant},
};

/// How much memory for heads a connection keeps.
const KEPT_HEAD: usize = 2048;

/// A client's connection.
#[derive(Debug)]
pub(crate) struct Wire {
    phase: Cell<Phase>,
    // Since when.
    since: Cell<Instant>,
    // Since when the client does not take what is written to it.
    stuck: Cell<Option<Instant>>,
    // Until when the request in hand waits for something.
    step: Cell<Option<Instant>>,
    // What was read since the last answer ended: the head as the client wrote it, while there is no pipelining.
    head: RefCell<Vec<u8>>,
    patience: Patience,
}

/// How long a client may keep a connection waiting.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// For a whole head.
    pub(crate) head: Duration,
    /// Between two requests.
    pub(crate) keep_alive: Duration,
    /// For taking what is written.
    pub(crate) write: Duration,
    /// The most of a head that is remembered.
    pub(crate) head_bytes: usize,
}

/// What is awaited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The first request of a connection.
    Fresh,
    /// The next request.
    Idle,
    /// The rest of a head.
    Head,
    /// An answer.
    Busy,
}

/// It took too long.
#[derive(Debug)]
pub(crate) struct Elapsed;

/// What to do when the timer fires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Overdue {
    /// Nothing yet.
    Nothing,
    /// The request in hand finds out when it is polled.
    Step,
    /// The client's patience is at an end.
    Client(Phase),
}

// === impl Wire ===

impl Wire {
    /// A connection that was accepted at this time; its first request has to come as soon as the rest of a head.
    pub(crate) fn new(now: Instant, patience: Patience) -> Wire {
        Wire {
            phase: Cell::new(Phase::Fresh),
            since: Cell::new(now),
            stuck: Cell::new(None),
            step: Cell::new(None),
            head: RefCell::default(),
            patience,
        }
    }

    /// What is awaited.
    pub(crate) fn phase(&self) -> Phase {
        self.phase.get()
    }

    /// Since when the phase lasts.
    pub(crate) fn since(&self) -> Instant {
        self.since.get()
    }

    /// The socket: bytes came.
    pub(crate) fn received(&self, bytes: &[u8]) {
        let mut head = self.head.borrow_mut();
        match self.phase.get() {
            Phase::Fresh | Phase::Idle => {
                self.phase.set(Phase::Head);
                self.since.set(Instant::now());
            }
            Phase::Head => {}
            Phase::Busy => return,
        }
        let room = self.patience.head_bytes.saturating_sub(head.len());
        head.extend_from_slice(&bytes[..room.min(bytes.len())]);
    }

    /// The socket: whether the client takes what is written.
    pub(crate) fn written<T>(&self, poll: &Poll<T>) {
        match (poll.is_pending(), self.stuck.get()) {
            (true, None) => self.stuck.set(Some(Instant::now())),
            (false, Some(_)) => {
                self.stuck.set(None);
                if self.phase.get() == Phase::Idle {
                    // It still takes the end of the answer, slowly: it is not idle yet.
                    self.since.set(Instant::now());
                }
            }
            (true, Some(_)) | (false, None) => {}
        }
    }

    /// The request: its head is whole. Returns when it began to come.
    pub(crate) fn begin(&self) -> Instant {
        if self.phase.get() == Phase::Idle {
            // It was read together with the request before it.
            self.since.set(Instant::now());
        }
        self.phase.set(Phase::Busy);
        self.step.set(None);
        self.since.get()
    }

    /// The request: its answer ended.
    pub(crate) fn finish(&self, now: Instant) {
        self.phase.set(Phase::Idle);
        self.since.set(now);
        self.step.set(None);
        let mut head = self.head.borrow_mut();
        head.clear();
        // One large head is no reason to keep its memory.
        head.shrink_to(KEPT_HEAD);
    }

    /// How many fields of that name the head has as the client wrote it, whatever the parser made of them; `None` when
    /// that is not known, because the head was read together with an earlier request.
    pub(crate) fn count_fields(&self, method: &str, name: &str) -> Option<usize> {
        let head = self.head.borrow();
        let start = head.iter().position(|byte| !matches!(byte, b'\r' | b'\n'))?;
        let rest = head[start..].strip_prefix(method.as_bytes())?.strip_prefix(b" ")?;
        let mut count = 0;
        for line in rest.split_inclusive(|byte| *byte == b'\n').skip(1) {
            if matches!(line, b"\n" | b"\r\n") {
                return Some(count);
            }
            let field = line.split(|byte| *byte == b':').next().unwrap_or_default();
            count += usize::from(field.eq_ignore_ascii_case(name.as_bytes()));
        }
        None
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

    /// There is nothing to go on with: notes the deadline, and says when it has passed. A request waits for one thing at
    /// a time.
    pub(crate) fn wait(&self, within: Duration) -> Result<(), Elapsed> {
        let now = Instant::now();
        match self.step.get() {
            None => self.step.set(Some(now + within)),
            Some(deadline) if deadline <= now => {
                self.step.set(None);
                return Err(Elapsed);
            }
            Some(_) => {}
        }
        Ok(())
    }

    /// It went on: the next wait has a deadline of its own.
    pub(crate) fn progress(&self) {
        self.step.set(None);
    }

    /// The driver: when to look again.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let client = match self.phase.get() {
            Phase::Idle => Some(self.since.get() + self.patience.keep_alive),
            Phase::Fresh | Phase::Head => Some(self.since.get() + self.patience.head),
            Phase::Busy => self.step.get(),
        };
        match self.stuck.get() {
            None => client,
            Some(since) => {
                let stuck = since + self.patience.write;
                Some(client.map_or(stuck, |client| client.min(stuck)))
            }
        }
    }

    /// The driver: what is due.
    pub(crate) fn overdue(&self, now: Instant) -> Overdue {
        let phase = self.phase.get();
        if self.stuck.get().is_some_and(|since| since + self.patience.write <= now) {
            return Overdue::Client(phase);
        }
        match self.deadline() {
            Some(deadline) if deadline <= now && phase == Phase::Busy => Overdue::Step,
            Some(deadline) if deadline <= now => Overdue::Client(phase),
            Some(_) | None => Overdue::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(now: Instant) -> Wire {
        let second = Duration::from_secs(1);
        Wire::new(now, Patience { head: second, keep_alive: 9 * second, write: 5 * second, head_bytes: 100 })
    }

    #[test]
    fn a_head_and_the_wait_for_one_have_limits_of_their_own() {
        let (now, second) = (Instant::now(), Duration::from_secs(1));
        let wire = wire(now);
        assert_eq!(wire.overdue(now + second / 2), Overdue::Nothing);
        assert_eq!(wire.overdue(now + second), Overdue::Client(Phase::Fresh));
        wire.begin();
        assert_eq!(wire.overdue(now + 1000 * second), Overdue::Nothing);
        wire.finish(now);
        assert_eq!(wire.overdue(now + 8 * second), Overdue::Nothing);
        assert_eq!(wire.overdue(now + 9 * second), Overdue::Client(Phase::Idle));
        wire.received(b"G");
        assert_eq!(wire.overdue(now + 9 * second), Overdue::Client(Phase::Head));
    }

    #[test]
    fn a_client_that_takes_nothing_is_noticed() {
        let now = Instant::now();
        let wire = wire(now);
        wire.begin();
        wire.written(&Poll::<()>::Pending);
        assert_eq!(wire.overdue(now + Duration::from_secs(4)), Overdue::Nothing);
        assert_eq!(wire.overdue(now + Duration::from_secs(60)), Overdue::Client(Phase::Busy));
        wire.written(&Poll::Ready(()));
        assert_eq!(wire.overdue(now + Duration::from_secs(60)), Overdue::Nothing);
    }

    #[test]
    fn fields_are_counted_as_they_were_written() {
        let check = |bytes: &str, expect| {
            let wire = wire(Instant::now());
            wire.received(bytes.as_bytes());
            assert_eq!(wire.count_fields("POST", "content-length"), expect, "{bytes}");
        };
        check("POST / HTTP/1.1\r\nContent-Length: 3\r\ncontent-length: 3\r\n\r\nabc", Some(2));
        check("\r\nPOST / HTTP/1.1\nContent-Length: 3\n\ncontent-length: 4\n", Some(1));
        check("POST / HTTP/1.1\r\nHost: a\r\n\r\n", Some(0));
        check("POST / HTTP/1.1\r\nContent-Length: 3\r\n", None);
        check("GET / HTTP/1.1\r\n\r\n", None);
        check("", None);
    }
}
