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
/// By then whoever is not in session with the leader is UNKNOWN.
const PAST_UNKNOWN: Duration = Duration::from_secs(15);
const DAY_MS: i64 = 86_400_000;

/// What was seen, with its simulated time: two runs of one seed must agree in every line.
type Trace = Rc<RefCell<Vec<String>>>;

#[test]
fn a_partitioned_leader_is_replaced_and_nothing_is_restarted() {
    let first = partition(seed(), Cut::Both);
    let again = partition(seed(), Cut::Both);
    for line in &first {
        println!("{line}");
    }
    assert_eq!(first, again, "seed {} did not replay", seed());
}

#[test]
fn another_seed_is_another_history() {
    assert_ne!(partition(2, Cut::Both), partition(3, Cut::Both));
}

#[test]
fn a_leader_that_is_heard_and_hears_nobody_is_replaced_and_nothing_is_restarted() {
    partition(seed(), Cut::Towards);
}

#[test]
fn a_leader_that_hears_and_is_heard_by_nobody_is_replaced_and_nothing_is_restarted() {
    partition(seed(), Cut::From);
}

#[test]
fn clocks_that_are_set_end_no_operation_and_lose_nobody() {
    simulate(seed(), async |client, fleet| {
        client.deploy().await;
        let leader = client.leader(&all()).await;
        let others: Vec<ControllerId> = all().into_iter().filter(|id| *id != leader).collect();
        let clock = fleet.clock(&controller_host(leader));
        clock.set_by_ms(DAY_MS);
        fleet.clock(&executor_host(1)).set_by_ms(-DAY_MS);
        client.note("the clocks of the leader and of an executor are set");
        tokio::time::sleep(PAST_UNKNOWN).await;
        client.lost_nobody(leader, EXECUTORS).await;

        let restart =
            json!({"type": "RESTART", "serviceId": SERVICE, "opSpec": {"timeout": "1m", "settle": "10s"}});
        client.operate(leader, restart).await;
        client.state_of_restart(leader, "RUNNING").await;
        clock.set_by_ms(-2 * DAY_MS);
        client.note("the leader's clock is set back");
        client.replaced_once(&fleet, 1).await;
        // Whoever goes on with it has another clock again.
        Cut::Both.befall(leader, &others);
        let successor = client.leader(&others).await;
        client.note(&format!("{successor} leads"));
        client.state_of_restart(successor, "SUCCEEDED").await;
        tokio::time::sleep(PAST_UNKNOWN).await;
        client.lost_nobody(successor, EXECUTORS).await;
        client.replaced_once(&fleet, EXECUTORS).await;
    });
}

fn seed() -> u64 {
    let seed = std::env::var("MUSTER_SIM_SEED").ok().map_or(1, |seed| seed.parse().expect("a number"));
    println!("seed {seed}");
    seed
}

/// Runs what an operator does and sees in a cluster of its own; what was seen.
fn simulate(seed: u64, scenario: impl AsyncFnOnce(Client, Rc<Fleet>) + 'static) -> Vec<String> {
    let fleet = Rc::new(Fleet::new(seed, CONTROLLERS, EXECUTORS));
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
    sim.client("operator", async move {
        scenario(client, fleet).await;
        Ok(())
    });
    sim.run().unwrap_or_else(|error| panic!("seed {seed}: {error}; {:#?}", trace.borrow()));
    trace.take()
}

/// A leader is cut off and comes back.
fn partition(seed: u64, cut: Cut) -> Vec<String> {
    simulate(seed, async move |client, fleet| {
        let nodes = fleet.nodes();
        client.deploy().await;
        let deployed: Vec<_> = nodes.iter().map(SimulatedNode::running).collect();

        let leader = client.leader(&all()).await;
        let others: Vec<ControllerId> = all().into_iter().filter(|id| *id != leader).collect();
        cut.befall(leader, &others);
        client.note(&format!("{leader} is cut off: {cut:?}"));
        // Longer than an executor may be silent: whoever counted on the old leader would show it.
        let successor = client.leader(&others).await;
        client.note(&format!("{successor} leads"));
        client.write(successor).await;
        tokio::time::sleep(PAST_UNKNOWN).await;
        client.lost_nobody(successor, 2 * EXECUTORS).await;

        cut.end(leader, &others);
        client.note(&format!("{leader} is back"));
        client.lost_nobody(leader, 2 * EXECUTORS).await;
        for (node, deployed) in nodes.iter().zip(deployed) {
            let running = node.running();
            assert_eq!((node.starts(), running.len()), (2, 2), "a partition restarts nothing");
            assert!(deployed.iter().all(|instance| running.contains(instance)), "{deployed:?} {running:?}");
            client.note(&format!("{running:?}"));
        }
    })
}

fn all() -> Vec<ControllerId> {
    (1..=CONTROLLERS).map(ControllerId).collect()
}

/// What of a leader and all others, controllers and executors, does not arrive. The operator still reaches it.
#[derive(Debug, Clone, Copy)]
enum Cut {
    Both,
    /// It is heard, and hears nobody.
    Towards,
    /// It hears, and nobody hears it.
    From,
}

impl Cut {
    fn befall(self, leader: ControllerId, others: &[ControllerId]) {
        for peer in peers(others) {
            let leader = controller_host(leader);
            match self {
                Self::Both => turmoil::partition(leader, peer),
                Self::Towards => turmoil::partition_oneway(peer, leader),
                Self::From => turmoil::partition_oneway(leader, peer),
            }
        }
    }

    fn end(self, leader: ControllerId, others: &[ControllerId]) {
        for peer in peers(others) {
            let leader = controller_host(leader);
            match self {
                Self::Both => turmoil::repair(leader, peer),
                Self::Towards => turmoil::repair_oneway(peer, leader),
                Self::From => turmoil::repair_oneway(leader, peer),
            }
        }
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

    /// All are healthy, and none of those that are not there any more was given up.
    async fn lost_nobody(&self, through: ControllerId, count: u64) {
        self.healthy(through, count).await;
        let old = self.until("the old instances are told", async || {
            self.get(through, &format!("localservices/{SERVICE}/instances/old")).await
        });
        let old = old.await;
        let replaced = |one: &Value| one["reason"] == "REPLACED";
        assert!(old.as_array().unwrap().iter().all(replaced), "{old}");
    }

    /// The RESTART, as soon as it is like that; it never fails.
    async fn state_of_restart(&self, through: ControllerId, wanted: &str) {
        self.until(&format!("the restart is {wanted}"), async || {
            let operations = self.get(through, &format!("localservices/{SERVICE}/operations")).await?;
            let restart = operations.as_array()?.iter().find(|one| one["kind"] == "RESTART")?.clone();
            assert_ne!(restart["state"], "FAILED", "{restart}");
            (restart["state"] == wanted).then_some(())
        })
        .await;
        self.note(&format!("the restart is {wanted}"));
    }

    /// On so many nodes one instance took the place of another one, and none did so twice.
    async fn replaced_once(&self, fleet: &Fleet, count: u64) {
        self.until(&format!("{count} nodes have started another one"), async || {
            let starts: Vec<u32> = fleet.nodes().iter().map(SimulatedNode::starts).collect();
            assert!(starts.iter().all(|starts| *starts <= 2), "{starts:?}");
            let replaced = starts.iter().filter(|starts| **starts == 2).count();
            (u64::try_from(replaced).ok()? >= count).then_some(())
        })
        .await;
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
