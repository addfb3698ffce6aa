//! What a controller's metrics mean, for whoever reads them.

use metrics::describe_gauge;

/// Every metric and its meaning, in the order of their names.
const DESCRIBED: [(&str, &str); 29] = [
    ("muster_api_request_seconds", "How long calls of users took, by route."),
    ("muster_api_requests_total", "Calls of users, by route and status."),
    (
        "muster_contact_verdicts_total",
        "Executors that became connected, unreachable or lost, as this leader judged and a majority has it.",
    ),
    (
        "muster_controller_files_total",
        "Files of type CONTROLLER_HTTP_FETCH that executors asked for, by outcome.",
    ),
    ("muster_executors", "Executors, by the state that users see; the same on all controllers."),
    (
        "muster_operations_total",
        "Operations that ended while this controller ran; every controller counts each, so read it from one of them.",
    ),
    ("muster_raft_applied_revision", "The last revision that this controller has applied."),
    ("muster_raft_apply_lag_entries", "Entries that are committed and not applied here yet."),
    (
        "muster_raft_commit_seconds",
        "From an entry's append by this leader until it was committed and applied.",
    ),
    ("muster_raft_leader_changes_total", "Terms in which this controller saw somebody lead."),
    ("muster_raft_leads", "1 while this controller leads, and a majority answers it; otherwise 0."),
    ("muster_raft_log_bytes", "How large the log's file is."),
    ("muster_raft_log_entries", "Entries in the log."),
    ("muster_raft_log_write_seconds", "How long writes of the log took until they were durable."),
    (
        "muster_raft_proposal_seconds",
        "From a proposal to its answer or its end, waiting for a leader included.",
    ),
    (
        "muster_raft_proposals_total",
        "Proposals made at this controller, by outcome; given_up: the proposer did not wait for the answer.",
    ),
    ("muster_raft_snapshot_bytes", "How large the last snapshot was that this controller made."),
    ("muster_raft_snapshot_seconds", "How long snapshots took until they were durable."),
    (
        "muster_raft_snapshots_without_room_total",
        "Snapshots that were not kept, for want of room on the disk.",
    ),
    ("muster_raft_term", "The term; each begins with an election."),
    ("muster_reconcile_changes_total", "Changes that this leader planned and that were applied."),
    ("muster_reconcile_seconds", "How long plans took to make."),
    ("muster_relays", "Logs and commands of nodes that users have open at this controller."),
    ("muster_session_proposals_total", "Proposals of what executors said, by kind and outcome."),
    ("muster_session_reports_total", "Reports of executors that were proposed."),
    (
        "muster_session_unreadable_records_total",
        "Records that executors reported and this version cannot read.",
    ),
    ("muster_sessions", "Sessions with executors that are open here; 0 where this controller does not lead."),
    ("muster_sessions_closed_total", "Sessions that this controller closed."),
    (
        "muster_sessions_deferred_total",
        "Executors that were told to come again later, so that not all come at once.",
    ),
];

/// Tells the recorder. Once it is installed, and before anybody asks.
pub(crate) fn describe() {
    for (name, meaning) in DESCRIBED {
        // A description has no kind; the metric's own is shown.
        describe_gauge!(name, meaning);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    use super::*;

    /// The metrics that the sources below `directory` measure.
    fn measured(directory: &Path, found: &mut BTreeSet<String>) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                measured(&path, found);
                continue;
            }
            let source = fs::read_to_string(&path).unwrap();
            for kind in ["counter!(", "gauge!(", "histogram!("] {
                for after in source.split(kind).skip(1) {
                    let quoted = after.trim_start().strip_prefix("\"muster_");
                    found.extend(quoted.and_then(|rest| Some(format!("muster_{}", rest.split_once('"')?.0))));
                }
            }
        }
    }

    #[test]
    fn every_metric_is_described_and_nothing_else_is() {
        let mut found = BTreeSet::new();
        measured(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
        assert!(found.len() > 20, "{found:?}");
        assert_eq!(found, DESCRIBED.iter().map(|(name, _)| (*name).to_owned()).collect());
    }
}
