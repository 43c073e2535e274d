//! A client of the admin API: one request a connection, with a deadline and a bound on the answer.
//!
//! The token is read late, sent once and never printed; no failure holds it.

pub(crate) mod problem;
pub(crate) mod query;
pub(crate) mod server;
mod tls;

use crate::failure::Failure;
use bytes::Bytes;
use clap::Args;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::{
    HeaderMap, Method, Request, StatusCode,
    header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue, RETRY_AFTER},
};
use hyper_util::rt::TokioIo;
use problem::Problem;
use serde_json::Value;
use server::{Scheme, Server};
use std::{
    io::Read,
    path::{Path, PathBuf},
    time::Duration,
};
use tls::Tls;
use tokio::net::TcpStream;
use tokio_util::either::Either;

/// The largest answer that is read.
const MOST_BYTES: usize = 256 * 1024 * 1024;

/// The largest token file that is read.
const MOST_TOKEN_BYTES: u64 = 4096;

/// How long a request may take, apart from the time for which it asks the server to wait.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Where the admin API is, and what opens it.
#[derive(Args, Clone, Debug)]
pub(crate) struct Access {
    /// The admin API.
    #[arg(long, env = "PORTICO_SERVER", default_value = "http://127.0.0.1:7080", value_name = "URL", global = true)]
    server: String,
    /// The admin token; better to give it in a file or in the environment, where others do not see it.
    #[arg(long, env = "PORTICO_TOKEN", hide_env_values = true, value_name = "TOKEN", global = true)]
    token: Option<Token>,
    /// A file that holds the admin token; default: .portico/admin.token, if it is there.
    #[arg(long, env = "PORTICO_TOKEN_FILE", value_name = "FILE", global = true)]
    token_file: Option<PathBuf>,
    /// The authorities whose certificates the admin API may show, PEM; default: those that the system trusts.
    #[arg(long, env = "PORTICO_CA", value_name = "FILE", global = true)]
    ca: Option<PathBuf>,
}

/// A token, never printed.
#[derive(Clone)]
pub(crate) struct Token(String);

/// A client.
pub(crate) struct Client {
    server: Server,
    // Where the URL begins with https.
    tls: Option<Tls>,
    authorization: Option<HeaderValue>,
}

/// A whole answer.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

// === impl Token ===

impl From<&str> for Token {
    fn from(text: &str) -> Token {
        Token(text.to_string())
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(…)")
    }
}

impl Token {
    pub(crate) fn from_file(path: &Path) -> Result<Token, Failure> {
        let failed =
            |why: String| Failure::Usage(format!("failed to read the admin token from {}: {why}", path.display()));
        let file = std::fs::File::open(path).map_err(|error| failed(error.to_string()))?;
        let mut text = String::new();
        file.take(MOST_TOKEN_BYTES).read_to_string(&mut text).map_err(|error| failed(error.to_string()))?;
        match text.trim() {
            "" => Err(failed("it is empty".into())),
            token => Ok(Token(token.to_string())),
        }
    }
}

// === impl Access ===

impl Access {
    /// A client with this access.
    pub(crate) fn client(&self) -> Result<Client, Failure> {
        let usual = Path::new(".portico/admin.token");
        let token = match (&self.token, &self.token_file) {
            (Some(token), _) => Some(token.clone()),
            (None, Some(path)) => Some(Token::from_file(path)?),
            (None, None) if usual.exists() => Some(Token::from_file(usual)?),
            (None, None) => None,
        };
        Client::new(Server::parse(&self.server)?, token, self.authorities())
    }

    /// The file with the authorities whose certificates the admin API may show, if one was given.
    pub(crate) fn authorities(&self) -> Option<&Path> {
        self.ca.as_deref()
    }
}

// === impl Client ===

