//! Names of endpoints, resolved on the control thread for all workers, by what the system says of DNS and hosts.
//!
//! Nothing waits for it but the first requests of an upstream of which no name was resolved yet. A name is asked for again
//! when its TTL is over, within bounds, and when one of its endpoints cannot be reached; what it had is kept while there
//! is no answer.

use super::{
    Pool,
    origin::{Answer, Origin},
};
use futures_util::{StreamExt, stream};
use hickory_resolver::{
    TokioResolver,
    config::{LookupIpStrategy, NameServerConfig, ResolverConfig},
    net::{NetError, runtime::TokioRuntimeProvider},
    proto::rr::{RData, Record, RecordType, rdata::SRV},
};
use proto::upstream::{Address, Place};
use std::{
    fs,
    net::{IpAddr, Ipv4Addr},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};

/// The most endpoints that one name stands for.
const MAX_ANSWERS: usize = 256;
/// How many targets of one SRV name are looked up at once.
const TARGETS_AT_ONCE: usize = 8;
/// How soon a name that could not be resolved is asked for again.
const RETRY: Duration = Duration::from_secs(1);
/// What says how the system resolves names.
const SOURCES: [&str; 2] = ["/etc/resolv.conf", "/etc/hosts"];

/// Resolves names. Cheap to clone; the clones are one.
#[derive(Clone)]
pub(crate) struct Resolver(Arc<Inner>);

struct Inner {
    // In place of the system's.
    config: Option<ResolverConfig>,
    current: Mutex<Option<Current>>,
}

// Made of the sources as they were at these times.
struct Current {
    resolver: Arc<TokioResolver>,
    read: [Option<SystemTime>; 2],
}

#[derive(Debug, thiserror::Error)]
enum ResolveError {
    #[error("{0}")]
    Net(#[from] NetError),
    #[error("it has no addresses")]
    Empty,
}

/// Keeps the names of a pool's endpoints resolved for as long as it is polled.
pub(crate) async fn resolve(pool: Arc<Pool>, resolver: Resolver) {
    let mut names = JoinSet::new();
    for origin in pool.origins.iter().filter(|origin| origin.is_named()) {
        names.spawn(keep_resolved(pool.clone(), origin.clone(), resolver.clone()));
    }
    // They end with this.
    while names.join_next().await.is_some() {}
}

async fn keep_resolved(pool: Arc<Pool>, origin: Arc<Origin>, resolver: Resolver) {
    let (dns, upstream, name) = (pool.spec.dns, pool.name(), origin.place());
    let mut is_failing = false;
    loop {
        let asked = Instant::now();
        let found = resolver.find(name).await;
        pool.vitals.count_resolution(found.is_ok());
        let fresh = match found {
            Ok((answers, ttl)) => {
                origin.set(&answers);
                if std::mem::take(&mut is_failing) {
                    tracing::info!(upstream.name = %upstream, %name, "a name can be resolved again");
                }
                ttl.clamp(dns.min_ttl, dns.max_ttl)
            }
            Err(error) => {
                origin.fail();
                if !std::mem::replace(&mut is_failing, true) {
                    let what = "failed to resolve a name; the addresses that it had are kept";
                    tracing::warn!(upstream.name = %upstream, %name, %error, "{what}");
                }
                RETRY.clamp(dns.min_ttl, dns.max_ttl)
            }
        };
        tokio::select! {
            // Not all at once.
            () = sleep(fresh.mul_f32(0.9 + 0.1 * fastrand::f32())) => {}
            () = origin.wanted() => sleep_until(asked + dns.min_ttl).await,
        }
    }
}

// === impl Resolver ===

impl Resolver {
    /// As the system resolves names.
    pub(crate) fn system() -> Resolver {
        Resolver(Arc::new(Inner { config: None, current: Mutex::default() }))
    }

    /// By these servers only.
    #[cfg(test)]
    pub(crate) fn of(servers: Vec<NameServerConfig>) -> Resolver {
        let config = Some(ResolverConfig::from_parts(None, Vec::new(), servers));
        Resolver(Arc::new(Inner { config, current: Mutex::default() }))
    }

    /// The addresses of a host, or why there are none.
    pub(crate) async fn ips(&self, host: &str) -> Result<Vec<IpAddr>, String> {
        let found = async { addresses(&*self.current()?, host).await };
        found.await.map(|(ips, _)| ips).map_err(|error| error.to_string())
    }

    // What the name stands for, and how long that holds.
    async fn find(&self, place: &Place) -> Result<(Vec<Answer>, Duration), ResolveError> {
        let resolver = self.current()?;
        // Whoever asks wants to know anew: how long an answer holds is judged here.
        resolver.clear_cache();
        let (mut answers, ttl) = match place {
            Place::Address(address) => {
                let (ips, ttl) = addresses(&resolver, &address.host).await?;
                (spread(address, &ips, 0, 0), ttl)
            }
            Place::Srv(name) => services(&resolver, name).await?,
        };
        answers.truncate(MAX_ANSWERS);
        if answers.is_empty() { Err(ResolveError::Empty) } else { Ok((answers, ttl)) }
    }

