//! The question by gRPC, as Envoy's ext_authz asks it, over the upstream's own connections.
//!
//! The answer is read to its end, under a limit, and counts only if the server says that it went well. One that lets the
//! request pass has to say so, and is taken whole or not at all; a refusal stays one, however odd the rest of it is.

use super::{Judgement, changes::Changes, refusal};
use crate::{
    context::{Context, HeaderChange, Placing, TOLD, X_REQUEST_ID},
    error::{Detail, Refusal},
    filter::{
        asking::{Question, Unanswered, ask},
        sequence::Caller,
    },
    pool::{DownloadBody, Pool},
};
use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header, uri::PathAndQuery};
use http_body_util::BodyExt;
use prost::Message;
use proto::{
    ext_authz::{
        Address, AttributeContext, CHECK, CheckRequest, CheckResponse, DeniedHttpResponse, HeaderValueOption,
        HttpRequest, OkHttpResponse, Peer, Request, SocketAddress, Timestamp, check_response::HttpResponse,
    },
    policy::{ExtAuth, ExtAuthGrpc},
};
use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};
use tokio::time::timeout;

const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");
const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
const TRAILERS: HeaderValue = HeaderValue::from_static("trailers");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
/// What stands before a message: whether it is compressed, and its length.
const PREFIX: usize = 5;
/// The largest answer.
const MAX_ANSWER: usize = 64 * 1024;

/// Whom, and how.
pub(super) struct Check<'c> {
    pub(super) policy: &'c ExtAuth,
    pub(super) grpc: &'c ExtAuthGrpc,
    pub(super) pool: &'c Arc<Pool>,
}

// === impl Check ===

impl Check<'_> {
    /// Asks, and waits as long as the policy says.
    pub(super) async fn ask(&self, context: &Context, caller: Caller<'_>) -> Result<Judgement, Unanswered> {
        let within = self.policy.timeout;
        let question = Question {
            pool: self.pool,
            method: &Method::POST,
            target: &PathAndQuery::from_static(CHECK),
            headers: &self.head(context),
            body: Some(frame(&self.request(context))),
            within,
            trace: &context.trace,
        };
        let asking = async { receive(ask(question, caller).await?).await };
        let answer = timeout(within, asking).await.map_err(|_| Unanswered)??;
        self.judge(CheckResponse::decode(answer).map_err(|_| Unanswered)?)
    }

    fn head(&self, context: &Context) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for name in [X_REQUEST_ID, header::VIA] {
            headers.extend(context.headers.get_all(&name).iter().map(|value| (name.clone(), value.clone())));
        }
        headers.insert(header::HOST, self.policy.host.as_ref().unwrap_or(context.host.value()).clone());
        headers.insert(header::CONTENT_TYPE, GRPC);
        headers.insert(header::TE, TRAILERS);
        // A policy waits for half a minute at most, and a timeout has up to eight digits.
        let within = HeaderValue::try_from(format!("{}m", self.policy.timeout.as_millis().max(1)));
        within.into_iter().for_each(|within| drop(headers.insert(GRPC_TIMEOUT, within)));
        headers
    }

    fn request(&self, context: &Context) -> CheckRequest {
        let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let certificate = context.principals.iter().find(|principal| principal.method == "client_certificate");
        let header = |name: &HeaderName| Some((name.to_string(), joined(&context.headers, name)?));
        let http = HttpRequest {
            id: text(context.request_id.as_bytes()),
            method: context.method.to_string(),
            headers: TOLD.iter().chain(&self.policy.send).filter_map(header).collect(),
            path: context.target.to_string(),
            host: text(context.host.value().as_bytes()),
            scheme: context.scheme.as_str().into(),
            size: -1,
        };
        // Behind proxies only the address is known.
        let from = SocketAddress { address: context.client.to_string(), port_value: 0 };
        CheckRequest {
            attributes: Some(AttributeContext {
                source: Some(Peer {
                    address: Some(Address { socket_address: Some(from) }),
                    principal: certificate.map(|known| known.subject.to_string()).unwrap_or_default(),
                }),
                request: Some(Request {
                    time: Some(Timestamp { seconds: time.as_secs() as i64, nanos: time.subsec_nanos() as i32 }),
                    http: Some(http),
                }),
                context_extensions: self.grpc.context_extensions.clone().into_iter().collect(),
            }),
        }
    }

    fn judge(&self, answer: CheckResponse) -> Result<Judgement, Unanswered> {
        match (answer.status.map(|status| status.code), answer.http_response) {
            (None | Some(0), Some(HttpResponse::OkResponse(ok))) => self.changes(ok).map(Judgement::Passes),
            (Some(0), None) => Ok(Judgement::Passes(Changes::default())),
            // Nobody lets pass by saying nothing.
            (None, None) => Err(Unanswered),
            (None | Some(_), Some(HttpResponse::DeniedResponse(denied))) => Ok(self.refuse(denied)),
            (Some(_), Some(HttpResponse::OkResponse(_)) | None) => Ok(self.refuse(DeniedHttpResponse::default())),
        }
    }

    fn changes(&self, ok: OkHttpResponse) -> Result<Changes, Unanswered> {
        let ExtAuth { send, to_upstream, to_client, .. } = self.policy;
        let removed = ok.headers_to_remove.iter().filter_map(|name| HeaderName::from_bytes(name).ok());
        let set = ok.query_parameters_to_set.into_iter().map(|parameter| (parameter.key, parameter.value));
        Ok(Changes {
            upstream: allowed(ok.headers, to_upstream).collect::<Result<_, Unanswered>>()?,
            removed: removed.filter(|name| send.contains(name)).collect(),
            query: set.filter(|(name, _)| self.grpc.query.iter().any(|allowed| **allowed == **name)).collect(),
            client: allowed(ok.response_headers_to_add, to_client).collect::<Result<_, Unanswered>>()?,
        })
    }

    fn refuse(&self, denied: DeniedHttpResponse) -> Judgement {
        let DeniedHttpResponse { status, headers: said, body } = denied;
        let code = status.and_then(|status| u16::try_from(status.code).ok());
        // One that says that all is well, or that a copy of the client's is good, is no refusal's.
        let code = code.filter(|code| (300..=599).contains(code) && *code != StatusCode::NOT_MODIFIED.as_u16());
        let status = code.and_then(|code| StatusCode::from_u16(code).ok()).unwrap_or(StatusCode::FORBIDDEN);
        let media_type = allowed(said.clone(), &[header::CONTENT_TYPE]).flatten().last();
        let mut headers = HeaderMap::new();
        allowed(said, &self.policy.to_client).flatten().for_each(|change| change.apply(&mut headers));
        let headers = headers.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        let refusal = refusal(status, headers);
        Judgement::Refuses(Box::new(match body.is_empty() {
            true => refusal,
            false => Refusal { detail: Detail::Body(media_type.map_or(TEXT, |change| change.value), body), ..refusal },
        }))
    }
}

