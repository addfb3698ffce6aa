//! Lists of operations, of which a cluster gives a page at a time.

use muster_common::operation::{OperationState, OperationSummary};

use super::http::{Client, segment};
use crate::error::CliError;

/// The cluster gives no more at a time.
const PAGE: usize = 100;

/// Some operations, those at work first and then the newest.
pub(crate) struct Operations {
    pub(crate) operations: Vec<OperationSummary>,
    /// How many there are, listed or not.
    pub(crate) total: usize,
}

/// At most `limit` operations: of these services and in these states, where any are named.
pub(crate) async fn list(
    client: &Client,
    services: &[String],
    states: &[OperationState],
    limit: usize,
) -> Result<Operations, CliError> {
    let path = format!("localservices/operations?{}", query(services, states));
    let id = |summary: &OperationSummary| summary.operation.id.to_string();
    let (operations, total) = client.pages(&path, PAGE, limit, id).await?;
    Ok(Operations { operations, total })
}

fn query(services: &[String], states: &[OperationState]) -> String {
    let services = services.iter().map(|service| format!("service={}", segment(service)));
    services.chain(states.iter().map(|state| format!("state={state}"))).collect::<Vec<_>>().join("&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cluster_is_asked_only_for_what_is_wanted() {
        let services = ["web-1".to_owned(), "a/b".to_owned()];
        let states = [OperationState::Failed, OperationState::Cancelled];
        assert_eq!(query(&services, &states), "service=web-1&service=a%2Fb&state=FAILED&state=CANCELLED");
        assert_eq!(query(&[], &[]), "");
    }
}
