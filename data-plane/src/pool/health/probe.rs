//! One check of one endpoint, on a connection of its own: that it can still be had is a part of what is checked.

use crate::pool::{Endpoint, stream::Stream, tls::HandshakeError};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::{HeaderValue, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Empty, Full};
use hyper::{
    body::{Body, Incoming},
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use proto::upstream::{HealthCheck, HttpProbe, Probe, Protocol};
use std::{io, net::SocketAddr};
use tokio::{net::TcpStream, task::JoinSet};

/// The most bytes of a head.
const MAX_HEAD: usize = 64 * 1024;
/// The most bytes of a gRPC answer.
const MAX_ANSWER: usize = 4 * 1024;
/// How checks call themselves.
const USER_AGENT: HeaderValue = HeaderValue::from_static("portico-health-check");
/// `SERVING` of `grpc.health.v1`.
const SERVING: i32 = 1;

/// Why a check failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProbeError {
    #[error("it does not accept a connection: {0}")]
    Connect(#[from] io::Error),
    #[error("it does not agree on TLS: {0}")]
    Tls(String),
    #[error("it did not answer in time")]
    Elapsed,
    #[error("{0}")]
    Http(#[from] hyper::Error),
    #[error("the request of the check cannot be made: {0}")]
    Request(#[from] http::Error),
    #[error("it answered {0}")]
    Status(StatusCode),
    #[error("its answer is not of the gRPC health protocol")]
    Grpc,
    #[error("it answered with the gRPC status {0}")]
    GrpcStatus(String),
    #[error("it says that it does not serve (status {0} of grpc.health.v1)")]
    NotServing(i32),
}

impl From<HandshakeError> for ProbeError {
    fn from(HandshakeError { detail, .. }: HandshakeError) -> ProbeError {
        ProbeError::Tls(detail.to_string())
    }
}

#[derive(Clone, PartialEq, Message)]
struct CheckRequest {
    #[prost(string, tag = "1")]
    service: String,
}

#[derive(Clone, PartialEq, Message)]
struct CheckResponse {
    #[prost(int32, tag = "1")]
    status: i32,
}

/// Checks an endpoint once. It is asked for a path by what the upstream speaks, and for gRPC by HTTP/2 in any case.
pub(super) async fn probe(endpoint: &Endpoint, check: &HealthCheck, protocol: Protocol) -> Result<(), ProbeError> {
    let probe = async {
        let port = check.port.unwrap_or(endpoint.address.port);
        let addresses: Vec<SocketAddr> = endpoint.ips.iter().map(|ip| SocketAddr::new(*ip, port)).collect();
        // One after the other.
        let stream = TcpStream::connect(addresses.as_slice()).await?;
        let stream = match (&endpoint.tls, &check.probe) {
            (None, _) => Stream::Plain(stream),
            (Some(tls), Probe::Grpc(_)) => tls.handshake_http2(stream).await?,
            (Some(tls), Probe::Http(_) | Probe::Tcp) => tls.handshake(stream).await?,
        };
        match &check.probe {
            Probe::Http(http) => ask(stream, http, endpoint, protocol).await,
            Probe::Tcp => Ok(()),
            Probe::Grpc(service) => ask_grpc(stream, service, endpoint).await,
        }
    };
    tokio::time::timeout(check.timeout, probe).await.unwrap_or(Err(ProbeError::Elapsed))
}

async fn ask(stream: Stream, probe: &HttpProbe, endpoint: &Endpoint, protocol: Protocol) -> Result<(), ProbeError> {
    let host = match &probe.host {
        Some(host) => host.clone(),
        None => HeaderValue::from_str(&endpoint.address.to_string()).map_err(http::Error::from)?,
    };
    let request = Request::get(probe.path.clone()).header(header::USER_AGENT, USER_AGENT).header(header::ACCEPT, "*/*");
    // Both end with this.
    let mut driver = JoinSet::new();
    let response = match protocol {
        Protocol::Http1 => {
            let request = request.header(header::HOST, host).header(header::CONNECTION, "close");
            let builder = http1::Builder::new().max_buf_size(MAX_HEAD).handshake(TokioIo::new(stream));
            let (mut sender, connection) = builder.await?;
            driver.spawn(async { connection.await.ok() });
            sender.send_request(request.body(Empty::<Bytes>::new())?).await?
        }
        Protocol::Http2 { .. } => {
            let uri = Uri::builder().scheme(scheme(endpoint)).authority(host.as_bytes());
            let request = request.uri(uri.path_and_query(probe.path.clone()).build()?);
            let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
            driver.spawn(async { connection.await.ok() });
            sender.send_request(request.body(Empty::<Bytes>::new())?).await?
        }
    };
    if probe.passes(response.status()) { Ok(()) } else { Err(ProbeError::Status(response.status())) }
}

fn scheme(endpoint: &Endpoint) -> &'static str {
    if endpoint.is_tls() { "https" } else { "http" }
}

async fn ask_grpc(stream: Stream, service: &str, endpoint: &Endpoint) -> Result<(), ProbeError> {
    let message = CheckRequest { service: service.into() }.encode_to_vec();
    let mut body = BytesMut::with_capacity(5 + message.len());
    body.put_u8(0);
    body.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    body.put_slice(&message);
    let place = format!("{}://{}/grpc.health.v1.Health/Check", scheme(endpoint), endpoint.address);
    let request = Request::post(place)
        .header(header::CONTENT_TYPE, "application/grpc")
        .header(header::TE, "trailers")
        .header(header::USER_AGENT, USER_AGENT)
        .body(Full::new(body.freeze()))?;
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
    let mut driver = JoinSet::new();
    driver.spawn(connection);
    let response = sender.send_request(request).await?;
    if response.status() != StatusCode::OK {
        return Err(ProbeError::Status(response.status()));
    }
    match read_grpc(response).await?.status {
        SERVING => Ok(()),
        status => Err(ProbeError::NotServing(status)),
    }
}

async fn read_grpc(response: Response<Incoming>) -> Result<CheckResponse, ProbeError> {
    let (head, mut body) = response.into_parts();
    let mut data = BytesMut::new();
    let mut status = head.headers.get("grpc-status").cloned();
    while !body.is_end_stream() {
        let Some(frame) = body.frame().await else { break };
        match frame?.into_data() {
            Ok(piece) if data.len() + piece.len() > MAX_ANSWER => return Err(ProbeError::Grpc),
            Ok(piece) => data.extend_from_slice(&piece),
            Err(frame) => status = frame.trailers_ref().and_then(|trailers| trailers.get("grpc-status")).cloned(),
        }
    }
    match status {
        Some(status) if status == "0" => {}
        Some(status) => return Err(ProbeError::GrpcStatus(String::from_utf8_lossy(status.as_bytes()).into())),
        None => return Err(ProbeError::Grpc),
    }
    if data.len() < 5 || data.get_u8() != 0 || data.get_u32() as usize != data.len() {
        return Err(ProbeError::Grpc);
    }
    CheckResponse::decode(data).map_err(|_| ProbeError::Grpc)
}
