//! Commands that change what runs: each submits one operation and waits until it is over.

use std::time::Duration;

use muster_common::exit::Exit;
use muster_common::operation::OperationRequest;

use super::args::{InstancesArgs, RestartArgs, WaitArgs};
use super::http::{Accepted, Client};
use super::settle::{self, Progress};
use super::{render, resolve};
use crate::args::Output;
use crate::error::CliError;

pub(crate) async fn restart(client: &Client, args: RestartArgs, output: Output) -> Result<(), CliError> {
    let service = resolve::service(client, &args.service).await?;
    let request = OperationRequest::Restart {
        service_id: service.id,
        stop_first: args.wave.stop_first,
        cluster_op_spec: Some(args.wave.op_spec()),
    };
    submit(client, &request, args.wait, output, "restarted").await
}

pub(crate) async fn replace(client: &Client, args: InstancesArgs, output: Output) -> Result<(), CliError> {
    let (service_id, instance_ids) = instances_of_one_service(client, &args.instances).await?;
    let request = OperationRequest::ReplaceInstances {
        service_id,
        instance_ids,
        stop_first: args.wave.stop_first,
        op_spec: Some(args.wave.op_spec()),
    };
    submit(client, &request, args.wait, output, "replaced").await
}

pub(crate) async fn stop(client: &Client, args: InstancesArgs, output: Output) -> Result<(), CliError> {
    let (service_id, instance_ids) = instances_of_one_service(client, &args.instances).await?;
    let request =
        OperationRequest::StopInstances { service_id, instance_ids, op_spec: Some(args.wave.op_spec()) };
    submit(client, &request, args.wait, output, "stopped").await
}

pub(crate) async fn scale(
    client: &Client,
    service: &str,
    instances_per_host: u32,
    wait: WaitArgs,
    output: Output,
) -> Result<(), CliError> {
    let service_id = resolve::service(client, service).await?.id;
    let request = OperationRequest::UpdateInstanceCount { service_id, instances_per_host };
    submit(client, &request, wait, output, "scaled").await
}

pub(crate) async fn deactivate(
    client: &Client,
    service: &str,
    wait: WaitArgs,
    output: Output,
) -> Result<(), CliError> {
    let service_id = resolve::service(client, service).await?.id;
    submit(client, &OperationRequest::Deactivate { service_id }, wait, output, "deactivated").await
}

pub(crate) async fn destroy(
    client: &Client,
    service: &str,
    wait: WaitArgs,
    output: Output,
) -> Result<(), CliError> {
    let service_id = resolve::service(client, service).await?.id;
    submit(client, &OperationRequest::Destroy { service_id }, wait, output, "destroyed").await
}

/// Submits, and waits unless told not to.
async fn submit(
    client: &Client,
    request: &OperationRequest,
    wait: WaitArgs,
    output: Output,
    done: &str,
) -> Result<(), CliError> {
    let accepted = client.operate(request).await?;
    let mut progress = Progress::new();
    let text = if wait.no_wait {
        let Accepted { service_id, operation_id } = &accepted;
        let line = format!("{} of {service_id} accepted as {operation_id}\n", request.kind());
        render::answer(output, &accepted, || line)?
    } else {
        let timeout = Duration::from_secs(wait.timeout_s);
        let operation = settle::operation(client, &accepted.operation_id, timeout, &mut progress).await?;
        render::answer(output, &operation, || format!("{} {done}\n", accepted.service_id))?
    };
    progress.done(&text);
    Ok(())
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
