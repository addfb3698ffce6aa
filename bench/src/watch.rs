//! What hundreds of users are sent who watch a cluster that lives (server-sent events, spread over the controllers), and how
//! long after its commit each of them has it.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use futures::FutureExt as _;
use futures::future::join_all;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::aside::Aside;
use crate::group::Group;
use crate::output::line;
use crate::stats::{Summary, Timed, millis, per_second};
use crate::transitions::{Committed, Trickle, TrickleArgs};

/// How many executors the transitions are spread over, with how many instances each.
const EXECUTORS: u16 = 100;
const INSTANCES: u32 = 10;
/// Threads that read, apart from the executors, so that these do not wait for them.
const THREADS: usize = 2;
/// Before counting: all clients are at the present.
const WARM_UP: Duration = Duration::from_secs(2);
/// What was committed last is with everybody by then, or late.
const TAIL: Duration = Duration::from_secs(3);
/// Of so many events the delay of one is measured: reading all of them would take more than sending them does.
const SAMPLE: u64 = 16;
/// A transition that users see as an event of this type.
const TRANSITION: &str = "LOCAL_SERVICE_INSTANCE_STATE_CHANGE";

/// The command line of `watch`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How many clients watch all events
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u16).range(1..=3_000))]
    clients: u16,
    #[command(flatten)]
    trickle: TrickleArgs,
}

/// Measures, and prints the table.
pub(crate) async fn run(args: &Args) -> anyhow::Result<()> {
    let mut group = Group::start(&args.trickle.place)?;
    let trickle = Trickle::ready(&mut group, EXECUTORS, INSTANCES).await?;
    let leading = group.leading().await?;
    let crowd = crowd(&group.apis(), usize::from(args.clients));
    let flowing = trickle.flow(args.trickle.rate);
    tokio::time::sleep(WARM_UP).await;
    let (from, before) = (Instant::now(), group.cpu_seconds()?);
    tokio::time::sleep(args.trickle.time()).await;
    let (until, after) = (Instant::now(), group.cpu_seconds()?);
    let (_, committed) = flowing.stop().await?;
    tokio::time::sleep(TAIL).await;
    let clients: Vec<Client> = crowd.stop().await?.into_iter().flatten().collect();
    group.check_alive()?;
    ensure!(group.leading().await? == leading, "the leader changed while it was measured");

    let seconds = (until - from).as_secs_f64();
    let cores: Vec<f64> =
        after.iter().zip(&before).map(|(after, before)| (after - before) / seconds).collect();
    let followers: f64 = (0..3).filter(|number| *number != leading).map(|number| cores[number]).sum();
    let count = committed.iter().filter(|one| (from..until).contains(&one.at)).count();
    line(format_args!(
        "{} clients watch three controllers; {} s",
        args.clients,
        args.trickle.time().as_secs()
    ))?;
    row("transitions committed a second", format!("{:.0}", per_second(count as u64, until - from)))?;
    print_delays(&clients, &committed, from..until)?;
    row(
        "clients that were cut off, or told to go",
        clients.iter().filter(|one| one.ended.is_some()).count(),
    )?;
    row("cores: leader", format!("{:.2}", cores[leading]))?;
    row("cores: followers", format!("{followers:.2}"))?;
    row("cores: clients and executors", format!("{:.2}", cores[3]))?;
    match clients.iter().find_map(|one| one.ended.as_ref()) {
        Some(why) => row("the first that ended said", why),
        None => Ok(()),
    }
}

/// When every sampled event was with each client, against when it was committed.
fn print_delays(
    clients: &[Client],
    committed: &[Committed],
    time: std::ops::Range<Instant>,
) -> anyhow::Result<()> {
    let events: u64 = clients.iter().map(|client| client.within(&time)).sum();
    let at: HashMap<(&str, &str), Instant> =
        committed.iter().map(|one| ((one.instance.as_str(), one.state.as_str()), one.at)).collect();
    // What an id stands for is the same to all.
    let meant: HashMap<&str, Instant> = clients
        .iter()
        .filter_map(|client| client.reference.as_ref())
        .flatten()
        .filter_map(|(id, instance, state)| {
            Some((id.as_str(), *at.get(&(instance.as_str(), state.as_str()))?))
        })
        .collect();
    let (mut all, mut slowest) = (Vec::new(), Duration::ZERO);
    for client in clients {
        let delay = |(id, seen): &(String, Instant)| {
            let committed = meant.get(id.as_str()).copied().filter(|committed| time.contains(committed))?;
            // The acknowledgement, by which the commit is told, may come after the event.
            Some(seen.saturating_duration_since(committed))
        };
        let delays: Vec<Duration> = client.sampled.iter().filter_map(delay).collect();
        let of_it = Summary::of(Timed { latencies: delays.clone(), elapsed: Duration::ZERO });
        slowest = slowest.max(of_it.map_or(Duration::MAX, |summary| summary.p99));
        all.extend(delays);
    }
    let sampled = all.len();
    let summary = Summary::of(Timed { latencies: all, elapsed: time.end - time.start });
    let summary = summary.context("no client was sent a transition that was committed meanwhile")?;
    row(
        "events delivered a second, all clients together",
        format!("{:.0}", per_second(events, time.end - time.start)),
    )?;
    row(&format!("commit to client, p50 ms ({sampled} of them)"), format!("{:.1}", millis(summary.p50)))?;
    row("commit to client, p99 ms", format!("{:.1}", millis(summary.p99)))?;
    let slowest =
        if slowest == Duration::MAX { "nothing came".to_owned() } else { format!("{:.1}", millis(slowest)) };
    row("the slowest client, p99 ms", slowest)
}

