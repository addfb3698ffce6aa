//! Why a certificate cannot be used.

use std::io;
use std::path::PathBuf;

use muster_common::exit::Exit;
use muster_common::time::Timestamp;

use crate::role_error::RoleError;

/// Why a certificate cannot be used; each is one sentence that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {what} {}: {source}; check the path under 'tls' in the configuration", path.display())]
    Read {
        /// Such as "the certificate".
        what: &'static str,
        /// Where it should be.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A text holds no certificate or key.
    #[error("{what} is not valid PEM: {problem}")]
    Pem {
        /// Such as "the certificate".
        what: &'static str,
        /// What is wrong.
        problem: String,
    },
    /// The key belongs to another certificate, or the certificate to another authority.
    #[error("the certificate cannot be used: {problem}; issue a new one from this cluster's authority")]
    Unusable {
        /// What rustls said.
        problem: String,
    },
    /// It is somebody else's.
    #[error(
        "the certificate is for {found}, but this process is {expected}; use the certificate issued for it"
    )]
    SomebodyElse {
        /// Whom the certificate names.
        found: String,
        /// Whom the configuration names.
        expected: String,
    },
    /// It is not valid yet, or no more.
    #[error(
        "the certificate {problem}; issue a new one from this cluster's authority, or set this machine's clock right"
    )]
    OutOfDate {
        /// Since or until when.
        problem: String,
    },
    /// No certificate can bear this date.
    #[error("no certificate can be valid from or until {0}")]
    Date(Timestamp),
    /// Making one failed.
    #[error("cannot make a certificate: {0}")]
    Issue(#[from] rcgen::Error),
}

impl From<TlsError> for RoleError {
    fn from(error: TlsError) -> Self {
        let exit = match &error {
            TlsError::Read { .. } | TlsError::Pem { .. } => Exit::Usage,
            TlsError::Unusable { .. } | TlsError::SomebodyElse { .. } | TlsError::OutOfDate { .. } => {
                Exit::Auth
            }
            TlsError::Date(_) | TlsError::Issue(_) => Exit::Failure,
        };
        Self::new(exit, error.to_string())
    }
}
