//! Logs through the controllers, on a real cluster: whoever follows sees every line once, whatever dies meanwhile.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test fails by panicking

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;

use muster_common::instance::{InstanceInfo, InstanceState};
use muster_tests::cluster::{BOUND, DevCluster, signal};
use muster_tests::sse::Events;
use reqwest::blocking::{Client, Response};
use rustix::process::Signal;
use serde_json::{Value, json};

const PROGRAM: &str = env!("CARGO_BIN_EXE_muster-under-test");
const SERVICE: &str = "counter-1";
/// How many lines an instance writes; then it is silent.
const LINES: usize = 3_000;
/// Files of 4 KiB: some fifty lines each.
const ROTATIONS: u64 = 20;

/// Writes numbered lines, some hundred a second.
fn spec(lines: usize, max_files: u32) -> Value {
    let script = format!(
        "i=0; while [ $i -lt {lines} ]; do n=0; while [ $n -lt 20 ] && [ $i -lt {lines} ]; do \
         echo \"line $i é .......................................................\"; i=$((i+1)); n=$((n+1)); \
         done; sleep 0.1; done; exec sleep 1000"
    );
    let check =
        json!({"mode": {"type": "CMD", "command": "true"}, "timeout": "5s", "interval": "1s", "attempts": 3});
    json!({
        "name": "counter", "version": "1", "type": "LOCAL_SERVICE",
        "executable": {"type": "PROCESS", "command": ["/bin/sh", "-c", script]},
        "exposedPorts": [{"name": "main", "port": 8080, "type": "HTTP"}],
        "resources": [{"type": "CPU", "count": 1}, {"type": "MEMORY", "sizeInMB": 32}],
        "placementPolicy": {"type": "LOCAL", "hostLevel": false},
        "logging": {"type": "LOCAL", "maxSize": "4k", "maxFiles": max_files, "compress": true},
        "readiness": check, "healthcheck": check,
    })
}

fn one(cluster: &DevCluster) -> InstanceInfo {
    cluster.wait_for("a healthy instance", || cluster.healthy(SERVICE).pop())
}

fn get(url: &str) -> Response {
    let http = Client::builder().no_proxy().timeout(BOUND).build().unwrap();
    http.get(url).send().unwrap()
}

fn logs_of(rest: &str, instance: &InstanceInfo) -> String {
    format!("{rest}/apis/v1/localservices/{SERVICE}/instances/{}/logs", instance.instance_id)
}

fn drove(rest: &str, instance: &str) -> String {
    format!("{rest}/apis/v1/logfiles/localservices/{SERVICE}/{instance}")
}

fn numbers(text: &str) -> Vec<usize> {
    text.lines().map(|line| line.split(' ').nth(1).unwrap().parse().unwrap()).collect()
}

