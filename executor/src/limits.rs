//! Limits that depend on each other: whoever waits for an answer must wait longer than the one who gives it may take. Then
//! even "nobody answers" arrives as an answer, which says what is wrong and blames no workload. Only what is not answered at
//! all is given up.
//!
//! | waits | for | which may take |
//! |---|---|---|
//! | [`FIND`], [`LISTING`] | what a runner knows | a few calls |
//! | [`PULL_SLACK`] and [`PULL_TURN`], beside the pull itself | the image | a call, and its turn |
//! | [`START`] | the start | [`FILES`], creating, starting |
//! | [`STOP_SLACK`], beside the grace | the stop | [`STOP_MARGIN`], and a look at how it ended |
//! | [`EVIDENCE`] | the end of a log | [`LOG_COLLECT`], then [`LOG_TAIL`] |
//! | [`COPY`] | the rest of a log | [`LOG_COPY`] |
//! | [`REMOVE`] | the removal | [`LOG_COMPLETE`], a look, the removal itself |
//! | [`PROBE_SLACK`], beside a check's timeout | its answer | [`PROBE_CUT`], which outlasts [`PROBE_VERDICT`] |

use std::time::Duration;

/// How long an ordinary call to an engine may take. Creating a container took 2.4 s while an engine started fifty
/// others on two cores.
pub const CALL_LIMIT: Duration = Duration::from_secs(30);

/// For the runner to say what there is of an instance: it looks, or searches and looks.
pub(crate) const FIND: Duration = Duration::from_secs(95);
/// For a runner to say everything that it knows. Slots may be waiting for it.
pub(crate) const LISTING: Duration = Duration::from_secs(35);

/// How long a pull may wait for its turn behind those of others. What waits is told to come again then: as much as may be
/// ahead of it, it should not look as if it were being fetched.
pub(crate) const PULL_TURN: Duration = Duration::from_secs(10 * 60);
/// What the runner may take beyond the pull's own timeout: it first asks whether the image is there, which an engine
/// that hangs answers with silence, and it knows how far the pull came, and says so.
pub(crate) const PULL_SLACK: Duration = Duration::from_secs(35);

/// For creating, configuring and starting. A busy engine takes seconds; configs that are fetched by HTTP have their own
/// shorter limits.
pub(crate) const START: Duration = Duration::from_secs(120);

/// How long the files of one start may take together, whatever the calls allow: so that the start ends with the reason, and
/// an engine that hangs after them is known as such.
pub(crate) const FILES: Duration = Duration::from_secs(75);

/// How much longer than the grace the engine may take for a stop: its kill and clean-up.
pub(crate) const STOP_MARGIN: Duration = Duration::from_secs(30);
/// What the runner may take beyond the grace. Whoever could not be told yet has its whole grace once it can, so it is
/// not killed for the silence of an engine that hangs.
pub(crate) const STOP_SLACK: Duration = Duration::from_secs(65);

/// How long a log may take to be copied before its end is asked for alone, waiting for others included.
pub(crate) const LOG_COLLECT: Duration = Duration::from_secs(6);
/// How long the engine may take for the end of a log alone. Short, so that one that hangs is known as such: it is asked
/// again when it is back.
pub(crate) const LOG_TAIL: Duration = Duration::from_secs(3);
/// For reading the end of a log.
pub(crate) const EVIDENCE: Duration = Duration::from_secs(10);
/// How long the rest of a log may take that is copied for as long as that gets on: some tens of gigabytes. Waiting for
/// others does not count.
pub(crate) const LOG_COPY: Duration = Duration::from_secs(15 * 60);
/// For copying what is left of a log, waiting for others included. The copier gives up long before when it does not get
/// on; this only bounds one that gets on and finds no end.
pub(crate) const COPY: Duration = Duration::from_secs(30 * 60);
/// How long what is left of it then may take before the container is removed all the same. Waiting for others does not
/// count.
pub(crate) const LOG_COMPLETE: Duration = Duration::from_secs(45);
/// For taking away what is left.
pub(crate) const REMOVE: Duration = Duration::from_secs(120);

/// How long the engine may take to say whether a command that is late still runs.
pub(crate) const PROBE_VERDICT: Duration = Duration::from_secs(3);
/// How far beyond its timeout a check may go before its asker is cut off: a runner may have to find out whether it
/// was the command that took too long, or its engine.
pub(crate) const PROBE_CUT: Duration = Duration::from_secs(4);
/// What an answer to a check or hook may take beyond its own timeout before it is given up for lost.
pub(crate) const PROBE_SLACK: Duration = Duration::from_secs(5);

const fn outlasts(wait: Duration, answer: Duration) -> bool {
    wait.as_millis() > answer.as_millis()
}

const fn calls(count: u32) -> Duration {
    CALL_LIMIT.saturating_mul(count)
}

const _: () = assert!(outlasts(FIND, calls(3)));
const _: () = assert!(outlasts(LISTING, calls(1)));
const _: () = assert!(outlasts(PULL_SLACK, calls(1)));
const _: () = assert!(outlasts(START, calls(3)) && outlasts(START, FILES.saturating_add(calls(1))));
const _: () = assert!(outlasts(STOP_SLACK, STOP_MARGIN.saturating_add(calls(1))));
const _: () = assert!(outlasts(EVIDENCE, LOG_COLLECT.saturating_add(LOG_TAIL)));
const _: () = assert!(outlasts(COPY, LOG_COPY));
const _: () = assert!(outlasts(REMOVE, LOG_COMPLETE.saturating_add(calls(2))));
const _: () = assert!(outlasts(PROBE_CUT, PROBE_VERDICT) && outlasts(PROBE_SLACK, PROBE_CUT));
