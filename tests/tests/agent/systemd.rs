//! The real program under a service manager: a real datagram socket that hears what it says.

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use muster_common::instance::InstanceState;
use muster_tests::controller::{Controller, PATIENCE};

use muster_tests::agent::{Agent, STEADY, healthy, row, table};
use muster_tests::controller::Records;

use super::PROGRAM;

struct Manager(UnixDatagram);

impl Manager {
    fn at(path: &Path) -> Self {
        let socket = UnixDatagram::bind(path).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        Self(socket)
    }

    /// Takes notices until one of them is `wanted`; all that were heard.
    fn until(&self, what: &str, wanted: impl Fn(&str) -> bool) -> Vec<String> {
        let deadline = Instant::now() + PATIENCE;
        let mut heard = Vec::new();
        let mut message = [0; 4096];
        while !heard.iter().any(|notice: &String| wanted(notice)) {
            assert!(Instant::now() < deadline, "waited {PATIENCE:?} in vain for {what}: {heard:?}");
            if let Ok(length) = self.0.recv(&mut message) {
                let text = std::str::from_utf8(&message[..length]).unwrap();
                heard.extend(text.lines().map(str::to_owned));
            }
        }
        heard
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_manager_hears_how_the_executor_is() {
    let controller = Controller::start().await;
    let mut agent = Agent::new(PROGRAM, &controller);
    agent.kill();
    let socket = agent.dir.path().join("notify");
    let manager = Manager::at(&socket);
    let mut command = agent.command();
    command.env("NOTIFY_SOCKET", &socket).env("WATCHDOG_USEC", "400000").stderr(Stdio::null());
    agent.process = Some(command.spawn().unwrap());

    manager.until("READY", |notice| notice == "READY=1");
    // Whoever is told READY can ask at once.
    std::net::TcpStream::connect(("127.0.0.1", agent.port)).unwrap();
    manager.until("a session", |notice| {
        notice == format!("STATUS=0 instances; in session with the leader at {}", controller.address)
    });
    controller.set_table(table(1, vec![row("web", 1, STEADY)]));
    manager.until("an instance", |notice| notice.starts_with("STATUS=1 instance; in session"));
    for _ in 0..3 {
        manager.until("a sign of life", |notice| notice == "WATCHDOG=1");
    }
    controller.until("web is healthy", |records| healthy(records, "web").count() == 1).await;
    controller.set_table(table(2, Vec::new()));
    let over = |records: &Records| records.values().all(|record| record.state == InstanceState::Stopped);
    controller.until("web is stopped", over).await;

    let told = std::thread::spawn(move || {
        manager.until("the end", |notice| notice.starts_with("EXTEND_TIMEOUT_USEC="))
    });
    assert_eq!(agent.terminate(), 0);
    let heard = told.join().unwrap();
    assert!(heard.iter().any(|notice| notice == "STOPPING=1"), "{heard:?}");
}
