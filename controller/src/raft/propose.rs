//! Commands on their way into the log. What waits becomes one entry, so that many proposers share one
//! round and one fsync; an entry is offered to the leader, wherever that is, until it is taken.
//!
//! Only what was certainly not appended is offered again: a refusal by who does not lead, and a
//! connection that never came about. Once a leader may have it, silence is
//! [`ProposeError::Unknown`](super::ProposeError::Unknown).

use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use metrics::{counter, histogram};
use muster_common::id::ControllerId;
use muster_proto::v1;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};

use super::config::Member;
use super::error::ProposeError;
use super::node::{Elsewhere, Leader, Node, NotWritten};

/// The largest command, in bytes.
pub(crate) const MAX_COMMAND: usize = 1024 * 1024;
/// An entry takes no more commands, nor bytes once it has this many. (Of what members hand over in parts, the last part may
/// bring as many again, and twice the bytes.)
pub(super) const ENTRY_COMMANDS: usize = 256;
pub(super) const ENTRY_BYTES: usize = 1024 * 1024;
/// Entries on their way at once: one being replicated while the next is written.
const IN_FLIGHT: usize = 2;
/// Commands that may wait, by number and by size in bytes.
const QUEUE: usize = 16 * 1024;
const QUEUE_BYTES: usize = 64 * 1024 * 1024;
/// From the proposal to its answer, fail-over included.
const DEADLINE: Duration = Duration::from_secs(10);

struct Waiting {
    command: Bytes,
    /// After it nobody expects the command to be carried out any more.
    deadline: Instant,
    /// What a leader decided holds while it leads, and is offered to nobody else.
    only_in: Option<u64>,
    reply: oneshot::Sender<Result<Bytes, ProposeError>>,
    /// Its share of the queue's bytes, given back with it.
    _room: OwnedSemaphorePermit,
}

/// Takes commands. Clones feed the same queue.
#[derive(Clone)]
pub(super) struct Proposals {
    queue: mpsc::Sender<Waiting>,
    room: Arc<Semaphore>,
}

impl Proposals {
    /// Starts the task that takes commands to the leader; it ends with `stop`.
    pub(super) fn start(node: Arc<Node>, stop: CancellationToken) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE);
        tokio::spawn(batch(node, waiting, stop));
        Self { queue, room: Arc::new(Semaphore::new(QUEUE_BYTES)) }
    }

    /// Has `command` carried out; one that is `only_in` a term, by this member as the leader of that term.
    pub(super) async fn propose(&self, command: Bytes, only_in: Option<u64>) -> Result<Bytes, ProposeError> {
        let mut measured = Measured { begun: Instant::now(), outcome: "given_up" };
        let answer = self.wait(command, only_in).await;
        measured.outcome = outcome(&answer);
        answer
    }

    async fn wait(&self, command: Bytes, only_in: Option<u64>) -> Result<Bytes, ProposeError> {
        let size = command.len();
        if size > MAX_COMMAND {
            return Err(ProposeError::TooLarge { size, limit: MAX_COMMAND });
        }
        let bytes = u32::try_from(size).unwrap_or(u32::MAX);
        let room =
            Arc::clone(&self.room).try_acquire_many_owned(bytes).map_err(|_| ProposeError::Overloaded)?;
        let (reply, answer) = oneshot::channel();
        let deadline = Instant::now() + DEADLINE;
        self.queue.try_send(Waiting { command, deadline, only_in, reply, _room: room }).map_err(|error| {
            match error {
                mpsc::error::TrySendError::Full(_) => ProposeError::Overloaded,
                mpsc::error::TrySendError::Closed(_) => ProposeError::Stopped,
            }
        })?;
        // Dropped in the queue: it never left this member. What leaves is always answered.
        answer.await.unwrap_or(Err(ProposeError::Stopped))
    }
}

