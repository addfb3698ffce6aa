//! One machine of a [`Network`](super::Network): what runs there, and how a test gets in.

use std::fs::File;
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::network::Holder;
use crate::cluster::signal;

/// How long the kernel may take to start a process, on a busy machine.
const START_WITHIN: Duration = Duration::from_secs(60);
/// Longer than a packet takes to the next machine, on a busy one.
const CONNECT_WITHIN: Duration = Duration::from_secs(2);

/// One machine.
pub struct Machine {
    holder: Holder,
    number: u8,
    address: String,
    /// How `nsenter` gets here.
    enter: Vec<String>,
}

impl Machine {
    pub(super) fn new(holder: Holder, number: u8, address: String, enter: Vec<String>) -> Self {
        Self { holder, number, address, enter }
    }

    pub(super) fn number(&self) -> u8 {
        self.number
    }

    /// Its address on the network.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Starts a program here, with its output appended to `log`.
    #[must_use]
    pub fn spawn(&self, command: &[&str], log: File) -> Process {
        let errors = log.try_clone().expect("another handle of the log");
        let entrance = self
            .command(command)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            .spawn()
            .expect("nsenter starts");
        Process::of(entrance)
    }

    /// Runs a program here to its end.
    #[must_use]
    pub fn run(&self, command: &[&str]) -> Output {
        self.command(command).stdin(Stdio::null()).output().expect("nsenter starts")
    }

    fn command(&self, command: &[&str]) -> Command {
        let mut entering = Command::new("nsenter");
        entering.args(&self.enter).arg("--").args(command);
        entering
    }

    /// Does something on this machine's network. What opens sockets later must begin its threads in there.
    pub fn within<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let namespace =
            File::open(format!("/proc/{}/ns/net", self.holder.pid())).expect("the machine is there");
        // A thread of its own, which ends: no other one may find itself elsewhere.
        std::thread::scope(|scope| {
            let visitor = scope.spawn(move || {
                let network = Some(LinkNameSpaceType::Network);
                move_into_link_name_space(std::os::fd::AsFd::as_fd(&namespace), network).expect("the way in");
                work()
            });
            visitor.join().expect("what is done there succeeds")
        })
    }

    /// A listener here.
    #[must_use]
    pub fn listen(&self, port: u16) -> TcpListener {
        self.within(|| TcpListener::bind(("0.0.0.0", port)).expect("a free port"))
    }

    /// Whether a connection comes about from here.
    #[must_use]
    pub fn connects(&self, address: &str) -> bool {
        let address = address.parse().expect("an address");
        self.within(|| TcpStream::connect_timeout(&address, CONNECT_WITHIN).is_ok())
    }

    /// When a process here began, in the kernel's ticks, by the pid that it knows itself.
    #[must_use]
    pub fn start_ticks(&self, pid: u32) -> Option<u64> {
        let output = self.run(&["cat", &format!("/proc/{pid}/stat")]);
        procfs_start(&output.stdout).filter(|_| output.status.success())
    }
}

/// The start time in a `/proc/<pid>/stat`.
fn procfs_start(stat: &[u8]) -> Option<u64> {
    use procfs::FromRead as _;
    Some(procfs::process::Stat::from_read(stat).ok()?.starttime)
}

/// A process on a machine. It is killed when dropped.
pub struct Process {
    /// `nsenter`, which waits for it.
    entrance: Child,
    pid: u32,
}

impl Process {
    fn of(entrance: Child) -> Self {
        let path = format!("/proc/{0}/task/{0}/children", entrance.id());
        let deadline = Instant::now() + START_WITHIN;
        loop {
            let children = std::fs::read_to_string(&path).unwrap_or_default();
            if let Some(pid) = children.split_whitespace().next().and_then(|pid| pid.parse().ok()) {
                return Self { entrance, pid };
            }
            assert!(Instant::now() < deadline, "{path} names no child");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Its pid on the host.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// SIGSTOP: it does nothing more, and its connections stay open.
    pub fn pause(&self) {
        signal(self.pid, Signal::STOP);
    }

    /// SIGCONT.
    pub fn resume(&self) {
        signal(self.pid, Signal::CONT);
        // It stops with its child, and must see its end.
        signal(self.entrance.id(), Signal::CONT);
    }

    /// SIGKILL, and waits for the end.
    pub fn kill(self) {
        drop(self);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let pid = i32::try_from(self.pid).ok().and_then(rustix::process::Pid::from_raw);
        if let (Ok(None), Some(pid)) = (self.entrance.try_wait(), pid) {
            // Gone by itself meanwhile: as good.
            let _ = rustix::process::kill_process(pid, Signal::KILL);
            signal(self.entrance.id(), Signal::CONT);
        }
        let _ = self.entrance.wait();
    }
}
