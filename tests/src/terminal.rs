//! A program on a terminal of its own: a real pseudo-terminal, of which the test is the screen and the keyboard.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Termios, Winsize, tcgetattr, tcsetwinsize};

use crate::cluster::BOUND;

const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// A terminal, and the program that was started from it.
pub struct Terminal {
    screen: File,
    /// Kept open, so that what is shown can be read to its end.
    line: OwnedFd,
    shown: Arc<Mutex<String>>,
    child: Child,
}

impl Terminal {
    /// Starts `program` as the leader of a session of its own, whose terminal has this size.
    #[must_use]
    pub fn start(program: &str, args: &[&str], variables: &[(&str, &str)], rows: u16, columns: u16) -> Self {
        let screen = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a pseudo-terminal");
        grantpt(&screen).and_then(|()| unlockpt(&screen)).expect("the terminal may be used");
        let name = ptsname(&screen, Vec::new()).expect("the terminal has a name");
        let line = rustix::fs::open(name.as_c_str(), OFlags::RDWR | OFlags::NOCTTY, Mode::empty())
            .expect("its line");
        resize(&line, rows, columns);
        let stdio = || Stdio::from(line.try_clone().expect("a copy of the line"));
        // setsid makes the line its terminal, so that it is told of resizing and of what keys mean. Whoever is started in
        // the background of a script inherits that keys end nothing: here they do.
        let child = Command::new("setsid")
            .args(["--ctty", "--wait", "env", "--default-signal=INT,QUIT", program])
            .args(args)
            .env_remove("NO_COLOR")
            .env("TERM", "xterm-256color")
            .envs(variables.iter().copied())
            .stdin(stdio())
            .stdout(stdio())
            .stderr(stdio())
            .spawn()
            .expect("the program starts");
        let screen = File::from(screen);
        let shown = Arc::new(Mutex::new(String::new()));
        let mut reader = screen.try_clone().expect("a copy of the screen");
        let sink = Arc::clone(&shown);
        // Ends with the terminal.
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = reader.read(&mut buffer) {
                sink.lock()
                    .expect("nobody panics with it")
                    .push_str(&String::from_utf8_lossy(&buffer[..count]));
            }
        });
        Self { screen, line, shown, child }
    }

    /// Everything that was shown so far.
    #[must_use]
    pub fn shown(&self) -> String {
        self.shown.lock().expect("nobody panics with it").clone()
    }

    /// Waits until `text` is on the screen.
    pub fn until(&self, text: &str) {
        self.until_it(|shown| shown.contains(text), text);
    }

    /// Waits until what is on the screen is as it should be.
    pub fn until_it(&self, is_so: impl Fn(&str) -> bool, what: &str) {
        let deadline = Instant::now() + BOUND;
        while !is_so(&self.shown()) {
            assert!(Instant::now() < deadline, "not seen: {what}; shown: {}", self.shown());
            std::thread::sleep(POLL_INTERVAL);
        }
    }

    /// Presses keys.
    pub fn press(&mut self, keys: &str) {
        self.screen.write_all(keys.as_bytes()).expect("the keyboard works");
    }

    /// Makes the window another size.
    pub fn resize(&self, rows: u16, columns: u16) {
        resize(&self.line, rows, columns);
    }

    /// How keys are treated.
    #[must_use]
    pub fn mode(&self) -> Termios {
        tcgetattr(self.line.as_fd()).expect("the terminal is there")
    }

    /// Waits for the program's end; tells how, and everything that was shown.
    #[must_use]
    pub fn end(&mut self) -> (ExitStatus, String) {
        // What it wrote last may still be on its way when it ends: this follows it.
        const LAST: &str = "\u{4}end of the screen";
        let deadline = Instant::now() + BOUND;
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("its end can be asked for") {
                break status;
            }
            assert!(Instant::now() < deadline, "it does not end; shown: {}", self.shown());
            std::thread::sleep(POLL_INTERVAL);
        };
        let mut line = File::from(self.line.try_clone().expect("a copy of the line"));
        line.write_all(LAST.as_bytes()).expect("the terminal is there");
        self.until(LAST);
        (status, self.shown().replace(LAST, ""))
    }
}

fn resize(line: &OwnedFd, rows: u16, columns: u16) {
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(line, size).expect("a terminal has a size");
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // It has ended, or the test has failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
