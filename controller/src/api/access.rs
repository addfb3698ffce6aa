//! What every call may do: read the state, and submit an operation. Consensus hides elections within
//! bounds; what outlasts them is told as 503 with what to do.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use muster_common::cluster::{ClusterState, ClusterStateData};
use muster_common::executor::TagsRequest;
use muster_common::id::{ClusterId, ControllerId, ExecutorId, Generation, OperationId, Revision, ServiceId};
use muster_common::operation::{OperationRequest, Steer, validate_request};
use muster_common::placement::SimulationRequest;
use muster_common::read::accept;
use muster_common::spec::{LocalServiceSpec, SpecLimits, validate};
use muster_common::time::Timestamp;
use muster_platform::World;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::body::Arriving;
use super::error::ApiError;
use super::frames::Frames;
use super::idempotency::IdempotencyKey;
use super::parameter::STALE;
use super::query::Parameters;
use crate::raft::{Consensus, ProposeError, RaftStatus, ReadError};
use crate::relay::Relays;
use crate::state::{Command, EventPosition, ExecNoted, Refusal, Reply, State, Steered, Wish};
use crate::users::{User, Users};

/// How long a write may wait, all its proposals together. One that waits for a leader waits as long.
const WRITE_WITHIN: Duration = Duration::from_secs(11);
/// Between two proposals of one write.
const RETRY_PAUSE: Duration = Duration::from_millis(50);
/// How long a read that names a revision waits for it, where this controller is behind.
const CATCH_UP_WITHIN: Duration = Duration::from_secs(5);

/// What calls share.
#[derive(Clone)]
pub(crate) struct Api(Arc<Parts>);

/// What an [`Api`] is made of.
pub(crate) struct Parts {
    /// This controller.
    pub id: ControllerId,
    /// Time and randomness for operations.
    pub world: World,
    /// The log.
    pub consensus: Consensus,
    /// The replicated state as it is here.
    pub state: watch::Receiver<Arc<State>>,
    /// What specs may ask for.
    pub limits: SpecLimits,
    /// The cluster's name.
    pub cluster: ClusterId,
    /// One backup at a time.
    pub backups: Arc<Semaphore>,
    /// Who may call.
    pub users: Users,
    /// Names by which users reach the controllers.
    pub hosts: Vec<String>,
    /// Ends the streams that are open.
    pub shutdown: CancellationToken,
    /// Events as they are sent to those who watch.
    pub frames: Frames,
    /// How many more streams may be opened.
    pub watches: Arc<Semaphore>,
    /// How many more logs of whole services may be open.
    pub service_logs: Arc<Semaphore>,
    /// How many more bodies may be on their way, and how much of them.
    pub arriving: Arriving,
    /// How many more answers may be made at once that take long.
    pub making: Arc<Semaphore>,
    /// The way to nodes.
    pub relays: Relays,
}

/// An operation that was accepted or steered.
pub(super) struct Submitted {
    /// The operation.
    pub(super) operation: OperationId,
    /// The service that it is about.
    pub(super) service: ServiceId,
}

/// What became of the duties that were given.
pub(super) struct Duties {
    /// Who has it.
    pub(super) changed: Vec<ExecutorId>,
    /// Who has not, and why.
    pub(super) refused: Vec<(ExecutorId, Refusal)>,
}

