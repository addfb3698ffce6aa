//! `muster apply`: from a file to healthy instances.

use std::io::Read as _;
use std::path::Path;
use std::time::Duration;

use muster_common::exit::Exit;
use muster_common::id::ServiceId;
use muster_common::operation::{ClusterOpSpec, OperationRequest};
use muster_common::service::{ActivationState, ServiceSummary};
use muster_common::spec::LocalServiceSpec;

use serde::Serialize;

use super::args::ApplyArgs;
use super::http::{Client, segment};
use super::settle::{self, Progress};
use super::{render, resolve};
use crate::args::Output;
use crate::error::CliError;

/// A larger file is not a spec; the server refuses it too.
const MAX_SPEC_BYTES: u64 = 1024 * 1024;

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
#[derive(Serialize)]
pub(crate) struct Deployed {
    #[serde(rename = "serviceId")]
    pub(crate) id: String,
    /// What has to be over before it is settled; `None`: it was as it should be already.
    #[serde(rename = "operationId", skip_serializing_if = "Option::is_none")]
    operation: Option<String>,
}

pub(crate) async fn apply(client: &Client, args: &ApplyArgs, output: Output) -> Result<(), CliError> {
    for path in &args.files {
        for spec in read_specs(path)? {
            let deployment = Deployment {
                spec,
                instances_per_host: args.instances_per_host,
                stop_first: args.wave.stop_first,
                op_spec: Some(args.wave.op_spec()),
            };
            let mut progress = Progress::new();
            let service = deploy(client, deployment).await?;
            if args.wait.no_wait {
                progress.done(&render::answer(output, &service, || format!("{} accepted\n", service.id))?);
                continue;
            }
            let timeout = Duration::from_secs(args.wait.timeout_s);
            let outcome = settled(client, &service, timeout, &mut progress).await?;
            let summary = resolve::service(client, &service.id).await?;
            progress.done(&render::answer(output, &summary, || outcome)?);
        }
    }
    Ok(())
}

/// Waits until the service is as it was asked for, and says how it is.
pub(crate) async fn settled(
    client: &Client,
    service: &Deployed,
    timeout: Duration,
    progress: &mut Progress,
) -> Result<String, CliError> {
    if let Some(operation) = &service.operation {
        settle::deployment(client, operation, timeout, progress).await?;
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

/// The specs in a file (JSON, or one or several YAML documents); `-` is standard input.
pub(crate) fn read_specs(path: &Path) -> Result<Vec<LocalServiceSpec>, CliError> {
    let name = path.display();
    let mut text = String::new();
    let limit = MAX_SPEC_BYTES + 1;
    let read = if path.as_os_str() == "-" {
        std::io::stdin().take(limit).read_to_string(&mut text)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(limit).read_to_string(&mut text))
    };
    read.map_err(|error| CliError::new(Exit::Usage, format!("cannot read {name}: {error}")))?;
    if text.len() as u64 > MAX_SPEC_BYTES {
        return Err(CliError::new(Exit::Usage, format!("{name} is larger than {MAX_SPEC_BYTES} bytes")));
    }
    let specs = if text.trim_start().starts_with('{') {
        serde_json::from_str(&text).map(|spec| vec![spec]).map_err(|error| error.to_string())
    } else {
        serde_saphyr::from_multiple(&text).map_err(|error| error.without_snippet().to_string())
    };
    let specs: Vec<LocalServiceSpec> =
        specs.map_err(|error| CliError::new(Exit::Validation, format!("{name} is not a spec: {error}")))?;
    if specs.is_empty() {
        return Err(CliError::new(Exit::Validation, format!("{name} holds no spec")));
    }
    Ok(specs)
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
            (client.operate(&request).await?.service_id, false)
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
            operation = Some(client.operate(&request).await?.operation_id);
            (service.id, service.activation_state == ActivationState::Active)
        }
    };
    if !active {
        let request = OperationRequest::Activate { service_id: id.clone() };
        operation = Some(client.operate(&request).await?.operation_id);
    }
    Ok(Deployed { id, operation })
}

async fn find(client: &Client, id: &str) -> Result<Option<ServiceSummary>, CliError> {
    match client.get(&format!("localservices/{}", segment(id))).await {
        Ok(service) => Ok(Some(service)),
        Err(error) if error.exit == Exit::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn specs_are_read_from_json_and_from_several_yaml_documents() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("spec");
        std::fs::write(&path, r#"{"name": "a", "version": "1"}"#).unwrap();
        assert_eq!(read_specs(&path).unwrap()[0].name, "a");
        std::fs::write(&path, "name: a\nversion: '1'\n---\nname: b\nversion: '2'\n").unwrap();
        let names: Vec<String> = read_specs(&path).unwrap().into_iter().map(|spec| spec.name).collect();
        assert_eq!(names, ["a", "b"]);

        std::fs::write(&path, "exposedPorts: 5\n").unwrap();
        let error = read_specs(&path).err().unwrap();
        assert_eq!(error.exit, Exit::Validation);
        assert!(!error.message.contains('\n'), "{error}");
        assert_eq!(read_specs(Path::new("/nonexistent/spec")).err().unwrap().exit, Exit::Usage);
    }
}