#[test]
fn who_follows_sees_every_line_once_through_rotations_a_killed_executor_and_a_killed_leader() {
    let cluster = DevCluster::start(PROGRAM, 1, &[spec(LINES, 100)]);
    let instance = one(&cluster);
    let leader = cluster.wait_for("a leader", || cluster.leader());
    let mut others = cluster.controllers();
    others.retain(|controller| controller.id != leader.id);
    // One connection that nothing breaks, and one to the leader, which goes on elsewhere.
    let urls = |rest: &str| format!("{}?since=0&follow=true", logs_of(rest, &instance));
    let steady = {
        let url = urls(&others[0].rest);
        std::thread::spawn(move || {
            let mut text = String::new();
            for sse in Events::open(&url, None).unwrap() {
                assert_eq!(sse.event, "lines", "{sse:?}");
                text.push_str(sse.data["text"].as_str().unwrap());
                if text.lines().count() >= LINES && text.ends_with('\n') {
                    break;
                }
            }
            text
        })
    };
    let wanderer = {
        let (first, second) = (urls(&leader.rest), urls(&others[1].rest));
        std::thread::spawn(move || {
            let (mut text, mut last, mut breaks) = (String::new(), None, 0);
            let mut events = Events::open(&first, None).unwrap();
            while text.lines().count() < LINES || !text.ends_with('\n') {
                if let Some(sse) = events.next().filter(|sse| sse.event == "lines") {
                    text.push_str(sse.data["text"].as_str().unwrap());
                    assert_eq!(sse.id.as_deref(), sse.data["nextPosition"].as_str());
                    last = sse.id;
                } else {
                    breaks += 1;
                    events = Events::open(&second, last.as_deref()).unwrap();
                }
            }
            (text, breaks)
        })
    };
    let files = format!("{}/files", logs_of(&others[0].rest, &instance));
    let rotated_beyond = |count: u64| {
        cluster.wait_for("more rotations", || {
            let files: Value = get(&files).json().ok()?;
            let files = files["data"]["files"].as_array()?.clone();
            let last = files.last()?["name"].as_str()?.strip_prefix("output.log-")?.parse::<u64>().ok()?;
            (last >= count).then_some(())
        });
    };
    rotated_beyond(ROTATIONS / 4);
    cluster.dev("kill", "executor-1");
    cluster.dev("start", "executor-1");
    rotated_beyond(ROTATIONS / 2);
    cluster.dev("kill", &leader.id);
    let all: Vec<usize> = (0..LINES).collect();
    assert_eq!(numbers(&steady.join().unwrap()), all, "the steady one");
    let (text, breaks) = wanderer.join().unwrap();
    assert_eq!(numbers(&text), all, "the one that went on elsewhere");
    assert_eq!(breaks, 1);
    rotated_beyond(ROTATIONS);
    assert_eq!(one(&cluster).instance_id, instance.instance_id, "and nothing was started anew");

    read_as_drove_has_it(&drove(&others[0].rest, &instance.instance_id), &instance.instance_id);
}

