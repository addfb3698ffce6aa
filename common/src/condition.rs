//! An instance's way at a glance: what of it holds now, since when and why. Everything here is derived from the
//! instance's state and timeline; nothing of it is stored.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::evidence::Transition;
use crate::instance::InstanceState;
use crate::reason::Reason;
use crate::time::Timestamp;

wire_enum! {
    /// The fifteen states in the few words that other systems use.
    pub enum Phase {
        /// Waits for room, or for its executable.
        Pending = "PENDING",
        /// Comes up.
        Starting = "STARTING",
        /// Is healthy.
        Running = "RUNNING",
        /// Runs, and fails its health check.
        Unhealthy = "UNHEALTHY",
        /// Goes down.
        Stopping = "STOPPING",
        /// Ended after it had come up.
        Stopped = "STOPPED",
        /// Never came up, or is lost.
        Failed = "FAILED",
        /// Cannot be seen.
        Unknown = "UNKNOWN",
    }
}

impl Phase {
    /// The phase of an instance that is in `state`, and came there by `timeline`.
    #[must_use]
    pub fn of(state: InstanceState, timeline: &[Transition]) -> Self {
        match state {
            InstanceState::Pending | InstanceState::Provisioning => Self::Pending,
            InstanceState::Starting | InstanceState::Unready | InstanceState::Ready => Self::Starting,
            InstanceState::Healthy => Self::Running,
            InstanceState::Unhealthy => Self::Unhealthy,
            InstanceState::Stopping | InstanceState::Deprovisioning => Self::Stopping,
            InstanceState::ProvisioningFailed
            | InstanceState::StartFailed
            | InstanceState::ReadinessCheckFailed
            | InstanceState::Lost => Self::Failed,
            InstanceState::Stopped if timeline.iter().any(|step| is_failure(step.to)) => Self::Failed,
            InstanceState::Stopped => Self::Stopped,
            InstanceState::Unknown => Self::Unknown,
        }
    }
}

const fn is_failure(state: InstanceState) -> bool {
    matches!(
        state,
        InstanceState::ProvisioningFailed | InstanceState::StartFailed | InstanceState::ReadinessCheckFailed
    )
}

wire_enum! {
    /// What may hold of an instance.
    pub enum ConditionType {
        /// Its executable is there.
        Provisioned = "PROVISIONED",
        /// Its workload was started.
        Started = "STARTED",
        /// It passed its readiness check, and still runs.
        Ready = "READY",
        /// It passes its health check.
        Healthy = "HEALTHY",
    }
}

wire_enum! {
    /// Whether it holds.
    pub enum ConditionStatus {
        /// It does.
        True = "TRUE",
        /// It does not, or not yet.
        False = "FALSE",
        /// Nobody can tell.
        Unknown = "UNKNOWN",
    }
}

/// What holds of an instance, or does not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// What.
    #[serde(rename = "type")]
    pub kind: ConditionType,
    /// Whether.
    pub status: ConditionStatus,
    /// Why, as a code; absent on the ordinary way.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<Reason>,
    /// Why, in words; empty when the code says it all.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub message: String,
    /// Since when.
    pub last_transition: Timestamp,
}

impl Condition {
    fn become_so(&mut self, status: ConditionStatus, step: &Transition) {
        if self.status != status {
            self.last_transition = step.latest();
        }
        self.status = status;
        self.reason = step.reason;
        self.message.clone_from(&step.message);
    }
}

/// All conditions of an instance that was `created` then and came to where it is by `timeline`. What never was is
/// FALSE since the beginning.
#[must_use]
pub fn conditions(created: Timestamp, timeline: &[Transition]) -> Vec<Condition> {
    let not_yet = |kind: &ConditionType| Condition {
        kind: *kind,
        status: ConditionStatus::False,
        reason: None,
        message: String::new(),
        last_transition: created,
    };
    let mut conditions: Vec<Condition> = ConditionType::ALL.iter().map(not_yet).collect();
    for step in timeline {
        for condition in &mut conditions {
            if let Some(status) = effect(step.to, condition.kind) {
                condition.become_so(status, step);
            }
        }
    }
    conditions
}

