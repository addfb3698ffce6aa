//! Relays: what users ask of this node, its logs and commands beside its workloads. Nobody dials an executor:
//! the leader tells it, in its session, which controller a user waits at, and it dials that one and is asked
//! there. So the leader carries nothing of it, and what is open stays open when the session or the leader goes.
//!
//! | module | noun |
//! |---|---|
//! | `dial` | one relay, from the connection to its end |
//! | `places` | how many are answered at once |
//! | `line` | what goes up: no more than there is credit for |
//! | `log` | logs that are listed, read and followed |
//! | `exec` | commands beside workloads |
//! | `characters` | text cut where a character ends (pure) |
//!
//! One task takes who is to be dialled, and one for each relay lives it. They own nothing else: a relay that
//! breaks leaves nothing behind, and whoever wants to goes on elsewhere.

mod characters;
mod dial;
mod exec;
mod line;
mod log;
mod places;

use std::sync::Arc;

use muster_platform::{TlsIdentity, World};
use muster_proto::v1;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::runner::{Logs, RunnerSet};
use crate::supervisor::Handle;

use places::{MAX_ANSWERED, Places};

/// How many more are open than are answered: they begin, end, or are told that there are too many. What comes beyond is
/// passed over.
const MAX_UNANSWERED: usize = 64;
/// How many wait to be dialled: more than one call asks for.
const QUEUE: usize = 128;

/// Where the session leaves whom to dial.
#[derive(Debug, Clone)]
pub(crate) struct Dials(mpsc::Sender<v1::Dial>);

impl Dials {
    /// Never waits: the session has more to do.
    pub(crate) fn tell(&self, dial: v1::Dial) {
        let controller = dial.controller;
        if self.0.try_send(dial).is_err() {
            tracing::warn!(
                controller,
                "a controller is not dialled: too many wait, or this executor is ending"
            );
        }
    }
}

/// Whom to dial, from the session to [`run`].
pub(crate) fn dials() -> (Dials, mpsc::Receiver<v1::Dial>) {
    let (sender, receiver) = mpsc::channel(QUEUE);
    (Dials(sender), receiver)
}

/// What relays are made of.
pub(crate) struct Node {
    /// The machine.
    pub world: World,
    /// Who we are.
    pub tls: TlsIdentity,
    /// What instances wrote.
    pub logs: Logs,
    /// Who knows what runs.
    pub supervisor: Handle,
    /// Who runs it.
    pub runners: RunnerSet,
}

/// Dials whom it is told to until `shutdown`, which ends all relays.
pub(crate) async fn run(node: Node, mut dials: mpsc::Receiver<v1::Dial>, shutdown: CancellationToken) {
    let (node, places) = (Arc::new(node), Arc::new(Places::default()));
    let mut relays = JoinSet::new();
    loop {
        let dial = tokio::select! {
            () = shutdown.cancelled() => return,
            Some(_ended) = relays.join_next() => continue,
            dial = dials.recv() => dial,
        };
        let Some(dial) = dial else { return shutdown.cancelled().await };
        if relays.len() >= MAX_ANSWERED + MAX_UNANSWERED {
            tracing::warn!(
                controller = dial.controller,
                "a controller is not dialled: too many relays are open"
            );
            continue;
        }
        relays.spawn(dial::live(Arc::clone(&node), Arc::clone(&places), dial));
    }
}