// Those of the headers that have one of the names; an error for one that cannot be.
fn allowed(
    said: Vec<HeaderValueOption>,
    names: &[HeaderName],
) -> impl Iterator<Item = Result<HeaderChange, Unanswered>> {
    said.into_iter().filter_map(|option| {
        let header = option.header?;
        let name = HeaderName::from_bytes(&header.key).ok().filter(|name| names.contains(name))?;
        let value = if header.value.is_empty() { header.raw_value } else { header.value };
        let how = match (option.append.map(|append| append.value), option.append_action) {
            (Some(true), _) | (None, 0) => Placing::Beside,
            (Some(false), _) | (None, 2) => Placing::InPlace,
            (None, 1) => Placing::IfAbsent,
            (None, 3) => Placing::InPlaceOnly,
            (None, _) => return Some(Err(Unanswered)),
        };
        Some(HeaderValue::from_maybe_shared(value).map_err(|_| Unanswered).map(|value| HeaderChange {
            name,
            value,
            how,
        }))
    })
}

// Several fields of one name are one value.
fn joined(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let between: &[u8] = if *name == header::COOKIE { b"; " } else { b", " };
    let values: Vec<&[u8]> = headers.get_all(name).iter().map(HeaderValue::as_bytes).collect();
    (!values.is_empty()).then(|| text(&values.join(between)))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn frame(message: &impl Message) -> Bytes {
    let length = message.encoded_len();
    let mut framed = BytesMut::with_capacity(PREFIX + length);
    framed.put_u8(0);
    // A head is not that large.
    framed.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    framed.extend_from_slice(&message.encode_to_vec());
    framed.freeze()
}

async fn receive(response: Response<DownloadBody>) -> Result<Bytes, Unanswered> {
    let (head, mut body) = response.into_parts();
    if head.status != StatusCode::OK || !head.headers.get(header::CONTENT_TYPE).is_some_and(is_grpc) {
        return Err(Unanswered);
    }
    let (mut answer, mut trailers) = (BytesMut::new(), HeaderMap::new());
    while let Some(frame) = body.frame().await {
        match frame.map_err(|_| Unanswered)?.into_data() {
            Ok(piece) if answer.len() + piece.len() > PREFIX + MAX_ANSWER => return Err(Unanswered),
            Ok(piece) => answer.extend_from_slice(&piece),
            Err(last) => trailers = last.into_trailers().map_err(|_| Unanswered)?,
        }
    }
    // A server that failed at once says so in its head, and has no trailers.
    match trailers.get(GRPC_STATUS).is_some_and(|status| status == "0") {
        true => unframe(answer.freeze()),
        false => Err(Unanswered),
    }
}

// One message, and not compressed: nobody asked for that.
fn unframe(mut answer: Bytes) -> Result<Bytes, Unanswered> {
    let (prefix, message) = answer.split_first_chunk::<PREFIX>().ok_or(Unanswered)?;
    let [flag, length @ ..] = *prefix;
    match flag == 0 && u32::from_be_bytes(length) as usize == message.len() {
        true => Ok(answer.split_off(PREFIX)),
        false => Err(Unanswered),
    }
}

fn is_grpc(value: &HeaderValue) -> bool {
    let rest = value.as_bytes().strip_prefix(b"application/grpc");
    rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';' | b' ')))
}