/// What entering a state does to a condition, if anything.
const fn effect(entered: InstanceState, kind: ConditionType) -> Option<ConditionStatus> {
    use ConditionStatus::{False, True, Unknown};
    use ConditionType::{Healthy, Provisioned, Ready, Started};
    match entered {
        InstanceState::Pending | InstanceState::Provisioning => None,
        InstanceState::ProvisioningFailed => match kind {
            Provisioned => Some(False),
            Started | Ready | Healthy => None,
        },
        InstanceState::Starting => match kind {
            Provisioned => Some(True),
            Started | Ready | Healthy => None,
        },
        InstanceState::StartFailed => match kind {
            Started => Some(False),
            Provisioned | Ready | Healthy => None,
        },
        InstanceState::Unready => match kind {
            Provisioned | Started => Some(True),
            Ready | Healthy => Some(False),
        },
        InstanceState::ReadinessCheckFailed => match kind {
            Ready => Some(False),
            Provisioned | Started | Healthy => None,
        },
        InstanceState::Ready => match kind {
            Ready => Some(True),
            Healthy => Some(False),
            Provisioned | Started => None,
        },
        InstanceState::Healthy => match kind {
            Ready | Healthy => Some(True),
            Provisioned | Started => None,
        },
        InstanceState::Unhealthy => match kind {
            Healthy => Some(False),
            Provisioned | Started | Ready => None,
        },
        InstanceState::Stopping
        | InstanceState::Deprovisioning
        | InstanceState::Stopped
        | InstanceState::Lost => match kind {
            Ready | Healthy => Some(False),
            Provisioned | Started => None,
        },
        InstanceState::Unknown => match kind {
            Ready | Healthy => Some(Unknown),
            Provisioned | Started => None,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A timeline through these states, one ms apart.
    fn way(states: &[InstanceState]) -> Vec<Transition> {
        let mut from = InstanceState::Pending;
        let mut at = 0;
        let step = |to: &InstanceState| {
            at += 1;
            let step = Transition {
                at: Timestamp(at),
                from,
                to: *to,
                reason: None,
                message: String::new(),
                repeats: None,
            };
            from = *to;
            step
        };
        states.iter().map(step).collect()
    }

    /// Status and time of each condition.
    fn told(timeline: &[Transition]) -> Vec<(ConditionStatus, u64)> {
        let conditions = conditions(Timestamp(0), timeline);
        conditions.iter().map(|condition| (condition.status, condition.last_transition.0)).collect()
    }

    #[test]
    fn conditions_follow_the_way_up_and_down() {
        use ConditionStatus::{False, True, Unknown};
        use InstanceState as S;
        let up = [S::Provisioning, S::Starting, S::Unready, S::Ready, S::Healthy];
        let on = |more: &[InstanceState]| [&up[..], more].concat();
        let table = [
            (vec![], [(False, 0), (False, 0), (False, 0), (False, 0)]),
            (vec![S::Provisioning, S::ProvisioningFailed], [(False, 0), (False, 0), (False, 0), (False, 0)]),
            (up.to_vec(), [(True, 2), (True, 3), (True, 4), (True, 5)]),
            (on(&[S::Unhealthy]), [(True, 2), (True, 3), (True, 4), (False, 6)]),
            (on(&[S::Stopping, S::Deprovisioning]), [(True, 2), (True, 3), (False, 6), (False, 6)]),
            (on(&[S::Unknown]), [(True, 2), (True, 3), (Unknown, 6), (Unknown, 6)]),
            (on(&[S::Unknown, S::Healthy]), [(True, 2), (True, 3), (True, 7), (True, 7)]),
        ];
        for (states, expected) in table {
            assert_eq!(told(&way(&states)), expected, "{states:?}");
        }
    }

    #[test]
    fn a_condition_says_why_it_does_not_hold() {
        let mut timeline = way(&[InstanceState::Provisioning, InstanceState::ProvisioningFailed]);
        timeline[1].reason = Some(Reason::ProvisioningFailed);
        timeline[1].message = "no such image".to_owned();
        let provisioned = &conditions(Timestamp(0), &timeline)[0];
        assert_eq!(provisioned.reason, Some(Reason::ProvisioningFailed));
        assert_eq!(provisioned.message, "no such image");
    }

    #[test]
    fn what_never_came_up_has_failed_and_what_did_has_stopped() {
        use InstanceState as S;
        let failed = way(&[S::Starting, S::StartFailed, S::Deprovisioning, S::Stopped]);
        let stopped = way(&[S::Starting, S::Unready, S::Stopping, S::Deprovisioning, S::Stopped]);
        for (state, timeline, phase) in [
            (S::Pending, &[][..], Phase::Pending),
            (S::Ready, &[], Phase::Starting),
            (S::Healthy, &[], Phase::Running),
            (S::Deprovisioning, &failed, Phase::Stopping),
            (S::Stopped, &failed, Phase::Failed),
            (S::Stopped, &stopped, Phase::Stopped),
            (S::Lost, &stopped, Phase::Failed),
            (S::Unknown, &stopped, Phase::Unknown),
        ] {
            assert_eq!(Phase::of(state, timeline), phase, "{state}");
        }
    }
}
