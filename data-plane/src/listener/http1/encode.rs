//! Answers as bytes: the head, and how the body is framed.

use crate::encoding;
use http::{StatusCode, header, response::Parts};

/// How the body of an answer is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AnswerFraming {
    /// There is none.
    None,
    /// It has so many bytes.
    Length(u64),
    /// It comes in chunks.
    Chunked,
    /// It ends with the connection.
    Close,
}

/// What the head says about the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Persistence {
    /// It goes on, as always with HTTP/1.1.
    Implied,
    /// It goes on, which a client of HTTP/1.0 has to be told.
    KeepAlive,
    /// It ends.
    Close,
    /// It becomes another protocol's.
    Upgrade,
}

/// Appends the head of an answer.
pub(super) fn head(parts: &Parts, framing: AnswerFraming, persistence: Persistence, date: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(parts.status.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(parts.status.canonical_reason().unwrap_or_default().as_bytes());
    out.extend_from_slice(b"\r\n");
    let mut dated = false;
    for (name, value) in &parts.headers {
        match *name {
            // Said below, by whoever frames the body.
            header::TRANSFER_ENCODING => continue,
            header::CONTENT_LENGTH if framing != AnswerFraming::None || has_no_length(parts.status) => continue,
            header::CONNECTION if persistence != Persistence::Upgrade => continue,
            header::DATE => dated = true,
            _ => {}
        }
        encoding::field(name, value, out);
    }
    if !dated {
        out.extend_from_slice(b"date: ");
        out.extend_from_slice(date);
        out.extend_from_slice(b"\r\n");
    }
    match framing {
        AnswerFraming::Length(length) => encoding::content_length(length, out),
        AnswerFraming::Chunked => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
        AnswerFraming::None | AnswerFraming::Close => {}
    }
    out.extend_from_slice(match persistence {
        Persistence::Implied | Persistence::Upgrade => b"\r\n",
        Persistence::KeepAlive => b"connection: keep-alive\r\n\r\n",
        Persistence::Close => b"connection: close\r\n\r\n",
    });
}

// RFC 9110, 8.6.
fn has_no_length(status: StatusCode) -> bool {
    status.is_informational() || status == StatusCode::NO_CONTENT
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Response;

    fn encode(status: u16, framing: AnswerFraming, persistence: Persistence, date: Option<&str>) -> String {
        let mut builder = Response::builder().status(status);
        for (name, value) in [("x-a", "1"), ("content-length", "7"), ("connection", "x"), ("transfer-encoding", "y")] {
            builder = builder.header(name, value);
        }
        if let Some(date) = date {
            builder = builder.header("date", date);
        }
        let mut out = Vec::new();
        head(&builder.body(()).unwrap().into_parts().0, framing, persistence, b"now", &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_head_says_how_the_body_is_framed_and_no_one_else_does() {
        use AnswerFraming::{Chunked, Close, Length, None as Nothing};
        let check = |status, framing, persistence, expect: &str| {
            assert_eq!(encode(status, framing, persistence, None), expect.replace('|', "\r\n"));
        };
        let ok = "HTTP/1.1 200 OK|x-a: 1|";
        check(200, Length(3), Persistence::Implied, &format!("{ok}date: now|content-length: 3||"));
        check(
            200,
            Chunked,
            Persistence::Close,
            &format!("{ok}date: now|transfer-encoding: chunked|connection: close||"),
        );
        check(200, Close, Persistence::Close, &format!("{ok}date: now|connection: close||"));
        check(
            200,
            Nothing,
            Persistence::KeepAlive,
            &format!("{ok}content-length: 7|date: now|connection: keep-alive||"),
        );
        check(204, Nothing, Persistence::Implied, "HTTP/1.1 204 No Content|x-a: 1|date: now||");
        check(599, Length(0), Persistence::Implied, "HTTP/1.1 599 |x-a: 1|date: now|content-length: 0||");
        check(101, Nothing, Persistence::Upgrade, "HTTP/1.1 101 Switching Protocols|x-a: 1|connection: x|date: now||");
        assert_eq!(encode(204, Nothing, Persistence::Implied, Some("then")).matches("date: then").count(), 1);
    }
}
