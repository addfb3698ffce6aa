//! The real prober against real sockets: what passes, what fails, and that nothing takes longer than it
//! may.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test fails by panicking

mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use muster_common::id::ExecutorId;
use muster_common::instance::{InstancePort, RunnerKind};
use muster_common::spec::{CheckMode, PortType};
use muster_executor::{
    CALL_LIMIT, DockerRunner, LaunchPlan, NodeProber, ProbeOutcome, Prober, ProcessConfig, Runners, Workload,
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tonic_health::ServingStatus;

use support::leftovers::processes_of;
use support::server::{endless, left_open, self_signed, server, tls_server};
use support::{Node, PATIENCE, script, until};

const LONG: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(200);

/// A workload that does nothing but own a port.
struct Target {
    _node: Node,
    prober: NodeProber,
    plan: LaunchPlan,
    workload: Workload,
}

impl Target {
    async fn on(port: u16) -> Self {
        let node = Node::new();
        let runners = node.open_all(ProcessConfig::default()).await;
        assert!(runners.of(RunnerKind::Docker).is_none());
        let mut plan = script("exit 0");
        let port = InstancePort { container_port: 80, host_port: port, port_type: PortType::Http };
        plan.place.local_info.ports.insert("main".to_owned(), port);
        let workload = Workload::Process {
            shim_pid: 0,
            shim_start_ticks: 0,
            pid: 0,
            start_ticks: 0,
            warnings: Vec::new(),
        };
        std::fs::create_dir_all(node.dir().join("scratch").join(plan.instance.as_str())).unwrap();
        Self { prober: NodeProber::new(&runners), _node: node, plan, workload }
    }

    async fn ask(&self, mode: Value, limit: Duration) -> ProbeOutcome {
        let mode: CheckMode = serde_json::from_value(mode).unwrap();
        let begun = Instant::now();
        let outcome = self.prober.probe(&mode, limit, &self.plan, &self.workload).await;
        assert!(begun.elapsed() < limit + PATIENCE / 3, "it took {:?}", begun.elapsed());
        outcome
    }
}

/// A busy machine may not come to it in a short time: tries with ever more.
async fn with_more_time(target: &Target, mode: Value, seen: impl Fn(&ProbeOutcome) -> bool) {
    let mut limit = SHORT;
    loop {
        let outcome = target.ask(mode.clone(), limit).await;
        if seen(&outcome) {
            return;
        }
        limit *= 2;
        assert!(limit < PATIENCE, "{outcome:?}");
    }
}

fn http(path: &str) -> Value {
    json!({"type": "HTTP", "portName": "main", "path": path, "successCodes": [200, 204]})
}

#[tokio::test]
async fn http_passes_on_its_success_codes_alone() {
    let (port, mut asked) = server("HTTP/1.1 204 No Content\r\n\r\n").await;
    let target = Target::on(port).await;
    let outcome = target.ask(http("/health?deep=1"), LONG).await;
    assert_eq!((outcome.passed, outcome.code), (true, Some(204)), "{}", outcome.answer);
    let request = asked.recv().await.unwrap();
    assert!(request.starts_with("GET /health?deep=1 HTTP/1.1\r\n"), "{request}");
    assert!(request.contains(&format!("localhost:{port}")), "{request}");

    // A redirect is an answer like any other.
    let (port, _asked) =
        server("HTTP/1.1 302 Found\r\nLocation: http://localhost/ok\r\nContent-Length: 4\r\n\r\nmove").await;
    let outcome = Target::on(port).await.ask(http("/"), LONG).await;
    assert_eq!((outcome.passed, outcome.code, outcome.answer.as_str()), (false, Some(302), "move"));
}

#[tokio::test]
async fn http_sends_a_payload() {
    let (port, mut asked) = server("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    let target = Target::on(port).await;
    let mode = json!({"type": "HTTP", "portName": "main", "path": "x", "verb": "POST",
        "payload": "{\"a\":1}", "successCodes": [200]});
    assert!(target.ask(mode, LONG).await.passed);
    let request = asked.recv().await.unwrap();
    assert!(
        request.starts_with("POST /x HTTP/1.1\r\n") && request.contains("content-length: 7"),
        "{request}"
    );
}

#[tokio::test]
async fn http_sends_the_headers_of_its_spec() {
    let (port, mut asked) = server("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    let target = Target::on(port).await;
    let mode = json!({"type": "HTTP", "portName": "main", "path": "/", "successCodes": [200],
        "headers": {"Authorization": "Bearer abc", "host": "shop.example.net", "X-Count": 7}});
    let outcome = target.ask(mode, LONG).await;
    assert!(outcome.passed, "{}", outcome.answer);
    let request = asked.recv().await.unwrap().to_lowercase();
    for line in ["authorization: bearer abc", "host: shop.example.net", "x-count: 7", "connection: close"] {
        assert_eq!(request.matches(&format!("\r\n{line}\r\n")).count(), 1, "{line} in {request}");
    }
    assert!(!request.contains("localhost"), "{request}");
}

#[tokio::test]
async fn http_keeps_the_first_kilobyte_of_an_answer_without_end() {
    let port = endless().await;
    let outcome = Target::on(port).await.ask(http("/"), LONG).await;
    assert!(outcome.passed, "{}", outcome.answer);
    assert_eq!(outcome.answer, "x".repeat(1024));
}

#[tokio::test]
async fn http_passes_by_its_status_although_the_body_stays_open() {
    let port = left_open().await;
    with_more_time(&Target::on(port).await, http("/"), |outcome| {
        (outcome.passed, outcome.code, outcome.answer.as_str()) == (true, Some(200), "hello")
    })
    .await;
}

#[tokio::test]
async fn what_does_not_answer_is_given_up_in_time() {
    // Takes the connection, says nothing.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let target = Target::on(port).await;
    let outcome = target.ask(http("/"), SHORT).await;
    assert!(!outcome.passed && outcome.answer.contains("no answer within 200ms"), "{}", outcome.answer);
    assert!(outcome.latency >= SHORT);
    // TLS never begins: the connection's own limit ends it.
    let mode = json!({"type": "HTTP", "protocol": "HTTPS", "portName": "main", "insecure": true,
        "connectionTimeout": "200ms", "successCodes": [200]});
    let outcome = target.ask(mode, LONG).await;
    assert!(!outcome.passed && outcome.answer.contains("within 200ms"), "{}", outcome.answer);

    drop(listener);
    let outcome = target.ask(http("/"), LONG).await;
    assert!(!outcome.passed && outcome.answer.contains("refused"), "{}", outcome.answer);
    let outcome = target.ask(json!({"type": "TCP", "portName": "main"}), LONG).await;
    assert!(!outcome.passed && outcome.answer.contains("refused"), "{}", outcome.answer);
}

#[tokio::test]
async fn who_does_not_know_where_to_ask_because_the_engine_hangs_asked_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("hung.sock");
    // Takes connections, never answers.
    let _listener = tokio::net::UnixListener::bind(&socket).unwrap();
    let (sender, events) = mpsc::channel(1);
    let executor = ExecutorId::new("test").unwrap();
    let docker = DockerRunner::open(&socket, &executor, dir.path(), CALL_LIMIT, sender);
    let runners = Runners { docker: Some(Arc::new(docker)), process: None, events };
    let mut plan = script("exit 0");
    let image = json!({"type": "DOCKER", "url": "web:1", "dockerPullTimeout": "60s"});
    Arc::make_mut(&mut plan.spec).executable = Some(serde_json::from_value(image).unwrap());
    let port = InstancePort { container_port: 80, host_port: 80, port_type: PortType::Http };
    plan.place.local_info.ports.insert("main".to_owned(), port);
    let workload = Workload::container("abc");
    let mode: CheckMode = serde_json::from_value(http("/")).unwrap();
    let outcome = NodeProber::new(&runners).probe(&mode, SHORT, &plan, &workload).await;
    assert!(!outcome.passed && !outcome.asked, "{outcome:?}");
    for said in [socket.to_str().unwrap(), "no answer within 200ms"] {
        assert!(outcome.answer.contains(said), "{}", outcome.answer);
    }
}

#[tokio::test]
async fn odd_answers_and_odd_questions_fail_in_words() {
    let (port, _asked) = server("SSH-2.0-OpenSSH\r\n").await;
    let target = Target::on(port).await;
    let outcome = target.ask(http("/"), LONG).await;
    assert!(!outcome.passed && outcome.answer.contains("the call failed"), "{}", outcome.answer);
    let outcome = target.ask(http("/a b\n"), LONG).await;
    assert!(!outcome.passed && outcome.answer.contains("not a path"), "{}", outcome.answer);
    let outcome = target.ask(json!({"type": "TCP", "portName": "other"}), LONG).await;
    assert!(!outcome.passed && outcome.answer.contains("no port named 'other'"), "{}", outcome.answer);
}

#[tokio::test]
async fn https_needs_a_good_certificate_unless_insecure() {
    let (port, _asked) = tls_server("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecret").await;
    let target = Target::on(port).await;
    let mode = |insecure: bool| {
        json!({"type": "HTTP", "protocol": "HTTPS", "portName": "main", "insecure": insecure,
            "connectionTimeout": "10s", "successCodes": [200]})
    };
    let outcome = target.ask(mode(true), LONG).await;
    assert_eq!((outcome.passed, outcome.answer.as_str()), (true, "secret"));
    let outcome = target.ask(mode(false), LONG).await;
    assert!(!outcome.passed && outcome.code.is_none(), "{}", outcome.answer);
    assert!(
        outcome.answer.contains("TLS handshake") || outcome.answer.contains("CA cert"),
        "{}",
        outcome.answer
    );
}

#[tokio::test]
async fn tcp_passes_when_somebody_listens() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = Target::on(listener.local_addr().unwrap().port()).await;
    assert!(target.ask(json!({"type": "TCP", "portName": "main"}), LONG).await.passed);
}

/// A real gRPC server with the standard health service, and what sets what it says.
async fn health_server() -> (u16, tonic_health::server::HealthReporter) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (reporter, service) = tonic_health::server::health_reporter();
    let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
    tokio::spawn(tonic::transport::Server::builder().add_service(service).serve_with_incoming(incoming));
    (port, reporter)
}

