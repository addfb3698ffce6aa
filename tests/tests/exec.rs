//! Commands beside instances, through the controllers, on a real cluster.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test fails by panicking

use std::time::Duration;

use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt, StreamExt};
use muster_common::instance::InstanceInfo;
use muster_tests::cluster::{BOUND, DevCluster, is_alive};
use muster_tests::docker_image::{TestImage, engine_or_skip};
use reqwest::StatusCode;
use reqwest::blocking::Client;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio_tungstenite::tungstenite::{ClientRequestBuilder, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

const PROGRAM: &str = env!("CARGO_BIN_EXE_muster-under-test");
const SERVICE: &str = "example-1";

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

fn one(cluster: &DevCluster, service: &str) -> InstanceInfo {
    cluster.wait_for("a healthy instance", || cluster.healthy(service).pop())
}

fn path(instance: &InstanceInfo, service: &str) -> String {
    format!("apis/v1/localservices/{service}/instances/{}/exec", instance.instance_id)
}

/// What running `body` answers.
fn post(rest: &str, path: &str, body: &Value) -> (StatusCode, Value) {
    let http = Client::builder().no_proxy().timeout(BOUND).build().unwrap();
    let answer = http.post(format!("{rest}/{path}")).json(body).send().unwrap();
    (answer.status(), answer.json().unwrap())
}

fn ran(rest: &str, path: &str, body: &Value) -> Value {
    let (status, answer) = post(rest, path, body);
    assert_eq!(status, StatusCode::OK, "{answer}");
    answer["data"].clone()
}

/// A user at a command.
struct User {
    to: SplitSink<WebSocketStream<MaybeTlsStream<TcpStream>>, Message>,
    from: SplitStream<WebSocketStream<MaybeTlsStream<TcpStream>>>,
    /// What was written, and not read yet.
    seen: Vec<u8>,
    end: Option<Value>,
}

impl User {
    async fn run(rest: &str, path: &str, query: &str) -> Self {
        let url = format!("{}/{path}?{query}", rest.replace("http://", "ws://"));
        let request = ClientRequestBuilder::new(url.parse().unwrap()).with_sub_protocol("muster.exec.v1");
        let (socket, _) = connect_async(request).await.unwrap();
        let (to, from) = socket.split();
        Self { to, from, seen: Vec::new(), end: None }
    }

    async fn send(&mut self, channel: u8, bytes: &[u8]) {
        let mut frame = vec![channel];
        frame.extend_from_slice(bytes);
        self.to.send(Message::Binary(frame.into())).await.unwrap();
    }

    /// Takes the next message; none after the last.
    async fn step(&mut self) -> Option<()> {
        let message = tokio::time::timeout(BOUND, self.from.next()).await.expect("it says something");
        match message?.ok()? {
            Message::Binary(frame) => match frame[0] {
                1 | 2 => self.seen.extend_from_slice(&frame[1..]),
                3 => self.end = Some(serde_json::from_slice(&frame[1..]).unwrap()),
                other => panic!("channel {other}"),
            },
            Message::Close(_) => return None,
            _ => {}
        }
        Some(())
    }

    /// Reads until `text` was written, and forgets all up to it.
    async fn until(&mut self, text: &str) -> String {
        loop {
            let seen = String::from_utf8_lossy(&self.seen).into_owned();
            if let Some(at) = seen.find(text) {
                let end = at + text.len();
                self.seen = seen.as_bytes()[end..].to_vec();
                return seen[..end].to_owned();
            }
            self.step().await.unwrap_or_else(|| panic!("{text:?} was not written: {seen:?}, {:?}", self.end));
        }
    }

    /// What was written and not read yet, and how the command ended.
    async fn end(mut self) -> (String, Value) {
        while self.step().await.is_some() {}
        (String::from_utf8_lossy(&self.seen).into_owned(), self.end.expect("its end is told"))
    }
}

#[test]
fn a_command_runs_beside_a_process_and_everybody_can_see_that_it_did() {
    let cluster = DevCluster::start(PROGRAM, 1, &[]);
    let instance = one(&cluster, SERVICE);
    let path = path(&instance, SERVICE);
    let script = "echo $MUSTER_INSTANCE_ID $COLOUR; pwd; echo wrong >&2; read line; echo got $line; exit 3";
    let body = json!({
        "command": ["sh", "-c", script], "stdin": "hello\n", "env": {"COLOUR": "green"}, "workdir": "/tmp"
    });
    for controller in cluster.controllers() {
        let data = ran(&controller.rest, &path, &body);
        let written = format!("{} green\n/tmp\ngot hello\n", instance.instance_id);
        assert_eq!(
            data,
            json!({"exitCode": 3, "stdout": written, "stderr": "wrong\n", "truncated": false, "timedOut": false})
        );
    }
    let rest = cluster.controllers()[0].rest.clone();
    let events: Vec<Value> = cluster.try_get(&rest, "cluster/events").unwrap();
    let noted: Vec<&Value> = events.iter().filter(|event| event["type"] == "INSTANCE_EXEC").collect();
    assert_eq!(noted.len(), 3);
    let metadata = &noted[0]["metadata"];
    assert_eq!(metadata["PROGRAM"], "sh");
    assert_eq!(metadata["INSTANCE_ID"], json!(instance.instance_id));
    assert!(metadata["USER"].is_string() && !noted[0].to_string().contains("read line"), "no arguments");

    let much = json!({"command": ["sh", "-c", "head -c 3000000 /dev/zero | tr '\\0' x; echo end >&2"]});
    let data = ran(&rest, &path, &much);
    assert_eq!((data["truncated"].as_bool(), data["stdout"].as_str().unwrap().len()), (Some(true), 1 << 20));
    assert_eq!((data["exitCode"].as_i64(), data["stderr"].as_str()), (Some(0), Some("end\n")));

    let killed = ran(&rest, &path, &json!({"command": ["sh", "-c", "kill -9 $$"]}));
    assert_eq!((killed["signal"].as_str(), killed.get("exitCode")), (Some("SIGKILL"), None));

    let late = json!({"command": ["sh", "-c", "echo $$; sleep 1000"], "timeout": "2s"});
    let data = ran(&rest, &path, &late);
    assert_eq!(data["timedOut"], json!(true));
    let pid: u32 = data["stdout"].as_str().unwrap().trim().parse().unwrap();
    cluster.wait_for("it to be killed", || (!is_alive(pid)).then_some(()));

    let (status, answer) = post(&rest, &path, &json!({"command": []}));
    assert_eq!((status, answer["data"]["kind"].as_str()), (StatusCode::BAD_REQUEST, Some("INVALID")));
    let nobody = format!("apis/v1/localservices/{SERVICE}/instances/SI-none/exec");
    let (_, answer) = post(&rest, &nobody, &body);
    assert_eq!(answer["message"], json!(format!("No such local service instance {SERVICE}/SI-none")));

    tell_what_cannot_be_run(&cluster, SERVICE, "true");
}

/// What cannot be run has a shell's exit code and a reason that names it, however it is asked for: in a body, over a socket,
/// by the program. `there` is a program that the instance has.
fn tell_what_cannot_be_run(cluster: &DevCluster, service: &str, there: &str) {
    let rest = cluster.controllers()[0].rest.clone();
    let path = path(&one(cluster, service), service);
    for (program, workdir, code, named) in [
        ("nonesuch", None, 127, "nonesuch"),
        ("/no/such/program", None, 127, "/no/such/program"),
        ("/dev", None, 126, "/dev"),
        (there, Some("/no/such/directory"), 126, "/no/such/directory"),
        (there, Some("/dev/null"), 126, "/dev/null"),
    ] {
        let case = format!("{program} in {workdir:?}");
        let mut body = json!({"command": [program]});
        let (mut query, mut options) = (format!("command={program}"), Vec::new());
        if let Some(workdir) = workdir {
            body["workdir"] = json!(workdir);
            query = format!("{query}&workdir={workdir}");
            options = vec!["--workdir", workdir];
        }
        let data = ran(&rest, &path, &body);
        let is_named = |error: &Value| error.as_str().is_some_and(|error| error.contains(named));
        assert!(is_named(&data["error"]), "{case}: {data}");
        assert_eq!(
            (&data["exitCode"], &data["stdout"], &data["stderr"]),
            (&json!(code), &json!(""), &json!(""))
        );
        for query in [query.clone(), format!("{query}&tty=true")] {
            let user = async { User::run(&rest, &path, &query).await.end().await };
            let (written, end) = runtime().block_on(user);
            assert!(is_named(&end["error"]) && end["exitCode"] == json!(code), "{query}: {end}");
            assert!(written.is_empty(), "{query}: {written:?}");
        }
        for limit in [&[][..], &["--timeout", "1m"]] {
            let args =
                [&["exec", "--server", &rest], &options[..], limit, &[service, "--", program]].concat();
            let output = cluster.muster(&args);
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
            assert!(said.contains(named) && output.stdout.is_empty(), "{args:?}: {said}");
        }
    }
}

#[test]
fn a_terminal_has_its_size_its_keys_and_its_exit_code() {
    let cluster = DevCluster::start(PROGRAM, 1, &[]);
    let path = path(&one(&cluster, SERVICE), SERVICE);
    let leader = cluster.wait_for("a leader", || cluster.leader());
    let rest = cluster.controllers().into_iter().find(|one| one.id != leader.id).unwrap().rest;
    runtime().block_on(async {
        let query = "command=sh&tty=true&stdin=true&rows=30&columns=100&env=PS1=ready%3E";
        let mut user = User::run(&rest, &path, query).await;
        user.until("ready>").await;
        user.send(0, b"stty size\n").await;
        user.until("30 100").await;
        user.send(4, br#"{"rows":50,"columns":132}"#).await;
        // The size travels beside the keys.
        loop {
            user.until("ready>").await;
            user.send(0, b"stty size\n").await;
            user.until("stty size\r\n").await;
            if user.until("\n").await.contains("50 132") {
                break;
            }
        }
        user.until("ready>").await;
        user.send(0, b"test -t 0 && test -t 1 && tty && exit 7\n").await;
        assert_eq!(user.end().await.1, json!({"exitCode": 7}));

        let script = "trap+%27echo+trapped%3B+exit+9%27+INT%3B+echo+set%3B+while+%3A%3B+do+sleep+1%3B+done";
        let mut user =
            User::run(&rest, &path, &format!("command=sh&command=-c&command={script}&tty=true&stdin=true"))
                .await;
        user.until("set").await;
        user.send(0, &[3]).await;
        user.until("trapped").await;
        assert_eq!(user.end().await.1, json!({"exitCode": 9}), "Ctrl-C");
    });
}

#[test]
fn input_is_echoed_whole_signals_arrive_and_who_leaves_ends_his_command() {
    let cluster = DevCluster::start(PROGRAM, 1, &[]);
    let path = path(&one(&cluster, SERVICE), SERVICE);
    let rest = cluster.controllers()[0].rest.clone();
    runtime().block_on(async {
        // More than all windows on the way, which `cat` must not stop: nobody reads before everything is written.
        let much: Vec<u8> = (0..4_000_000_u32).map(|n| u8::try_from(n % 251).unwrap()).collect();
        let User { mut to, mut from, .. } = User::run(&rest, &path, "command=cat&stdin=true").await;
        let writes = async {
            for piece in much.chunks(100_000) {
                let frame: Vec<u8> = [&[0], piece].concat();
                to.send(Message::Binary(frame.into())).await.unwrap();
            }
            to.send(Message::Binary(vec![0].into())).await.unwrap();
        };
        let reads = async {
            let (mut echoed, mut end) = (Vec::new(), None);
            while let Some(Ok(message)) = from.next().await {
                match message {
                    Message::Binary(frame) if frame[0] == 1 => echoed.extend_from_slice(&frame[1..]),
                    Message::Binary(frame) => {
                        end = Some(serde_json::from_slice::<Value>(&frame[1..]).unwrap());
                    }
                    _ => {}
                }
            }
            (echoed, end)
        };
        let ((), (echoed, end)) = tokio::time::timeout(BOUND, async { tokio::join!(writes, reads) })
            .await
            .expect("it goes through");
        assert!(echoed == much, "{} of {} bytes", echoed.len(), much.len());
        assert_eq!(end, Some(json!({"exitCode": 0})));

        let mut user =
            User::run(&rest, &path, "command=sh&command=-c&command=echo+go%3B+exec+sleep+1000").await;
        user.until("go\n").await;
        user.send(5, br#"{"signal":"SIGTERM"}"#).await;
        assert_eq!(user.end().await.1, json!({"signal": "SIGTERM"}));

        // With what it started in the background, in a session of its own.
        let script = "command=sh&command=-c&command=setsid+sleep+1000+%26+echo+%24%24+%24!%3B+sleep+1000";
        let mut user = User::run(&rest, &path, script).await;
        let pids = user.until("\n").await;
        let pids: Vec<u32> = pids.split_whitespace().map(|pid| pid.parse().unwrap()).collect();
        assert!(pids.iter().all(|pid| is_alive(*pid)));
        drop(user);
        cluster.wait_for("them to be killed", || (!pids.iter().any(|pid| is_alive(*pid))).then_some(()));
    });
}

#[test]
fn who_leaves_or_sends_a_signal_is_heard_while_his_input_waits() {
    let cluster = DevCluster::start(PROGRAM, 1, &[]);
    let path = path(&one(&cluster, SERVICE), SERVICE);
    let rest = cluster.controllers()[0].rest.clone();
    // More than a pipe and all windows hold.
    let much = vec![b'x'; 95_000];
    let query = "stdin=true&command=sh&command=-c&command=echo+%24%24%3B+exec+sleep+1000";
    runtime().block_on(async {
        for leaves in [false, true] {
            let mut user = User::run(&rest, &path, query).await;
            let pid: u32 = user.until("\n").await.trim().parse().unwrap();
            for _ in 0..4 {
                user.send(0, &much).await;
            }
            assert!(is_alive(pid));
            if leaves {
                drop(user);
            } else {
                user.send(5, br#"{"signal":"SIGTERM"}"#).await;
                assert_eq!(user.end().await.1, json!({"signal": "SIGTERM"}));
            }
            cluster.wait_for("it to be ended", || (!is_alive(pid)).then_some(()));
        }
    });
}

#[test]
fn docker_commands_run_inside_the_container() {
    let runtime = runtime();
    let Some(engine) = runtime.block_on(engine_or_skip("docker_commands_run_inside_the_container")) else {
        return;
    };
    let image = runtime.block_on(TestImage::import(&engine)).unwrap();
    let check = json!({
        "mode": {"type": "TCP", "portName": "main"}, "timeout": "5s", "interval": "1s", "attempts": 3
    });
    let spec = json!({
        "name": "web", "version": "1", "type": "LOCAL_SERVICE", "args": ["serve", "8000"],
        "executable": {"type": "DOCKER", "url": image.reference(), "dockerPullTimeout": "20s"},
        "exposedPorts": [{"name": "main", "port": 8000, "type": "HTTP"}],
        "resources": [{"type": "CPU", "count": 1}, {"type": "MEMORY", "sizeInMB": 32}],
        "placementPolicy": {"type": "LOCAL", "hostLevel": false},
        "healthcheck": check, "readiness": check,
    });
    let cluster = DevCluster::start(PROGRAM, 1, &[spec]);
    let instance = one(&cluster, "web-1");
    let path = path(&instance, "web-1");
    let rest = cluster.controllers()[0].rest.clone();
    let data = ran(&rest, &path, &json!({"command": ["/service", "exit", "7"]}));
    assert_eq!((data["exitCode"].as_i64(), data["stdout"].as_str()), (Some(7), Some("exit 7 \n")));
    let data = ran(&rest, &path, &json!({"command": ["/service", "what"]}));
    assert_eq!(data["stderr"], json!("service: what is 'what'?\n"));
    let env = json!({"command": ["/service", "env", "COLOUR"], "env": {"COLOUR": "green"}});
    assert_eq!(ran(&rest, &path, &env)["stdout"], json!("green\n"));
    let cat = json!({"command": ["/service", "cat", "/proc/self/fd/0"], "stdin": "one\ntwo\n"});
    assert_eq!(ran(&rest, &path, &cat)["stdout"], json!("one\ntwo\n"));

    tell_what_cannot_be_run(&cluster, "web-1", "/service");

    runtime.block_on(async {
        let query = "command=/service&command=sleep&tty=true&stdin=true";
        let mut user = User::run(&rest, &path, query).await;
        user.until("asleep").await;
        user.send(4, br#"{"rows":50,"columns":132}"#).await;
        user.send(0, &[3]).await;
        assert_eq!(user.end().await.1, json!({"exitCode": 130}));

        let mut user = User::run(&rest, &path, "command=/service&command=sleep").await;
        user.until("asleep").await;
        let container = format!("web-1-{}", instance.instance_id);
        let top = async || engine.top_processes(&container, None).await.unwrap().processes.unwrap().len();
        assert_eq!(top().await, 2);
        drop(user);
        let deadline = tokio::time::Instant::now() + BOUND;
        while top().await > 1 {
            assert!(tokio::time::Instant::now() < deadline, "the command goes on without its user");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
}
