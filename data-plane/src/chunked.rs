//! The chunked transfer coding (RFC 9112, 7.1), decoded strictly: what is not exactly that is an error.

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue};

/// The longest line of a size and its extensions.
const MAX_LINE: usize = 4096;
/// The most bytes of trailers, and the most of them.
const MAX_TRAILERS: usize = 16 * 1024;
const MAX_TRAILER_FIELDS: usize = 64;

/// Where in the coding the next byte stands.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Chunked {
    /// In the line of a chunk's size.
    Size,
    /// In a chunk, of which so much is left.
    Data(u64),
    /// In the line end behind a chunk.
    End,
    /// In the trailers.
    Trailers(Box<Trailers>),
    /// Behind it all.
    Done,
}

/// The trailers that came.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Trailers {
    bytes: usize,
    fields: HeaderMap,
}

/// What the bytes that are there yield.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Decoded {
    /// A piece of the body.
    Data(Bytes),
    /// The trailers, if there are any. They are not headers: whoever passes them on sees to that.
    Trailers(HeaderMap),
    /// Nothing without more bytes.
    More,
    /// The end.
    End,
}

/// It is not the chunked coding.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

impl Chunked {
    /// Takes the next piece out of the bytes that came.
    pub(crate) fn decode(&mut self, bytes: &mut BytesMut) -> Result<Decoded, Malformed> {
        loop {
            match self {
                Chunked::Size => match line(bytes, MAX_LINE)? {
                    None => return Ok(Decoded::More),
                    Some(line) => {
                        *self = match size(&line)? {
                            0 => Chunked::Trailers(Box::default()),
                            size => Chunked::Data(size),
                        }
                    }
                },
                Chunked::Data(_) if bytes.is_empty() => return Ok(Decoded::More),
                Chunked::Data(left) => {
                    let len = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                    *left -= len as u64;
                    if *left == 0 {
                        *self = Chunked::End;
                    }
                    return Ok(Decoded::Data(bytes.split_to(len).freeze()));
                }
                Chunked::End => match bytes.as_ref() {
                    [b'\r', b'\n', ..] => {
                        drop(bytes.split_to(2));
                        *self = Chunked::Size;
                    }
                    [] | [b'\r'] => return Ok(Decoded::More),
                    [..] => return Err(Malformed),
                },
                Chunked::Trailers(trailers) => match line(bytes, MAX_TRAILERS - trailers.bytes)? {
                    None => return Ok(Decoded::More),
                    Some(line) if line.is_empty() => {
                        let fields = std::mem::take(&mut trailers.fields);
                        *self = Chunked::Done;
                        if !fields.is_empty() {
                            return Ok(Decoded::Trailers(fields));
                        }
                    }
                    Some(line) => trailers.add(&line)?,
                },
                Chunked::Done => return Ok(Decoded::End),
            }
        }
    }
}

impl Trailers {
    fn add(&mut self, line: &[u8]) -> Result<(), Malformed> {
        let colon = line.iter().position(|byte| *byte == b':').ok_or(Malformed)?;
        let name = HeaderName::from_bytes(&line[..colon]).map_err(|_| Malformed)?;
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).map_err(|_| Malformed)?;
        self.bytes += line.len() + 2;
        if self.fields.len() == MAX_TRAILER_FIELDS {
            return Err(Malformed);
        }
        self.fields.append(name, value);
        Ok(())
    }
}

// The next line without its end, once it is there.
fn line(bytes: &mut BytesMut, max: usize) -> Result<Option<BytesMut>, Malformed> {
    let Some(at) = bytes.iter().take(max).position(|byte| *byte == b'\n') else {
        return if bytes.len() < max { Ok(None) } else { Err(Malformed) };
    };
    let mut line = bytes.split_to(at + 1);
    // A bare line feed is a line end to some and not to others.
    if !line.ends_with(b"\r\n") {
        return Err(Malformed);
    }
    line.truncate(at - 1);
    Ok(Some(line))
}

