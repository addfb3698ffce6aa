//! What somebody may have meant who mistyped a name.

/// `; did you mean 'X'?` for the candidate that is nearest to `text`; empty when none is near.
pub(crate) fn or_nearest<'a>(text: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    nearest(text, candidates).map(|nearest| format!("; did you mean '{nearest}'?")).unwrap_or_default()
}

/// The candidate that takes the fewest changes of a letter, if those are few for its length.
pub(crate) fn nearest<'a>(text: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    /// One change in this many letters is a slip, more is another word.
    const LETTERS_FOR_A_SLIP: usize = 3;
    let slips = text.chars().count().div_ceil(LETTERS_FOR_A_SLIP);
    candidates
        .into_iter()
        .map(|candidate| (distance(text, candidate), candidate))
        .filter(|(distance, _)| *distance <= slips)
        .min()
        .map(|(_, candidate)| candidate)
}

/// How many letters must be added, taken away, changed or swapped with their neighbour (optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let changed = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = changed.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(before[j - 2] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_counted_and_other_words_are_not_near() {
        for (a, b, expected) in
            [("", "", 0), ("abc", "", 3), ("abc", "abd", 1), ("abc", "acb", 1), ("kitten", "sitting", 3)]
        {
            assert_eq!((distance(a, b), distance(b, a)), (expected, expected), "{a} {b}");
        }
        let names = ["example-1", "shipper-2"];
        assert_eq!(nearest("exmaple-1", names), Some("example-1"));
        assert_eq!(nearest("shiper-2", names), Some("shipper-2"));
        assert_eq!(nearest("proxy-1", names), None);
        assert_eq!(or_nearest("xyz", names), "");
    }
}
