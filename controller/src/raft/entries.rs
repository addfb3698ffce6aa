//! Commands that other members hand to the leader, on their way into the log. All that wait become one entry, because an
//! entry costs each member far more than another command in it.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{Semaphore, mpsc, oneshot};

use super::node::{Elsewhere, Node, NotWritten};
use super::propose::{ENTRY_BYTES, ENTRY_COMMANDS};

/// Entries on their way at once. With two, who comes while both are under way waits for nearly two rounds; with eight a
/// third more gets through at 64 writers (`bench/RESULTS.md`). What is in them is bounded by the parts that may wait.
const IN_FLIGHT: usize = 8;
/// How often everybody else who can run does so before an entry is closed. Who was answered by the last one comes
/// again about now: on a busy machine they are all in one entry then, and on an idle one nothing is waited for.
const TURNS: usize = 5;
/// Parts that may wait; more make who brings them wait.
const QUEUE: usize = 1024;

type Written = Result<Vec<Bytes>, NotWritten>;

/// Commands that came together, and the way back to their proposer.
struct Part {
    commands: Arc<[Bytes]>,
    written: oneshot::Sender<Written>,
}

/// The way into the log. Clones feed the same queue.
#[derive(Clone)]
pub(super) struct Entries(mpsc::Sender<Part>);

impl Entries {
    /// Starts the task that makes entries; it ends with the last who could hand it something.
    pub(super) fn start(node: Arc<Node>) -> Self {
        let (queue, parts) = mpsc::channel(QUEUE);
        tokio::spawn(gather(node, parts));
        Self(queue)
    }

    /// Has `commands` replicated and applied, in one entry, if this member leads. Dropping the future takes them back as
    /// long as their entry was not made.
    pub(super) async fn write(&self, commands: Arc<[Bytes]>) -> Written {
        let (written, outcome) = oneshot::channel();
        let stopped = || NotWritten::Elsewhere(Elsewhere(None));
        self.0.send(Part { commands, written }).await.map_err(|_| stopped())?;
        // Dropped in the queue: nothing was done. What leaves it is always answered.
        outcome.await.unwrap_or_else(|_| Err(stopped()))
    }
}

async fn gather(node: Arc<Node>, mut parts: mpsc::Receiver<Part>) {
    let in_flight = Arc::new(Semaphore::new(IN_FLIGHT));
    // The place first, the parts then: while all places are taken, the next entry grows.
    while let Ok(place) = Arc::clone(&in_flight).acquire_owned().await
        && let Some(first) = parts.recv().await
    {
        for _ in 0..TURNS {
            tokio::task::yield_now().await;
        }
        let (mut commands, mut bytes) = (0, 0);
        let mut entry = Vec::new();
        let mut next = Some(first);
        while let Some(part) = next {
            if !part.written.is_closed() {
                commands += part.commands.len();
                bytes += part.commands.iter().map(Bytes::len).sum::<usize>();
                entry.push(part);
            }
            let has_room = commands < ENTRY_COMMANDS && bytes < ENTRY_BYTES;
            next = if has_room { parts.try_recv().ok() } else { None };
        }
        let node = Arc::clone(&node);
        tokio::spawn(async move {
            deliver(&node, entry).await;
            drop(place);
        });
    }
}

/// Has an entry replicated, and gives each part its replies.
async fn deliver(node: &Node, entry: Vec<Part>) {
    let commands: Arc<[Bytes]> = match entry.as_slice() {
        [] => return,
        [alone] => Arc::clone(&alone.commands),
        parts => parts.iter().flat_map(|part| part.commands.iter().cloned()).collect(),
    };
    let mut written = node.write(commands).await;
    for Part { commands, written: to } in entry {
        let own = match &mut written {
            Ok(replies) if replies.len() >= commands.len() => Ok(replies.drain(..commands.len()).collect()),
            Ok(_) => Err(NotWritten::Unknown("there are fewer replies than commands".to_owned())),
            Err(why) => Err(why.clone()),
        };
        // Who has gone away does not want its answer.
        drop(to.send(own));
    }
}
