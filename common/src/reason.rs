//! Why something happened, as codes that tools can match on.

wire_enum! {
    /// The reason of a transition, a waiting slot or an operation's outcome.
    pub enum Reason {
        /// No cores or memory are free on the node.
        InsufficientResources = "INSUFFICIENT_RESOURCES",
        /// A host port that the spec fixes is taken, or the port range is used up.
        PortInUse = "PORT_IN_USE",
        /// A host port may not be bound on the node, although nobody holds it: the executor lacks the right to.
        PortRefused = "PORT_REFUSED",
        /// The executable could not be fetched.
        ProvisioningFailed = "PROVISIONING_FAILED",
        /// The workload could not be created, configured or started.
        StartFailed = "START_FAILED",
        /// The readiness check used up its attempts or its grace.
        ReadinessCheckFailed = "READINESS_CHECK_FAILED",
        /// The health check used up its attempts.
        HealthCheckFailed = "HEALTH_CHECK_FAILED",
        /// The process ended by itself with an exit code.
        Exited = "EXITED",
        /// The process was ended by a signal that Muster did not send.
        Signaled = "SIGNALED",
        /// The kernel ended the process for want of memory.
        OomKilled = "OOM_KILLED",
        /// The slot was taken away: deactivation, scale-down, destroy or drain.
        SlotRemoved = "SLOT_REMOVED",
        /// The slot's epoch was raised: a newer instance takes over.
        Replaced = "REPLACED",
        /// The executor is being drained or shut down with its workloads.
        Draining = "DRAINING",
        /// A state's deadline passed.
        TimedOut = "TIMED_OUT",
        /// The executor restarted and asks the runner what still runs.
        ExecutorRestarted = "EXECUTOR_RESTARTED",
        /// The same workload was found running after a restart or a partition.
        FoundAgain = "FOUND_AGAIN",
        /// The runner knows nothing of the workload.
        NotFound = "NOT_FOUND",
        /// The machine booted since the instance was last seen.
        Rebooted = "REBOOTED",
        /// It ran although no record of it was left and its slot does not ask for it.
        Orphaned = "ORPHANED",
        /// No contact with the executor.
        ExecutorUnreachable = "EXECUTOR_UNREACHABLE",
        /// The executor was removed by a user.
        ExecutorRemoved = "EXECUTOR_REMOVED",
        /// The runner that the executable needs, or who is to give the executable or a file of it, does not answer.
        RunnerUnavailable = "RUNNER_UNAVAILABLE",
        /// The workload is over, and the rest of its log is still being copied.
        CopyingLog = "COPYING_LOG",
        /// A user cancelled it.
        Cancelled = "CANCELLED",
        /// The slot's crash-loop budget is spent.
        CrashLoop = "CRASH_LOOP",
    }
}
