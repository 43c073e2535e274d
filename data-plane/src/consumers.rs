//! Who there is, as a worker sees it: a key leads to its consumer by one HMAC and one look into the index of the
//! configuration, however many there are.
//!
//! The view is as new as the router that the worker looked at last. A request holds the view and not the index, so a long
//! stream keeps no old one alive.

use proto::consumer::{Consumer, Directory, Found};
use std::{cell::RefCell, rc::Rc, sync::Arc};

/// Who there is. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Consumers(Rc<RefCell<Arc<Directory>>>);

/// Somebody who has shown a key.
#[derive(Debug)]
pub(crate) struct Known {
    /// Who it is.
    pub(crate) consumer: Arc<Consumer>,
    /// Which of the consumer's credentials the key is.
    pub(crate) credential: usize,
}

// === impl Consumers ===

impl Consumers {
    /// Those of a configuration.
    pub(crate) fn of(directory: &Arc<Directory>) -> Consumers {
        Consumers(Rc::new(RefCell::new(directory.clone())))
    }

    /// Goes over to those of a configuration.
    pub(crate) fn follow(&self, directory: &Arc<Directory>) {
        if !Arc::ptr_eq(&self.0.borrow(), directory) {
            self.0.replace(directory.clone());
        }
    }

    /// Whose key it is, if it is good at that second.
    pub(crate) fn find(&self, key: &[u8], second: u32) -> Option<Known> {
        let directory = self.0.borrow();
        let Found { consumer, credential, at } = directory.find(key)?;
        credential.is_good_at(second).then(|| Known { consumer: consumer.clone(), credential: at })
    }

    /// Whom a policy knows by that id.
    pub(crate) fn find_id(&self, id: &str) -> Option<Arc<Consumer>> {
        self.0.borrow().find_id(id).cloned()
    }
}
