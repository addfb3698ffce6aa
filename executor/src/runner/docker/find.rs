//! What the engine knows of this executor's containers: one, or all of them.

use std::collections::HashMap;

use bollard::models::{ContainerInspectResponse, ContainerSummary, ContainerSummaryStateEnum};
use bollard::query_parameters::ListContainersOptionsBuilder;
use muster_common::id::InstanceId;

use super::container;
use super::engine::EngineError;
use super::exit::exit_of;
use super::owner::{label, made_elsewhere};
use super::{DockerRunner, has_ended, never_started};
use crate::runner::{Found, Listed, RunnerError, Workload};

impl DockerRunner {
    pub(super) async fn find(
        &self,
        instance: &InstanceId,
        known: Option<&Workload>,
    ) -> Result<Found, RunnerError> {
        let at = |error: EngineError| error.at("find container");
        // The id from the journal saves a search; the labels still tell whose it is.
        if let Some(Workload::Docker { container_id, .. }) = known
            && let Some(found) = self.inspect(container_id).await.map_err(at)?
            && let Some(labels) = labels(&found)
        {
            if self.owner.made(labels, instance) {
                return Ok(self.judge(instance, container_id.clone(), found, known).await);
            }
            // Neither listed nor watched nor removed by this one's labels; but not for nothing either: it may run.
            if let Some(elsewhere) = made_elsewhere(&self.owner, labels, instance) {
                return Err(RunnerError::Unavailable(format!(
                    "container {container_id} was made for the data directory {elsewhere}, and this executor's is {}: \
                     move the directory back, or remove the container",
                    self.owner.data_dir
                )));
            }
        }
        for container in self.containers(instance).await.map_err(at)? {
            if let Some(found) = self.inspect(&container).await.map_err(at)? {
                return Ok(self.judge(instance, container, found, known).await);
            }
        }
        Ok(Found::Nothing)
    }

    /// What a container's state means for its instance; one that runs is watched from now on.
    async fn judge(
        &self,
        instance: &InstanceId,
        container: String,
        found: ContainerInspectResponse,
        known: Option<&Workload>,
    ) -> Found {
        let state = found.state.clone().unwrap_or_default();
        if never_started(&state) {
            return Found::NeverStarted;
        }
        self.logs.keep(instance, &container, &found);
        // What the engine said when it made it tells more than what it shows of it now.
        let warnings = match known {
            Some(Workload::Docker { container_id, warnings }) if *container_id == container => {
                warnings.clone()
            }
            _ => container::unenforced(&found),
        };
        let workload = Workload::Docker { container_id: container.clone(), warnings };
        if has_ended(&state) {
            return Found::Ended(workload, exit_of(&state));
        }
        self.addresses.keep(instance, &found);
        self.watch(&container, instance).await;
        Found::Running(workload)
    }

    /// Ids of this executor's containers for an instance: one, or none.
    pub(super) async fn containers(&self, instance: &InstanceId) -> Result<Vec<String>, EngineError> {
        let mut filter = self.owner.filter();
        filter.push(format!("{}={instance}", label::INSTANCE));
        let found = self.summaries(filter).await?;
        Ok(found.into_iter().filter_map(|container| container.id).collect())
    }

    pub(super) async fn list(&self) -> Result<Vec<Listed>, RunnerError> {
        let found = self.summaries(self.owner.filter()).await.map_err(|error| error.at("list containers"))?;
        let mut listed: Vec<Listed> = found
            .into_iter()
            .filter_map(|container| {
                let labels = container.labels?;
                let instance = InstanceId::new(labels.get(label::INSTANCE)?).ok()?;
                let place = labels.get(label::PLACE).and_then(|place| serde_json::from_str(place).ok());
                let runs = container.state.is_some_and(seems_to_run);
                Some(Listed { instance, place, runs })
            })
            .collect();
        listed.sort_by(|one, other| one.instance.cmp(&other.instance));
        listed.dedup_by(|one, other| one.instance == other.instance);
        Ok(listed)
    }

    async fn summaries(&self, labels: Vec<String>) -> Result<Vec<ContainerSummary>, EngineError> {
        let filters = HashMap::from([("label".to_owned(), labels)]);
        let options = ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
        self.engine.call("list_containers", async |client| client.list_containers(Some(options)).await).await
    }

    pub(super) async fn inspect(
        &self,
        container: &str,
    ) -> Result<Option<ContainerInspectResponse>, EngineError> {
        match self
            .engine
            .call("inspect_container", async |client| client.inspect_container(container, None).await)
            .await
        {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }
}

pub(super) fn labels(container: &ContainerInspectResponse) -> Option<&HashMap<String, String>> {
    container.config.as_ref()?.labels.as_ref()
}

fn seems_to_run(state: ContainerSummaryStateEnum) -> bool {
    use ContainerSummaryStateEnum::{PAUSED, RESTARTING, RUNNING};
    matches!(state, RUNNING | PAUSED | RESTARTING)
}
