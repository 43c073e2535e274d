//! The chunked coding, decoded a second time, from all bytes at once.

use crate::chunked::{Chunked, Decoded};
use bytes::BytesMut;
use http::{HeaderName, HeaderValue};

/// The body, how many trailers, and how many bytes are behind the end.
type Whole = (Vec<u8>, usize, usize);

pub(super) fn decode(bytes: &[u8]) {
    let (piece, bytes) = bytes.split_first().map_or((1, bytes), |(piece, bytes)| (usize::from(*piece).max(1), bytes));
    let expect = reference(bytes);
    assert_eq!(in_pieces(bytes, bytes.len().max(1)), expect);
    assert_eq!(in_pieces(bytes, piece), expect);
}

fn in_pieces(bytes: &[u8], piece: usize) -> Option<Whole> {
    let (mut chunked, mut buffer) = (Chunked::Size, BytesMut::new());
    let (mut body, mut trailers, mut taken) = (Vec::new(), 0, 0);
    loop {
        match chunked.decode(&mut buffer).ok()? {
            Decoded::Data(data) => {
                assert!(!data.is_empty(), "a piece of nothing");
                body.extend_from_slice(&data);
            }
            Decoded::Trailers(fields) => trailers = fields.len(),
            Decoded::End => return Some((body, trailers, bytes.len() - taken + buffer.len())),
            Decoded::More if taken == bytes.len() => return None,
            Decoded::More => {
                let more = &bytes[taken..bytes.len().min(taken + piece)];
                buffer.extend_from_slice(more);
                taken += more.len();
            }
        }
    }
}

fn reference(bytes: &[u8]) -> Option<Whole> {
    let (mut rest, mut body) = (bytes, Vec::new());
    loop {
        let line = line(&mut rest, 4096)?;
        let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        let size = u64::from_str_radix(std::str::from_utf8(&line[..digits]).ok()?, 16).ok()?;
        let behind = line[digits..].trim_ascii_start();
        if digits > 15 || !matches!(behind, [] | [b';', ..]) || line.iter().any(|b| *b != b'\t' && b.is_ascii_control())
        {
            return None;
        }
        if size == 0 {
            break;
        }
        let (data, more) = rest.split_at_checked(usize::try_from(size).ok()?)?;
        body.extend_from_slice(data);
        rest = more.strip_prefix(b"\r\n")?;
    }
    let (mut trailers, mut left) = (0, 16 * 1024);
    loop {
        let line = line(&mut rest, left)?;
        if line.is_empty() {
            return Some((body, trailers, rest.len()));
        }
        let at = line.iter().position(|byte| *byte == b':')?;
        HeaderName::from_bytes(&line[..at]).ok()?;
        HeaderValue::from_bytes(line[at + 1..].trim_ascii()).ok()?;
        trailers += 1;
        left -= line.len() + 2;
        if trailers > 64 {
            return None;
        }
    }
}

// A line of at most so many bytes, with its end.
fn line<'a>(rest: &mut &'a [u8], max: usize) -> Option<&'a [u8]> {
    let at = rest.iter().take(max).position(|byte| *byte == b'\n')?;
    let line = rest[..at].strip_suffix(b"\r")?;
    *rest = &rest[at + 1..];
    Some(line)
}
