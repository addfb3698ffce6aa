//! One role on a machine of its own.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};

use muster_common::identity::{Identity, Role as Speaks};
use muster_platform::Authority;
use serde_json::Value;

use super::machine::{Machine, Process};
use crate::api::{self, Api};

/// The port of the REST API (of an executor: of its metrics), on each machine's own loopback.
pub(super) const API_PORT: u16 = 4000;

/// A controller or an executor.
pub struct Role {
    /// Such as `executor-1`.
    pub id: String,
    /// Where it runs.
    pub machine: Machine,
    /// Its API, from its own machine: also while that is cut off.
    pub api: Api,
    /// While it runs.
    pub process: Option<Process>,
    command: [String; 4],
    log: PathBuf,
}

impl Role {
    /// Writes what it needs into `dir`; nothing runs yet.
    pub(super) fn prepare(
        program: &str,
        (id, machine): (String, Machine),
        (authority, identity): (&Authority, &Identity),
        mut config: Value,
        dir: &Path,
    ) -> Self {
        let dir = dir.join(&id);
        std::fs::create_dir(&dir).expect("a directory");
        let write = |name: &str, text: &str| {
            let path = dir.join(name);
            std::fs::write(&path, text).expect("a file");
            path
        };
        let issued = authority.issue(identity).expect("a certificate");
        config["tls"] = serde_json::json!({
            "ca": write("ca.pem", &authority.ca_pem()),
            "cert": write("cert.pem", &issued.cert_pem),
            "key": write("key.pem", &issued.key_pem),
        });
        config["cluster"] = identity.cluster.as_str().into();
        config["dataDir"] = dir.join("data").to_string_lossy().into();
        // JSON is YAML.
        let file = write("config.yaml", &config.to_string());
        let kind = match identity.role {
            Speaks::Controller(_) => "controller",
            Speaks::Executor(_) => "executor",
        };
        let http = machine.within(api::client);
        Self {
            id,
            machine,
            api: Api::new(http, &format!("http://127.0.0.1:{API_PORT}")),
            process: None,
            command: [program, kind, "--config", &file.to_string_lossy()].map(str::to_owned),
            log: dir.join("role.log"),
        }
    }

    /// Starts it, for the first time or again.
    pub fn start(&mut self) {
        let log = OpenOptions::new().create(true).append(true).open(&self.log).expect("its log");
        self.process = Some(self.machine.spawn(&self.command.each_ref().map(String::as_str), log));
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.process.take().expect("it runs").kill();
    }

    /// Its process.
    #[must_use]
    pub fn process(&self) -> &Process {
        self.process.as_ref().expect("it runs")
    }
}
