//! Commands beside instances (an addition to Drove's API): authorised, and written down for everybody before
//! they begin.

use axum::extract::State as Context;
use muster_common::command_end::{CANNOT_RUN, CommandEnd, NO_SUCH_COMMAND};
use muster_common::exec::ExecAnswer;
use muster_common::id::{ExecutorId, InstanceId};
use muster_proto::v1;
use muster_proto::v1::exec_output::Body as Output;
use muster_proto::v1::relay_down::Body as Down;
use tokio::time::Instant;

use super::access::Api;
use super::answer::{Answer, Data};
use super::body::Body;
use super::error::ApiError;
use super::exec_request::ExecWanted;
use super::instances::known_instance;
use super::path::Named;
use super::query::Parameters;
use crate::relay::{Relay, RelayError, RelaySender, Up};
use crate::state::ExecNoted;
use crate::users::User;

/// How much of each of a command's outputs is answered.
const MAX_OUTPUT: usize = 1024 * 1024;
/// The largest piece of input that is sent on.
pub(super) const INPUT_PIECE: usize = 16 * 1024;

/// `POST /localservices/{id}/instances/{instanceId}/exec`: runs a command to its end.
pub(super) async fn once(
    Context(api): Context<Api>,
    user: User,
    Named((service, instance)): Named<(String, String)>,
    query: Parameters,
    Body(body): Body,
) -> Answer<ExecAnswer> {
    let wanted = ExecWanted::in_body(&body)?;
    let mut exec = begin(&api, &user, &service, &instance, &query, &wanted).await?;
    let sender = exec.relay.sender();
    let stdin = wanted.stdin.unwrap_or_default();
    let ran = tokio::select! {
        ran = collect(&mut exec.relay) => ran,
        error = feed(&sender, &stdin) => Err(error),
    };
    let ran = ran.or_else(|error| match own_code(&error) {
        Some(code) => Ok(ExecAnswer::of(&CommandEnd::Failed { code, why: error.to_string() })),
        None => Err(not_run(&error)),
    })?;
    exec.audit.ended(&ran.end());
    Ok(Data(ran))
}

/// Takes all output, and keeps what there is room for.
async fn collect(relay: &mut Relay) -> Result<ExecAnswer, RelayError> {
    let (mut stdout, mut stderr, mut truncated) = (Vec::new(), Vec::new(), false);
    let mut keep = |kept: &mut Vec<u8>, bytes: &[u8]| {
        let room = (MAX_OUTPUT - kept.len()).min(bytes.len());
        truncated |= room < bytes.len();
        kept.extend_from_slice(&bytes[..room]);
    };
    let end = loop {
        match relay.next().await? {
            Some(Up::Output(Output::Stdout(bytes))) => keep(&mut stdout, &bytes),
            Some(Up::Output(Output::Stderr(bytes))) => keep(&mut stderr, &bytes),
            Some(Up::Ended(end)) => break end,
            Some(Up::Files(_) | Up::Text(_)) | None => {
                return Err(relay.misunderstood("something else than a command's output"));
            }
        }
    };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(ExecAnswer { stdout: text(&stdout), stderr: text(&stderr), truncated, ..ExecAnswer::of(&end) })
}

/// Hands all input on; comes back only when that cannot be.
async fn feed(sender: &RelaySender, stdin: &bytes::Bytes) -> RelayError {
    let fed = async {
        let mut rest = stdin.clone();
        while !rest.is_empty() {
            let piece = rest.split_to(rest.len().min(INPUT_PIECE));
            sender.feed(piece).await?;
        }
        sender.end_input().await
    };
    match fed.await {
        // What came of it is told by the command's end.
        Ok(()) | Err(RelayError::Broken { .. }) => std::future::pending().await,
        Err(error) => error,
    }
}

/// A command that was begun.
pub(super) struct Exec {
    pub(super) relay: Relay,
    pub(super) audit: Audit,
}

