//! Copies of logs of an engine that gives them as slowly as a test wants, by a paused clock.

use std::sync::atomic::{AtomicUsize, Ordering};

use futures::future::join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

use super::*;
use crate::testing::place;

/// The lines of every log.
const LINES: u64 = 100;

/// What is answered to whoever asks for no times: the end of a log alone.
const END: &str = "line 98\nline 99\n";

fn lines(count: u64) -> String {
    (0..count).map(|number| format!("line {number}\n")).collect()
}

/// An engine that knows the logs of containers, and nothing else.
struct SlowEngine {
    dir: tempfile::TempDir,
    counts: Arc<Counts>,
    _serving: AbortOnDropHandle<()>,
}

/// How many logs are being given, and what each entry takes.
struct Counts {
    now: AtomicUsize,
    most: AtomicUsize,
    entry_takes: Mutex<Duration>,
}

impl SlowEngine {
    fn start(entry_takes: Duration) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(dir.path().join("s")).unwrap();
        let (now, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let counts = Arc::new(Counts { now, most, entry_takes: Mutex::new(entry_takes) });
        let shared = Arc::clone(&counts);
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream, Arc::clone(&shared)));
            }
        });
        Self { dir, counts, _serving: AbortOnDropHandle::new(serving) }
    }

    fn client(&self) -> Engine {
        Engine::new(self.dir.path().join("s").display().to_string(), Duration::from_secs(30))
    }

    /// From now on an entry takes so long.
    fn set_entry_takes(&self, takes: Duration) {
        *self.counts.entry_takes.lock().unwrap() = takes;
    }

    /// The most logs that were being given at once since this was asked last.
    fn most_at_once(&self) -> usize {
        self.counts.most.swap(0, Ordering::SeqCst)
    }
}

/// Answers one request. Whoever asked may be gone before the end.
async fn answer(mut stream: UnixStream, counts: Arc<Counts>) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        if stream.read_buf(&mut request).await.is_ok_and(|count| count == 0) {
            return;
        }
    }
    let request = String::from_utf8(request).unwrap();
    if request.contains("/logs?") {
        counts.most.fetch_max(counts.now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        let _gone = give_log(&mut stream, request.contains("timestamps=true"), &counts).await;
        counts.now.fetch_sub(1, Ordering::SeqCst);
    } else {
        let body = r#"{"ApiVersion": "1.41"}"#;
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
        let _gone = stream.write_all(format!("{head}{body}").as_bytes()).await;
    }
}

async fn give_log(stream: &mut UnixStream, has_times: bool, counts: &Counts) -> io::Result<()> {
    stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n").await?;
    if !has_times {
        return stream.write_all(&frame(END)).await;
    }
    for number in 0..LINES {
        let takes = *counts.entry_takes.lock().unwrap();
        if !takes.is_zero() {
            sleep(takes).await;
        }
        stream.write_all(&frame(&format!("2026-11-21T10:00:00.{number:09}Z line {number}\n"))).await?;
    }
    Ok(())
}

/// As the engine frames what came of a container's stdout.
fn frame(text: &str) -> Vec<u8> {
    let length = u32::try_from(text.len()).unwrap().to_be_bytes();
    [&[1, 0, 0, 0], &length[..], text.as_bytes()].concat()
}

/// A node's copies.
struct Bench {
    engine: SlowEngine,
    client: Engine,
    logs: Logs,
    dir: tempfile::TempDir,
}

impl Bench {
    fn new(entry_takes: Duration) -> Self {
        let engine = SlowEngine::start(entry_takes);
        let dir = tempfile::tempdir().unwrap();
        let logs = Logs::new(dir.path().to_owned());
        Self { client: engine.client(), engine, logs, dir }
    }

    /// An instance whose container has ended.
    fn instance(&self, name: &str) -> InstanceId {
        let instance = InstanceId::new(format!("SI-{name}")).unwrap();
        self.logs.learn(&instance, name, &place().service, None);
        instance
    }

    fn instances(&self, count: usize) -> Vec<InstanceId> {
        (0..count).map(|number| self.instance(&number.to_string())).collect()
    }

    fn kept(&self, instance: &InstanceId) -> String {
        let reader = LogReader::find(self.dir.path(), instance).unwrap().unwrap();
        String::from_utf8(reader.tail(usize::MAX, 1 << 20).unwrap().bytes).unwrap()
    }
}

