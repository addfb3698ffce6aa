//! Three controllers: any one answers any call, and the leader alone has sessions.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test says so by failing

mod common;

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use common::executor::{Session, register};
use common::{Cluster, spec};
use futures::future::BoxFuture;
use muster_controller::LivenessConfig;
use muster_platform::{Listener, Network, Stream, World};
use muster_proto::v1::controller_message::Body as Down;
use serde_json::json;

#[tokio::test]
async fn a_write_through_a_follower_is_read_on_all() {
    let cluster = Cluster::start(3).await;
    let leader = cluster.leader().await;
    let follower = (leader + 1) % 3;
    let create = json!({"type": "CREATE", "spec": spec("WEB"), "instancesPerHost": 1});
    let operation = cluster.submit(follower, create).await;
    let address = cluster.controllers[leader].api_addr().to_string();
    for controller in 0..3 {
        let (_, body) = cluster.get(controller, "/localservices").await;
        assert_eq!(body["data"]["WEB-1"]["id"], json!("WEB-1"), "controller {controller}: {body}");
        let (_, body) = cluster.get(controller, &format!("/localservices/operations/{operation}")).await;
        assert_eq!(body["data"]["state"], json!("SUCCEEDED"), "controller {controller}: {body}");
        let (_, body) = cluster.get(controller, "/cluster").await;
        assert_eq!(body["data"]["leader"], json!(address), "controller {controller}");
    }
    cluster.stop().await;
}

#[tokio::test]
async fn a_follower_sends_executors_to_the_leader() {
    let cluster = Cluster::start(3).await;
    let leader = cluster.leader().await;
    let tls = cluster.executor("e1");
    let leads = cluster.controllers[leader].cluster_addr().to_string();
    let follower = cluster.controllers[(leader + 1) % 3].cluster_addr().to_string();
    let mut refused = Session::open(&tls, &follower, register("e1", 1, 0)).await.unwrap();
    match refused.next().await {
        Ok(Some(Down::NotLeader(hint))) => assert_eq!(hint.leader_address, leads),
        other => panic!("{other:?}"),
    }
    assert!(matches!(refused.next().await, Ok(None)), "the stream ends");
    let mut session = Session::open(&tls, &leads, register("e1", 1, 0)).await.unwrap();
    session.welcome().await;
    cluster.stop().await;
}

#[tokio::test]
async fn when_the_leader_goes_another_one_answers_and_takes_the_session() {
    let mut cluster = Cluster::start(3).await;
    let leader = cluster.leader().await;
    let tls = cluster.executor("e1");
    let leads = cluster.controllers[leader].cluster_addr().to_string();
    let mut session = Session::open(&tls, &leads, register("e1", 1, 0)).await.unwrap();
    session.welcome().await;
    let term = session.term;
    cluster.controllers.remove(leader).shutdown().await;
    session.end().await;

    let create = json!({"type": "CREATE", "spec": spec("WEB"), "instancesPerHost": 1});
    cluster.submit(0, create).await;
    for controller in 0..2 {
        let (_, body) = cluster.get(controller, "/localservices/WEB-1").await;
        assert_eq!(body["data"]["id"], json!("WEB-1"), "{body}");
    }
    let leader = cluster.leader().await;
    let leads = cluster.controllers[leader].cluster_addr().to_string();
    let mut session = Session::open(&tls, &leads, register("e1", 1, 0)).await.unwrap();
    session.welcome().await;
    assert!(session.term > term);
    cluster.stop().await;
}

/// Counts the connections to one address.
#[derive(Default)]
struct Counting {
    address: Mutex<String>,
    connections: AtomicUsize,
}

struct CountingNetwork(Arc<dyn Network>, Arc<Counting>);

impl Network for CountingNetwork {
    fn connect<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Stream>> {
        if *self.1.address.lock().unwrap() == address {
            self.1.connections.fetch_add(1, Ordering::Relaxed);
        }
        self.0.connect(address)
    }

    fn bind<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Listener>>> {
        self.0.bind(address)
    }
}

#[tokio::test]
async fn a_controller_that_is_down_is_looked_for_calmly() {
    let counting = Arc::new(Counting::default());
    let world = World::system();
    let network = Arc::new(CountingNetwork(Arc::clone(&world.network), Arc::clone(&counting)));
    let mut cluster = Cluster::start_in(World { network, ..world }, 3, LivenessConfig::default()).await;
    let follower = (cluster.leader().await + 1) % 3;
    let gone = cluster.controllers.remove(follower);
    *counting.address.lock().unwrap() = gone.cluster_addr().to_string();
    gone.shutdown().await;
    let before = counting.connections.load(Ordering::Relaxed);
    // Writes are what makes the leader want to send something.
    let begun = Instant::now();
    let mut writes = 0;
    while begun.elapsed() < Duration::from_secs(2) {
        let create = json!({"type": "CREATE", "spec": spec(&format!("S{writes}")), "instancesPerHost": 1});
        cluster.submit(0, create).await;
        writes += 1;
    }
    let attempts = counting.connections.load(Ordering::Relaxed) - before;
    // Heartbeats, every 100 ms, and replication, which pauses for as long after each failure.
    let allowed = begun.elapsed().as_millis() / 20;
    assert!(attempts as u128 <= allowed, "{attempts} connections, {allowed} allowed, with {writes} writes");
    cluster.stop().await;
}

#[tokio::test]
async fn without_a_majority_calls_say_what_to_do_and_stale_reads_still_answer() {
    let mut cluster = Cluster::start(3).await;
    let create = json!({"type": "CREATE", "spec": spec("WEB"), "instancesPerHost": 1});
    cluster.submit(0, create.clone()).await;
    for controller in 0..3 {
        cluster.get(controller, "/localservices/WEB-1").await;
    }
    let last = cluster.controllers.pop().unwrap();
    let rest = std::mem::replace(&mut cluster.controllers, vec![last]);
    for controller in rest {
        controller.shutdown().await;
    }
    let (status, body) = cluster.get(0, "/localservices/WEB-1").await;
    assert_eq!((status, &body["status"]), (503, &json!("FAILED")), "{body}");
    assert!(body["message"].as_str().unwrap().contains("?stale=true"), "{body}");
    let (status, body) = cluster.get(0, "/localservices/WEB-1?stale=true").await;
    assert_eq!((status, &body["data"]["id"]), (200, &json!("WEB-1")), "{body}");
    let backup =
        |query: &str| cluster.http.get(cluster.url(0, &format!("/apis/v1/cluster/backup{query}"))).send();
    assert_eq!(backup("").await.unwrap().status(), 503);
    let stale = backup("?stale=true").await.unwrap();
    assert_eq!(stale.status(), 200);
    let header = muster_controller::backup::check(&stale.bytes().await.unwrap()[..]).unwrap();
    assert_eq!(header.cluster, "test");
    assert!(header.revision > 0);
    assert_eq!(cluster.get(0, "/ping").await.0, 200);
    let (status, body) = cluster.post(0, "/localservices/operations", create.to_string()).await;
    assert_eq!(status, 503, "{body}");
    assert!(body["message"].as_str().unwrap().contains("try again"), "{body}");
    cluster.stop().await;
}
