//! A real executor, a process of its own, under a controller of one. Dropping it ends the process.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use muster_common::instance::InstanceState;
use muster_common::spec::LocalServiceSpec;
use muster_tests::agent::{Agent, slot, table};
use muster_tests::controller::{Controller, Records};
use serde_json::json;

/// The port on which the service in the containers listens.
pub(super) const PORT: u16 = 8000;

/// An executor and who tells it what to do.
pub(super) struct Node {
    controller: Controller,
    agent: Agent,
    revision: u64,
    spec: Arc<LocalServiceSpec>,
}

impl Node {
    /// Starts `program`, or this very one, as an executor whose slots run containers of `image` that are checked every second.
    pub(super) async fn start(program: Option<&Path>, image: &str) -> anyhow::Result<Self> {
        let check = json!({
            "mode": {"type": "HTTP", "portName": "main", "path": "/", "successCodes": [200]},
            "timeout": "1s", "interval": "1s",
        });
        let spec = json!({
            "name": "bench", "version": "1", "type": "LOCAL_SERVICE", "args": ["serve", PORT.to_string()],
            "executable": {"type": "DOCKER", "url": image, "dockerPullTimeout": "20s"},
            "exposedPorts": [{"name": "main", "port": PORT, "type": "HTTP"}],
            "resources": [{"type": "CPU", "count": 0.2}, {"type": "MEMORY", "sizeInMB": 16}],
            "placementPolicy": {"type": "LOCAL"}, "readiness": check, "healthcheck": check,
            "restartPolicy": {"backoff": ["0s"], "jitter": 0, "budget": 1_000_000},
        });
        let spec: LocalServiceSpec = serde_json::from_value(spec).context("reading the benchmark's spec")?;
        let controller = Controller::start().await;
        let agent = Agent::of(command(program)?, &controller, "runner: docker\n");
        let node = Self { controller, agent, revision: 0, spec: Arc::new(spec) };
        node.agent.until_it_listens().await;
        Ok(node)
    }

    /// Asks for so many instances, without waiting for them.
    pub(super) fn ask(&mut self, count: u32) {
        self.revision += 1;
        let rows = (0..count).map(|index| slot(&self.spec, index, 1)).collect();
        self.controller.set_table(table(self.revision, rows));
    }

    /// From the table that asks for so many instances until the last one is HEALTHY.
    pub(super) async fn fill(&mut self, count: u32) -> anyhow::Result<Duration> {
        let begun = Instant::now();
        self.ask(count);
        let wanted = usize::try_from(count).unwrap_or(usize::MAX);
        self.controller.try_until("all are healthy", |records| healthy(records) == wanted).await?;
        Ok(begun.elapsed())
    }

    /// From the empty table until the last instance is STOPPED.
    pub(super) async fn empty(&mut self) -> anyhow::Result<Duration> {
        let begun = Instant::now();
        self.ask(0);
        let over = |records: &Records| records.values().all(|record| record.state.is_terminal());
        self.controller.try_until("all are stopped", over).await?;
        Ok(begun.elapsed())
    }

    /// The healthy ones, newest last.
    pub(super) fn healthy_ids(&self) -> Vec<String> {
        let records = self.controller.records();
        let healthy = records.values().filter(|record| record.state == InstanceState::Healthy);
        healthy.map(|record| record.id.to_string()).collect()
    }

    /// Waits until another instance than `gone` is HEALTHY.
    pub(super) async fn replaced(&self, gone: &str) -> anyhow::Result<()> {
        let other = |records: &Records| {
            records
                .values()
                .any(|record| record.id.as_str() != gone && record.state == InstanceState::Healthy)
        };
        self.controller.try_until("it is replaced", other).await?;
        Ok(())
    }

    /// The executor's process.
    pub(super) fn pid(&self) -> anyhow::Result<u32> {
        let process = self.agent.process.as_ref().context("the executor is not running")?;
        ensure!(process.id() > 0, "the executor has no pid");
        Ok(process.id())
    }
}

fn healthy(records: &Records) -> usize {
    records.values().filter(|record| record.state == InstanceState::Healthy).count()
}

fn command(program: Option<&Path>) -> anyhow::Result<Vec<String>> {
    let (path, arguments) = match program {
        Some(program) => (program.to_owned(), None),
        None => (std::env::current_exe().context("looking for this program")?, Some("executor".to_owned())),
    };
    let path = path.into_os_string().into_string().ok().context("the program's path is not UTF-8")?;
    Ok([Some(path), arguments].into_iter().flatten().collect())
}
