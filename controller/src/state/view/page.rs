//! A part of a list, and how long the whole is.

/// Where a part begins, and how many are in it at most.
pub(crate) type Range = (usize, usize);

/// All of a list.
pub(crate) const WHOLE: Range = (0, usize::MAX);

/// Some of a list.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Page<T> {
    pub(crate) items: Vec<T>,
    /// How many there are in all.
    pub(crate) total: usize,
}

impl<T> Page<T> {
    /// Those of `all` that are in `range`, each as `show` has it; the others are only counted.
    pub(crate) fn of<I>(all: impl Iterator<Item = I>, (from, size): Range, show: impl Fn(I) -> T) -> Self {
        let mut page = Self { items: Vec::new(), total: 0 };
        for item in all {
            if page.total >= from && page.items.len() < size {
                page.items.push(show(item));
            }
            page.total += 1;
        }
        page
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_outside_is_counted() {
        for (range, items) in [
            ((0, 2), vec![0, 10]),
            ((3, 9), vec![30, 40]),
            ((5, 1), vec![]),
            ((0, 0), vec![]),
            ((1, usize::MAX), vec![10, 20, 30, 40]),
        ] {
            assert_eq!(Page::of(0..5, range, |n| n * 10), Page { items, total: 5 }, "{range:?}");
        }
    }
}
