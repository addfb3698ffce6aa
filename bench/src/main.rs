//! Benchmarks of Muster. Each prints one table whose last columns are ratios against a floor that was
//! measured in the same run: absolute figures of a busy machine say little.
//!
//! | module | noun |
//! |---|---|
//! | [`proposals`] | durable proposals per second through three controllers |
//! | [`group`] | three real controllers, each a process of its own |
//! | [`client`] | one client in a closed loop |
//! | [`command`] | what it proposes |
//! | [`floor`] | what the disk alone can do |
//! | [`node`] | one executor with real containers, against the engine's own speed |
//! | [`stats`] | rates and percentiles |

mod client;
mod command;
mod floor;
mod group;
mod node;
mod proposals;
mod stats;

use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use muster_controller::ControllerArgs;
use muster_executor::ExecutorArgs;
use muster_platform::World;

#[derive(Parser)]
#[command(name = "muster-bench", about = "Benchmarks of Muster")]
struct Args {
    #[command(subcommand)]
    benchmark: Benchmark,
}

#[derive(Subcommand)]
enum Benchmark {
    /// Durable proposals per second through three controllers, gRPC with mTLS
    Proposals(proposals::Args),
    /// Start, stop and replace containers, against the engine's own speed
    Starts(node::starts::Args),
    /// Memory and processor time of an executor with many healthy containers
    Steady(node::steady::Args),
    /// What `starts` and `steady` run: an executor
    #[command(hide = true)]
    Executor(ExecutorArgs),
    /// What `proposals` runs three times: a controller
    #[command(hide = true)]
    Controller(ControllerArgs),
}

fn main() -> ExitCode {
    match run(Args::parse().benchmark) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("muster-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(benchmark: Benchmark) -> anyhow::Result<()> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("starting the runtime")?;
    runtime.block_on(async {
        match benchmark {
            Benchmark::Proposals(args) => proposals::run(&args).await,
            Benchmark::Starts(args) => node::starts::run(&args).await,
            Benchmark::Steady(args) => node::steady::run(&args).await,
            Benchmark::Executor(args) => Ok(muster_executor::run(args, World::system()).await?),
            Benchmark::Controller(args) => Ok(muster_controller::run(args, World::system()).await?),
        }
    })
}
