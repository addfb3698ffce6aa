//! A cluster that lives: so many transitions a second, each a report of its own, spread evenly over executors and time.

use std::time::Duration;

use anyhow::Context as _;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::filled;
use super::session::{Committed, Session};
use crate::group::{Group, Place};

/// The command line of what is measured beside a trickle.
#[derive(clap::Args)]
pub(crate) struct TrickleArgs {
    /// How many transitions are committed each second, beside which is measured
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) rate: u32,
    /// How long is measured, in seconds
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    #[command(flatten)]
    pub(crate) place: Place,
}

impl TrickleArgs {
    /// How long is measured.
    pub(crate) const fn time(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }
}

/// Executors whose instances are all HEALTHY, and that say nothing until they are told to.
pub(crate) struct Trickle(Vec<Session>);

/// Transitions on their way.
pub(crate) struct Flowing {
    stop: CancellationToken,
    sessions: JoinSet<anyhow::Result<(Session, Vec<Committed>)>>,
}

impl Trickle {
    /// So many executors with so many instances each.
    pub(crate) async fn ready(group: &mut Group, executors: u16, instances: u32) -> anyhow::Result<Self> {
        Ok(Self(filled(group, executors, instances).await?))
    }

    /// Starts `rate` transitions a second, all executors together. An executor whose transition is not acknowledged when
    /// the next one is due waits, and makes up for it.
    pub(crate) fn flow(self, rate: u32) -> Flowing {
        let stop = CancellationToken::new();
        let executors = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        let every = Duration::from_secs(1) * executors / rate.max(1);
        let sessions = self.0.into_iter().map(|session| session.trickle(every, stop.clone())).collect();
        Flowing { stop, sessions }
    }
}

impl Flowing {
    /// Ends them; all that were committed, and the executors, who are silent again.
    pub(crate) async fn stop(mut self) -> anyhow::Result<(Trickle, Vec<Committed>)> {
        self.stop.cancel();
        let (mut silent, mut all) = (Vec::new(), Vec::new());
        while let Some(ended) = self.sessions.join_next().await {
            let (session, committed) = ended.context("a session broke off")??;
            silent.push(session);
            all.extend(committed);
        }
        Ok((Trickle(silent), all))
    }
}
