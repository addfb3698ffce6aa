//! A role's certificate files, looked at now and then: what replaces them is used without a restart, and that they
//! are out of date is said.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;

use tokio_util::task::AbortOnDropHandle;

use super::{TlsError, TlsFiles, TlsIdentity};

/// Between two looks.
const LOOK_INTERVAL: Duration = Duration::from_secs(10);
/// The metric that says when the certificate ends.
const EXPIRES: &str = "muster_certificate_expires_timestamp_seconds";

/// Takes what the files hold whenever they change, for as long as the handle lives. Connections go on as they are;
/// later ones are made with the new certificate.
pub fn keep_current(tls: TlsIdentity, files: TlsFiles) -> AbortOnDropHandle<()> {
    metrics::describe_gauge!(EXPIRES, "When the role's certificate ends, in seconds since 1970.");
    AbortOnDropHandle::new(tokio::spawn(async move {
        let mut renewal = Renewal { tls, files, taken: None, said: None };
        loop {
            let look = tokio::task::spawn_blocking(move || {
                renewal.look();
                renewal
            });
            // The task itself fails only when the runtime is shutting down.
            renewal = match look.await {
                Ok(renewal) => renewal,
                Err(_) => return,
            };
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }))
}

struct Renewal {
    tls: TlsIdentity,
    files: TlsFiles,
    /// How the files were when they were taken.
    taken: Option<[Stamp; 3]>,
    /// What was wrong the last time: that is said once.
    said: Option<String>,
}

impl Renewal {
    fn look(&mut self) {
        let trouble = match self.take() {
            Ok(()) => self.tls.out_of_date().map(|why| format!("the certificate {why}; replace its files")),
            Err(error) => Some(error.to_string()),
        };
        if let Some(trouble) = trouble.as_ref().filter(|&trouble| self.said.as_ref() != Some(trouble)) {
            tracing::error!(trouble, identity = ?self.tls, "new connections of this role may fail");
        }
        self.said = trouble;
        let expires = Duration::from_millis(self.tls.validity().not_after.as_ms()).as_secs_f64();
        metrics::gauge!(EXPIRES).set(expires);
    }

    /// Files that are being replaced one after the other may not match: then it is for the next look.
    fn take(&mut self) -> Result<(), TlsError> {
        let there = stamps(&self.files);
        if there.is_some() && there == self.taken {
            return Ok(());
        }
        self.tls.reload(&self.files)?;
        if self.taken.is_some() {
            tracing::info!(identity = ?self.tls, not_after = %self.tls.validity().not_after, "took a new certificate");
        }
        self.taken = there;
        Ok(())
    }
}

/// What changes when a file is written or replaced.
#[derive(Debug, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    bytes: u64,
    changed: (i64, i64),
}

/// `None`: one of them cannot be looked at, and reading says why.
fn stamps(files: &TlsFiles) -> Option<[Stamp; 3]> {
    let stamp = |path| -> io::Result<Stamp> {
        let found = fs::metadata(path)?;
        Ok(Stamp { inode: found.ino(), bytes: found.len(), changed: (found.ctime(), found.ctime_nsec()) })
    };
    Some([stamp(&files.ca).ok()?, stamp(&files.cert).ok()?, stamp(&files.key).ok()?])
}

#[cfg(test)]
mod tests {
    use muster_common::id::{ClusterId, ExecutorId};
    use muster_common::identity::{Identity, Role};
    use muster_common::time::Timestamp;

    use super::super::{Authority, Validity};
    use super::*;

    #[test]
    fn what_replaces_the_files_is_taken_when_it_is_good() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let files = TlsFiles { ca: path("ca.pem"), cert: path("cert.pem"), key: path("key.pem") };
        let me = Identity {
            cluster: ClusterId::new("one").unwrap(),
            role: Role::Executor(ExecutorId::new("e1").unwrap()),
        };
        let authority = Authority::new(&me.cluster).unwrap();
        let hour = Duration::from_secs(3600);
        let write = |validity| {
            let issued = authority.issue_within(&me, validity).unwrap();
            fs::write(&files.ca, authority.ca_pem()).unwrap();
            fs::write(&files.cert, issued.cert_pem).unwrap();
            fs::write(&files.key, issued.key_pem).unwrap();
        };
        let now = super::super::validity::now();
        let past = Validity { not_before: Timestamp(1_000_000), not_after: Timestamp(2_000_000) };
        let good = Validity { not_before: Timestamp(1_000_000), not_after: now.plus(hour) };
        let better = Validity { not_after: now.plus(2 * hour), ..good };
        write(past);
        assert!(matches!(TlsIdentity::load(&files, &me), Err(TlsError::OutOfDate { .. })));
        let tls = TlsIdentity::load_whatever_its_dates(&files, &me).unwrap();
        let mut renewal = Renewal { tls: tls.clone(), files: files.clone(), taken: None, said: None };
        let mut look = || {
            renewal.look();
            (tls.validity(), renewal.said.clone())
        };
        let said = "the certificate expired at 1970-01-01T00:33:20.000Z; replace its files";
        assert_eq!(look(), (past, Some(said.to_owned())));
        write(good);
        assert_eq!(look(), (good, None));
        // Neither nonsense nor what is out of date takes the place of what is good.
        fs::write(&files.key, "nonsense").unwrap();
        let (kept, why) = look();
        assert!(kept == good && why.as_ref().is_some_and(|why| why.contains("not valid PEM")), "{why:?}");
        write(past);
        let (kept, why) = look();
        assert!(kept == good && why.as_ref().is_some_and(|why| why.contains("expired at")), "{why:?}");
        write(better);
        assert_eq!(look(), (better, None));
    }
}
