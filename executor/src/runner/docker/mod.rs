//! The Docker runner: containers, through the Docker Engine's API.
//!
//! | module | noun |
//! |---|---|
//! | `engine` | the connection: agreed version, bounded calls, sorted failures |
//! | `container` | what the engine is asked for, and which limits it left out |
//! | `owner` | which executor and instance a container belongs to: its labels |
//! | `start` | starting a container |
//! | `exit` | how a container ended |
//! | `address` | where containers are reached without the engine's proxy |
//! | `watch` | the task that sees containers end |
//! | `pull` | pulls of images: one per reference, a few at a time |
//! | `credentials` | the node's credentials for registries |
//! | `find` | what the engine knows of this executor's containers |
//! | `exec` | a check's or hook's command inside a container |
//! | `interact` | a user's command inside a container |
//! | `files` | the files that are placed in a container before its start |
//! | `log` | what a container wrote, and the copy of it that outlives the container |
//! | `pour` | one reading of the log that the engine keeps |
//! | `progress` | whether copying a log gets on (pure) |
//! | `stamp` | the time that the engine writes before a line |
//!
//! An engine that is away is a normal event: every call then says so within its limit, and works again
//! as soon as the engine does. What each trouble means for a container:
//!
//! | trouble | what follows |
//! |---|---|
//! | the engine is restarted or killed, with live-restore | the container goes on, and so does its instance |
//! | the same without live-restore | the engine ends its containers: an exit like any other, seen once it answers |
//! | the engine hangs | calls end at their limits; checks through the engine are not asked, and count neither way |
//! | its containerd is away | as if the engine were away |
//! | somebody removes the container | it ended, and its exit says that it was removed |
//! | somebody starts the container again that has ended | it is killed: another one may be taking its place |
//! | somebody pauses the container | its checks tell; a stop wakes it for its end |
//!
//! Nothing about a container is kept here but which ones are watched: its
//! labels tell whose it is, and the engine keeps how it ended until it is removed.

mod address;
mod container;
mod credentials;
mod engine;
mod exec;
mod exit;
mod files;
mod find;
mod interact;
mod log;
mod owner;
mod pour;
mod progress;
mod pull;
mod stamp;
mod start;
mod watch;

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bollard::models::{ContainerInspectResponse, ContainerState, ContainerStateStatusEnum};
use bollard::query_parameters::{RemoveContainerOptionsBuilder, StopContainerOptionsBuilder};
use futures::future::BoxFuture;
use muster_common::id::{ExecutorId, InstanceId};
use muster_common::instance::RunnerKind;
use muster_common::spec::Executable;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use self::address::Addresses;
use self::container::Limits;
use self::credentials::Credentials;
use self::engine::Engine;
use self::exit::exit_of;
use self::log::Logs;
use self::owner::Owner;
use self::pull::Pulls;
use self::watch::{Watch, Watcher};
use super::look::Looks;
use super::mark::CommandMark;
use super::step::Step;
use super::{
    CommandOutput, ExecEnd, ExecIo, ExecRequest, Exit, Found, HostAccess, LaunchPlan, Listed, LogEnd,
    ProvisionError, Runner, RunnerError, RunnerEvent, StartError, Workload,
};
use crate::config::{DockerConfig, LogsConfig};
use crate::limits::STOP_MARGIN;
use crate::logs::keep_swept;

/// Wishes to the watching task that may wait.
const WATCH_QUEUE: usize = 256;

/// Starts containers.
pub struct DockerRunner {
    engine: Arc<Engine>,
    owner: Owner,
    /// What its commands are known by, should it be killed while they run.
    mark: CommandMark,
    addresses: Arc<Addresses>,
    logs: Arc<Logs>,
    access: HostAccess,
    looks: Looks,
    pulls: Pulls,
    limits: Limits,
    wishes: mpsc::Sender<Watch>,
    _watcher: AbortOnDropHandle<()>,
    _sweep: Option<AbortOnDropHandle<()>>,
    _copies: Option<AbortOnDropHandle<()>>,
}

