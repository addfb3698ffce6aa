//! What the engine alone can do with the very same containers: create and start, stop and remove, so many at once.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use bollard::Docker;
use bollard::models::{ContainerCreateBody, HostConfig, HostConfigLogConfig, PortBinding};
use bollard::query_parameters::{RemoveContainerOptionsBuilder, StopContainerOptionsBuilder};
use futures::stream::{self, StreamExt, TryStreamExt};

use super::agent::PORT;

/// The first host port of the floor's containers; the executor's own range begins at 20000.
const FIRST_PORT: u16 = 19_000;

/// Containers that the benchmark made itself.
pub(super) struct Made {
    engine: Docker,
    ids: Vec<String>,
}

/// Creates and starts `count` containers, `at_once` at a time; how long that took.
pub(super) async fn start(
    engine: &Docker,
    image: &str,
    count: u32,
    at_once: usize,
) -> anyhow::Result<(Made, Duration)> {
    let begun = Instant::now();
    let one = async |number: u32| {
        let created =
            engine.create_container(None, body(image, number)).await.context("creating a container")?;
        engine.start_container(&created.id, None).await.context("starting a container")?;
        anyhow::Ok(created.id)
    };
    let ids = stream::iter(0..count).map(one).buffer_unordered(at_once).try_collect().await?;
    Ok((Made { engine: engine.clone(), ids }, begun.elapsed()))
}

impl Made {
    /// Stops and removes them, `at_once` at a time; how long that took.
    pub(super) async fn end(self, at_once: usize) -> anyhow::Result<Duration> {
        let begun = Instant::now();
        let engine = &self.engine;
        let one = async |id: String| {
            let stop = StopContainerOptionsBuilder::default().t(10).build();
            engine.stop_container(&id, Some(stop)).await.context("stopping a container")?;
            let remove = RemoveContainerOptionsBuilder::default().v(true).build();
            engine.remove_container(&id, Some(remove)).await.context("removing a container")
        };
        stream::iter(self.ids).map(one).buffer_unordered(at_once).try_collect::<Vec<()>>().await?;
        Ok(begun.elapsed())
    }
}

/// Everything that the executor asks for, too, and that costs the engine time.
fn body(image: &str, number: u32) -> ContainerCreateBody {
    let port = u32::from(FIRST_PORT) + number;
    let container_port = format!("{PORT}/tcp");
    let binding = PortBinding { host_ip: None, host_port: Some(port.to_string()) };
    let logs = HashMap::from(
        [("max-size", "10m"), ("max-file", "3"), ("compress", "true"), ("mode", "non-blocking")]
            .map(|(name, value)| (name.to_owned(), value.to_owned())),
    );
    ContainerCreateBody {
        image: Some(image.to_owned()),
        cmd: Some(vec!["serve".to_owned(), PORT.to_string()]),
        exposed_ports: Some(vec![container_port.clone()]),
        labels: Some(HashMap::from([("muster.bench".to_owned(), "floor".to_owned())])),
        host_config: Some(HostConfig {
            memory: Some(16 << 20),
            memory_swap: Some(16 << 20),
            nano_cpus: Some(200_000_000),
            port_bindings: Some(HashMap::from([(container_port, Some(vec![binding]))])),
            security_opt: Some(vec!["no-new-privileges".to_owned()]),
            cap_drop: Some(["NET_RAW", "MKNOD", "AUDIT_WRITE", "SETFCAP"].map(str::to_owned).into()),
            log_config: Some(HostConfigLogConfig { typ: Some("json-file".to_owned()), config: Some(logs) }),
            ..HostConfig::default()
        }),
        ..ContainerCreateBody::default()
    }
}
