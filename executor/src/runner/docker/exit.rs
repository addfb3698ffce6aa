//! How a container ended, as the engine's state of it says. Pure.

use bollard::models::{ContainerState, ContainerStateStatusEnum};
use muster_common::time::Timestamp;
use rustix::process::Signal;

use super::stamp;
use crate::runner::Exit;

/// How a container ended.
///
/// The engine keeps one number: the exit code, or 128 + the signal. A program that itself exits with
/// such a number (a JVM exits with 143 after SIGTERM) means the same, so 129..=159 is read as a signal.
/// It also keeps whether the kernel ended any process of the container for want of memory: that was the container's
/// own end only where SIGKILL was.
pub(super) fn exit_of(state: &ContainerState) -> Exit {
    use ContainerStateStatusEnum::{DEAD, REMOVING};
    let code = state.exit_code.and_then(|code| i32::try_from(code).ok());
    let (code, signal) = match code {
        Some(code @ 129..=159) => (None, Some(code - 128)),
        code => (code, None),
    };
    Exit {
        code,
        signal,
        oom_killed: state.oom_killed == Some(true) && signal == Some(Signal::KILL.as_raw()),
        // It is being taken away, or that did not quite work.
        removed: matches!(state.status, Some(REMOVING | DEAD)),
        // A container that has not ended did so in the year 1.
        at: state.finished_at.as_deref().and_then(stamp::nanos).map(timestamp),
    }
}

/// As the engine counts, in nanoseconds since 1970.
pub(super) fn timestamp(nanos: u64) -> Timestamp {
    Timestamp(nanos / 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_of_the_engine_is_a_code_or_a_signal() {
        let exit = |code| exit_of(&ContainerState { exit_code: Some(code), ..ContainerState::default() });
        assert_eq!(exit(0), Exit { code: Some(0), ..Exit::default() });
        assert_eq!(exit(128), Exit { code: Some(128), ..Exit::default() });
        assert_eq!(exit(137), Exit { signal: Some(9), ..Exit::default() });
        let status = Some(ContainerStateStatusEnum::REMOVING);
        assert!(exit_of(&ContainerState { status, ..ContainerState::default() }).removed);
        assert_eq!(exit(143), Exit { signal: Some(15), ..Exit::default() });
        assert_eq!(exit(255), Exit { code: Some(255), ..Exit::default() });
        let oom =
            ContainerState { exit_code: Some(137), oom_killed: Some(true), ..ContainerState::default() };
        assert_eq!(exit_of(&oom), Exit { code: None, signal: Some(9), oom_killed: true, ..Exit::default() });
        // Another process of the container was ended; its first one went on and exited by itself.
        let other =
            ContainerState { exit_code: Some(1), oom_killed: Some(true), ..ContainerState::default() };
        assert_eq!(exit_of(&other), exit(1));
    }

    #[test]
    fn the_time_of_an_end_is_the_engines() {
        let at = |words: &str| {
            let finished_at = Some(words.to_owned());
            exit_of(&ContainerState { finished_at, ..ContainerState::default() }).at
        };
        assert_eq!(at("2024-07-02T03:52:34.194999999Z"), Some(Timestamp(1_719_892_354_194)));
        for nothing in ["0001-01-01T00:00:00Z", "", "yesterday"] {
            assert_eq!(at(nothing), None, "{nothing}");
        }
    }
}
