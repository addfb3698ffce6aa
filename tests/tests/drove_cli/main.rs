//! The contract with whoever uses Drove today: its own client, unmodified, does everything it has a command for against a
//! real cluster. It exits with 0 whatever happens, so that what it prints is what counts.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test fails by panicking

mod commands;
mod logs;

use commands::Drove;
use muster_common::service::ServiceState;
use muster_tests::cluster::DevCluster;
use muster_tests::python::{DROVE_CLI, Installed};
use serde_json::{Value, json};

const PROGRAM: &str = env!("CARGO_BIN_EXE_muster-under-test");
/// What the client creates.
const SHOP: &str = "shop-1";

#[test]
fn every_command_of_droves_client_works() {
    let Some(client) = DROVE_CLI.install_or_skip("every_command_of_droves_client_works") else { return };
    let cluster = DevCluster::start(PROGRAM, 2, &[]);
    let endpoint = cluster.controllers()[0].rest.clone();
    let mut spec: Value = cluster.try_get(&endpoint, "localservices/example-1/spec").unwrap();
    spec["name"] = json!("shop");
    std::fs::write(client.home().join("shop.json"), spec.to_string()).unwrap();

    configuration(&client, &endpoint);
    let drove = Drove { client: &client, cluster: &cluster, endpoint };
    drove.credentials_of_any_kind_are_taken_without_users();
    drove.looks_at_the_cluster();
    drove.closes_and_opens_the_cluster();
    drove.tests_a_service();
    drove.runs_a_service();
    drove.looks_at_instances();
    drove.looks_at_executors();
    drove.describes();
    drove.replaces_instances();
    drove.empties_an_executor();
    drove.ends_a_service();
    drove.reads_logs();
    drove.tells_what_is_not_there();
}

/// `config *` edits `~/.drove` and calls nobody.
fn configuration(client: &Installed, endpoint: &str) {
    let says = |arguments: &[&str], part: &str| {
        let printed = client.run(arguments);
        assert!(printed.contains(part), "{arguments:?}: {printed}");
    };
    says(&["config", "init", "-e", endpoint, "-n", "muster"], "Current cluster set to: muster");
    let added = ["config", "add-cluster", "other", "-e", "http://127.0.0.1:1", "-t", "O-Bearer secret-token"];
    says(&added, "Cluster 'other' added");
    says(&["config", "get-clusters"], "Current cluster: muster");
    says(&["config", "use-cluster", "other"], "Switched to cluster \"other\"");
    says(&["config", "current-cluster"], "other");
    says(&["config", "use-cluster", "muster"], "Switched to cluster \"muster\"");
    says(&["config", "view"], "[muster] (current)");
    says(&["config", "view", "--raw"], "current_cluster = muster");
    says(&["config", "delete-cluster", "other"], "Cluster 'other' deleted");
    // The configuration serves: no endpoint is named here.
    says(&["cluster", "ping"], "Cluster ping successful");
}

