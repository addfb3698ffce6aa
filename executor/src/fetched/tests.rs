//! What becomes of a start whose files controllers fetch.

use std::collections::VecDeque;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Mutex;

use muster_common::id::InstanceId;

use super::*;
use crate::testing::{place, world};

/// Answers as it was told to, then not at all.
#[derive(Default)]
struct Script {
    answers: Mutex<VecDeque<Result<Vec<u8>, NotFetched>>>,
    asked: Mutex<Vec<WantedFile>>,
}

impl Script {
    fn of(answers: impl IntoIterator<Item = Result<Vec<u8>, NotFetched>>) -> Arc<Self> {
        Arc::new(Self { answers: Mutex::new(answers.into_iter().collect()), asked: Mutex::default() })
    }

    fn asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

impl Fetcher for Script {
    fn fetch<'a>(&'a self, wanted: &'a WantedFile) -> BoxFuture<'a, Result<Vec<u8>, NotFetched>> {
        self.asked.lock().unwrap().push(wanted.clone());
        let answer = self.answers.lock().unwrap().pop_front().unwrap_or_else(nobody);
        Box::pin(std::future::ready(answer))
    }
}

fn nobody() -> Result<Vec<u8>, NotFetched> {
    Err(NotFetched::Unanswered("c1:1: no connection".to_owned()))
}

fn refused() -> Result<Vec<u8>, NotFetched> {
    Err(NotFetched::Refused("status 404".to_owned()))
}

fn plan(files: usize) -> LaunchPlan {
    let file = |n: usize| {
        format!(
            r#"{{"type": "CONTROLLER_HTTP_FETCH", "localFilename": "f{n}", "http": {{"hostname": "c"}}}}"#
        )
    };
    let inline = r#"{"type": "INLINE", "localFilename": "i", "data": "aGk="}"#.to_owned();
    let configs: Vec<String> = std::iter::once(inline).chain((0..files).map(file)).collect();
    let spec = format!(r#"{{"name": "web", "version": "1", "configs": [{}]}}"#, configs.join(","));
    LaunchPlan {
        instance: InstanceId::new("SI-1").unwrap(),
        place: place(),
        spec: Arc::new(LocalServiceSpec::from_json(spec.as_bytes()).unwrap()),
        env: std::collections::BTreeMap::new(),
    }
}

/// The contents of the files that were to be fetched, or why there is no start.
async fn start(dir: &Path, script: Arc<Script>, files: usize) -> Result<Vec<Vec<u8>>, String> {
    let plan =
        Fetched::new(world(), dir, script).put_into(plan(files)).await.map_err(|error| error.to_string())?;
    let content = |source: &ConfigSource| match source {
        ConfigSource::Inline { data } => STANDARD.decode(data).unwrap(),
        other => panic!("{other:?} was left"),
    };
    Ok(plan.spec.configs[1..].iter().map(|config| content(&config.source)).collect())
}

#[tokio::test(start_paused = true)]
async fn the_content_takes_the_place_of_the_call() {
    let dir = tempfile::tempdir().unwrap();
    let script = Script::of([Ok(b"one".to_vec()), Ok(b"two".to_vec())]);
    assert_eq!(start(dir.path(), Arc::clone(&script), 2).await.unwrap(), [b"one", b"two"]);
    let asked = script.asked.lock().unwrap();
    assert_eq!((asked[0].service.as_str(), asked[0].generation, asked[0].file), ("web-1", Generation(1), 1));
    assert_eq!(asked[1].file, 2);
    let file = format!("fetched/web-1/1-1-{}", asked[0].call.simple());
    for path in ["fetched", "fetched/web-1", &file] {
        let mode = std::fs::metadata(dir.path().join(path)).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{path} is open to others");
    }
}

#[tokio::test(start_paused = true)]
async fn a_file_is_waited_for_while_nobody_answers() {
    let dir = tempfile::tempdir().unwrap();
    let script = Script::of([nobody(), nobody(), nobody(), Ok(b"late".to_vec())]);
    assert_eq!(start(dir.path(), Arc::clone(&script), 1).await.unwrap(), [b"late"]);
    assert_eq!(script.asked(), 4);

    let empty = tempfile::tempdir().unwrap();
    let begun = Instant::now();
    let why = start(empty.path(), Script::of([]), 1).await.unwrap_err();
    assert!(
        begun.elapsed() <= LIMIT && begun.elapsed() + 2 * LONGEST_PAUSE >= LIMIT,
        "{:?}",
        begun.elapsed()
    );
    assert!(why.starts_with("place config failed: f0: not fetched within"), "{why}");
    assert!(why.contains("c1:1: no connection"), "{why}");
}

#[tokio::test(start_paused = true)]
async fn what_was_fetched_last_is_placed_when_nobody_answers_and_only_then() {
    let dir = tempfile::tempdir().unwrap();
    for content in ["one", "two"] {
        start(dir.path(), Script::of([Ok(content.into())]), 1).await.unwrap();
    }
    let script = Script::of([]);
    assert_eq!(start(dir.path(), Arc::clone(&script), 1).await.unwrap(), [b"two"]);
    assert_eq!(script.asked(), 1, "controllers are asked first, and nobody waits for them");
    let why = start(dir.path(), Script::of([refused()]), 1).await.unwrap_err();
    assert_eq!(why, "place config failed: f0: status 404");
}

#[tokio::test(start_paused = true)]
async fn only_what_slots_are_filled_with_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let wanted = |service: &str, generation: u64| WantedFile {
        service: ServiceId::new(service).unwrap(),
        index: 0,
        generation: Generation(generation),
        file: 0,
        call: Uuid::nil(),
        patience: SLACK,
    };
    let fetched = Fetched::new(world(), dir.path(), Script::of([]));
    let all = [wanted("a-1", 1), wanted("a-1", 2), wanted("b-1", 1)];
    for file in &all {
        fetched.kept.keep(file, b"x".to_vec()).await.unwrap();
    }
    fetched.retain(BTreeSet::from([(ServiceId::new("a-1").unwrap(), Generation(2))])).await;
    let mut left = Vec::new();
    for file in &all {
        left.push(fetched.kept.get(file).await.unwrap().is_some());
    }
    assert_eq!(left, [false, true, false]);
    assert!(!dir.path().join("fetched/b-1").exists());
}

#[tokio::test(start_paused = true)]
async fn all_files_together_have_a_limit() {
    let dir = tempfile::tempdir().unwrap();
    let half = || Ok(vec![0; MAX_TOTAL_BYTES / 2]);
    assert!(start(dir.path(), Script::of([half(), half()]), 2).await.is_ok());
    let why = start(dir.path(), Script::of([half(), half(), Ok(vec![0])]), 3).await.unwrap_err();
    assert!(why.contains("f2: with the fetched files before it"), "{why}");
}
