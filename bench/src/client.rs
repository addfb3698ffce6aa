//! One client in a closed loop: it proposes, waits until its command is committed and applied, and
//! proposes again.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use muster_controller::Reply;
use muster_proto::v1::ProposeRequest;
use muster_proto::v1::control_client::ControlClient;
use muster_proto::v1::propose_response::Outcome;
use tonic::transport::Channel;

use crate::command::Commands;

/// Longer than a controller takes to give a proposal up.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);
/// After an error: a client that is refused at once must not keep the machine busy with that.
const PAUSE: Duration = Duration::from_millis(50);

/// What a client, or several, came to.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// How long each proposal took that was carried out.
    pub(crate) latencies: Vec<Duration>,
    /// What was said of each that was not, for certain.
    pub(crate) errors: Errors,
}

/// Errors, counted.
#[derive(Debug, Default)]
pub(crate) struct Errors {
    /// How many.
    pub(crate) count: u64,
    /// What the first one said: the others mostly follow from it.
    pub(crate) first: Option<String>,
}

impl Errors {
    fn add(&mut self, error: &anyhow::Error) {
        self.count += 1;
        self.first.get_or_insert_with(|| format!("{error:#}"));
    }

    /// Adds those of `other`, which came later.
    pub(crate) fn absorb(&mut self, other: Self) {
        self.count += other.count;
        self.first = self.first.take().or(other.first);
    }
}

/// A client.
pub(crate) struct Client {
    pub(crate) control: ControlClient<Channel>,
    pub(crate) commands: Commands,
}

impl Client {
    /// Proposes until `end`. What began before `from` warms up: it is not timed, but its errors count.
    pub(crate) async fn run(mut self, from: Instant, end: Instant) -> Tally {
        let mut tally = Tally::default();
        loop {
            let began = Instant::now();
            if began >= end {
                return tally;
            }
            match self.propose().await {
                Ok(()) if began >= from => tally.latencies.push(began.elapsed()),
                Ok(()) => {}
                Err(error) => {
                    tally.errors.add(&error);
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    /// One proposal, acknowledged: the machine's reply exists only once the command is committed and
    /// applied.
    async fn propose(&mut self) -> anyhow::Result<()> {
        let mut request = tonic::Request::new(ProposeRequest { commands: vec![self.commands.next()] });
        request.set_timeout(ANSWER_WITHIN);
        let answer = self.control.propose(request).await.context("proposing")?.into_inner();
        let Some(Outcome::Replies(replies)) = answer.outcome else {
            bail!("a proposal was not carried out: {answer:?}");
        };
        let [reply] = replies.replies.as_slice() else {
            bail!("one proposal was answered by {} replies", replies.replies.len());
        };
        match Reply::decode(reply).context("reading the answer to a proposal")? {
            Reply::Done => Ok(()),
            other => bail!("a proposal was answered with {other:?}"),
        }
    }
}
