//! A client of a Muster leader: its writes are proposals, by the way that followers forward theirs.

use anyhow::{Context as _, bail};
use bytes::Bytes;
use muster_controller::Reply;
use muster_proto::v1::ProposeRequest;
use muster_proto::v1::control_client::ControlClient;
use muster_proto::v1::propose_response::Outcome;
use tonic::transport::Channel;

use crate::client::{ANSWER_WITHIN, Writer};
use crate::command::Commands;

/// Proposes one command after another.
pub(crate) struct Proposer {
    pub(crate) control: ControlClient<Channel>,
    pub(crate) commands: Commands,
}

/// Has `command` carried out by the leader that `control` leads to: committed and applied when this returns.
pub(crate) async fn propose(control: &mut ControlClient<Channel>, command: Bytes) -> anyhow::Result<Reply> {
    let mut request = tonic::Request::new(ProposeRequest { commands: vec![command] });
    request.set_timeout(ANSWER_WITHIN);
    let answer = control.propose(request).await.context("proposing")?.into_inner();
    let Some(Outcome::Replies(replies)) = answer.outcome else {
        bail!("a proposal was not carried out: {answer:?}");
    };
    let [reply] = replies.replies.as_slice() else {
        bail!("one proposal was answered by {} replies", replies.replies.len());
    };
    Reply::decode(reply).context("reading the answer to a proposal")
}

impl Writer for Proposer {
    async fn write(&mut self) -> anyhow::Result<()> {
        match propose(&mut self.control, self.commands.next()).await? {
            Reply::Done => Ok(()),
            other => bail!("a proposal was answered with {other:?}"),
        }
    }
}
