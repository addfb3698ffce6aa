//! What becomes of a start whose files servers have.

mod controllers;
mod node;
/// One home for all tests.
#[path = "../../../tests/support/server.rs"]
// Each part of the tests uses its own.
#[allow(dead_code)]
mod servers;

use std::collections::VecDeque;
use std::sync::Mutex;

use muster_common::id::InstanceId;

use super::*;
use crate::testing::place;

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
            r#"{{"type": "CONTROLLER_HTTP_FETCH", "localFilename": "f{n}", "http": {{"hostname": "c", "path": "/{n}"}}}}"#
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

fn content_of(source: &ConfigSource) -> Vec<u8> {
    match source {
        ConfigSource::Inline { data } => STANDARD.decode(data).unwrap(),
        other => panic!("{other:?} was left"),
    }
}
