//! Credentials that have the name of their scheme before them, as `Authorization` has them.

/// What stands after the word, which is in whatever case, and at least one space (RFC 9110, 11.4); where there is no word,
/// the whole value.
pub(crate) fn after_scheme<'v>(value: &'v [u8], scheme: &[u8]) -> Option<&'v [u8]> {
    if scheme.is_empty() {
        return Some(value);
    }
    let (word, rest) = value.split_at_checked(scheme.len())?;
    let token = rest.trim_ascii_start();
    (word.eq_ignore_ascii_case(scheme) && rest.len() > token.len()).then_some(token)
}