impl Api {
    pub(crate) fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }

    pub(super) fn id(&self) -> ControllerId {
        self.0.id
    }

    /// Names by which users reach the controllers, beside loopback ones.
    pub(super) fn hosts(&self) -> &[String] {
        &self.0.hosts
    }

    /// Who may call.
    pub(super) fn users(&self) -> &Users {
        &self.0.users
    }

    /// The cluster's name.
    pub(super) fn cluster(&self) -> &ClusterId {
        &self.0.cluster
    }

    /// Whose turn it is to take a backup.
    pub(super) fn backups(&self) -> &Arc<Semaphore> {
        &self.0.backups
    }

    /// The wall clock's time.
    pub(super) fn now(&self) -> Timestamp {
        self.0.world.clock.now()
    }

    /// Does what takes long where nobody else waits for it, when its turn comes: what it makes may be large.
    pub(super) async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ApiError> {
        let internal = |error: &dyn std::fmt::Display| ApiError::Internal(error.to_string());
        let turn = Arc::clone(&self.0.making).acquire_owned().await.map_err(|error| internal(&error))?;
        let turn = Arc::new(turn);
        // The work goes on when its caller has gone; and he has to come before what it made is sent.
        let held = Arc::clone(&turn);
        let work = move || {
            let _held = held;
            work()
        };
        self.0.world.disk.run(work).await.map_err(|error| internal(&error))
    }

    /// The group of controllers.
    pub(super) fn consensus(&self) -> &Consensus {
        &self.0.consensus
    }

    /// Raft as this controller sees it.
    pub(super) fn raft(&self) -> RaftStatus {
        self.0.consensus.status().borrow().clone()
    }

    /// Room for one more stream of events.
    pub(super) fn watch_place(&self) -> Result<OwnedSemaphorePermit, ApiError> {
        Arc::clone(&self.0.watches).try_acquire_owned().map_err(|_| {
            let sentence = "This controller has too many readers of events; ask another one";
            ApiError::Unavailable(sentence.to_owned())
        })
    }

    /// Room for one more stream of a whole service's logs.
    pub(super) fn service_logs_place(&self) -> Result<OwnedSemaphorePermit, ApiError> {
        Arc::clone(&self.0.service_logs).try_acquire_owned().map_err(|_| {
            let sentence =
                "This controller has too many readers of whole services' logs; ask another one, or retry later";
            ApiError::Unavailable(sentence.to_owned())
        })
    }

    /// Room for bodies while they arrive.
    pub(super) fn arriving(&self) -> &Arriving {
        &self.0.arriving
    }

    /// Events as they are sent to those who watch.
    pub(super) fn frames(&self) -> &Frames {
        &self.0.frames
    }

    /// The state as it becomes.
    pub(super) fn watch_state(&self) -> watch::Receiver<Arc<State>> {
        self.0.state.clone()
    }

    /// The way to nodes.
    pub(super) fn relays(&self) -> &Relays {
        &self.0.relays
    }

    /// Cancelled when this controller stops serving users.
    pub(super) fn shutdown(&self) -> CancellationToken {
        self.0.shutdown.clone()
    }

    /// The state: linearizable, or with `?stale=true` what this controller has.
    pub(super) async fn read(&self, query: &Parameters) -> Result<Arc<State>, ApiError> {
        if !query.flag(&STALE)? {
            let barrier = self.0.consensus.read_barrier().await;
            barrier.map_err(|error| ApiError::Unavailable(error.to_string()))?;
        }
        Ok(Arc::clone(&self.0.state.borrow()))
    }

    /// What `show` makes of the state as [`Self::read`] gives it, where nobody waits for it who asks for less.
    pub(super) async fn show<T: Send + 'static>(
        &self,
        query: &Parameters,
        show: impl FnOnce(&State) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let state = self.read(query).await?;
        self.blocking(move || show(&state)).await?
    }

    /// The state as [`Self::read`] gives it, for whoever saw the events up to `from`, be it on another controller: a
    /// controller that is behind that one does not know yet whether more happened.
    pub(super) async fn read_from(
        &self,
        query: &Parameters,
        from: EventPosition,
    ) -> Result<Arc<State>, ApiError> {
        let state = self.read(query).await?;
        if query.flag(&STALE)? { reaching(self.watch_state(), from.revision).await } else { Ok(state) }
    }

    /// Submits `request` and waits until it is accepted or refused: also where its service is not of the generation
    /// that the caller knows. A request that comes again under its key is the same operation.
    pub(super) async fn submit(
        &self,
        user: &User,
        request: OperationRequest,
        key: Option<&IdempotencyKey>,
        if_generation: Option<Generation>,
    ) -> Result<Submitted, ApiError> {
        let id =
            key.map_or_else(|| OperationId::from_uuid(self.0.world.uuid()), |key| key.operation(&user.name));
        let at = self.0.world.clock.now();
        let request = Box::new(request);
        let (by, id_of_it) = (user.name.to_string(), id.clone());
        let command = Command::SubmitOperation { id: id_of_it, request, at, by, if_generation };
        self.accepted(command, id.as_str()).await
    }

    /// Steers an operation and waits until that is done or refused.
    pub(super) async fn steer(
        &self,
        user: &User,
        operation: OperationId,
        steer: Steer,
    ) -> Result<Submitted, ApiError> {
        let named = operation.to_string();
        let at = self.0.world.clock.now();
        let which = Steered::Operation(operation);
        let command = Command::SteerOperation { at, which, steer, by: user.name.to_string() };
        self.accepted(command, &named).await
    }

    /// Closes the cluster for maintenance or opens it again; what it is then.
    pub(super) async fn set_cluster_state(&self, state: ClusterState) -> Result<ClusterStateData, ApiError> {
        let raft = self.raft();
        let this = raft.members.iter().find(|member| member.id == self.id());
        let address = this.map(|member| member.api_addr.clone()).unwrap_or_default();
        let command = Command::SetClusterState { at: self.0.world.clock.now(), state, address };
        match self.commit(&command, "/apis/v1/cluster").await? {
            Reply::Done => Ok(self.read(&Parameters::default()).await?.cluster_state()),
            other => Err(ApiError::Internal(format!("the cluster's state was answered with {other:?}"))),
        }
    }

    /// Gives executors another duty.
    pub(super) async fn change_duty(
        &self,
        user: &User,
        wish: Wish,
        executors: Vec<ExecutorId>,
    ) -> Result<Duties, ApiError> {
        let at = self.0.world.clock.now();
        let command = Command::ChangeDuty { at, wish, executors, by: user.name.to_string() };
        match self.commit(&command, "/apis/v1/cluster/executors").await? {
            Reply::Duties { changed, refused } => Ok(Duties { changed, refused }),
            Reply::Refused(refusal) => Err(ApiError::NotNow(refusal)),
            other => Err(ApiError::Internal(format!("a duty was answered with {other:?}"))),
        }
    }

    /// Changes the tags that users gave an executor.
    pub(super) async fn tag_executor(
        &self,
        executor: ExecutorId,
        request: TagsRequest,
    ) -> Result<(), ApiError> {
        let at = self.0.world.clock.now();
        let command = match request {
            TagsRequest::Replace { tags } => Command::TagExecutor { at, executor, tags },
            TagsRequest::Amend { remove, add } => Command::AmendTags { at, executor, remove, add },
        };
        match self.commit(&command, "/apis/v1/cluster/executors").await? {
            Reply::Done => Ok(()),
            Reply::Refused(refusal @ Refusal::UnknownExecutor(_)) => {
                Err(ApiError::NotFound(refusal.to_string()))
            }
            Reply::Refused(refusal @ Refusal::TooManyTags(..)) => Err(ApiError::Refused(refusal)),
            Reply::Refused(refusal) => Err(ApiError::NotNow(refusal)),
            other => Err(ApiError::Internal(format!("tags were answered with {other:?}"))),
        }
    }

    /// Writes down that somebody is about to run a command.
    pub(super) async fn note_exec(&self, exec: ExecNoted) -> Result<(), ApiError> {
        let command = Command::NoteExec { at: self.0.world.clock.now(), exec };
        match self.commit(&command, "/apis/v1/cluster/events").await? {
            Reply::Done => Ok(()),
            other => Err(ApiError::Internal(format!("a command's note was answered with {other:?}"))),
        }
    }

    async fn accepted(&self, command: Command, named: &str) -> Result<Submitted, ApiError> {
        match self.commit(&command, &format!("/apis/v1/localservices/operations/{named}")).await? {
            Reply::Accepted { operation, service } => Ok(Submitted { operation, service }),
            Reply::Refused(refusal) => Err(ApiError::Refused(refusal)),
            other => Err(ApiError::Internal(format!("an operation was answered with {other:?}"))),
        }
    }

    /// Proposes a command whose effect is seen at `place`.
    async fn commit(&self, command: &Command, place: &str) -> Result<Reply, ApiError> {
        let bytes = command.encode();
        let propose = || self.0.consensus.propose(bytes.clone());
        let reply = proposed(propose, command.may_be_repeated(), place).await?;
        Reply::decode(&reply).map_err(|error| ApiError::Internal(format!("the log's answer: {error}")))
    }

    /// The operation that `body` asks for, if it keeps every rule that needs no state.
    pub(super) fn operation_in(&self, body: &[u8]) -> Result<OperationRequest, ApiError> {
        Ok(accept(body, |request| validate_request(request, &self.0.limits))?)
    }

    /// The simulation that `body` asks for, of a spec that keeps every rule.
    pub(super) fn simulation_in(&self, body: &[u8]) -> Result<SimulationRequest, ApiError> {
        Ok(accept(body, |request: &SimulationRequest| request.problems(&self.0.limits))?)
    }

    /// The spec in `body`, if it keeps every rule.
    pub(super) fn spec_in(&self, body: &[u8]) -> Result<LocalServiceSpec, ApiError> {
        Ok(accept(body, |spec| validate(spec, &self.0.limits))?)
    }
}