fn grpc(service: &str) -> Value {
    json!({"type": "GRPC", "portName": "main", "service": service})
}

#[tokio::test]
async fn grpc_passes_while_the_service_serves() {
    let (port, reporter) = health_server().await;
    let target = Target::on(port).await;
    // The server as a whole serves from the start.
    let outcome = target.ask(grpc(""), LONG).await;
    assert_eq!((outcome.passed, outcome.code, outcome.answer.as_str()), (true, Some(0), "SERVING"));
    for (status, passed, answer) in [
        (ServingStatus::NotServing, false, "NOT_SERVING"),
        (ServingStatus::Serving, true, "SERVING"),
        (ServingStatus::Unknown, false, "UNKNOWN"),
    ] {
        reporter.set_service_status("shop.v1.Basket", status).await;
        let outcome = target.ask(grpc("shop.v1.Basket"), LONG).await;
        assert_eq!((outcome.passed, outcome.code, outcome.answer.as_str()), (passed, Some(0), answer));
    }
    let outcome = target.ask(grpc("shop.v1.Nobody"), LONG).await;
    assert_eq!((outcome.passed, outcome.code), (false, Some(5)), "{}", outcome.answer);
    assert!(outcome.answer.contains("not found"), "{}", outcome.answer);
}

#[tokio::test]
async fn grpc_says_what_it_met_instead() {
    // A gRPC server without the health service.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
    let routes = tonic::service::Routes::default();
    tokio::spawn(tonic::transport::Server::builder().add_routes(routes).serve_with_incoming(incoming));
    let outcome = Target::on(port).await.ask(grpc(""), LONG).await;
    assert_eq!((outcome.passed, outcome.code), (false, Some(12)), "{}", outcome.answer);

    // A server that speaks HTTP/1 only.
    let (port, _asked) = server("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").await;
    let outcome = Target::on(port).await.ask(grpc(""), LONG).await;
    assert!(!outcome.passed && outcome.code.is_none(), "{}", outcome.answer);
    assert!(outcome.answer.contains("speaks gRPC"), "{}", outcome.answer);

    // One that takes the connection and says nothing; one that is not there.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = Target::on(listener.local_addr().unwrap().port()).await;
    let outcome = target.ask(grpc(""), SHORT).await;
    assert!(!outcome.passed && outcome.answer.contains("no answer within 200ms"), "{}", outcome.answer);
    drop(listener);
    let outcome = target.ask(grpc(""), LONG).await;
    assert!(!outcome.passed && outcome.answer.contains("refused"), "{}", outcome.answer);
}

