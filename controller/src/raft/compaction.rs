//! Bounds the bytes of the log. openraft takes a snapshot after so many entries, however large they are. So this task asks
//! for one as soon as the commands since the last snapshot take too many bytes.

use std::sync::Arc;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::node::Node;

/// What the applied commands take since the last snapshot.
pub(crate) struct Growth {
    bytes: u64,
    most: u64,
    due: Arc<Notify>,
}

impl Growth {
    /// With room for `most` bytes. `due` is notified whenever there are more.
    pub(crate) fn new(most: u64, due: Arc<Notify>) -> Self {
        Self { bytes: 0, most, due }
    }

    /// A command of so many bytes was applied.
    pub(super) fn add(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
        if self.bytes > self.most {
            self.begin_anew();
            self.due.notify_one();
        }
    }

    /// A snapshot holds everything that was applied.
    pub(super) fn begin_anew(&mut self) {
        self.bytes = 0;
    }
}

/// Starts the task that asks for snapshots when they are `due`; it ends with `stop`.
pub(super) fn start(node: Arc<Node>, due: Arc<Notify>, stop: CancellationToken) {
    tokio::spawn(async move {
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = compact(&node, &due) => {}
        }
    });
}

async fn compact(node: &Node, due: &Notify) {
    loop {
        due.notified().await;
        // An error means that consensus has ended, which its status says.
        if node.raft.trigger().snapshot().await.is_err() {
            return;
        }
        tracing::debug!("asked for a snapshot: the log takes much");
    }
}
