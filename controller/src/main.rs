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
    // The allocator gives memory back and takes it again all the time. With huge pages the kernel clears 2 MiB each
    // time, in the middle of an answer: twice the p99 of writes, more than three times that of reads while a fleet
    // comes, and two fifths more memory (bench/RESULTS.md).
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
        eprintln!("muster: cannot do without huge pages, so that some answers may take longer: {error}");
    }
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
