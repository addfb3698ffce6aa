//! The real prober: calls to ports on this node, and commands through the runners.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use muster_common::spec::{CheckMode, Protocol};
use tokio::time::{Instant, timeout};

use super::grpc::HealthCall;
use super::http::{Call, connect};
use super::tls::Trust;
use super::{ProbeError, ProbeOutcome, Prober};
use crate::runner::{LaunchPlan, Runner, RunnerSet, Runners, Workload};

/// Asks the workloads of this node.
pub struct NodeProber {
    runners: RunnerSet,
}

/// What was answered, before it is known how long it took.
struct Finding {
    passed: bool,
    code: Option<i32>,
    answer: String,
}

impl NodeProber {
    /// A prober that runs CMD checks through these runners.
    #[must_use]
    pub fn new(runners: &Runners) -> Self {
        Self { runners: runners.set() }
    }

    async fn ask(
        &self,
        mode: &CheckMode,
        limit: Duration,
        plan: &LaunchPlan,
        workload: &Workload,
    ) -> Result<Finding, ProbeError> {
        match mode {
            CheckMode::Http {
                protocol,
                port_name,
                path,
                verb,
                success_codes,
                payload,
                headers,
                connection_timeout,
                insecure,
            } => {
                let tls = match (protocol, insecure) {
                    (Protocol::Http, _) => None,
                    (Protocol::Https, true) => Some(Trust::Anybody),
                    (Protocol::Https, false) => Some(Trust::Node),
                };
                let call = Call {
                    port: host_port(plan, port_name)?,
                    tls,
                    verb: *verb,
                    path,
                    payload,
                    headers,
                    connection_timeout: connection_timeout.as_duration(),
                };
                let answer = within(limit, call.make()).await?;
                Ok(Finding {
                    passed: success_codes.contains(&answer.status),
                    code: Some(i32::from(answer.status)),
                    answer: answer.body,
                })
            }
            CheckMode::Tcp { port_name } => {
                within(limit, connect(host_port(plan, port_name)?)).await?;
                Ok(Finding { passed: true, code: None, answer: "connected".to_owned() })
            }
            CheckMode::Grpc { port_name, service, tls, insecure } => {
                let tls = match (tls, insecure) {
                    (false, _) => None,
                    (true, true) => Some(Trust::Anybody),
                    (true, false) => Some(Trust::Node),
                };
                let call = HealthCall { port: host_port(plan, port_name)?, tls, service, limit };
                let health = within(limit, call.make()).await?;
                Ok(Finding { passed: health.is_serving, code: Some(health.code), answer: health.answer })
            }
            CheckMode::Cmd { command, shell_disabled } => {
                let argv: Vec<String> = if *shell_disabled {
                    command.split_whitespace().map(str::to_owned).collect()
                } else {
                    vec!["sh".to_owned(), "-c".to_owned(), command.clone()]
                };
                // The runner keeps the limit: it also kills what runs too long.
                let output = self
                    .runner(plan)?
                    .command(plan, workload, &argv, limit)
                    .await
                    .map_err(|error| ProbeError(error.to_string()))?;
                Ok(Finding { passed: output.code == 0, code: Some(output.code), answer: output.output })
            }
        }
    }

    fn runner(&self, plan: &LaunchPlan) -> Result<&Arc<dyn Runner>, ProbeError> {
        let kind = plan.spec.runner();
        self.runners
            .of(kind)
            .ok_or_else(|| ProbeError(format!("this executor does not run {kind} executables")))
    }
}

impl Prober for NodeProber {
    fn probe<'a>(
        &'a self,
        mode: &'a CheckMode,
        timeout: Duration,
        plan: &'a LaunchPlan,
        workload: &'a Workload,
    ) -> BoxFuture<'a, ProbeOutcome> {
        Box::pin(async move {
            let begun = Instant::now();
            let finding = self.ask(mode, timeout, plan, workload).await;
            let Finding { passed, code, answer } =
                finding.unwrap_or_else(|ProbeError(why)| Finding { passed: false, code: None, answer: why });
            ProbeOutcome { passed, latency: begun.elapsed(), code, answer }
        })
    }
}

fn host_port(plan: &LaunchPlan, name: &str) -> Result<u16, ProbeError> {
    plan.local_info
        .ports
        .get(name)
        .map(|port| port.host_port)
        .ok_or_else(|| ProbeError(format!("the instance has no port named '{name}'")))
}

async fn within<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, ProbeError>>,
) -> Result<T, ProbeError> {
    timeout(limit, work).await.unwrap_or_else(|_| Err(ProbeError(format!("no answer within {limit:?}"))))
}
