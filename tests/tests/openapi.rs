//! What the API says of itself is true: an independent judge (schemathesis, from `PyPI`) calls whatever the document
//! describes, with what it allows and with what it does not, and finds no failure of a controller and no answer that the
//! document does not tell of.

#![allow(clippy::unwrap_used)] // a test fails by panicking

use muster_tests::cluster::DevCluster;
use muster_tests::python::SCHEMATHESIS;

const PROGRAM: &str = env!("CARGO_BIN_EXE_muster-under-test");
/// How many calls of each kind: enough to meet each refusal, within a minute or two.
const EXAMPLES: &str = "--max-examples=6";
/// So that a failing run can be had again.
const SEED: &str = "--seed=1";

#[test]
fn the_api_does_what_its_description_says() {
    let Some(judge) = SCHEMATHESIS.install_or_skip("the_api_does_what_its_description_says") else { return };
    let cluster = DevCluster::start(PROGRAM, 1, &[]);
    let document = format!("{}/apis/v1/openapi.json", cluster.controllers()[0].rest);
    let checks = "--checks=not_a_server_error,status_code_conformance,content_type_conformance,\
                  response_headers_conformance,response_schema_conformance";
    // Streams go on until somebody leaves; and without its controllers nothing answers any more.
    let without = "--exclude-path-regex=/(watch|logs|exec)$|^/cluster/controllers";
    let (status, printed) = judge.end(&["--no-color", "run", &document, checks, without, EXAMPLES, SEED]);
    assert!(status.success(), "{printed}");
}
