//! The windows of a limit, which keep what they counted when the configuration changes.

use super::{Bucket, Key};
use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

/// One of several windows that are counted for the same key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    /// What may be had.
    pub(crate) bucket: Bucket,
    // Which of the key's numbers is its own.
    slot: u32,
}

/// Which window has which number of a key. It outlives the numbers of the limit.
#[derive(Debug, Default)]
pub(crate) struct Slots(Mutex<Vec<(u32, Duration)>>);

// === impl Window ===

impl Window {
    /// What stands for the key in this window; in the same shard for all of them.
    pub(super) fn id(&self, Key([first, second]): Key) -> [u64; 2] {
        [first, second.wrapping_add(u64::from(self.slot).wrapping_mul(0x9e37_79b9_7f4a_7c15))]
    }
}

// === impl Slots ===

impl Slots {
    /// The windows of these buckets. Each goes on with what was counted in a window of its length, otherwise in one that is
    /// there no more; only a window more than there were begins with nothing.
    pub(crate) fn windows(&self, buckets: &[(Duration, Bucket)]) -> Vec<Window> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut before = std::mem::take(&mut *held);
        let mut slots: Vec<Option<u32>> = buckets
            .iter()
            .map(|(length, _)| {
                let at = before.iter().position(|(_, known)| known == length)?;
                Some(before.remove(at).0)
            })
            .collect();
        let mut left = before.into_iter().map(|(slot, _)| slot);
        for at in 0..slots.len() {
            let free = || (0..).find(|slot| !slots.contains(&Some(*slot)));
            if slots[at].is_none() {
                slots[at] = left.next().or_else(free);
            }
        }
        let slots = slots.into_iter().flatten();
        let windows: Vec<_> = slots.zip(buckets).map(|(slot, (_, bucket))| Window { bucket: *bucket, slot }).collect();
        held.extend(windows.iter().zip(buckets).map(|(window, (length, _))| (window.slot, *length)));
        windows
    }
}