fn row(what: &str, measured: impl std::fmt::Display) -> anyhow::Result<()> {
    line(format_args!("{what:<56} {measured:>12}"))
}

/// What one client was sent.
struct Client {
    /// Of some events, when they were there, by id.
    sampled: Vec<(String, Instant)>,
    /// How many events there were so far, each time something came.
    counts: Vec<(Instant, u64)>,
    /// Which instance and state the sampled ids stand for; one client says it for all.
    reference: Option<Vec<(String, String, String)>>,
    /// Why it ended, when it ended by itself.
    ended: Option<String>,
}

impl Client {
    fn within(&self, time: &std::ops::Range<Instant>) -> u64 {
        let until = |end: Instant| {
            let after = self.counts.partition_point(|(at, _)| *at < end);
            after.checked_sub(1).map_or(0, |last| self.counts[last].1)
        };
        until(time.end) - until(time.start)
    }

    /// Takes one event as it was written: lines with `id`, `event` and `data`.
    fn take(&mut self, event: &str, at: Instant) {
        let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name));
        let (Some(id), Some(kind)) = (field("id: "), field("event: ")) else { return };
        if kind != TRANSITION {
            return;
        }
        match self.counts.last_mut() {
            Some((last, count)) if *last == at => *count += 1,
            last => {
                let before = last.map_or(0, |(_, count)| *count);
                self.counts.push((at, before + 1));
            }
        }
        let revision = id.split('.').next().and_then(|revision| revision.parse::<u64>().ok());
        if revision.is_none_or(|revision| revision % SAMPLE != 0) {
            return;
        }
        self.sampled.push((id.to_owned(), at));
        if let Some(reference) = &mut self.reference {
            let data: Value =
                field("data: ").and_then(|data| serde_json::from_str(data).ok()).unwrap_or_default();
            let tag = |name: &str| data["metadata"][name].as_str().unwrap_or_default().to_owned();
            reference.push((id.to_owned(), tag("INSTANCE_ID"), tag("CURRENT_STATE")));
        }
    }

    /// Watches until `stop`.
    async fn watch(mut self, api: String, stop: CancellationToken) -> Self {
        let watching = self.follow(&api);
        let ended = tokio::select! {
            () = stop.cancelled() => None,
            ended = watching => Some(ended.map_or_else(|error| format!("{error:#}"), |()| "the end".to_owned())),
        };
        self.ended = ended;
        self
    }

    async fn follow(&mut self, api: &str) -> anyhow::Result<()> {
        let url = format!("http://{api}/apis/v1/cluster/events/watch");
        let mut answer = reqwest::Client::new().get(url).send().await.context("watching")?;
        ensure!(answer.status().is_success(), "watching was answered with {}", answer.status());
        let mut open = String::new();
        while let Some(chunk) = answer.chunk().await.context("watching")? {
            let at = Instant::now();
            open.push_str(&String::from_utf8_lossy(&chunk));
            let whole = open.rfind("\n\n").map_or(0, |end| end + 2);
            let rest = open.split_off(whole);
            for event in open.split_terminator("\n\n") {
                self.take(event, at);
            }
            open = rest;
        }
        Ok(())
    }
}

/// So many clients, spread over the controllers.
fn crowd(apis: &[String], count: usize) -> Aside<Vec<Client>> {
    let stop = CancellationToken::new();
    let some = |thread: usize| {
        let clients = (thread..count).step_by(THREADS).map(|number| {
            let reference = (number == 0).then(Vec::new);
            let client = Client { sampled: Vec::new(), counts: Vec::new(), reference, ended: None };
            client.watch(apis[number % apis.len()].clone(), stop.clone())
        });
        join_all(clients).map(Ok)
    };
    Aside::start(stop.clone(), (0..THREADS).map(some))
}
