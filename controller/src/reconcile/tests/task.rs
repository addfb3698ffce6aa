//! The leader's task against a real replica.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use muster_common::event::EventType;
use muster_common::id::{ControllerId, OperationId, Revision};
use muster_common::operation::OperationRequest;
use muster_common::time::Timestamp;
use muster_platform::World;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::raft::status::Role;
use crate::raft::{Machine, Member, ProposeError, RaftStatus};
use crate::reconcile::Reconciler;
use crate::reconcile::task::Log;
use crate::state::testing::*;
use crate::state::{Command, Replica, Retention, State, view};

/// A log of one member: what is proposed is applied at once.
#[derive(Clone)]
struct Local {
    replica: Arc<Mutex<(Replica, u64)>>,
    /// How many proposals fail before one succeeds.
    failures: Arc<Mutex<u32>>,
}

impl Log for Local {
    async fn propose(&self, _term: u64, command: Bytes) -> Result<Bytes, ProposeError> {
        let mut failures = self.failures.lock().unwrap();
        if *failures > 0 {
            *failures -= 1;
            return Err(ProposeError::Overloaded);
        }
        drop(failures);
        Ok(self.apply(&command))
    }
}

impl Local {
    fn new(failures: u32) -> (Self, watch::Receiver<Arc<State>>) {
        let (replica, watched) = Replica::new();
        let replica = Arc::new(Mutex::new((replica, 0)));
        (Self { replica, failures: Arc::new(Mutex::new(failures)) }, watched)
    }

    fn apply(&self, command: &[u8]) -> Bytes {
        let mut replica = self.replica.lock().unwrap();
        replica.1 += 1;
        let revision = Revision(replica.1);
        let reply = replica.0.apply(revision, command).unwrap();
        replica.0.publish();
        reply
    }

    /// An active service and one executor.
    fn activate(&self) {
        let submit = |id: &str, request| Command::SubmitOperation {
            id: OperationId::new(id).unwrap(),
            request: Box::new(request),
            at: Timestamp(1),
            by: String::new(),
            if_generation: None,
        };
        let create = OperationRequest::Create { spec: Box::new(spec("web")), instances_per_host: 1 };
        for command in [
            Command::RegisterExecutor {
                at: Timestamp(1),
                record: Box::new(executor_record("e1")),
                holds: None,
            },
            submit("OP-1", create),
            submit("OP-2", OperationRequest::Activate { service_id: "web-1".to_owned() }),
        ] {
            self.apply(&command.encode());
        }
    }
}

async fn until(watched: &mut watch::Receiver<Arc<State>>, condition: impl FnMut(&Arc<State>) -> bool) {
    tokio::time::timeout(Duration::from_secs(20), watched.wait_for(condition)).await.unwrap().unwrap();
}

fn leading(yes: bool) -> RaftStatus {
    let leader = Member {
        id: ControllerId(1),
        cluster_addr: "127.0.0.1:4100".to_owned(),
        api_addr: "127.0.0.1:4000".to_owned(),
    };
    RaftStatus {
        term: 1,
        role: if yes { Role::Leader } else { Role::Follower },
        leader: yes.then_some(leader),
        is_ready_leader: yes,
        members: Vec::new(),
        failed: None,
    }
}

#[tokio::test]
async fn the_leader_assigns_what_is_wanted_also_after_proposals_that_failed() {
    let (log, mut watched) = Local::new(2);
    let (status, leadership) = watch::channel(leading(false));
    let stop = CancellationToken::new();
    let task =
        Reconciler::new(watched.clone(), leadership, log.clone(), World::system(), Retention::default());
    let task = tokio::spawn(task.run(stop.clone()));

    // Wanted before it leads, and wanted while it leads.
    log.activate();
    assert_eq!(watched.borrow().slots().count(), 0);
    status.send(leading(true)).unwrap();
    until(&mut watched, |state| state.slots().count() == 1).await;
    let events = view::events_newest_first(&watched.borrow(), Timestamp(0), 100);
    let announced = events.iter().find(|event| event.kind == EventType::LeadershipAcquired).unwrap();
    assert_eq!(announced.metadata["HOSTNAME"], "127.0.0.1");
    let second =
        Command::RegisterExecutor { at: Timestamp(1), record: Box::new(executor_record("e2")), holds: None };
    log.apply(&second.encode());
    until(&mut watched, |state| state.slots().count() == 2).await;

    stop.cancel();
    tokio::time::timeout(Duration::from_secs(20), task).await.unwrap().unwrap();
}

#[tokio::test]
async fn each_term_is_announced_also_when_the_same_controller_leads_again() {
    let (log, mut watched) = Local::new(0);
    let (status, leadership) = watch::channel(leading(true));
    let task =
        Reconciler::new(watched.clone(), leadership, log.clone(), World::system(), Retention::default());
    let stop = CancellationToken::new();
    let task = tokio::spawn(task.run(stop.clone()));
    let announced = |state: &State| {
        let events = view::events_newest_first(state, Timestamp(0), 100);
        events.iter().filter(|event| event.kind == EventType::LeadershipAcquired).count()
    };
    until(&mut watched, |state| announced(state) == 1).await;
    // Another one led in between; this one saw only the end of it.
    status.send(RaftStatus { term: 3, ..leading(true) }).unwrap();
    until(&mut watched, |state| announced(state) == 2).await;
    stop.cancel();
    tokio::time::timeout(Duration::from_secs(20), task).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_task_whose_raft_is_gone_ends() {
    let (log, watched) = Local::new(0);
    let (status, leadership) = watch::channel(leading(true));
    let task = Reconciler::new(watched, leadership, log, World::system(), Retention::default());
    let task = tokio::spawn(task.run(CancellationToken::new()));
    drop(status);
    tokio::time::timeout(Duration::from_secs(20), task).await.unwrap().unwrap();
}
