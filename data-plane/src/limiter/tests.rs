use super::*;
use proptest::prelude::*;
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

const SECOND: Duration = Duration::from_secs(1);

fn windows(all: &[(u32, Duration, u32)]) -> Vec<Window> {
    let buckets: Vec<_> =
        all.iter().map(|(limit, window, burst)| (*window, Bucket::new(*limit, *window, *burst))).collect();
    Slots::default().windows(&buckets)
}

fn key(limiter: &Limiter, name: &str) -> Key {
    limiter.key().part(name.as_bytes()).finish()
}

#[test]
fn all_that_is_told_follows_from_one_number() {
    let limiter = Limiter::of(1024);
    let (key, all, begun) = (key(&limiter, "a"), windows(&[(10, SECOND, 5)]), Instant::now());
    let check = |millis, cost, expect: (bool, u32, u64, u64)| {
        let at = begun + Duration::from_millis(millis);
        let Allowance { allowed, limit, remaining, reset, retry_after, .. } = limiter.check(key, &all, cost, at);
        assert_eq!(limit, 5);
        let told = (allowed, remaining, reset.as_millis() as u64, retry_after.as_millis() as u64);
        assert_eq!(told, expect, "at {millis} for {cost}");
    };
    check(0, 1, (true, 4, 100, 0));
    check(0, 3, (true, 1, 400, 0));
    check(0, 2, (false, 1, 400, 100));
    check(50, 2, (false, 1, 350, 50));
    check(100, 2, (true, 0, 500, 0));
    check(100, 1, (false, 0, 500, 100));
    check(100, 0, (true, 0, 500, 0));
    // Full, and not more than that.
    check(10_000, 5, (true, 0, 500, 0));
    check(10_000, 1, (false, 0, 500, 100));
}

#[test]
fn no_window_is_charged_when_another_refuses() {
    let limiter = Limiter::of(1024);
    let (key, all, begun) =
        (key(&limiter, "a"), windows(&[(2, SECOND, 2), (3, Duration::from_secs(60), 3)]), Instant::now());
    let check = |seconds, expect: (bool, u32)| {
        let allowance = limiter.check(key, &all, 1, begun + Duration::from_secs(seconds));
        assert_eq!((allowance.allowed, allowance.limit), expect, "at {seconds}: {allowance:?}");
    };
    check(0, (true, 2));
    check(0, (true, 2));
    // The short one refuses; the long one has one left all the same.
    for _ in 0..10 {
        check(0, (false, 2));
    }
    check(1, (true, 3));
    for _ in 0..10 {
        check(2, (false, 3));
    }
    // The short one was not charged by those.
    check(20, (true, 3));
}

#[test]
fn a_change_of_numbers_resets_nothing() {
    let limiter = Limiter::of(1024);
    let (key, begun, minute) = (key(&limiter, "a"), Instant::now(), Duration::from_secs(60));
    let slots = Slots::default();
    let of = |all: &[(u32, Duration)]| {
        slots.windows(&all.iter().map(|(n, window)| (*window, Bucket::new(*n, *window, *n))).collect::<Vec<_>>())
    };
    let exhausted = |all: &[(u32, Duration)]| {
        let allowance = limiter.check(key, &of(all), 1, begun);
        assert!(!allowance.allowed, "{all:?}: {allowance:?}");
        allowance.retry_after
    };
    assert!(limiter.check(key, &of(&[(60, minute)]), 60, begun).allowed);
    assert_eq!(exhausted(&[(60, minute)]), SECOND);
    // What was had stays had, whether it comes back slower or sooner.
    assert_eq!(exhausted(&[(60, minute * 60)]), minute);
    assert_eq!(exhausted(&[(60, SECOND * 6)]), SECOND / 10);
    // Higher: all but that.
    let allowance = limiter.check(key, &of(&[(100, minute)]), 1, begun);
    assert!(allowance.allowed && allowance.remaining == 39, "{allowance:?}");
    // Another length, one more, the order changed, and one less.
    assert_eq!(exhausted(&[(1, SECOND)]), SECOND);
    exhausted(&[(1, SECOND), (5, minute)]);
    exhausted(&[(5, minute), (1, SECOND)]);
    exhausted(&[(1, SECOND)]);
    // It is counted on, and not frozen.
    assert!(limiter.check(key, &of(&[(1, SECOND)]), 1, begun + minute).allowed);
}

#[test]
fn keys_are_told_apart_by_each_of_their_parts() {
    let limiter = Limiter::of(1024);
    let of = |parts: &[&str]| parts.iter().fold(limiter.key(), |key, part| key.part(part.as_bytes())).finish();
    let all = [&["ab", "c"][..], &["a", "bc"], &["abc"], &["abc", ""], &["", "abc"], &[], &[""]].map(of);
    for (at, one) in all.iter().enumerate() {
        assert!(all[at + 1..].iter().all(|other| other != one), "{at}");
    }
    assert_eq!(of(&["a", "b"]), of(&["a", "b"]));
    // Another node has another seed.
    assert_ne!(key(&limiter, "a"), key(&Limiter::of(1), "a"));
}

