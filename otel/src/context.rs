//! Where in a trace something happens, as one side tells the other (W3C Trace Context, level 1).

use std::fmt;

/// How long a `traceparent` of version 00 is.
const LENGTH: usize = 55;
const SAMPLED: u8 = 1;

/// A span of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// The trace, not 0.
    pub id: u128,
    /// The span, not 0.
    pub span: u64,
    /// Whether it is recorded.
    pub sampled: bool,
}

// === impl TraceContext ===

impl TraceContext {
    /// A trace that begins here and is recorded.
    pub fn begin() -> TraceContext {
        TraceContext { id: fastrand::u128(1..), span: fastrand::u64(1..), sampled: true }
    }

    /// Another span of the same trace.
    pub fn another(self) -> TraceContext {
        TraceContext { span: fastrand::u64(1..), ..self }
    }

    /// Reads `VERSION-TRACE-SPAN-FLAGS`; a later version may say more after that (3.2 and 4.3 there).
    pub fn parse(text: &[u8]) -> Option<TraceContext> {
        let version = digits(text.get(..2)?)?;
        let whole = match version {
            0 => text.len() == LENGTH,
            0xff => false,
            _ => text.len() == LENGTH || text.get(LENGTH) == Some(&b'-'),
        };
        let dashes = [2, 35, 52].into_iter().all(|at| text.get(at) == Some(&b'-'));
        if !whole || !dashes {
            return None;
        }
        let id = digits(&text[3..35])?;
        let span = u64::try_from(digits(&text[36..52])?).ok()?;
        let flags = digits(&text[53..55])? as u8;
        (id != 0 && span != 0).then_some(TraceContext { id, span, sampled: flags & SAMPLED != 0 })
    }
}

/// As a `traceparent`.
impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.id, self.span, u8::from(self.sampled))
    }
}

// Only in lower case.
fn digits(text: &[u8]) -> Option<u128> {
    text.iter().try_fold(0, |number, digit| match digit {
        b'0'..=b'9' => Some(number << 4 | u128::from(digit - b'0')),
        b'a'..=b'f' => Some(number << 4 | u128::from(digit - b'a' + 10)),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn what_is_written_is_read_again() {
        let context = TraceContext::parse(TEXT.as_bytes()).unwrap();
        assert_eq!((context.span, context.sampled, context.to_string().as_str()), (0xb7ad_6b71_6920_3331, true, TEXT));
        let begun = TraceContext { sampled: false, ..TraceContext::begin() };
        assert_eq!(TraceContext::parse(begun.to_string().as_bytes()), Some(begun));
        assert_eq!((begun.another().id, begun.another().sampled), (begun.id, false));
        assert_ne!(begun.another().span, begun.span);
    }

    #[test]
    fn what_is_not_exact_is_nothing() {
        for bad in [
            "",
            "00",
            &TEXT.to_uppercase(),
            &TEXT.replace("00-", "ff-"),
            &format!("{TEXT}-00"),
            &format!(" {TEXT}"),
            &TEXT.replace('-', "_"),
            &TEXT[..54],
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
        ] {
            assert_eq!(TraceContext::parse(bad.as_bytes()), None, "{bad}");
        }
        let later = TEXT.replacen("00", "01", 1) + "-more";
        assert!(TraceContext::parse(later.as_bytes()).is_some(), "a later version may say more");
    }
}
