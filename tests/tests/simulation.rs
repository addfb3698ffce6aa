//! Three controllers and two executors, the real code, in one thread under a seeded clock and network.
//!
//! A failing seed is replayed by `MUSTER_SIM_SEED=<seed> cargo test -p muster-tests --test simulation`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test fails by panicking

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use hyper::Method;
use muster_common::id::ControllerId;
use muster_platform::World;
use muster_tests::simulation::{
    Fleet, SimulatedNode, api_address, call, controller_host, executor_host, simulated_world,
};
use serde_json::{Value, json};

const CONTROLLERS: u64 = 3;
const EXECUTORS: u64 = 2;
const SERVICE: &str = "agent-1";
/// Simulated time, not real: one run takes some seconds.
const LIMIT: Duration = Duration::from_secs(180);
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// What was seen, with its simulated time: two runs of one seed must agree in every line.
type Trace = Rc<RefCell<Vec<String>>>;

#[test]
fn a_partitioned_leader_is_replaced_and_nothing_is_restarted() {
    let seed = std::env::var("MUSTER_SIM_SEED").ok().map_or(1, |seed| seed.parse().expect("a number"));
    println!("seed {seed}");
    let first = simulate(seed);
    let again = simulate(seed);
    for line in &first {
        println!("{line}");
    }
    assert_eq!(first, again, "seed {seed} did not replay");
}

#[test]
fn another_seed_is_another_history() {
    assert_ne!(simulate(2), simulate(3));
}

fn simulate(seed: u64) -> Vec<String> {
    let fleet = Fleet::new(seed, CONTROLLERS, EXECUTORS);
    let mut sim = turmoil::Builder::new()
        .rng_seed(seed)
        .enable_random_order()
        .simulation_duration(LIMIT)
        .min_message_latency(Duration::from_millis(1))
        .max_message_latency(Duration::from_millis(5))
        .build();
    fleet.join(&mut sim);
    let trace = Trace::default();
    let client = Client { world: simulated_world(seed), trace: trace.clone() };
    let nodes = fleet.nodes();
    sim.client("operator", async move {
        client.deploy().await;
        let deployed: Vec<_> = nodes.iter().map(SimulatedNode::running).collect();

        let leader = client.leader(&all()).await;
        let others: Vec<ControllerId> = all().into_iter().filter(|id| *id != leader).collect();
        cut_off(leader, &others);
        client.note(&format!("{leader} is cut off"));
        // Longer than an executor may be silent: whoever counted on the old leader would show it.
        let successor = client.leader(&others).await;
        client.note(&format!("{successor} leads"));
        client.write(successor).await;
        tokio::time::sleep(Duration::from_secs(15)).await;
        client.healthy(successor, 2 * EXECUTORS).await;

        join_again(leader, &others);
        client.note(&format!("{leader} is back"));
        client.healthy(leader, 2 * EXECUTORS).await;
        for (node, deployed) in nodes.iter().zip(deployed) {
            let running = node.running();
            assert_eq!((node.starts(), running.len()), (2, 2), "a partition restarts nothing");
            assert!(deployed.iter().all(|instance| running.contains(instance)), "{deployed:?} {running:?}");
            client.note(&format!("{running:?}"));
        }
        Ok(())
    });
    sim.run().unwrap_or_else(|error| panic!("seed {seed}: {error}; {:#?}", trace.borrow()));
    trace.take()
}

fn all() -> Vec<ControllerId> {
    (1..=CONTROLLERS).map(ControllerId).collect()
}

/// Separates `leader` from the other controllers and from the executors; the operator still reaches it.
fn cut_off(leader: ControllerId, others: &[ControllerId]) {
    for peer in peers(others) {
        turmoil::partition(controller_host(leader), peer);
    }
}

fn join_again(leader: ControllerId, others: &[ControllerId]) {
    for peer in peers(others) {
        turmoil::repair(controller_host(leader), peer);
    }
}

fn peers(others: &[ControllerId]) -> Vec<String> {
    let executors = (1..=EXECUTORS).map(executor_host);
    others.iter().copied().map(controller_host).chain(executors).collect()
}

