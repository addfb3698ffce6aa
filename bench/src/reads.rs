//! What users wait for who read: one instance, and the list of all instances of a large service, linearizably, through each
//! controller; at rest, and while transitions are committed.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::aside::Aside;
use crate::group::Group;
use crate::output::line;
use crate::stats::{Summary, Timed, millis, per_second};
use crate::transitions::{Trickle, TrickleArgs};

/// How many executors the instances are spread over.
const EXECUTORS: u16 = 100;
/// The service that all instances are of.
const SERVICE: &str = "localservices/bench-1/instances";
/// Between two reads of one reader.
const PAUSE: Duration = Duration::from_millis(5);
/// So many single instances for each whole list, which takes far longer.
const SINGLE_READS: usize = 20;
/// Nothing that is asked takes longer, unless something is wrong.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// The command line of `reads`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How many instances there are on each of a hundred executors
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=256))]
    instances: u32,
    #[command(flatten)]
    trickle: TrickleArgs,
}

/// Measures, and prints the table.
pub(crate) async fn run(args: &Args) -> anyhow::Result<()> {
    let mut group = Group::start(&args.trickle.place)?;
    let time = args.trickle.time();
    let trickle = Trickle::ready(&mut group, EXECUTORS, args.instances).await?;
    line(format_args!(
        "{} instances on {EXECUTORS} executors, three controllers, a reader at each; {} s each",
        u32::from(EXECUTORS) * args.instances,
        time.as_secs()
    ))?;
    line(format_args!("{:<52} {:>7} {:>9} {:>9}", "read", "count", "p50 ms", "p99 ms"))?;
    print("at rest", read(&group.apis(), time).await?)?;
    let flowing = trickle.flow(args.trickle.rate);
    let begun = Instant::now();
    let reads = read(&group.apis(), time).await?;
    let elapsed = begun.elapsed();
    let (_, committed) = flowing.stop().await?;
    group.check_alive()?;
    print(&format!("beside {:.0} transitions/s", per_second(committed.len() as u64, elapsed)), reads)
}

/// How long reads took, by what was read.
#[derive(Default)]
struct Reads {
    instance: Vec<Duration>,
    list: Vec<Duration>,
}

/// Reads through all controllers for a while.
async fn read(apis: &[String], time: Duration) -> anyhow::Result<Reads> {
    let stop = CancellationToken::new();
    let reader =
        |api: &String| Reader { http: reqwest::Client::new(), api: api.clone(), stop: stop.clone() }.run();
    let readers = Aside::start(stop.clone(), apis.iter().map(reader));
    tokio::time::sleep(time).await;
    let mut all = Reads::default();
    for reads in readers.stop().await? {
        all.instance.extend(reads.instance);
        all.list.extend(reads.list);
    }
    Ok(all)
}

/// A user at one controller.
struct Reader {
    http: reqwest::Client,
    api: String,
    stop: CancellationToken,
}

impl Reader {
    async fn run(self) -> anyhow::Result<Reads> {
        let mut reads = Reads::default();
        while !self.stop.is_cancelled() {
            let (took, list) = self.timed(SERVICE).await?;
            reads.list.push(took);
            let list: Value = serde_json::from_slice(&list).context("reading the list")?;
            let listed = list["data"].as_array().context("instances are a list")?;
            let every = listed.len().div_ceil(SINGLE_READS).max(1);
            for instance in listed.iter().step_by(every) {
                if self.stop.is_cancelled() {
                    break;
                }
                let id = instance["instanceId"].as_str().context("an instance has no id")?;
                reads.instance.push(self.timed(&format!("{SERVICE}/{id}")).await?.0);
                tokio::time::sleep(PAUSE).await;
            }
        }
        Ok(reads)
    }

    /// What is answered, and how long that took to its last byte.
    async fn timed(&self, path: &str) -> anyhow::Result<(Duration, bytes::Bytes)> {
        let begun = Instant::now();
        let request = self.http.get(format!("http://{}/apis/v1/{path}", self.api)).timeout(ANSWER_WITHIN);
        let answer = request.send().await.with_context(|| format!("reading {path} from {}", self.api))?;
        let status = answer.status();
        let body = answer.bytes().await.with_context(|| format!("reading {path} from {}", self.api))?;
        ensure!(status.is_success(), "{path} was answered with {status}");
        Ok((begun.elapsed(), body))
    }
}

fn print(when: &str, reads: Reads) -> anyhow::Result<()> {
    for (what, latencies) in [("one instance", reads.instance), ("the whole list", reads.list)] {
        let count = latencies.len();
        let summary =
            Summary::of(Timed { latencies, elapsed: Duration::ZERO }).context("nothing was read")?;
        let what = format!("{what}, {when}");
        line(format_args!(
            "{what:<52} {count:>7} {:>9.2} {:>9.2}",
            millis(summary.p50),
            millis(summary.p99)
        ))?;
    }
    Ok(())
}
