//! Names of endpoints, resolved by each worker when it dials.

use foldhash::HashMap;
use std::{
    cell::RefCell,
    io,
    net::{IpAddr, SocketAddr},
    rc::Rc,
    time::{Duration, Instant},
};
use tokio::sync::Mutex;

/// How long addresses are taken for true: the system's resolver does not say.
const FRESH: Duration = Duration::from_secs(5);
/// The most names that are remembered.
const MAX_NAMES: usize = 4096;

/// The addresses of names.
#[derive(Debug, Default)]
pub(crate) struct Resolver {
    names: RefCell<HashMap<Box<str>, Rc<Mutex<Known>>>>,
}

#[derive(Debug, Default)]
struct Known {
    addresses: Rc<[IpAddr]>,
    looked_up: Option<Instant>,
}

impl Resolver {
    /// All addresses of the host; when it cannot be resolved, those that it had.
    pub(crate) async fn resolve(&self, host: &str) -> io::Result<Rc<[IpAddr]>> {
        let (known, host) = (self.known(host), Rc::<str>::from(host));
        // Whoever waits may give up before a slow resolver answers; the answer is then there for the next.
        let looking = tokio::task::spawn_local(async move { known.lock().await.refreshed(&host).await });
        looking.await.map_err(io::Error::other)?
    }

    fn known(&self, host: &str) -> Rc<Mutex<Known>> {
        let mut names = self.names.borrow_mut();
        if let Some(known) = names.get(host) {
            return known.clone();
        }
        if names.len() >= MAX_NAMES {
            names.clear();
        }
        let known = Rc::<Mutex<Known>>::default();
        names.insert(host.into(), known.clone());
        known
    }
}

impl Known {
    // Whoever comes while a look-up is under way waits for that, and finds them fresh.
    async fn refreshed(&mut self, host: &str) -> io::Result<Rc<[IpAddr]>> {
        if self.looked_up.is_some_and(|at| at.elapsed() < FRESH) && !self.addresses.is_empty() {
            return Ok(self.addresses.clone());
        }
        match tokio::net::lookup_host((host, 0)).await {
            Ok(found) => {
                let addresses: Rc<[IpAddr]> = found.map(|address: SocketAddr| address.ip()).collect();
                if addresses.is_empty() {
                    return Err(io::Error::other("the name has no addresses"));
                }
                self.addresses = addresses;
            }
            Err(error) if self.addresses.is_empty() => return Err(error),
            Err(error) => tracing::warn!(host, %error, "failed to resolve an endpoint; its former addresses are used"),
        }
        self.looked_up = Some(Instant::now());
        Ok(self.addresses.clone())
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
        known.lock().await.addresses = [IpAddr::from([127, 0, 0, 9])].into();
        assert_eq!(resolver.resolve("no-such-name.invalid").await.unwrap()[0], IpAddr::from([127, 0, 0, 9]));
    }
}
