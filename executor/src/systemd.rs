//! Tells the service manager how the executor is: ready, alive, ending, and a line for people.
//!
//! Alive means that the supervisor answers: a heartbeat goes through its own queue, so that one whose loop
//! hangs (a disk that never returns, a full queue) is not vouched for, and the manager starts the executor
//! anew. What runs keeps running then, as at every restart. One that only waits for room on its disk is alive:
//! starting it anew would make no room.

use std::sync::Arc;
use std::time::Duration;

use muster_platform::TlsIdentity;
use muster_platform::systemd::{Notice, Notifier, watchdog_limit};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::task::AbortOnDropHandle;

use crate::supervisor::{Handle, JOURNAL_TROUBLE, Standing};

/// How long READY waits until it is known what became of every instance. A runner that hangs must not make
/// the start of the node fail; the session opens without them after the same time.
const SETTLE_LIMIT: Duration = Duration::from_secs(30);
/// How often the status line may change.
const STATUS_INTERVAL: Duration = Duration::from_secs(1);
/// What ending takes beyond the drain: tasks that are waited for, files that are closed.
const END_SLACK: Duration = Duration::from_secs(15);

/// What is looked at.
pub(crate) struct Subject {
    /// Answers heartbeats.
    pub(crate) supervisor: Handle,
    /// The address of the leader while the executor is in session with one.
    pub(crate) leader: watch::Receiver<Option<String>>,
}

/// The service manager, if there is one; reports go on until this is dropped.
pub(crate) struct Manager(Option<(Arc<Notifier>, AbortOnDropHandle<()>)>);

impl Manager {
    /// Begins to report to the manager that the environment names. Must be called inside a runtime.
    pub(crate) fn attend(subject: Subject, tls: TlsIdentity) -> Self {
        Self(Notifier::from_env().map(|notifier| {
            let notifier = Arc::new(notifier);
            let task = tokio::spawn(attend(Arc::clone(&notifier), subject, tls, watchdog_limit()));
            (notifier, AbortOnDropHandle::new(task))
        }))
    }

    /// The executor has begun to end, and may take `drain` for its workloads.
    pub(crate) fn ending(&self, drain: Duration) {
        if let Some((notifier, _)) = &self.0 {
            notifier.tell(&[Notice::Stopping, Notice::ExtendTimeout(drain.saturating_add(END_SLACK))]);
        }
    }
}

/// `limit` is how long the manager waits for a sign of life.
async fn attend(notifier: Arc<Notifier>, subject: Subject, tls: TlsIdentity, limit: Option<Duration>) {
    let Subject { supervisor, leader } = subject;
    let reports = report(&notifier, supervisor.standing(), leader, &tls);
    let supervisor = &supervisor;
    let beats = beat(&notifier, limit, || async move { supervisor.beat().await.is_ok() });
    tokio::join!(reports, beats);
}

/// READY once everything is found again, and a line whenever it changes.
async fn report(
    notifier: &Notifier,
    mut standing: watch::Receiver<Standing>,
    mut leader: watch::Receiver<Option<String>>,
    tls: &TlsIdentity,
) {
    let status =
        |standing: &Standing, leader: Option<&str>| status(standing, leader, tls.out_of_date().as_deref());
    // The api is served from the supervisor's first turn on, which is before it can be settled.
    let settled = standing.wait_for(|standing| standing.is_settled);
    if let Ok(Err(_)) = tokio::time::timeout(SETTLE_LIMIT, settled).await {
        return;
    }
    let mut line = status(&standing.borrow_and_update(), leader.borrow_and_update().as_deref());
    notifier.tell(&[Notice::Ready, Notice::Status(line.clone())]);
    let mut next = Instant::now() + STATUS_INTERVAL;
    loop {
        let changed = tokio::select! {
            changed = standing.changed() => changed,
            changed = leader.changed() => changed,
        };
        if changed.is_err() {
            return;
        }
        tokio::time::sleep_until(next).await;
        next = Instant::now() + STATUS_INTERVAL;
        let now = status(&standing.borrow_and_update(), leader.borrow_and_update().as_deref());
        if now != line {
            notifier.tell(&[Notice::Status(now.clone())]);
            line = now;
        }
    }
}

