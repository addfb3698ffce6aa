//! `muster-executor`: the node agent as a program of its own.

use std::process::ExitCode;

use clap::Parser;
use muster_common::exit::Exit;
use muster_executor::{ExecutorArgs, run};
use muster_platform::{World, run_to_end};

/// An executor of a Muster cluster
#[derive(Debug, Parser)]
#[command(name = "muster-executor", version)]
struct Program {
    #[command(flatten)]
    args: ExecutorArgs,
}

fn main() -> ExitCode {
    // Before anything else: the shim must be small and have one thread.
    if std::env::args().nth(1).as_deref() == Some("shim") {
        return muster_executor::shim::main();
    }
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
