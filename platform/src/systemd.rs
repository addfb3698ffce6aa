//! What the service manager is told: `sd_notify(3)`, spoken by hand. It is one datagram to the socket that
//! systemd names in the environment; a library would bring more than it saves.
//!
//! The variables stay in the environment: workloads and shims are given one of their own.

use std::fmt;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use muster_common::evidence::head;

/// The longest status that is sent; `systemctl status` shows one line.
const MAX_STATUS_BYTES: usize = 256;

/// One thing to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// The role is up.
    Ready,
    /// The role has begun to end.
    Stopping,
    /// The role is alive; the manager restarts it when this stays away.
    Watchdog,
    /// What a person sees in `systemctl status`.
    Status(String),
    /// The start or stop that is under way may take so long from now on.
    ExtendTimeout(Duration),
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ready => f.write_str("READY=1"),
            Self::Stopping => f.write_str("STOPPING=1"),
            Self::Watchdog => f.write_str("WATCHDOG=1"),
            Self::Status(status) => {
                // A line break would begin another notice.
                let line: String = status.chars().filter(|letter| !letter.is_control()).collect();
                write!(f, "STATUS={}", head(&line, MAX_STATUS_BYTES))
            }
            Self::ExtendTimeout(time) => write!(f, "EXTEND_TIMEOUT_USEC={}", time.as_micros()),
        }
    }
}

/// The way to the service manager.
#[derive(Debug)]
pub struct Notifier {
    socket: UnixDatagram,
    manager: SocketAddr,
}

impl Notifier {
    /// The manager that started this process and wants to be told; none where nobody does.
    #[must_use]
    pub fn from_env() -> Option<Self> {
        let name = std::env::var("NOTIFY_SOCKET").ok().filter(|name| !name.is_empty())?;
        Self::at(&name)
            .inspect_err(|error| {
                tracing::warn!(socket = %name, %error, "the service manager cannot be told how this role is");
            })
            .ok()
    }

    /// A socket by its path, or by its abstract name after an `@`.
    pub fn at(name: &str) -> io::Result<Self> {
        let manager = match name.strip_prefix('@') {
            Some(hidden) => SocketAddr::from_abstract_name(hidden)?,
            None if name.starts_with('/') => SocketAddr::from_pathname(name)?,
            None => return Err(io::Error::new(io::ErrorKind::InvalidInput, "neither a path nor '@name'")),
        };
        let socket = UnixDatagram::unbound()?;
        // A manager that does not read must not hold up the role.
        socket.set_nonblocking(true)?;
        Ok(Self { socket, manager })
    }

    /// Tells all of `notices` at once. A notice that cannot be sent is lost, as the manager wants it.
    pub fn tell(&self, notices: &[Notice]) {
        let lines: Vec<String> = notices.iter().map(ToString::to_string).collect();
        if let Err(error) = self.socket.send_to_addr(lines.join("\n").as_bytes(), &self.manager) {
            tracing::debug!(%error, "the service manager was not told");
        }
    }
}

/// How often at least the manager wants to hear [`Notice::Watchdog`] of this process; `None` when it does not.
#[must_use]
pub fn watchdog_limit() -> Option<Duration> {
    let variable = |name| std::env::var(name).ok();
    watchdog_of(variable("WATCHDOG_USEC").as_deref(), variable("WATCHDOG_PID").as_deref(), std::process::id())
}

fn watchdog_of(micros: Option<&str>, pid: Option<&str>, own_pid: u32) -> Option<Duration> {
    let micros = micros?.parse::<u64>().ok().filter(|&micros| micros > 0)?;
    // Inherited from somebody who was meant.
    let is_meant = pid.is_none_or(|pid| pid.parse() == Ok(own_pid));
    is_meant.then(|| Duration::from_micros(micros))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(manager: &UnixDatagram) -> String {
        let mut message = [0; 4096];
        manager.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let count = manager.recv(&mut message).unwrap();
        String::from_utf8(message[..count].to_vec()).unwrap()
    }

    #[test]
    fn a_socket_by_its_path_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        let notifier = Notifier::at(path.to_str().unwrap()).unwrap();
        notifier.tell(&[Notice::Ready, Notice::Status("all\nis well".to_owned())]);
        assert_eq!(heard(&manager), "READY=1\nSTATUS=allis well");
        // A manager that is gone is nobody's trouble.
        drop(manager);
        notifier.tell(&[Notice::Watchdog]);
    }

    #[test]
    fn a_socket_by_its_abstract_name_is_told() {
        let name = format!("muster-test-{}", uuid::Uuid::new_v4());
        let manager = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        let notifier = Notifier::at(&format!("@{name}")).unwrap();
        notifier.tell(&[Notice::Stopping, Notice::ExtendTimeout(Duration::from_millis(1500))]);
        assert_eq!(heard(&manager), "STOPPING=1\nEXTEND_TIMEOUT_USEC=1500000");
        assert!(Notifier::at("relative").is_err());
    }

    #[test]
    fn a_long_status_is_cut_between_letters() {
        let text = Notice::Status("ü".repeat(MAX_STATUS_BYTES)).to_string();
        assert_eq!(text.len(), "STATUS=".len() + MAX_STATUS_BYTES);
    }

    #[test]
    fn the_watchdog_is_for_the_process_that_is_named() {
        let second = Some(Duration::from_secs(1));
        assert_eq!(watchdog_of(Some("1000000"), None, 7), second);
        assert_eq!(watchdog_of(Some("1000000"), Some("7"), 7), second);
        assert_eq!(watchdog_of(Some("1000000"), Some("8"), 7), None);
        assert_eq!(watchdog_of(Some("0"), None, 7), None);
        assert_eq!(watchdog_of(Some("soon"), None, 7), None);
        assert_eq!(watchdog_of(None, None, 7), None);
    }
}