#[tokio::test]
async fn grpc_over_tls_needs_a_good_certificate_unless_insecure() {
    let (plain, _reporter) = health_server().await;
    let acceptor = self_signed(&[b"h2"]);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut inner = TcpStream::connect(("127.0.0.1", plain)).await.unwrap();
            let _ = tokio::io::copy_bidirectional(&mut stream, &mut inner).await;
        }
    });
    let target = Target::on(port).await;
    let mode =
        |insecure: bool| json!({"type": "GRPC", "portName": "main", "tls": true, "insecure": insecure});
    let outcome = target.ask(mode(true), LONG).await;
    assert_eq!((outcome.passed, outcome.answer.as_str()), (true, "SERVING"));
    let outcome = target.ask(mode(false), LONG).await;
    assert!(!outcome.passed && outcome.code.is_none(), "{}", outcome.answer);
}

#[tokio::test]
async fn cmd_passes_on_zero_with_a_shell_or_without() {
    let target = Target::on(1).await;
    let cmd = |command: &str, shell_disabled: bool| json!({"type": "CMD", "command": command, "shellDisabled": shell_disabled});
    let outcome = target.ask(cmd("echo $GREETING && true", false), LONG).await;
    assert_eq!((outcome.passed, outcome.code, outcome.answer.as_str()), (true, Some(0), "hello\n"));
    let outcome = target.ask(cmd("echo  $GREETING", true), LONG).await;
    assert_eq!((outcome.passed, outcome.answer.as_str()), (true, "$GREETING\n"));
    let outcome = target.ask(cmd("echo bad >&2; exit 2", false), LONG).await;
    assert_eq!((outcome.passed, outcome.code, outcome.answer.as_str()), (false, Some(2), "bad\n"));
    let outcome = target.ask(cmd("sleep 3600", false), SHORT).await;
    assert!(!outcome.passed && outcome.answer.contains("was killed"), "{}", outcome.answer);
    let outcome = target.ask(cmd("", true), LONG).await;
    assert!(!outcome.passed && outcome.answer.contains("empty"), "{}", outcome.answer);
}

