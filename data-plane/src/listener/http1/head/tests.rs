use super::*;
use proptest::prelude::*;

const LIMITS: Limits = Limits { bytes: 256, headers: 8 };

// What becomes of the bytes when they come in pieces of that size: the verdict, and what is left.
fn judge(bytes: &[u8], piece: usize) -> (String, Vec<u8>) {
    let (mut buffer, mut fields) = (BytesMut::new(), Fields::default());
    let mut pieces = bytes.chunks(piece);
    for piece in pieces.by_ref() {
        buffer.extend_from_slice(piece);
        match decode(&mut buffer, LIMITS, &mut fields) {
            Ok(None) => {}
            Ok(Some(Head { request, framing, keep_alive, expects })) => {
                let rest = buffer.iter().chain(pieces.flatten()).copied().collect();
                return (format!("{request:?} {framing:?} {keep_alive} {expects}"), rest);
            }
            Err(refused) => return (format!("{:?}", refused.error), Vec::new()),
        }
    }
    ("more".into(), Vec::new())
}

fn head(text: &str) -> Head {
    decode(&mut BytesMut::from(text), LIMITS, &mut Fields::default()).unwrap().unwrap()
}

#[test]
fn a_head_is_what_it_says() {
    let text = "POST /a?b HTTP/1.1\r\nHost:  a \r\nX-A: 1\r\nx-a:\r\nContent-Length: 07\r\n\r\nrest";
    let mut bytes = BytesMut::from(text);
    let head = decode(&mut bytes, LIMITS, &mut Fields::default()).unwrap().unwrap();
    assert_eq!((head.request.method(), head.request.uri().to_string()), (&Method::POST, "/a?b".into()));
    let fields: Vec<_> =
        head.request.headers().iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
    assert_eq!(fields, [("host", "a"), ("x-a", "1"), ("x-a", ""), ("content-length", "07")]);
    assert_eq!((head.framing, &bytes[..]), (BodyFraming::Length(7), &b"rest"[..]));
}

#[test]
fn who_goes_on_says_so_or_is_new_enough() {
    for (version, connection, goes_on) in [
        ("1.1", "", true),
        ("1.1", "Connection: Close\r\n", false),
        ("1.1", "Connection: x, close\r\n", false),
        ("1.1", "Connection: keep-alive\r\nConnection: close\r\n", false),
        ("1.0", "", false),
        ("1.0", "Connection: Keep-Alive\r\n", true),
        ("1.0", "Connection: keep-alive, close\r\n", false),
    ] {
        let head = head(&format!("GET / HTTP/{version}\r\n{connection}\r\n"));
        assert_eq!(head.keep_alive, goes_on, "{version} {connection}");
    }
}

#[test]
fn only_new_clients_wait_for_leave() {
    assert!(head("POST / HTTP/1.1\r\nContent-Length: 1\r\nExpect: 100-Continue\r\n\r\n").expects);
    assert!(!head("POST / HTTP/1.0\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n").expects);
}

// Bytes of which many are nearly heads.
fn nearly() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        8 => prop::sample::select(vec![
            "GET / HTTP/1.1\r\n", "POST /a HTTP/1.0\r\n", "\r\n", "\n", "\r", "Host: a\r\n", "X: y\r\n", "Host: a\n", " ",
            ":", "Content-Length: 3\r\n", "Content-Length: x\r\n", "Transfer-Encoding: chunked\r\n", "GET", " / ",
            "HTTP/1.1", "HTTP/2.0", "Connection: close\r\n", "\0", "\u{e9}", "0123456789012345678901234567890123456789",
        ])
        .prop_map(|text| text.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..4),
    ];
    prop::collection::vec(part, 0..14).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn pieces_do_not_matter(bytes in nearly(), piece in 1_usize..9) {
        prop_assert_eq!(judge(&bytes, piece), judge(&bytes, bytes.len().max(1)));
    }

    #[test]
    fn what_is_a_head_has_no_two_readings(bytes in nearly()) {
        let mut buffer = BytesMut::from(&bytes[..]);
        if let Ok(Some(_)) = decode(&mut buffer, LIMITS, &mut Fields::default()) {
            let head = &bytes[..bytes.len() - buffer.len()];
            prop_assert!(head.ends_with(b"\r\n\r\n"));
            for (at, byte) in head.iter().enumerate() {
                prop_assert_ne!(*byte, 0);
                prop_assert!(*byte != b'\n' || head[at - 1] == b'\r', "a bare line feed");
                prop_assert!(*byte != b'\r' || head[at + 1] == b'\n', "a bare carriage return");
            }
        }
    }
}
