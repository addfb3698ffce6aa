//! Logs and metrics of a role.
//!
//! Logs go to stderr, filtered by `MUSTER_LOG` (such as `info,muster_executor=debug`), as lines or,
//! with `MUSTER_LOG_FORMAT=json`, as JSON. Metrics are rendered for Prometheus on the api port.

use std::sync::OnceLock;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tokio_util::task::AbortOnDropHandle;
use tracing_subscriber::EnvFilter;

use crate::own_process;

/// openraft says every heartbeat that a peer misses at `warn` and every lost packet at `error`: with a
/// peer that is down for a night, nothing else could be found. What it decides, the controllers say.
const DEFAULT_FILTER: &str = "info,openraft=error,openraft::replication=off,h2=warn,hyper=warn";

/// Up to where durations are counted, in seconds: from a check on the own node to a pull of a large image. Histograms
/// and not quantiles, which cannot be summed over nodes.
const BUCKETS: [f64; 17] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0];

static METRICS: OnceLock<PrometheusHandle> = OnceLock::new();

/// Installs the log subscriber; a second call changes nothing.
pub fn init_logs() {
    let filter = EnvFilter::try_from_env("MUSTER_LOG").unwrap_or_else(|_| EnvFilter::new(DEFAULT_FILTER));
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let json = std::env::var("MUSTER_LOG_FORMAT").is_ok_and(|format| format == "json");
    // An error means that somebody (a test, an embedder) installed one already: theirs stays.
    let _ = if json { lines.json().try_init() } else { lines.with_ansi(false).try_init() };
}

/// The process's metrics. The first call installs the recorder.
pub fn metrics() -> &'static PrometheusHandle {
    METRICS.get_or_init(|| {
        let durations = Matcher::Suffix("_seconds".to_owned());
        // Refused are only buckets of which there are none.
        let builder = PrometheusBuilder::new().set_buckets_for_metric(durations, &BUCKETS);
        let recorder = builder.unwrap_or_default().build_recorder();
        let handle = recorder.handle();
        // An error means that an embedder records elsewhere; then this handle renders nothing.
        let _ = metrics::set_global_recorder(recorder);
        own_process::describe();
        handle
    })
}

/// Between two rounds of [`keep_up`].
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// Folds what was measured into the histograms now and then, for as long as the handle lives. Otherwise every single
/// sample would be kept until somebody scrapes, and on many a machine nobody ever does.
pub fn keep_up() -> AbortOnDropHandle<()> {
    AbortOnDropHandle::new(tokio::spawn(async {
        loop {
            tokio::time::sleep(UPKEEP_INTERVAL).await;
            metrics().run_upkeep();
        }
    }))
}

/// `GET /metrics`, in Prometheus' text format.
pub fn metrics_router() -> Router {
    metrics_router_with(|| {})
}

/// The same; `observe` sets what is only looked at when somebody asks, and must not block.
pub fn metrics_router_with(observe: impl Fn() + Clone + Send + Sync + 'static) -> Router {
    let answer = async move || {
        let metrics = metrics();
        own_process::observe();
        observe();
        metrics.render()
    };
    Router::new().route("/metrics", get(answer))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_can_be_summed_over_nodes() {
        let metrics = metrics();
        metrics::histogram!("test_telemetry_seconds").record(0.2);
        let shown = metrics.render();
        for line in [
            "# TYPE test_telemetry_seconds histogram",
            "test_telemetry_seconds_bucket{le=\"0.1\"} 0",
            "test_telemetry_seconds_bucket{le=\"0.25\"} 1",
            "test_telemetry_seconds_count 1",
        ] {
            assert!(shown.contains(line), "{line} is not in {shown}");
        }
    }
}
