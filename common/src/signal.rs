//! Signals by name, as people write them. The numbers are Linux's, where they are the same on all machines that it is
//! built for (signal(7)).

const NAMES: [(&str, i32); 30] = [
    ("SIGHUP", 1),
    ("SIGINT", 2),
    ("SIGQUIT", 3),
    ("SIGILL", 4),
    ("SIGTRAP", 5),
    ("SIGABRT", 6),
    ("SIGBUS", 7),
    ("SIGFPE", 8),
    ("SIGKILL", 9),
    ("SIGUSR1", 10),
    ("SIGSEGV", 11),
    ("SIGUSR2", 12),
    ("SIGPIPE", 13),
    ("SIGALRM", 14),
    ("SIGTERM", 15),
    ("SIGCHLD", 17),
    ("SIGCONT", 18),
    ("SIGSTOP", 19),
    ("SIGTSTP", 20),
    ("SIGTTIN", 21),
    ("SIGTTOU", 22),
    ("SIGURG", 23),
    ("SIGXCPU", 24),
    ("SIGXFSZ", 25),
    ("SIGVTALRM", 26),
    ("SIGPROF", 27),
    ("SIGWINCH", 28),
    ("SIGIO", 29),
    ("SIGPWR", 30),
    ("SIGSYS", 31),
];

/// What a signal is called; one without a name by its number.
#[must_use]
pub fn name(number: i32) -> String {
    let known = NAMES.iter().find(|(_, known)| *known == number);
    known.map_or_else(|| format!("signal {number}"), |(name, _)| (*name).to_owned())
}

/// Which signal is called so, with or without `SIG`.
#[must_use]
pub fn number(name: &str) -> Option<i32> {
    let bare = |name: &str| name.strip_prefix("SIG").unwrap_or(name).to_owned();
    let wanted = bare(&name.to_ascii_uppercase());
    NAMES.iter().find(|(known, _)| bare(known) == wanted).map(|(_, number)| *number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_signal_is_found_by_its_name_and_named_by_its_number() {
        for (known, signal) in NAMES {
            assert_eq!((name(signal).as_str(), number(known)), (known, Some(signal)));
        }
        assert_eq!(
            (number("int"), number("SIGINT"), number("SIGNONE"), number("")),
            (Some(2), Some(2), None, None)
        );
        assert_eq!(name(40), "signal 40");
    }
}