impl Drove<'_> {
    fn credentials_of_any_kind_are_taken_without_users(&self) {
        for credentials in [&["-t", "O-Bearer abc"][..], &["-u", "ann", "-p", "secret"]] {
            let ping = [credentials, &["cluster", "ping"]].concat();
            self.says(&ping, &["Cluster ping successful"]);
        }
    }

    fn looks_at_the_cluster(&self) {
        self.says(&["cluster", "ping"], &["Cluster ping successful"]);
        let numbers = ["NORMAL", "Number of live executors", "Utilization: ", "Active: 0 Total: 0"];
        self.says(&["cluster", "summary"], &numbers);
        self.says(&["cluster", "leader"], &["Cluster leader: 127.0.0.1:"]);
        self.says(&["cluster", "endpoints"], &["endpoints"]);
        self.says(&["cluster", "endpoints", "-v", "none.example.org"], &["endpoints"]);
        let events = ["cluster", "events", "-c", "500"];
        self.says(&events, &["LOCAL_SERVICE_STATE_CHANGE", "EXECUTOR_ADDED", "example-1"]);
        let typed = [&events[..], &["-t", "EXECUTOR_ADDED"]].concat();
        assert!(!self.says(&typed, &["EXECUTOR_ADDED"]).contains("INSTANCE"), "others are left out");
        self.follows(&["cluster", "events", "-f"], "example-1");
        let simulate = ["cluster", "simulate-placement", "shop.json", "-n", "2"];
        let counts = ["Requested instances: 4", "Placed instances:    4", "Errors:              0"];
        self.says(&simulate, &counts);
        self.says(&[&simulate[..], &["--detail"]].concat(), &["executor-1", "executor-2", "ACTIVE"]);
        self.says(&[&simulate[..], &["--json"]].concat(), &["\"requested\": 4", "\"errors\": []"]);
    }

    fn closes_and_opens_the_cluster(&self) {
        self.says(&["cluster", "maintenance-on"], &["Cluster state: MAINTENANCE"]);
        self.says(&["cluster", "summary"], &["MAINTENANCE"]);
        self.fails(&["localservices", "create", "shop.json"], &["Cluster is in maintenance mode"]);
        self.says(&["cluster", "maintenance-off"], &["Maintenance mode removal accepted"]);
    }

    fn tests_a_service(&self) {
        let created = format!("Local service created with service id: {SHOP}");
        self.says(&["localservices", "create", "shop.json", "-i", "1"], &[&created]);
        self.fails(&["localservices", "create", "shop.json"], &["Local service shop-1 already exists"]);
        self.says(&["localservices", "conftest", SHOP], &["Local service activated"]);
        self.healthy(SHOP, 1);
        self.until_state(SHOP, ServiceState::ConfigTesting);
        self.says(&["localservices", "deactivate", SHOP], &["Local service deactivated"]);
        self.until_state(SHOP, ServiceState::Inactive);
        self.until_none(SHOP);
    }

    fn runs_a_service(&self) {
        self.says(&["localservices", "activate", SHOP], &["Local service activated"]);
        self.healthy(SHOP, 2);
        self.until_state(SHOP, ServiceState::Active);
        self.says(&["localservices", "update", SHOP, "2"], &["Local service instance count updated"]);
        self.healthy(SHOP, 4);
        self.until_state(SHOP, ServiceState::Active);
        self.says(&["localservices", "update", SHOP, "1"], &["Local service instance count updated"]);
        self.healthy(SHOP, 2);
        self.until_state(SHOP, ServiceState::Active);
        self.says(&["localservices", "list"], &[SHOP, "example-1", "ACTIVE"]);
        self.says(&["localservices", "list", "-s", "1", "-r"], &[SHOP]);
        self.says(&["localservices", "summary", SHOP], &["instancesPerHost", "activationState", "ACTIVE"]);
        self.says(&["localservices", "spec", SHOP], &["\"name\": \"shop\"", "\"PROCESS\""]);
        let restart = ["localservices", "restart", SHOP, "-p", "2", "-t", "1m"];
        self.says(&[&restart[..], &["-w"]].concat(), &["All instances replaced"]);
        self.until_state(SHOP, ServiceState::Active);
        self.says(&[&restart[..], &["-s"]].concat(), &["Local service restart command accepted."]);
        self.until_state(SHOP, ServiceState::Active);
        self.healthy(SHOP, 2);
        // One that is at work for long, whatever the client sends.
        let slow = json!({"type": "RESTART", "serviceId": SHOP, "opSpec": {
            "timeout": "10m", "parallelism": 1, "failureStrategy": "STOP", "settle": "5m"
        }});
        self.cluster.operate(&self.endpoint, &slow).unwrap();
        self.says(
            &["localservices", "cancelop", SHOP],
            &["Operation cancellation request registered :success"],
        );
        self.until_state(SHOP, ServiceState::Active);
        self.fails(&["localservices", "cancelop", SHOP], &["could not be cancelled"]);
        self.healthy(SHOP, 2);
    }

    fn looks_at_instances(&self) {
        let instance = &self.healthy(SHOP, 2)[0].instance_id;
        self.says(&["lsinstances", "list", SHOP], &[instance, "HEALTHY", "main:"]);
        self.says(&["lsinstances", "list", SHOP, "-s", "3", "-r"], &[instance]);
        self.says(&["lsinstances", "list", SHOP, "-o"], &["STOPPED"]);
        let shown = ["HEALTHY", "main: 8080->", "NUMA Node 0", "Last Updated"];
        self.says(&["lsinstances", "info", SHOP, instance], &shown);
    }

    fn looks_at_executors(&self) {
        let listed = ["executor-1", "executor-2", "ACTIVE", "Free Memory (MB)"];
        self.says(&["executor", "list"], &listed);
        self.says(&["executor", "info", "executor-1"], &["NUMA node 0", "Free cores: ", "ACTIVE"]);
        self.says(&["executor", "lsinstances", "executor-1"], &[SHOP, "example-1", "HEALTHY"]);
        self.says(&["executor", "lsinstances", "executor-1", "-s", "2", "-r"], &[SHOP]);
        self.says(&["executor", "appinstances", "executor-1"], &["Instance ID"]);
        self.says(&["executor", "tasks", "executor-1"], &["Source App"]);
    }

    fn describes(&self) {
        let instance = &self.healthy(SHOP, 2)[0].instance_id;
        let of_cluster = ["Cluster Overview", "Executors (2)", "[OK] executor-1"];
        let of_executor = ["Executor Details", "NUMA Node 0", "Local Service Instances (2)", "[OK] SI-"];
        let of_service = ["shop-1", "Instances (2)", "Placement Policy", "Exposed Ports", "[OK] SI-"];
        let of_instance = ["Local Service Instance Details", "Port Mappings", "CPU Cores:", "executor-"];
        let described: [(&[&str], &[&str]); 4] = [
            (&["cluster"], &of_cluster),
            (&["executor", "executor-1"], &of_executor),
            (&["localservice", SHOP], &of_service),
            (&["lsinstance", SHOP, instance], &of_instance),
        ];
        for (what, parts) in described {
            let command = [&["describe"][..], what].concat();
            self.says(&command, parts);
            let json = self.says(&[&command[..], &["--json"]].concat(), &[]);
            serde_json::from_str::<Value>(&json)
                .unwrap_or_else(|error| panic!("{command:?}: {error}: {json}"));
        }
    }

    fn replaces_instances(&self) {
        let before = self.healthy(SHOP, 2);
        let (one, other) = (&before[0].instance_id, &before[1].instance_id);
        let replace = ["lsinstances", "replace", SHOP, one, other, "-p", "2", "-t", "1m", "-w"];
        self.says(&replace, &["All instances replaced"]);
        self.until_state(SHOP, ServiceState::Active);
        let after = self.healthy(SHOP, 2);
        assert!(
            after.iter().all(|instance| !before.iter().any(|old| old.instance_id == instance.instance_id))
        );
        let killed = &after[0].instance_id;
        self.says(&["lsinstances", "kill", SHOP, killed, "-t", "1m", "-w"], &["All instances replaced"]);
        self.until_state(SHOP, ServiceState::Active);
        self.healthy(SHOP, 2);
        self.fails(
            &["lsinstances", "kill", SHOP, killed],
            &["There are no healthy instances with ids: [SI-"],
        );
        let stop_first = &self.healthy(SHOP, 2)[0].instance_id;
        let replace = ["lsinstances", "replace", SHOP, stop_first, "-s"];
        self.says(&replace, &["Instance(s) replace command accepted."]);
        self.until_state(SHOP, ServiceState::Active);
    }

    fn empties_an_executor(&self) {
        let blacklisted =
            ["Successful: executor-2", "Blacklisting successful", "completion time: 0.00 seconds"];
        self.says(&["executor", "blacklist", "executor-2"], &blacklisted);
        self.cluster.wait_for("the executor to be empty", || {
            self.says(&["executor", "info", "executor-2"], &[]).contains("BLACKLISTED").then_some(())
        });
        self.says(&["executor", "blacklist", "executor-2", "none"], &["Failed: ", "none", "executor-2"]);
        self.says(
            &["executor", "unblacklist", "executor-2"],
            &["Successful: executor-2", "for all executors"],
        );
        self.healthy(SHOP, 2);
    }

    fn ends_a_service(&self) {
        self.fails(&["localservices", "destroy", SHOP], &["as it is in ACTIVE state"]);
        self.says(&["localservices", "deactivate", SHOP], &["Local service deactivated"]);
        self.until_state(SHOP, ServiceState::Inactive);
        self.until_none(SHOP);
        self.says(&["localservices", "destroy", SHOP], &["Local service destroyed"]);
        self.cluster.wait_for("the service to be gone", || {
            (!self.says(&["localservices", "list"], &[]).contains(SHOP)).then_some(())
        });
    }

    fn tells_what_is_not_there(&self) {
        for (command, message) in [
            (&["localservices", "summary", "none-1"][..], "Local service none-1 not found"),
            (&["localservices", "spec", "none-1"], "Local service none-1 not found"),
            (&["localservices", "activate", "none-1"], "No state found for local service: none-1"),
            (&["lsinstances", "info", "none-1", "SI-1"], "No such local service instance none-1/SI-1"),
            (&["executor", "info", "none"], "No executor found with id: none"),
            (&["describe", "executor", "none"], "No executor found with id: none"),
            (&["describe", "localservice", "none-1"], "Local service none-1 not found"),
        ] {
            self.fails(command, &[message]);
        }
    }
}