/// Begins a command, once it is written down who runs what.
pub(super) async fn begin(
    api: &Api,
    user: &User,
    service: &str,
    instance: &str,
    query: &Parameters,
    wanted: &ExecWanted,
) -> Result<Exec, ApiError> {
    let state = api.read(query).await?;
    let found = known_instance(&state, service, instance)?;
    let slot = &found.record.slot;
    if !found.is_live() {
        let why =
            format!("Instance {instance} is {}; commands run beside instances that live", found.state());
        return Err(ApiError::Conflict(why));
    }
    api.relays().present(&slot.executor).map_err(|error| not_run(&error))?;
    let noted = ExecNoted {
        service: slot.service.clone(),
        instance: found.record.id.clone(),
        executor: slot.executor.clone(),
        program: wanted.program(),
        by: user.name.to_string(),
    };
    let (executor, id): (ExecutorId, InstanceId) = (noted.executor.clone(), noted.instance.clone());
    api.note_exec(noted.clone()).await?;
    let audit = Audit { noted, begun: Instant::now(), outcome: "its user left, or it broke off".to_owned() };
    let ask: v1::StartExec = wanted.ask(id.to_string());
    let relay = api.relays().open(&executor, Down::StartExec(ask)).await.map_err(|error| not_run(&error))?;
    Ok(Exec { relay, audit })
}

/// A shell's exit code for a command that was not run for a reason of its own, and not of whoever should have run it.
pub(super) const fn own_code(error: &RelayError) -> Option<u8> {
    match error {
        RelayError::NoSuchCommand(_) => Some(NO_SUCH_COMMAND),
        RelayError::Failed(_) => Some(CANNOT_RUN),
        _ => None,
    }
}

/// Why a command was not run, or not to its end.
pub(super) fn not_run(error: &RelayError) -> ApiError {
    match error {
        RelayError::NotFound(why) | RelayError::NoSuchCommand(why) | RelayError::Failed(why) => {
            ApiError::Conflict(why.clone())
        }
        RelayError::Away { .. } | RelayError::Gone(_) => {
            ApiError::Unavailable(format!("{error}; nothing can be run on it"))
        }
        RelayError::NoSession { .. }
        | RelayError::NoLeader { .. }
        | RelayError::NotDialled { .. }
        | RelayError::TooMany { .. }
        | RelayError::Busy(_) => ApiError::Unavailable(error.to_string()),
        RelayError::Broken { .. } | RelayError::Misunderstood { .. } => ApiError::Unconfirmed(format!(
            "{error}; it is not known whether the command was run, or how far it came: look at what it does before you run \
             it again"
        )),
    }
}

/// Says in the log how a command ended, when it does.
pub(super) struct Audit {
    noted: ExecNoted,
    begun: Instant,
    outcome: String,
}

impl Audit {
    /// It ended like that.
    pub(super) fn ended(&mut self, end: &CommandEnd) {
        self.outcome = end.to_string();
    }
}

impl Drop for Audit {
    fn drop(&mut self) {
        let ExecNoted { service, instance, executor, program, by } = &self.noted;
        let (lasted, outcome) = (self.begun.elapsed(), &self.outcome);
        tracing::info!(%by, %service, %instance, %executor, %program, ?lasted, %outcome, "a user's command ended");
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::relay::Who;

    #[test]
    fn what_may_have_been_run_is_never_said_to_be_worth_another_try() {
        let who = || Who { executor: ExecutorId::new("e1").unwrap(), hostname: "host".to_owned() };
        let why = || "why".to_owned();
        let within = Duration::from_secs(1);
        for error in [
            RelayError::NoSession { who: who(), waited: within },
            RelayError::NoLeader { who: who(), waited: within },
            RelayError::NotDialled { who: who(), within, address: why() },
            RelayError::TooMany { limit: 1, what: "commands" },
            RelayError::Busy(why()),
            RelayError::Gone(who().executor),
        ] {
            assert!(matches!(not_run(&error), ApiError::Unavailable(_)), "{error}");
        }
        for error in [
            RelayError::Broken { who: who(), why: why() },
            RelayError::Misunderstood { who: who(), what: "x" },
        ] {
            assert!(matches!(not_run(&error), ApiError::Unconfirmed(_)), "{error}");
        }
        for error in
            [RelayError::NotFound(why()), RelayError::NoSuchCommand(why()), RelayError::Failed(why())]
        {
            assert!(matches!(not_run(&error), ApiError::Conflict(_)), "{error}");
        }
    }
}
