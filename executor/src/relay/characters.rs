//! Output cut where a character ends. What is no text passes as it is.

/// The most bytes that a character has.
const LONGEST: usize = 4;

/// How many bytes of the end of `bytes` are the beginning of a character.
pub(super) fn begun(bytes: &[u8]) -> usize {
    let first = (1..LONGEST.min(bytes.len() + 1)).find(|&back| !is_continuation(bytes[bytes.len() - back]));
    first.filter(|&back| length(bytes[bytes.len() - back]) > back).unwrap_or(0)
}

/// How many bytes at the beginning of `bytes` are the rest of a character.
pub(super) fn rest(bytes: &[u8]) -> usize {
    let count = bytes.iter().take_while(|&&byte| is_continuation(byte)).count();
    // Four of them in a row are no character's.
    if count < LONGEST { count } else { 0 }
}

const fn is_continuation(byte: u8) -> bool {
    byte & 0b1100_0000 == 0b1000_0000
}

/// Of the character that begins with this byte; of what begins none, one.
const fn length(first: u8) -> usize {
    match first {
        0xC2..=0xDF => 2,
        0xE0..=0xEF => 3,
        0xF0..=0xF4 => 4,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_cut_of_a_text_becomes_text() {
        let text = "a é € 😀 z";
        for cut in 0..=text.len() {
            let (before, after) = text.as_bytes().split_at(cut);
            let whole = &before[..before.len() - begun(before)];
            assert!(text.starts_with(std::str::from_utf8(whole).unwrap()), "{cut}");
            assert_eq!(begun(before) > 0, !text.is_char_boundary(cut));
            let after = &after[rest(after)..];
            assert!(text.ends_with(std::str::from_utf8(after).unwrap()), "{cut}");
        }
    }

    #[test]
    fn what_is_no_text_is_left_as_it_is() {
        for bytes in [&b"\xff"[..], b"\x80\x80\x80\x80", b"abc\xff", b"\xc0", b""] {
            assert_eq!(begun(bytes), 0, "{bytes:?}");
        }
        assert_eq!(rest(b"\x80\x80\x80\x80\x80"), 0);
        assert_eq!(begun(b"\xf0\x9f\x98"), 3);
    }
}
