//! Texts in little room: how wide columns are, where they are broken, and what is cut. Pure.

/// The last column says the most: before it is narrower than this, others are broken.
const LAST_WIDTH: usize = 16;
/// And before it is narrower than this, words are.
const LEAST_LAST_WIDTH: usize = 8;
/// Stands for what was cut.
const CUT: char = '…';

/// How wide a text is on one line.
pub(super) fn width_of(text: &str) -> usize {
    text.chars().count()
}

/// The widest part of a text that can only be broken inside of a word.
pub(super) fn longest_piece(text: &str) -> usize {
    pieces(text).map(|piece| width_of(piece.trim_end())).max().unwrap_or_default()
}

/// A text is broken after spaces and underscores.
fn pieces(text: &str) -> impl Iterator<Item = &str> {
    text.split_inclusive([' ', '_'])
}

/// How wide columns are that have `room` together. `natural` breaks nothing, `pieces` only between words. The last one
/// gives way first, then whichever is the widest of those that can be broken between words, at last whichever is the
/// widest.
pub(super) fn widths(natural: &[usize], pieces: &[usize], room: usize) -> Vec<usize> {
    let Some((&last, firsts)) = natural.split_last() else { return Vec::new() };
    let pieces = &pieces[..firsts.len().min(pieces.len())];
    let with_last = |firsts: &[usize], least: usize| [firsts, &[last.min(least)]].concat();
    let mut widths = natural.to_vec();
    for least in [
        with_last(firsts, LAST_WIDTH),
        with_last(pieces, LAST_WIDTH),
        with_last(pieces, LEAST_LAST_WIDTH),
        vec![1; natural.len()],
    ] {
        while widths.iter().sum::<usize>() > room {
            let can_give = widths.iter().zip(&least).enumerate().filter(|(_, (width, least))| width > least);
            let Some(widest) = can_give.max_by_key(|(_, (width, _))| **width).map(|(index, _)| index) else {
                break;
            };
            widths[widest] -= 1;
        }
    }
    widths
}

/// The text on lines of some width.
pub(super) fn broken(text: &str, width: usize) -> String {
    let mut lines = vec![String::new()];
    for piece in pieces(text) {
        let mut piece: Vec<char> = piece.chars().collect();
        loop {
            let used = lines.last().map_or(0, |line| width_of(line));
            let needed = piece.iter().rposition(|c| *c != ' ').map_or(0, |last| last + 1);
            if used + needed <= width {
                break;
            }
            if used == 0 {
                // One word that is longer than a line.
                let rest = piece.split_off(width.clamp(1, piece.len()));
                if let Some(line) = lines.last_mut() {
                    line.extend(piece);
                }
                piece = rest;
            }
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            line.extend(piece);
        }
    }
    lines.iter().map(|line| line.trim_end()).collect::<Vec<_>>().join("\n")
}

/// The beginning of the text, as much as there is room for.
pub(super) fn cut(text: &str, width: usize) -> String {
    if width_of(text) <= width {
        return text.to_owned();
    }
    text.chars().take(width.saturating_sub(1)).chain([CUT]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_broken_between_words_and_inside_only_of_what_is_longer_than_a_line() {
        for (text, width, lines) in [
            ("one two three", 7, &["one two", "three"][..]),
            ("OPERATION_STATE_CHANGE", 16, &["OPERATION_STATE_", "CHANGE"]),
            ("a abcdefgh b", 4, &["a", "abcd", "efgh", "b"]),
            ("short", 80, &["short"]),
            ("", 3, &[""]),
            ("abc", 0, &["a", "b", "c"]),
        ] {
            assert_eq!(broken(text, width).lines().collect::<Vec<_>>().join("|"), lines.join("|"), "{text}");
        }
        assert_eq!((cut("abcdef", 4), cut("abcd", 4)), ("abc…".to_owned(), "abcd".to_owned()));
    }

    #[test]
    fn the_last_column_gives_way_first_then_words_stay_whole_as_long_as_they_can() {
        for (room, expected) in [
            (100, [30, 10, 60]),
            (90, [30, 10, 50]),
            (64, [30, 10, 24]),
            (60, [30, 10, 20]),
            (50, [24, 10, 16]),
            (38, [20, 10, 8]),
            (30, [12, 10, 8]),
            (3, [1, 1, 1]),
        ] {
            assert_eq!(widths(&[30, 10, 60], &[20, 10, 12], room), expected, "{room}");
        }
    }
}