/// docs/drove-api.md §1.5 of a log that is longer than one piece: one file that never seems to be rotated,
/// and each that was.
fn read_as_drove_has_it(drove: &str, instance: &str) {
    let whole = get(&format!("{drove}/download/output.log")).text().unwrap();
    let all: Vec<usize> = (0..LINES).collect();
    assert_eq!(numbers(&whole), all);
    let end = whole.len() as u64;
    for (query, offset, data) in [
        ("", end, ""),
        ("?offset=-1&length=-1", end, ""),
        ("?offset=-1", end, ""),
        (&format!("?offset={end}"), end, ""),
        (&format!("?offset={}&length=10", end + 7), end + 7, ""),
        ("?offset=5&length=10", 5, &whole[5..15]),
        ("?offset=0&length=1", 0, &whole[..1]),
    ] {
        let answer = get(&format!("{drove}/read/output.log{query}"));
        assert_eq!(
            (answer.status().as_u16(), &answer.headers()["content-type"]),
            (200, &"application/json".parse().unwrap())
        );
        assert_eq!(answer.json::<Value>().unwrap(), json!({"data": data, "offset": offset}), "{query}");
    }
    // So much unless the caller says, and whole characters: no more than three bytes less.
    let mut offset = 0;
    let mut read = String::new();
    while offset < end {
        let piece: Value = get(&format!("{drove}/read/output.log?offset={offset}")).json().unwrap();
        assert_eq!(piece["offset"].as_u64(), Some(offset));
        let data = piece["data"].as_str().unwrap();
        let is_last = offset + data.len() as u64 == end;
        assert!((32_765..=32_768).contains(&data.len()) || is_last && !data.is_empty(), "{}", data.len());
        read.push_str(data);
        offset += data.len() as u64;
    }
    assert_eq!(read, whole);
    // Inside of a character: at the next one.
    let inside = whole.find('é').unwrap() as u64 + 1;
    let piece: Value = get(&format!("{drove}/read/output.log?offset={inside}&length=10")).json().unwrap();
    assert_eq!((piece["offset"].as_u64(), piece["data"].as_str()), (Some(inside + 1), Some(" .........")));
    let backwards = get(&format!("{drove}/read/output.log?offset=-1&length=10"));
    assert_eq!(
        refused(backwards),
        "query param length needs an offset: ask without both for where the file ends"
    );

    let listed: Value = get(&format!("{drove}/list")).json().unwrap();
    assert_eq!(listed.as_object().unwrap().len(), 1, "{listed}");
    let names: Vec<&str> =
        listed["files"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    assert_eq!(names[0], "output.log");
    let rotated: String =
        names[1..].iter().map(|name| get(&format!("{drove}/download/{name}")).text().unwrap()).collect();
    assert!(names.len() > 20 && whole.starts_with(&rotated) && !rotated.is_empty());

    for name in [names[0], names[1]] {
        for (query, is_renamed) in [("", false), ("?rename=false", false), ("?rename=true", true)] {
            let answer = get(&format!("{drove}/download/{name}{query}"));
            assert_eq!(answer.status(), 200);
            assert_eq!(answer.headers()["content-type"], "text/plain; charset=utf-8");
            let disposition = answer.headers()["content-disposition"].to_str().unwrap();
            let saved_as = disposition.strip_prefix("attachment; filename=").expect(disposition);
            if is_renamed {
                let stamp =
                    saved_as.strip_prefix(&format!("{SERVICE}_{instance}_{name}-")).expect(disposition);
                let digits = stamp.replace(|letter: char| letter.is_ascii_digit(), "0");
                assert_eq!(digits, "0000-00-00_00-00-00", "{disposition}");
            } else {
                assert_eq!(saved_as, name);
            }
        }
    }
}

/// What a refusal says, in the words in which Drove's controller passes an executor's on.
/// What an executor refused, as Drove words it.
fn refused_by_the_executor(answer: Response) -> String {
    assert_eq!(answer.status(), 500);
    let body: Value = answer.json().unwrap();
    let said = body["error"].as_str().unwrap().strip_prefix("Executor call returned: 400 body: ");
    let said: Value = serde_json::from_str(said.unwrap_or_else(|| panic!("{body}"))).unwrap();
    assert_eq!((body.as_object().unwrap().len(), said.as_object().unwrap().len()), (1, 1), "{body}");
    said["error"].as_str().unwrap().to_owned()
}

/// The one problem that a call is refused for.
fn refused(answer: Response) -> String {
    assert_eq!(answer.status(), 400);
    let body: Value = answer.json().unwrap();
    let problems = body["data"]["validationErrors"].as_array().unwrap();
    assert_eq!(problems.len(), 1, "{body}");
    problems[0].as_str().unwrap().to_owned()
}

#[test]
fn logs_are_read_as_text_by_lines_by_time_and_after_the_end_and_nothing_leads_out_of_their_directory() {
    let lines = 200;
    let cluster = DevCluster::start(PROGRAM, 2, &[spec(lines, 3)]);
    let instances = cluster.wait_for("two healthy instances", || {
        Some(cluster.healthy(SERVICE)).filter(|instances| instances.len() == 2)
    });
    let rest = cluster.controllers()[0].rest.clone();
    let url = logs_of(&rest, &instances[0]);
    cluster.wait_for("the last line", || {
        let text = get(&format!("{url}?tail=1")).text().ok()?;
        (numbers(&text) == [lines - 1]).then_some(())
    });
    let last = get(&format!("{url}?tail=80"));
    assert_eq!(last.headers()["content-type"], "text/plain; charset=utf-8");
    assert_eq!(numbers(&last.text().unwrap()), (lines - 80..lines).collect::<Vec<_>>(), "across files");
    let all = get(&format!("{url}?since=0")).text().unwrap();
    assert!(numbers(&all).len() < lines && all.ends_with('\n'), "what retention left");
    // What is gone is passed over, and the offset says so.
    let drove = drove(&rest, &instances[0].instance_id);
    let first: Value = get(&format!("{drove}/read/output.log?offset=0")).json().unwrap();
    assert!(first["offset"].as_u64().unwrap() > 0);
    assert!(all.starts_with(first["data"].as_str().unwrap()));

    // Both at once, each message says of which.
    let service = format!("{rest}/apis/v1/localservices/{SERVICE}/logs?tail=5&follow=false");
    let events: Vec<_> = Events::open(&service, None).unwrap().collect();
    let sources: BTreeSet<_> = events
        .iter()
        .filter(|sse| sse.event == "lines" && sse.data["text"] != json!(""))
        .map(|sse| sse.data["instanceId"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(sources, instances.iter().map(|instance| instance.instance_id.clone()).collect());
    assert_eq!(events.last().unwrap().event, "end");

    for absent in ["read/output.log-9999?offset=0", "read/output.log-9999", "download/output.log-9999"] {
        let answer = get(&format!("{drove}/{absent}"));
        assert_eq!(answer.status(), 500, "{absent}");
        let body: Value = answer.json().unwrap();
        let why = r#"{"error":"there is no output.log-9999, or not any more"}"#;
        assert_eq!(body["error"], json!(format!("Executor call returned: 400 body: {why}")), "{absent}");
    }
    for name in
        ["..%2F..%2Fjournal.redb", "output.state", "%2Fetc%2Fpasswd", "output.log.1", "output.log-1%2F.."]
    {
        for call in ["read", "download"] {
            let said = refused(get(&format!("{drove}/{call}/{name}?offset=0")));
            assert!(said.starts_with("file ") && said.contains("is no file of a log"), "{name}: {said}");
        }
    }
    let id = &instances[0].instance_id;
    for (service, instance) in [
        (SERVICE, "SI-none"),
        (SERVICE, "..%2F.."),
        (SERVICE, "%2Fetc"),
        ("..%2Fcounter-1", id),
        ("counter-2", id),
    ] {
        for call in ["list", "read/output.log", "download/output.log"] {
            let unknown = format!("{rest}/apis/v1/logfiles/localservices/{service}/{instance}/{call}");
            assert_eq!(get(&unknown).status(), 204, "{unknown}");
        }
    }

    // An instance that ended keeps its log; who follows it is told of its end.
    let request = json!({
        "type": "STOP_INSTANCES", "serviceId": SERVICE, "instanceIds": [instances[0].instance_id],
        "skipRespawn": true
    });
    let follower = {
        let url = format!("{url}?tail=1&follow=true");
        std::thread::spawn(move || Events::open(&url, None).unwrap().last().unwrap())
    };
    cluster.wait_for("a controller that takes the operation", || cluster.operate(&rest, &request).ok());
    assert_eq!(follower.join().unwrap().event, "end");
    cluster.wait_for("the record of its end", || {
        cluster.old_instances(SERVICE).into_iter().find(|old| old.instance_id == instances[0].instance_id)
    });
    assert_eq!(numbers(&get(&format!("{url}?tail=1")).text().unwrap()), [lines - 1]);

    // Until its node has it no more.
    let node = cluster.dir().join(&instances[0].executor_id);
    let kept = node.join("data/logs").join(SERVICE).join(id);
    // The executor may still be at work in it: what was written last is compressed.
    cluster.wait_for("the directory to go", || std::fs::remove_dir_all(&kept).ok());
    assert_eq!(get(&format!("{drove}/list")).json::<Value>().unwrap(), json!({"files": []}));
    for call in ["read/output.log", "read/output.log?offset=0", "download/output.log"] {
        let said = refused_by_the_executor(get(&format!("{drove}/{call}")));
        assert!(said.contains("there is no log of instance"), "{call}: {said}");
    }
}

#[test]
fn a_node_that_is_away_is_named_and_goes_on_when_it_is_back() {
    let cluster = DevCluster::start(PROGRAM, 2, &[spec(100, 3)]);
    let instances = cluster.wait_for("two healthy instances", || {
        Some(cluster.healthy(SERVICE)).filter(|instances| instances.len() == 2)
    });
    let away = instances.iter().find(|instance| instance.executor_id == "executor-1").unwrap();
    let rest = cluster.controllers()[0].rest.clone();
    cluster.dev("kill", "executor-1");
    let url = logs_of(&rest, away);
    // Before it is missed, nobody knows more than that it has no session.
    cluster.wait_for("a refusal that says since when", || {
        let answer = get(&url);
        assert_eq!(answer.status(), 503);
        let body: Value = answer.json().unwrap();
        let message = body["message"].as_str().unwrap().to_owned();
        assert!(message.starts_with("executor executor-1 on "), "{message}");
        (message.contains("is away since") && message.ends_with("its logs are on it")).then_some(())
    });
    assert_eq!(get(&format!("{}/list", drove(&rest, &away.instance_id))).status(), 204);

    let service = format!("{rest}/apis/v1/localservices/{SERVICE}/logs?tail=3&follow=true");
    let mut events = Events::open(&service, None).unwrap();
    let mut seen = BTreeSet::new();
    while seen.len() < 2 {
        let sse = events.next().expect("the stream goes on");
        let id = sse.data["instanceId"].as_str().unwrap().to_owned();
        if sse.event == "unavailable" {
            assert_eq!(id, away.instance_id, "{sse:?}");
            assert_eq!(sse.data["executorId"], json!("executor-1"));
            assert!(sse.data["message"].as_str().unwrap().contains("is away since"), "{sse:?}");
        } else {
            assert_ne!(id, away.instance_id, "{sse:?}");
        }
        seen.insert(id);
    }
    cluster.dev("start", "executor-1");
    let back = events.find(|sse| sse.data["instanceId"] == json!(away.instance_id)).expect("it goes on");
    assert_eq!(back.event, "lines");
}

#[test]
fn who_begins_to_follow_while_an_executor_is_being_restarted_waits_for_it() {
    let lines = 40;
    let cluster = DevCluster::start(PROGRAM, 1, &[spec(lines, 3)]);
    let instance = one(&cluster);
    let rest = cluster.controllers()[0].rest.clone();
    // It is told to dial, and never will.
    signal(cluster.role("executor-1").pid.unwrap(), Signal::STOP);
    let follower = {
        let url = format!("{}?since=0&follow=true", logs_of(&rest, &instance));
        std::thread::spawn(move || {
            let mut text = String::new();
            for sse in Events::open(&url, None).expect("it waits") {
                assert_eq!(sse.event, "lines", "{sse:?}");
                text.push_str(sse.data["text"].as_str().unwrap());
                if text.lines().count() >= lines && text.ends_with('\n') {
                    break;
                }
            }
            text
        })
    };
    cluster.wait_for("the executor to be missed", || {
        cluster.old_instances(SERVICE).into_iter().find(|old| old.state == InstanceState::Unknown)
    });
    cluster.dev("kill", "executor-1");
    cluster.dev("start", "executor-1");
    assert_eq!(numbers(&follower.join().unwrap()), (0..lines).collect::<Vec<_>>());
}

#[test]
fn who_stops_reading_gives_his_place_back() {
    // More than the sockets and the relay hold.
    let script = "yes 'line 0 .......................................................' | head -c 8000000; exec sleep 1000";
    let mut spec = spec(0, 3);
    spec["executable"]["command"][2] = json!(script);
    spec["logging"]["maxSize"] = json!("16m");
    let cluster = DevCluster::start(PROGRAM, 1, &[spec]);
    let instance = one(&cluster);
    let rest = cluster.controllers()[0].rest.clone();
    let url = logs_of(&rest, &instance);
    let relays = |count: &str| {
        let metrics = get(&format!("{rest}/metrics")).text().unwrap();
        metrics.lines().any(|line| line.strip_prefix("muster_relays ") == Some(count)).then_some(())
    };

    let host = rest.strip_prefix("http://").unwrap();
    let path = url.strip_prefix(&rest).unwrap();
    let mut stalled = TcpStream::connect(host).unwrap();
    let ask = format!("GET {path}?since=0&follow=true HTTP/1.1\r\nHost: {host}\r\n\r\n");
    stalled.write_all(ask.as_bytes()).unwrap();
    cluster.wait_for("he has a place", || relays("1"));
    assert_eq!(numbers(&get(&format!("{url}?tail=2")).text().unwrap()), [0, 0], "others are served");
    cluster.wait_for("it is given back", || relays("0"));
    drop(stalled);
}

#[test]
fn who_follows_keeps_out_neither_commands_nor_who_reads_what_there_is() {
    /// More than a node has followed.
    const FOLLOWERS: usize = 70;
    let cluster = DevCluster::start(PROGRAM, 1, &[spec(100, 3)]);
    let instance = one(&cluster);
    let rest = cluster.controllers()[0].rest.clone();
    let url = logs_of(&rest, &instance);
    let followers: Vec<_> =
        (0..FOLLOWERS).map(|_| Events::open(&format!("{url}?tail=1&follow=true"), None)).collect();
    let (open, refused): (Vec<_>, Vec<_>) = followers.into_iter().partition(Result::is_ok);
    assert_eq!((open.len(), refused.len()), (64, FOLLOWERS - 64));
    let answer = get(&format!("{url}?tail=1&follow=true"));
    assert_eq!(answer.status(), 503);
    let body: Value = answer.json().unwrap();
    assert_eq!(body["message"], json!("the node has 64 followed logs already; end some and ask again"));
    // Of a whole service, that is said, and it is tried again.
    let service = format!("{rest}/apis/v1/localservices/{SERVICE}/logs?tail=1&follow=true");
    let mut events = Events::open(&service, None).unwrap();
    assert_eq!(events.next().unwrap().event, "unavailable");

    assert_eq!(get(&format!("{url}?tail=1")).status(), 200);
    assert_eq!(get(&format!("{}/list", drove(&rest, &instance.instance_id))).status(), 200);
    let command = format!("{rest}/apis/v1/localservices/{SERVICE}/instances/{}/exec", instance.instance_id);
    let http = Client::builder().no_proxy().timeout(BOUND).build().unwrap();
    let ran: Value =
        http.post(command).json(&json!({"command": ["echo", "here"]})).send().unwrap().json().unwrap();
    assert_eq!(ran["data"]["stdout"], json!("here\n"), "{ran}");

    drop(open);
    assert_eq!(events.next().unwrap().event, "lines", "a place is free");
}

#[test]
fn there_are_no_more_streams_of_services_than_may_be_also_of_one_without_instances() {
    const STREAMS: usize = 256;
    let cluster = DevCluster::start(PROGRAM, 1, &[]);
    let rest = cluster.controllers()[0].rest.clone();
    let create = json!({"type": "CREATE", "spec": spec(1, 1), "instancesPerHost": 1});
    cluster.wait_for("a controller that takes the operation", || cluster.operate(&rest, &create).ok());
    let host = rest.strip_prefix("http://").unwrap();
    let open = || {
        let mut stream = TcpStream::connect(host).unwrap();
        let path = format!("/apis/v1/localservices/{SERVICE}/logs?follow=true");
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n").unwrap();
        let mut status = String::new();
        BufReader::new(&stream).read_line(&mut status).unwrap();
        (stream, status.split(' ').nth(1).unwrap().to_owned())
    };
    let mut streams: Vec<_> = (0..STREAMS).map(|_| open()).collect();
    assert!(streams.iter().all(|(_, status)| status == "200"), "{streams:?}");
    assert_eq!(open().1, "503");
    streams.pop();
    cluster.wait_for("a place that is given back", || (open().1 == "200").then_some(()));
}

#[test]
fn an_executor_that_does_not_answer_has_no_logs_for_drove_s_clients() {
    let cluster = DevCluster::start(PROGRAM, 1, &[spec(10, 3)]);
    let drove = drove(&cluster.controllers()[0].rest, &one(&cluster).instance_id);
    signal(cluster.role("executor-1").pid.unwrap(), Signal::STOP);
    // Before it is missed, too.
    for call in ["list", "read/output.log?offset=0", "download/output.log"] {
        assert_eq!(get(&format!("{drove}/{call}")).status(), 204, "{call}");
    }
    signal(cluster.role("executor-1").pid.unwrap(), Signal::CONT);
}

/// What a reader of a whole service has seen of each instance, over as many connections as it takes.
#[derive(Default)]
struct Seen {
    texts: BTreeMap<String, String>,
    last: Option<String>,
}

impl Seen {
    /// Reads on at `rest` until `is_enough`, and leaves in the middle.
    fn read_until(&mut self, rest: &str, is_enough: impl Fn(&Self) -> bool) {
        let url = format!("{rest}/apis/v1/localservices/{SERVICE}/logs?since=0&follow=true");
        let mut events = Events::open(&url, self.last.as_deref()).unwrap();
        while !is_enough(self) {
            let sse = events.next().expect("the stream goes on");
            assert!(sse.event == "lines" || sse.event == "end", "{sse:?}");
            let id = sse.data["instanceId"].as_str().expect("it is of an instance").to_owned();
            self.texts.entry(id).or_default().push_str(sse.data["text"].as_str().unwrap_or_default());
            self.last = Some(sse.id.expect("each message has an id"));
        }
    }

    fn lines(&self) -> usize {
        self.texts.values().map(|text| text.lines().count()).sum()
    }
}

#[test]
fn who_comes_again_to_a_whole_service_sees_every_line_of_every_instance_once() {
    let lines = 600;
    let cluster = DevCluster::start(PROGRAM, 2, &[spec(lines, 100)]);
    let rests: Vec<String> = cluster.controllers().into_iter().map(|controller| controller.rest).collect();
    let first = cluster.wait_for("two healthy instances", || {
        Some(cluster.healthy(SERVICE)).filter(|instances| instances.len() == 2)
    });
    let mut seen = Seen::default();
    for turn in 0..6 {
        let wanted = seen.lines() + 40;
        seen.read_until(&rests[turn % rests.len()], |seen| seen.lines() >= wanted);
    }
    // While nobody reads, one ends, another one comes and ends in its place, and others begin.
    let end = |instance: &str, is_last: bool| {
        let stop = json!({
            "type": "STOP_INSTANCES", "serviceId": SERVICE, "instanceIds": [instance], "skipRespawn": is_last
        });
        cluster.wait_for("a controller that takes the operation", || cluster.operate(&rests[0], &stop).ok());
        cluster.wait_for("its end", || {
            cluster.old_instances(SERVICE).into_iter().find(|old| old.instance_id == instance)
        });
    };
    end(&first[0].instance_id, false);
    let between = cluster.wait_for("another one in its place", || {
        let healthy = cluster.healthy(SERVICE);
        healthy.into_iter().find(|one| first.iter().all(|before| before.instance_id != one.instance_id))
    });
    end(&between.instance_id, true);
    let more = json!({"type": "UPDATE_INSTANCE_COUNT", "serviceId": SERVICE, "instancesPerHost": 2});
    cluster.wait_for("a controller that takes the operation", || cluster.operate(&rests[0], &more).ok());
    let live = cluster.wait_for("two instances on each of two executors", || {
        Some(cluster.healthy(SERVICE)).filter(|instances| instances.len() == 4)
    });
    let ended = [&first[0], &between];
    let of_ended = ended.map(|one| get(&format!("{}?since=0", logs_of(&rests[0], one))).text().unwrap());
    assert!(of_ended.iter().all(|text| !text.is_empty()));
    let is_whole = |text: Option<&String>| {
        text.is_some_and(|text| text.lines().count() == lines && text.ends_with('\n'))
    };
    seen.read_until(&rests[1], |seen| {
        live.iter().all(|instance| is_whole(seen.texts.get(&instance.instance_id)))
            && ended.iter().zip(&of_ended).all(|(one, text)| {
                seen.texts.get(&one.instance_id).is_some_and(|seen| seen.len() >= text.len())
            })
    });
    for (one, text) in ended.iter().zip(&of_ended) {
        assert_eq!(&seen.texts[&one.instance_id], text, "{}", one.instance_id);
    }
    for instance in &live {
        let text = &seen.texts[&instance.instance_id];
        assert_eq!(numbers(text), (0..lines).collect::<Vec<_>>(), "{}", instance.instance_id);
    }
    // Whose end was told is not read again, and another service's instance is not read at all.
    let last = format!("{},{}:.,SI-none:0.0", seen.last.clone().unwrap(), first[0].instance_id);
    let url = format!("{}/apis/v1/localservices/{SERVICE}/logs?follow=false", rests[2]);
    let rest: Vec<_> = Events::open(&url, Some(&last)).unwrap().collect();
    assert!(rest.iter().all(|sse| sse.data["text"].as_str().is_none_or(str::is_empty)), "{rest:?}");
    let unknown: Vec<_> = rest.iter().filter(|sse| sse.event == "unavailable").collect();
    assert_eq!(unknown.len(), 1, "{rest:?}");
    assert_eq!(unknown[0].data["instanceId"], json!("SI-none"));
}
