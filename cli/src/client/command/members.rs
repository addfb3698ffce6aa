//! The group of controllers: who is in it, and how that changes.

use std::time::Duration;

use clap::{Args, Subcommand};
use muster_common::cluster::{AddController, ControllerInfo, ControllerRole};
use muster_common::exit::Exit;
use tokio::time::sleep;

use super::Caller;
use super::args::WaitArgs;
use crate::client::http::Client;
use crate::client::patience::{deadline, is_over};
use crate::error::CliError;

const CONTROLLERS: &str = "cluster/controllers";
/// Between two looks at how far a learner is.
const PAUSE: Duration = Duration::from_millis(250);
/// How long it is waited when nobody says how long.
const CAUGHT_UP_WITHIN: Duration = Duration::from_secs(300);

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

pub(crate) async fn members(caller: &Caller, args: MembersArgs) -> Result<(), CliError> {
    let client = &caller.client;
    match args.command {
        None => {}
        Some(MembersCommand::Add { id, address, wait }) => add(client, id, address, wait).await?,
        Some(MembersCommand::Remove { id }) => {
            let removed: u64 = client.delete(&format!("{CONTROLLERS}/{id}")).await?;
            eprintln!("controller {removed} is out of the cluster; stop it, and remove its data directory");
        }
    }
    let members: Vec<ControllerInfo> = client.get(CONTROLLERS).await?;
    caller.list(&members)
}

async fn add(client: &Client, id: u64, cluster: String, wait: WaitArgs) -> Result<(), CliError> {
    let _: AddController = client.post(CONTROLLERS, &AddController { id, cluster }).await?;
    if wait.no_wait {
        eprintln!("controller {id} is in as a learner; it gets its vote when it has caught up");
        return Ok(());
    }
    let timeout = wait.time.unwrap_or(CAUGHT_UP_WITHIN);
    let deadline = deadline(Some(timeout));
    loop {
        let members: Vec<ControllerInfo> = client.get_patiently(CONTROLLERS, deadline).await?;
        let found = members.iter().find(|member| member.id == id);
        match found.map(|member| member.role) {
            Some(ControllerRole::Leader | ControllerRole::Voter) => return Ok(()),
            None => {
                return Err(CliError::new(
                    Exit::Conflict,
                    format!("controller {id} was taken in, and somebody removed it since"),
                ));
            }
            Some(ControllerRole::Learner) => {}
        }
        if is_over(deadline) {
            let lag = found.and_then(|member| member.lag);
            let lag = lag
                .map_or_else(|| "it has not answered yet".to_owned(), |lag| format!("{lag} entries behind"));
            return Err(CliError::new(
                Exit::Timeout,
                format!(
                    "controller {id} is in, but had no vote after {} s: {lag}; it gets it by itself once it has \
                     caught up, see 'muster members'",
                    timeout.as_secs()
                ),
            ));
        }
        sleep(PAUSE).await;
    }
}
