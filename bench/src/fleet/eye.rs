//! What is seen of the controllers from outside: REST and metrics.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use serde_json::{Value, json};

/// Between two looks.
const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// Nothing that is asked takes longer, unless something is wrong.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// The `data` of a GET below `/apis/v1/`.
pub(super) async fn get(http: &reqwest::Client, address: &str, path: &str) -> anyhow::Result<Value> {
    let answer = http
        .get(format!("http://{address}/apis/v1/{path}"))
        .timeout(ANSWER_WITHIN)
        .send()
        .await
        .with_context(|| format!("reading {path} from {address}"))?;
    data(path, answer).await
}

async fn data(what: &str, answer: reqwest::Response) -> anyhow::Result<Value> {
    let status = answer.status();
    let mut body: Value =
        answer.json().await.with_context(|| format!("reading the {status} answer to {what}"))?;
    ensure!(status.is_success(), "{what} was answered with {status}: {body}");
    Ok(body["data"].take())
}

/// Looks at one controller.
pub(super) struct Eye {
    http: reqwest::Client,
    address: String,
}

impl Eye {
    /// Looks at the controller with this API.
    pub(super) fn on(address: &str) -> Self {
        Self { http: reqwest::Client::new(), address: address.to_owned() }
    }

    /// Submits an operation; its id.
    pub(super) async fn submit(&self, operation: &Value) -> anyhow::Result<String> {
        let url = format!("http://{}/apis/v1/localservices/operations", self.address);
        let answer = self.http.post(url).json(operation).send().await.context("submitting an operation")?;
        let accepted = data(&operation["type"].to_string(), answer).await?;
        Ok(accepted["operationId"].as_str().context("an accepted operation has no id")?.to_owned())
    }

    /// How many instances of the service this controller knows to be HEALTHY; `None` while it cannot say.
    pub(super) async fn healthy(&self, service: &str) -> Option<u64> {
        let path = format!("localservices/{service}?stale=true");
        get(&self.http, &self.address, &path).await.ok()?["healthyInstances"].as_u64()
    }

    /// How many ended instances of the service are kept.
    pub(super) async fn old(&self, service: &str) -> anyhow::Result<usize> {
        let path = format!("localservices/{service}/instances/old");
        let old = get(&self.http, &self.address, &path).await?;
        Ok(old.as_array().context("old instances are a list")?.len())
    }

    /// Waits until the operation is over; fails unless it succeeded.
    pub(super) async fn until_over(&self, operation: &str, limit: Duration) -> anyhow::Result<()> {
        let path = format!("localservices/operations/{operation}");
        let begun = Instant::now();
        loop {
            let seen = get(&self.http, &self.address, &path).await?;
            if seen["state"] == json!("SUCCEEDED") {
                return Ok(());
            }
            ensure!(seen["finished"].is_null(), "an operation failed: {}", seen["message"]);
            ensure!(begun.elapsed() < limit, "an operation is not over after {limit:?}");
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// Waits until that many instances of the service are HEALTHY.
    pub(super) async fn until_healthy(
        &self,
        service: &str,
        count: u64,
        limit: Duration,
    ) -> anyhow::Result<()> {
        let begun = Instant::now();
        loop {
            let seen = self.healthy(service).await;
            if seen == Some(count) {
                return Ok(());
            }
            if begun.elapsed() >= limit {
                bail!("{seen:?} of {count} instances of {service} are HEALTHY after {limit:?}");
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// A metric's value, all its labels that hold `label` together; 0 while nothing was counted.
    pub(super) async fn metric(&self, name: &str, label: &str) -> anyhow::Result<u64> {
        let url = format!("http://{}/metrics", self.address);
        let text = self.http.get(url).timeout(ANSWER_WITHIN).send().await?.text().await?;
        let lines = text.lines().filter(|line| line.starts_with(name) && line.contains(label));
        let values = lines.filter_map(|line| {
            let (key, value) = line.rsplit_once(' ')?;
            let is_it = key == name || key.strip_prefix(name)?.starts_with('{');
            value.parse::<f64>().ok().filter(|_| is_it)
        });
        // Counters are whole and never negative.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        Ok(values.sum::<f64>() as u64)
    }
}
