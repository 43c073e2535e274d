//! A connection with a transaction on it, which goes back to its pool only when the transaction has ended.

use super::{
    StoreError,
    error::{ACQUIRE_LIMIT, within},
};
use sqlx::{Database, Pool, pool::PoolConnection};

/// Dropped early, it closes its connection: nobody knows what state that is in, and the transaction ends with it.
pub(super) struct Guard<DB: Database>(Option<PoolConnection<DB>>);

// === impl Guard ===

impl<DB: Database> Guard<DB> {
    pub(super) async fn acquire(pool: &Pool<DB>) -> Result<Guard<DB>, StoreError> {
        Ok(Guard(Some(within(ACQUIRE_LIMIT, pool.acquire()).await?)))
    }

    pub(super) fn connection(&mut self) -> &mut DB::Connection {
        self.0.as_mut().expect("it is taken by `release` only, which takes the guard too")
    }

    /// Gives the connection back to its pool.
    pub(super) fn release(mut self) {
        drop(self.0.take());
    }
}

impl<DB: Database> Drop for Guard<DB> {
    fn drop(&mut self) {
        if let Some(connection) = self.0.take() {
            drop(connection.detach());
        }
    }
}
