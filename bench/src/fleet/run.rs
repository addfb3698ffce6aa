//! One fleet, from the first connection to the next leader.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use muster_controller::LivenessConfig;
use serde_json::json;
use tokio::time::sleep;

use super::Args;
use super::eye::Eye;
use super::nodes::Nodes;
use super::reader::{Readers, Reads};
use crate::group::Group;
use crate::output::line;
use crate::process::{cpu_seconds, resident_mb};
use crate::stats::{Summary, Timed, millis};

/// The budget of a read, in ms: nobody who waits for an answer notices it.
const READ_BUDGET_MS: f64 = 50.0;
/// Beyond that something is stuck.
const STUCK_AFTER: Duration = Duration::from_secs(180);
/// The largest parallelism that an operation takes.
const MOST_AT_ONCE: u32 = 512;
/// What the registration left is done by then.
const SETTLE: Duration = Duration::from_secs(3);
/// Between two looks at how many sessions there are.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// A running fleet.
struct Fleet {
    group: Group,
    apis: Vec<String>,
    services: Vec<String>,
    executors: u32,
    time: Duration,
}

/// Measures a fleet of `executors` and prints its table.
pub(super) async fn measure(args: &Args, executors: u32) -> anyhow::Result<()> {
    let group = Group::start_with(&args.place, LivenessConfig::default())?;
    let apis = group.apis();
    let services = (0..args.instances).map(|number| format!("agent{number}-1")).collect();
    let mut fleet = Fleet { group, apis, services, executors, time: Duration::from_secs(args.seconds) };
    let heading =
        format!("{executors} executors, {} instances", u64::from(executors) * u64::from(args.instances));
    line(format_args!("{heading:<54} {:>12} {:>9}", "measured", "budget"))?;
    fleet.activate().await?;
    let nodes = Nodes::new(&fleet.group, executors)?;
    let leader = fleet.group.leading().await?;
    let eye = Eye::on(&fleet.apis[leader]);

    let readers = fleet.readers();
    let begun = Instant::now();
    let _nodes = nodes.start();
    for service in &fleet.services {
        eye.until_healthy(service, u64::from(executors), STUCK_AFTER).await?;
    }
    row("first connection until all are registered and HEALTHY", &seconds(begun.elapsed()), "")?;
    print_reads("meanwhile", readers.stop().await?)?;

    sleep(SETTLE).await;
    fleet.rest(leader).await?;
    let readers = fleet.readers();
    sleep(fleet.time).await;
    print_reads("at rest", readers.stop().await?)?;

    fleet.restart(&eye).await?;
    sleep(SETTLE).await;
    let before = unheard(&eye).await?;
    row("UNKNOWN or LOST before the leader is killed", &before.to_string(), flag(before == 0, "0"))?;
    fleet.lose_leader(leader).await?;
    line("")
}

impl Fleet {
    fn readers(&self) -> Readers {
        Readers::start(&self.apis, &self.services, self.executors)
    }

    /// The services are wanted before the first executor is there.
    async fn activate(&mut self) -> anyhow::Result<()> {
        let leader = self.group.leading().await?;
        let eye = Eye::on(&self.apis[leader]);
        for service in &self.services {
            let check = json!({
                "mode": {
                    "type": "HTTP", "protocol": "HTTP", "portName": "main", "path": "/", "verb": "GET",
                    "successCodes": [200],
                },
                "timeout": "1s", "interval": "1s", "attempts": 3,
            });
            let spec = json!({
                "name": service.trim_end_matches("-1"), "version": "1", "type": "LOCAL_SERVICE",
                "executable": {"type": "PROCESS", "command": ["/bin/true"]},
                "exposedPorts": [{"name": "main", "port": 8000, "type": "HTTP"}],
                "resources": [{"type": "CPU", "count": 0.1}, {"type": "MEMORY", "sizeInMB": 16}],
                "placementPolicy": {"type": "LOCAL"}, "readiness": check, "healthcheck": check,
            });
            eye.submit(&json!({"type": "CREATE", "spec": spec, "instancesPerHost": 1})).await?;
            let activation = eye.submit(&json!({"type": "ACTIVATE", "serviceId": service})).await?;
            eye.until_over(&activation, STUCK_AFTER).await?;
        }
        Ok(())
    }

    /// What the controllers take while nothing happens.
    async fn rest(&self, leader: usize) -> anyhow::Result<()> {
        let pids = self.group.pids();
        let cpu = || pids.iter().map(|pid| cpu_seconds(*pid)).collect::<anyhow::Result<Vec<f64>>>();
        let before = cpu()?;
        let begun = Instant::now();
        sleep(self.time).await;
        let (after, elapsed) = (cpu()?, begun.elapsed().as_secs_f64());
        for (place, pid) in pids.iter().enumerate() {
            let role = if place == leader { "leader" } else { "follower" };
            let share = (after[place] - before[place]) / elapsed * 100.0;
            row(&format!("at rest, {role}: of one core"), &format!("{share:.1} %"), "")?;
            row(&format!("at rest, {role}: resident"), &format!("{:.0} MB", resident_mb(*pid)?), "")?;
        }
        Ok(())
    }

