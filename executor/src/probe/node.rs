//! The real prober: calls to ports on this node, and commands through the runners.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use muster_common::spec::{CheckMode, Protocol};
use muster_platform::call::Trust;
use tokio::time::{Instant, timeout_at};

use super::grpc::HealthCall;
use super::http::Call;
use super::target::Target;
use super::{ProbeError, ProbeOutcome, Prober};
use crate::runner::{LaunchPlan, Runner, RunnerError, RunnerSet, Runners, Workload};

/// Asks the workloads of this node.
pub struct NodeProber {
    runners: RunnerSet,
}

/// What was answered, before it is known how long it took.
struct Finding {
    passed: bool,
    asked: bool,
    code: Option<i32>,
    answer: String,
}

impl Finding {
    /// The runner could not do as it was told. One that is away was no use to ask the workload.
    fn of_runner(error: &RunnerError) -> Self {
        let asked = !matches!(error, RunnerError::Unavailable(_));
        Self { passed: false, asked, code: None, answer: error.to_string() }
    }
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
            // The runner keeps the limit: it also kills what runs too long.
            CheckMode::Cmd { command, shell_disabled } => {
                self.command(command, *shell_disabled, limit, plan, workload).await
            }
            CheckMode::Http { port_name, .. }
            | CheckMode::Tcp { port_name }
            | CheckMode::Grpc { port_name, .. } => {
                let deadline = Instant::now() + limit;
                let called = async {
                    match self.target(port_name, plan, workload).await? {
                        Ok(target) => call(mode, target, limit, deadline).await,
                        Err(error) => Ok(Finding::of_runner(&error)),
                    }
                };
                let late = |_| Err(ProbeError(format!("no answer within {limit:?}")));
                let found = timeout_at(deadline, called).await.unwrap_or_else(late);
                if found.is_err() {
                    self.runner(plan)?.doubt_address(&plan.instance, workload);
                }
                found
            }
        }
    }

    async fn command(
        &self,
        command: &str,
        shell_disabled: bool,
        limit: Duration,
        plan: &LaunchPlan,
        workload: &Workload,
    ) -> Result<Finding, ProbeError> {
        let argv: Vec<String> = if shell_disabled {
            command.split_whitespace().map(str::to_owned).collect()
        } else {
            vec!["sh".to_owned(), "-c".to_owned(), command.to_owned()]
        };
        Ok(match self.runner(plan)?.command(plan, workload, &argv, limit).await {
            Ok(output) => Finding {
                passed: output.code == 0,
                asked: true,
                code: Some(output.code),
                answer: output.output,
            },
            Err(error) => Finding::of_runner(&error),
        })
    }

    /// Where the workload's port is called.
    async fn target(
        &self,
        port_name: &str,
        plan: &LaunchPlan,
        workload: &Workload,
    ) -> Result<Result<Target, RunnerError>, ProbeError> {
        let port = plan.place.local_info.ports.get(port_name);
        let port = port.ok_or_else(|| ProbeError(format!("the instance has no port named '{port_name}'")))?;
        let own = self.runner(plan)?.address(&plan.instance, workload).await;
        Ok(own.map(|own| Target::of(port, own)))
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
            let Finding { passed, asked, code, answer } = finding.unwrap_or_else(|ProbeError(why)| Finding {
                passed: false,
                asked: true,
                code: None,
                answer: why,
            });
            ProbeOutcome { passed, asked, latency: begun.elapsed(), code, answer }
        })
    }
}

/// Asks over the network. The caller bounds it.
async fn call(
    mode: &CheckMode,
    target: Target,
    limit: Duration,
    deadline: Instant,
) -> Result<Finding, ProbeError> {
    match mode {
        CheckMode::Http {
            protocol,
            port_name: _,
            path,
            verb,
            success_codes,
            payload,
            headers,
            connection_timeout,
            insecure,
        } => {
            let call = Call {
                target,
                tls: trust(*protocol == Protocol::Https, *insecure),
                verb: *verb,
                path,
                payload,
                headers,
                connection_timeout: connection_timeout.as_duration(),
                deadline,
            };
            let answer = call.make().await?;
            Ok(Finding {
                passed: success_codes.contains(&answer.status),
                asked: true,
                code: Some(i32::from(answer.status)),
                answer: answer.body,
            })
        }
        CheckMode::Grpc { port_name: _, service, tls, insecure } => {
            let call = HealthCall { target, tls: trust(*tls, *insecure), service, limit };
            let health = call.make().await?;
            Ok(Finding {
                passed: health.is_serving,
                asked: true,
                code: Some(health.code),
                answer: health.answer,
            })
        }
        CheckMode::Tcp { port_name: _ } => {
            target.connect().await?;
            Ok(Finding { passed: true, asked: true, code: None, answer: "connected".to_owned() })
        }
        CheckMode::Cmd { .. } => Err(ProbeError("a command is no call".to_owned())),
    }
}

/// Whose certificate is asked for, where TLS is spoken.
fn trust(tls: bool, insecure: bool) -> Option<Trust> {
    tls.then_some(if insecure { Trust::Anybody } else { Trust::Machine })
}
