//! An engine that begins commands late, and one that cannot give what it is asked for.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::http::{StatusCode, Uri};
use axum::routing::{get, post};
use axum::{Json, Router};
use muster_common::id::{ExecutorId, InstanceId};
use muster_executor::{CALL_LIMIT, DockerRunner, Found, LaunchPlan, Runner, RunnerError};
use muster_tests::agent::place;
use serde_json::json;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, copy};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::task::AbortOnDropHandle;

use super::{Bench, ENGINE, LONG, PATIENCE, id, remove, start};

/// Stands before the real engine and keeps back what would begin a command, until it is let through.
struct SlowEngine {
    socket: PathBuf,
    gate: Arc<Semaphore>,
    _relay: AbortOnDropHandle<()>,
}

impl SlowEngine {
    fn before_the_real_one(dir: &Path) -> Self {
        let socket = dir.join("slow.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let gate = Arc::new(Semaphore::new(0));
        let relay = tokio::spawn({
            let gate = Arc::clone(&gate);
            async move {
                while let Ok((near, _)) = listener.accept().await {
                    let far = UnixStream::connect(ENGINE).await.unwrap();
                    let (from_caller, mut to_caller) = near.into_split();
                    let (mut from_engine, to_engine) = far.into_split();
                    tokio::spawn(pass(from_caller, to_engine, Arc::clone(&gate)));
                    // Who hangs up first ends it.
                    tokio::spawn(async move { copy(&mut from_engine, &mut to_caller).await });
                }
            }
        });
        Self { socket, gate, _relay: AbortOnDropHandle::new(relay) }
    }

    fn let_through(&self) {
        self.gate.add_permits(Semaphore::MAX_PERMITS);
    }
}

/// Passes on what a caller says, whole requests at a time, also when it hung up meanwhile.
async fn pass(mut caller: impl AsyncRead + Unpin, mut engine: impl AsyncWrite + Unpin, gate: Arc<Semaphore>) {
    let mut chunk = vec![0; 64 << 10];
    let mut held_back = false;
    while let Ok(count @ 1..) = caller.read(&mut chunk).await {
        let request = String::from_utf8_lossy(&chunk[..count]);
        let line = request.lines().next().unwrap_or_default();
        if line.contains("/exec/") && line.contains("/start") {
            gate.acquire().await.unwrap().forget();
            held_back = true;
        }
        if engine.write_all(&chunk[..count]).await.is_err() {
            return;
        }
    }
    if held_back {
        // An engine that sees its caller hang up may not begin at all. This one does not see it before the test ends.
        std::future::pending::<()>().await;
    }
}

#[tokio::test]
async fn docker_command_that_the_engine_begins_late_is_cut_off_and_killed_once_it_runs() {
    let test = "docker_command_that_the_engine_begins_late_is_cut_off_and_killed_once_it_runs";
    let Some(bench) = Bench::new(test).await else { return };
    let slow = SlowEngine::before_the_real_one(bench.dir.path());
    let (runner, _events) = bench.open_at(&slow.socket);
    let plan = bench.plan(&["sleep"]);
    let workload = start(&runner, &plan).await;
    let argv = ["/service", "deaf"].map(str::to_owned);

    let begun = Instant::now();
    let error = Runner::command(&runner, &plan, &workload, &argv, Duration::from_secs(1)).await.unwrap_err();
    let RunnerError::Unavailable(why) = &error else { panic!("{error}") };
    assert!(why.contains("did not begin the command within 1s"), "{why}");
    assert!(begun.elapsed() < LONG, "it was not cut off: {:?}", begun.elapsed());
    let commands = bench.inspect(&workload).await.exec_ids.unwrap_or_default();
    let [command] = commands.as_slice() else { panic!("{commands:?}") };
    let seen = bench.engine.inspect_exec(command).await.unwrap();
    assert_eq!((seen.pid.unwrap_or_default(), seen.exit_code), (0, None), "it has begun");

    slow.let_through();
    let begun = Instant::now();
    let mut ran = false;
    loop {
        // It may be over between two looks: then the engine still knows the pid that it had.
        ran |= bench.engine.inspect_exec(command).await.unwrap().pid.unwrap_or_default() > 0;
        let top = bench.engine.top_processes(id(&workload), None).await.unwrap();
        if ran && top.processes.unwrap().len() == 1 {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "nobody ends it (begun: {ran})");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let found = Runner::find(&runner, &plan.instance, None).await.unwrap();
    assert_eq!(found, Found::Running(workload.clone()), "the container was not touched");
    remove(&runner, &plan).await;
}

/// Makes and starts containers, and says that it left something away.
fn poor_engine(socket: &Path) -> AbortOnDropHandle<()> {
    let made =
        || async { (StatusCode::CREATED, Json(json!({"Id": "c1", "Warnings": ["no memory limit here"]}))) };
    let unknown = |uri: Uri| async move {
        (StatusCode::NOT_IMPLEMENTED, Json(json!({"message": format!("nobody answers {uri} here")})))
    };
    let engine = Router::new()
        .fallback(unknown)
        .route("/version", get(|| async { Json(json!({"ApiVersion": "1.41"})) }))
        .route("/containers/create", post(made))
        .route("/containers/c1/start", post(|| async { StatusCode::NO_CONTENT }));
    let listener = UnixListener::bind(socket).unwrap();
    AbortOnDropHandle::new(tokio::spawn(async move { axum::serve(listener, engine).await.unwrap() }))
}

#[tokio::test]
async fn what_an_engine_leaves_away_stays_with_the_workload() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("poor.sock");
    let _engine = poor_engine(&socket);
    let (sender, _events) = mpsc::channel(16);
    let executor = ExecutorId::new("test").unwrap();
    let runner = DockerRunner::open(&socket, &executor, dir.path(), CALL_LIMIT, sender);
    let spec = json!({"name": "test", "version": "1",
        "executable": {"type": "DOCKER", "url": "test:1", "dockerPullTimeout": "20s"}});
    let plan = LaunchPlan {
        instance: InstanceId::new("SI-1").unwrap(),
        place: place(),
        spec: Arc::new(serde_json::from_value(spec).unwrap()),
        env: BTreeMap::new(),
    };
    let workload = Runner::start(&runner, &plan).await.unwrap();
    assert_eq!(workload.warnings(), ["no memory limit here"]);
    assert_eq!(id(&workload), "c1");
}
