//! What several commands take: how to proceed, how long to wait.

use std::time::Duration;

use clap::Args;
use muster_common::duration::{DroveDuration, InvalidDuration};
use muster_common::operation::{Canary, ClusterOpSpec, FailureStrategy, Parallelism};

/// `10%` is a share of the slots, everything else a tag.
fn canary(text: &str) -> Result<Canary, String> {
    match text.strip_suffix('%').map(str::parse) {
        Some(Ok(percent)) => Ok(Canary::Percent(percent)),
        Some(Err(_)) => Err("is neither a percentage such as 10% nor a tag".to_owned()),
        None => Ok(Canary::Tag(text.to_owned())),
    }
}

#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct WaitArgs {
    /// Return as soon as the cluster has accepted it.
    #[arg(long)]
    pub(crate) no_wait: bool,
    /// How long to wait, such as 90s or 15m; a mere number is seconds [default: as long as it may go on by itself].
    #[arg(long = "wait-timeout", value_name = "DURATION", value_parser = wait_time)]
    pub(crate) time: Option<Duration>,
}

/// `90s`, `15m`, or seconds.
pub(super) fn wait_time(text: &str) -> Result<Duration, InvalidDuration> {
    match text.parse() {
        Ok(seconds) => Ok(Duration::from_secs(seconds)),
        Err(_) => text.parse().map(DroveDuration::as_duration),
    }
}

#[derive(Debug, Clone, Args)]
pub(crate) struct WaveArgs {
    /// Stop the old instance before its replacement starts.
    #[arg(long)]
    pub(crate) stop_first: bool,
    /// How many instances at a time: a number, or a percentage such as 25%.
    #[arg(short, long, default_value = "1")]
    pub(crate) parallelism: Parallelism,
    /// How long each instance may take, such as 30s or 5m; longer where its spec allows its start and its end more. The
    /// operation has that for each wave.
    #[arg(short, long, default_value = "5m")]
    pub(crate) timeout: DroveDuration,
    /// How long a new instance must stay healthy before the next is touched.
    #[arg(long, default_value = "0s")]
    pub(crate) settle: DroveDuration,
    /// Replace so many first and wait for a promotion: a percentage such as 10%, or a tag of executors.
    #[arg(long, value_name = "PERCENT|TAG", value_parser = canary)]
    pub(crate) canary: Option<Canary>,
    /// When an instance fails, bring back everywhere what ran before.
    #[arg(long)]
    pub(crate) rollback_on_failure: bool,
}

impl WaveArgs {
    /// The same in the words of the API.
    pub(crate) fn op_spec(&self) -> ClusterOpSpec {
        let failure_strategy =
            if self.rollback_on_failure { FailureStrategy::Rollback } else { FailureStrategy::Stop };
        ClusterOpSpec {
            timeout: self.timeout,
            parallelism: self.parallelism,
            failure_strategy,
            settle: self.settle,
            canary: self.canary.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_to_wait_is_a_duration_or_a_number_of_seconds() {
        for (text, seconds) in [("90", 90), ("0", 0), ("90s", 90), ("15m", 900), ("5 minutes", 300)] {
            assert_eq!(wait_time(text).unwrap(), Duration::from_secs(seconds), "{text}");
        }
        for text in ["", "-1", "1.5", "soon"] {
            assert!(wait_time(text).is_err(), "{text}");
        }
    }
}
