//! Clients that mean harm, or are broken, against the program itself: its memory stays bounded, they are cut off or told
//! what to do, and others are served meanwhile.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test says so by failing

mod common;

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::process::Stdio;
use std::time::Duration;

use common::executor::instance;
use common::program::{Files, Running, until};
use common::{Cluster, spec};
use muster_common::instance::InstanceState;
use muster_platform::World;
use muster_proto::v1;
use serde_json::json;
use tokio::time::timeout;

/// The most that all bodies take together while they arrive, the most of one, and what of each is free (`api/body.rs`).
const ARRIVING_BYTES: u64 = 64 << 20;
const MAX_BODY_BYTES: usize = 1 << 20;
const FREE_BYTES: usize = 16 << 10;
/// What a controller takes of its own, generously: a build without optimisation, its files, its threads.
const OWN_BYTES: u64 = 128 << 20;
/// No answer takes longer.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);

/// A controller that answers.
struct Controller {
    files: Files,
    program: Running,
}

impl Controller {
    fn start() -> Self {
        let files = Files::new();
        let program = Running(files.command().stderr(Stdio::null()).spawn().unwrap());
        assert_eq!(files.get("/ping"), json!("pong"));
        let controller = Self { files, program };
        let seed = json!({"type": "CREATE", "spec": spec("SEED"), "instancesPerHost": 1});
        until("it leads", || controller.submits(&seed).then_some(()));
        controller
    }

    fn submits(&self, operation: &serde_json::Value) -> bool {
        self.files.submit(&reqwest::blocking::Client::new(), operation)
    }

    /// A connection on which `head` was sent.
    fn send(&self, head: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(("127.0.0.1", self.files.api)).unwrap();
        stream.set_read_timeout(Some(ANSWER_WITHIN)).unwrap();
        stream.write_all(head).unwrap();
        stream
    }

    /// The head of a POST of an operation.
    fn post(&self, length: &str) -> Vec<u8> {
        format!(
            "POST /apis/v1/localservices/operations HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nContent-Type: application/json\r\n\
             {length}\r\n\r\n",
            self.files.api
        )
        .into_bytes()
    }

    /// The status and the rest of what is answered to a GET of `path`, byte for byte as it is written here.
    fn get_raw(&self, path: &[u8]) -> (u16, String) {
        let host = format!(" HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nConnection: close\r\n\r\n", self.files.api);
        answer(&mut self.send(&[b"GET ", path, host.as_bytes()].concat()))
    }

    fn resident_bytes(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.program.0.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }

    /// Others are served, and nothing grew beyond `more` bytes.
    fn is_well(&self, more: u64) {
        assert_eq!(self.files.get("/ping"), json!("pong"));
        assert!(self.files.get("/localservices").get("SEED-1").is_some());
        let resident = self.resident_bytes();
        assert!(resident < OWN_BYTES + more, "{resident} bytes are resident");
    }
}

/// The status and the rest of an answer; 0 where the connection was cut before there was one.
fn answer(stream: &mut TcpStream) -> (u16, String) {
    let mut bytes = Vec::new();
    // A connection that is cut while something is sent may say so instead of ending.
    match stream.read_to_end(&mut bytes) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        Err(error) => panic!("no answer: {error}"),
    }
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let status = text.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok()).unwrap_or(0);
    (status, text)
}

/// Whether a connection is over that is never read from: it refuses what is sent, where one that is stalled takes it or
/// waits.
fn is_cut_off(client: &mut TcpStream) -> bool {
    client.set_nonblocking(true).unwrap();
    // However much of it.
    client.write_all(b"GET /").is_err_and(|error| error.kind() != ErrorKind::WouldBlock)
}

