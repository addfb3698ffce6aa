//! A role of the cluster, run in this process.

use muster_controller::{ControllerArgs, OfflineCommand, RestoreArgs};
use muster_executor::ExecutorArgs;
use muster_platform::{World, telemetry};

use crate::error::CliError;

pub(crate) async fn controller(args: ControllerArgs) -> Result<(), CliError> {
    telemetry::init_logs();
    Ok(muster_controller::run(args, World::system()).await?)
}

pub(crate) async fn restore(args: RestoreArgs) -> Result<(), CliError> {
    Ok(muster_controller::run_offline(OfflineCommand::Restore(args), &World::system()).await?)
}

pub(crate) async fn executor(args: ExecutorArgs) -> Result<(), CliError> {
    telemetry::init_logs();
    Ok(muster_executor::run(args, World::system()).await?)
}
