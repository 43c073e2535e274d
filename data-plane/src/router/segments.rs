//! Splitting paths at their slashes, eight bytes at a time: segments are too short for anything that has to be called.

const SLASHES: u64 = u64::from_ne_bytes([b'/'; 8]);
const ONES: u64 = u64::from_ne_bytes([1; 8]);
const HIGH_BITS: u64 = u64::from_ne_bytes([0x80; 8]);

/// Where the first slash is.
#[inline]
pub(super) fn slash(path: &[u8]) -> Option<usize> {
    let (chunks, rest) = path.as_chunks::<8>();
    for (at, chunk) in chunks.iter().enumerate() {
        // A byte that was a slash is zero now, and the lowest zero byte is the lowest one marked.
        let bytes = u64::from_le_bytes(*chunk) ^ SLASHES;
        let marks = bytes.wrapping_sub(ONES) & !bytes & HIGH_BITS;
        if marks != 0 {
            return Some(at * 8 + (marks.trailing_zeros() / 8) as usize);
        }
    }
    rest.iter().position(|byte| *byte == b'/').map(|at| chunks.len() * 8 + at)
}

/// The first segments of a path, or all that there are.
#[inline]
pub(super) fn first(path: &[u8], count: usize) -> &[u8] {
    // Behind the slash before the first segment.
    let mut at = 1;
    for _ in 0..count {
        match path.get(at..).and_then(slash) {
            Some(slash) => at += slash + 1,
            None => return path,
        }
    }
    &path[..at - 1]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_slash_is_found() {
        for length in 0..40 {
            for at in 0..length {
                let mut path = vec![b'.'; length];
                assert_eq!(slash(&path), None);
                path[at] = b'/';
                path[length - 1] = b'/';
                assert_eq!(slash(&path), Some(at), "{length}");
            }
        }
        // Neighbours of the slash, and what borrows from the next byte.
        assert_eq!(slash(b"\x2e\x30\xaf\x00\x80\xff./"), Some(7));
    }

    #[test]
    fn the_first_segments_end_before_a_slash() {
        let check = |path: &str, count, expect: &str| assert_eq!(first(path.as_bytes(), count), expect.as_bytes());
        check("/a/b/c", 1, "/a");
        check("/a/b/c", 2, "/a/b");
        check("/a/b/c", 3, "/a/b/c");
        check("/a/", 1, "/a");
        check("/", 1, "/");
        check("//a", 1, "/");
        check("", 1, "");
    }
}
