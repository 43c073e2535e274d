//! Cookies of a request. They are what a client says, and may be anything.

use http::{HeaderMap, HeaderValue, header};

/// The value of the first cookie of that name (RFC 6265, 5.4; HTTP/2 may send several fields).
pub(crate) fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a [u8]> {
    let fields = headers.get_all(header::COOKIE).iter();
    let mut pairs = fields.flat_map(|field| field.as_bytes().split(|byte| *byte == b';').map(<[u8]>::trim_ascii));
    pairs.find_map(|pair| pair.strip_prefix(name.as_bytes())?.strip_prefix(b"=")).map(unquoted)
}

/// Takes out every cookie of that name; the others stay as they are.
pub(crate) fn strip_cookie(headers: &mut HeaderMap, name: &str) {
    if cookie(headers, name).is_none() {
        return;
    }
    let header::Entry::Occupied(entry) = headers.entry(header::COOKIE) else { return };
    let (_, fields) = entry.remove_entry_mult();
    let fields: Vec<HeaderValue> = fields.collect();
    let is_it =
        |pair: &&[u8]| pair.trim_ascii().strip_prefix(name.as_bytes()).is_some_and(|rest| rest.starts_with(b"="));
    for field in fields {
        let pairs: Vec<&[u8]> = field.as_bytes().split(|byte| *byte == b';').filter(|pair| !is_it(pair)).collect();
        let rest = pairs.join(&b';');
        // What is left of a value is one; what is left of nothing else need not be said.
        if let Ok(value) = HeaderValue::from_bytes(rest.trim_ascii())
            && !value.is_empty()
        {
            headers.append(header::COOKIE, value);
        }
    }
}

fn unquoted(value: &[u8]) -> &[u8] {
    value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn one_cookie_is_taken_out_and_the_others_stay() {
        let check = |fields: &[&str], expect: &[&str]| {
            let mut headers = HeaderMap::new();
            for field in fields {
                headers.append(header::COOKIE, HeaderValue::from_bytes(field.as_bytes()).unwrap());
            }
            strip_cookie(&mut headers, "id");
            let left: Vec<_> = headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes).collect();
            assert_eq!(left, expect.iter().map(|field| field.as_bytes()).collect::<Vec<_>>(), "{fields:?}");
        };
        check(&["id=1"], &[]);
        check(&["id=1; a=b"], &["a=b"]);
        check(&["a=b; id=1; c=\"d\""], &["a=b; c=\"d\""]);
        check(&["a=b", "id=1; id=2", "xid=3; idx=4"], &["a=b", "xid=3; idx=4"]);
        check(&["a=b; ID=1", "c"], &["a=b; ID=1", "c"]);
        check(&["\u{ff}; id=1"], &["\u{ff}"]);
    }
}
