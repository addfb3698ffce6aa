//! Rates and percentiles of what was timed.

use std::time::Duration;

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
    /// Of calls that took `latencies`, all of them within `elapsed`; nothing of no calls.
    pub(crate) fn of(mut latencies: Vec<Duration>, elapsed: Duration) -> Option<Self> {
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

/// A duration as a number of milliseconds.
pub(crate) fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        let latencies: Vec<Duration> = (1..=200).rev().map(Duration::from_millis).collect();
        let summary = Summary::of(latencies, Duration::from_secs(4));
        let expected =
            Summary { rate: 50.0, p50: Duration::from_millis(100), p99: Duration::from_millis(198) };
        assert_eq!(summary, Some(expected));
        assert_eq!(Summary::of(Vec::new(), Duration::from_secs(1)), None);
    }
}
