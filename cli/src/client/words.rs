//! Small things in words: spans of time, ports, how something ended. Pure.

use std::time::Duration;

use muster_common::evidence::Evidence;
use muster_common::instance::{InstanceInfo, InstanceState};
use muster_common::operation::OperationState;
use muster_common::reason::Reason;
use muster_common::service::ServiceState;
use muster_common::time::Timestamp;

use super::screen::{Screen, Tone};
use super::table::{Cell, real};

/// How long ago, in its largest unit.
pub(crate) fn age(then: Timestamp, screen: &Screen) -> String {
    span(screen.now.since(then))
}

/// The same as a cell, the youngest first.
pub(crate) fn age_cell(then: Timestamp, screen: &Screen) -> Cell {
    Cell::ranked(age(then, screen), screen.now.since(then).as_secs_f64())
}

/// A span in its largest unit.
pub(crate) fn span(duration: Duration) -> String {
    match duration.as_secs() {
        seconds @ 0..120 => format!("{seconds}s"),
        seconds @ 120..7_200 => format!("{}m", seconds / 60),
        seconds @ 7_200..172_800 => format!("{}h", seconds / 3_600),
        seconds => format!("{}d", seconds / 86_400),
    }
}

/// `main=node-1:5001`, as far as they are known.
pub(crate) fn ports(instance: &InstanceInfo) -> String {
    let Some(info) = &instance.local_info else { return String::new() };
    let ports: Vec<String> = info
        .ports
        .iter()
        .map(|(name, port)| format!("{name}={}:{}", info.hostname, port.host_port))
        .collect();
    ports.join(" ")
}

/// How a workload ended, in a few words.
pub(crate) fn ending(evidence: &Evidence) -> String {
    match (evidence.oom_killed, evidence.signal, evidence.exit_code) {
        (true, _, _) => "out of memory".to_owned(),
        (false, Some(signal), _) => format!("signal {signal}"),
        (false, None, Some(code)) => format!("exit {code}"),
        (false, None, None) => String::new(),
    }
}

/// A share of a whole: `3/8`, ordered by the share.
pub(crate) fn used(used: u64, free: u64) -> Cell {
    let all = used + free;
    let share = if all == 0 { 0.0 } else { real(used) / real(all) };
    Cell::ranked(format!("{used}/{all}"), share)
}

/// `1 instance`, `2 instances`.
pub(crate) fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

pub(crate) fn tone_of_instance(state: InstanceState) -> Tone {
    match state {
        InstanceState::Healthy => Tone::Good,
        InstanceState::Pending
        | InstanceState::Provisioning
        | InstanceState::Starting
        | InstanceState::Unready
        | InstanceState::Ready
        | InstanceState::Stopping
        | InstanceState::Deprovisioning => Tone::Busy,
        InstanceState::ProvisioningFailed
        | InstanceState::StartFailed
        | InstanceState::ReadinessCheckFailed
        | InstanceState::Unhealthy
        | InstanceState::Lost
        | InstanceState::Unknown => Tone::Bad,
        InstanceState::Stopped => Tone::Faint,
    }
}

/// How the message is taken that came with a reason: what somebody wanted is no trouble.
pub(crate) fn tone_of_error(reason: Option<Reason>) -> Tone {
    match reason {
        Some(Reason::Replaced | Reason::SlotRemoved | Reason::Draining | Reason::CopyingLog) => Tone::Faint,
        Some(_) | None => Tone::Bad,
    }
}

pub(crate) fn tone_of_service(state: ServiceState) -> Tone {
    match state {
        ServiceState::Active => Tone::Good,
        ServiceState::Inactive | ServiceState::Destroyed => Tone::Faint,
        ServiceState::EmergencyDeactivationRequested => Tone::Bad,
        ServiceState::Init
        | ServiceState::ActivationRequested
        | ServiceState::ConfigTestingRequested
        | ServiceState::DeactivationRequested
        | ServiceState::ConfigTesting
        | ServiceState::AdjustingInstances
        | ServiceState::DeployingTestInstance
        | ServiceState::ReplacingInstances
        | ServiceState::StoppingInstances
        | ServiceState::UpdatingInstancesCount
        | ServiceState::DestroyRequested => Tone::Busy,
    }
}

pub(crate) fn tone_of_operation(state: OperationState) -> Tone {
    match state {
        OperationState::Succeeded => Tone::Good,
        OperationState::Running | OperationState::Paused | OperationState::AwaitingPromotion => Tone::Busy,
        OperationState::RollingBack | OperationState::Failed => Tone::Bad,
        OperationState::Cancelled => Tone::Faint,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_written_in_their_largest_unit() {
        let of = |seconds| span(Duration::from_secs(seconds));
        assert_eq!([of(0), of(119), of(120), of(7_200), of(200_000)], ["0s", "119s", "2m", "2h", "2d"]);
    }

    #[test]
    fn only_what_nobody_wanted_is_trouble() {
        assert_eq!(tone_of_error(Some(Reason::Replaced)), Tone::Faint);
        assert_eq!(tone_of_error(Some(Reason::Exited)), Tone::Bad);
        assert_eq!(tone_of_error(None), Tone::Bad);
    }

    #[test]
    fn an_ending_names_the_strongest_cause() {
        let evidence =
            Evidence { exit_code: Some(137), signal: Some(9), oom_killed: true, ..Evidence::default() };
        assert_eq!(ending(&evidence), "out of memory");
        assert_eq!(ending(&Evidence { oom_killed: false, ..evidence.clone() }), "signal 9");
        assert_eq!(ending(&Evidence { exit_code: Some(3), ..Evidence::default() }), "exit 3");
    }
}