impl Client {
    pub(crate) fn new(server: Server, token: Option<Token>, authorities: Option<&Path>) -> Result<Client, Failure> {
        let header = |token: Token| {
            let mut value = HeaderValue::try_from(format!("Bearer {}", token.0.trim()))
                .map_err(|_| Failure::Usage("the admin token holds characters that no token has".into()))?;
            value.set_sensitive(true);
            Ok::<_, Failure>(value)
        };
        let tls = match server.scheme() {
            Scheme::Http => None,
            Scheme::Https => Some(Tls::new(&server, authorities)?),
        };
        Ok(Client { server, tls, authorization: token.map(header).transpose()? })
    }

    pub(crate) async fn get(&self, path: &str) -> Result<Answer, Failure> {
        self.send(Method::GET, path, None, Duration::ZERO).await
    }

    /// Sends a request; `wait` is how long it asks the server to hold the answer.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        wait: Duration,
    ) -> Result<Answer, Failure> {
        let deadline = TIMEOUT + wait;
        match tokio::time::timeout(deadline, self.exchange(method, path, body)).await {
            Ok(answer) => answer,
            Err(_) => Err(Failure::Runtime(format!("{} did not answer within {} s", self.server, deadline.as_secs()))),
        }
    }

    async fn exchange(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Answer, Failure> {
        let failed = |why: &dyn std::fmt::Display| Failure::Runtime(format!("{}: {why}", self.server));
        let mut request = Request::builder().method(method).uri(path).header(HOST, self.server.authority());
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        if body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let body = body.map_or_else(Bytes::new, |body| body.to_string().into());
        let request = request.body(Full::new(body)).map_err(|error| failed(&error))?;

        let stream = TcpStream::connect(self.server.address()).await.map_err(|error| {
            failed(&format!(
                "failed to connect: {error}; is the control plane running there? (--server, PORTICO_SERVER)"
            ))
        })?;
        let stream = match &self.tls {
            None => Either::Left(stream),
            Some(tls) => Either::Right(tls.connect(stream).await.map_err(|why| failed(&why))?),
        };
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| failed(&error))?;
        let exchange = async {
            let response = sender.send_request(request).await.map_err(|error| failed(&error))?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, MOST_BYTES).collect().await.map_err(|error| {
                match error.is::<LengthLimitError>() {
                    true => failed(&format!("the answer is longer than {MOST_BYTES} bytes")),
                    false => failed(&error),
                }
            })?;
            Ok(Answer { status: head.status, headers: head.headers, body: body.to_bytes() })
        };
        // The connection moves the bytes; when it ends first, the exchange knows why.
        let (connection, exchange) = (std::pin::pin!(connection), std::pin::pin!(exchange));
        match drive(exchange, connection).await {
            Some(answer) => answer,
            None => Err(failed(&"the connection closed before the answer was there")),
        }
    }
}

/// Drives a connection until the exchange over it is done.
async fn drive<T>(
    mut exchange: std::pin::Pin<&mut impl Future<Output = T>>,
    connection: std::pin::Pin<&mut impl Future<Output = hyper::Result<()>>>,
) -> Option<T> {
    tokio::select! {
        biased;
        answer = &mut exchange => Some(answer),
        // What had come before the end is read still.
        _ = connection => tokio::time::timeout(Duration::from_millis(100), exchange).await.ok(),
    }
}

// === impl Answer ===

impl Answer {
    /// The answer, if it is a good one.
    pub(crate) fn success(self) -> Result<Answer, Failure> {
        self.success_or(|_| ())
    }

    /// The answer, if it is a good one; else the problem, after a last touch.
    pub(crate) fn success_or(self, touch: impl FnOnce(&mut Problem)) -> Result<Answer, Failure> {
        if self.status.is_success() {
            return Ok(self);
        }
        let retry_after = self.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let mut problem = Problem::parse(self.status, retry_after, &self.body);
        touch(&mut problem);
        Err(problem.failure())
    }

    /// The answer's body.
    pub(crate) fn json(&self) -> Result<Value, Failure> {
        serde_json::from_slice(&self.body)
            .map_err(|error| Failure::Runtime(format!("the answer is not JSON ({error}); is that the admin API?")))
    }

    /// The revision that the answer is of.
    pub(crate) fn revision(&self) -> Option<u64> {
        self.headers.get("portico-revision")?.to_str().ok()?.parse().ok()
    }
}
