//! Clients on threads of their own, each thread with a runtime of its own: what they see must not wait for the executors,
//! which share this process.

use std::thread;

use anyhow::{Context as _, anyhow};
use tokio_util::sync::CancellationToken;

/// Clients at work, each of which gives a `T` when it is told to stop.
pub(crate) struct Aside<T> {
    stop: CancellationToken,
    threads: Vec<thread::JoinHandle<anyhow::Result<T>>>,
}

impl<T: Send + 'static> Aside<T> {
    /// Starts a thread for each of `clients`, which end when `stop` is cancelled.
    pub(crate) fn start<F>(stop: CancellationToken, clients: impl IntoIterator<Item = F>) -> Self
    where
        F: Future<Output = anyhow::Result<T>> + Send + 'static,
    {
        let start = |client: F| {
            thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                runtime.context("starting a client's runtime")?.block_on(client)
            })
        };
        Self { stop, threads: clients.into_iter().map(start).collect() }
    }

    /// Ends them; what each of them gave.
    pub(crate) async fn stop(self) -> anyhow::Result<Vec<T>> {
        self.stop.cancel();
        let join = move || {
            let ended = self.threads.into_iter().map(thread::JoinHandle::join);
            ended.map(|given| given.map_err(|_| anyhow!("a client broke off"))?).collect()
        };
        tokio::task::spawn_blocking(join).await.context("waiting for the clients")?
    }
}
