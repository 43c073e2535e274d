//! Switching a connection to another protocol: what is asked for, whether the answer agrees, and what it is afterwards.
//!
//! A 101 is believed only if it was asked for and says just what was asked for. Everything behind it passes the gateway
//! unread, so an answer that only looks like consent would let a client and a server talk past every policy.

use super::{connection::Connection, head::Head, local::InFlight};
use crate::{encoding::base64, tunnel::Side};
use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use bytes::BytesMut;
use http::{HeaderMap, HeaderName, HeaderValue};
use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

const SEC_WEBSOCKET_ACCEPT: HeaderName = HeaderName::from_static("sec-websocket-accept");
/// RFC 6455, 1.3.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The protocol that an upstream is asked to switch to.
#[derive(Debug)]
pub(crate) struct Upgrade {
    protocol: HeaderValue,
    // What shows that a server has understood the handshake of WebSocket.
    accept: Option<[u8; 28]>,
}

/// A connection that the upstream has switched.
#[derive(Debug)]
pub(crate) struct Switched {
    connection: Connection,
    // As long as it is there, so is the request.
    _in_flight: InFlight,
}

// === impl Upgrade ===

impl Upgrade {
    /// To a protocol of which nothing is known.
    pub(crate) fn to(protocol: HeaderValue) -> Upgrade {
        Upgrade { protocol, accept: None }
    }

    /// To WebSocket, with the client's key.
    pub(crate) fn to_websocket(protocol: HeaderValue, key: &[u8]) -> Upgrade {
        let digest = digest(&SHA1_FOR_LEGACY_USE_ONLY, &[key, GUID].concat());
        Upgrade { protocol, accept: Some(base64(digest.as_ref())) }
    }

    /// The name of the protocol.
    pub(crate) fn protocol(&self) -> &HeaderValue {
        &self.protocol
    }

    /// Whether a 101 is the answer to it.
    pub(super) fn is_agreed(&self, head: &Head) -> bool {
        let same = |protocol: &HeaderValue| protocol.as_bytes().eq_ignore_ascii_case(self.protocol.as_bytes());
        head.switches_to.as_deref().is_some_and(same)
            && self.accept.as_ref().is_none_or(|accept| only(&head.headers, &SEC_WEBSOCKET_ACCEPT) == Some(accept))
    }
}

// The value of a header that is there once.
fn only<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h [u8]> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none()).map(HeaderValue::as_bytes)
}

// === impl Switched ===

impl Switched {
    pub(super) fn new(connection: Connection, in_flight: InFlight) -> Switched {
        Switched { connection, _in_flight: in_flight }
    }

    /// What came behind the head of the answer.
    pub(crate) fn take_read(&mut self) -> BytesMut {
        std::mem::take(&mut self.connection.buffer)
    }
}

impl Side for Switched {
    fn tcp(&self) -> Option<&TcpStream> {
        Some(self.connection.stream.tcp())
    }

    fn reset(&mut self) {
        self.connection.stream.reset();
    }
}

impl AsyncRead for Switched {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().connection.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Switched {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().connection.stream).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().connection.stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().connection.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::head::decode;
    use http::Method;

    #[test]
    fn only_the_answer_to_what_was_asked_agrees() {
        // The example of RFC 6455, 1.3.
        let websocket = Upgrade::to_websocket(HeaderValue::from_static("websocket"), b"dGhlIHNhbXBsZSBub25jZQ==");
        let other = Upgrade::to(HeaderValue::from_static("SPDY/3.1"));
        let check = |upgrade: &Upgrade, lines: &str, expect: bool| {
            let mut bytes = BytesMut::from(format!("HTTP/1.1 101 Yes\r\n{lines}\r\n").as_str());
            let head = decode(&mut bytes, &Method::GET).unwrap().unwrap();
            assert_eq!(upgrade.is_agreed(&head), expect, "{lines:?}");
        };
        let accept = "sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";
        let agrees = "connection: x, Upgrade\r\nupgrade: WebSocket\r\n";
        check(&websocket, &format!("{agrees}{accept}"), true);
        check(&other, "Upgrade: spdy/3.1\r\nConnection: upgrade\r\n", true);
        for bad in [
            agrees.to_string(),
            format!("{agrees}{accept}{accept}"),
            format!("{agrees}sec-websocket-accept: S3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"),
            format!("{agrees}upgrade: websocket\r\n{accept}"),
            format!("connection: upgrade\r\nupgrade: websocket, x\r\n{accept}"),
            format!("connection: upgrade\r\nupgrade: other\r\n{accept}"),
            format!("connection: upgrade\r\n{accept}"),
            format!("connection: keep-alive\r\nupgrade: websocket\r\n{accept}"),
            format!("connection: upgrade, sec-websocket-accept\r\nupgrade: websocket\r\n{accept}"),
            accept.to_string(),
        ] {
            check(&websocket, &bad, false);
        }
        check(&other, "connection: upgrade\r\nupgrade: SPDY/3\r\n", false);
    }
}
