//! A real cluster: the real program, started by its own `muster dev`, on loopback, in a temporary
//! directory. Dropping it stops it, and checks nothing: tests say themselves what must be gone.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use muster_common::instance::{InstanceInfo, InstanceState};
use reqwest::blocking::Client;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::api::{self, Api, CallError};
use crate::ports::{BASES, next_base};

/// Nothing that these tests wait for takes longer on a busy machine with two cores.
pub const BOUND: Duration = Duration::from_secs(60);
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// `muster dev` says so when a port is taken (the exit code of a conflict).
const CONFLICT: i32 = 5;

/// One role as `cluster.json` names it.
#[derive(Debug, Clone, Deserialize)]
pub struct RoleProcess {
    /// `controller` or `executor`.
    pub role: String,
    /// Such as `executor-1`.
    pub id: String,
    /// Its process.
    pub pid: Option<u32>,
    /// Its REST address.
    pub rest: String,
    /// Its directory.
    pub dir: PathBuf,
}

#[derive(Deserialize)]
struct ClusterFile {
    roles: Vec<RoleProcess>,
}

/// A running cluster.
pub struct DevCluster {
    program: PathBuf,
    dir: tempfile::TempDir,
    http: Client,
}

impl DevCluster {
    /// Starts three controllers, `executors` executors and the given specs (none: the built-in
    /// example), and returns when every instance is healthy.
    #[must_use]
    pub fn start(program: &str, executors: u16, specs: &[Value]) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let files: Vec<PathBuf> = specs
            .iter()
            .enumerate()
            .map(|(n, spec)| {
                let path = dir.path().join(format!("spec-{n}.json"));
                std::fs::write(&path, spec.to_string()).expect("a spec file");
                path
            })
            .collect();
        let home = dir.path().join("cluster");
        for _ in 0..BASES {
            let base = next_base();
            let output = Command::new(program)
                .args(["dev", "--detach", "--executors", &executors.to_string()])
                .args(["--port-base", &base.to_string(), "--dir"])
                .arg(&home)
                .args(&files)
                .output()
                .expect("the program under test starts");
            if output.status.success() {
                return Self { program: program.into(), dir, http: api::client() };
            }
            let words = String::from_utf8_lossy(&output.stderr).into_owned();
            // Whatever did start is stopped, so that a failed test leaves nothing behind either.
            let _ = Command::new(program).args(["dev", "stop", "--dir"]).arg(&home).output();
            assert_eq!(output.status.code(), Some(CONFLICT), "muster dev failed: {words}{}", logs(&home));
        }
        panic!("no {BASES} port bases are free");
    }

    /// Where the cluster lives.
    #[must_use]
    pub fn dir(&self) -> PathBuf {
        self.dir.path().join("cluster")
    }

    /// Every role, as of now.
    #[must_use]
    pub fn roles(&self) -> Vec<RoleProcess> {
        let text = std::fs::read_to_string(self.dir().join("cluster.json")).expect("cluster.json");
        serde_json::from_str::<ClusterFile>(&text).expect("cluster.json is JSON").roles
    }

    /// One role.
    #[must_use]
    pub fn role(&self, id: &str) -> RoleProcess {
        self.roles().into_iter().find(|role| role.id == id).expect("the role exists")
    }

    /// The controllers' ids and REST addresses.
    #[must_use]
    pub fn controllers(&self) -> Vec<RoleProcess> {
        self.roles().into_iter().filter(|role| role.role == "controller").collect()
    }

    /// Runs the program with these arguments.
    #[must_use]
    pub fn muster(&self, args: &[&str]) -> Output {
        Command::new(&self.program).args(args).output().expect("the program under test starts")
    }

    /// `muster dev <what> <id>`; must succeed.
    pub fn dev(&self, what: &str, id: &str) {
        let dir = self.dir();
        let output = self.muster(&["dev", what, id, "--dir", &dir.to_string_lossy()]);
        assert!(output.status.success(), "dev {what} {id}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// The API at `rest`.
    #[must_use]
    pub fn api(&self, rest: &str) -> Api {
        Api::new(self.http.clone(), rest)
    }

    /// The `data` of `GET <rest>/apis/v1/<path>`, or what went wrong.
    pub fn try_get<T: DeserializeOwned>(&self, rest: &str, path: &str) -> Result<T, CallError> {
        self.api(rest).get(path)
    }

    /// Submits an operation through one controller.
    pub fn operate(&self, rest: &str, operation: &Value) -> Result<Value, CallError> {
        self.api(rest).operate(operation)
    }

    /// The live instances of a service with all that is known of them, through whichever controller answers.
    #[must_use]
    pub fn instances(&self, service: &str) -> Vec<InstanceInfo> {
        self.through_any(&format!("localservices/{service}/instances?detail=true"))
    }

    /// The ended instances of a service, through whichever controller answers.
    #[must_use]
    pub fn old_instances(&self, service: &str) -> Vec<InstanceInfo> {
        self.through_any(&format!("localservices/{service}/instances/old"))
    }

    /// The healthy instances of a service.
    #[must_use]
    pub fn healthy(&self, service: &str) -> Vec<InstanceInfo> {
        let mut instances = self.instances(service);
        instances.retain(|instance| instance.state == InstanceState::Healthy);
        instances
    }

    /// Waits until so many instances of a service are healthy, and no more.
    pub fn wait_for_healthy(&self, service: &str, count: usize) -> Vec<InstanceInfo> {
        self.wait_for(&format!("{count} healthy instances"), || {
            Some(self.healthy(service)).filter(|instances| instances.len() == count)
        })
    }

    /// Waits until an instance of a service has ended; what is kept of it.
    pub fn wait_for_end(&self, service: &str, instance: &InstanceInfo) -> InstanceInfo {
        self.wait_for("the dead instance among the old ones", || {
            self.old_instances(service)
                .into_iter()
                .find(|old| old.instance_id == instance.instance_id && old.state == InstanceState::Stopped)
        })
    }

    /// The pid of an instance of the example service, as it says itself.
    #[must_use]
    pub fn pid_of(&self, instance: &InstanceInfo) -> u32 {
        greeted_pid(&self.http, instance)
    }

    /// The id of the leading controller, once there is one.
    #[must_use]
    pub fn leader(&self) -> Option<RoleProcess> {
        self.controllers().into_iter().find(|controller| {
            let host = controller.rest.trim_start_matches("http://");
            self.controllers().iter().any(|asked| {
                let summary: Result<Value, CallError> = self.try_get(&asked.rest, "cluster");
                summary.is_ok_and(|summary| summary["leader"] == json!(host))
            })
        })
    }

    fn through_any<T: DeserializeOwned + Default>(&self, path: &str) -> T {
        self.controllers()
            .iter()
            .find_map(|controller| self.try_get(&controller.rest, path).ok())
            .unwrap_or_default()
    }

    /// Waits until `condition` gives something; fails with `what` and the roles' logs after [`BOUND`].
    pub fn wait_for<T>(&self, what: &str, condition: impl FnMut() -> Option<T>) -> T {
        wait_for(what, || logs(&self.dir()), condition)
    }
}

/// Waits until `condition` gives something; fails with `what` and `logs` after [`BOUND`].
pub(crate) fn wait_for<T>(
    what: &str,
    logs: impl Fn() -> String,
    mut condition: impl FnMut() -> Option<T>,
) -> T {
    let deadline = Instant::now() + BOUND;
    loop {
        if let Some(found) = condition() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited {}s for: {what}{}", BOUND.as_secs(), logs());
        std::thread::sleep(POLL_INTERVAL);
    }
}

impl Drop for DevCluster {
    fn drop(&mut self) {
        let dir = self.dir();
        let output = self.muster(&["dev", "stop", "--dir", &dir.to_string_lossy()]);
        if !output.status.success() && !std::thread::panicking() {
            eprintln!("muster dev stop: {}", String::from_utf8_lossy(&output.stderr));
        }
    }
}

/// The pid of an instance of the example service, as it says itself to a client on its machine.
#[must_use]
pub(crate) fn greeted_pid(http: &Client, instance: &InstanceInfo) -> u32 {
    let port = instance.local_info.as_ref().expect("it was started").ports["main"].host_port;
    let greeting =
        http.get(format!("http://127.0.0.1:{port}/")).send().and_then(reqwest::blocking::Response::text);
    let greeting = greeting.expect("it answers");
    assert!(greeting.contains(&instance.instance_id), "{greeting}");
    greeting.trim().rsplit(' ').next().and_then(|pid| pid.parse().ok()).expect("a pid")
}

/// The end of every role's log, for a failure's message.
pub(crate) fn logs(dir: &Path) -> String {
    const TAIL: usize = 40;
    let mut text = String::new();
    let Ok(entries) = std::fs::read_dir(dir) else { return text };
    for log in entries.flatten().map(|entry| entry.path().join("role.log")).filter(|log| log.exists()) {
        let content = std::fs::read_to_string(&log).unwrap_or_default();
        let lines: Vec<&str> = content.lines().collect();
        let tail = lines[lines.len().saturating_sub(TAIL)..].join("\n");
        write!(text, "\n--- {}\n{tail}", log.display()).expect("writing to a String");
    }
    text
}

/// Whether a process lives (a zombie does not).
#[must_use]
pub fn is_alive(pid: u32) -> bool {
    let stat = i32::try_from(pid).ok().and_then(|pid| procfs::process::Process::new(pid).ok()?.stat().ok());
    stat.is_some_and(|stat| stat.state != 'Z' && stat.state != 'X')
}

/// Sends SIGKILL.
pub fn kill_9(pid: u32) {
    signal(pid, rustix::process::Signal::KILL);
}

/// Sends a signal.
pub fn signal(pid: u32, signal: rustix::process::Signal) {
    let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw).expect("a pid");
    rustix::process::kill_process(pid, signal).expect("the process exists");
}
