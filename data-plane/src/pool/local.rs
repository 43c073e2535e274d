//! What one worker has of the upstreams: balances and idle connections.

use super::{
    Affinity, Endpoint, Pool,
    connection::Connection,
    health::Moment,
    http2::Shared,
    judge::Trial,
    live::{Lack, Live},
    session::SessionId,
};
use fastrand::Rng;
use foldhash::HashMap;
use proto::{
    name::Name,
    upstream::{Address, Upstream},
};
use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    rc::{Rc, Weak},
    sync::Arc,
    time::{Duration, Instant},
};

/// The most buffers that are kept, and how large they may have grown.
const MAX_BUFFERS: usize = 256;
const MAX_BUFFER: usize = 16 * 1024;

/// How long the log hears nothing more of an endpoint that cannot be called.
const QUIET: Duration = Duration::from_secs(1);

/// All that a worker has of upstreams. Only routes hold pools, and only pools hold endpoints.
#[derive(Debug, Default)]
pub(crate) struct Upstreams {
    pools: RefCell<HashMap<u64, Weak<LocalPool>>>,
    endpoints: RefCell<HashMap<u64, Weak<LocalEndpoint>>>,
    pub(super) rng: RefCell<Rng>,
    // Buffers of heads; as many as requests were ever sent at once, up to a limit.
    buffers: RefCell<Vec<Vec<u8>>>,
}

/// A pool as one worker has it.
#[derive(Debug)]
pub(crate) struct LocalPool {
    pub(super) pool: Arc<Pool>,
    live: RefCell<Live>,
    // That the budget of tries was not told of yet.
    requests: Cell<u32>,
}

/// An endpoint as one worker has it.
#[derive(Debug)]
pub(crate) struct LocalEndpoint {
    pub(super) endpoint: Arc<Endpoint>,
    // The last given back is the first taken: its socket and its buffers are warm, and what is too many grows old.
    idle: RefCell<Vec<Idle>>,
    /// Of HTTP/2.
    pub(super) shared: Shared,
    in_flight: Cell<u32>,
    complained: Cell<Option<Instant>>,
}

/// The endpoint for a try.
pub(super) struct Picked {
    pub(super) endpoint: Rc<LocalEndpoint>,
    /// The try decides whether the endpoint comes back.
    pub(super) trial: Option<Trial>,
}

/// A request under way to an endpoint.
#[derive(Debug)]
pub(super) struct InFlight(pub(super) Rc<LocalEndpoint>);

#[derive(Debug)]
struct Idle {
    connection: Connection,
    since: Instant,
}

// === impl Upstreams ===

impl Upstreams {
    /// The worker's part of a pool.
    pub(crate) fn local(&self, pool: &Arc<Pool>) -> Rc<LocalPool> {
        if let Some(local) = self.pools.borrow().get(&pool.id).and_then(Weak::upgrade) {
            return local;
        }
        let live = RefCell::new(Live::new(&pool.spec));
        let local = Rc::new(LocalPool { pool: pool.clone(), live, requests: Cell::default() });
        self.pools.borrow_mut().insert(pool.id, Rc::downgrade(&local));
        local
    }

    /// Closes connections that were idle for too long, and forgets what no route refers to.
    pub(crate) fn sweep(&self, now: Instant) {
        self.pools.borrow_mut().retain(|_, pool| match pool.upgrade() {
            Some(pool) => {
                pool.tell_requests();
                let limit = pool.pool.spec.idle_connection;
                let mut live = pool.live.borrow_mut();
                live.refresh(&pool.pool, self);
                live.endpoints().for_each(|endpoint| endpoint.sweep(now, limit));
                true
            }
            None => false,
        });
        self.endpoints.borrow_mut().retain(|_, endpoint| endpoint.strong_count() > 0);
    }

    /// How many connections nobody uses now, by upstream.
    pub(crate) fn idle(&self) -> BTreeMap<Name, u64> {
        let pools = self.pools.borrow();
        let mut idle = BTreeMap::new();
        for pool in pools.values().filter_map(Weak::upgrade) {
            // Some are told of twice.
            let live = pool.live.borrow();
            let endpoints = live.endpoints().map(|endpoint| (endpoint.endpoint.id, endpoint.idle.borrow().len()));
            let of_pool: usize = endpoints.collect::<BTreeMap<_, _>>().into_values().sum();
            *idle.entry(pool.pool.name().clone()).or_default() += of_pool as u64;
        }
        idle
    }

    /// The id of a new span, not 0.
    pub(super) fn span(&self) -> u64 {
        self.rng.borrow_mut().u64(1..)
    }