impl DockerRunner {
    /// A runner on the engine at `socket`, which need not answer yet. Containers are told apart from
    /// those of others by `executor` and `data_dir`. `limit` bounds an ordinary call ([`crate::CALL_LIMIT`]).
    ///
    /// Must be called in a Tokio runtime.
    pub fn open(
        socket: &Path,
        executor: &ExecutorId,
        data_dir: &Path,
        limit: Duration,
        events: mpsc::Sender<RunnerEvent>,
    ) -> Self {
        let engine = Arc::new(Engine::new(socket.display().to_string(), limit));
        let owner = Owner { executor: executor.to_string(), data_dir: data_dir.display().to_string() };
        let (wishes, receiver) = mpsc::channel(WATCH_QUEUE);
        let watcher = Watcher::new(Arc::clone(&engine), owner.clone(), receiver, events);
        let watcher = AbortOnDropHandle::new(tokio::spawn(watcher.run()));
        let pulls = pulls(&engine, &DockerConfig::default());
        Self {
            engine,
            owner,
            mark: CommandMark::of(executor, data_dir),
            addresses: Arc::default(),
            logs: Arc::new(Logs::new(data_dir.to_owned())),
            access: HostAccess::default(),
            looks: Looks::default(),
            pulls,
            limits: Limits::from(&DockerConfig::default()),
            wishes,
            _watcher: watcher,
            _sweep: None,
            _copies: None,
        }
    }

    /// The same runner, which looks after the logs below its data directory.
    #[must_use]
    pub fn sweeping(self, logs: &LogsConfig) -> Self {
        let sweep = keep_swept(self.logs.data_dir().to_owned(), logs.retention());
        Self { _sweep: Some(sweep), ..self }
    }

    /// The same runner, which keeps copies of the logs of its containers while they run.
    #[must_use]
    pub fn copying(self) -> Self {
        let copies = Arc::clone(&self.logs).keep_copied(Arc::clone(&self.engine));
        Self { _copies: Some(copies), ..self }
    }

    /// The same runner, which pulls images and limits containers as the node's configuration says.
    #[must_use]
    pub fn configured(self, config: &DockerConfig) -> Self {
        Self { pulls: pulls(&self.engine, config), limits: Limits::from(config), ..self }
    }

    /// The same runner, whose specs may have this much of the node; nothing before.
    #[must_use]
    pub fn allowing(self, access: HostAccess) -> Self {
        Self { access, ..self }
    }

    /// Whether an engine answers now; in words, why not.
    pub async fn check(&self) -> Result<(), String> {
        self.engine.client().await.map(drop).map_err(|error| error.to_string())
    }

