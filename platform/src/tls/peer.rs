//! The other end of a connection, as its certificate names it.

use muster_common::id::ClusterId;
use muster_common::identity::Identity;
use rustls::pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// Who is at the other end. The accept path puts it into every request's extensions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerIdentity(pub Identity);

/// Why a peer's certificate, though signed by our authority, names nobody we can talk to.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PeerError {
    #[error("the peer sent no certificate")]
    Missing,
    #[error("the peer's certificate cannot be parsed")]
    Malformed,
    #[error("the peer's certificate has no URI of the form muster://<cluster>/<role>/<id>")]
    Nameless,
    #[error("the peer belongs to cluster '{found}', this is cluster '{ours}'")]
    OtherCluster { found: ClusterId, ours: ClusterId },
}

/// The identity in a certificate's URI SAN.
pub(crate) fn identity_in(certificate: &CertificateDer<'_>) -> Result<Identity, PeerError> {
    let (_, parsed) = X509Certificate::from_der(certificate).map_err(|_| PeerError::Malformed)?;
    let names = parsed.subject_alternative_name().map_err(|_| PeerError::Malformed)?;
    names
        .into_iter()
        .flat_map(|extension| &extension.value.general_names)
        .find_map(|name| match name {
            GeneralName::URI(uri) => uri.parse().ok(),
            _ => None,
        })
        .ok_or(PeerError::Nameless)
}

/// The peer of a finished handshake, who must belong to `cluster`.
pub(crate) fn peer_of(
    certificates: Option<&[CertificateDer<'_>]>,
    cluster: &ClusterId,
) -> Result<PeerIdentity, PeerError> {
    let identity = identity_in(certificates.and_then(<[_]>::first).ok_or(PeerError::Missing)?)?;
    if &identity.cluster == cluster {
        Ok(PeerIdentity(identity))
    } else {
        Err(PeerError::OtherCluster { found: identity.cluster, ours: cluster.clone() })
    }
}
