//! How many requests are under way to an upstream at once, of all workers, and who waits for that.
//!
//! One atomic word says how many are under way and how many wait. Who finds room takes it by that word alone. Nobody
//! overtakes: while somebody waits, whoever comes waits too. Room that is given back wakes the one that waits longest, and
//! who took room wakes the next while there is more; so as long as there is room and somebody waits, somebody is awake.

use proto::upstream::Concurrency;
use std::sync::{
    Arc,
    atomic::{
        AtomicU64,
        Ordering::{AcqRel, Acquire},
    },
};
use tokio::sync::Notify;

/// One that waits, in the word.
const WAITING: u64 = 1 << 32;

/// The requests under way.
#[derive(Debug, Default)]
pub(super) struct Limiter {
    // How many are under way, and above that how many wait.
    word: AtomicU64,
    // Wakes who waits, in their order.
    room: Notify,
}

/// What becomes of a request that comes.
#[derive(Debug)]
pub(super) enum Entry {
    /// It goes on.
    Permit(Permit),
    /// It waits.
    Place(Place),
    /// Too many wait already.
    Full,
}

/// The right to be under way.
#[derive(Debug)]
pub(crate) struct Permit(Arc<Limiter>);

/// A place in the queue.
#[derive(Debug)]
pub(super) struct Place {
    limiter: Arc<Limiter>,
    // Not any more when it is its turn.
    waits: bool,
}

// === impl Limiter ===

impl Limiter {
    /// A request comes.
    pub(super) fn enter(self: &Arc<Limiter>, limit: Concurrency) -> Entry {
        let has_room = |word| waiting(word) == 0 && under_way(word) < limit.max;
        let entered = self.word.fetch_update(AcqRel, Acquire, |word| {
            if has_room(word) { Some(word + 1) } else { (waiting(word) < limit.queue).then_some(word + WAITING) }
        });
        match entered {
            Ok(word) if has_room(word) => Entry::Permit(Permit(self.clone())),
            Ok(_) => Entry::Place(Place { limiter: self.clone(), waits: true }),
            Err(_) => Entry::Full,
        }
    }

    /// How many are under way, and how many wait.
    pub(super) fn figures(&self) -> (u32, u32) {
        let word = self.word.load(Acquire);
        (under_way(word), waiting(word))
    }

    // From waiting to being under way, if there is room.
    fn take(&self, max: u32) -> bool {
        let take = |word| (under_way(word) < max).then_some(word + 1 - WAITING);
        let Ok(before) = self.word.fetch_update(AcqRel, Acquire, take) else { return false };
        if waiting(before) > 1 && under_way(before) + 1 < max {
            self.room.notify_one();
        }
        true
    }
}

fn under_way(word: u64) -> u32 {
    word as u32
}

fn waiting(word: u64) -> u32 {
    (word >> 32) as u32
}

// === impl Place ===

impl Place {
    /// Resolves when it is its turn.
    pub(super) async fn turn(mut self, limit: Concurrency) -> Permit {
        let limiter = self.limiter.clone();
        loop {
            // Dropped after it was woken, it wakes the next.
            limiter.room.notified().await;
            if limiter.take(limit.max) {
                self.waits = false;
                return Permit(limiter);
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.waits {
            self.limiter.word.fetch_sub(WAITING, AcqRel);
        }
    }
}

// === impl Permit ===

impl Drop for Permit {
    fn drop(&mut self) {
        if waiting(self.0.word.fetch_sub(1, AcqRel)) > 0 {
            self.0.room.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        pin::pin,
        task::{Context, Poll, Waker},
        time::Duration,
    };

    fn limit(max: u32, queue: u32) -> Concurrency {
        Concurrency { max, queue, wait: Duration::from_secs(1) }
    }

    fn permit(entry: Entry) -> Permit {
        let Entry::Permit(permit) = entry else { panic!("{entry:?}") };
        permit
    }

    fn place(entry: Entry) -> Place {
        let Entry::Place(place) = entry else { panic!("{entry:?}") };
        place
    }

    fn poll<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn who_came_first_goes_first_and_nobody_overtakes() {
        let (limiter, limit) = (Arc::<Limiter>::default(), limit(1, 2));
        let first = permit(limiter.enter(limit));
        let mut second = pin!(place(limiter.enter(limit)).turn(limit));
        let mut third = pin!(place(limiter.enter(limit)).turn(limit));
        assert!(poll(second.as_mut()).is_pending() && poll(third.as_mut()).is_pending());
        assert!(matches!(limiter.enter(limit), Entry::Full));
        assert_eq!(limiter.figures(), (1, 2));
        drop(first);
        assert!(poll(third.as_mut()).is_pending());
        let Poll::Ready(second) = poll(second.as_mut()) else { panic!("it is its turn") };
        drop(place(limiter.enter(limit)));
        drop(second);
        assert!(poll(third.as_mut()).is_ready());
        assert_eq!(limiter.figures(), (0, 0));
    }

    #[test]
    fn who_leaves_makes_room_for_the_next() {
        let (limiter, limit) = (Arc::<Limiter>::default(), limit(1, 5));
        let first = permit(limiter.enter(limit));
        let mut second = Box::pin(place(limiter.enter(limit)).turn(limit));
        let mut third = pin!(place(limiter.enter(limit)).turn(limit));
        assert!(poll(second.as_mut()).is_pending() && poll(third.as_mut()).is_pending());
        drop(first);
        // It was woken, and leaves before it goes on.
        drop(second);
        assert!(poll(third.as_mut()).is_ready());
        assert_eq!(limiter.figures(), (0, 0));
    }

    #[test]
    fn as_many_go_on_as_there_is_room() {
        let (limiter, limit) = (Arc::<Limiter>::default(), limit(2, 5));
        let permits = [permit(limiter.enter(limit)), permit(limiter.enter(limit))];
        // They did not wait yet when room was given back twice.
        let places = [place(limiter.enter(limit)), place(limiter.enter(limit))];
        drop(permits);
        let [mut first, mut second] = places.map(|place| Box::pin(place.turn(limit)));
        let first = poll(first.as_mut());
        assert!(first.is_ready() && poll(second.as_mut()).is_ready());
    }

    #[test]
    fn under_load_of_threads_there_are_never_too_many_and_none_is_left() {
        use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
        let (limiter, limit) = (Arc::<Limiter>::default(), limit(3, 1000));
        let now = AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                    let ask = async || {
                        for _ in 0..500 {
                            let permit = match limiter.enter(limit) {
                                Entry::Permit(permit) => permit,
                                Entry::Place(place) => place.turn(limit).await,
                                Entry::Full => panic!("there is room to wait"),
                            };
                            assert!(now.fetch_add(1, SeqCst) < 3);
                            tokio::task::yield_now().await;
                            now.fetch_sub(1, SeqCst);
                            drop(permit);
                        }
                    };
                    runtime.block_on(async { tokio::join!(ask(), ask(), ask(), ask()) });
                });
            }
        });
        assert_eq!(limiter.figures(), (0, 0));
    }
}
