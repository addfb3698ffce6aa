//! `muster ops`: what was asked of the cluster, and what became of it.

use clap::{Args, Subcommand};
use muster_common::exit::Exit;
use muster_common::operation::Operation;

use super::Caller;
use super::get::OPERATIONS_SHOWN;
use crate::client::http::segment;
use crate::client::operations::{self, Operations};
use crate::client::{describe, resolve, screen};
use crate::error::CliError;

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct OpsArgs {
    #[command(subcommand)]
    command: Option<OpsCommand>,
    #[command(flatten)]
    list: ListArgs,
}

#[derive(Debug, Args)]
struct ListArgs {
    /// Only of this service, also of one that is destroyed.
    service: Option<String>,
    /// At most so many.
    #[arg(long, value_name = "N", default_value_t = OPERATIONS_SHOWN)]
    limit: usize,
}

#[derive(Debug, Subcommand)]
enum OpsCommand {
    /// List them, those at work first.
    List(ListArgs),
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
        None => list(caller, &args.list).await,
        Some(OpsCommand::List(args)) => list(caller, &args).await,
        Some(OpsCommand::Show { operation }) => {
            let operation = resolve::operation(client, &operation).await?;
            let id = operation.id.to_string();
            screen::write(
                &caller.answer(&id, &operation, || describe::operation(&operation, &caller.screen))?,
            )
        }
        Some(OpsCommand::Cancel { operation }) => {
            let operation = resolve::operation(client, &operation).await?;
            if operation.state.is_final() {
                return Err(over(&operation));
            }
            let id = operation.id.as_str();
            client.post_nothing(&format!("localservices/operations/{}/cancel", segment(id))).await?;
            let ended = client.operation(id).await?;
            let line =
                format!("{} of {} is cancelled; what was begun is finished\n", ended.kind, ended.service);
            screen::write(&caller.answer(id, &ended, || line)?)
        }
    }
}

/// Of one that is over nothing can be ended.
fn over(operation: &Operation) -> CliError {
    let Operation { id, kind, service, state, .. } = operation;
    CliError::new(
        Exit::Conflict,
        format!("{kind} of {service} is {state} already; see 'muster ops show {id}'"),
    )
}

async fn list(caller: &Caller, args: &ListArgs) -> Result<(), CliError> {
    let mut services = Vec::new();
    if let Some(name) = &args.service {
        services.push(resolve::service_or_past(&caller.client, name).await?);
    }
    let Operations { operations, total } =
        operations::list(&caller.client, &services, &[], args.limit).await?;
    if operations.len() < total {
        eprintln!("muster: the first {} of {total} operations; --limit gives more", operations.len());
    }
    caller.list(&operations)
}
