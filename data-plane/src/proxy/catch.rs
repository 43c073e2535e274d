//! A panic becomes an error of the request that panicked.

use crate::error::Error;
use std::{
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    task::Poll,
};

/// Runs a future; its panic is an error. What it borrowed is only looked at to record the failure.
pub(super) async fn future<T>(mut future: Pin<&mut impl Future<Output = Result<T, Error>>>) -> Result<T, Error> {
    poll_fn(|cx| {
        catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))).unwrap_or_else(|_| Poll::Ready(Err(Error::Panic)))
    })
    .await
}

/// Calls a function; its panic is an error.
pub(super) fn call<T>(function: impl FnOnce() -> T) -> Result<T, Error> {
    catch_unwind(AssertUnwindSafe(function)).map_err(|_| Error::Panic)
}
