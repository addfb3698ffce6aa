//! Who is who on the cluster port. Every link between roles is mTLS; the certificate's URI SAN
//! (`muster://<cluster>/<role>/<id>`) says whom it speaks for.

mod authority;
mod error;
mod identity;
pub(crate) mod peer;
mod renewal;
mod validity;

pub use authority::{Authority, IssuedCertificate};
pub use error::TlsError;
pub use identity::{TlsFiles, TlsIdentity};
pub use peer::PeerIdentity;
pub use renewal::keep_current;
pub use validity::Validity;

/// The DNS name that every role certificate carries, so that TLS has a name to check; who the peer
/// really is, the URI SAN says.
pub(crate) const SERVER_NAME: &str = "muster.internal";

/// What controllers offer beside HTTP/2 when they connect, so that the other end can tell early who comes.
pub(crate) const CONTROLLER_PROTOCOL: &[u8] = b"muster-controller";

/// Installs the process's one crypto provider; a second call changes nothing.
pub fn install_crypto_provider() {
    // An error means that it is installed already, which is what is wanted.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}
