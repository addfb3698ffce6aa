//! The controllers, asked one after the other over mTLS: any of them answers, from the state that it has.

use futures::future::BoxFuture;
use muster_common::spec::MAX_CONTROLLER_FETCH_BYTES;
use muster_platform::channel::words_of;
use muster_platform::{ExpectedPeer, TlsIdentity, World, channel};
use muster_proto::v1;
use muster_proto::v1::fetch_file_response::Outcome;
use muster_proto::v1::files_client::FilesClient;
use tokio::time::timeout;

use super::{Fetcher, NotFetched, WantedFile};

/// What an answer has beside its content.
const FRAME_BYTES: usize = 64 * 1024;

/// The controllers of the cluster.
pub(crate) struct Controllers {
    /// The machine.
    pub world: World,
    /// Who we are.
    pub tls: TlsIdentity,
    /// Addresses of their cluster ports.
    pub addresses: Vec<String>,
}

impl Controllers {
    async fn ask(&self, address: &str, wanted: &WantedFile) -> Result<Outcome, String> {
        let channel = channel(&self.world, &self.tls, address, ExpectedPeer::AnyController)
            .map_err(|error| error.to_string())?;
        let limit = MAX_CONTROLLER_FETCH_BYTES + FRAME_BYTES;
        let mut client = FilesClient::new(channel).max_decoding_message_size(limit);
        let request = v1::FetchFileRequest {
            service: wanted.service.to_string(),
            index: wanted.index,
            generation: wanted.generation.0,
            file: wanted.file,
        };
        let answer = timeout(wanted.patience, client.fetch(request)).await;
        let answer = answer.map_err(|_| format!("no answer within {:?}", wanted.patience))?;
        let answer = answer.map_err(|status| words_of(&status))?;
        answer
            .into_inner()
            .outcome
            .ok_or_else(|| "its answer says nothing that this version knows".to_owned())
    }
}

impl Fetcher for Controllers {
    fn fetch<'a>(&'a self, wanted: &'a WantedFile) -> BoxFuture<'a, Result<Vec<u8>, NotFetched>> {
        Box::pin(async move {
            let mut heard = Vec::new();
            // Each node begins elsewhere, so that they share the work out.
            let count = u64::try_from(self.addresses.len()).unwrap_or(u64::MAX).max(1);
            let first = usize::try_from(self.world.entropy.next_u64() % count).unwrap_or_default();
            let (last, begin) = self.addresses.split_at(first);
            for address in begin.iter().chain(last) {
                match self.ask(address, wanted).await {
                    Ok(Outcome::Content(content)) => return Ok(content.into()),
                    Ok(Outcome::Refusal(why)) => return Err(NotFetched::Refused(why)),
                    Err(why) => heard.push(format!("{address}: {why}")),
                }
            }
            if heard.is_empty() {
                heard.push("none are configured".to_owned());
            }
            Err(NotFetched::Unanswered(heard.join("; ")))
        })
    }
}