#[test]
fn to_flood_the_table_does_not_reset_who_has_the_largest_debt() {
    let limiter = Limiter::of(4096);
    let (hot, all, now) = (key(&limiter, "hot"), windows(&[(10, SECOND, 10)]), Instant::now());
    assert!(limiter.check(hot, &all, 10, now).allowed);
    for n in 0..100_000 {
        assert!(limiter.check(key(&limiter, &n.to_string()), &all, 1, now).allowed);
    }
    assert!(!limiter.check(hot, &all, 1, now).allowed);
    let figures = limiter.figures();
    assert_eq!(figures.keys, 4096);
    assert!(figures.displaced > 90_000, "{figures:?}");
    // Whose time is past makes room without a word.
    for n in 0..2000 {
        limiter.check(key(&limiter, &format!("later {n}")), &all, 1, now + 2 * SECOND);
    }
    assert_eq!(limiter.figures(), figures);
}

#[test]
fn a_table_is_nearly_full_before_a_bucket_is_lost() {
    let limiter = Limiter::of(1 << 16);
    let (all, now) = (windows(&[(10, SECOND, 10)]), Instant::now());
    for n in 0..(1 << 16) * 8 / 10 {
        limiter.check(key(&limiter, &n.to_string()), &all, 1, now);
    }
    let figures = limiter.figures();
    assert!(figures.displaced < 66, "more than one of a thousand: {figures:?}");
}

#[test]
fn together_threads_have_what_one_would() {
    let limiter = Limiter::of(1024);
    let (rate, burst) = (20_000, 50);
    let (key, all) = (key(&limiter, "a"), windows(&[(rate, SECOND, burst), (rate * 60, 60 * SECOND, rate)]));
    let had = AtomicU64::new(0);
    let begun = Instant::now();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while begun.elapsed() < Duration::from_millis(250) {
                    had.fetch_add(u64::from(limiter.check(key, &all, 1, Instant::now()).allowed), Relaxed);
                }
            });
        }
    });
    let most = u64::from(burst) + begun.elapsed().as_nanos() as u64 * u64::from(rate) / 1_000_000_000;
    let had = had.load(Relaxed);
    assert!(had <= most, "{had} were let pass, which is more than {most}");
    assert!(had > u64::from(burst), "{had}: so few prove nothing");
}

#[test]
fn a_seat_is_free_again_when_it_is_left() {
    let (seats, limiter) = (Arc::<Seats>::default(), Limiter::of(1));
    let (one, other) = (key(&limiter, "one"), key(&limiter, "other"));
    let (first, second) = (seats.take(one, 2), seats.take(one, 2));
    assert!(first.is_some() && second.is_some() && seats.take(one, 2).is_none());
    // Whoever may have more gets more.
    assert!(seats.take(one, 3).is_some());
    assert!(seats.take(other, 1).is_some());
    drop(first);
    assert!(seats.take(one, 2).is_some());
    drop(second);
    assert_eq!(seats.keys(), 0);
    assert!(seats.take(one, 0).is_none());
    assert_eq!(seats.keys(), 0);
}

/// A bucket as one would draw it: what is in it, in parts of an interval.
struct Model {
    interval: u128,
    burst: u128,
    level: u128,
    at: u128,
}

impl Model {
    fn ask(&mut self, cost: u32, at: u128) -> bool {
        self.level = (self.level + (at - self.at)).min(self.burst * self.interval);
        self.at = at;
        self.level >= u128::from(cost) * self.interval
    }

    fn take(&mut self, cost: u32) {
        self.level -= u128::from(cost) * self.interval;
    }
}

proptest! {
    #[test]
    fn it_is_a_bucket_to_the_nanosecond(
        limits in prop::collection::vec((1..500_u32, 1..10_000_u64, 1..600_u32), 1..4),
        asked in prop::collection::vec((0..2_000_000_000_u64, 0..50_u32), 1..200),
    ) {
        let limiter = Limiter::of(1024);
        let all: Vec<_> =
            limits.iter().map(|(limit, millis, burst)| (*limit, Duration::from_millis(*millis), *burst)).collect();
        let mut models: Vec<_> = all.iter().map(|(limit, window, burst)| {
            let (interval, burst) = (window.as_nanos().div_ceil(u128::from(*limit)), u128::from(*burst));
            Model { interval, burst, level: interval * burst, at: 0 }
        }).collect();
        let (key, all) = (key(&limiter, "a"), windows(&all));
        let mut at = 0;
        for (pause, cost) in asked {
            // Mostly short pauses, and none at all.
            at += if pause % 3 == 0 { pause } else { pause % 1_000_000 };
            let allowance = limiter.check(key, &all, cost, limiter.begun + Duration::from_nanos(at));
            let models_say = models.iter_mut().map(|model| model.ask(cost, at.into())).collect::<Vec<_>>();
            prop_assert_eq!(allowance.allowed, models_say.iter().all(|says| *says));
            if allowance.allowed {
                models.iter_mut().for_each(|model| model.take(cost));
                let left = models.iter().map(|model| model.level / model.interval).min();
                prop_assert_eq!(Some(u128::from(allowance.remaining)), left);
            } else {
                let wait = models.iter().map(|model| (u128::from(cost) * model.interval).saturating_sub(model.level));
                prop_assert_eq!(Some(allowance.retry_after.as_nanos()), wait.max());
            }
        }
    }
}
