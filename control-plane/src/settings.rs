//! What a process is told at its start: flags and environment, read here and passed on as values.

use crate::tls::{Source, authority::Authority};
use anyhow::{Context, anyhow, bail};
use clap::Args;
use sha2::{Digest, Sha256};
use std::{
    fs::{self, OpenOptions},
    io::Write,
    net::SocketAddr,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use subtle::ConstantTimeEq;
use tracing::warn;
use uuid::Uuid;

/// How many lines of the audit are kept.
const DEFAULT_AUDIT_RETENTION: u64 = 100_000;

/// How long the certificate of a node is good for.
const DEFAULT_LIFE: Duration = Duration::from_secs(24 * 3_600);

/// A shorter token of the admin API might be guessed.
const SHORTEST_TOKEN: usize = 20;

/// A shorter one could not be renewed in time.
const SHORTEST_LIFE: Duration = Duration::from_secs(5);

/// The settings of a control plane.
#[derive(Args, Clone)]
pub struct Settings {
    /// The database: `postgres://…`, or `sqlite:PATH`. Default: `portico.db` in the data directory.
    #[arg(long, value_name = "URL", env = "PORTICO_DATABASE", hide_env_values = true)]
    pub database: Option<String>,
    /// A file that holds the URL of the database.
    #[arg(long, value_name = "FILE", env = "PORTICO_DATABASE_FILE", conflicts_with = "database")]
    pub database_file: Option<PathBuf>,
    /// Where the admin API listens.
    #[arg(long, value_name = "ADDR", env = "PORTICO_ADMIN_LISTEN", default_value = "127.0.0.1:7080")]
    pub admin_listen: SocketAddr,
    /// Where nodes connect.
    #[arg(long, value_name = "ADDR", env = "PORTICO_DISCOVERY_LISTEN", default_value = "127.0.0.1:7081")]
    pub discovery_listen: SocketAddr,
    /// Where the control plane keeps what is its own.
    #[arg(long, value_name = "DIR", env = "PORTICO_DATA_DIR", default_value = ".portico")]
    pub data_dir: PathBuf,
    /// The token of the admin API. Without it one is made at the first start: `admin.token` in the data directory.
    #[arg(long, value_name = "TOKEN", env = "PORTICO_ADMIN_TOKEN", hide_env_values = true)]
    pub admin_token: Option<String>,
    /// A file that holds the token of the admin API.
    #[arg(long, value_name = "FILE", env = "PORTICO_ADMIN_TOKEN_FILE", conflicts_with = "admin_token")]
    pub admin_token_file: Option<PathBuf>,
    /// The token with which nodes join. Without it one is made at the first start: `join.token` in the data directory.
    #[arg(long, value_name = "TOKEN", env = "PORTICO_JOIN_TOKEN", hide_env_values = true)]
    pub join_token: Option<String>,
    /// A file that holds the token with which nodes join.
    #[arg(long, value_name = "FILE", env = "PORTICO_JOIN_TOKEN_FILE", conflicts_with = "join_token")]
    pub join_token_file: Option<PathBuf>,
    /// A file that holds the key that secrets are sealed with in the database; of several the first seals, and all open.
    /// Without it one is made at the first start: `secret.key` in the data directory.
    #[arg(long, value_name = "FILE", env = "PORTICO_SECRET_KEY_FILE", value_delimiter = ',')]
    pub secret_key_file: Vec<PathBuf>,
    /// How many revisions are kept.
    #[arg(long, value_name = "N", env = "PORTICO_RETENTION", default_value_t = 10_000)]
    pub retention: u64,
    /// How many lines of the audit are kept.
    #[arg(long, value_name = "N", env = "PORTICO_AUDIT_RETENTION", default_value_t = DEFAULT_AUDIT_RETENTION)]
    pub audit_retention: u64,
    /// The largest body of a request to the admin API, as a size.
    #[arg(long, value_name = "SIZE", env = "PORTICO_MAX_BODY", default_value = "16MiB", value_parser = size)]
    pub max_body: usize,
    /// A certificate of the admin API, PEM with its chain; read again when it changes.
    #[arg(long, value_name = "FILE", env = "PORTICO_ADMIN_TLS_CERT", requires = "admin_tls_key")]
    pub admin_tls_cert: Option<PathBuf>,
    /// The key of that certificate, PEM.
    #[arg(long, value_name = "FILE", env = "PORTICO_ADMIN_TLS_KEY", requires = "admin_tls_cert")]
    pub admin_tls_key: Option<PathBuf>,
    /// A certificate of the discovery port, PEM with its chain; read again when it changes.
    #[arg(long, value_name = "FILE", env = "PORTICO_DISCOVERY_TLS_CERT", requires = "discovery_tls_key")]
    pub discovery_tls_cert: Option<PathBuf>,
    /// The key of that certificate, PEM.
    #[arg(long, value_name = "FILE", env = "PORTICO_DISCOVERY_TLS_KEY", requires = "discovery_tls_cert")]
    pub discovery_tls_key: Option<PathBuf>,
    /// TLS by a certificate authority of the fleet's own, `ca.pem` and `ca.key` in this folder, made there at the first
    /// start. Both ports show certificates of it where none are given, and each node gets one when it joins.
    #[arg(long, value_name = "DIR", env = "PORTICO_TLS_CA_DIR")]
    pub tls_ca_dir: Option<PathBuf>,
    /// A host name or address by which this control plane is reached, for the certificates of that authority; may be
    /// given several times. `localhost` and its addresses are always among them.
    #[arg(long, value_name = "HOST", env = "PORTICO_TLS_HOST", value_delimiter = ',', requires = "tls_ca_dir")]
    pub tls_host: Vec<String>,
    /// How long the certificate of a node is good for; it is renewed in time.
    #[arg(long, value_name = "TIME", env = "PORTICO_NODE_CERTIFICATE_LIFE", default_value = "24h", value_parser = life)]
    pub node_certificate_life: Duration,
    /// Listen beyond loopback without encryption: for networks where every machine is trusted. A configuration with secrets
    /// is not sent to nodes that way
    #[arg(long, env = "PORTICO_INSECURE_CLEARTEXT")]
    pub insecure_cleartext: bool,
    /// What is told to an OpenTelemetry collector.
    #[command(flatten)]
    pub otel: otel::Settings,
}

/// Where the certificates of both ports come from.
pub(crate) struct Certificates {
    pub(crate) admin: Option<Source>,
    pub(crate) discovery: Option<Source>,
    /// Gives nodes certificates of their own.
    pub(crate) authority: Option<Arc<Authority>>,
}

/// A token, kept as its digest and compared in constant time.
#[derive(Clone)]
pub struct Token([u8; 32]);

/// A secret that was given, or made and kept in a file. It is never printed.
#[derive(Clone)]
pub(crate) struct Secret {
    text: String,
    origin: Origin,
}

/// Where a secret comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A flag or the environment.
    Given,
    /// A file.
    File(PathBuf),
}

