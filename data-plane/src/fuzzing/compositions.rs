//! Bodies of upstreams, and what a composition makes of them.

use crate::compose::{Probe, probe};
use serde_json::value::RawValue;

/// A body: it is taken if another parser takes it, stays byte for byte, and remains JSON in every shape.
pub(super) fn body(bytes: &[u8]) {
    let Some(Probe { untouched, opened, shaped }) = probe(bytes) else {
        let nested = bytes.iter().filter(|byte| matches!(byte, b'[' | b'{')).count() > 64;
        assert!(nested || serde_json::from_slice::<&RawValue>(bytes).is_err(), "it is JSON: {bytes:?}");
        return;
    };
    let is_json = |bytes: &[u8]| serde_json::from_slice::<&RawValue>(bytes).is_ok();
    assert!(is_json(bytes), "it is not JSON: {bytes:?}");
    assert_eq!(untouched, bytes.trim_ascii());
    // What is gone into differs by white space alone.
    let dense = |bytes: &[u8]| {
        let (mut quoted, mut escaped) = (false, false);
        let mut keep = |byte: &u8| {
            (quoted, escaped) = (quoted != (*byte == b'"' && !escaped), quoted && *byte == b'\\' && !escaped);
            quoted || !byte.is_ascii_whitespace()
        };
        bytes.iter().copied().filter(|byte| keep(byte)).collect::<Vec<u8>>()
    };
    assert_eq!(dense(&opened), dense(bytes));
    assert!(is_json(&shaped), "{bytes:?} became {shaped:?}");
}
