//! `muster`: the one program for people. It is the client, `muster dev`, and, by subcommand, each role.
//!
//! | module | noun |
//! |---|---|
//! | `client` | the REST API as typed calls, and the commands built on it |
//! | `dev` | a whole cluster on one machine, each role a process of its own |
//! | `role` | a controller, an executor or a shim: the same code as their separate binaries |
//! | `example` | the small HTTP server that `muster dev` runs when it is given no spec |
//! | `token` | a user's token, drawn |
//! | `manual` | the command line as shell completions and man pages |
//! | `error` | what went wrong, as a sentence and an exit code |
//!
//! The client is one task without state; `dev` keeps its state in `DIR/cluster.json`, which all its
//! subcommands share.

mod args;
mod client;
mod dev;
mod error;
mod example;
mod manual;
mod role;
mod token;

use std::process::ExitCode;

use clap::Parser as _;
use muster_platform::run_to_end;

use args::{Command, Muster};
use error::CliError;

pub use example::spec as example_spec;

/// The whole program.
#[must_use]
pub fn main() -> ExitCode {
    let muster = Muster::parse();
    // The shim must stay small: no runtime, no logs, no TLS.
    if matches!(muster.command, Command::Shim) {
        return muster_executor::shim::main();
    }
    match run(muster) {
        Ok(code) => code,
        Err(error) => {
            if !error.message.is_empty() {
                eprintln!("muster: {error}");
            }
            ExitCode::from(error.code())
        }
    }
}

fn run(muster: Muster) -> Result<ExitCode, CliError> {
    let runtime = if muster.command.is_role() {
        tokio::runtime::Builder::new_multi_thread().enable_all().build()
    } else {
        tokio::runtime::Builder::new_current_thread().enable_all().build()
    };
    let runtime = runtime.map_err(|error| CliError::failure(format!("cannot start: {error}")))?;
    run_to_end(runtime, dispatch(muster))
}

async fn dispatch(muster: Muster) -> Result<ExitCode, CliError> {
    let Muster { command, connection, output, color } = muster;
    match command {
        Command::Controller(args) => role::controller(args).await?,
        Command::Restore(args) => role::restore(args).await?,
        Command::Executor(args) => role::executor(args).await?,
        Command::Shim => {} // served before the runtime starts
        Command::ExampleServer => example::serve().await?,
        Command::Dev(args) => dev::run(args).await?,
        Command::Token => token::token(),
        Command::Completions { shell } => manual::completions(shell)?,
        Command::Man { dir } => manual::pages(&dir)?,
        Command::Client(command) => {
            let connection = connection.or_variables(|name| std::env::var(name).ok());
            return Box::pin(client::run(command, &connection, output, color)).await;
        }
    }
    Ok(ExitCode::SUCCESS)
}