    /// An image that is present is used without asking its registry, `latest` too: a node starts and replaces its
    /// instances while the registry is away, and all instances of a node run the same. Who moves a tag names the
    /// digest, or gives the new image a new tag.
    async fn provision(&self, plan: &LaunchPlan) -> Result<(), ProvisionError> {
        let Some(Executable::Docker { url, docker_pull_timeout }) = &plan.spec.executable else {
            return Err(ProvisionError::Unavailable {
                what: "the executable".to_owned(),
                why: "it is not a DOCKER executable".to_owned(),
            });
        };
        let image = container::with_tag(url);
        match self.engine.call("inspect_image", async |client| client.inspect_image(&image).await).await {
            Ok(_) => return Ok(()),
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error.at_provision(&image)),
        }
        let step = step("pull");
        self.pulls.pull(&image, docker_pull_timeout.as_duration()).await?;
        step.done();
        Ok(())
    }

    async fn stop(&self, container: &str, grace: Duration) -> Result<Exit, RunnerError> {
        let seconds = grace.as_secs() + u64::from(grace.subsec_nanos() > 0);
        let options =
            StopContainerOptionsBuilder::default().t(i32::try_from(seconds).unwrap_or(i32::MAX)).build();
        let stopped = self
            .engine
            .call_within("stop_container", grace + STOP_MARGIN, async |client| {
                client.stop_container(container, Some(options)).await
            })
            .await;
        match stopped {
            Ok(()) => {}
            Err(error) if error.is_not_found() => return Ok(Exit::default()),
            Err(error) => return Err(error.at("stop container")),
        }
        match self.inspect(container).await.map_err(|error| error.at("stop container"))? {
            Some(found) => Ok(exit_of(&found.state.unwrap_or_default())),
            None => Ok(Exit::default()),
        }
    }

    /// The engine is asked what there is only where that is not known: there is no second container with the same name.
    async fn remove(&self, instance: &InstanceId) -> Result<(), RunnerError> {
        self.addresses.forget(instance);
        let is_gone = match self.logs.container(instance) {
            Some(known) => self.remove_container(instance, &known).await?,
            None => false,
        };
        if !is_gone {
            let left = self.containers(instance).await.map_err(|error| error.at("remove container"))?;
            for container in left {
                self.remove_container(instance, &container).await?;
            }
        }
        self.logs.forget(instance);
        Ok(())
    }

    /// `false`: there is no such container.
    async fn remove_container(&self, instance: &InstanceId, container: &str) -> Result<bool, RunnerError> {
        let kept = self.logs.complete(&self.engine, instance, container).await;
        let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
        let removed = self
            .engine
            .call("remove_container", async |client| client.remove_container(container, Some(options)).await)
            .await;
        let was_there = match removed {
            Ok(()) => true,
            Err(error) if error.is_not_found() => false,
            Err(error) => return Err(error.at("remove container")),
        };
        // Only now is it certain that nothing more comes of it.
        if let Err(error) = kept {
            self.logs.give_up(instance, &error).await;
        }
        Ok(was_there)
    }

    async fn address(
        &self,
        instance: &InstanceId,
        container: &str,
        limit: Duration,
    ) -> Result<Option<IpAddr>, RunnerError> {
        if let Some(known) = self.addresses.get(instance) {
            return Ok(known.own());
        }
        let late = |_| Err(self.engine.unreachable(format!("no answer within {limit:?}")));
        let found = timeout(limit, self.inspect(container)).await.unwrap_or_else(late);
        match found.map_err(|error| error.at("find container"))? {
            Some(found) if runs(&found) => Ok(self.addresses.keep(instance, &found).own()),
            _ => Err(RunnerError::Failed { step: "find container", why: "it does not run".to_owned() }),
        }
    }

    /// Asks beside the checks, which go on meanwhile: an engine that hangs holds none of them up.
    fn doubt_address(&self, instance: &InstanceId, container: &str) {
        if !self.addresses.shall_ask_again(instance) {
            return;
        }
        let (engine, addresses) = (Arc::clone(&self.engine), Arc::clone(&self.addresses));
        let (instance, container) = (instance.clone(), container.to_owned());
        tokio::spawn(async move {
            let shown = engine
                .call("inspect_container", async |client| client.inspect_container(&container, None).await)
                .await;
            match shown {
                Ok(found) if runs(&found) => addresses.renew(&instance, &found),
                // Its end is told by others.
                Ok(_) => {}
                Err(error) => tracing::debug!(%instance, %error, "an address in doubt is not known yet"),
            }
        });
    }

    async fn watch(&self, container: &str, instance: &InstanceId) {
        let wish = Watch { container: container.to_owned(), instance: instance.clone() };
        if self.wishes.send(wish).await.is_err() {
            tracing::debug!(%instance, "nobody listens for exits any more");
        }
    }
}

fn pulls(engine: &Arc<Engine>, config: &DockerConfig) -> Pulls {
    Pulls::new(Arc::clone(engine), Credentials::new(config.credentials.clone()), config.pulls_in_flight)
}

fn step(name: &'static str) -> Step {
    Step::begin(RunnerKind::Docker, name)
}

fn runs(found: &ContainerInspectResponse) -> bool {
    found.state.as_ref().is_some_and(|state| state.running == Some(true))
}

fn never_started(state: &ContainerState) -> bool {
    state.status == Some(ContainerStateStatusEnum::CREATED)
}

