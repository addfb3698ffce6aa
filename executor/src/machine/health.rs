//! The checks: readiness while UNREADY, health while READY and HEALTHY.
//!
//! *Coming up*, checks start at once (after the check's initial delay) and close together: 10 ms apart,
//! doubling up to the check's interval, so that a service is known to be up when it is, not a period
//! later. Only those that are an interval apart count as attempts. The check is given up when its
//! `attempts` have failed **and** the grace for the start-up is over, whichever comes later: a slow
//! start is tolerated for the grace, and a spec that grants more attempts gets all of them.
//!
//! A check that could not be asked, because the engine was away, counts neither way: a healthy workload goes on,
//! and one that comes up says so and has its time anew, since however long that lasts it is no fault of its own.
//!
//! *HEALTHY*, every check counts, grace or not, and one that passes starts the count anew. They come at moments of the
//! instance's own, an interval apart, which its id decides: the checks of a node are spread in time, and are so again
//! after whatever held all of them up.

use std::time::Duration;

use muster_common::evidence::{MAX_PROBE_ANSWER_BYTES, MAX_PROBE_RECORDS, ProbeKind, ProbeRecord, head};
use muster_common::id::InstanceId;
use muster_common::instance::InstanceState;
use muster_common::reason::Reason;
use muster_common::spec::CheckSpec;

use super::event::Effect;
use super::instance::{Instance, ProbePace};
use super::patience;
use super::turn::Turn;
use crate::probe::ProbeOutcome;

impl Instance {
    /// The check that its state asks for.
    pub(super) fn check(&self) -> Option<(ProbeKind, &CheckSpec)> {
        match self.state() {
            InstanceState::Unready => self.spec.readiness.as_ref().map(|check| (ProbeKind::Readiness, check)),
            InstanceState::Ready | InstanceState::Healthy => {
                self.spec.healthcheck.as_ref().map(|check| (ProbeKind::Health, check))
            }
            _ => None,
        }
    }

    /// When the next check is due, or the one in flight is given up for lost.
    pub(super) fn probe_wake(&self) -> Option<Duration> {
        let (_, check) = self.check()?;
        match self.pace.probe.asked {
            Some(asked) => Some(asked.saturating_add(patience::answer(check))),
            None => self.pace.probe.due,
        }
    }
}

impl Turn {
    /// Enters UNREADY's wait. A spec without a readiness check is ready at once.
    pub(super) fn await_readiness(&mut self) {
        if !self.await_check() {
            self.become_ready();
        }
    }

    fn become_ready(&mut self) {
        self.enter(InstanceState::Ready, None, "");
        self.await_health();
    }

    /// Enters READY's wait. A spec without a health check is healthy at once.
    pub(super) fn await_health(&mut self) {
        if !self.await_check() {
            self.become_healthy();
        }
    }

    fn become_healthy(&mut self) {
        self.enter(InstanceState::Healthy, None, "");
        self.keep_checking();
    }

    /// Starts the rhythm of coming up; `false` when there is nothing to ask.
    fn await_check(&mut self) -> bool {
        let Some((_, check)) = self.instance.check() else { return false };
        let first = self.now.mono.saturating_add(check.initial_delay.as_duration());
        let limit = patience::coming_up(&self.instance.spec, check);
        self.instance.pace.probe =
            ProbePace { due: Some(first), gap: patience::FIRST_GAP, ..ProbePace::default() };
        self.wait(limit);
        self.probe_if_due();
        true
    }

    /// Starts the rhythm of HEALTHY.
    pub(super) fn keep_checking(&mut self) {
        let Some((_, check)) = self.instance.check() else { return };
        let due = own_moment_after(self.now.mono, self.instance.id(), patience::interval(check));
        self.instance.pace.probe = ProbePace { due: Some(due), ..ProbePace::default() };
    }

    pub(super) fn probe_if_due(&mut self) {
        let Some((kind, check)) = self.instance.check() else { return };
        let lost_after = patience::answer(check);
        let probe = &mut self.instance.pace.probe;
        match (probe.asked, probe.due) {
            (Some(asked), _) if asked.saturating_add(lost_after) <= self.now.mono => {
                let answer = "the check gave no answer within its timeout".to_owned();
                self.probed(
                    kind,
                    &ProbeOutcome { passed: false, asked: true, latency: lost_after, code: None, answer },
                );
            }
            (None, Some(due)) if due <= self.now.mono => {
                probe.asked = Some(self.now.mono);
                probe.due = None;
                self.effects.push(Effect::Probe { kind });
            }
            _ => {}
        }
    }

