//! The executor and trouble with its engine: the real program with real containers on an engine of the test's
//! own, which is restarted, killed, frozen. Skipped where none can be had, unless `MUSTER_REQUIRE_DOCKER=1` is set.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test fails by panicking

use muster_tests::docker_image::import_into;
use muster_tests::engine::PrivateEngine;

#[tokio::test]
async fn docker_engine_of_a_test_is_restarted_and_killed() {
    let test = "docker_engine_of_a_test_is_restarted_and_killed";
    let Some(mut engine) = PrivateEngine::start_or_skip(test, true) else { return };
    let image = import_into(&engine.client().unwrap()).await.unwrap();
    engine.restart().unwrap();
    engine.kill().unwrap();
    engine.start().unwrap();
    engine.client().unwrap().inspect_image(&image).await.unwrap();
}
