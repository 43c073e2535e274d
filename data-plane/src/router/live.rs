//! The one pointer, and how a worker holds what it points to.
//!
//! A request looks at the router while it finds its route, and then holds only that: no request touches a counter that
//! workers share. A router that gave way is kept by whoever stored its successor until nobody else holds it, and so it
//! is never dropped on a worker: dropping a hundred thousand routes takes milliseconds.

use super::Router;
use arc_swap::{ArcSwap, Cache};
use proto::certificate::Certificate;
use std::sync::Arc;
use tokio::sync::watch;

/// The one pointer. Cheap to clone.
#[derive(Clone)]
pub(crate) struct LiveRouter {
    router: Arc<ArcSwap<Router>>,
    // Wakes who is not a worker and wants to know; the other ends are theirs.
    changes: watch::Sender<()>,
}

/// A worker's view of the one pointer.
pub(crate) struct RouterCache(Cache<Arc<ArcSwap<Router>>, Arc<Router>>);

/// Routers that gave way, until nobody else holds them.
#[derive(Default)]
pub(crate) struct Retired(Vec<Arc<Router>>);

// === impl LiveRouter ===

impl LiveRouter {
    /// A pointer to that router.
    pub(crate) fn new(router: Router) -> LiveRouter {
        LiveRouter { router: Arc::new(ArcSwap::from_pointee(router)), changes: watch::Sender::new(()) }
    }

    /// Puts a router in the place of another, which comes back and belongs to [`Retired`].
    pub(crate) fn store(&self, router: Arc<Router>) -> Arc<Router> {
        let before = self.router.swap(router);
        self.changes.send_replace(());
        before
    }

    /// The router now, for who is not a worker.
    pub(crate) fn load_full(&self) -> Arc<Router> {
        self.router.load_full()
    }

    /// The certificate for a client that asks for this name, or for none, as of now.
    pub(crate) fn certificate(&self, server_name: Option<&str>) -> Option<Arc<Certificate>> {
        // The hold is short: whoever stored the router's successor lets go of the router later.
        self.router.load().certificate(server_name).cloned()
    }

    /// A view for one worker.
    pub(crate) fn cache(&self) -> RouterCache {
        RouterCache(Cache::new(self.router.clone()))
    }

    /// Tells of each new router, for who is not a worker.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }
}

// === impl RouterCache ===

impl RouterCache {
    /// The router now.
    pub(crate) fn load(&mut self) -> &Arc<Router> {
        self.0.load()
    }
}

// === impl Retired ===

impl Retired {
    /// Keeps a router that gave way.
    pub(crate) fn keep(&mut self, router: Arc<Router>) {
        self.0.push(router);
    }

    /// Drops those that nobody else holds; how many are left.
    pub(crate) fn sweep(&mut self) -> usize {
        // Nobody can take a new hold of a router that the pointer does not point to.
        self.0.retain(|router| Arc::strong_count(router) > 1);
        self.0.len()
    }
}