fn has_ended(state: &ContainerState) -> bool {
    use ContainerStateStatusEnum::{DEAD, EXITED, REMOVING};
    matches!(state.status, Some(EXITED | DEAD | REMOVING))
}

fn container_of(workload: &Workload) -> Result<&str, RunnerError> {
    match workload {
        Workload::Docker { container_id, .. } => Ok(container_id),
        Workload::Process { .. } => {
            Err(RunnerError::Failed { step: "find container", why: "the workload is a process".to_owned() })
        }
    }
}

impl Runner for DockerRunner {
    fn kind(&self) -> RunnerKind {
        RunnerKind::Docker
    }

    fn provision<'a>(&'a self, plan: &'a LaunchPlan) -> BoxFuture<'a, Result<(), ProvisionError>> {
        Box::pin(self.provision(plan))
    }

    fn start<'a>(&'a self, plan: &'a LaunchPlan) -> BoxFuture<'a, Result<Workload, StartError>> {
        Box::pin(self.start(plan))
    }

    fn stop<'a>(
        &'a self,
        _instance: &'a InstanceId,
        workload: &'a Workload,
        grace: Duration,
    ) -> BoxFuture<'a, Result<Exit, RunnerError>> {
        Box::pin(async move { self.stop(container_of(workload)?, grace).await })
    }

    fn remove<'a>(&'a self, instance: &'a InstanceId) -> BoxFuture<'a, Result<(), RunnerError>> {
        Box::pin(self.remove(instance))
    }

    fn find<'a>(
        &'a self,
        instance: &'a InstanceId,
        workload: Option<&'a Workload>,
    ) -> BoxFuture<'a, Result<Found, RunnerError>> {
        Box::pin(self.find(instance, workload))
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<Listed>, RunnerError>> {
        Box::pin(self.list())
    }

    fn command<'a>(
        &'a self,
        _plan: &'a LaunchPlan,
        workload: &'a Workload,
        argv: &'a [String],
        timeout: Duration,
    ) -> BoxFuture<'a, Result<CommandOutput, RunnerError>> {
        Box::pin(
            async move { exec::run(&self.engine, &self.mark, container_of(workload)?, argv, timeout).await },
        )
    }

    fn exec<'a>(
        &'a self,
        _plan: &'a LaunchPlan,
        workload: &'a Workload,
        request: &'a ExecRequest,
        io: ExecIo,
    ) -> BoxFuture<'a, Result<ExecEnd, RunnerError>> {
        Box::pin(async move {
            interact::run(&self.engine, &self.mark, container_of(workload)?, request, io).await
        })
    }

    fn address<'a>(
        &'a self,
        instance: &'a InstanceId,
        workload: &'a Workload,
        timeout: Duration,
    ) -> BoxFuture<'a, Result<Option<IpAddr>, RunnerError>> {
        Box::pin(async move { self.address(instance, container_of(workload)?, timeout).await })
    }

    fn doubt_address(&self, instance: &InstanceId, workload: &Workload) {
        if let Ok(container) = container_of(workload) {
            self.doubt_address(instance, container);
        }
    }

    fn freshen_log<'a>(&'a self, instance: &'a InstanceId) -> BoxFuture<'a, Result<bool, RunnerError>> {
        Box::pin(self.logs.freshen(&self.engine, instance))
    }

    fn log_tail<'a>(
        &'a self,
        instance: &'a InstanceId,
        workload: &'a Workload,
        max_bytes: usize,
    ) -> BoxFuture<'a, Result<LogEnd, RunnerError>> {
        Box::pin(async move {
            self.logs.collect(&self.engine, instance, container_of(workload)?, max_bytes).await
        })
    }

    fn copy_log<'a>(
        &'a self,
        instance: &'a InstanceId,
        workload: &'a Workload,
        max_bytes: usize,
    ) -> BoxFuture<'a, Result<Option<String>, RunnerError>> {
        Box::pin(async move {
            self.logs.copy_on(&self.engine, instance, container_of(workload)?, max_bytes).await
        })
    }
}
