//! A node's settings: flags, or `PORTICO_*` in the environment. Read here and nowhere else, and passed as values.
//!
//! Settings are this process's; what it does with traffic is the configuration's, which is the same on every node.

mod listen;
mod memory;

pub use listen::Listen;
pub use memory::MaxMemory;

use anyhow::Context as _;
use clap::Args;
use ipnet::IpNet;
use proto::{
    quantity::{self, Share},
    route::BodyLimit,
};
use std::{collections::BTreeMap, fmt, net::SocketAddr, path::PathBuf, str::FromStr, time::Duration};

/// The most headers that a request may be allowed to have.
pub(crate) const MOST_HEADERS: usize = 512;

/// What a node is started with.
#[derive(Args, Clone, Debug)]
pub struct Settings {
    /// A listener for traffic: NAME=ADDR, or NAME=https://ADDR; `proxy+http://` and `proxy+https://` expect the PROXY protocol; may be given several times.
    #[arg(long, env = "PORTICO_LISTEN", value_delimiter = ',', default_value = "http=0.0.0.0:8080")]
    pub listen: Vec<Listen>,
    /// Where /livez, /readyz, /metrics and /log-level answer.
    #[arg(long, env = "PORTICO_STATUS_LISTEN", default_value = "127.0.0.1:7090")]
    pub status_listen: SocketAddr,
    /// URL of a control plane, https://HOST:PORT, or http:// in cleartext; may be given several times.
    #[arg(long, env = "PORTICO_CONTROL_PLANE", value_delimiter = ',', conflicts_with = "config")]
    pub control_plane: Vec<String>,
    /// The authorities whose certificates a control plane may show, PEM; default: those that the system trusts.
    #[arg(long, env = "PORTICO_CONTROL_PLANE_CA", value_name = "FILE")]
    pub control_plane_ca: Option<PathBuf>,
    /// The fleet's join token.
    #[arg(long, env = "PORTICO_JOIN_TOKEN", hide_env_values = true)]
    pub join_token: Option<Secret>,
    /// A file that holds the fleet's join token.
    #[arg(long, env = "PORTICO_JOIN_TOKEN_FILE", conflicts_with = "join_token")]
    pub join_token_file: Option<PathBuf>,
    /// Run this configuration, YAML or JSON, without a control plane; SIGHUP reads it again.
    #[arg(long, env = "PORTICO_CONFIG")]
    pub config: Option<PathBuf>,
    /// Where the node keeps its id and the last good configuration.
    #[arg(long, env = "PORTICO_DATA_DIR", default_value = "./.portico/node")]
    pub data_dir: PathBuf,
    /// How many workers; default: one a core.
    #[arg(long, env = "PORTICO_WORKERS", default_value_t = 0, hide_default_value = true)]
    pub workers: usize,
    /// A label of this node, KEY=VALUE; may be given several times.
    #[arg(long, env = "PORTICO_LABEL", value_delimiter = ',')]
    pub label: Vec<Label>,
    /// The most client connections at once.
    #[arg(long, env = "PORTICO_MAX_CONNECTIONS", default_value_t = 10_000, value_parser = at_least_one::<usize>)]
    pub max_connections: usize,
    /// How much memory the node may use before it turns away what is new: `80%` of what the machine has or its control group allows, a size, or `unlimited`.
    #[arg(long, env = "PORTICO_MAX_MEMORY", default_value = "80%", value_parser = MaxMemory::parse)]
    pub max_memory: MaxMemory,
    /// The largest head of a request.
    #[arg(long, env = "PORTICO_MAX_HEADER_BYTES", default_value = "64KiB", value_parser = size)]
    pub max_header_bytes: usize,
    /// The most headers of a request.
    #[arg(long, env = "PORTICO_MAX_HEADERS", default_value_t = 100, value_parser = headers)]
    pub max_headers: usize,
    /// The largest body of a request, or `unlimited`, where the route does not say.
    #[arg(long, env = "PORTICO_MAX_REQUEST_BODY", default_value = "64MiB", value_parser = BodyLimit::parse)]
    pub max_request_body: BodyLimit,
    /// How long a client may take to send the head of a request.
    #[arg(long, env = "PORTICO_HEADER_TIMEOUT", default_value = "10s", value_parser = quantity::duration)]
    pub header_timeout: Duration,
    /// How long a client's connection may stay unused between two requests.
    #[arg(long, env = "PORTICO_KEEP_ALIVE_TIMEOUT", default_value = "75s", value_parser = quantity::duration)]
    pub keep_alive_timeout: Duration,
    /// The longest silence of a client that sends a body or takes one.
    #[arg(long, env = "PORTICO_IDLE_TIMEOUT", default_value = "60s", value_parser = quantity::duration)]
    pub idle_timeout: Duration,
    /// The oldest version of TLS that clients may speak: `1.2` or `1.3`.
    #[arg(long, env = "PORTICO_TLS_MIN_VERSION", default_value = "1.2", value_parser = TlsVersion::parse)]
    pub tls_min_version: TlsVersion,
    /// How long a node that is told to stop goes on accepting, so that load balancers learn of it.
    #[arg(long, env = "PORTICO_SHUTDOWN_DELAY", default_value = "5s", value_parser = wait)]
    pub shutdown_delay: Duration,
    /// How long requests in flight may take after that.
    #[arg(long, env = "PORTICO_DRAIN_TIMEOUT", default_value = "25s", value_parser = wait)]
    pub drain_timeout: Duration,
    /// The most requests at once on one connection of HTTP/2.
    #[arg(long, env = "PORTICO_HTTP2_MAX_STREAMS", default_value_t = 100, value_parser = at_least_one::<u32>)]
    pub http2_max_streams: u32,
    /// The most streams that a client of HTTP/2 may reset within ten seconds.
    #[arg(long, env = "PORTICO_HTTP2_MAX_RESETS", default_value_t = 200, value_parser = at_least_one::<u32>)]
    pub http2_max_resets: u32,
    /// The most frames that carry nothing of a request, as SETTINGS and PING, within ten seconds.
    #[arg(long, env = "PORTICO_HTTP2_MAX_CONTROL_FRAMES", default_value_t = 1000, value_parser = at_least_one::<u32>)]
    pub http2_max_control_frames: u32,
    /// Where the access log goes: `off`, `stdout` or a file.
    #[arg(long, env = "PORTICO_ACCESS_LOG", default_value = "stdout", value_parser = AccessLog::parse)]
    pub access_log: AccessLog,
    /// A block of addresses whose forwarding headers and request ids are believed; may be given several times.
    #[arg(long, env = "PORTICO_TRUSTED_PROXY", value_delimiter = ',', value_parser = block)]
    pub trusted_proxy: Vec<IpNet>,
    /// How many of the traces that begin here are recorded, where no policy says it.
    #[arg(long, env = "PORTICO_TRACE_SAMPLE", default_value = "1%", value_parser = Share::parse)]
    pub trace_sample: Share,
    /// A listener, by its name, on which the traces and the baggage of all clients are taken over, not only those of trusted proxies; may be given several times.
    #[arg(long, env = "PORTICO_TRUST_TRACES", value_delimiter = ',', value_name = "LISTENER")]
    pub trust_traces: Vec<String>,
    /// A listener, by its name, on which headers that say who the client is are passed on from all clients, not only from trusted proxies; may be given several times.
    #[arg(long, env = "PORTICO_TRUST_IDENTITY", value_delimiter = ',', value_name = "LISTENER")]
    pub trust_identity: Vec<String>,
    /// A listener of the scheme https, by its name, that asks clients for a certificate, for policies of the kind `client_certificate`; clients need not have one; may be given several times.
    #[arg(long, env = "PORTICO_ASK_CLIENT_CERTIFICATE", value_delimiter = ',', value_name = "LISTENER")]
    pub ask_client_certificate: Vec<String>,
    /// A block of addresses that the node may ask for documents of others, as the keys of issuers, though they are not public, and in cleartext; may be given several times.
    #[arg(long, env = "PORTICO_FETCH_ALLOW", value_delimiter = ',', value_parser = block)]
    pub fetch_allow: Vec<IpNet>,
    /// The authorities whose certificates those others may show, PEM; default: those that the system trusts.
    #[arg(long, env = "PORTICO_FETCH_CA", value_name = "FILE")]
    pub fetch_ca: Option<PathBuf>,
    /// What is told to an OpenTelemetry collector.
    #[command(flatten)]
    pub otel: otel::Settings,
}

