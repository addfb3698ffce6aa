//! Three real controllers with thousands of simulated executors: each a session of its own over mTLS with its own
//! certificate, held by the real executor's session code, in front of instances that are HEALTHY at once.
//!
//! | module | noun |
//! |---|---|
//! | [`nodes`] | the simulated executors |
//! | [`reader`] | users who read through each controller all the time |
//! | [`eye`] | what is seen of the controllers from outside |
//! | [`run`] | one fleet, from the first connection to the next leader |

mod eye;
mod nodes;
mod reader;
mod run;

use anyhow::{Context as _, ensure};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::group::Place;

/// Descriptors beside those of the sessions.
const SPARE_DESCRIPTORS: u64 = 1_000;

/// How the benchmark is run.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How many executors; one fleet each
    #[arg(long, value_delimiter = ',', default_value = "1000,5000,10000")]
    executors: Vec<u32>,
    /// How many services, each with one instance on every executor
    #[arg(long, default_value_t = 10)]
    instances: u32,
    /// How long a fleet at rest is watched
    #[arg(long, default_value_t = 15)]
    seconds: u64,
    #[command(flatten)]
    place: Place,
}

/// Measures each fleet and prints its table. Missed budgets are no error.
pub(crate) async fn run(args: &Args) -> anyhow::Result<()> {
    for executors in args.executors.iter().copied() {
        raise_descriptors(u64::from(executors) + SPARE_DESCRIPTORS)?;
        run::measure(args, executors).await?;
    }
    Ok(())
}

/// A controller, which inherits the limit, and this process need one descriptor for each session.
fn raise_descriptors(wanted: u64) -> anyhow::Result<()> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_none_or(|current| current >= wanted) {
        return Ok(());
    }
    let most = maximum.unwrap_or(wanted);
    ensure!(
        most >= wanted,
        "{wanted} file descriptors are needed and {most} are allowed; raise 'ulimit -Hn'"
    );
    setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum }).context("raising 'ulimit -n'")
}
