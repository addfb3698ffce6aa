//! What the client's commands take.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use muster_common::duration::DroveDuration;
use muster_common::operation::{Canary, ClusterOpSpec, FailureStrategy, Parallelism};

#[derive(Debug, Args)]
pub(crate) struct ApplyArgs {
    /// A spec as JSON or YAML; `-` is standard input. May be given several times.
    #[arg(short, long = "file", required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// How many instances every executor holds [default: what it is now, 1 for a new service].
    #[arg(short, long, value_name = "N")]
    pub(crate) instances_per_host: Option<u32>,
    #[command(flatten)]
    pub(crate) wave: WaveArgs,
    #[command(flatten)]
    pub(crate) wait: WaitArgs,
}

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
    /// How long to wait, in seconds.
    #[arg(long = "wait-timeout", value_name = "SECONDS", default_value_t = 300)]
    pub(crate) timeout_s: u64,
}

#[derive(Debug, Args)]
pub(crate) struct RestartArgs {
    /// The service.
    pub(crate) service: String,
    #[command(flatten)]
    pub(crate) wave: WaveArgs,
    #[command(flatten)]
    pub(crate) wait: WaitArgs,
}

#[derive(Debug, Args)]
pub(crate) struct InstancesArgs {
    /// Instances of one service; a unique prefix of an id is enough.
    #[arg(required = true, value_name = "INSTANCE")]
    pub(crate) instances: Vec<String>,
    #[command(flatten)]
    pub(crate) wave: WaveArgs,
    #[command(flatten)]
    pub(crate) wait: WaitArgs,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct WaveArgs {
    /// Stop the old instance before its replacement starts.
    #[arg(long)]
    pub(crate) stop_first: bool,
    /// How many instances at a time: a number, or a percentage such as 25%.
    #[arg(short, long, default_value = "1")]
    pub(crate) parallelism: Parallelism,
    /// How long each instance may take, such as 30s or 5m; the operation has that for each wave.
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

#[derive(Debug, Args)]
pub(crate) struct MembersArgs {
    #[command(subcommand)]
    pub(crate) command: Option<MembersCommand>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum MembersCommand {
    /// Take a controller in; waits until it has caught up and votes.
    ///
    /// Before: give it a certificate of this cluster, name all controllers and itself in its configuration's
    /// `members`, and start it with an empty data directory. It waits to be added. It learns first, without a
    /// vote, so that a slow or wrong machine cannot hold the cluster up.
    ///
    /// After: name it in the other controllers' configurations, so that their next start knows it.
    Add {
        /// Its id.
        id: u64,
        /// Where the others reach its cluster port, host:port.
        address: String,
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// Take a controller out, running or lost.
    ///
    /// Refused where too few of those left would answer to decide anything. A leader hands over first.
    /// To replace a lost machine: remove it, then add the new one.
    Remove {
        /// Its id.
        id: u64,
    },
}

#[derive(Debug, Args)]
pub(crate) struct BackupArgs {
    /// Where to write it; must not exist. Only its owner may read it: specs can hold secrets.
    pub(crate) file: PathBuf,
    /// Take what the controller that is asked has, also while there is no leader.
    #[arg(long)]
    pub(crate) stale: bool,
}
