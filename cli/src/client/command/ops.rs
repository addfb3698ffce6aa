//! `muster ops`: what was asked of the cluster, and what became of it.

use clap::{Args, Subcommand};
use muster_common::operation::OperationSummary;

use super::Caller;
use crate::client::describe;
use crate::client::http::segment;
use crate::client::{resolve, screen};
use crate::error::CliError;

#[derive(Debug, Args)]
pub(crate) struct OpsArgs {
    #[command(subcommand)]
    command: Option<OpsCommand>,
}

#[derive(Debug, Subcommand)]
enum OpsCommand {
    /// List them, those at work first.
    List {
        /// Only of this service.
        service: Option<String>,
    },
    /// Show one in full: what it does to which slot, and why it stands where it stands.
    Show {
        /// Its id, or a unique prefix of it.
        operation: String,
    },
    /// End one. What was begun is finished, nothing is undone.
    Cancel {
        /// Its id, or a unique prefix of it.
        operation: String,
    },
}

pub(crate) async fn ops(caller: &Caller, args: OpsArgs) -> Result<(), CliError> {
    let client = &caller.client;
    match args.command {
        None => list(caller, None).await,
        Some(OpsCommand::List { service }) => list(caller, service.as_deref()).await,
        Some(OpsCommand::Show { operation }) => {
            let operation = resolve::operation(client, &operation).await?;
            let id = operation.id.to_string();
            screen::write(
                &caller.answer(&id, &operation, || describe::operation(&operation, &caller.screen))?,
            )
        }
        Some(OpsCommand::Cancel { operation }) => {
            let operation = resolve::operation(client, &operation).await?;
            let id = operation.id.as_str();
            client.post_nothing(&format!("localservices/operations/{}/cancel", segment(id))).await?;
            let ended = client.operation(id).await?;
            let line =
                format!("{} of {} is cancelled; what was begun is finished\n", ended.kind, ended.service);
            screen::write(&caller.answer(id, &ended, || line)?)
        }
    }
}

async fn list(caller: &Caller, service: Option<&str>) -> Result<(), CliError> {
    let path = match service {
        Some(name) => {
            format!("localservices/{}/operations", segment(&resolve::service(&caller.client, name).await?.id))
        }
        None => "localservices/operations".to_owned(),
    };
    let operations: Vec<OperationSummary> = caller.client.get(&path).await?;
    caller.list(&operations)
}
