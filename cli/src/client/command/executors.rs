//! `muster executors`: the machines of the fleet, and what is wanted of them.

use clap::{Args, Subcommand};
use muster_common::duration::DroveDuration;
use muster_common::executor::{
    BlacklistOperationResponse, ExecutorNodeData, ExecutorState, ExecutorSummary, TagsRequest,
};
use muster_common::exit::Exit;
use serde_json::json;
use tokio::time::{Duration, sleep};

use super::Caller;
use super::args::WaitArgs;
use crate::client::http::{Client, segment};
use crate::client::patience::{attend, deadline, is_over};
use crate::client::settle::Progress;
use crate::client::words::counted;
use crate::client::{resolve, screen};
use crate::error::CliError;

/// Between two looks at an executor that is being emptied.
const PAUSE: Duration = Duration::from_millis(250);
/// How much longer than a drain may take it is waited for when nobody says how long: until its last instance is gone.
const AFTER_DRAIN: Duration = Duration::from_secs(60);

#[derive(Debug, Args)]
pub(crate) struct ExecutorsArgs {
    #[command(subcommand)]
    command: Option<ExecutorsCommand>,
}

#[derive(Debug, Subcommand)]
enum ExecutorsCommand {
    /// List them.
    List,
    /// Empty executors and let them take nothing any more.
    Blacklist {
        /// Their ids or host names; unique prefixes of ids are enough.
        #[arg(required = true, value_name = "EXECUTOR")]
        executors: Vec<String>,
    },
    /// Let executors take instances again.
    Unblacklist {
        /// Their ids or host names; unique prefixes of ids are enough.
        #[arg(required = true, value_name = "EXECUTOR")]
        executors: Vec<String>,
    },
    /// Empty one within a time, in the order of its services' drain policies; waits until it is empty.
    Drain {
        /// Its id or host name.
        executor: String,
        /// How long it may take, such as 15m.
        #[arg(long, value_name = "DURATION", default_value = "15m")]
        timeout: DroveDuration,
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// Give one tags, beside those that it brings; `TAG-` takes a given one away.
    Tag {
        /// Its id or host name.
        executor: String,
        /// Such as `zone=a`, `gpu` or `gpu-`.
        #[arg(required = true, value_name = "TAG")]
        tags: Vec<String>,
    },
    /// Take one out of the cluster that is not heard any more; what ran on it counts as lost.
    Remove {
        /// Its id or host name.
        executor: String,
    },
}

pub(crate) async fn executors(caller: &Caller, args: ExecutorsArgs) -> Result<(), CliError> {
    let client = &caller.client;
    match args.command {
        None | Some(ExecutorsCommand::List) => caller.list(&resolve::executors(client).await?),
        Some(ExecutorsCommand::Blacklist { executors }) => change(caller, "blacklist", &executors).await,
        Some(ExecutorsCommand::Unblacklist { executors }) => change(caller, "unblacklist", &executors).await,
        Some(ExecutorsCommand::Drain { executor, timeout, wait }) => {
            drain(caller, &executor, timeout, wait).await
        }
        Some(ExecutorsCommand::Tag { executor, tags }) => tag(caller, &executor, &tags).await,
        Some(ExecutorsCommand::Remove { executor }) => {
            let id = resolve::executor(client, &executor).await?.executor_id;
            client.post_nothing(&format!("cluster/executors/{}/remove", segment(&id))).await?;
            let line = format!("{id} is removed; should its machine come back, it is a newcomer\n");
            screen::write(&caller.answer(&id, &json!({"executorId": id, "removed": true}), || line)?)
        }
    }
}

async fn change(caller: &Caller, word: &str, names: &[String]) -> Result<(), CliError> {
    let mut ids = Vec::new();
    for name in names {
        ids.push(resolve::executor(&caller.client, name).await?.executor_id);
    }
    let query: Vec<String> = ids.iter().map(|id| format!("id={}", segment(id))).collect();
    let path = format!("cluster/executors/{word}?{}", query.join("&"));
    let answer: BlacklistOperationResponse = caller.client.post(&path, &json!({})).await?;
    let (done, not) = (answer.successful.join(", "), answer.failed.join(", "));
    if !answer.failed.is_empty() {
        let done = if done.is_empty() { String::new() } else { format!("; done for {done}") };
        return Err(CliError::new(
            Exit::Conflict,
            format!("could not {word} {not}: {}{done}", answer.message),
        ));
    }
    let text = if word == "blacklist" {
        format!("{done}: being emptied; see 'muster describe {}'\n", ids.first().map_or("", String::as_str))
    } else {
        format!("{done}: may take instances again\n")
    };
    screen::write(&caller.answer(&ids.join("\n"), &answer, || text)?)
}

async fn drain(caller: &Caller, name: &str, timeout: DroveDuration, wait: WaitArgs) -> Result<(), CliError> {
    let client = &caller.client;
    let id = resolve::executor(client, name).await?.executor_id;
    let path = format!("cluster/executors/{}/drain", segment(&id));
    let summary: ExecutorSummary = client.post(&path, &json!({"timeout": timeout.to_string()})).await?;
    if wait.no_wait {
        let line = || format!("{id} is being emptied, and has {timeout} for it\n");
        return screen::write(&caller.answer(&id, &summary, line)?);
    }
    let mut progress = Progress::new();
    let time = wait.time.unwrap_or_else(|| timeout.as_duration().saturating_add(AFTER_DRAIN));
    let goes_on = format!("{id} goes on being emptied: see 'muster describe {id}'");
    let emptied = attend(&goes_on, until_empty(client, &id, time, &mut progress)).await?;
    progress.done(&caller.answer(&id, &emptied, || format!("{id} is empty, and takes nothing any more\n"))?)
}

async fn until_empty(
    client: &Client,
    id: &str,
    time: Duration,
    progress: &mut Progress,
) -> Result<ExecutorNodeData, CliError> {
    let removed = || CliError::new(Exit::Conflict, format!("{id} was removed meanwhile"));
    let deadline = deadline(Some(time));
    loop {
        let path = format!("cluster/executors/{}", segment(id));
        let executor: ExecutorNodeData = match client.get_patiently(&path, deadline).await {
            Err(error) if error.exit == Exit::NotFound => return Err(removed()),
            answer => answer?,
        };
        let left = counted(executor.service_instances.len(), "instance");
        progress.say(&format!("{id}: {left} left"));
        match executor.executor_state {
            ExecutorState::Blacklisted => return Ok(executor),
            ExecutorState::Active => {
                return Err(CliError::new(
                    Exit::Conflict,
                    format!("{id} takes instances again: somebody ended the drain, with {left} left"),
                ));
            }
            ExecutorState::Removed => return Err(removed()),
            ExecutorState::BlacklistRequested | ExecutorState::Draining | ExecutorState::Unready => {}
        }
        if is_over(deadline) {
            return Err(CliError::new(
                Exit::Timeout,
                format!(
                    "{id} has {left} after {}s; it goes on being emptied, see 'muster describe {id}'",
                    time.as_secs()
                ),
            ));
        }
        sleep(PAUSE).await;
    }
}

async fn tag(caller: &Caller, name: &str, changes: &[String]) -> Result<(), CliError> {
    let client = &caller.client;
    let id = resolve::executor(client, name).await?.executor_id;
    let path = format!("cluster/executors/{}/tags", segment(&id));
    let summary: ExecutorSummary = client.post(&path, &amendment(changes)).await?;
    screen::write(
        &caller.answer(&id, &summary, || format!("{id} has the tags {}\n", summary.tags.join(", ")))?,
    )
}

/// `TAG` is added, in place of another value of its key; `TAG-` and `KEY-` are taken away. Others may give it tags at the
/// same time: what they ask for stays.
fn amendment(changes: &[String]) -> TagsRequest {
    let remove = changes.iter().filter_map(|change| change.strip_suffix('-')).map(str::to_owned).collect();
    let add = changes.iter().filter(|change| !change.ends_with('-')).cloned().collect();
    TagsRequest::Amend { remove, add }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_added_and_taken_away() {
        let texts = |texts: &[&str]| texts.iter().map(ToString::to_string).collect::<Vec<_>>();
        let amend = |remove, add| TagsRequest::Amend { remove: texts(remove), add: texts(add) };
        for (changes, expected) in [
            (&["zone=a", "gpu"][..], amend(&[], &["zone=a", "gpu"])),
            (&["gpu-", "zone-", "zone=a-"], amend(&["gpu", "zone", "zone=a"], &[])),
            (&["zone=a-", "zone"], amend(&["zone=a"], &["zone"])),
        ] {
            assert_eq!(amendment(&texts(changes)), expected, "{changes:?}");
        }
    }
}
