//! Starting a container, from its plan to where it is watched. One that a start before a crash left is taken on.

use bollard::models::ContainerState;
use bollard::query_parameters::CreateContainerOptionsBuilder;
use muster_common::spec::Executable;

use super::engine::EngineError;
use super::find::labels;
use super::{DockerRunner, container, files, never_started, step};
use crate::runner::{LaunchPlan, StartError, Workload, file};

impl DockerRunner {
    pub(super) async fn start(&self, plan: &LaunchPlan) -> Result<Workload, StartError> {
        let Some(Executable::Docker { url, .. }) = &plan.spec.executable else {
            return Err(StartError::Failed {
                step: "create container",
                why: "it is not a DOCKER executable".to_owned(),
            });
        };
        let plan = &self.access.admit(plan, &self.looks).await?;
        let files = file::read_all(&plan.spec.configs, &plan.place.service, &self.looks).await?;
        let creating = step("create");
        let Made { container, warnings, state } = self.create(plan, &container::with_tag(url)).await?;
        creating.done();
        if state.is_none_or(|state| never_started(&state)) {
            files::place(&self.engine, &container, files).await?;
            let starting = step("start");
            self.engine
                .call("start_container", async |client| client.start_container(&container, None).await)
                .await
                .map_err(|error| error.at_start("start container"))?;
            starting.done();
        }
        self.logs.expect(plan, &container);
        self.watch(&container, &plan.instance).await;
        Ok(Workload::Docker { container_id: container, warnings })
    }

    /// The container for this plan; one that a start before a crash left is it.
    async fn create(&self, plan: &LaunchPlan, image: &str) -> Result<Made, StartError> {
        let at = |error: EngineError| error.at_start("create container");
        let name = container::name(plan);
        let body = container::body(plan, image, &self.owner, self.limits)
            .map_err(|why| StartError::Failed { step: "create container", why })?;
        let options = CreateContainerOptionsBuilder::default().name(&name).build();
        match self
            .engine
            .call("create_container", async |client| client.create_container(Some(options), body).await)
            .await
        {
            Ok(created) => {
                let warnings = container::told(created.warnings);
                if !warnings.is_empty() {
                    tracing::warn!(instance = %plan.instance, ?warnings, "the engine does not give a container all that was asked for");
                }
                return Ok(Made { container: created.id, warnings, state: None });
            }
            Err(error) if error.is_conflict() => {}
            Err(error) => return Err(at(error)),
        }
        let present = self
            .engine
            .call("inspect_container", async |client| client.inspect_container(&name, None).await)
            .await;
        let present = present.map_err(at)?;
        if labels(&present).is_some_and(|labels| self.owner.made(labels, &plan.instance)) {
            let warnings = container::unenforced(&present);
            let state = Some(present.state.unwrap_or_default());
            Ok(Made { container: present.id.unwrap_or(name), warnings, state })
        } else {
            Err(StartError::Failed {
                step: "create container",
                why: format!("a container named {name} exists, and somebody else made it"),
            })
        }
    }
}

/// A container that is there.
struct Made {
    /// Its id.
    container: String,
    /// What it is without although it was asked for, in words.
    warnings: Vec<String>,
    /// How it was found, when it had been made before.
    state: Option<ContainerState>,
}
