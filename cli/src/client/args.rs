//! What the client's commands take.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use muster_common::duration::DroveDuration;

#[derive(Debug, Args)]
pub(crate) struct ApplyArgs {
    /// A spec as JSON or YAML; `-` is standard input. May be given several times.
    #[arg(short, long = "file", required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// How many instances every executor holds [default: what it is now, 1 for a new service].
    #[arg(short, long, value_name = "N")]
    pub(crate) instances_per_host: Option<u32>,
    #[command(flatten)]
    pub(crate) wait: WaitArgs,
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
    /// How many instances at a time.
    #[arg(short, long, default_value_t = 1)]
    pub(crate) parallelism: u32,
    /// The operation's own deadline, such as 30s or 5m.
    #[arg(short, long, default_value = "5m")]
    pub(crate) timeout: DroveDuration,
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
