//! What becomes of a start whose files controllers fetch.

use std::os::unix::fs::PermissionsExt as _;

use super::servers::server;
use super::*;
use crate::testing::world;

/// The contents of the files that were to be fetched, or why there is no start.
async fn start(dir: &Path, script: Arc<Script>, files: usize) -> Result<Vec<Vec<u8>>, String> {
    let plan =
        Fetched::new(world(), dir, script).put_into(plan(files)).await.map_err(|error| error.to_string())?;
    Ok(plan.spec.configs[1..].iter().map(|config| content_of(&config.source)).collect())
}

#[tokio::test(start_paused = true)]
async fn the_content_takes_the_place_of_the_call() {
    let dir = tempfile::tempdir().unwrap();
    let script = Script::of([Ok(b"one".to_vec()), Ok(b"two".to_vec())]);
    assert_eq!(start(dir.path(), Arc::clone(&script), 2).await.unwrap(), [b"one", b"two"]);
    let asked = script.asked.lock().unwrap();
    assert_eq!((asked[0].service.as_str(), asked[0].generation, asked[0].file), ("web-1", Generation(1), 1));
    assert_eq!(asked[1].file, 2);
    let kept = dir.path().join("fetched");
    let files = std::fs::read_dir(&kept).unwrap().map(|file| file.unwrap().path());
    let paths: Vec<_> = files.chain([kept.clone()]).collect();
    assert_eq!(paths.len(), 3, "two files and the directory");
    for path in paths {
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{} is open to others", path.display());
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
    let fetched = Fetched::new(world(), empty.path(), Script::of([]));
    // Charged to nobody: the start is tried again.
    let Err(StartError::RunnerUnavailable(why)) = fetched.put_into(plan(1)).await else {
        panic!("the start has failed")
    };
    assert!(
        begun.elapsed() <= FILES && begun.elapsed() + 2 * LONGEST_PAUSE >= FILES,
        "{:?}",
        begun.elapsed()
    );
    assert!(why.starts_with("f0: not fetched within"), "{why}");
    assert!(why.contains("c1:1: no connection"), "{why}");
}

#[tokio::test]
async fn what_this_node_fetches_takes_nothing_of_the_controllers_time() {
    let (port, mut asked) = server("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nown").await;
    let mut mixed = plan(1);
    let mut spec = LocalServiceSpec::clone(&mixed.spec);
    let own = format!(
        r#"{{"type": "EXECUTOR_HTTP_FETCH", "localFilename": "own", "http": {{"hostname": "localhost", "port": {port}}}}}"#
    );
    spec.configs.insert(0, serde_json::from_str(&own).unwrap());
    mixed.spec = Arc::new(spec);
    let dir = tempfile::tempdir().unwrap();
    let fetched =
        |script: &Arc<Script>| Fetched::new(World::system(), dir.path(), Arc::<Script>::clone(script));

    let script = Script::of([refused()]);
    let why = fetched(&script).put_into(mixed.clone()).await.unwrap_err().to_string();
    assert_eq!((why.as_str(), script.asked()), ("place config failed: f0: status 404", 1));
    assert_eq!(asked.try_recv().ok(), None, "theirs come first, wherever they are in the spec");

    let script = Script::of([Ok(b"theirs".to_vec())]);
    let filled = fetched(&script).put_into(mixed).await.unwrap();
    let contents: Vec<_> = filled.spec.configs.iter().map(|config| content_of(&config.source)).collect();
    assert_eq!(contents, [&b"own"[..], b"hi", b"theirs"]);
    assert_eq!(script.asked.lock().unwrap()[0].file, 2);
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
async fn a_service_that_was_scaled_finds_what_was_fetched_before() {
    let dir = tempfile::tempdir().unwrap();
    start(dir.path(), Script::of([Ok(b"one".to_vec())]), 1).await.unwrap();
    let fetched = Fetched::new(world(), dir.path(), Script::of([]));
    let mut scaled = plan(1);
    scaled.place.generation = Generation(7);
    fetched.retain(calls_of(&scaled.spec).collect()).await;
    let filled = fetched.put_into(scaled).await.unwrap();
    assert_eq!(content_of(&filled.spec.configs[1].source), b"one");
}

fn names(count: usize) -> Vec<CallName> {
    calls_of(&plan(count).spec).collect()
}

#[tokio::test(start_paused = true)]
async fn only_what_slots_are_filled_with_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let fetched = Fetched::new(world(), dir.path(), Script::of([]));
    let all = names(3);
    for call in &all {
        fetched.kept.keep(*call, b"x".to_vec()).await.unwrap();
    }
    // What earlier versions laid down, and what a crash left.
    let kept = dir.path().join("fetched");
    std::fs::create_dir(kept.join("web-1")).unwrap();
    std::fs::write(kept.join("web-1/1-1"), "x").unwrap();
    std::fs::write(kept.join("half.new"), "x").unwrap();
    fetched.retain(BTreeSet::from([all[1]])).await;
    let mut left = Vec::new();
    for call in &all {
        left.push(fetched.kept.get(*call).await.unwrap().is_some());
    }
    assert_eq!(left, [false, true, false]);
    assert_eq!(std::fs::read_dir(&kept).unwrap().count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_are_kept_while_others_are_removed() {
    let dir = tempfile::tempdir().unwrap();
    let world = muster_platform::World::system();
    let fetched = Arc::new(Fetched::new(world, dir.path(), Script::of([])));
    let call = names(1)[0];
    let removing = tokio::spawn({
        let fetched = Arc::clone(&fetched);
        async move {
            for _ in 0..200 {
                fetched.kept.retain(BTreeSet::new()).await.unwrap();
            }
        }
    });
    for round in 0..200_u32 {
        let keep = || fetched.kept.keep(call, round.to_be_bytes().to_vec());
        let (one, two) = tokio::join!(keep(), keep());
        one.and(two).unwrap();
    }
    removing.await.unwrap();
    fetched.kept.keep(call, b"last".to_vec()).await.unwrap();
    assert_eq!(fetched.kept.get(call).await.unwrap().unwrap(), b"last");
}

#[tokio::test(start_paused = true)]
async fn all_files_together_have_a_limit() {
    let dir = tempfile::tempdir().unwrap();
    let half = || Ok(vec![0; MAX_TOTAL_BYTES / 2]);
    assert!(start(dir.path(), Script::of([half(), half()]), 2).await.is_ok());
    let why = start(dir.path(), Script::of([half(), half(), Ok(vec![0])]), 3).await.unwrap_err();
    assert!(why.contains("f2: with the fetched files before it"), "{why}");
}
