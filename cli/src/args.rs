//! The command line.

use clap::{Args, Parser, Subcommand, ValueEnum};
use muster_controller::{ControllerArgs, RestoreArgs};
use muster_executor::ExecutorArgs;

use crate::client::ClientCommand;
use crate::dev::DevArgs;

/// Keeps local services running on every machine of a fleet.
#[derive(Debug, Parser)]
#[command(name = "muster", version, propagate_version = true, disable_help_subcommand = true)]
pub(crate) struct Muster {
    #[command(subcommand)]
    pub(crate) command: Command,
    #[command(flatten)]
    pub(crate) connection: Connection,
    /// How answers are written.
    #[arg(short, long, value_enum, global = true, default_value_t = Output::Table)]
    pub(crate) output: Output,
}

/// Which cluster to talk to.
#[derive(Debug, Clone, Args)]
pub(crate) struct Connection {
    /// A controller's REST address [default: the configuration file's `server`, else
    /// `http://127.0.0.1:4000`].
    #[arg(long, global = true, env = "MUSTER_SERVER", value_name = "URL")]
    pub(crate) server: Option<String>,
}

/// How answers are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people.
    Table,
    /// The API's own JSON.
    Json,
    /// The same as YAML.
    Yaml,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a whole cluster on this machine, each role as a process of its own.
    Dev(DevArgs),
    #[command(flatten)]
    Client(ClientCommand),
    /// Run a controller; or, while it is stopped: recover, restore, rejoin.
    Controller(ControllerArgs),
    /// Make a new cluster of a backup (the same as 'muster controller restore').
    Restore(RestoreArgs),
    /// Make a token for a user of the API, and the SHA-256 that the controllers' configuration names.
    Token,
    /// Run an executor.
    Executor(ExecutorArgs),
    /// Stands between an executor and a process; started by executors only.
    #[command(hide = true)]
    Shim,
    /// The service that `muster dev` runs when it is given no spec.
    #[command(hide = true)]
    ExampleServer,
}

impl Command {
    /// Whether it is one of the long-running roles, which want all cores.
    pub(crate) fn is_role(&self) -> bool {
        matches!(self, Self::Controller(_) | Self::Executor(_))
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Muster::command().debug_assert();
    }
}
