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
        let known = self.known(host);
        // Whoever comes while a look-up is under way waits for that.
        let mut known = known.lock().await;
        if known.looked_up.is_some_and(|at| at.elapsed() < FRESH) && !known.addresses.is_empty() {
            return Ok(known.addresses.clone());
        }
        match tokio::net::lookup_host((host, 0)).await {
            Ok(found) => {
                let addresses: Rc<[IpAddr]> = found.map(|address: SocketAddr| address.ip()).collect();
                if addresses.is_empty() {
                    return Err(io::Error::other("the name has no addresses"));
                }
                known.addresses = addresses;
            }
            Err(error) if known.addresses.is_empty() => return Err(error),
            Err(error) => tracing::warn!(host, %error, "failed to resolve an endpoint; its former addresses are used"),
        }
        known.looked_up = Some(Instant::now());
        Ok(known.addresses.clone())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
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
