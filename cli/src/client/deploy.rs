//! From a spec to a service that runs it: created or adjusted, and switched on.

use std::time::Duration;

use muster_common::exit::Exit;
use muster_common::id::ServiceId;
use muster_common::operation::{ClusterOpSpec, OperationRequest};
use muster_common::service::{ActivationState, ServiceSummary};
use muster_common::spec::LocalServiceSpec;
use serde::Serialize;

use super::http::{Client, segment};
use super::resolve;
use super::settle::{self, Progress, Settled};
use crate::error::CliError;

/// What to deploy.
pub(crate) struct Deployment {
    pub(crate) spec: LocalServiceSpec,
    /// `None` leaves the count as it is, 1 for a new service.
    pub(crate) instances_per_host: Option<u32>,
    /// Stop the old instance before the new one starts, where the spec changed.
    pub(crate) stop_first: bool,
    /// How a changed spec reaches the slots; none: the cluster's default.
    pub(crate) op_spec: Option<ClusterOpSpec>,
}

impl Deployment {
    /// A spec with nothing else said.
    pub(crate) fn as_it_is(spec: LocalServiceSpec) -> Self {
        Self { spec, instances_per_host: None, stop_first: false, op_spec: None }
    }
}

/// A service as the cluster took it.
#[derive(Debug, Serialize)]
pub(crate) struct Deployed {
    #[serde(rename = "serviceId")]
    pub(crate) id: String,
    /// What has to be over before it is settled; `None`: it was as it should be already.
    #[serde(rename = "operationId", skip_serializing_if = "Option::is_none")]
    operation: Option<String>,
}

impl Deployed {
    /// What to know when nobody waits for it any more.
    pub(crate) fn goes_on(&self) -> String {
        self.operation.as_ref().map_or_else(
            || format!("{0} was accepted and goes on: see 'muster describe {0}'", self.id),
            |operation| settle::goes_on(&self.id, operation),
        )
    }
}

/// Waits until the service is as it was asked for, and says how it is.
pub(crate) async fn settled(
    client: &Client,
    service: &Deployed,
    timeout: Option<Duration>,
    progress: &mut Progress,
) -> Result<String, CliError> {
    if let Some(operation) = &service.operation
        && let Settled::AwaitsPromotion(operation) =
            settle::deployment(client, operation, timeout, progress).await?
    {
        return Ok(settle::awaits_promotion(&operation) + "\n");
    }
    settle::healthy(client, &service.id, timeout, progress).await?;
    let summary = resolve::service(client, &service.id).await?;
    let (healthy, required) = (summary.healthy_instances, summary.required_instances);
    let away = match summary.away_instances {
        0 => String::new(),
        away => format!("; {away} on executors that are away, see 'muster describe {}'", service.id),
    };
    Ok(format!("{} is deployed: {healthy} of {required} instances are healthy{away}\n", service.id))
}

/// Creates the service or adjusts it, and activates it.
pub(crate) async fn deploy(client: &Client, deployment: Deployment) -> Result<Deployed, CliError> {
    let Deployment { spec, instances_per_host, stop_first, op_spec } = deployment;
    let id = ServiceId::from_parts(&spec.name, &spec.version).map(|id| id.to_string());
    let existing = match &id {
        Ok(id) => find(client, id).await?,
        Err(_) => None, // the server names what is wrong with name and version
    };
    let mut operation = None;
    let (id, active) = match existing {
        None => {
            let request = OperationRequest::Create {
                spec: Box::new(spec),
                instances_per_host: instances_per_host.unwrap_or(1),
            };
            (client.operate(&request).await?.service_id.to_string(), false)
        }
        Some(service) => {
            if let Some(wanted) = instances_per_host.filter(|wanted| *wanted != service.instances_per_host) {
                let request = OperationRequest::UpdateInstanceCount {
                    service_id: service.id.clone(),
                    instances_per_host: wanted,
                };
                client.operate(&request).await?;
            }
            // The server compares: what is sensitive is shown to nobody. The same spec changes nothing.
            let request = OperationRequest::UpdateSpec { spec: Box::new(spec), stop_first, op_spec };
            operation = Some(client.operate(&request).await?.operation_id.to_string());
            (service.id, service.activation_state == ActivationState::Active)
        }
    };
    if !active {
        let request = OperationRequest::Activate { service_id: id.clone() };
        operation = Some(client.operate(&request).await?.operation_id.to_string());
    }
    Ok(Deployed { id, operation })
}

/// The service of this id, if there is one.
pub(crate) async fn find(client: &Client, id: &str) -> Result<Option<ServiceSummary>, CliError> {
    match client.get(&format!("localservices/{}", segment(id))).await {
        Ok(service) => Ok(Some(service)),
        Err(error) if error.exit == Exit::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