    /// The worker's part of an endpoint.
    pub(super) fn endpoint(&self, endpoint: &Arc<Endpoint>) -> Rc<LocalEndpoint> {
        let mut endpoints = self.endpoints.borrow_mut();
        if let Some(local) = endpoints.get(&endpoint.id).and_then(Weak::upgrade) {
            return local;
        }
        let local = Rc::new(LocalEndpoint {
            endpoint: endpoint.clone(),
            idle: RefCell::default(),
            shared: Shared::default(),
            in_flight: Cell::default(),
            complained: Cell::default(),
        });
        endpoints.insert(endpoint.id, Rc::downgrade(&local));
        local
    }

    /// A buffer for the head of a request.
    pub(super) fn take_buffer(&self) -> Vec<u8> {
        self.buffers.borrow_mut().pop().unwrap_or_else(|| Vec::with_capacity(1024))
    }

    /// Gives it back.
    pub(super) fn give_buffer(&self, mut buffer: Vec<u8>) {
        let mut buffers = self.buffers.borrow_mut();
        if buffers.len() < MAX_BUFFERS && buffer.capacity() <= MAX_BUFFER {
            buffer.clear();
            buffers.push(buffer);
        }
    }

    /// The endpoint for a try after those that were tried, by their ids.
    pub(super) fn pick(&self, pool: &LocalPool, affinity: Affinity, tried: &[u64]) -> Result<Picked, Lack> {
        let mut live = pool.live.borrow_mut();
        live.refresh(&pool.pool, self);
        if let Some(picked) = live.session(affinity, tried) {
            return Ok(picked);
        }
        // A second try is to succeed, not to find something out.
        if tried.is_empty()
            && let Some(picked) = live.trial(affinity)
        {
            return Ok(picked);
        }
        live.pick(&mut self.rng.borrow_mut(), affinity, tried)
    }
}

// === impl LocalPool ===

impl LocalPool {
    /// What the operator said.
    pub(crate) fn spec(&self) -> &Upstream {
        &self.pool.spec
    }

    /// What the client is given, so that it stays with that endpoint; `None` where clients do not.
    pub(crate) fn session_id(&self, endpoint: &LocalEndpoint) -> Option<SessionId> {
        self.live.borrow().session_id(endpoint)
    }

    /// There is one more request.
    pub(super) fn count_request(&self) {
        self.requests.set(self.requests.get().wrapping_add(1));
    }

    /// Whether the budget has room for a further try, which is taken out of it.
    pub(super) fn spend_retry(&self) -> bool {
        let now = self.tell_requests();
        self.pool.budget.spend(self.pool.spec.retry.budget, now)
    }

    fn tell_requests(&self) -> Moment {
        let now = Moment::now();
        match self.requests.take() {
            0 => {}
            requests => self.pool.budget.add_requests(requests, now),
        }
        now
    }
}

// === impl LocalEndpoint ===

impl LocalEndpoint {
    /// Its address, as the operator wrote it.
    pub(crate) fn address(&self) -> &Address {
        &self.endpoint.address
    }

    /// The same, as text.
    pub(crate) fn as_str(&self) -> &str {
        self.endpoint.as_str()
    }

    /// Whether the log may hear of it: what fails for every request need not be said for every request.
    pub(super) fn may_complain(&self) -> bool {
        let now = Instant::now();
        let may = self.complained.get().is_none_or(|last| now.duration_since(last) >= QUIET);
        if may {
            self.complained.set(Some(now));
        }
        may
    }

    /// How many requests of this worker are under way to it.
    pub(super) fn in_flight(&self) -> u32 {
        self.in_flight.get()
    }

    pub(super) fn take_idle(&self) -> Option<Connection> {
        let mut idle = self.idle.borrow_mut();
        while let Some(Idle { mut connection, .. }) = idle.pop() {
            if connection.is_open() {
                return Some(connection);
            }
        }
        None
    }

    pub(super) fn give_back(&self, connection: Connection) {
        if !connection.seat_is_wanted() {
            self.idle.borrow_mut().push(Idle { connection, since: Instant::now() });
        }
    }

    fn sweep(&self, now: Instant, limit: Duration) {
        self.shared.sweep(now, limit);
        let mut idle = self.idle.borrow_mut();
        // The oldest stand first.
        let old = idle.iter().take_while(|idle| now.duration_since(idle.since) >= limit).count();
        idle.drain(..old);
        idle.retain_mut(|idle| idle.connection.is_open() && !idle.connection.seat_is_wanted());
    }
}

// === impl InFlight ===

impl InFlight {
    pub(super) fn new(endpoint: Rc<LocalEndpoint>) -> InFlight {
        endpoint.in_flight.set(endpoint.in_flight.get() + 1);
        InFlight(endpoint)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.set(self.0.in_flight.get() - 1);
    }
}
