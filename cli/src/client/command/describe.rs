//! `muster describe`: all that is known of one thing.

use clap::Args;
use muster_common::executor::{ExecutorNodeData, ExecutorState};
use muster_common::operation::OperationSummary;
use muster_common::service::{ServiceState, ServiceSummary};

use super::Caller;
use super::events::newest_about;
use crate::client::columns::Ended;
use crate::client::describe::{self, Past, ServiceFacts};
use crate::client::http::{Client, segment};
use crate::client::resolve::{self, Thing};
use crate::client::screen;
use crate::error::CliError;

/// How many ended instances a service's description names.
const ENDED_SHOWN: usize = 5;
/// How many operations.
const OPERATIONS_SHOWN: usize = 5;
/// How many events a description names.
const EVENTS_SHOWN: usize = 10;

#[derive(Debug, Args)]
pub(crate) struct DescribeArgs {
    /// A service, an executor, an instance or an operation; a unique prefix of an id is enough.
    pub(super) name: String,
}

pub(crate) async fn describe(caller: &Caller, name: &str) -> Result<(), CliError> {
    let (client, screen) = (&caller.client, &caller.screen);
    let text = match resolve::thing(client, name).await? {
        Thing::Service(service) => {
            let facts = facts(client, service).await?;
            caller.answer(&facts.service.id, &facts.service, || describe::service(&facts, screen))?
        }
        Thing::Destroyed(id) => {
            let past = past(client, id).await?;
            caller.answer(&past.service_id, &past, || describe::destroyed(&past, screen))?
        }
        Thing::Instance(instance) => {
            let id = &instance.instance_id;
            let events = newest_about(client, id, EVENTS_SHOWN).await?;
            caller.answer(id, &instance, || describe::instance(&instance, &events, screen))?
        }
        Thing::Executor(summary) => {
            let id = &summary.executor_id;
            let events = newest_about(client, id, EVENTS_SHOWN).await?;
            if summary.state == ExecutorState::Removed {
                caller.answer(id, &summary, || describe::removed_executor(&summary, &events, screen))?
            } else {
                let path = format!("cluster/executors/{}", segment(id));
                let executor: ExecutorNodeData = client.get(&path).await?;
                caller.answer(id, &executor, || describe::executor(&executor, &events, screen))?
            }
        }
        Thing::Operation(operation) => {
            caller.answer(operation.id.as_str(), &operation, || describe::operation(&operation, screen))?
        }
    };
    screen::write(&text)
}

async fn facts(client: &Client, service: ServiceSummary) -> Result<ServiceFacts, CliError> {
    let live = resolve::instances(client, &service.id, false).await?;
    let Past { ended, operations, events, .. } = past(client, service.id.clone()).await?;
    Ok(ServiceFacts { service, live, ended, operations, events })
}

/// What is known of what a service was.
async fn past(client: &Client, service_id: String) -> Result<Past, CliError> {
    let mut ended = resolve::instances(client, &service_id, true).await?;
    let ended = ended.split_off(ended.len().saturating_sub(ENDED_SHOWN)).into_iter().map(Ended).collect();
    let path = format!("localservices/{}/operations?size={OPERATIONS_SHOWN}", segment(&service_id));
    let operations: Vec<OperationSummary> = client.get(&path).await?;
    let events = newest_about(client, &service_id, EVENTS_SHOWN).await?;
    Ok(Past { service_id, state: ServiceState::Destroyed, ended, operations, events })
}
