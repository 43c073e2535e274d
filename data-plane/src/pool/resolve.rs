//! Names of endpoints, resolved by each worker when it dials.

use foldhash::HashMap;
use std::{
    cell::{Cell, RefCell},
    io,
    net::IpAddr,
    rc::Rc,
    time::{Duration, Instant},
};
use tokio::sync::Notify;

/// How long addresses are taken for true: the system's resolver does not say.
const FRESH: Duration = Duration::from_secs(5);
/// The most names that are remembered.
const MAX_NAMES: usize = 4096;

/// How long a failure is taken for one: who waited for it does not look again.
const FAILED: Duration = Duration::from_secs(1);

/// The addresses of names.
#[derive(Debug, Default)]
pub(crate) struct Resolver {
    names: RefCell<HashMap<Box<str>, Rc<Known>>>,
}

#[derive(Debug, Default)]
struct Known {
    addresses: RefCell<Rc<[IpAddr]>>,
    looked_up: Cell<Option<Instant>>,
    failed: Cell<Option<Instant>>,
    // A look-up is under way; who comes meanwhile waits for that.
    looking: Cell<bool>,
    done: Notify,
}

impl Resolver {
    /// All addresses of the host; when it cannot be resolved, those that it had.
    pub(crate) async fn resolve(&self, host: &str) -> io::Result<Rc<[IpAddr]>> {
        let known = self.known(host);
        loop {
            if let Some(answer) = known.answer() {
                return answer;
            }
            if !known.looking.replace(true) {
                // A task of its own: whoever waits may give up before a slow resolver answers, and the answer is then
                // there for the next.
                let (known, host) = (known.clone(), Rc::<str>::from(host));
                tokio::task::spawn_local(async move { known.look_up(&host).await });
            }
            // Nothing is awaited between the question and this, so its end cannot be missed.
            known.done.notified().await;
        }
    }

    fn known(&self, host: &str) -> Rc<Known> {
        let mut names = self.names.borrow_mut();
        if let Some(known) = names.get(host) {
            return known.clone();
        }
        if names.len() >= MAX_NAMES {
            names.clear();
        }
        let known = Rc::<Known>::default();
        names.insert(host.into(), known.clone());
        known
    }
}

impl Known {
    // What can be said without a look-up.
    fn answer(&self) -> Option<io::Result<Rc<[IpAddr]>>> {
        let is_recent = |at: &Cell<Option<Instant>>, within| at.get().is_some_and(|at| at.elapsed() < within);
        let addresses = self.addresses.borrow().clone();
        match is_recent(&self.looked_up, FRESH) || is_recent(&self.failed, FAILED) {
            false => None,
            true if addresses.is_empty() => Some(Err(io::Error::other("the name cannot be resolved"))),
            true => Some(Ok(addresses)),
        }
    }

    async fn look_up(&self, host: &str) {
        let found = tokio::net::lookup_host((host, 0)).await;
        let addresses: io::Result<Rc<[IpAddr]>> = found.map(|found| found.map(|address| address.ip()).collect());
        match addresses {
            Ok(addresses) if !addresses.is_empty() => {
                self.addresses.replace(addresses);
                self.looked_up.set(Some(Instant::now()));
            }
            Ok(_) => self.failed.set(Some(Instant::now())),
            Err(error) => {
                tracing::warn!(host, %error, "failed to resolve an endpoint; former addresses are used if there are any");
                self.failed.set(Some(Instant::now()));
            }
        }
        self.looking.set(false);
        self.done.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "local")]
    async fn a_name_is_looked_up_once_and_its_addresses_outlive_a_failure() {
        let resolver = Resolver::default();
        let addresses = resolver.resolve("localhost").await.unwrap();
        assert!(addresses.iter().all(IpAddr::is_loopback));
        assert!(Rc::ptr_eq(&addresses, &resolver.resolve("localhost").await.unwrap()));
        assert!(resolver.resolve("no-such-name.invalid").await.is_err());
        let known = resolver.known("no-such-name.invalid");
        known.addresses.replace([IpAddr::from([127, 0, 0, 9])].into());
        assert_eq!(resolver.resolve("no-such-name.invalid").await.unwrap()[0], IpAddr::from([127, 0, 0, 9]));
    }
}
