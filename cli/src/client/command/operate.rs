//! Commands that change what runs: each submits one operation and waits until it is over.

use std::fmt::Write as _;

use clap::Args;
use muster_common::exit::Exit;
use muster_common::operation::{OperationKind, OperationRequest};
use muster_common::service::{ActivationState, ServiceSummary};

use super::Caller;
use super::args::{WaitArgs, WaveArgs};
use crate::client::http::Client;
use crate::client::patience::attend;
use crate::client::resolve;
use crate::client::search::ResolveError;
use crate::client::settle::{self, Progress, Settled};
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
    let request = request(service.id.clone());
    let kind = request.kind();
    submit(caller, &request, args.wait, done).await.map_err(|error| with_way_out(error, kind, &service))
}

/// A refusal of what an active service cannot have, with what to do first.
fn with_way_out(mut error: CliError, kind: OperationKind, service: &ServiceSummary) -> CliError {
    let needs_inactive = matches!(kind, OperationKind::Destroy | OperationKind::DeployTestInstance);
    let is_active = service.activation_state == ActivationState::Active;
    if error.exit == Exit::Conflict && needs_inactive && is_active {
        // Writing to a String cannot fail.
        let _ = write!(error.message, "; run 'muster deactivate {}' first", service.id);
    }
    error
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
        let (client, timeout) = (&caller.client, wait.time);
        let goes_on = settle::goes_on(service_id.as_str(), operation_id);
        let settled = if fills_slots(request.kind()) {
            attend(&goes_on, settle::deployment(client, operation_id, timeout, &mut progress)).await?
        } else {
            attend(&goes_on, settle::operation(client, operation_id, timeout, &mut progress)).await?
        };
        let line = || match &settled {
            Settled::Done(_) => format!("{service_id} {done}\n"),
            Settled::AwaitsPromotion(operation) => settle::awaits_promotion(operation) + "\n",
        };
        caller.answer(operation_id, settled.operation(), line)?
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

/// Who names a service where instances are wanted is told what does it for a service.
fn service_named(id: &str) -> CliError {
    CliError::new(
        Exit::Usage,
        format!(
            "{id} is a service, and instances are wanted here, as in 'muster get instances {id}'; 'muster restart {id}' \
             replaces all of them, 'muster deactivate {id}' stops them"
        ),
    )
}

async fn instances_of_one_service(
    client: &Client,
    prefixes: &[String],
) -> Result<(String, Vec<String>), CliError> {
    let mut service: Option<String> = None;
    let mut ids = Vec::new();
    for prefix in prefixes {
        let instance = match resolve::instance(client, prefix).await {
            Ok(instance) => instance,
            Err(missing @ ResolveError::Missing { .. }) => {
                return Err(match resolve::service(client, prefix).await {
                    Ok(service) => service_named(&service.id),
                    Err(_) => missing.into(),
                });
            }
            Err(error) => return Err(error.into()),
        };
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::samples;

    #[test]
    fn who_would_destroy_an_active_service_is_told_what_to_do_first() {
        let told = |exit, kind| with_way_out(CliError::new(exit, "no"), kind, &samples::service()).message;
        let way_out = "no; run 'muster deactivate hello-1' first";
        assert_eq!(told(Exit::Conflict, OperationKind::Destroy), way_out);
        assert_eq!(told(Exit::Conflict, OperationKind::DeployTestInstance), way_out);
        assert_eq!(told(Exit::Conflict, OperationKind::Retry), "no");
        assert_eq!(told(Exit::Failure, OperationKind::Destroy), "no");
    }

    #[test]
    fn who_names_a_service_where_instances_are_wanted_is_told_how_to_treat_a_service() {
        let error = service_named("web-1");
        assert_eq!(error.exit, Exit::Usage);
        for part in ["web-1 is a service", "muster restart web-1", "muster deactivate web-1"] {
            assert!(error.message.contains(part), "{error}");
        }
    }
}
