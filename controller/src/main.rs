//! `muster-controller`: a controller as a program of its own.

use std::process::ExitCode;

use clap::Parser;
use mimalloc::MiMalloc;
use muster_common::exit::Exit;
use muster_controller::{ControllerArgs, run};
use muster_platform::{World, run_to_end};

/// Records of instances are many small pieces that are made and given back by the ten thousand: two fifths of a
/// busy controller's processor time were spent in the C library's allocator (bench/RESULTS.md).
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// A controller of a Muster cluster
#[derive(Debug, Parser)]
#[command(name = "muster-controller", version)]
struct Program {
    #[command(flatten)]
    args: ControllerArgs,
}

fn main() -> ExitCode {
    let program = Program::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("muster: cannot start the runtime: {error}");
            return ExitCode::from(Exit::Failure.code());
        }
    };
    match run_to_end(runtime, run(program.args, World::system())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("muster: {error}");
            ExitCode::from(error.exit.code())
        }
    }
}