// === impl Settings ===

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            database: None,
            database_file: None,
            admin_listen: ([127, 0, 0, 1], 7080).into(),
            discovery_listen: ([127, 0, 0, 1], 7081).into(),
            data_dir: ".portico".into(),
            admin_token: None,
            admin_token_file: None,
            join_token: None,
            join_token_file: None,
            secret_key_file: Vec::new(),
            retention: 10_000,
            audit_retention: DEFAULT_AUDIT_RETENTION,
            max_body: 16 * 1024 * 1024,
            admin_tls_cert: None,
            admin_tls_key: None,
            discovery_tls_cert: None,
            discovery_tls_key: None,
            tls_ca_dir: None,
            tls_host: Vec::new(),
            node_certificate_life: DEFAULT_LIFE,
            insecure_cleartext: false,
            otel: otel::Settings::default(),
        }
    }
}

impl Settings {
    /// The URL of the database.
    pub(crate) fn database_url(&self) -> anyhow::Result<String> {
        match (&self.database, &self.database_file) {
            (Some(url), _) => Ok(url.clone()),
            (None, Some(file)) => read_secret(file),
            (None, None) => Ok(format!("sqlite:{}", self.data_dir.join("portico.db").display())),
        }
    }

    pub(crate) fn admin_secret(&self) -> anyhow::Result<Secret> {
        let secret = Secret::find(
            self.admin_token.as_deref(),
            self.admin_token_file.as_deref(),
            &self.data_dir.join("admin.token"),
        )
        .context("the token of the admin API")?;
        // Nobody who guesses is slowed down: behind one address may be everybody.
        if secret.text.len() < SHORTEST_TOKEN {
            warn!("the admin token has less than {SHORTEST_TOKEN} characters; take a random one that nobody can guess");
        }
        Ok(secret)
    }

    pub(crate) fn join_secret(&self) -> anyhow::Result<Secret> {
        Secret::find(self.join_token.as_deref(), self.join_token_file.as_deref(), &self.data_dir.join("join.token"))
            .context("the token with which nodes join")
    }

    /// The texts of the keys for secrets; the first is to seal.
    pub(crate) fn secret_keys(&self) -> anyhow::Result<Vec<String>> {
        let read = |file: Option<&Path>| {
            let secret = Secret::find(None, file, &self.data_dir.join("secret.key")).context("the key for secrets")?;
            Ok(secret.text)
        };
        match self.secret_key_file.as_slice() {
            [] => Ok(vec![read(None)?]),
            files => files.iter().map(|file| read(Some(file))).collect(),
        }
    }

