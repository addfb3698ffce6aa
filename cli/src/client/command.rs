//! The client's commands: what they take, and which function does them.

use clap::Subcommand;

use super::args::{ApplyArgs, BackupArgs, InstancesArgs, MembersArgs, RestartArgs, WaitArgs};
use super::http::Client;
use super::{apply, backup, describe, members, operate, render, resolve, server};
use crate::args::{Connection, Output};
use crate::error::CliError;

#[derive(Debug, Subcommand)]
pub(crate) enum ClientCommand {
    /// Create or adjust services from files and start them; waits until they are healthy.
    Apply(ApplyArgs),
    /// List services, instances or executors.
    #[command(subcommand)]
    Get(GetCommand),
    /// Say all that is known of a service, an instance or an executor, and why it is in its state.
    Describe {
        /// A service, an instance (a unique prefix is enough) or an executor.
        name: String,
    },
    /// Replace all healthy instances of a service, a few at a time.
    Restart(RestartArgs),
    /// Replace some healthy instances; their replacements start first.
    Replace(InstancesArgs),
    /// Stop some healthy instances; an active service fills their slots again.
    Stop(InstancesArgs),
    /// Change how many instances of a service every executor holds.
    Scale {
        /// The service.
        service: String,
        /// How many on each executor.
        instances_per_host: u32,
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// Stop a service everywhere; it stays registered.
    Deactivate {
        /// The service.
        service: String,
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// Remove a deactivated service. Records of its instances stay for their retention time.
    Destroy {
        /// The service.
        service: String,
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// Show the controllers: who leads, who votes, how far behind each is; add or remove one.
    Members(MembersArgs),
    /// Write the cluster's whole state, as of one revision, to a file; the cluster goes on meanwhile.
    ///
    /// The file holds services, operations, history and what is known of executors; no certificates. It is
    /// checked before this command says that it is there. 'muster restore' makes a cluster of it.
    Backup(BackupArgs),
}

#[derive(Debug, Subcommand)]
pub(crate) enum GetCommand {
    /// What should run, and how much of it does.
    #[command(alias = "service")]
    Services,
    /// Where instances run, and in which state.
    #[command(alias = "instance")]
    Instances {
        /// Only of this service.
        service: Option<String>,
        /// Those that ended, with the reason.
        #[arg(long)]
        old: bool,
    },
    /// The machines of the fleet.
    #[command(alias = "executor")]
    Executors,
}

/// Does a command.
pub(crate) async fn run(
    command: ClientCommand,
    connection: &Connection,
    output: Output,
) -> Result<(), CliError> {
    let client = Client::new(server::server(connection)?)?;
    match command {
        ClientCommand::Apply(args) => apply::apply(&client, &args, output).await,
        ClientCommand::Get(what) => get(&client, what, output).await,
        ClientCommand::Describe { name } => describe::describe(&client, &name, output).await,
        ClientCommand::Restart(args) => operate::restart(&client, args, output).await,
        ClientCommand::Replace(args) => operate::replace(&client, args, output).await,
        ClientCommand::Stop(args) => operate::stop(&client, args, output).await,
        ClientCommand::Scale { service, instances_per_host, wait } => {
            operate::scale(&client, &service, instances_per_host, wait, output).await
        }
        ClientCommand::Deactivate { service, wait } => {
            operate::deactivate(&client, &service, wait, output).await
        }
        ClientCommand::Members(args) => members::members(&client, args, output).await,
        ClientCommand::Backup(args) => backup::backup(&client, &args).await,
        ClientCommand::Destroy { service, wait } => operate::destroy(&client, &service, wait, output).await,
    }
}

async fn get(client: &Client, what: GetCommand, output: Output) -> Result<(), CliError> {
    let text = match what {
        GetCommand::Services => {
            let services = resolve::services(client).await?;
            render::answer(output, &services, || render::services(&services))?
        }
        GetCommand::Instances { service, old } => {
            let services = match service {
                Some(name) => vec![resolve::service(client, &name).await?.id],
                None => resolve::services(client).await?.into_iter().map(|service| service.id).collect(),
            };
            let mut instances = Vec::new();
            for service in &services {
                instances.extend(resolve::instances(client, service, old).await?);
            }
            render::answer(output, &instances, || {
                if old { render::old_instances(&instances) } else { render::instances(&instances) }
            })?
        }
        GetCommand::Executors => {
            let executors = resolve::executors(client).await?;
            render::answer(output, &executors, || render::executors(&executors))?
        }
    };
    print!("{text}");
    Ok(())
}
