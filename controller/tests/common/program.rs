//! The program itself, as a process of its own with a configuration in a temporary directory.

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use muster_common::id::{ClusterId, ControllerId};
use muster_common::identity::{Identity, Role};
use muster_platform::Authority;
use serde_json::Value;

use super::PATIENCE;

/// A directory with a configuration that would work.
pub struct Files {
    pub dir: tempfile::TempDir,
    pub cluster: u16,
    pub api: u16,
}

impl Files {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        // Both ports at once, so that they differ.
        let (cluster, api) =
            (TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
        let port = |socket: &TcpListener| socket.local_addr().unwrap().port();
        let files = Self { dir, cluster: port(&cluster), api: port(&api) };
        files.certify("test");
        files.configure("127.0.0.1");
        files
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn certify(&self, cluster: &str) {
        let cluster = ClusterId::new(cluster).unwrap();
        let authority = Authority::new(&cluster).unwrap();
        let identity = Identity { cluster, role: Role::Controller(ControllerId(1)) };
        let issued = authority.issue(&identity).unwrap();
        fs::write(self.path("ca.pem"), authority.ca_pem()).unwrap();
        fs::write(self.path("cert.pem"), issued.cert_pem).unwrap();
        fs::write(self.path("key.pem"), issued.key_pem).unwrap();
    }

    pub fn configure(&self, api_host: &str) {
        let (dir, cluster, api) = (self.dir.path().display(), self.cluster, self.api);
        let text = format!(
            "cluster: test\nid: 1\ndataDir: {dir}/data\n\
             listen: {{cluster: '127.0.0.1:{cluster}', api: '{api_host}:{api}'}}\n\
             members: [{{id: 1, cluster: '127.0.0.1:{cluster}', api: '127.0.0.1:{api}'}}]\n\
             tls: {{ca: {dir}/ca.pem, cert: {dir}/cert.pem, key: {dir}/key.pem}}\n"
        );
        fs::write(self.path("controller.yaml"), text).unwrap();
    }

    pub fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_muster-controller"));
        command.arg("--config").arg(self.path("controller.yaml"));
        command
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}/apis/v1{path}", self.api)
    }

    /// What a GET answers, once it is answered well.
    pub fn get(&self, path: &str) -> Value {
        until(path, || {
            let answer =
                reqwest::blocking::get(self.url(path)).ok().filter(|answer| answer.status() == 200)?;
            Some(answer.json::<Value>().ok()?["data"].take())
        })
    }

    /// Submits an operation; whether it was accepted.
    pub fn submit(&self, http: &reqwest::blocking::Client, operation: &Value) -> bool {
        let request = http.post(self.url("/localservices/operations")).json(operation);
        request.send().is_ok_and(|answer| answer.status() == 200)
    }
}

/// A started program; killed if the test forgets it.
pub struct Running(pub Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended by itself, or it ends now; there is nothing to do about a failure.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Tries until `attempt` gives something.
pub fn until<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(done) = attempt() {
            return done;
        }
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
