//! The command line of `muster dev`, and which function does what.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::cluster_file::ClusterFile;
use super::{roles, show, start, stop};
use crate::error::CliError;

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct DevArgs {
    #[command(subcommand)]
    command: Option<DevCommand>,
    #[command(flatten)]
    start: StartArgs,
}

#[derive(Debug, Args)]
pub(crate) struct StartArgs {
    /// How many controllers.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=9))]
    pub(crate) controllers: u16,
    /// How many executors.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=100))]
    pub(crate) executors: u16,
    /// Where to keep the cluster [default: a temporary directory, removed at the end].
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    /// Controller i serves REST on port-base + i - 1.
    #[arg(long, default_value_t = 4000, value_parser = clap::value_parser!(u16).range(1024..))]
    pub(crate) port_base: u16,
    /// Leave the cluster running and return; end it with 'muster dev stop --dir DIR'.
    #[arg(long)]
    pub(crate) detach: bool,
    /// Specs to deploy, JSON or YAML [default: a built-in example].
    #[arg(value_name = "SPEC")]
    pub(crate) specs: Vec<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum DevCommand {
    /// Show the roles of a cluster.
    Status(DirArgs),
    /// Stop a cluster and everything it runs.
    Stop(DirArgs),
    /// End one role with SIGKILL.
    Kill(RoleArgs),
    /// Start a role that has ended, on its old data.
    Start(RoleArgs),
}

#[derive(Debug, Args)]
struct DirArgs {
    /// The cluster's directory.
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
}

#[derive(Debug, Args)]
struct RoleArgs {
    /// The role, such as controller-1 or executor-2.
    id: String,
    /// The cluster's directory.
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
}

pub(crate) async fn run(args: DevArgs) -> Result<(), CliError> {
    match args.command {
        None => start::start(args.start).await,
        Some(DevCommand::Status(DirArgs { dir })) => {
            print!("{}", show::roles(&ClusterFile::read(&dir)?));
            Ok(())
        }
        Some(DevCommand::Stop(DirArgs { dir })) => stop::stop(&dir).await,
        Some(DevCommand::Kill(RoleArgs { id, dir })) => roles::kill(&dir, &id).await,
        Some(DevCommand::Start(RoleArgs { id, dir })) => roles::restart(&dir, &id),
    }
}