    /// Opens the authority, if there is to be one. Tokens and configuration do not cross a network in the clear unless
    /// somebody said so.
    pub(crate) fn certificates(&self) -> anyhow::Result<Certificates> {
        let authority = self.tls_ca_dir.as_deref().map(Authority::open).transpose()?.map(Arc::new);
        // By the addresses that it listens on it is reached too.
        let mut hosts = self.tls_host.clone();
        let listen = [self.admin_listen.ip(), self.discovery_listen.ip()];
        hosts.extend(listen.iter().filter(|ip| !ip.is_unspecified()).map(ToString::to_string));
        let given = |certificate: &Option<PathBuf>, key: &Option<PathBuf>| match (certificate, key) {
            (Some(certificate), Some(key)) => {
                Ok(Some(Source::Files { certificate: certificate.clone(), key: key.clone() }))
            }
            (None, None) => Ok(authority.as_ref().map(|authority| Source::Issued(authority.clone(), hosts.clone()))),
            (Some(_), None) | (None, Some(_)) => Err(anyhow!("a certificate and its key are given together")),
        };
        let admin = given(&self.admin_tls_cert, &self.admin_tls_key)?;
        let discovery = given(&self.discovery_tls_cert, &self.discovery_tls_key)?;
        for (port, address, tls) in
            [("admin", self.admin_listen, &admin), ("discovery", self.discovery_listen, &discovery)]
        {
            if tls.is_none() && !address.ip().is_loopback() && !self.insecure_cleartext {
                bail!(
                    "--{port}-listen {address} is beyond loopback and not encrypted; give --tls-ca-dir, or \
                     --{port}-tls-cert and --{port}-tls-key, or --insecure-cleartext if that is meant"
                );
            }
        }
        Ok(Certificates { admin, discovery, authority })
    }
}

// === impl Token ===

impl Token {
    /// Of its text.
    pub fn new(text: &str) -> Token {
        Token(Sha256::digest(text.as_bytes()).into())
    }

    /// Whether that is the token.
    pub fn matches(&self, presented: &[u8]) -> bool {
        let presented: [u8; 32] = Sha256::digest(presented).into();
        self.0.ct_eq(&presented).into()
    }
}

// === impl Secret ===

impl Secret {
    fn find(given: Option<&str>, file: Option<&Path>, own: &Path) -> anyhow::Result<Secret> {
        match (given, file) {
            (Some(""), _) => bail!("is empty"),
            (Some(text), _) => Ok(Secret { text: text.into(), origin: Origin::Given }),
            (None, Some(file)) => Ok(Secret { text: read_secret(file)?, origin: Origin::File(file.into()) }),
            (None, None) => {
                let text = if own.try_exists()? { read_secret(own)? } else { make_secret(own)? };
                Ok(Secret { text, origin: Origin::File(own.into()) })
            }
        }
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    pub(crate) fn token(&self) -> Token {
        Token::new(&self.text)
    }

    pub(crate) fn origin(&self) -> &Origin {
        &self.origin
    }
}

/// Text that others send, cut to what is kept of it.
pub(crate) fn clip(mut text: String, limit: usize) -> String {
    text.truncate(text.floor_char_boundary(limit));
    text
}

fn read_secret(file: &Path) -> anyhow::Result<String> {
    let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    // What an engine of containers mounts there has the mode of the host, and only who is in the container sees it.
    let is_mounted = file.starts_with("/run/secrets");
    if !is_mounted && fs::metadata(file)?.permissions().mode() & 0o007 != 0 {
        warn!(file = %file.display(), "everybody on this machine can read a secret; chmod 600 it");
    }
    let text = text.trim();
    if text.is_empty() {
        bail!("{} is empty", file.display());
    }
    Ok(text.into())
}

// 244 random bits of the operating system. Written beside and renamed, so that a crash leaves no half of it.
fn make_secret(file: &Path) -> anyhow::Result<String> {
    let text = format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
    let beside = file.with_extension("new");
    let write = || {
        let mut options = OpenOptions::new();
        let mut open = options.write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
        writeln!(open, "{text}")?;
        open.sync_all()?;
        fs::rename(&beside, file)
    };
    write().with_context(|| format!("cannot write {}", file.display()))?;
    Ok(text)
}

fn life(text: &str) -> Result<Duration, String> {
    let life = proto::quantity::duration(text)?;
    if life < SHORTEST_LIFE { Err(format!("{text:?} is too short; it is at least \"5s\"")) } else { Ok(life) }
}

fn size(text: &str) -> Result<usize, String> {
    let bytes = proto::quantity::size(text)?;
    usize::try_from(bytes).map_err(|_| "is too large".into())
}
