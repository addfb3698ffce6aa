//! The group of controllers: who is in it, and how that changes.

use std::time::Duration;

use muster_common::cluster::{AddController, ControllerInfo, ControllerRole};
use muster_common::exit::Exit;
use tokio::time::{Instant, sleep};

use super::args::{MembersArgs, MembersCommand, WaitArgs};
use super::http::Client;
use super::render;
use crate::args::Output;
use crate::error::CliError;

const CONTROLLERS: &str = "cluster/controllers";
/// Between two looks at how far a learner is.
const PAUSE: Duration = Duration::from_millis(250);

pub(crate) async fn members(client: &Client, args: MembersArgs, output: Output) -> Result<(), CliError> {
    match args.command {
        None => {}
        Some(MembersCommand::Add { id, address, wait }) => add(client, id, address, wait).await?,
        Some(MembersCommand::Remove { id }) => {
            let removed: u64 = client.delete(&format!("{CONTROLLERS}/{id}")).await?;
            eprintln!("controller {removed} is out of the cluster; stop it, and remove its data directory");
        }
    }
    let members: Vec<ControllerInfo> = client.get(CONTROLLERS).await?;
    print!("{}", render::answer(output, &members, || render::members(&members))?);
    Ok(())
}

async fn add(client: &Client, id: u64, cluster: String, wait: WaitArgs) -> Result<(), CliError> {
    let _: AddController = client.post(CONTROLLERS, &AddController { id, cluster }).await?;
    if wait.no_wait {
        eprintln!("controller {id} is in as a learner; it gets its vote when it has caught up");
        return Ok(());
    }
    let deadline = Instant::now() + Duration::from_secs(wait.timeout_s);
    loop {
        let members: Vec<ControllerInfo> = client.get(CONTROLLERS).await?;
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
        if Instant::now() >= deadline {
            let lag = found.and_then(|member| member.lag);
            let lag = lag
                .map_or_else(|| "it has not answered yet".to_owned(), |lag| format!("{lag} entries behind"));
            return Err(CliError::new(
                Exit::Timeout,
                format!(
                    "controller {id} is in, but had no vote after {} s: {lag}; it gets it by itself once it has \
                     caught up, see 'muster members'",
                    wait.timeout_s
                ),
            ));
        }
        sleep(PAUSE).await;
    }
}