struct Client {
    world: World,
    trace: Trace,
}

impl Client {
    fn note(&self, what: &str) {
        let at = turmoil::sim_elapsed().unwrap_or_default();
        self.trace.borrow_mut().push(format!("{at:?} {what}"));
    }

    async fn deploy(&self) {
        let leader = self.leader(&all()).await;
        self.note(&format!("{leader} leads"));
        self.until("two executors are in", async || {
            let executors = self.get(leader, "cluster/executors").await?;
            (executors.as_array()?.len() == 2).then_some(())
        })
        .await;
        let through = all().into_iter().find(|id| *id != leader).unwrap();
        self.operate(through, json!({"type": "CREATE", "spec": spec(), "instancesPerHost": 1})).await;
        self.operate(through, json!({"type": "ACTIVATE", "serviceId": SERVICE})).await;
        self.healthy(through, EXECUTORS).await;
    }

    /// A write that is carried out while the old leader is cut off.
    async fn write(&self, through: ControllerId) {
        let count = json!({"type": "UPDATE_INSTANCE_COUNT", "serviceId": SERVICE, "instancesPerHost": 2});
        self.operate(through, count).await;
        self.healthy(through, 2 * EXECUTORS).await;
    }

    /// Submits an operation; tries again while there is no leader.
    async fn operate(&self, through: ControllerId, operation: Value) {
        self.until(&format!("{} is accepted", operation["type"]), async || {
            let path = "/apis/v1/localservices/operations";
            let answer = call(&self.world, &api_address(through), Method::POST, path, Some(&operation)).await;
            match answer {
                Ok((status, answer)) if status.is_client_error() => panic!("{status} {answer}"),
                Ok((status, _)) => status.is_success().then_some(()),
                Err(_) => None,
            }
        })
        .await;
        self.note(&format!("{} accepted through {through}", operation["type"]));
    }

    async fn healthy(&self, through: ControllerId, count: u64) {
        self.until(&format!("{count} healthy through {through}"), async || {
            let instances = self.get(through, &format!("localservices/{SERVICE}/instances")).await?;
            let healthy =
                instances.as_array()?.iter().filter(|instance| instance["state"] == "HEALTHY").count();
            (u64::try_from(healthy).ok()? == count).then_some(())
        })
        .await;
        self.note(&format!("{count} healthy through {through}"));
    }

    /// Whom one of `asked` names as the leader, if that is one of them.
    async fn leader(&self, asked: &[ControllerId]) -> ControllerId {
        self.until("a leader", async || {
            for id in asked {
                let Some(summary) = self.get(*id, "cluster").await else { continue };
                let named = asked.iter().find(|id| summary["leader"] == api_address(**id));
                if named.is_some() {
                    return named.copied();
                }
            }
            None
        })
        .await
    }

    async fn get(&self, from: ControllerId, path: &str) -> Option<Value> {
        let path = format!("/apis/v1/{path}");
        let (status, mut answer) =
            call(&self.world, &api_address(from), Method::GET, &path, None).await.ok()?;
        status.is_success().then(|| answer["data"].take())
    }

    /// Bounded by the simulation's duration, which fails the test with what was seen until then.
    async fn until<T>(&self, what: &str, attempt: impl AsyncFn() -> Option<T>) -> T {
        self.note(&format!("waiting until {what}"));
        loop {
            if let Some(found) = attempt().await {
                return found;
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }
}

fn spec() -> Value {
    let check = json!({
        "mode": {"type": "CMD", "command": "true"},
        "timeout": "1s", "interval": "1s", "attempts": 3
    });
    json!({
        "name": "agent", "version": "1", "type": "LOCAL_SERVICE",
        "executable": {"type": "PROCESS", "command": ["/bin/agent"]},
        "exposedPorts": [{"name": "main", "port": 8080, "type": "HTTP"}],
        "resources": [{"type": "CPU", "count": 1}, {"type": "MEMORY", "sizeInMB": 64}],
        "placementPolicy": {"type": "LOCAL", "hostLevel": false},
        "readiness": check, "healthcheck": check,
    })
}
