//! What policies remember from one router to the next: buckets of limits, key sets of issuers.
//!
//! State is inherited, not registered: whoever builds a router asks for a state by its key and gets the one that stands,
//! if anybody still holds it. It ends with its last holder, for here it is held weakly. Requests never come here.

use std::{
    any::Any,
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

/// How many more states there may be than at the last look before it is looked again for those that ended.
const SLACK: usize = 64;

/// The states of a node's policies.
#[derive(Debug, Default)]
pub(crate) struct States(Mutex<Held>);

#[derive(Debug, Default)]
struct Held {
    states: HashMap<Key, Weak<dyn Any + Send + Sync>>,
    // How many there were when it was last looked for those that ended.
    looked_at: usize,
}

// The kind of state, and which it is.
type Key = (&'static str, String);

// === impl States ===

impl States {
    /// The state of that kind and key, made where there is none.
    pub(crate) fn inherit<T: Any + Send + Sync>(
        &self,
        kind: &'static str,
        key: String,
        make: impl FnOnce() -> T,
    ) -> Arc<T> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if held.states.len() > held.looked_at + SLACK {
            held.states.retain(|_, state| state.strong_count() > 0);
            held.looked_at = held.states.len();
        }
        let stands = held.states.get(&(kind, key.clone())).and_then(Weak::upgrade);
        if let Some(state) = stands.and_then(|state| state.downcast::<T>().ok()) {
            return state;
        }
        let state = Arc::new(make());
        let erased: Arc<dyn Any + Send + Sync> = state.clone();
        held.states.insert((kind, key), Arc::downgrade(&erased));
        state
    }

    /// All of that kind that somebody holds.
    pub(crate) fn of_kind<T: Any + Send + Sync>(&self, kind: &'static str) -> Vec<Arc<T>> {
        let held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let states = held.states.iter().filter(|((of, _), _)| *of == kind);
        states.filter_map(|(_, state)| state.upgrade()?.downcast::<T>().ok()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_stands_as_long_as_somebody_holds_it() {
        let states = States::default();
        let first = states.inherit("n", "a".into(), || 1);
        assert!(Arc::ptr_eq(&first, &states.inherit("n", "a".into(), || 2)));
        assert_eq!(*states.inherit("other", "a".into(), || 3), 3);
        assert_eq!(states.of_kind::<i32>("n"), std::slice::from_ref(&first));
        drop(first);
        assert!(states.of_kind::<i32>("n").is_empty());
        assert_eq!(*states.inherit("n", "a".into(), || 4), 4);
        for n in 0..1000 {
            states.inherit("n", n.to_string(), || n);
        }
        assert!(states.0.lock().unwrap().states.len() <= SLACK + 1);
    }
}