#[tokio::test]
async fn cmd_that_takes_too_long_is_killed_with_what_it_started() {
    let target = Target::on(1).await;
    let command = "echo before; sleep 3600 & sleep 3600 & wait";
    let mode = json!({"type": "CMD", "command": command});
    with_more_time(&target, mode.clone(), |outcome| {
        assert!(!outcome.passed && outcome.code.is_none() && outcome.latency >= SHORT, "{outcome:?}");
        assert!(outcome.answer.contains("took longer than"), "{}", outcome.answer);
        ["was killed", "before"].iter().all(|said| outcome.answer.contains(said))
    })
    .await;
    let nobody = || processes_of(&target.plan.instance).is_empty();
    until("nobody is left of the command", nobody).await;

    // An asker that is let go takes its command along: a stop does not wait for a check.
    let mode: CheckMode = serde_json::from_value(mode).unwrap();
    {
        let asked = target.prober.probe(&mode, LONG, &target.plan, &target.workload);
        tokio::pin!(asked);
        tokio::select! {
            outcome = &mut asked => panic!("it ended: {outcome:?}"),
            () = until("the command runs", || processes_of(&target.plan.instance).len() >= 3) => {}
        }
    }
    until("nobody is left of the command that was let go", nobody).await;
}

/// Set in a process that runs one test alone: the limit on open files holds for all threads.
const ALONE: &str = "MUSTER_TEST_ALONE";

/// Runs the test of this name in a process of its own; `false` in that process.
fn is_run_alone(name: &str) -> bool {
    if std::env::var_os(ALONE).is_some() {
        return false;
    }
    let mut test = std::process::Command::new(std::env::current_exe().unwrap());
    let output = test.args(["--exact", name, "--nocapture"]).env(ALONE, "1").output().unwrap();
    let said = [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned());
    assert!(output.status.success() && said[0].contains("1 passed"), "{said:?}");
    true
}

#[tokio::test]
async fn a_check_for_which_the_node_has_no_descriptors_left_counts_neither_way() {
    if is_run_alone("a_check_for_which_the_node_has_no_descriptors_left_counts_neither_way") {
        return;
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut target = Target::on(listener.local_addr().unwrap().port()).await;
    let user = muster_common::spec::UserSpec { user: "0".to_owned(), group: Some("0".to_owned()) };
    if rustix::process::geteuid().is_root() {
        std::sync::Arc::make_mut(&mut target.plan.spec).user_spec = Some(user);
    }
    let before = getrlimit(Resource::Nofile);
    let limited = async |files: u64, mode: &Value| {
        setrlimit(Resource::Nofile, Rlimit { current: Some(files), ..before }).unwrap();
        let outcome = target.ask(mode.clone(), LONG).await;
        setrlimit(Resource::Nofile, before).unwrap();
        outcome
    };
    let calls =
        [http("/"), json!({"type": "TCP", "portName": "main"}), json!({"type": "GRPC", "portName": "main"})];
    for call in calls {
        let outcome = limited(0, &call).await;
        assert_eq!((outcome.passed, outcome.asked), (false, false), "{call}: {}", outcome.answer);
    }
    // Whatever it is that takes the last one.
    let command = json!({"type": "CMD", "command": "exit 0"});
    let mut refused = 0;
    for files in 0..64 {
        let outcome = limited(files, &command).await;
        assert_eq!(outcome.asked, outcome.passed, "{files}: {}", outcome.answer);
        refused += u32::from(!outcome.asked);
    }
    assert!(refused > 0 && refused < 64, "{refused}");
    assert!(target.ask(json!({"type": "TCP", "portName": "main"}), LONG).await.passed);
}
