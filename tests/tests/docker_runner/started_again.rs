//! Containers that somebody starts again by hand.

use std::time::Instant;

use bollard::query_parameters::RestartContainerOptionsBuilder;

use super::{Bench, PATIENCE, code, exited, id, remove, start};

#[tokio::test]
async fn docker_container_that_is_over_and_started_again_by_hand_is_killed() {
    let test = "docker_container_that_is_over_and_started_again_by_hand_is_killed";
    let Some(bench) = Bench::new(test).await else { return };
    let (runner, mut events) = bench.open();
    let (plan, other) = (bench.plan(&["serve", "8000"]), bench.plan(&["serve", "8000"]));
    let (workload, bystander) = (start(&runner, &plan).await, start(&runner, &other).await);
    let again = Some(RestartContainerOptionsBuilder::default().t(30).build());
    bench.engine.restart_container(id(&workload), again).await.unwrap();
    assert_eq!(exited(&mut events).await, (plan.instance.clone(), code(0)), "its first end is its own");
    let deadline = Instant::now() + PATIENCE;
    let ended = loop {
        let state = bench.inspect(&workload).await.state.unwrap();
        if state.running == Some(false) {
            break state;
        }
        assert!(Instant::now() < deadline, "it runs beside the one that takes its place");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    };
    assert_eq!(ended.exit_code, Some(137), "{ended:?}");
    assert_eq!(bench.inspect(&bystander).await.state.unwrap().running, Some(true));
    remove(&runner, &plan).await;
    remove(&runner, &other).await;
}