// Digits, and maybe an extension, which means nothing to anybody.
fn size(line: &[u8]) -> Result<u64, Malformed> {
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let rest = line[digits..].trim_ascii_start();
    let extension = rest.first().is_none_or(|byte| *byte == b';');
    if !(1..=15).contains(&digits) || !extension || line.iter().any(|byte| byte.is_ascii_control() && *byte != b'\t') {
        return Err(Malformed);
    }
    let digits = std::str::from_utf8(&line[..digits]).map_err(|_| Malformed)?;
    u64::from_str_radix(digits, 16).map_err(|_| Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type BodyAndRest = (Vec<u8>, Vec<u8>);

    // The body and what follows it, when the bytes come in pieces of that size.
    fn decode(bytes: &[u8], piece: usize) -> Result<Option<BodyAndRest>, Malformed> {
        let (mut chunked, mut buffer, mut body) = (Chunked::Size, BytesMut::new(), Vec::new());
        let mut pieces = bytes.chunks(piece);
        loop {
            match chunked.decode(&mut buffer)? {
                Decoded::Data(data) => body.extend_from_slice(&data),
                Decoded::Trailers(trailers) => {
                    for (name, value) in &trailers {
                        body.extend_from_slice(format!("[{name}={}]", value.to_str().unwrap()).as_bytes());
                    }
                }
                Decoded::End => {
                    let rest = buffer.iter().copied().chain(pieces.flatten().copied()).collect();
                    return Ok(Some((body, rest)));
                }
                Decoded::More => match pieces.next() {
                    Some(piece) => buffer.extend_from_slice(piece),
                    None => return Ok(None),
                },
            }
        }
    }

    #[test]
    fn what_is_chunked_is_understood() {
        let check = |bytes: &str, body: &str, rest: &str| {
            for piece in [1, 2, 3, bytes.len()] {
                let (got, left) = decode(bytes.as_bytes(), piece).unwrap().unwrap();
                assert_eq!((got.as_slice(), left.as_slice()), (body.as_bytes(), rest.as_bytes()), "{bytes:?}");
            }
        };
        check("0\r\n\r\n", "", "");
        check("3\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\nnext", "abc0123456789", "next");
        check("003;a=\"b\"\r\nabc\r\n0 ; x\r\nX-A: 1\r\nx-b:\r\n\r\n", "abc[x-a=1][x-b=]", "");
    }

    #[test]
    fn what_is_not_exactly_chunked_is_an_error() {
        let long = format!("1;{}\r\n", "a".repeat(MAX_LINE));
        let trailers = format!("0\r\n{}\r\n", format!("x: {}\r\n", "a".repeat(1000)).repeat(20));
        let many = format!("0\r\n{}\r\n", "x: y\r\n".repeat(MAX_TRAILER_FIELDS + 1));
        for bytes in [
            "\r\n",
            "g\r\n",
            "-1\r\n",
            "+1\r\n",
            "0x1\r\n",
            " 1\r\n",
            "1 1\r\n",
            "1\n",
            "1\r\nab",
            "1\r\na\n",
            "1\r\na\r\r",
            "1;\x01\r\n",
            "1\r;\r\n",
            "0000000000000001\r\n",
            "fffffffffffffffff\r\n",
            "0\r\nno colon\r\n",
            "0\r\na b: c\r\n",
            "0\r\n: c\r\n",
            "0\r\n\n",
            "0\r\n a: b\r\n",
            "0\r\na: b\rc\r\n",
            &many,
            &long,
            &trailers,
        ] {
            assert_eq!(decode(bytes.as_bytes(), bytes.len()), Err(Malformed), "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn pieces_do_not_matter(bytes in "[0-3a\r\n;: x]{0,40}", piece in 1_usize..5) {
            prop_assert_eq!(decode(bytes.as_bytes(), piece), decode(bytes.as_bytes(), bytes.len().max(1)));
        }

        #[test]
        fn what_was_put_into_chunks_comes_out(body in proptest::collection::vec(any::<u8>(), 0..200), size in 1_usize..50) {
            let mut bytes = Vec::new();
            for chunk in body.chunks(size) {
                bytes.extend(format!("{:X}\r\n", chunk.len()).bytes());
                bytes.extend(chunk);
                bytes.extend(b"\r\n");
            }
            bytes.extend(b"0\r\n\r\nrest");
            prop_assert_eq!(decode(&bytes, 7), Ok(Some((body, b"rest".to_vec()))));
        }
    }
}
