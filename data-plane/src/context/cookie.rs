//! Cookies of a request. They are what a client says, and may be anything.

use http::{HeaderMap, header};

/// The value of the first cookie of that name (RFC 6265, 5.4; HTTP/2 may send several fields).
pub(crate) fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a [u8]> {
    let fields = headers.get_all(header::COOKIE).iter();
    let mut pairs = fields.flat_map(|field| field.as_bytes().split(|byte| *byte == b';').map(<[u8]>::trim_ascii));
    pairs.find_map(|pair| pair.strip_prefix(name.as_bytes())?.strip_prefix(b"=")).map(unquoted)
}

fn unquoted(value: &[u8]) -> &[u8] {
    value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn a_cookie_is_found_by_its_whole_name() {
        let check = |fields: &[&str], expect: Option<&str>| {
            let mut headers = HeaderMap::new();
            for field in fields {
                headers.append(header::COOKIE, HeaderValue::from_bytes(field.as_bytes()).unwrap());
            }
            assert_eq!(cookie(&headers, "id"), expect.map(str::as_bytes), "{fields:?}");
        };
        check(&[], None);
        check(&["id=1"], Some("1"));
        check(&["a=b; id=1; c=d"], Some("1"));
        check(&["a=b;id=\"1\""], Some("1"));
        check(&["a=b", "x; id=1=2"], Some("1=2"));
        check(&["id=1; id=2"], Some("1"));
        check(&["xid=1; id; idx=2; ID=3; a=id=4"], None);
        check(&[";;=;id=", "\u{ff}=;"], Some(""));
    }
}