#[tokio::test(start_paused = true)]
async fn only_so_many_logs_are_copied_at_once_and_those_that_take_long_hold_nobody_up() {
    let bench = Bench::new(Duration::from_millis(10));
    let instances = bench.instances(3 * COPIES);
    for result in join_all(instances.iter().map(|one| bench.logs.complete(&bench.client, one, "c"))).await {
        result.unwrap();
    }
    assert_eq!(bench.engine.most_at_once(), COPIES);
    assert!(instances.iter().all(|one| bench.kept(one) == lines(LINES)));

    let bench = Bench::new(Duration::from_millis(10));
    let instances = bench.instances(COPIES + 1);
    let (hurried, slow) = instances.split_last().unwrap();
    let copies = join_all(slow.iter().map(|one| bench.logs.copy_on(&bench.client, one, "c", 16)));
    let evidence = async {
        bench.engine.set_entry_takes(Duration::from_secs(1));
        // All who do not have to wait are being copied by now.
        sleep(Duration::from_secs(1)).await;
        assert_eq!(bench.engine.most_at_once(), LONG_COPIES);
        bench.engine.set_entry_takes(Duration::ZERO);
        let end = bench.logs.collect(&bench.client, hurried, "c", 16).await.unwrap();
        assert_eq!(end, LogEnd::kept(END));
    };
    let (copies, ()) = tokio::join!(copies, evidence);
    assert!(copies.into_iter().all(|copied| copied.is_ok()));
    assert!(instances.iter().all(|one| bench.kept(one) == lines(LINES)));
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_others_with_evidence_waits_no_longer_than_evidence_has() {
    let bench = Bench::new(Duration::ZERO);
    let _others = bench.logs.copying.acquire_many(u32::try_from(COPIES).unwrap()).await.unwrap();
    let begun = Instant::now();
    let end = bench.logs.collect(&bench.client, &bench.instance("c"), "c", 16).await.unwrap();
    assert_eq!(end, LogEnd { text: END.to_owned(), is_kept: false });
    assert!(begun.elapsed() < LOG_COLLECT + Duration::from_secs(1), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_log_that_takes_too_long_for_evidence_is_handed_over_and_goes_on_where_it_was() {
    let bench = Bench::new(Duration::from_secs(1));
    let instance = bench.instance("c");
    let begun = Instant::now();
    let end = bench.logs.collect(&bench.client, &instance, "c", 16).await.unwrap();
    assert_eq!(end, LogEnd { text: END.to_owned(), is_kept: false });
    assert_eq!(begun.elapsed().as_secs(), LOG_COLLECT.as_secs());
    let kept = bench.kept(&instance);
    assert!(!kept.is_empty() && kept.len() < lines(LINES).len() / 2, "{kept}");
    assert!(lines(LINES).starts_with(&kept), "{kept}");

    // So slow that there is no end to it.
    let error = bench.logs.copy_on(&bench.client, &instance, "c", 16).await.unwrap_err();
    assert!(error.to_string().contains("65536 bytes"), "{error}");

    bench.engine.set_entry_takes(Duration::from_millis(100));
    let end = bench.logs.copy_on(&bench.client, &instance, "c", 16).await.unwrap();
    assert_eq!(end.as_deref(), Some(END));
    assert_eq!(bench.kept(&instance), lines(LINES));
    let end = bench.logs.collect(&bench.client, &instance, "c", 16).await.unwrap();
    assert_eq!(end, LogEnd::kept(END));
}

#[tokio::test(start_paused = true)]
async fn what_a_container_takes_along_is_said_where_its_copy_ends() {
    let bench = Bench::new(Duration::from_secs(1));
    let instance = bench.instance("c");
    let error = bench.logs.complete(&bench.client, &instance, "c").await.unwrap_err();
    bench.logs.give_up(&instance, &error).await;
    let kept = bench.kept(&instance);
    assert!(kept.starts_with("line 0\n"), "{kept}");
    assert!(kept.ends_with(&format!("the rest of the output was not kept: {error}\n")), "{kept}");
}

#[test]
fn want_of_descriptors_is_no_fault_of_a_log_and_passes() {
    let at = |errno: rustix::io::Errno| CopyError::Disk(errno.into()).at("copy log");
    let now = at(rustix::io::Errno::MFILE);
    assert!(matches!(now, RunnerError::Unavailable(_)), "{now}");
    let ever = at(rustix::io::Errno::NOSPC);
    assert!(matches!(ever, RunnerError::Failed { step: "copy log", .. }), "{ever}");
}
