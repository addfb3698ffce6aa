//! Pulls, with a real engine and a registry on this machine. Skipped where no engine answers, unless
//! `MUSTER_REQUIRE_DOCKER=1` is set.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test fails by panicking

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use bollard::Docker;
use bollard::query_parameters::RemoveImageOptionsBuilder;
use muster_common::id::{ExecutorId, InstanceId};
use muster_common::spec::LocalServiceSpec;
use muster_executor::{CALL_LIMIT, DockerConfig, DockerRunner, LaunchPlan, ProvisionError, Runner};
use muster_tests::agent::{place, until};
use muster_tests::docker_image::engine_or_skip;
use muster_tests::registry::Registry;
use serde_json::json;
use tokio::sync::mpsc;
use uuid::Uuid;

/// A runner whose node has this `config.json`.
fn runner(dir: &Path, login: Option<(&Registry, &str)>) -> Arc<DockerRunner> {
    if let Some((registry, auth)) = login {
        let file = json!({"auths": {registry.address(): {"auth": auth}}}).to_string();
        std::fs::write(dir.join("config.json"), file).unwrap();
    }
    let (sender, _events) = mpsc::channel(1);
    let executor = ExecutorId::new(format!("test-{}", Uuid::new_v4())).unwrap();
    let config =
        DockerConfig { pulls_in_flight: 2, credentials: Some(dir.to_owned()), ..DockerConfig::default() };
    let socket = Path::new("/var/run/docker.sock");
    Arc::new(DockerRunner::open(socket, &executor, dir, CALL_LIMIT, sender).configured(&config))
}

fn plan(image: &str, limit: &str) -> LaunchPlan {
    let spec = json!({
        "name": "test", "version": "1",
        "executable": {"type": "DOCKER", "url": image, "dockerPullTimeout": limit},
    });
    LaunchPlan {
        env: BTreeMap::new(),
        instance: InstanceId::from_uuid(Uuid::new_v4()),
        place: place(),
        spec: Arc::new(LocalServiceSpec::from_json(spec.to_string().as_bytes()).unwrap()),
    }
}

type Provision = tokio::task::JoinHandle<Result<(), ProvisionError>>;

fn provision(runner: &Arc<DockerRunner>, image: &str, limit: &str) -> Provision {
    let (runner, plan) = (Arc::clone(runner), plan(image, limit));
    tokio::spawn(async move { Runner::provision(&*runner, &plan).await })
}

async fn forget(engine: &Docker, image: &str) {
    let options = RemoveImageOptionsBuilder::default().force(true).build();
    engine.remove_image(image, Some(options), None).await.unwrap();
}

#[tokio::test]
async fn docker_pulls_an_image_once_for_all_and_not_again() {
    let Some(engine) = engine_or_skip("docker_pulls_an_image_once_for_all_and_not_again").await else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let registry = Registry::open(None).await.unwrap();
    let runner = runner(dir.path(), None);
    let image = format!("{}/web:1", registry.address());
    registry.hold(true);
    let mut waiters: Vec<_> = (0..8).map(|_| provision(&runner, &image, "50s")).collect();
    until("the pull is under way", || registry.waiting() == 1).await;
    // One that is let go takes nothing from the others.
    waiters.pop().unwrap().abort();
    registry.hold(false);
    for waiter in waiters {
        waiter.await.unwrap().unwrap();
    }
    assert_eq!((registry.layers_fetched(), registry.most_waiting()), (1, 1));

    // The registry is away, the image is present.
    drop(registry);
    provision(&runner, &image, "20s").await.unwrap().unwrap();
    forget(&engine, &image).await;
    let error = provision(&runner, &image, "20s").await.unwrap().unwrap_err().to_string();
    assert!(error.contains("check that this node reaches the registry"), "{error}");
}

#[tokio::test]
async fn docker_pulls_a_few_at_a_time_and_lets_go() {
    let Some(engine) = engine_or_skip("docker_pulls_a_few_at_a_time_and_lets_go").await else { return };
    let dir = tempfile::tempdir().unwrap();
    let registry = Registry::open(None).await.unwrap();
    let runner = runner(dir.path(), None);
    registry.hold(true);
    let images: Vec<_> = (0..4).map(|n| format!("{}/many-{n}:1", registry.address())).collect();
    let waiters: Vec<_> = images.iter().map(|image| provision(&runner, image, "50s")).collect();
    until("two pulls are under way", || registry.waiting() == 2).await;
    // Which of them have their turn is not said; of each two kinds of waiters for the same image, one is hasty.
    let hasty: Vec<_> = images.iter().map(|image| provision(&runner, image, "1s")).collect();
    until("those that are under way are over", || {
        hasty.iter().filter(|hasty| hasty.is_finished()).count() == 2
    })
    .await;
    for waiter in hasty {
        // The time of those that wait for their turn has not begun.
        if !waiter.is_finished() {
            waiter.abort();
            continue;
        }
        let error = waiter.await.unwrap().unwrap_err().to_string();
        assert!(error.contains("timed out in pull after 1s; last progress: "), "{error}");
    }
    assert_eq!(registry.most_waiting(), 2);
    // Let go of: there is room for others at once, though the registry still holds its answers.
    for waiter in waiters {
        waiter.abort();
    }
    let asked = registry.manifests_asked();
    let image = format!("{}/other:1", registry.address());
    let waiter = provision(&runner, &image, "50s");
    until("there is room again", || registry.manifests_asked() > asked).await;
    registry.hold(false);
    waiter.await.unwrap().unwrap();
    forget(&engine, &image).await;
}

#[tokio::test]
async fn docker_pulls_with_the_credentials_of_the_node() {
    let Some(engine) = engine_or_skip("docker_pulls_with_the_credentials_of_the_node").await else { return };
    let dir = tempfile::tempdir().unwrap();
    // me:hush???>>>~~~üü, which has every letter that is written in two ways.
    let auth = "bWU6aHVzaD8/Pz4+Pn5+fsO8w7w=";
    let registry = Registry::open(Some(&format!("Basic {auth}"))).await.unwrap();
    let image = format!("{}/private@{}", registry.address(), registry.digest());
    let nobody = runner(dir.path(), None);
    let error = provision(&nobody, &image, "20s").await.unwrap().unwrap_err().to_string();
    assert!(error.contains("run docker login"), "{error}");
    // Read anew at each pull.
    let known = runner(dir.path(), Some((&registry, "bWU6d3Jvbmc="))); // me:wrong
    let error = provision(&known, &image, "20s").await.unwrap().unwrap_err().to_string();
    assert!(error.contains("does not take this node's credentials") && !error.contains("wrong"), "{error}");
    let _ = runner(dir.path(), Some((&registry, auth)));
    provision(&known, &image, "20s").await.unwrap().unwrap();
    assert_eq!(registry.layers_fetched(), 1);
    forget(&engine, &image).await;
}
