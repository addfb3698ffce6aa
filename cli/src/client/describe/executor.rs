//! An executor in full.

use muster_common::event::Event;
use muster_common::executor::{ExecutorNodeData, ExecutorState, ExecutorSummary};

use super::page::Page;
use crate::client::screen::Screen;
use crate::client::table::table;
use crate::client::words::{age, counted, span};

pub(crate) fn executor(executor: &ExecutorNodeData, events: &[Event], screen: &Screen) -> String {
    let mut page = Page::new(screen);
    let id = &executor.state.executor_id;
    page.field("Executor", id);
    page.field("Host", format!("{}:{}", executor.hostname, executor.port));
    page.field("State", executor.executor_state.as_str());
    if let (Some(contact), Some(since)) = (executor.contact, executor.contact_since) {
        page.field("Contact", format!("{contact}, since {} ago", age(since, screen)));
    }
    page.field("Version", &executor.version);
    page.field("Tags", executor.tags.join(", "));
    page.field("Given tags", executor.given_tags.join(", "));
    let cores =
        |cores: &std::collections::BTreeMap<u32, Vec<u32>>| cores.values().map(Vec::len).sum::<usize>();
    page.field(
        "Cores",
        format!(
            "{} used, {} free",
            cores(&executor.state.cpus.used_cores),
            cores(&executor.state.cpus.free_cores)
        ),
    );
    page.field(
        "Memory",
        format!(
            "{} MB used, {} MB free",
            executor.state.memory.used_memory.values().sum::<u64>(),
            executor.state.memory.free_memory.values().sum::<u64>()
        ),
    );
    page.field("Clock", skew(executor.clock_skew_ms));
    page.field("Changed", format!("{} ago", age(executor.updated, screen)));
    page.paragraph(&why(executor, screen));
    page.section("Instances", &table(&executor.service_instances, false, screen));
    finish(page, events, &next(id, executor.executor_state))
}

/// One that the cluster has taken out: what the list of executors keeps of it.
pub(crate) fn removed_executor(executor: &ExecutorSummary, events: &[Event], screen: &Screen) -> String {
    let mut page = Page::new(screen);
    page.field("Executor", &executor.executor_id);
    page.field("Host", format!("{}:{}", executor.hostname, executor.port));
    page.field("State", executor.state.as_str());
    page.field("Tags", executor.tags.join(", "));
    page.paragraph(&[
        "It was removed from the cluster, and what ran on it counts as lost.".to_owned(),
        "Should its machine come back, it is a newcomer.".to_owned(),
    ]);
    finish(page, events, &next(&executor.executor_id, executor.state))
}

fn finish(mut page: Page<'_>, events: &[Event], next: &[(String, &'static str)]) -> String {
    if !events.is_empty() {
        let events = table(events, false, page.screen);
        page.section("Events (newest last)", &events);
    }
    page.next(next)
}

/// Only worth a word where it is more than the time of a message.
fn skew(ms: i64) -> String {
    const NOTICED_MS: u64 = 1_000;
    let by = ms.unsigned_abs();
    if by < NOTICED_MS {
        return String::new();
    }
    let way = if ms > 0 { "ahead of" } else { "behind" };
    format!("about {}.{}s {way} the leader's", by / 1000, by % 1000 / 100)
}

fn why(executor: &ExecutorNodeData, screen: &Screen) -> Vec<String> {
    let left = counted(executor.service_instances.len(), "instance");
    let sentence = match executor.executor_state {
        ExecutorState::Active => format!("It takes instances, and has {left}."),
        ExecutorState::BlacklistRequested => format!("It is being emptied: {left} left."),
        ExecutorState::Blacklisted => {
            "It is out of service: it takes nothing until somebody says so.".to_owned()
        }
        ExecutorState::Draining => {
            let deadline = executor.drain_deadline.map_or_else(String::new, |deadline| {
                format!(", within the next {}", span(deadline.since(screen.now)))
            });
            format!("It is being drained: {left} left{deadline}.")
        }
        ExecutorState::Unready => {
            "It is known, but not heard: it goes on by itself, and learns of nothing new \
                                   until it is back."
                .to_owned()
        }
        ExecutorState::Removed => "It was removed from the cluster.".to_owned(),
    };
    vec![sentence]
}

fn next(id: &str, state: ExecutorState) -> Vec<(String, &'static str)> {
    let own = match state {
        ExecutorState::Active => vec![(format!("muster executors drain {id}"), "empty it, within a time")],
        ExecutorState::BlacklistRequested | ExecutorState::Blacklisted | ExecutorState::Draining => {
            vec![(format!("muster executors unblacklist {id}"), "let it take instances again")]
        }
        ExecutorState::Unready => {
            vec![(format!("muster executors remove {id}"), "when the machine is gone for good")]
        }
        ExecutorState::Removed => vec![("muster get executors".to_owned(), "which ones there are")],
    };
    own.into_iter().chain([(format!("muster events --for {id}"), "what happened to it")]).collect()
}
