//! The descriptors of a command that has its own: three pipes, or a pseudo-terminal. This end is read and written here,
//! the other is handed over to the command.

use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::process::Pid;
use rustix::pty::OpenptFlags;
use rustix::termios::Winsize;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::runner::exec::TerminalSize;

/// One of them. Reading and writing wait for the command, and for no thread.
pub(super) struct Descriptor(AsyncFd<OwnedFd>);

impl Descriptor {
    fn new(descriptor: OwnedFd, interest: Interest) -> io::Result<Self> {
        rustix::fs::fcntl_setfl(&descriptor, OFlags::NONBLOCK)?;
        // The successor of this call is unsafe for descriptors that their owner may close or change; an `OwnedFd` does
        // neither.
        #[allow(deprecated)]
        let descriptor = AsyncFd::with_interest(descriptor, interest)?;
        Ok(Self(descriptor))
    }

    /// What comes next; nothing at the end.
    pub(super) async fn read(&self, chunk: &mut [u8]) -> io::Result<usize> {
        self.0
            .async_io(Interest::READABLE, |descriptor| ended(rustix::io::read(descriptor, &mut *chunk)))
            .await
    }

    /// What is there by now; nothing where that is nothing.
    pub(super) fn read_now(&self, chunk: &mut [u8]) -> usize {
        rustix::io::read(self.0.get_ref(), chunk).unwrap_or_default()
    }

    pub(super) async fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let write = |descriptor: &OwnedFd| Ok(rustix::io::write(descriptor, bytes)?);
            let count = self.0.async_io(Interest::WRITABLE, write).await?;
            bytes = &bytes[count..];
        }
        Ok(())
    }

    pub(super) fn resize(&self, size: TerminalSize) -> io::Result<()> {
        Ok(rustix::termios::tcsetwinsize(self.0.get_ref(), winsize(size))?)
    }

    /// The process group that the terminal's keys go to.
    pub(super) fn foreground(&self) -> Option<Pid> {
        rustix::termios::tcgetpgrp(self.0.get_ref()).ok()
    }
}

/// A terminal whose other end nobody has open any more says so in its own way.
fn ended(read: rustix::io::Result<usize>) -> io::Result<usize> {
    match read {
        Err(Errno::IO) => Ok(0),
        read => Ok(read?),
    }
}

/// This end.
pub(super) enum Ends {
    Pipes { stdin: Option<Descriptor>, stdout: Descriptor, stderr: Descriptor },
    Terminal(Descriptor),
}

/// The other end: stdin, stdout and stderr, or the terminal alone.
pub(super) type Given = Vec<OwnedFd>;

/// Three pipes; without input there is none from the beginning.
pub(super) fn pipes(has_stdin: bool) -> io::Result<(Ends, Given)> {
    let (stdin, write_stdin) = io::pipe()?;
    let (read_stdout, stdout) = io::pipe()?;
    let (read_stderr, stderr) = io::pipe()?;
    let ends = Ends::Pipes {
        stdin: has_stdin.then(|| Descriptor::new(write_stdin.into(), Interest::WRITABLE)).transpose()?,
        stdout: Descriptor::new(read_stdout.into(), Interest::READABLE)?,
        stderr: Descriptor::new(read_stderr.into(), Interest::READABLE)?,
    };
    Ok((ends, vec![stdin.into(), stdout.into(), stderr.into()]))
}

/// A pseudo-terminal.
pub(super) fn terminal(size: TerminalSize) -> io::Result<(Ends, Given)> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let near = rustix::pty::openpt(flags)?;
    rustix::pty::unlockpt(&near)?;
    let far = rustix::pty::ioctl_tiocgptpeer(&near, flags)?;
    rustix::termios::tcsetwinsize(&near, winsize(size))?;
    Ok((Ends::Terminal(Descriptor::new(near, Interest::READABLE | Interest::WRITABLE)?), vec![far]))
}

const fn winsize(size: TerminalSize) -> Winsize {
    Winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 }
}
