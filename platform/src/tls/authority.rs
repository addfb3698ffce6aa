//! The cluster's own certificate authority: makes one, and certificates for roles.

use std::time::Duration;

use muster_common::id::ClusterId;
use muster_common::identity::Identity;
use muster_common::time::Timestamp;
use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, SanType,
};

use super::{SERVER_NAME, TlsError, Validity, validity};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Clocks lie: a certificate made now must be good on a machine whose clock is behind.
const BACKDATED: Duration = DAY;
const AUTHORITY_LIFETIME: Duration = DAY.saturating_mul(3650);
const ROLE_LIFETIME: Duration = DAY.saturating_mul(365);

/// A certificate authority with its key.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate and its key, as PEM.
pub struct IssuedCertificate {
    /// The certificate.
    pub cert_pem: String,
    /// Its key. Secret.
    pub key_pem: String,
}

impl Authority {
    /// A new authority for `cluster`.
    pub fn new(cluster: &ClusterId) -> Result<Self, TlsError> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, format!("Muster authority of {cluster}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        (params.not_before, params.not_after) = from_now(AUTHORITY_LIFETIME).dates()?;
        Ok(Self { issuer: CertifiedIssuer::self_signed(params, KeyPair::generate()?)? })
    }

    /// The authority's certificate.
    #[must_use]
    pub fn ca_pem(&self) -> String {
        self.issuer.pem()
    }

    /// A certificate with a fresh key that speaks for `identity`, as client and as server.
    pub fn issue(&self, identity: &Identity) -> Result<IssuedCertificate, TlsError> {
        self.issue_within(identity, from_now(ROLE_LIFETIME))
    }

    /// The same for a time of one's own, to the second.
    pub fn issue_within(
        &self,
        identity: &Identity,
        validity: Validity,
    ) -> Result<IssuedCertificate, TlsError> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, identity.role.to_string());
        params.subject_alt_names = vec![
            SanType::URI(Ia5String::try_from(identity.to_string())?),
            SanType::DnsName(Ia5String::try_from(SERVER_NAME.to_owned())?),
        ];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        (params.not_before, params.not_after) = validity.dates()?;
        let cert = params.signed_by(&key, &self.issuer)?;
        Ok(IssuedCertificate { cert_pem: cert.pem(), key_pem: key.serialize_pem() })
    }
}

fn from_now(lifetime: Duration) -> Validity {
    let now = validity::now();
    let backdated = u64::try_from(BACKDATED.as_millis()).unwrap_or(u64::MAX);
    Validity { not_before: Timestamp(now.as_ms().saturating_sub(backdated)), not_after: now.plus(lifetime) }
}
