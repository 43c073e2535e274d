//! Letting go of clients without failing one.
//!
//! From the beginning of a drain every answer says that its connection ends. A connection on which nothing happens is
//! closed only when it was idle for a while: a request that is on its way to it would be lost.

use std::{
    cell::{Cell, RefCell},
    task::Waker,
    time::{Duration, Instant},
};
use tokio::sync::Notify;

/// How long a connection has to be idle before it is closed: far longer than a request is on its way.
pub(crate) const IDLE: Duration = Duration::from_secs(1);

/// The client connections of one worker, and whether they are to end.
#[derive(Debug, Default)]
pub(crate) struct Drain {
    begun: Cell<bool>,
    cut: Cell<bool>,
    // There is no room for connections that do nothing.
    spare: Cell<bool>,
    open: Cell<usize>,
    // Wakes each connection, when it has to look at what it does; by a number that is free again when it is closed.
    wakers: RefCell<Vec<Option<Waker>>>,
    free: RefCell<Vec<usize>>,
    listeners: RefCell<Vec<Waker>>,
    emptied: Notify,
}

/// A place among the connections of a worker.
#[derive(Debug)]
pub(crate) struct Place<'d> {
    drain: &'d Drain,
    number: usize,
}

/// A connection that is counted.
#[derive(Debug)]
pub(crate) struct Counted<'d>(&'d Drain);

// === impl Drain ===

impl Drain {
    /// Whether it has begun.
    pub(crate) fn begun(&self) -> bool {
        self.begun.get()
    }

    /// Begins: every connection looks at what it does now.
    pub(crate) fn begin(&self) {
        self.begun.set(true);
        self.wake();
        self.listeners.take().into_iter().for_each(Waker::wake);
    }

    fn wake(&self) {
        let wakers: Vec<Waker> = self.wakers.borrow().iter().flatten().cloned().collect();
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Whether connections that do nothing are to end for now; when they are, each looks at what it does.
    pub(crate) fn spare(&self, spare: bool) {
        if !self.spare.replace(spare) && spare {
            self.wake();
        }
    }

    /// The deadline has passed: every connection ends, whatever it does.
    pub(crate) fn cut(&self) {
        self.cut.set(true);
        self.begin();
    }

    /// Whether it has.
    pub(crate) fn is_cut(&self) -> bool {
        self.cut.get()
    }

    /// Wakes this task too, which accepts connections, when the drain begins.
    pub(crate) fn watch(&self, waker: &Waker) {
        self.listeners.borrow_mut().push(waker.clone());
    }

    /// Counts a connection from its accept on, before its task is first polled.
    pub(crate) fn count(&self) {
        self.open.set(self.open.get() + 1);
    }

    /// Ends the count of a connection when it is dropped.
    pub(crate) fn counted(&self) -> Counted<'_> {
        Counted(self)
    }

    /// A place for a new connection; the waker is that of its task.
    pub(crate) fn enter(&self, waker: &Waker) -> Place<'_> {
        let mut wakers = self.wakers.borrow_mut();
        let number = self.free.borrow_mut().pop().unwrap_or_else(|| {
            wakers.push(None);
            wakers.len() - 1
        });
        wakers[number] = Some(waker.clone());
        Place { drain: self, number }
    }

    /// Waits until there are no connections.
    pub(crate) async fn emptied(&self) {
        while self.open.get() > 0 {
            self.emptied.notified().await;
        }
    }

    /// How many connections there are.
    pub(crate) fn open(&self) -> usize {
        self.open.get()
    }

    /// When an idle connection ends, if it is to end.
    pub(crate) fn closes_at(&self, idle_since: Instant) -> Option<Instant> {
        (self.begun.get() || self.spare.get()).then(|| idle_since + IDLE)
    }
}

// === impl Place ===

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.drain.wakers.borrow_mut()[self.number] = None;
        self.drain.free.borrow_mut().push(self.number);
    }
}

// === impl Counted ===

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.open.set(self.0.open.get() - 1);
        if self.0.open.get() == 0 {
            self.0.emptied.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn places_are_counted_and_used_again() {
        let drain = Drain::default();
        let a = drain.enter(Waker::noop());
        let b = drain.enter(Waker::noop());
        drop(a);
        let c = drain.enter(Waker::noop());
        assert_eq!((c.number, drain.wakers.borrow().len()), (0, 2));
        drop((b, c));
        drain.count();
        drain.count();
        drop(drain.counted());
        assert_eq!(drain.open(), 1);
        drop(drain.counted());
        drain.emptied().await;
        assert_eq!(drain.closes_at(Instant::now()), None);
        drain.spare(true);
        assert!(drain.closes_at(Instant::now()).is_some() && !drain.begun());
        drain.spare(false);
        assert_eq!(drain.closes_at(Instant::now()), None);
        drain.begin();
        assert!(drain.closes_at(Instant::now()).is_some_and(|at| at > Instant::now()));
    }
}
