//! The client's commands, one a file: what each takes, and what it does.

mod apply;
mod args;
mod backup;
mod context;
mod describe;
mod events;
mod exec;
mod executors;
mod get;
mod health;
mod lint;
mod login;
mod logs;
mod maintenance;
mod members;
mod operate;
mod ops;
mod placement;
mod rollout;
mod top;
mod watch;
mod whoami;

pub(crate) use health::probes;

use std::process::ExitCode;

use clap::Subcommand;
use serde::Serialize;

use super::http::Client;
use super::screen::{self, ColorChoice, Screen};
use super::table::{self, Listed};
use super::target::Target;
use crate::args::{Connection, Output};
use crate::error::CliError;

#[derive(Debug, Subcommand)]
pub(crate) enum ClientCommand {
    /// Create or adjust services from files and start them; waits until they are healthy.
    Apply(apply::ApplyArgs),
    /// Check specs without a cluster: every problem is named with its place.
    Lint(lint::LintArgs),
    /// List services, instances, executors, operations or events.
    Get(get::GetArgs),
    /// Say all that is known of one thing, why it is in its state, and what to try next.
    Describe(describe::DescribeArgs),
    /// Show what instances wrote; with -f also what they write.
    Logs(logs::LogsArgs),
    /// Run a command beside the workload of an instance, and exit as it does.
    Exec(exec::ExecArgs),
    /// Show what the last checks of a service or an instance said.
    Health(health::HealthArgs),
    /// Show what happened, oldest first; with -w also what happens.
    Events(events::EventsArgs),
    /// Replace all healthy instances of a service, a few at a time.
    Restart(operate::RestartArgs),
    /// Replace some healthy instances; their replacements start first.
    Replace(operate::InstancesArgs),
    /// Stop some healthy instances; an active service fills their slots again.
    Stop(operate::InstancesArgs),
    /// Change how many instances of a service every executor holds.
    Scale(operate::ScaleArgs),
    /// Start a service on all executors that it is for.
    Activate(operate::ServiceArgs),
    /// Stop a service everywhere; it stays registered.
    Deactivate(operate::ServiceArgs),
    /// Run one instance of a deactivated service on one executor, to try its configuration.
    Test(operate::ServiceArgs),
    /// Let the slots of a service that gave up try again.
    Retry(operate::ServiceArgs),
    /// Remove a deactivated service. Records of its instances stay for their retention time.
    Destroy(operate::ServiceArgs),
    /// Look at and steer the operation that is at work on a service, or take back a spec.
    Rollout(rollout::RolloutArgs),
    /// List operations; show or cancel one.
    Ops(ops::OpsArgs),
    /// Say on which executors a service runs, or would run, and why not on others.
    Placement(placement::PlacementArgs),
    /// List executors; take them out of service, drain, tag or remove them.
    Executors(executors::ExecutorsArgs),
    /// Show what executors and services use of cores and memory.
    Top(top::TopArgs),
    /// Close the cluster for changes, or open it again.
    Maintenance(maintenance::MaintenanceArgs),
    /// Show the controllers: who leads, who votes, how far behind each is; add or remove one.
    Members(members::MembersArgs),
    /// Write the cluster's whole state, as of one revision, to a file; the cluster goes on meanwhile.
    ///
    /// The file holds services, operations, history and what is known of executors; no certificates. It is
    /// checked before this command says that it is there. 'muster restore' makes a cluster of it.
    Backup(backup::BackupArgs),
    /// Keep several clusters in the configuration file, and choose between them.
    Context(context::ContextArgs),
    /// Keep a token in the configuration file; it is read from the terminal or from standard input.
    Login(login::LoginArgs),
    /// Show as whom the cluster takes you, and what that role is.
    Whoami,
}

/// Who asks: which cluster, and how he wants the answers.
pub(crate) struct Caller {
    pub(crate) client: Client,
    pub(crate) output: Output,
    pub(crate) screen: Screen,
}

impl Caller {
    /// Writes a list in the form that was asked for.
    pub(crate) fn list<T: Listed>(&self, items: &[T]) -> Result<(), CliError> {
        screen::write(&table::list(self.output, items, &self.screen)?)
    }

    /// One thing in the form that was asked for.
    pub(crate) fn answer<T: Serialize>(
        &self,
        id: &str,
        value: &T,
        text: impl FnOnce() -> String,
    ) -> Result<String, CliError> {
        table::answer(self.output, id, value, text)
    }
}

/// Does a command, and says what the program is to exit with.
pub(crate) async fn run(
    command: ClientCommand,
    connection: &Connection,
    output: Output,
    color: ColorChoice,
) -> Result<ExitCode, CliError> {
    let screen = Screen::of_stdout(color);
    // These need no cluster, and the file that says where it is may be what they are to mend.
    let command = match command {
        ClientCommand::Lint(args) => return lint::lint(&args, output).map(done),
        ClientCommand::Context(args) => return context::context(args, output, &screen).map(done),
        ClientCommand::Login(args) => return login::login(&args, connection).await.map(done),
        other => other,
    };
    let caller = Caller { client: Client::new(Target::of(connection)?)?, output, screen };
    let caller = &caller;
    let end = match command {
        ClientCommand::Exec(args) => return exec::exec(caller, &args).await,
        ClientCommand::Logs(args) => logs::logs(caller, &args).await,
        ClientCommand::Apply(args) => Box::pin(apply::apply(caller, &args)).await,
        ClientCommand::Get(args) => get::get(caller, args).await,
        ClientCommand::Describe(args) => describe::describe(caller, &args.name).await,
        ClientCommand::Health(args) => health::health(caller, &args).await,
        ClientCommand::Events(args) => events::events(caller, &args).await,
        ClientCommand::Restart(args) => operate::restart(caller, args).await,
        ClientCommand::Replace(args) => operate::replace(caller, args).await,
        ClientCommand::Stop(args) => operate::stop(caller, args).await,
        ClientCommand::Scale(args) => operate::scale(caller, args).await,
        ClientCommand::Activate(args) => operate::activate(caller, args).await,
        ClientCommand::Deactivate(args) => operate::deactivate(caller, args).await,
        ClientCommand::Test(args) => operate::test(caller, args).await,
        ClientCommand::Retry(args) => operate::retry(caller, args).await,
        ClientCommand::Destroy(args) => operate::destroy(caller, args).await,
        ClientCommand::Rollout(args) => rollout::rollout(caller, args).await,
        ClientCommand::Ops(args) => ops::ops(caller, args).await,
        ClientCommand::Placement(args) => placement::placement(caller, &args).await,
        ClientCommand::Executors(args) => executors::executors(caller, args).await,
        ClientCommand::Whoami => whoami::whoami(caller).await,
        ClientCommand::Top(args) => top::top(caller, &args).await,
        ClientCommand::Maintenance(args) => maintenance::maintenance(caller, &args).await,
        ClientCommand::Members(args) => members::members(caller, args).await,
        ClientCommand::Backup(args) => backup::backup(caller, &args).await,
        ClientCommand::Lint(_) | ClientCommand::Context(_) | ClientCommand::Login(_) => Ok(()), // done above
    };
    end.map(done)
}

fn done((): ()) -> ExitCode {
    ExitCode::SUCCESS
}