#[test]
fn bodies_that_never_end_hold_no_more_than_their_budget_and_keep_no_small_one_out() {
    /// More than there is room for.
    const TOO_MANY: usize = 8;
    let controller = Controller::start();
    let large = controller.post(&format!("Content-Length: {MAX_BODY_BYTES}\r\nConnection: close"));
    let unsaid = controller.post("Transfer-Encoding: chunked\r\nConnection: close");
    // Almost all of it, and then nothing any more.
    let part = vec![b' '; MAX_BODY_BYTES - 1024];
    let room = usize::try_from(ARRIVING_BYTES).unwrap() / (part.len() - FREE_BYTES);
    let mut held: Vec<TcpStream> = (0..room + TOO_MANY)
        .map(|nth| {
            let mut stream = controller.send(if nth % 2 == 0 { &large } else { &unsaid });
            let size = if nth % 2 == 0 { String::new() } else { format!("{:x}\r\n", part.len()) };
            // Of who is refused not all is taken.
            let _ = stream.write_all(size.as_bytes()).and_then(|()| stream.write_all(&part));
            stream
        })
        .collect();
    let is_answered = |stream: &TcpStream| {
        stream.set_nonblocking(true).unwrap();
        let answered = !stream.peek(&mut [0]).is_err_and(|error| error.kind() == ErrorKind::WouldBlock);
        stream.set_nonblocking(false).unwrap();
        answered
    };
    let answered = || held.iter().filter(|stream| is_answered(stream)).count();
    until("those for whom there is no room are told", || (answered() >= TOO_MANY).then_some(()));
    let small = json!({"type": "CREATE", "spec": spec("SMALL"), "instancesPerHost": 1});
    assert!(controller.submits(&small), "a small one comes through");
    assert!(answered() < held.len(), "while large ones dawdle");
    controller.is_well(2 * ARRIVING_BYTES);

    let answers: Vec<String> = held.iter_mut().map(|stream| answer(stream).1).collect();
    let told = |sentence: &str| {
        answers.iter().filter(|text| text.starts_with("HTTP/1.1 503 ") && text.contains(sentence)).count()
    };
    // Of who is refused while it still sends, the connection may be cut before it has read why.
    let given_up = told("came too slowly and was given up; nothing was done, send it again");
    assert!((1..=room).contains(&given_up), "{answers:?}");
    assert!(told("too many large bodies; retry in a moment") <= held.len() - given_up);
    let next = vec![b' '; MAX_BODY_BYTES];
    until("there is room again", || {
        let mut stream = controller.send(&large);
        stream.write_all(&next).ok()?;
        answer(&mut stream).1.contains("JSON validation failure").then_some(())
    });
    controller.is_well(2 * ARRIVING_BYTES);
}

#[test]
fn a_body_that_comes_byte_by_byte_is_given_up_in_time() {
    let controller = Controller::start();
    let mut stream = controller.send(&controller.post("Content-Length: 100000\r\nConnection: close"));
    stream.set_nonblocking(true).unwrap();
    let said = until("it is told so", || {
        // Once the answer is there, what is sent may be refused.
        let _ = stream.write(b" ");
        let mut said = [0; 1024];
        stream.read(&mut said).ok().map(|length| String::from_utf8_lossy(&said[..length]).into_owned())
    });
    assert!(said.starts_with("HTTP/1.1 503 ") || said.is_empty(), "{said}");
    controller.is_well(0);
}

#[test]
fn who_reads_nothing_of_what_it_asks_for_is_cut_off() {
    /// Enough that no socket holds what is asked for.
    const ASKED: usize = 300;
    const CLIENTS: usize = 24;
    let controller = Controller::start();
    let request =
        format!("GET /apis/v1/openapi.json HTTP/1.1\r\nHost: 127.0.0.1:{}\r\n\r\n", controller.files.api);
    let size = controller.get_raw(b"/apis/v1/openapi.json").1.len();
    assert!(size * ASKED > 16 << 20, "an answer of {size} bytes fits into the sockets");
    let clients: Vec<TcpStream> =
        (0..CLIENTS).map(|_| controller.send(request.repeat(ASKED).as_bytes())).collect();
    controller.is_well(64 << 20);
    for mut client in clients {
        until("it is cut off", || is_cut_off(&mut client).then_some(()));
    }
    controller.is_well(64 << 20);
}