    pub(super) fn probed(&mut self, kind: ProbeKind, outcome: &ProbeOutcome) {
        let Some((expected, check)) = self.instance.check() else { return };
        let check = check.clone();
        let Some(asked) = self.instance.pace.probe.asked.take() else { return };
        if kind != expected {
            // An answer of the state before; the question of this one is still open.
            self.instance.pace.probe.asked = Some(asked);
            return;
        }
        let passed = outcome.passed;
        self.remember(kind, outcome);
        if !outcome.asked {
            // Whoever should have asked was away: no attempt, and nothing that was learnt of the workload.
            if self.instance.state() != InstanceState::Healthy {
                self.complain(Reason::RunnerUnavailable, &outcome.answer);
                self.wait(patience::coming_up(&self.instance.spec, &check));
            }
            self.next_probe(asked, patience::interval(&check));
            return;
        }
        self.settle_trouble();
        match (self.instance.state(), passed) {
            (InstanceState::Unready, true) => self.become_ready(),
            (InstanceState::Ready, true) => self.become_healthy(),
            (InstanceState::Healthy, true) => {
                self.instance.pace.probe.failures = 0;
                self.next_probe(asked, patience::interval(&check));
            }
            (_, _) => self.check_failed(&check, asked, &outcome.answer),
        }
    }

    /// A check that was in flight while this program stood still may be late through no fault of the workload: whatever
    /// its answer is, it is not waited for, and the next one comes in its turn.
    pub(super) fn drop_question(&mut self) {
        let Some((_, check)) = self.instance.check() else { return };
        let interval = patience::interval(check);
        if let Some(asked) = self.instance.pace.probe.asked.take() {
            self.next_probe(asked, interval);
        }
    }

    fn check_failed(&mut self, check: &CheckSpec, asked: Duration, answer: &str) {
        let interval = patience::interval(check);
        let every_one_counts = self.instance.state() == InstanceState::Healthy;
        let probe = &mut self.instance.pace.probe;
        if every_one_counts || probe.counted.is_none_or(|counted| counted.saturating_add(interval) <= asked) {
            probe.counted = Some(asked);
            probe.failures += 1;
        }
        let used_up = probe.failures >= check.attempts;
        let failures = probe.failures;
        let patient =
            self.now.mono < self.instance.pace.launched.saturating_add(self.instance.spec.start_grace());
        let words = |noun: &str| format!("{noun} check failed {failures} times in a row: {answer}");
        match self.instance.state() {
            InstanceState::Unready if used_up && !patient => {
                let reason = Some(Reason::ReadinessCheckFailed);
                self.enter(InstanceState::ReadinessCheckFailed, reason, &words("readiness"));
                self.begin_stop();
            }
            InstanceState::Ready if used_up && !patient => {
                self.enter(InstanceState::Stopping, Some(Reason::HealthCheckFailed), &words("health"));
                self.begin_stop();
            }
            InstanceState::Healthy if used_up => {
                self.enter(InstanceState::Unhealthy, Some(Reason::HealthCheckFailed), &words("health"));
                self.begin_stop();
            }
            InstanceState::Healthy => self.next_probe(asked, interval),
            _ => {
                let gap = self.instance.pace.probe.gap.min(interval);
                self.instance.pace.probe.gap = gap.saturating_mul(2).min(interval);
                self.next_probe(asked, gap);
            }
        }
    }

    /// The next check comes `gap` after the last one, or at once if it is late; in HEALTHY at the next moment of the
    /// instance's own, but not soon after one that was late.
    fn next_probe(&mut self, asked: Duration, gap: Duration) {
        let due = if self.instance.state() == InstanceState::Healthy {
            let earliest = asked.saturating_add(gap / 2).max(self.now.mono);
            own_moment_after(earliest, self.instance.id(), gap)
        } else {
            asked.saturating_add(gap).max(self.now.mono)
        };
        self.instance.pace.probe.due = Some(due);
    }

    fn remember(&mut self, kind: ProbeKind, outcome: &ProbeOutcome) {
        let answer = head(&outcome.answer, MAX_PROBE_ANSWER_BYTES).to_owned();
        let latency_ms = u64::try_from(outcome.latency.as_millis()).unwrap_or(u64::MAX);
        let result = ProbeRecord {
            at: self.now.wall,
            kind,
            passed: outcome.passed,
            latency_ms,
            code: outcome.code,
            answer,
        };
        let recent = &mut self.instance.pace.recent;
        // A passing check is news only when the one before failed, and the other way round: what users
        // are shown stays true, and a steady service costs no report.
        let same = |last: &ProbeRecord| {
            last.kind == kind && last.passed == result.passed && last.code == result.code
        };
        let is_news = !recent.last().is_some_and(same);
        self.noteworthy |=
            is_news && (!result.passed || self.instance.record.state == InstanceState::Healthy);
        if recent.len() >= MAX_PROBE_RECORDS {
            recent.remove(0);
        }
        recent.push(result);
    }
}

/// The first of an instance's own moments after `at`. They are an `interval` apart, and where in it they lie its id
/// decides (FNV-1a).
fn own_moment_after(at: Duration, id: &InstanceId, interval: Duration) -> Duration {
    let hash = id.as_str().bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let interval = interval.as_nanos();
    let since_last = (at.as_nanos() + interval - u128::from(hash) % interval) % interval;
    at.saturating_add(Duration::from_nanos(u64::try_from(interval - since_last).unwrap_or(u64::MAX)))
}