/// A proposal, which is counted when it is over: also one whose proposer has stopped waiting.
struct Measured {
    begun: Instant,
    outcome: &'static str,
}

impl Drop for Measured {
    fn drop(&mut self) {
        histogram!("muster_raft_proposal_seconds").record(self.begun.elapsed().as_secs_f64());
        counter!("muster_raft_proposals_total", "outcome" => self.outcome).increment(1);
    }
}

fn outcome(answer: &Result<Bytes, ProposeError>) -> &'static str {
    match answer {
        Ok(_) => "committed",
        Err(ProposeError::NoLeader { .. }) => "no_leader",
        Err(ProposeError::Deposed) => "deposed",
        Err(ProposeError::Unknown { .. }) => "unknown",
        Err(ProposeError::Refused { .. } | ProposeError::TooLarge { .. }) => "refused",
        Err(ProposeError::Overloaded) => "overloaded",
        Err(ProposeError::Stopped) => "stopped",
    }
}

async fn batch(node: Arc<Node>, mut waiting: mpsc::Receiver<Waiting>, stop: CancellationToken) {
    let in_flight = Arc::new(Semaphore::new(IN_FLIGHT));
    loop {
        // The place first, the commands then: while all places are taken, the next entry grows.
        let next = async {
            let place = Arc::clone(&in_flight).acquire_owned().await.ok()?;
            Some((place, waiting.recv().await?))
        };
        let (place, first) = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            next = next => match next {
                Some(next) => next,
                None => return,
            },
        };
        let mut bytes = 0;
        let mut entry = Vec::new();
        let mut next = Some(first);
        while let Some(waiting_command) = next {
            bytes += waiting_command.command.len();
            entry.push(waiting_command);
            let has_room = entry.len() < ENTRY_COMMANDS && bytes < ENTRY_BYTES;
            next = if has_room { waiting.try_recv().ok() } else { None };
        }
        let node = Arc::clone(&node);
        tokio::spawn(async move {
            deliver(&node, entry).await;
            drop(place);
        });
    }
}

/// What waited too long is given up, and what its proposer gave up, or decided as the leader that it is no more, is
/// not carried out behind its back.
fn still_wanted(node: &Node, leader: &Leader, waiting: Waiting) -> Option<Waiting> {
    if waiting.deadline <= Instant::now() {
        tell(waiting, Err(ProposeError::NoLeader { waited: DEADLINE }));
        return None;
    }
    let leads = |term| matches!(leader, Leader::Me) && node.status.borrow().term == term;
    if !waiting.only_in.is_none_or(leads) {
        tell(waiting, Err(ProposeError::Deposed));
        return None;
    }
    (!waiting.reply.is_closed()).then_some(waiting)
}

/// Has an entry replicated, and answers everybody in it. Each command has a deadline and a fate of its
/// own, whatever else shared its entry.
async fn deliver(node: &Node, mut entry: Vec<Waiting>) {
    // What the last one asked knew better than this member.
    let mut hint = None;
    loop {
        if node.status.borrow().failed.is_some() {
            return tell_all(entry, &ProposeError::Stopped);
        }
        let leader = hint.take().and_then(|id| known(node, id)).unwrap_or_else(|| node.leader());
        entry = entry.into_iter().filter_map(|waiting| still_wanted(node, &leader, waiting)).collect();
        let Some(deadline) = entry.first().map(|oldest| oldest.deadline) else { return };
        let commands = entry.iter().map(|waiting| waiting.command.clone()).collect();
        match offer(node, &leader, &commands, deadline).await {
            Ok(answers) if answers.len() == entry.len() => {
                for (waiting, answer) in entry.into_iter().zip(answers) {
                    tell(waiting, Ok(answer));
                }
                return;
            }
            Ok(answers) => {
                let cause = format!("{} commands were answered by {} replies", entry.len(), answers.len());
                return tell_all(entry, &ProposeError::Unknown { cause });
            }
            Err(NotWritten::Elsewhere(Elsewhere(leader))) => {
                hint = leader;
                // Those that came later have time left when the oldest has none.
                node.pause(deadline).await;
            }
            // Which of them is at fault is not known; the others are offered without it.
            Err(NotWritten::Refused(_)) if entry.len() > 1 => {
                for waiting in entry {
                    Box::pin(deliver(node, vec![waiting])).await;
                }
                return;
            }
            Err(NotWritten::Refused(cause)) => return tell_all(entry, &ProposeError::Refused { cause }),
            Err(NotWritten::Unknown(cause)) => return tell_all(entry, &ProposeError::Unknown { cause }),
        }
    }
}

