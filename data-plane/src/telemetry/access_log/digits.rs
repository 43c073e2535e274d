//! Numbers as digits, two at a time, for a division is what costs.

const PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[0; 2]; 100];
    let mut at = 0;
    while at < 100 {
        pairs[at] = [b'0' + at as u8 / 10, b'0' + at as u8 % 10];
        at += 1;
    }
    pairs
};

/// So many digits, with all zeros before the number; of a longer one the last.
pub(super) fn digits<const N: usize>(mut number: u32) -> [u8; N] {
    let mut digits = [0; N];
    for pair in digits.rchunks_mut(2) {
        let next = PAIRS[(number % 100) as usize];
        pair.copy_from_slice(&next[2 - pair.len()..]);
        number /= 100;
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_those_of_the_number() {
        assert_eq!((&digits::<3>(7), &digits::<4>(2026), &digits::<6>(12_345)), (b"007", b"2026", b"012345"));
        assert_eq!(digits::<2>(1_234), *b"34");
    }
}
