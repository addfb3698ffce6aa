//! Users who read through each controller all the time, linearizably.

use std::time::{Duration, Instant};

use futures::FutureExt as _;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::eye::get;
use crate::aside::Aside;

/// Between two rounds of one reader.
const PAUSE: Duration = Duration::from_millis(20);
/// Instances of a page.
const PAGE: u32 = 100;

/// How long reads took, by what was read.
#[derive(Debug, Default)]
pub(super) struct Reads {
    /// One instance.
    pub(super) instance: Vec<Duration>,
    /// One service.
    pub(super) service: Vec<Duration>,
    /// A page of a service's instances.
    pub(super) page: Vec<Duration>,
    /// How many failed, and what the first one said.
    pub(super) failed: (u64, Option<String>),
}

impl Reads {
    fn absorb(&mut self, other: Self) {
        self.instance.extend(other.instance);
        self.service.extend(other.service);
        self.page.extend(other.page);
        self.failed.0 += other.failed.0;
        self.failed.1 = self.failed.1.take().or(other.failed.1);
    }
}

/// Readers at work, one for each controller.
pub(super) struct Readers(Aside<Reads>);

impl Readers {
    /// Starts them; `most` is how many instances a service has at most.
    pub(super) fn start(addresses: &[String], services: &[String], most: u32) -> Self {
        let stop = CancellationToken::new();
        let reader = |address: &String| {
            let reader = Reader {
                address: address.clone(),
                services: services.to_vec(),
                most,
                stop: stop.clone(),
                http: reqwest::Client::new(),
                reads: Reads::default(),
            };
            reader.run().map(Ok)
        };
        Self(Aside::start(stop.clone(), addresses.iter().map(reader)))
    }

    /// Ends them; what they saw.
    pub(super) async fn stop(self) -> anyhow::Result<Reads> {
        let mut all = Reads::default();
        for reads in self.0.stop().await? {
            all.absorb(reads);
        }
        Ok(all)
    }
}

struct Reader {
    address: String,
    services: Vec<String>,
    most: u32,
    stop: CancellationToken,
    http: reqwest::Client,
    reads: Reads,
}

impl Reader {
    async fn run(mut self) -> Reads {
        let stop = self.stop.clone();
        let mut from = 0;
        for service in self.services.clone().iter().cycle() {
            from = (from + 7 * PAGE) % self.most.max(1);
            if let Err(error) = self.round(service, from).await {
                self.reads.failed.0 += 1;
                self.reads.failed.1.get_or_insert_with(|| format!("{error:#}"));
            }
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(PAUSE) => {}
            }
        }
        self.reads
    }

    async fn round(&mut self, service: &str, from: u32) -> anyhow::Result<()> {
        let path = format!("localservices/{service}");
        let (took, _) = self.timed(&path).await?;
        self.reads.service.push(took);
        let (took, page) = self.timed(&format!("{path}/instances?from={from}&size={PAGE}")).await?;
        self.reads.page.push(took);
        // While a fleet registers, the page may be beyond the last instance.
        if let Some(instance) = page[0]["instanceId"].as_str() {
            let (took, _) = self.timed(&format!("{path}/instances/{instance}")).await?;
            self.reads.instance.push(took);
        }
        Ok(())
    }

    async fn timed(&self, path: &str) -> anyhow::Result<(Duration, Value)> {
        let begun = Instant::now();
        let data = get(&self.http, &self.address, path).await?;
        Ok((begun.elapsed(), data))
    }
}
