//! Running the client and reading what it prints.

use muster_common::instance::{InstanceInfo, InstanceState};
use muster_common::service::{ServiceState, ServiceSummary};
use muster_tests::cluster::DevCluster;
use muster_tests::python::Installed;

/// What the client begins its failures with; none of it is in anything that works.
const TROUBLE: [&str; 5] =
    ["Drove CLI error", "Error making Drove call", "Error: [", "Traceback", "usage: drove"];

/// The client in front of a cluster.
pub(crate) struct Drove<'a> {
    pub(crate) client: &'a Installed,
    pub(crate) cluster: &'a DevCluster,
    pub(crate) endpoint: String,
}

impl Drove<'_> {
    /// Runs a command that works and prints all these parts; all that it prints.
    pub(crate) fn says(&self, command: &[&str], parts: &[&str]) -> String {
        let printed = self.run(command);
        let trouble = TROUBLE.iter().find(|trouble| printed.contains(**trouble));
        assert_eq!(trouble, None, "{command:?}: {printed}");
        for part in parts {
            assert!(printed.contains(part), "{command:?} does not print {part:?}: {printed}");
        }
        printed
    }

    /// Runs a command that fails and says why.
    pub(crate) fn fails(&self, command: &[&str], parts: &[&str]) {
        let printed = self.run(command);
        assert!(TROUBLE.iter().any(|trouble| printed.contains(trouble)), "{command:?} works: {printed}");
        assert!(
            !printed.contains("Drove CLI error"),
            "{command:?} is not understood by the client: {printed}"
        );
        for part in parts {
            assert!(printed.contains(part), "{command:?} does not print {part:?}: {printed}");
        }
    }

    /// Waits until a service is in a state.
    pub(crate) fn until_state(&self, service: &str, state: ServiceState) {
        self.cluster.wait_for(&format!("{service} to be {state}"), || {
            let path = format!("localservices/{service}");
            let summary: Option<ServiceSummary> = self.cluster.try_get(&self.endpoint, &path).ok();
            summary.filter(|summary| summary.state == state).map(drop)
        });
    }

    /// So many healthy instances of a service, and no others.
    pub(crate) fn healthy(&self, service: &str, count: usize) -> Vec<InstanceInfo> {
        self.cluster.wait_for(&format!("{count} healthy instances of {service}"), || {
            let all = self.cluster.instances(service);
            let is_healthy = all.iter().all(|instance| instance.state == InstanceState::Healthy);
            Some(all).filter(|all| is_healthy && all.len() == count)
        })
    }

    /// Waits until a service has no instance left.
    pub(crate) fn until_none(&self, service: &str) {
        self.cluster.wait_for("the last instance to be gone", || {
            self.cluster.instances(service).is_empty().then_some(())
        });
    }

    /// Whether there is such a path; an unknown one is answered 404 without a body.
    pub(crate) fn serves(&self, path: &str) -> bool {
        let answer = reqwest::blocking::Client::builder().no_proxy().build().unwrap();
        let answer = answer.get(format!("{}/apis/v1/{path}", self.endpoint)).send().unwrap();
        answer.status() != reqwest::StatusCode::NOT_FOUND
    }

    /// Runs a command that goes on until it is ended, until it has printed this.
    pub(crate) fn follows(&self, command: &[&str], text: &str) {
        self.client.follow_until(&self.addressed(command), text);
    }

    fn run(&self, command: &[&str]) -> String {
        self.client.run(&self.addressed(command))
    }

    /// To this cluster, whatever the client's configuration says.
    fn addressed<'b>(&'b self, command: &[&'b str]) -> Vec<&'b str> {
        [&["-e", self.endpoint.as_str()][..], command].concat()
    }
}