/// What a person sees in `systemctl status`.
fn status(standing: &Standing, leader: Option<&str>, out_of_date: Option<&str>) -> String {
    let instances = match standing.live {
        1 => "1 instance".to_owned(),
        live => format!("{live} instances"),
    };
    let settled = if standing.is_settled { "" } else { ", some still UNKNOWN" };
    let connection = leader.map_or_else(
        || {
            let revision = standing.table_revision.0;
            format!("not connected, working on the slot table of revision {revision}")
        },
        |address| format!("in session with the leader at {address}"),
    );
    let trouble = standing.journal_trouble.as_ref();
    let trouble = trouble.map(|why| format!("; {JOURNAL_TROUBLE}: {why}")).unwrap_or_default();
    let certificate = out_of_date.map(|why| format!("; the certificate {why}")).unwrap_or_default();
    format!("{instances}{settled}; {connection}{trouble}{certificate}")
}

/// Four times within the limit, so that only a stall of most of it is the end, and only while `turns` says so: not once
/// the supervisor is gone, when the executor is ending or about to say why.
async fn beat<F: Future<Output = bool>>(notifier: &Notifier, limit: Option<Duration>, turns: impl Fn() -> F) {
    let Some(limit) = limit else { return };
    let mut due = interval(limit / 4);
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        due.tick().await;
        if !turns().await {
            return;
        }
        notifier.tell(&[Notice::Watchdog]);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    fn manager() -> (tempfile::TempDir, UnixDatagram, Notifier) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_nonblocking(true).unwrap();
        let notifier = Notifier::at(path.to_str().unwrap()).unwrap();
        (dir, socket, notifier)
    }

    /// How often a sign of life came.
    fn beats(socket: &UnixDatagram) -> u32 {
        let mut message = [0; 256];
        let mut count = 0;
        while let Ok(length) = socket.recv(&mut message) {
            assert_eq!(&message[..length], b"WATCHDOG=1");
            count += 1;
        }
        count
    }

    #[tokio::test(start_paused = true)]
    async fn a_supervisor_that_hangs_is_not_vouched_for() {
        let (_dir, socket, notifier) = manager();
        let asked = AtomicU32::new(0);
        let turns = || async {
            if asked.fetch_add(1, Ordering::Relaxed) == 3 {
                std::future::pending::<()>().await;
            }
            true
        };
        let limit = Some(Duration::from_secs(10));
        let hour = Duration::from_secs(3600);
        assert!(tokio::time::timeout(hour, beat(&notifier, limit, turns)).await.is_err());
        assert_eq!((asked.load(Ordering::Relaxed), beats(&socket)), (4, 3));
    }

    #[tokio::test(start_paused = true)]
    async fn a_sign_of_life_is_late_only_after_three_quarters_of_the_limit() {
        let (_dir, socket, notifier) = manager();
        let beating = beat(&notifier, Some(Duration::from_secs(20)), || async { true });
        // By the paused clock: at 0, 5, 10 and 15 s.
        assert!(tokio::time::timeout(Duration::from_secs(19), beating).await.is_err());
        assert_eq!(beats(&socket), 4);
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_is_told_who_does_not_ask() {
        let (_dir, socket, notifier) = manager();
        beat(&notifier, None, || async { true }).await;
        assert_eq!(beats(&socket), 0);
    }

    #[test]
    fn a_line_says_what_there_is_and_who_is_heard() {
        let standing = Standing { live: 2, is_settled: true, ..Standing::default() };
        assert_eq!(
            status(&standing, Some("c1:4100"), None),
            "2 instances; in session with the leader at c1:4100"
        );
        let standing = Standing { live: 1, ..Standing::default() };
        let line = "1 instance, some still UNKNOWN; not connected, working on the slot table of revision 0";
        assert_eq!(status(&standing, None, None), line);
        let expired = Some("expired at 2026-11-21T06:40:00.125Z");
        let said = format!("{line}; the certificate expired at 2026-11-21T06:40:00.125Z");
        assert_eq!(status(&standing, None, expired), said);
        let standing = Standing { journal_trouble: Some("disk full".to_owned()), ..standing };
        assert_eq!(
            status(&standing, None, None),
            format!("{line}; the journal cannot be written: disk full")
        );
    }
}
