//! Where containers are reached: at their own addresses, without the engine's proxy.

use std::time::{Duration, Instant};

use muster_common::instance::{InstancePort, RunnerKind};
use muster_common::spec::{CheckMode, PortType};
use muster_executor::{NodeProber, Prober, Workload};
use muster_tests::ports::free_port;
use serde_json::json;

use super::{Bench, LONG, PATIENCE, id};

/// Where a container is in the engine's own network.
async fn own_address(bench: &Bench, workload: &Workload) -> String {
    let networks = bench.inspect(workload).await.network_settings.unwrap().networks.unwrap();
    networks["bridge"].ip_address.clone().unwrap_or_default()
}

#[tokio::test]
async fn docker_container_that_is_moved_to_another_address_is_probed_there() {
    let test = "docker_container_that_is_moved_to_another_address_is_probed_there";
    let Some(bench) = Bench::new(test).await else { return };
    let runners = bench.open_all().await;
    let prober = NodeProber::new(&runners);
    let runner = runners.of(RunnerKind::Docker).unwrap();
    // No other test serves this one: whoever is given the old address must not answer in its place.
    let own_port = 8137;
    let mut plan = bench.plan(&["serve", &own_port.to_string()]);
    // Not published: only its own address leads to it.
    let port = InstancePort { container_port: own_port, host_port: free_port(), port_type: PortType::Tcp };
    let launched = plan.clone();
    plan.place.local_info.ports.insert("main".to_owned(), port);
    runner.provision(&launched).await.unwrap();
    let workload = runner.start(&launched).await.unwrap();
    let tcp: CheckMode = serde_json::from_value(json!({"type": "TCP", "portName": "main"})).unwrap();
    let until_it_passes = async || {
        let begun = Instant::now();
        while !prober.probe(&tcp, Duration::from_secs(1), &plan, &workload).await.passed {
            assert!(begun.elapsed() < PATIENCE, "it never passes");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    until_it_passes().await;
    let before = runner.address(&plan.instance, &workload, LONG).await.unwrap().unwrap();
    let mut others = Vec::new();
    while own_address(&bench, &workload).await == before.to_string() {
        assert!(others.len() < 20, "it is given the same address again and again");
        let name = id(&workload).to_owned();
        let leave = bollard::models::NetworkDisconnectRequest { container: name.clone(), force: None };
        bench.engine.disconnect_network("bridge", leave).await.unwrap();
        // Its old address goes to another one, unless the engine has a better one for that.
        let other = bench.plan(&["sleep"]);
        runner.start(&other).await.unwrap();
        others.push(other.instance);
        let join = bollard::models::NetworkConnectRequest { container: name, ..Default::default() };
        bench.engine.connect_network("bridge", join).await.unwrap();
    }
    until_it_passes().await;
    assert_ne!(runner.address(&plan.instance, &workload, LONG).await.unwrap().unwrap(), before);
    for instance in others.iter().chain([&plan.instance]) {
        runner.remove(instance).await.unwrap();
    }
}

#[tokio::test]
async fn docker_port_is_not_open_before_the_container_listens() {
    let Some(bench) = Bench::new("docker_port_is_not_open_before_the_container_listens").await else {
        return;
    };
    let runners = bench.open_all().await;
    let prober = NodeProber::new(&runners);
    let runner = runners.of(RunnerKind::Docker).unwrap();
    let tcp: CheckMode = serde_json::from_value(json!({"type": "TCP", "portName": "main"})).unwrap();
    for (args, listens) in [(&["sleep"][..], false), (&["serve", "8000"][..], true)] {
        let mut plan = bench.plan(args);
        let port = InstancePort { container_port: 8000, host_port: free_port(), port_type: PortType::Tcp };
        plan.place.local_info.ports.insert("main".to_owned(), port.clone());
        runner.provision(&plan).await.unwrap();
        let workload = runner.start(&plan).await.unwrap();
        // In front of it stands the engine's proxy, which takes connections from the start.
        let published = tokio::net::TcpStream::connect(("127.0.0.1", port.host_port)).await;
        let begun = Instant::now();
        let outcome = loop {
            let outcome = prober.probe(&tcp, LONG, &plan, &workload).await;
            if outcome.passed || !listens || begun.elapsed() > PATIENCE {
                break outcome;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        assert_eq!(outcome.passed, listens, "{} (published: {published:?})", outcome.answer);
        assert!(listens || outcome.answer.contains("refused"), "{}", outcome.answer);
        runner.remove(&plan.instance).await.unwrap();
    }
}
