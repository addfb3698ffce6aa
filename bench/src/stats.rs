//! Rates and percentiles of what was timed.

use std::time::Duration;

/// Calls that were timed, in any order.
#[derive(Debug, Default)]
pub(crate) struct Timed {
    /// How long each took.
    pub(crate) latencies: Vec<Duration>,
    /// How long all of them took together.
    pub(crate) elapsed: Duration,
}

impl Timed {
    /// These calls and those of `later`, which came after them.
    pub(crate) fn and(mut self, later: Self) -> Self {
        self.latencies.extend(later.latencies);
        self.elapsed += later.elapsed;
        self
    }
}

/// What many timed calls came to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Summary {
    /// Calls per second.
    pub(crate) rate: f64,
    /// Half of the calls took no longer.
    pub(crate) p50: Duration,
    /// 99 of 100 calls took no longer.
    pub(crate) p99: Duration,
}

impl Summary {
    /// Nothing of no calls.
    pub(crate) fn of(timed: Timed) -> Option<Self> {
        let Timed { mut latencies, elapsed } = timed;
        latencies.sort_unstable();
        let count = u32::try_from(latencies.len()).ok()?;
        Some(Self {
            rate: f64::from(count) / elapsed.as_secs_f64(),
            p50: percentile(&latencies, 50)?,
            p99: percentile(&latencies, 99)?,
        })
    }
}

/// The nearest-rank percentile of sorted values.
fn percentile(sorted: &[Duration], percent: usize) -> Option<Duration> {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied()
}

/// How many there were each second.
#[allow(clippy::cast_precision_loss)] // nothing here counts beyond what an `f64` holds
pub(crate) fn per_second(count: u64, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64()
}

/// A duration as a number of milliseconds.
pub(crate) fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// A figure for a table; a dash where there is none.
pub(crate) fn cell(value: Option<f64>, decimals: usize) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.decimals$}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(latencies: impl Iterator<Item = u64>, elapsed: u64) -> Timed {
        Timed {
            latencies: latencies.map(Duration::from_millis).collect(),
            elapsed: Duration::from_secs(elapsed),
        }
    }

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        let expected =
            Summary { rate: 50.0, p50: Duration::from_millis(100), p99: Duration::from_millis(198) };
        assert_eq!(Summary::of(of((1..=200).rev(), 4)), Some(expected));
        assert_eq!(Summary::of(of(std::iter::empty(), 1)), None);
    }

    #[test]
    fn two_measurements_are_summed_up_as_one() {
        let halves = of(1..=100, 3).and(of(101..=200, 1));
        assert_eq!(Summary::of(halves), Summary::of(of(1..=200, 4)));
    }
}
