//! A client of etcd: its writes are puts of one value after another under its own key.

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use http::uri::PathAndQuery;
use tonic::client::Grpc;
use tonic::transport::Channel;
use tonic_prost::ProstCodec;

use super::message::{PutRequest, PutResponse};
use crate::client::{ANSWER_WITHIN, Writer};

/// Makes a unary call of etcd's interface.
pub(super) async fn call<Q, A>(channel: &Channel, method: &'static str, message: Q) -> anyhow::Result<A>
where
    Q: prost::Message + Send + Sync + 'static,
    A: prost::Message + Default + Send + Sync + 'static,
{
    let mut client = Grpc::new(channel.clone());
    client.ready().await.with_context(|| format!("connecting for {method}"))?;
    let mut request = tonic::Request::new(message);
    request.set_timeout(ANSWER_WITHIN);
    let path = PathAndQuery::from_static(method);
    let answer = client.unary(request, path, ProstCodec::default()).await;
    Ok(answer.with_context(|| format!("calling {method}"))?.into_inner())
}

/// Puts one value after another.
pub(crate) struct Putter {
    channel: Channel,
    key: Bytes,
    value: Bytes,
}

impl Putter {
    /// Client `number`, whose requests have about `bytes` bytes.
    pub(crate) fn new(channel: Channel, number: usize, bytes: usize) -> Self {
        let key = Bytes::from(format!("bench-{number}"));
        let value = Bytes::from(vec![b'x'; bytes.saturating_sub(key.len())]);
        Self { channel, key, value }
    }
}

impl Writer for Putter {
    /// Answered once a majority has it on disk, and it is applied.
    async fn write(&mut self) -> anyhow::Result<()> {
        let put = PutRequest { key: self.key.clone(), value: self.value.clone() };
        let answer: PutResponse = call(&self.channel, "/etcdserverpb.KV/Put", put).await?;
        let revision = answer.header.map_or(0, |header| header.revision);
        ensure!(revision > 0, "a put was answered without a revision");
        Ok(())
    }
}