/// An instance of `WEB-1` that came to its end, with much to say of it.
fn ended(id: usize, row: &v1::SlotAssignment) -> v1::InstanceRecord {
    let way = InstanceState::LIFE;
    let steps = way.windows(2).zip(1..).map(|(step, at_ms)| v1::Transition {
        at_ms,
        from: step[0].to_string(),
        to: step[1].to_string(),
        ..v1::Transition::default()
    });
    v1::InstanceRecord {
        timeline: steps.collect(),
        evidence: Some(v1::Evidence { log_tail: "x".repeat(4096), ..v1::Evidence::default() }),
        ..instance(&format!("SI-OLD-{id}"), "WEB-1", "e1", row, way[way.len() - 1].as_str())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn who_stops_reading_a_list_or_a_watch_is_cut_off_and_others_are_served_meanwhile() {
    /// More than the sockets of a connection hold.
    const LARGE: usize = 3 << 20;
    const ENDED: usize = 1_500;
    const AT_ONCE: usize = 50;
    const CLIENTS: usize = 8;
    let configure = |config: &mut muster_controller::ControllerConfig| config.retention.old_instances = 5_000;
    let cluster = Cluster::start_configured(World::system(), 1, configure).await;
    let (mut session, table, _) = cluster.with_a_healthy_instance().await;
    for begin in (0..ENDED).step_by(AT_ONCE) {
        let batch = begin..begin + AT_ONCE;
        session.report(batch.map(|id| ended(id, &table.rows[0])).collect(), Vec::new()).await;
        let mut confirmed = 0;
        while confirmed < AT_ONCE {
            confirmed += session.ack().await.instances.len();
        }
    }
    let paths = ["/localservices/WEB-1/instances/old", "/cluster/events/watch?from=0"];
    let api = cluster.controllers[0].api_addr();
    let mut stalled = Vec::new();
    for path in paths.iter().cycle().take(CLIENTS) {
        let mut client = TcpStream::connect(api).unwrap();
        client.write_all(format!("GET /apis/v1{path} HTTP/1.1\r\nHost: {api}\r\n\r\n").as_bytes()).unwrap();
        stalled.push(client);
    }
    for path in paths {
        let mut answer = cluster.http.get(cluster.url(0, &format!("/apis/v1{path}"))).send().await.unwrap();
        let read = async {
            let mut taken = 0;
            while taken < LARGE {
                taken += answer.chunk().await.unwrap().expect("there is more").len();
            }
        };
        timeout(ANSWER_WITHIN, read).await.expect("it is as large as that");
    }
    for mut client in stalled {
        until("it is cut off", || is_cut_off(&mut client).then_some(()));
        assert_eq!(cluster.get(0, "/localservices/WEB-1/instances").await.0, 200);
    }
    cluster.stop().await;
}

#[test]
fn http_2_is_not_spoken_without_tls() {
    let controller = Controller::start();
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    assert_eq!(answer(&mut controller.send(preface)), (0, String::new()), "the connection ends");
    controller.is_well(0);
}

#[test]
fn heads_have_a_limit() {
    let controller = Controller::start();
    for (length, expected) in [(1_000, &[404][..]), (70_000, &[414, 431, 0]), (1_000_000, &[414, 431, 0])] {
        let path = format!("/apis/v1/{}", "x".repeat(length));
        let mut stream = controller.send(b"");
        // Cut off while it is still being sent, it cannot be sent as a whole.
        let _ = stream.write_all(
            format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n").as_bytes(),
        );
        let (status, _) = answer(&mut stream);
        assert!(expected.contains(&status), "{length}: {status}");
    }
    controller.is_well(0);
}

#[test]
fn no_path_leads_out_of_the_api() {
    let controller = Controller::start();
    let secret = fs::read_to_string(controller.files.path("key.pem")).unwrap();
    let secret = secret.lines().nth(1).unwrap();
    let dir = controller.files.dir.path().display();
    let long = "x".repeat(3_000);
    let names = [
        "..",
        ".",
        "../../../../etc/passwd",
        "..%2f..%2f..%2fetc%2fpasswd",
        "%2e%2e%2f%2e%2e%2fkey.pem",
        "%2e%2e/key.pem",
        "..%5c..%5ckey.pem",
        "%252e%252e%252fkey.pem",
        "output.log%00.pem",
        "%00",
        "%ff%fe",
        "/etc/passwd",
        "output.log/../../../key.pem",
        &long,
        &format!("{dir}/key.pem"),
    ];
    let places = [
        "/apis/v1/logfiles/localservices/SEED-1/SI-1/read/",
        "/apis/v1/logfiles/localservices/SEED-1/SI-1/download/",
        "/apis/v1/logfiles/localservices/SEED-1/",
        "/apis/v1/localservices/SEED-1/instances/",
        "/apis/v1/localservices/",
        "/apis/v1/",
        "/",
    ];
    for place in places {
        for name in names {
            let path = format!("{place}{name}");
            let (status, text) = controller.get_raw(path.as_bytes());
            let leads_nowhere = matches!(status, 204 | 400 | 404 | 405)
                || (status == 200 && text.contains("\"status\":\"FAILED\""));
            // Dots that stand for themselves name what they name in every other program.
            assert!(leads_nowhere || place == "/apis/v1/localservices/", "{path}: {text:.300}");
            assert!(!text.contains("root:") && !text.contains(secret), "{path}: {text:.300}");
        }
    }
    controller.is_well(0);
}