    /// Every slot of one service is replaced, a tenth at a time.
    async fn restart(&self, eye: &Eye) -> anyhow::Result<()> {
        let service = self.services.first().context("there is no service")?;
        let op_spec = json!({"timeout": "5m", "parallelism": self.executors.div_ceil(10).min(MOST_AT_ONCE)});
        let begun = Instant::now();
        let restart = json!({"type": "RESTART", "serviceId": service, "opSpec": op_spec});
        let operation = eye.submit(&restart).await?;
        eye.until_over(&operation, STUCK_AFTER).await?;
        row(
            &format!("RESTART of {} slots, a tenth and at most 512 at a time", self.executors),
            &seconds(begun.elapsed()),
            "",
        )?;
        Ok(())
    }

    /// The leader is killed while all are connected.
    async fn lose_leader(&mut self, leader: usize) -> anyhow::Result<()> {
        let kept = self.old_instances(leader).await?;
        self.group.kill(leader)?;
        let killed = Instant::now();
        self.apis.remove(leader);
        let eyes: Vec<Eye> = self.apis.iter().map(|api| Eye::on(api)).collect();
        let mut back = None;
        let mut away = 0;
        // Longer than it takes until who is silent is shown as UNKNOWN, the time of the fleet's return included.
        let patience = LivenessConfig::default().unknown_after.as_duration() * 2;
        while back.is_none_or(|back| killed.elapsed() < back + patience) {
            ensure!(killed.elapsed() < STUCK_AFTER, "the sessions are not back after {STUCK_AFTER:?}");
            let (mut sessions, mut unheard_now) = (0, 0);
            for eye in &eyes {
                sessions += eye.metric("muster_sessions", "").await?;
                unheard_now += unheard(eye).await?;
            }
            away = away.max(unheard_now);
            if back.is_none() && sessions == u64::from(self.executors) {
                back = Some(killed.elapsed());
            }
            sleep(POLL_INTERVAL).await;
        }
        row("leader killed until all sessions are back", &seconds(back.unwrap_or_default()), "")?;
        row("false UNKNOWN or LOST: executors", &away.to_string(), flag(away == 0, "0"))?;
        let survivor = Eye::on(&self.apis[0]);
        for service in &self.services {
            survivor.until_healthy(service, u64::from(self.executors), STUCK_AFTER).await?;
        }
        let lost = self.old_instances(0).await?.saturating_sub(kept);
        row("instances that were given up", &lost.to_string(), flag(lost == 0, "0"))?;
        Ok(())
    }

    async fn old_instances(&self, place: usize) -> anyhow::Result<usize> {
        let eye = Eye::on(&self.apis[place]);
        let mut old = 0;
        for service in &self.services {
            old += eye.old(service).await?;
        }
        Ok(old)
    }
}

/// How many executors this controller has ever taken for silent.
async fn unheard(eye: &Eye) -> anyhow::Result<u64> {
    let name = "muster_contact_verdicts_total";
    Ok(eye.metric(name, "UNREACHABLE").await? + eye.metric(name, "LOST").await?)
}

fn print_reads(when: &str, reads: Reads) -> anyhow::Result<()> {
    for (what, latencies) in
        [("one instance", reads.instance), ("one service", reads.service), ("a page of 100", reads.page)]
    {
        let count = latencies.len();
        let what = format!("reads {when}: {what}, p99 of {count}");
        match Summary::of(Timed { latencies, elapsed: Duration::ZERO }) {
            None => row(&what, "-", "")?,
            Some(summary) => {
                let p99 = millis(summary.p99);
                row(&what, &format!("{p99:.1} ms"), flag(p99 <= READ_BUDGET_MS, "50 ms"))?;
            }
        }
    }
    if let (count @ 1.., Some(first)) = reads.failed {
        row(&format!("reads {when}: failed ({first})"), &count.to_string(), "0  missed")?;
    }
    Ok(())
}

fn row(what: &str, measured: &str, budget: &str) -> anyhow::Result<()> {
    line(format_args!("{what:<54} {measured:>12} {budget:>9}"))
}

fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

/// The budget, and whether it is missed.
fn flag(kept: bool, budget: &'static str) -> &'static str {
    match (kept, budget) {
        (true, budget) => budget,
        (false, "0") => "0  missed",
        (false, _) => "50 ms  missed",
    }
}
