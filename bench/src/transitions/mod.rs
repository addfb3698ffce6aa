//! Committed transitions of instances per second, the whole way: executors' sessions over mTLS, gathered by the
//! leader, replicated, applied by three controllers, acknowledged.
//!
//! | module | noun |
//! |---|---|
//! | [`life`] | an instance that goes from one state to the next as fast as it is told to |
//! | [`session`] | one executor's session |
//! | [`trickle`] | so many transitions a second, for benchmarks of what goes on beside them |

mod life;
mod session;
mod trickle;

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use muster_common::id::{ExecutorId, OperationId};
use muster_common::operation::OperationRequest;
use muster_common::spec::LocalServiceSpec;
use muster_controller::{Command, Reply};
use muster_platform::World;
use serde_json::json;
use tokio::task::JoinSet;

use crate::group::{Group, Place};
use crate::output::line;
use crate::proposer::propose;
use crate::stats::{Summary, Timed, millis};

use session::Session;

pub(crate) use session::Committed;
pub(crate) use trickle::{Trickle, TrickleArgs};

/// The budget, in transitions per second: 100,000 instances come up, five states each, within ten seconds.
const BUDGET: f64 = 50_000.0;
/// Before counting: connections are busy, caches are warm.
const WARM_UP: Duration = Duration::from_secs(1);

/// The command line of `transitions`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How many executors have a session
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u16).range(1..))]
    executors: u16,
    /// How many instances each of them has, one row for each number: a report tells one transition of each
    #[arg(long, value_delimiter = ',', default_values_t = [1, 10],
          value_parser = clap::value_parser!(u8).range(1..))]
    instances: Vec<u8>,
    /// How long each row is measured, in seconds
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    #[command(flatten)]
    place: Place,
}

/// Measures, and prints the table.
pub(crate) async fn run(args: &Args) -> anyhow::Result<()> {
    let time = Duration::from_secs(args.seconds);
    line(format_args!(
        "{} executors, {} s a row; cores: what leader, both followers and clients take",
        args.executors, args.seconds
    ))?;
    line(format_args!(
        "{:>9} {:>13} {:>10} {:>8} {:>8} {:>7} {:>10} {:>8} {:>8}",
        "instances",
        "transitions/s",
        "reports/s",
        "p50 ms",
        "p99 ms",
        "leader",
        "followers",
        "clients",
        "budget"
    ))?;
    for &instances in &args.instances {
        let mut group = Group::start(&args.place)?;
        line(measure(&mut group, args.executors, u32::from(instances), time).await?)?;
    }
    Ok(())
}

/// One line of the table.
struct Row {
    instances: u32,
    reports: Summary,
    leader: f64,
    followers: f64,
    clients: f64,
}

impl std::fmt::Display for Row {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let rate = self.reports.rate * f64::from(self.instances);
        let missed = if rate < BUDGET { "  missed" } else { "" };
        write!(
            f,
            "{:>9} {rate:>13.0} {:>10.0} {:>8.2} {:>8.2} {:>7.2} {:>10.2} {:>8.2} {BUDGET:>8.0}{missed}",
            self.instances,
            self.reports.rate,
            millis(self.reports.p50),
            millis(self.reports.p99),
            self.leader,
            self.followers,
            self.clients,
        )
    }
}

/// Sessions of so many executors with the leader, all instances of which are HEALTHY.
async fn filled(group: &mut Group, executors: u16, instances: u32) -> anyhow::Result<Vec<Session>> {
    let leader = group.leader().await?;
    let mut opening = JoinSet::new();
    for number in 0..executors {
        let id = ExecutorId::new(format!("executor-{number}"))?;
        let tls = group.executor(&id)?;
        opening.spawn(Session::open(id, tls, leader.clone()));
    }
    let mut sessions = Vec::new();
    while let Some(opened) = opening.join_next().await {
        sessions.push(opened.context("a session broke off")??);
    }
    activate(group, &leader, instances).await?;
    let mut filling: JoinSet<anyhow::Result<Session>> = JoinSet::new();
    for mut session in sessions {
        filling.spawn(async move {
            session.fill(instances).await?;
            Ok(session)
        });
    }
    let mut filled = Vec::new();
    while let Some(session) = filling.join_next().await {
        filled.push(session.context("a session broke off")??);
    }
    Ok(filled)
}

async fn measure(group: &mut Group, executors: u16, instances: u32, time: Duration) -> anyhow::Result<Row> {
    let leading = group.leading().await?;
    let filled = filled(group, executors, instances).await?;

    let from = Instant::now() + WARM_UP;
    let mut running: JoinSet<anyhow::Result<Vec<Duration>>> =
        filled.into_iter().map(|session| session.run(from, from + time)).collect();
    tokio::time::sleep_until(from.into()).await;
    let before = group.cpu_seconds()?;
    tokio::time::sleep_until((from + time).into()).await;
    let after = group.cpu_seconds()?;
    let mut latencies = Vec::new();
    while let Some(ended) = running.join_next().await {
        latencies.extend(ended.context("a session broke off")??);
    }
    group.check_alive()?;
    ensure!(group.leading().await? == leading, "the leader changed while it was measured");
    let cores = |number: usize| (after[number] - before[number]) / time.as_secs_f64();
    let followers = (0..3).filter(|number| *number != leading).map(cores).sum();
    let reports = Summary::of(Timed { latencies, elapsed: time }).context("nothing was acknowledged")?;
    Ok(Row { instances, reports, leader: cores(leading), followers, clients: cores(3) })
}

/// Has a service run everywhere, with so many instances on each executor.
async fn activate(group: &Group, leader: &str, instances_per_host: u32) -> anyhow::Result<()> {
    let check = json!({
        "mode": {"type": "HTTP", "portName": "main", "path": "/", "successCodes": [200]},
        "timeout": "1s", "interval": "1s",
    });
    let spec = json!({
        "name": "bench", "version": "1", "type": "LOCAL_SERVICE",
        "executable": {"type": "DOCKER", "url": "bench", "dockerPullTimeout": "20s"},
        "exposedPorts": [{"name": "main", "port": 8000, "type": "HTTP"}],
        "resources": [{"type": "CPU", "count": 0.2}, {"type": "MEMORY", "sizeInMB": 16}],
        "placementPolicy": {"type": "LOCAL"}, "readiness": check, "healthcheck": check,
    });
    let spec: LocalServiceSpec = serde_json::from_value(spec).context("reading the benchmark's spec")?;
    let mut control = group.connect(leader)?;
    let world = World::system();
    for request in [
        OperationRequest::Create { spec: Box::new(spec), instances_per_host },
        OperationRequest::Activate { service_id: "bench-1".to_owned() },
    ] {
        let id = OperationId::from_uuid(world.uuid());
        let at = world.clock.now();
        let command = Command::SubmitOperation {
            id,
            request: Box::new(request),
            at,
            by: "bench".to_owned(),
            if_generation: None,
        };
        let reply = propose(&mut control, command.encode()).await?;
        ensure!(matches!(reply, Reply::Accepted { .. }), "the service was not taken: {reply:?}");
    }
    Ok(())
}
