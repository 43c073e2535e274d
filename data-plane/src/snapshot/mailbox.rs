//! A mailbox that holds the newest: who puts never waits, and what nobody took in time gives way.

use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// Holds one value at most. Cheap to clone; the clones are one mailbox.
#[derive(Debug)]
pub(crate) struct Mailbox<T>(Arc<Inner<T>>);

/// What was taken.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Taken<T> {
    /// The newest.
    Value(T),
    /// Nothing came in time.
    Nothing,
    /// Nothing will come any more.
    Closed,
}

#[derive(Debug)]
struct Inner<T> {
    slot: Mutex<Slot<T>>,
    changed: Condvar,
}

#[derive(Debug)]
struct Slot<T> {
    value: Option<T>,
    closed: bool,
}

// === impl Mailbox ===

impl<T> Mailbox<T> {
    /// An empty one.
    pub(crate) fn new() -> Mailbox<T> {
        let slot = Mutex::new(Slot { value: None, closed: false });
        Mailbox(Arc::new(Inner { slot, changed: Condvar::new() }))
    }

    /// Puts a value in the place of any that nobody took.
    pub(crate) fn put(&self, value: T) {
        self.slot().value = Some(value);
        self.0.changed.notify_all();
    }

    /// No value will be put any more; one that is there can still be taken.
    pub(crate) fn close(&self) {
        self.slot().closed = true;
        self.0.changed.notify_all();
    }

    /// Waits for a value, but no longer than that.
    pub(crate) fn take(&self, timeout: Duration) -> Taken<T> {
        let deadline = Instant::now() + timeout;
        let mut slot = self.slot();
        loop {
            if let Some(value) = slot.value.take() {
                return Taken::Value(value);
            }
            if slot.closed {
                return Taken::Closed;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Taken::Nothing;
            }
            slot = self.0.changed.wait_timeout(slot, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn slot(&self) -> MutexGuard<'_, Slot<T>> {
        // Nothing is done under the lock that could leave it half done.
        self.0.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Clone for Mailbox<T> {
    fn clone(&self) -> Mailbox<T> {
        Mailbox(self.0.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_is_taken() {
        let mailbox = Mailbox::new();
        assert_eq!(mailbox.take(Duration::ZERO), Taken::<u32>::Nothing);
        mailbox.put(1);
        mailbox.put(2);
        mailbox.close();
        assert_eq!(mailbox.take(Duration::ZERO), Taken::Value(2));
        assert_eq!(mailbox.take(Duration::from_secs(60)), Taken::Closed);
    }
}
