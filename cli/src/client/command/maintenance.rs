//! `muster maintenance`: whether the cluster takes operations and acts on what is wanted.

use clap::{Args, Subcommand};
use muster_common::cluster::{ClusterState, ClusterStateData};

use super::Caller;
use crate::client::screen;
use crate::error::CliError;

#[derive(Debug, Args)]
pub(crate) struct MaintenanceArgs {
    #[command(subcommand)]
    command: MaintenanceCommand,
}

#[derive(Debug, Subcommand)]
enum MaintenanceCommand {
    /// Close it: what runs goes on running, and nothing is changed until it is opened again.
    On,
    /// Open it: operations go on with the time that they had left.
    Off,
}

pub(crate) async fn maintenance(caller: &Caller, args: &MaintenanceArgs) -> Result<(), CliError> {
    let word = match args.command {
        MaintenanceCommand::On => "set",
        MaintenanceCommand::Off => "unset",
    };
    let state: ClusterStateData =
        caller.client.post(&format!("cluster/maintenance/{word}"), &serde_json::json!({})).await?;
    let text = match state.state {
        ClusterState::Maintenance => {
            "the cluster is closed for changes; open it with 'muster maintenance off'\n"
        }
        ClusterState::Normal => "the cluster takes changes\n",
    };
    screen::write(&caller.answer(state.state.as_str(), &state, || text.to_owned())?)
}
