//! Commands that change what runs: each submits one operation and waits until it is over.

use clap::Args;
use muster_common::exit::Exit;
use muster_common::operation::{OperationKind, OperationRequest};

use super::Caller;
use super::args::{WaitArgs, WaveArgs};
use crate::client::http::Client;
use crate::client::resolve;
use crate::client::settle::{self, Progress};
use crate::error::CliError;

#[derive(Debug, Args)]
pub(crate) struct ServiceArgs {
    /// The service: its id, its name, or a unique prefix of its id.
    service: String,
    #[command(flatten)]
    wait: WaitArgs,
}

#[derive(Debug, Args)]
pub(crate) struct RestartArgs {
    /// The service: its id, its name, or a unique prefix of its id.
    service: String,
    #[command(flatten)]
    wave: WaveArgs,
    #[command(flatten)]
    wait: WaitArgs,
}

#[derive(Debug, Args)]
pub(crate) struct InstancesArgs {
    /// Instances of one service; a unique prefix of an id is enough.
    #[arg(required = true, value_name = "INSTANCE")]
    instances: Vec<String>,
    #[command(flatten)]
    wave: WaveArgs,
    #[command(flatten)]
    wait: WaitArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ScaleArgs {
    /// The service: its id, its name, or a unique prefix of its id.
    service: String,
    /// How many on each executor.
    instances_per_host: u32,
    #[command(flatten)]
    wait: WaitArgs,
}

pub(crate) async fn restart(caller: &Caller, args: RestartArgs) -> Result<(), CliError> {
    let service = resolve::service(&caller.client, &args.service).await?;
    let request = OperationRequest::Restart {
        service_id: service.id,
        stop_first: args.wave.stop_first,
        cluster_op_spec: Some(args.wave.op_spec()),
    };
    submit(caller, &request, args.wait, "restarted").await
}

pub(crate) async fn replace(caller: &Caller, args: InstancesArgs) -> Result<(), CliError> {
    let (service_id, instance_ids) = instances_of_one_service(&caller.client, &args.instances).await?;
    let request = OperationRequest::ReplaceInstances {
        service_id,
        instance_ids,
        stop_first: args.wave.stop_first,
        op_spec: Some(args.wave.op_spec()),
    };
    submit(caller, &request, args.wait, "replaced").await
}

pub(crate) async fn stop(caller: &Caller, args: InstancesArgs) -> Result<(), CliError> {
    let (service_id, instance_ids) = instances_of_one_service(&caller.client, &args.instances).await?;
    let request =
        OperationRequest::StopInstances { service_id, instance_ids, op_spec: Some(args.wave.op_spec()) };
    submit(caller, &request, args.wait, "stopped").await
}

pub(crate) async fn scale(caller: &Caller, args: ScaleArgs) -> Result<(), CliError> {
    let service_id = resolve::service(&caller.client, &args.service).await?.id;
    let instances_per_host = args.instances_per_host;
    let request = OperationRequest::UpdateInstanceCount { service_id, instances_per_host };
    submit(caller, &request, args.wait, "scaled").await
}

pub(crate) async fn activate(caller: &Caller, args: ServiceArgs) -> Result<(), CliError> {
    of_service(caller, args, |service_id| OperationRequest::Activate { service_id }, "activated").await
}

pub(crate) async fn deactivate(caller: &Caller, args: ServiceArgs) -> Result<(), CliError> {
    of_service(caller, args, |service_id| OperationRequest::Deactivate { service_id }, "deactivated").await
}

pub(crate) async fn test(caller: &Caller, args: ServiceArgs) -> Result<(), CliError> {
    let request = |service_id| OperationRequest::DeployTestInstance { service_id };
    of_service(caller, args, request, "runs one test instance").await
}

pub(crate) async fn retry(caller: &Caller, args: ServiceArgs) -> Result<(), CliError> {
    of_service(caller, args, |service_id| OperationRequest::Retry { service_id }, "tries again").await
}

pub(crate) async fn destroy(caller: &Caller, args: ServiceArgs) -> Result<(), CliError> {
    of_service(caller, args, |service_id| OperationRequest::Destroy { service_id }, "destroyed").await
}

async fn of_service(
    caller: &Caller,
    args: ServiceArgs,
    request: impl FnOnce(String) -> OperationRequest,
    done: &str,
) -> Result<(), CliError> {
    let service = resolve::service(&caller.client, &args.service).await?;
    submit(caller, &request(service.id), args.wait, done).await
}

/// Submits, and waits unless told not to.
pub(super) async fn submit(
    caller: &Caller,
    request: &OperationRequest,
    wait: WaitArgs,
    done: &str,
) -> Result<(), CliError> {
    let accepted = caller.client.operate(request).await?;
    let (service_id, operation_id) = (&accepted.service_id, accepted.operation_id.as_str());
    let mut progress = Progress::new();
    let text = if wait.no_wait {
        let line = format!("{} of {service_id} accepted as {operation_id}\n", request.kind());
        caller.answer(operation_id, &accepted, || line)?
    } else {
        let (client, timeout) = (&caller.client, wait.timeout());
        let operation = if fills_slots(request.kind()) {
            settle::deployment(client, operation_id, timeout, &mut progress).await?
        } else {
            settle::operation(client, operation_id, timeout, &mut progress).await?
        };
        caller.answer(operation_id, &operation, || format!("{service_id} {done}\n"))?
    };
    progress.done(&text)
}

/// Whether its failure is explained by why instances ended.
const fn fills_slots(kind: OperationKind) -> bool {
    match kind {
        OperationKind::Create
        | OperationKind::Activate
        | OperationKind::DeployTestInstance
        | OperationKind::AdjustInstances
        | OperationKind::UpdateInstanceCount
        | OperationKind::Restart
        | OperationKind::ReplaceInstances
        | OperationKind::UpdateSpec
        | OperationKind::Rollback
        | OperationKind::Retry => true,
        OperationKind::Deactivate | OperationKind::StopInstances | OperationKind::Destroy => false,
    }
}

async fn instances_of_one_service(
    client: &Client,
    prefixes: &[String],
) -> Result<(String, Vec<String>), CliError> {
    let mut service: Option<String> = None;
    let mut ids = Vec::new();
    for prefix in prefixes {
        let instance = resolve::instance(client, prefix).await?;
        match &service {
            None => service = Some(instance.service_id),
            Some(first) if *first == instance.service_id => {}
            Some(first) => {
                return Err(CliError::new(
                    Exit::Usage,
                    format!(
                        "the instances belong to {first} and {}; name those of one service at a time",
                        instance.service_id
                    ),
                ));
            }
        }
        ids.push(instance.instance_id);
    }
    service
        .map(|service| (service, ids))
        .ok_or_else(|| CliError::new(Exit::Usage, "name at least one instance"))
}