/// A label of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// The key.
    pub key: String,
    /// The value.
    pub value: String,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsVersion {
    /// 1.2, RFC 5246.
    V1_2,
    /// 1.3, RFC 8446.
    V1_3,
}

/// Where the access log goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccessLog {
    /// Nowhere.
    Off,
    /// To the standard output.
    Stdout,
    /// To the end of this file.
    File(PathBuf),
}

/// A text that is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

// === impl Settings ===

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            listen: vec![Listen::http("http", ([0, 0, 0, 0], 8080).into())],
            status_listen: ([127, 0, 0, 1], 7090).into(),
            control_plane: Vec::new(),
            control_plane_ca: None,
            join_token: None,
            join_token_file: None,
            config: None,
            data_dir: "./.portico/node".into(),
            workers: 0,
            label: Vec::new(),
            max_connections: 10_000,
            max_memory: MaxMemory::Percent(80),
            max_header_bytes: 64 * 1024,
            max_headers: 100,
            max_request_body: BodyLimit::Bytes(64 * 1024 * 1024),
            header_timeout: Duration::from_secs(10),
            keep_alive_timeout: Duration::from_secs(75),
            idle_timeout: Duration::from_secs(60),
            tls_min_version: TlsVersion::V1_2,
            shutdown_delay: Duration::from_secs(5),
            drain_timeout: Duration::from_secs(25),
            http2_max_streams: 100,
            http2_max_resets: 200,
            http2_max_control_frames: 1000,
            access_log: AccessLog::Stdout,
            trusted_proxy: Vec::new(),
            trace_sample: Share::parse("1%").unwrap_or(Share::NONE),
            trust_traces: Vec::new(),
            fetch_allow: Vec::new(),
            fetch_ca: None,
            trust_identity: Vec::new(),
            ask_client_certificate: Vec::new(),
            otel: otel::Settings::default(),
        }
    }
}

