//! Files that are fetched before a start, by controllers and by executors: a real cluster, and a server that holds the
//! files.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test fails by panicking

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use muster_common::reason::Reason;
use muster_tests::agent::{STEADY, row};
use muster_tests::cluster::{DevCluster, kill_9};
use serde_json::{Value, json};

const PROGRAM: &str = env!("CARGO_BIN_EXE_muster-under-test");

/// Holds one file, `/config`.
struct ConfigServer {
    port: u16,
    content: Arc<Mutex<&'static str>>,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl ConfigServer {
    fn start(content: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let content = Arc::new(Mutex::new(content));
        let ended = Arc::new(AtomicBool::new(false));
        let (served, over) = (Arc::clone(&content), Arc::clone(&ended));
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming().flatten().take_while(|_| !over.load(Ordering::SeqCst)) {
                // Who hangs up has its answer, or wants none.
                let _ = answer(stream, *served.lock().unwrap());
            }
        });
        Self { port, content, ended, thread: Some(thread) }
    }

    fn hold(&self, content: &'static str) {
        *self.content.lock().unwrap() = content;
    }
}

impl Drop for ConfigServer {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        // Wakes the thread, which then sees that it is over.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn answer(mut stream: TcpStream, content: &str) -> std::io::Result<()> {
    let mut request = [0; 4096];
    let count = stream.read(&mut request)?;
    if request[..count].starts_with(b"GET /config ") {
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{content}", content.len())
    } else {
        write!(stream, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
    }
}

/// A service with two files from there: `fetched` by a controller, `own` by its executor.
fn service(name: &str, host: &str, port: u16, path: &str) -> Value {
    let mut spec = serde_json::to_value(&*row(name, 1, STEADY).spec).unwrap();
    let http = json!({"hostname": host, "port": port, "path": path, "connectionTimeout": "20s",
        "operationTimeout": "20s"});
    spec["configs"] = json!([
        {"type": "CONTROLLER_HTTP_FETCH", "localFilename": "/etc/fetched", "http": http},
        {"type": "EXECUTOR_HTTP_FETCH", "localFilename": "/etc/own", "http": http},
    ]);
    spec
}

fn data(cluster: &DevCluster) -> PathBuf {
    cluster.role("executor-1").dir.join("data")
}

/// What is in an instance's scratch directory.
fn read(cluster: &DevCluster, instance: &str, file: &str) -> Option<String> {
    std::fs::read_to_string(data(cluster).join("scratch").join(instance).join(file)).ok()
}

/// Kills a workload, which says its pid itself.
fn kill(cluster: &DevCluster, instance: &str) {
    kill_9(read(cluster, instance, "pid").unwrap().trim().parse().unwrap());
}

/// A workload on the node that has begun, and is not this one.
fn another(cluster: &DevCluster, before: &str) -> Option<String> {
    let entries = std::fs::read_dir(data(cluster).join("scratch")).unwrap().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let mut others = names.filter(|name| name != before);
    others.find(|name| read(cluster, name, "pid").is_some_and(|pid| pid.ends_with('\n')))
}

#[test]
fn a_file_is_fetched_by_a_controller_and_a_slot_is_filled_without_one() {
    let server = ConfigServer::start("one\n");
    let spec = service("fetched", "localhost", server.port, "/config");
    let cluster = DevCluster::start(PROGRAM, 1, &[spec]);
    let first = cluster.wait_for("a healthy instance", || cluster.healthy("fetched-1").pop()).instance_id;
    assert_eq!(read(&cluster, &first, "etc/fetched").unwrap(), "one\n");
    assert_eq!(read(&cluster, &first, "etc/own").unwrap(), "one\n");

    // With all controllers gone there is what was fetched last.
    for controller in cluster.controllers() {
        cluster.dev("kill", &controller.id);
    }
    server.hold("two\n");
    kill(&cluster, &first);
    let second = cluster.wait_for("a second instance", || another(&cluster, &first));
    assert_eq!(read(&cluster, &second, "etc/fetched").unwrap(), "one\n");
    assert_eq!(read(&cluster, &second, "etc/own").unwrap(), "two\n");

    // Where nothing is kept, the start waits until there is a controller again.
    std::fs::remove_dir_all(data(&cluster).join("fetched")).unwrap();
    kill(&cluster, &second);
    cluster.wait_for("the end of the second instance", || {
        read(&cluster, &second, "pid").is_none().then_some(())
    });
    for controller in cluster.controllers() {
        cluster.dev("start", &controller.id);
    }
    let third = cluster.wait_for("a third instance", || {
        cluster
            .healthy("fetched-1")
            .into_iter()
            .find(|instance| ![&first, &second].contains(&&instance.instance_id))
    });
    assert_eq!(read(&cluster, &third.instance_id, "etc/fetched").unwrap(), "two\n");
    let old = cluster.wait_for("what was reported of the others", || {
        Some(cluster.old_instances("fetched-1")).filter(|old| old.len() == 2)
    });
    assert!(old.iter().all(|old| old.reason == Some(Reason::Signaled)), "no start failed: {old:#?}");
}

#[test]
fn what_cannot_be_fetched_fails_the_start_and_what_may_not_be_is_refused() {
    let server = ConfigServer::start("one\n");
    let cluster = DevCluster::start(PROGRAM, 1, &[]);
    let rest = cluster.controllers()[0].rest.clone();
    let create =
        |spec: Value| cluster.operate(&rest, &json!({"type": "CREATE", "spec": spec, "instancesPerHost": 1}));
    for host in ["169.254.169.254", "config.example.net"] {
        let refusal = create(service("elsewhere", host, 80, "/config")).unwrap_err();
        assert!(
            refusal.to_string().contains("spec.configs[0].http - controllers may not fetch from"),
            "{refusal}"
        );
    }

    create(service("missing", "127.0.0.1", server.port, "/none")).unwrap();
    cluster.operate(&rest, &json!({"type": "ACTIVATE", "serviceId": "missing-1"})).unwrap();
    let failed = cluster.wait_for("a failed start", || cluster.old_instances("missing-1").pop());
    assert_eq!(failed.reason, Some(Reason::StartFailed));
    let why = failed.error_message;
    assert!(
        why.contains("/etc/fetched: cannot fetch http://127.0.0.1") && why.contains("status 404"),
        "{why}"
    );
}
