//! Figures of API keys, for `examples/keys.rs`: how long finding one takes, and how much memory many need.

use super::{put, resident};
use crate::{consumers::Consumers, router::Router};
use prost::Message;
use proto::{
    keyring::{Digest, Keyring, NAME},
    pb,
    resource::{Change, Kind},
    snapshot::Snapshot,
};
use std::{
    hint::black_box,
    sync::Arc,
    time::{Duration, Instant},
};

/// Consumers with keys, and their router.
pub struct Keys {
    each: usize,
    count: usize,
    keyring: Arc<Keyring>,
    snapshot: Snapshot,
    router: Router,
    /// What it took to write and check the configuration.
    pub check: Duration,
    /// Memory of the configuration and the router, in bytes.
    pub memory: usize,
}

// === impl Keys ===

impl Keys {
    /// So many consumers with so many keys each.
    pub fn new(consumers: usize, each: usize) -> Keys {
        let pepper = pb::secret::Source::Value("a pepper that everybody can read".into());
        let pepper = Some(pb::Secret { source: Some(pepper) });
        let message = pb::Keyring { name: NAME.into(), pepper, ..Default::default() };
        let keyring = put(Kind::Keyring, NAME, message.encode_to_vec());
        let with_keyring = Snapshot::empty().with([keyring]).expect("the figures' own keyring is right");
        let keyring = with_keyring.directory().keyring().expect("it was put").clone();
        let before = resident();
        let begun = Instant::now();
        // Made one by one, for what is freed before it is measured counts as used.
        let changes = (0..consumers).map(|at| consumer(&keyring, at, each, 0));
        let snapshot = with_keyring.with(changes).expect("the figures' own configuration is right");
        let check = begun.elapsed();
        let router = Router::build(&snapshot, None, None);
        let memory = resident().saturating_sub(before);
        Keys { each, count: consumers, keyring, snapshot, router, check, memory }
    }

    /// Finds so many times whose a key is, spread over all of them; the time of one.
    pub fn find(&self, times: usize) -> Duration {
        let consumers = Consumers::of(self.router.snapshot().directory());
        self.time(times, |key| assert!(black_box(&consumers).find(black_box(key), 1).is_some()))
    }

    /// The time that the digest of a key takes of that.
    pub fn digest(&self, times: usize) -> Duration {
        self.time(times, |key| assert_ne!(black_box(&self.keyring).digest(black_box(key)), Digest::default()))
    }

    /// Changes one consumer so many times; the time of one check and build.
    pub fn change(&mut self, times: usize) -> Duration {
        let begun = Instant::now();
        for turn in 0..times {
            let change = consumer(&self.keyring, turn * 7919 % self.count, self.each, turn + 1);
            self.snapshot = self.snapshot.with([change]).expect("the figures' own configuration is right");
            self.router = Router::build(&self.snapshot, None, Some(&self.router));
        }
        begun.elapsed() / u32::try_from(times.max(1)).unwrap_or(u32::MAX)
    }

    fn time(&self, times: usize, ask: impl Fn(&[u8])) -> Duration {
        let all = self.count * self.each;
        let sample = all.min(100_000);
        let keys: Vec<String> = (0..sample).map(|at| key(at * (all / sample) / self.each, at % self.each)).collect();
        let begun = Instant::now();
        keys.iter().cycle().take(times).for_each(|key| ask(key.as_bytes()));
        begun.elapsed() / u32::try_from(times.max(1)).unwrap_or(u32::MAX)
    }
}

// A consumer that does not differ in its keys, but for the turn.
fn consumer(keyring: &Keyring, at: usize, each: usize, turn: usize) -> Change {
    let credential = |number: usize| pb::Credential {
        id: format!("key-{number}"),
        kind: Some(pb::credential::Kind::ApiKey(pb::ApiKey {
            source: Some(pb::api_key::Source::Digest(keyring.digest(key(at, number).as_bytes()).to_vec().into())),
        })),
        ..Default::default()
    };
    let name = format!("consumer-{at}");
    let message = pb::Consumer {
        name: name.clone(),
        groups: vec![format!("group-{turn}")],
        credentials: (0..each).map(credential).collect(),
        ..Default::default()
    };
    put(Kind::Consumer, &name, message.encode_to_vec())
}

fn key(consumer: usize, number: usize) -> String {
    format!("ptk_{consumer:024}{number:025}")
}