impl Settings {
    /// How many workers there will be: as many as asked for, else one a core.
    pub fn worker_count(&self) -> usize {
        match self.workers {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            n => n,
        }
    }

    /// The node's labels by key.
    pub fn labels(&self) -> BTreeMap<String, String> {
        self.label.iter().map(|label| (label.key.clone(), label.value.clone())).collect()
    }

    /// The join token, from its setting or its file.
    pub fn join_token(&self) -> anyhow::Result<Option<Secret>> {
        let Some(path) = &self.join_token_file else { return Ok(self.join_token.clone()) };
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("failed to read the join token from {}", path.display()))?;
        Ok(Some(Secret(text.trim().into())))
    }
}

// === impl Label ===

impl FromStr for Label {
    type Err = String;

    fn from_str(text: &str) -> Result<Label, String> {
        match text.split_once('=') {
            Some((key, value)) if !key.is_empty() => Ok(Label { key: key.into(), value: value.into() }),
            Some(_) | None => Err(format!("{text:?} is not KEY=VALUE")),
        }
    }
}

// === impl TlsVersion ===

impl TlsVersion {
    fn parse(text: &str) -> Result<TlsVersion, String> {
        match text {
            "1.2" => Ok(TlsVersion::V1_2),
            "1.3" => Ok(TlsVersion::V1_3),
            _ => Err(format!("{text:?} is neither 1.2 nor 1.3; no older version is spoken")),
        }
    }
}

// === impl AccessLog ===

impl AccessLog {
    fn parse(text: &str) -> Result<AccessLog, String> {
        match text {
            "" => Err("an access log goes to a file, `stdout` or `off`".into()),
            "off" => Ok(AccessLog::Off),
            "stdout" => Ok(AccessLog::Stdout),
            path => Ok(AccessLog::File(path.into())),
        }
    }
}

// === impl Secret ===

impl Secret {
    /// The text itself, for the one place that sends or compares it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Secret {
        Secret(text.into())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

fn at_least_one<T: FromStr + PartialOrd + Default>(text: &str) -> Result<T, String> {
    let advice = || format!("{text:?} is not a whole number above 0");
    text.parse().ok().filter(|number| *number > T::default()).ok_or_else(advice)
}

fn headers(text: &str) -> Result<usize, String> {
    let advice = || format!("{text:?} is not a whole number from 1 to {MOST_HEADERS}");
    text.parse().ok().filter(|number| (1..=MOST_HEADERS).contains(number)).ok_or_else(advice)
}

fn size(text: &str) -> Result<usize, String> {
    let size = usize::try_from(quantity::size(text)?).map_err(|_| format!("{text:?} is too large"))?;
    if size < 8192 { Err(format!("{text:?} is too small; a head takes at least \"8KiB\"")) } else { Ok(size) }
}

// A wait may be nothing.
fn wait(text: &str) -> Result<Duration, String> {
    match text {
        "0" | "0s" => Ok(Duration::ZERO),
        text => quantity::duration(text),
    }
}

fn block(text: &str) -> Result<IpNet, String> {
    let net = text.parse().or_else(|_| text.parse().map(|address: std::net::IpAddr| IpNet::from(address)));
    net.map_err(|_| format!("{text:?} is not an address or a CIDR block such as \"10.0.0.0/8\""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        settings: Settings,
    }

    fn parse(args: &[&str]) -> Result<Settings, clap::Error> {
        Program::try_parse_from(std::iter::once(&"node").chain(args)).map(|program| program.settings)
    }

    #[test]
    fn the_documented_defaults_are_the_defaults() {
        assert_eq!(format!("{:?}", parse(&[]).unwrap()), format!("{:?}", Settings::default()));
    }

    #[test]
    fn settings_are_read_strictly() {
        let settings = parse(&["--listen", "a=127.0.0.1:0,b=[::1]:80", "--shutdown-delay", "0s", "--label", "zone=a"]);
        let settings = settings.unwrap();
        assert_eq!(settings.listen[1].to_string(), "b=http://[::1]:80");
        assert_eq!(settings.labels()["zone"], "a");
        for bad in [
            ["--listen", "127.0.0.1:80"],
            ["--listen", "A=127.0.0.1:80"],
            ["--max-header-bytes", "1KiB"],
            ["--idle-timeout", "0s"],
            ["--tls-min-version", "1.1"],
            ["--trusted-proxy", "here"],
            ["--label", "=x"],
            ["--max-memory", "0%"],
            ["--max-memory", "101%"],
            ["--max-memory", "80"],
        ] {
            assert!(parse(&bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_secret_is_not_printed() {
        assert!(!format!("{:?}", parse(&["--join-token", "hush"]).unwrap()).contains("hush"));
    }
}