/// The first state that has seen `revision`.
async fn reaching(
    mut states: watch::Receiver<Arc<State>>,
    revision: Revision,
) -> Result<Arc<State>, ApiError> {
    let reached = timeout(CATCH_UP_WITHIN, states.wait_for(|state| state.revision() >= revision)).await;
    let problem = match reached {
        Ok(Ok(state)) => return Ok(Arc::clone(&state)),
        Ok(Err(_)) => ReadError::Stopped,
        Err(_) => ReadError::Behind { waited: CATCH_UP_WITHIN },
    };
    Err(ApiError::Unavailable(problem.to_string()))
}

/// What became of a proposal. One that `may_be_repeated` is made again while it is not known whether it was committed.
async fn proposed<F>(propose: impl Fn() -> F, may_be_repeated: bool, place: &str) -> Result<Bytes, ApiError>
where
    F: Future<Output = Result<Bytes, ProposeError>>,
{
    let deadline = Instant::now() + WRITE_WITHIN;
    let mut uncertain = false;
    loop {
        match timeout_at(deadline, propose()).await {
            Ok(Ok(reply)) => return Ok(reply),
            Ok(Err(ProposeError::Unknown { cause })) if may_be_repeated => {
                tracing::debug!(%cause, %place, "proposing it again");
                uncertain = true;
            }
            Ok(Err(error @ ProposeError::TooLarge { .. })) => {
                return Err(ApiError::Validation(vec![error.to_string()]));
            }
            Ok(Err(ProposeError::Unknown { .. })) | Err(_) => return Err(unconfirmed(place)),
            Ok(Err(_)) if uncertain => return Err(unconfirmed(place)),
            Ok(Err(error)) => return Err(ApiError::Unavailable(error.to_string())),
        }
        sleep(RETRY_PAUSE).await;
    }
}

