//! From when until when a certificate may be used.

use muster_common::time::Timestamp;
use rustls::pki_types::{CertificateDer, UnixTime};
use time::OffsetDateTime;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::TlsError;

/// From when until when a certificate may be used, by the clock of whoever looks at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// Not before this moment.
    pub not_before: Timestamp,
    /// Not after this one.
    pub not_after: Timestamp,
}

impl Validity {
    /// Of a certificate and those between it and its authority: all must be valid at once. That of the authority
    /// itself nobody looks at.
    pub(super) fn of(chain: &[CertificateDer<'_>]) -> Result<Self, TlsError> {
        let mut all = Self { not_before: Timestamp(0), not_after: Timestamp(u64::MAX) };
        for certificate in chain {
            let (_, parsed) = X509Certificate::from_der(certificate)
                .map_err(|error| TlsError::Pem { what: "the certificate", problem: error.to_string() })?;
            let dates = parsed.validity();
            all.not_before = all.not_before.max(moment(dates.not_before.timestamp()));
            all.not_after = all.not_after.min(moment(dates.not_after.timestamp()));
        }
        Ok(all)
    }

    /// In words why it cannot be used at `now`; `None`: it can be.
    #[must_use]
    pub fn trouble(self, now: Timestamp) -> Option<String> {
        if now < self.not_before {
            Some(format!("is not valid before {}", self.not_before))
        } else if now > self.not_after {
            Some(format!("expired at {}", self.not_after))
        } else {
            None
        }
    }

    /// The moment within that is closest to `now`.
    pub(super) fn closest(self, now: Timestamp) -> UnixTime {
        let closest = now.max(self.not_before).min(self.not_after);
        UnixTime::since_unix_epoch(std::time::Duration::from_millis(closest.as_ms()))
    }

    /// As who makes certificates wants it.
    pub(super) fn dates(self) -> Result<(OffsetDateTime, OffsetDateTime), TlsError> {
        let date = |moment: Timestamp| {
            let seconds = i64::try_from(moment.as_ms() / 1000).unwrap_or(i64::MAX);
            OffsetDateTime::from_unix_timestamp(seconds).map_err(|_| TlsError::Date(moment))
        };
        Ok((date(self.not_before)?, date(self.not_after)?))
    }
}

/// Before 1970 there was no Muster.
fn moment(seconds: i64) -> Timestamp {
    Timestamp(u64::try_from(seconds).unwrap_or(0).saturating_mul(1000))
}

/// By this machine's clock.
pub(super) fn now() -> Timestamp {
    Timestamp(UnixTime::now().as_secs().saturating_mul(1000))
}
