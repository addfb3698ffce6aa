//! `muster rollout`: the operation that is at work on a service, and the specs that it had.

use std::time::Duration;

use clap::{Args, Subcommand};
use muster_common::exit::Exit;
use muster_common::generation::SpecGeneration;
use muster_common::operation::{Accepted, Operation, OperationRequest, OperationSummary};

use super::args::{WaitArgs, WaveArgs, wait_time};
use super::{Caller, operate};
use crate::client::http::segment;
use crate::client::settle::{self, Progress, Settled};
use crate::client::table::{Cell, Column, Listed};
use crate::client::words::age_cell;
use crate::client::{describe, resolve, screen};
use crate::error::CliError;

#[derive(Debug, Args)]
pub(crate) struct RolloutArgs {
    #[command(subcommand)]
    command: RolloutCommand,
}

#[derive(Debug, Subcommand)]
enum RolloutCommand {
    /// Show how far the newest operation of a service is; with -w until it is over.
    Status {
        /// The service.
        service: String,
        /// Wait until it is over; the exit code says how it ended.
        #[arg(short, long)]
        watch: bool,
        /// How long to wait, such as 90s or 15m; a mere number is seconds [default: as long as it may go on by itself].
        #[arg(long = "wait-timeout", value_name = "DURATION", value_parser = wait_time)]
        timeout: Option<Duration>,
    },
    /// Begin nothing more for now; what was begun is finished.
    Pause {
        /// The service.
        service: String,
    },
    /// Go on after a pause.
    Resume {
        /// The service.
        service: String,
    },
    /// Go on after the canaries.
    Promote {
        /// The service.
        service: String,
    },
    /// Bring back a spec that the service had, slot by slot.
    Undo {
        /// The service.
        service: String,
        /// The generation whose spec is brought back [default: the one before].
        #[arg(long, value_name = "GENERATION")]
        to: Option<u64>,
        #[command(flatten)]
        wave: WaveArgs,
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// List the specs that the service had, newest first.
    History {
        /// The service.
        service: String,
    },
}

pub(crate) async fn rollout(caller: &Caller, args: RolloutArgs) -> Result<(), CliError> {
    match args.command {
        RolloutCommand::Status { service, watch: false, timeout: _ } => {
            show(caller, &newest(caller, &service).await?)
        }
        RolloutCommand::Status { service, watch: true, timeout } => ended(caller, &service, timeout).await,
        RolloutCommand::Pause { service } => steer(caller, &service, "pause", "is paused").await,
        RolloutCommand::Resume { service } => steer(caller, &service, "resume", "goes on").await,
        RolloutCommand::Promote { service } => steer(caller, &service, "promote", "goes on everywhere").await,
        RolloutCommand::Undo { service, to, wave, wait } => {
            let service_id = resolve::service(&caller.client, &service).await?.id;
            let request = OperationRequest::Rollback {
                service_id,
                generation: to,
                stop_first: wave.stop_first,
                op_spec: Some(wave.op_spec()),
            };
            operate::submit(caller, &request, wait, "runs its former spec again").await
        }
        RolloutCommand::History { service } => {
            let id = resolve::service(&caller.client, &service).await?.id;
            let path = format!("localservices/{}/generations", segment(&id));
            caller.list(&caller.client.get::<Vec<SpecGeneration>>(&path).await?)
        }
    }
}

/// The newest operation of a service; one at work before all that are over.
async fn newest(caller: &Caller, service: &str) -> Result<Operation, CliError> {
    let id = resolve::service_or_past(&caller.client, service).await?;
    let path = format!("localservices/{}/operations?size=1", segment(&id));
    let first = caller.client.get::<Vec<OperationSummary>>(&path).await?.into_iter().next();
    let first = first.ok_or_else(|| {
        CliError::new(Exit::NotFound, format!("no operation on {id} is kept; see 'muster describe {id}'"))
    })?;
    caller.client.operation(first.operation.id.as_str()).await
}

fn show(caller: &Caller, operation: &Operation) -> Result<(), CliError> {
    let id = operation.id.to_string();
    screen::write(&caller.answer(&id, operation, || describe::operation(operation, &caller.screen))?)
}

/// Waits until the newest operation is over, be it already: it fails as that did.
async fn ended(caller: &Caller, service: &str, timeout: Option<Duration>) -> Result<(), CliError> {
    let id = newest(caller, service).await?.id;
    let mut progress = Progress::new();
    let settled = settle::deployment(&caller.client, id.as_str(), timeout, &mut progress).await?;
    drop(progress);
    match settled {
        Settled::Done(operation) => show(caller, &operation),
        Settled::AwaitsPromotion(operation) => {
            Err(CliError::new(Exit::Timeout, settle::awaits_promotion(&operation)))
        }
    }
}

async fn steer(caller: &Caller, service: &str, word: &str, done: &str) -> Result<(), CliError> {
    let operation = newest(caller, service).await?;
    let (kind, service, state) = (operation.kind, &operation.service, operation.state);
    if state.is_final() {
        return Err(CliError::new(
            Exit::Conflict,
            format!("nothing is at work on {service}: its newest operation, {kind}, is {state} already"),
        ));
    }
    let id = operation.id.as_str();
    let path = format!("localservices/operations/{}/{word}", segment(id));
    let accepted: Accepted = caller.client.post(&path, &serde_json::json!({})).await?;
    screen::write(&caller.answer(id, &accepted, || format!("{kind} of {service} {done}\n"))?)
}

impl Listed for SpecGeneration {
    const NONE: &'static str = "no specs are kept";
    const COLUMNS: &'static [Column<Self>] = &[
        Column::new("GENERATION", |spec, _| Cell::count(spec.generation.0)),
        Column::new("SLOTS", |spec, _| Cell::count(spec.slots as u64)),
        Column::new("IS", |spec, _| Cell::text(role(spec))),
        Column::new("BY", |spec, _| Cell::text(&spec.by)),
        Column::new("RESTORES", |spec, _| {
            Cell::text(spec.restores.map(|restores| restores.to_string()).unwrap_or_default())
        }),
        Column::new("AGE", |spec, screen| age_cell(spec.created, screen)),
    ];

    fn id(&self) -> String {
        self.generation.to_string()
    }
}

const fn role(spec: &SpecGeneration) -> &'static str {
    match (spec.wanted, spec.stable) {
        (true, true) => "wanted, stable",
        (true, false) => "wanted",
        (false, true) => "stable",
        (false, false) => "",
    }
}