fn unconfirmed(place: &str) -> ApiError {
    ApiError::Unconfirmed(format!(
        "it is not known whether this was done: look at {place}, and ask again if it was not"
    ))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::future::ready;

    use super::*;
    use crate::state::testing::Fixture;

    #[tokio::test(start_paused = true)]
    async fn who_saw_more_than_this_controller_has_is_waited_for_or_told_that_it_is_behind() {
        let mut fixture = Fixture::with_executors(1);
        let (publish, states) = watch::channel(Arc::new(fixture.state.clone()));
        let now = fixture.state.revision();
        assert_eq!(reaching(states.clone(), now).await.unwrap().revision(), now);
        let behind = reaching(states.clone(), now.next()).await.unwrap_err();
        assert!(behind.to_string().contains("is behind"), "{behind}");

        let waiting = tokio::spawn(reaching(states, now.next()));
        fixture.apply(&Command::Plan { at: fixture.now, changes: Vec::new() });
        publish.send_replace(Arc::new(fixture.state.clone()));
        assert_eq!(waiting.await.unwrap().unwrap().revision(), now.next());
    }

    #[tokio::test(start_paused = true)]
    async fn only_what_has_an_id_is_proposed_again_when_its_answer_is_lost() {
        let operation = OperationId::new("o").unwrap();
        let steer = |steer| Command::SteerOperation {
            at: Timestamp(1),
            which: Steered::Operation(operation.clone()),
            steer,
            by: "ann".to_owned(),
        };
        let duty = |wish| Command::ChangeDuty {
            at: Timestamp(1),
            wish,
            executors: vec![ExecutorId::new("e").unwrap()],
            by: "ann".to_owned(),
        };
        let table = [
            (steer(Steer::Cancel), true),
            (steer(Steer::Promote), true),
            (steer(Steer::Pause), false),
            (steer(Steer::Resume), false),
            (duty(Wish::Blacklist), false),
            (duty(Wish::Drain { within: Duration::from_secs(1) }), false),
            (
                Command::SetClusterState {
                    at: Timestamp(1),
                    state: ClusterState::Maintenance,
                    address: String::new(),
                },
                false,
            ),
        ];
        for (command, is_repeated) in table {
            let tries = Cell::new(0);
            let answer_is_lost_once = || {
                tries.set(tries.get() + 1);
                let lost = ProposeError::Unknown { cause: "the leader lost its lead".to_owned() };
                ready(if tries.get() == 1 { Err(lost) } else { Ok(Bytes::new()) })
            };
            let answer = proposed(answer_is_lost_once, command.may_be_repeated(), "/there").await;
            if is_repeated {
                assert_eq!((answer, tries.get()), (Ok(Bytes::new()), 2), "{command:?}");
            } else {
                assert_eq!((answer, tries.get()), (Err(unconfirmed("/there")), 1), "{command:?}");
            }
        }
    }
}