fn tell_all(entry: Vec<Waiting>, error: &ProposeError) {
    for waiting in entry {
        tell(waiting, Err(error.clone()));
    }
}

/// A proposer that has gone away does not want its answer.
fn tell(waiting: Waiting, answer: Result<Bytes, ProposeError>) {
    drop(waiting.reply.send(answer));
}

/// Offers an entry to who leads, once.
async fn offer(
    node: &Node,
    leader: &Leader,
    commands: &Arc<[Bytes]>,
    deadline: Instant,
) -> Result<Vec<Bytes>, NotWritten> {
    let written = async {
        match leader {
            Leader::Me => node.write(Arc::clone(commands)).await,
            Leader::Other(leader) => forward(node, leader, commands, deadline).await,
            Leader::Nobody => Err(NotWritten::Elsewhere(Elsewhere(None))),
        }
    };
    let late = |_| Err(NotWritten::Unknown(format!("no answer within {} s", DEADLINE.as_secs())));
    timeout_at(deadline, written).await.unwrap_or_else(late)
}

fn known(node: &Node, id: ControllerId) -> Option<Leader> {
    if id == node.id {
        return Some(Leader::Me);
    }
    let status = node.status.borrow();
    status.members.iter().find(|member| member.id == id).cloned().map(Leader::Other)
}

async fn forward(
    node: &Node,
    leader: &Member,
    commands: &Arc<[Bytes]>,
    deadline: Instant,
) -> Result<Vec<Bytes>, NotWritten> {
    use v1::propose_response::Outcome;
    let Ok(clients) = node.peers.clients(leader.id, &leader.cluster_addr) else {
        return Err(NotWritten::Elsewhere(Elsewhere(None)));
    };
    let mut request = tonic::Request::new(v1::ProposeRequest { commands: commands.to_vec() });
    request.set_timeout(deadline.saturating_duration_since(Instant::now()));
    let mut control = clients.control;
    let response = match control.propose(request).await {
        Ok(response) => response.into_inner(),
        // Checked before it is appended.
        Err(status) if status.code() == Code::InvalidArgument => {
            return Err(NotWritten::Refused(status.message().to_owned()));
        }
        Err(status) if was_not_sent(&status) => return Err(NotWritten::Elsewhere(Elsewhere(None))),
        Err(status) => {
            let cause = format!("the leader ({}) did not answer: {}", leader.cluster_addr, status.message());
            return Err(NotWritten::Unknown(cause));
        }
    };
    match response.outcome {
        Some(Outcome::Replies(replies)) => Ok(replies.replies),
        Some(Outcome::LeaderElsewhere(at)) => {
            Err(NotWritten::Elsewhere(Elsewhere(at.leader.map(ControllerId))))
        }
        Some(Outcome::Unknown(unknown)) => Err(NotWritten::Unknown(unknown.cause)),
        None => Err(NotWritten::Unknown("the leader's answer cannot be understood".to_owned())),
    }
}

/// Whether the call failed before anything of it left this member: no connection could be made.
fn was_not_sent(status: &Status) -> bool {
    let mut cause = status.source();
    while let Some(error) = cause {
        if error.is::<tonic::ConnectError>() {
            return true;
        }
        cause = error.source();
    }
    false
}
