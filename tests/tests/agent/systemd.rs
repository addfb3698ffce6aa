//! The real program under a service manager: a real datagram socket that hears what it says.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use muster_common::instance::InstanceState;
use muster_tests::controller::{Controller, PATIENCE};

use muster_tests::agent::{Agent, STEADY, healthy, is_alive, row, table};
use muster_tests::controller::Records;
use muster_tests::small_disk::SmallDisk;

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

/// How long the service manager waits for a sign of life.
const WATCHDOG: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_said_and_waited_for_by_an_executor_that_is_alive() {
    let controller = Controller::start().await;
    let mut agent = Agent::new(PROGRAM, &controller);
    agent.until_it_listens().await;
    agent.kill();
    let data = agent.dir.path().join("data");
    let Some(disk) = SmallDisk::mount(&data, "32m") else { return };
    let socket = agent.dir.path().join("notify");
    let manager = Manager::at(&socket);
    let start = |agent: &mut Agent, socket: &Path| {
        let mut command = agent.command();
        command.env("NOTIFY_SOCKET", socket).env("WATCHDOG_USEC", WATCHDOG.as_micros().to_string());
        agent.process = Some(command.stderr(Stdio::null()).spawn().unwrap());
    };
    start(&mut agent, &socket);
    controller.set_table(table(1, vec![row("steady", 1, STEADY)]));
    let records = controller.until("it is healthy", |records| healthy(records, "steady").count() == 1).await;
    let pid = agent.pid_of(healthy(&records, "steady").next().unwrap());
    assert_eq!(get(agent.port, "/healthz"), "HTTP/1.1 200 OK ok\n");

    let filler = disk.fill();
    // Far more than there is room for inside the journal's file.
    let mut wide = row("wide", 1, STEADY);
    Arc::make_mut(&mut wide.spec).env = (0..20).map(|nth| (format!("V{nth}"), "x".repeat(30_000))).collect();
    controller.set_table(table(2, vec![row("steady", 1, STEADY), row("late", 1, STEADY), wide]));
    let trouble = "the journal cannot be written: ";
    let heard = manager.until("trouble", |notice| notice.starts_with("STATUS=") && notice.contains(trouble));
    assert!(heard.last().unwrap().contains("No space left on device"), "{heard:?}");
    let answer = get(agent.port, "/healthz");
    assert!(answer.starts_with(&format!("HTTP/1.1 503 Service Unavailable {trouble}")), "{answer}");
    assert!(get(agent.port, "/metrics").contains("\nmuster_executor_journal_writable 0\n"));
    // The manager is not kept waiting, however long it lasts. A busy machine may hold up a sign, but not each of them.
    let deadline = Instant::now() + PATIENCE;
    let mut in_time = 0;
    while in_time < 4 {
        assert!(Instant::now() < deadline, "it counts as dead");
        let begun = Instant::now();
        manager.until("a sign of life", |notice| notice == "WATCHDOG=1");
        in_time = if begun.elapsed() < WATCHDOG { in_time + 1 } else { 0 };
    }
    assert!(is_alive(pid));
    assert_eq!(controller.records().len(), 1, "nothing new begins");

    // One that is started anew is alive, too, and waits as well.
    agent.kill();
    let socket = agent.dir.path().join("notify-again");
    let manager = Manager::at(&socket);
    start(&mut agent, &socket);
    manager.until("trouble again", |notice| notice.starts_with("STATUS=") && notice.contains(trouble));
    for _ in 0..4 {
        manager.until("a sign of life", |notice| notice == "WATCHDOG=1");
    }
    assert!(get(agent.port, "/healthz").starts_with("HTTP/1.1 503"));
    assert!(is_alive(pid));

    std::fs::remove_file(filler).unwrap();
    manager.until("the end of it", |notice| notice.starts_with("STATUS=") && !notice.contains(trouble));
    let all = |records: &Records| healthy(records, "late").count() + healthy(records, "wide").count() == 2;
    controller.until("it goes on by itself", all).await;
    assert_eq!(get(agent.port, "/healthz"), "HTTP/1.1 200 OK ok\n");
    assert!(is_alive(pid));
    controller.set_table(table(3, Vec::new()));
    let over = |records: &Records| records.values().all(|record| record.state == InstanceState::Stopped);
    controller.until("all is over", over).await;
    agent.kill();
}

/// The status line and the body of an answer.
fn get(port: u16, path: &str) -> String {
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    format!("{} {body}", head.lines().next().unwrap())
}
