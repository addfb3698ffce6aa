//! How long nobody can write when the leader is killed: from its death to the next write that a client has
//! accepted through a controller that survived.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use muster_controller::Reply;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::command::{Commands, Incarnations};
use crate::group::{Group, Place};
use crate::output::line;
use crate::proposer::propose;
use crate::stats::{Summary, Timed, millis};

/// The budget: so short that writes wait for the next leader, and nobody is told of an error.
const BUDGET: Duration = Duration::from_secs(1);
/// Much longer than an election, and than the start of a controller.
const WRITES_WITHIN: Duration = Duration::from_secs(30);
/// Between a write that was refused and the next one.
const PAUSE: Duration = Duration::from_millis(5);
/// Kills come at another moment between two heartbeats each time.
const STAGGER: Duration = Duration::from_millis(17);
/// The group is whole for so long before a leader is killed.
const WHOLE_FOR: Duration = Duration::from_millis(500);
/// The executor that is written about, as [`Commands`] names it.
const EXECUTOR: &str = "bench-0";
const COMMAND_BYTES: usize = 256;

/// The command line of `gap`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How often the leader is killed
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    kills: u32,
    #[command(flatten)]
    place: Place,
}

/// Measures, and prints the table.
pub(crate) async fn run(args: &Args) -> anyhow::Result<()> {
    let mut group = Group::start(&args.place)?;
    let leader = group.leader().await?;
    let command = Commands::new(0, COMMAND_BYTES, Incarnations::default())?.next();
    let reply = propose(&mut group.connect(&leader)?, command).await?;
    ensure!(reply == Reply::Done, "the executor to write about was not taken: {reply:?}");

    let (mut first, mut all, mut refused) = (Timed::default(), Timed::default(), 0);
    for kill in 0..args.kills {
        let gap = one_kill(&mut group, STAGGER * kill).await.with_context(|| format!("kill {}", kill + 1))?;
        first.latencies.push(gap.first);
        all.latencies.push(gap.all);
        refused += gap.refused;
    }
    line(format_args!(
        "leader killed {} times; {refused} writes refused or of unknown fate meanwhile",
        args.kills
    ))?;
    line(format_args!(
        "{:<40} {:>8} {:>8} {:>8}",
        "to the next accepted write", "p50 ms", "p99 ms", "budget"
    ))?;
    print("through the first controller", first, Some(BUDGET))?;
    print("through both that survive", all, None)
}

fn print(what: &str, gaps: Timed, budget: Option<Duration>) -> anyhow::Result<()> {
    let Some(summary) = Summary::of(gaps) else { return Ok(()) };
    let missed = if budget.is_some_and(|budget| summary.p99 > budget) { "  missed" } else { "" };
    let budget = budget.map_or_else(String::new, |budget| format!("{:.0}", millis(budget)));
    line(format_args!(
        "{what:<40} {:>8.0} {:>8.0} {budget:>8}{missed}",
        millis(summary.p50),
        millis(summary.p99)
    ))
}

/// What one kill came to.
struct Gap {
    /// To the first write that began after it and was accepted, through either survivor…
    first: Duration,
    /// …and until that is so of both.
    all: Duration,
    /// Writes that were not accepted.
    refused: u32,
}

/// Waits until the group is whole, kills the leader `later`, sees writes go on, and starts the killed one again.
async fn one_kill(group: &mut Group, later: Duration) -> anyhow::Result<Gap> {
    let mut whole = Writers::start(group.apis())?;
    whole.each_accepted_since(Instant::now()).await?;
    drop(whole);
    tokio::time::sleep(WHOLE_FOR + later).await;

    let leader = group.leading().await?;
    let survivors = group.apis().into_iter().enumerate().filter(|(number, _)| *number != leader);
    let mut writers = Writers::start(survivors.map(|(_, api)| api).collect())?;
    writers.each_accepted_since(Instant::now()).await?;

    let killed = Instant::now();
    group.kill(leader)?;
    let gap = writers.each_accepted_since(killed).await?;
    drop(writers);
    group.restart(leader)?;
    Ok(gap)
}

/// One client for each of some controllers, which writes on and on. Dropping them stops them.
struct Writers {
    count: usize,
    written: mpsc::Receiver<Written>,
    _tasks: JoinSet<()>,
}

/// A write, answered.
struct Written {
    by: usize,
    began: Instant,
    ended: Instant,
    accepted: bool,
}

impl Writers {
    fn start(apis: Vec<String>) -> anyhow::Result<Self> {
        let (told, written) = mpsc::channel(64);
        let mut tasks = JoinSet::new();
        let count = apis.len();
        for (by, api) in apis.into_iter().enumerate() {
            let client = reqwest::Client::builder().timeout(WRITES_WITHIN).no_proxy().build();
            tasks.spawn(write_on(by, client.context("making an HTTP client")?, api, told.clone()));
        }
        Ok(Self { count, written, _tasks: tasks })
    }

    /// Waits until each of them had a write accepted that began at `from` or later.
    async fn each_accepted_since(&mut self, from: Instant) -> anyhow::Result<Gap> {
        let mut accepted = vec![None; self.count];
        let mut refused = 0;
        let wait = async {
            while accepted.contains(&None) {
                let written = self.written.recv().await.context("the writers ended")?;
                if written.began < from {
                    continue;
                }
                if written.accepted {
                    accepted[written.by].get_or_insert(written.ended.duration_since(from));
                } else {
                    refused += 1;
                }
            }
            anyhow::Ok(())
        };
        let waited = tokio::time::timeout(WRITES_WITHIN, wait).await;
        waited.with_context(|| format!("no write was accepted within {WRITES_WITHIN:?}"))??;
        let times = || accepted.iter().flatten().copied();
        let (Some(first), Some(all)) = (times().min(), times().max()) else {
            bail!("there is nobody to write")
        };
        Ok(Gap { first, all, refused })
    }
}

/// Gives the executor one tag after another through the controller at `api`, until nobody listens.
async fn write_on(by: usize, client: reqwest::Client, api: String, told: mpsc::Sender<Written>) {
    let url = format!("http://{api}/apis/v1/cluster/executors/{EXECUTOR}/tags");
    for number in 0_u64.. {
        let began = Instant::now();
        let answer = client.post(&url).json(&json!({ "tags": [format!("by-{by}-{number}")] })).send().await;
        let accepted = answer.is_ok_and(|answer| answer.status().is_success());
        if told.send(Written { by, began, ended: Instant::now(), accepted }).await.is_err() {
            return;
        }
        if !accepted {
            tokio::time::sleep(PAUSE).await;
        }
    }
}
