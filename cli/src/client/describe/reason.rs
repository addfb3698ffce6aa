//! Codes of reasons as sentences.

use muster_common::reason::Reason;

/// Why something is as it is, as a sentence without its end.
pub(super) const fn because(reason: Reason) -> &'static str {
    match reason {
        Reason::InsufficientResources => "No cores or memory are free for it on its node",
        Reason::PortInUse => "A host port that it needs is taken on its node",
        Reason::PortRefused => "Its executor may not bind a host port that it needs",
        Reason::ProvisioningFailed => "What it runs could not be fetched",
        Reason::StartFailed => "It could not be created, configured or started",
        Reason::ReadinessCheckFailed => "It never became ready: its readiness check failed too often",
        Reason::HealthCheckFailed => "It failed its health check too often",
        Reason::Exited => "Its process ended by itself",
        Reason::Signaled => "Its process was ended by a signal that Muster did not send",
        Reason::OomKilled => "The kernel ended its process because it used more memory than it was given",
        Reason::SlotRemoved => {
            "It is not wanted here any more: deactivated, scaled down, destroyed or drained"
        }
        Reason::Replaced => "A newer instance took its place",
        Reason::Draining => "Its executor was drained or shut down",
        Reason::TimedOut => "It stayed in one state for longer than that may last",
        Reason::ExecutorRestarted => "Its executor restarted and finds out whether it still runs",
        Reason::FoundAgain => "It was found running after its executor was away",
        Reason::NotFound => "Its runner knows nothing of it any more",
        Reason::Rebooted => "Its machine booted since it was last seen",
        Reason::Orphaned => "It ran although nothing asked for it",
        Reason::ExecutorUnreachable => "Its executor is not heard, so nobody knows how it is",
        Reason::ExecutorRemoved => "Its executor was removed from the cluster",
        Reason::RunnerUnavailable => "Its runner, or a server that it is fetched from, does not answer",
        Reason::CopyingLog => "It is over; the rest of its log is still being copied",
        Reason::Cancelled => "Somebody cancelled it",
        Reason::CrashLoop => "It ended too often in too short a time, and is not tried any more",
    }
}