    // Made anew when what it was made of has changed.
    fn current(&self) -> Result<Arc<TokioResolver>, NetError> {
        let read = SOURCES.map(|path| fs::metadata(path).and_then(|about| about.modified()).ok());
        let mut current = self.0.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(current) = current.as_ref().filter(|current| current.read == read) {
            return Ok(current.resolver.clone());
        }
        let provider = TokioRuntimeProvider::default();
        let mut builder = match &self.0.config {
            Some(config) => TokioResolver::builder_with_config(config.clone(), provider),
            None => TokioResolver::builder_tokio().unwrap_or_else(|error| {
                tracing::warn!(%error, "failed to read {}; names are asked for at 127.0.0.1", SOURCES[0]);
                let local = vec![NameServerConfig::udp_and_tcp(Ipv4Addr::LOCALHOST.into())];
                TokioResolver::builder_with_config(ResolverConfig::from_parts(None, Vec::new(), local), provider)
            }),
        };
        builder.options_mut().cache_size = 0;
        builder.options_mut().ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
        let resolver = Arc::new(builder.build()?);
        *current = Some(Current { resolver: resolver.clone(), read });
        Ok(resolver)
    }
}

async fn addresses(resolver: &TokioResolver, host: &str) -> Result<(Vec<IpAddr>, Duration), NetError> {
    let found = resolver.lookup_ip(host).await?;
    let mut ips: Vec<IpAddr> = found.iter().collect();
    ips.sort_unstable();
    ips.dedup();
    Ok((ips, ttl(found.as_lookup().answers())))
}

async fn services(resolver: &TokioResolver, name: &str) -> Result<(Vec<Answer>, Duration), NetError> {
    let found = resolver.lookup(name, RecordType::SRV).await?;
    let services: Vec<SRV> = found.answers().iter().filter_map(service).take(MAX_ANSWERS).collect();
    let resolved = stream::iter(services).map(|service| async move {
        let found = addresses(resolver, &service.target.to_ascii()).await;
        (service, found)
    });
    let resolved: Vec<(SRV, Result<_, NetError>)> = resolved.buffered(TARGETS_AT_ONCE).collect().await;
    let (mut answers, mut ttl) = (Vec::new(), ttl(found.answers()));
    for (service, found) in resolved {
        let host = service.target.to_ascii().trim_end_matches('.').to_ascii_lowercase();
        let address = Address { host, port: service.port };
        match found {
            Ok((ips, theirs)) => {
                ttl = ttl.min(theirs);
                answers.extend(spread(&address, &ips, service.weight, service.priority));
            }
            // What the target had holds on.
            Err(_) => {
                let (weight, rank) = (service.weight, service.priority);
                answers.push(Answer { address, ips: Vec::new(), weight, rank });
            }
        }
    }
    Ok((answers, ttl))
}

// A root target says that there is no such service.
fn service(record: &Record) -> Option<SRV> {
    match &record.data {
        RData::SRV(service) if !service.target.is_root() => Some(service.clone()),
        _ => None,
    }
}

/// An endpoint for each address. Of two families the first is taken, but one of each is one server.
fn spread(address: &Address, ips: &[IpAddr], weight: u16, rank: u16) -> Vec<Answer> {
    let (v4, v6): (Vec<IpAddr>, Vec<IpAddr>) = ips.iter().partition(|ip| ip.is_ipv4());
    let answer = |ips| Answer { address: address.clone(), ips, weight, rank };
    match (v4.len(), v6.len()) {
        (0, 0) => Vec::new(),
        (1, 1) => vec![answer([v4, v6].concat())],
        (0, _) => v6.into_iter().map(|ip| answer(vec![ip])).collect(),
        (_, _) => v4.into_iter().map(|ip| answer(vec![ip])).collect(),
    }
}

fn ttl(records: &[Record]) -> Duration {
    Duration::from_secs(records.iter().map(|record| record.ttl).min().unwrap_or_default().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_address_is_an_endpoint_but_two_families_are_one_server() {
        let address = Address { host: "a".into(), port: 80 };
        let check = |ips: &[&str], expect: &[&[&str]]| {
            let parse = |ips: &[&str]| ips.iter().map(|ip| ip.parse().unwrap()).collect::<Vec<IpAddr>>();
            let found: Vec<_> = spread(&address, &parse(ips), 0, 0).into_iter().map(|answer| answer.ips).collect();
            assert_eq!(found, expect.iter().map(|ips| parse(ips)).collect::<Vec<_>>(), "{ips:?}");
        };
        check(&[], &[]);
        check(&["10.0.0.1", "10.0.0.2"], &[&["10.0.0.1"], &["10.0.0.2"]]);
        check(&["::1", "127.0.0.1"], &[&["127.0.0.1", "::1"]]);
        check(&["::1", "::2"], &[&["::1"], &["::2"]]);
        check(&["10.0.0.1", "10.0.0.2", "::1"], &[&["10.0.0.1"], &["10.0.0.2"]]);
    }
}
