//! Pages of a list (AIP-158): a token says where the next page begins, and holds only for the filter it was made with.

use super::{
    problem::Problem,
    query::{PAGE_SIZE, PAGE_TOKEN, Parameters},
};
use proto::identity::hex;
use sha2::{Digest, Sha256};

/// How many a page has when the client does not say.
pub(crate) const DEFAULT_SIZE: usize = 50;
/// The most that a page has; a larger number is taken for this.
pub(crate) const MAX_SIZE: usize = 1000;

/// Which page of a list is asked for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Page {
    /// How many it has at most.
    pub(crate) size: usize,
    /// The key of the last one before it; `None` for the first page.
    pub(crate) after: Option<String>,
}

impl Page {
    /// Reads the page that the parameters ask for; `filter` is all that decides what the list holds.
    pub(crate) fn read(parameters: &Parameters, filter: &str) -> Result<Page, Problem> {
        let size = match parameters.number(&PAGE_SIZE)? {
            None | Some(0) => DEFAULT_SIZE,
            Some(size) => usize::try_from(size).unwrap_or(MAX_SIZE).min(MAX_SIZE),
        };
        let after = match parameters.text(&PAGE_TOKEN) {
            None | Some("") => None,
            Some(token) => Some(open(token, filter).ok_or_else(|| {
                Problem::invalid_request("page_token", "not a token of this list and filter; begin without one")
            })?),
        };
        Ok(Page { size, after })
    }
}

/// The token of the page that begins after `last`.
pub(crate) fn token(last: &str, filter: &str) -> String {
    format!("{}{}", seal(filter), hex(last.as_bytes()))
}

fn open(token: &str, filter: &str) -> Option<String> {
    let digits = token.strip_prefix(&seal(filter)).filter(|digits| !digits.is_empty() && digits.is_ascii())?;
    let byte = |at| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok();
    let bytes: Option<Vec<u8>> = (0..digits.len()).step_by(2).map(byte).collect();
    String::from_utf8(bytes?).ok()
}

fn seal(filter: &str) -> String {
    hex(&Sha256::digest(filter)[..8])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_opens_only_for_its_filter() {
        let made = token("orders-7", "routes team=pay");
        assert_eq!(open(&made, "routes team=pay").as_deref(), Some("orders-7"));
        assert_eq!(open(&made, "routes team=ship"), None);
        for bad in ["", "x", "ä", &made[..made.len() - 1], &made[..16]] {
            assert_eq!(open(bad, "routes team=pay"), None, "{bad}");
        }
    }
}
