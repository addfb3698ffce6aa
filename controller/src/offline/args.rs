//! The command line of what is done to a controller's files while it is stopped.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// What can be done.
#[derive(Debug, Clone, Subcommand)]
pub enum OfflineCommand {
    /// Make a cluster of this one controller after the majority was lost for good.
    ///
    /// Use it when more than half of the controllers will never come back, on the one that has the most: run it
    /// on each survivor without --yes, and compare what they say. It prints what is known to be lost, and changes
    /// nothing without --yes. What it replaces is kept beside it. Operations that go in waves are paused, and named.
    ///
    /// Then: start this controller; on the others, 'muster controller rejoin' and start them;
    /// 'muster members add' each. Executors come back by themselves, and nothing they run is restarted.
    Recover(ConfirmedArgs),
    /// Make a new cluster of a backup, on a controller with an empty data directory.
    ///
    /// The whole file is checked before anything is written. Then: start this controller; on the others,
    /// 'muster controller rejoin' and start them; 'muster members add' each. Stop what is left of the old
    /// cluster first. Executors come back by themselves; what runs in a slot of the backup is not restarted, also where
    /// it was replaced since. Operations that went in waves are paused, and named.
    Restore(RestoreArgs),
    /// Set a damaged or outdated controller's files aside, so that it can join the cluster again, empty.
    ///
    /// For one controller, while the majority is well. Changes nothing without --yes. Then: start it, and on
    /// another controller 'muster members remove ID', 'muster members add ID HOST:PORT'.
    Rejoin(ConfirmedArgs),
}

/// Whose files, and whether it is meant.
#[derive(Debug, Clone, Args)]
pub struct ConfirmedArgs {
    /// The controller's configuration file (YAML)
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// Do it; without, only say what would be done
    #[arg(long)]
    pub yes: bool,
}

/// Whose files, and of what.
#[derive(Debug, Clone, Args)]
pub struct RestoreArgs {
    /// What 'muster backup' wrote
    #[arg(value_name = "BACKUP")]
    pub backup: PathBuf,
    /// The configuration file of the controller that shall hold it (YAML)
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
}
