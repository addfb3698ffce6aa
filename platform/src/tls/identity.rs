//! A role's own certificate, checked before it is used, and replaceable while the role runs.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use muster_common::identity::Identity;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use serde::{Deserialize, Serialize};

use super::peer::identity_in;
use super::{SERVER_NAME, TlsError, install_crypto_provider};

/// Where a role's certificate is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TlsFiles {
    /// The authority's certificate, PEM.
    pub ca: PathBuf,
    /// The role's certificate, PEM.
    pub cert: PathBuf,
    /// Its key, PEM.
    pub key: PathBuf,
}

/// What TLS needs on either side of a connection.
struct Configs {
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
}

/// A role's identity. Clones share it: [`TlsIdentity::reload`] changes all of them, for handshakes
/// that come after.
#[derive(Clone)]
pub struct TlsIdentity {
    identity: Identity,
    configs: Arc<ArcSwap<Configs>>,
}

impl fmt::Debug for TlsIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TlsIdentity({})", self.identity)
    }
}

impl TlsIdentity {
    /// Reads and checks the files; they must speak for `expected`.
    pub fn load(files: &TlsFiles, expected: &Identity) -> Result<Self, TlsError> {
        let (ca, cert, key) = read(files)?;
        Self::from_pem(&ca, &cert, &key, expected)
    }

    /// Checks the texts; they must speak for `expected`.
    pub fn from_pem(ca: &str, cert: &str, key: &str, expected: &Identity) -> Result<Self, TlsError> {
        let configs = configs(ca, cert, key, expected)?;
        Ok(Self { identity: expected.clone(), configs: Arc::new(ArcSwap::from_pointee(configs)) })
    }

    /// Reads the files anew. When they cannot be used, what was there before stays in use.
    pub fn reload(&self, files: &TlsFiles) -> Result<(), TlsError> {
        let (ca, cert, key) = read(files)?;
        self.configs.store(Arc::new(configs(&ca, &cert, &key, &self.identity)?));
        Ok(())
    }

    /// Whom it speaks for.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    pub(crate) fn server_config(&self) -> Arc<ServerConfig> {
        self.configs.load().server.clone()
    }

    pub(crate) fn client_config(&self) -> Arc<ClientConfig> {
        self.configs.load().client.clone()
    }
}

fn read(files: &TlsFiles) -> Result<(String, String, String), TlsError> {
    let text = |what: &'static str, path: &Path| {
        std::fs::read_to_string(path).map_err(|source| TlsError::Read { what, path: path.to_owned(), source })
    };
    Ok((
        text("the authority's certificate", &files.ca)?,
        text("the certificate", &files.cert)?,
        text("the key", &files.key)?,
    ))
}

fn certificates(what: &'static str, pem: &str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found: Vec<_> = CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|error| TlsError::Pem { what, problem: error.to_string() })?;
    if found.is_empty() {
        return Err(TlsError::Pem { what, problem: "it holds no certificate".to_owned() });
    }
    Ok(found)
}

fn configs(ca: &str, cert: &str, key: &str, expected: &Identity) -> Result<Configs, TlsError> {
    install_crypto_provider();
    let chain = certificates("the certificate", cert)?;
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes())
        .map_err(|error| TlsError::Pem { what: "the key", problem: error.to_string() })?;
    let mut roots = RootCertStore::empty();
    for authority in certificates("the authority's certificate", ca)? {
        roots.add(authority).map_err(unusable)?;
    }
    let roots = Arc::new(roots);
    check(&chain, &roots, expected)?;

    let verifier = WebPkiClientVerifier::builder(roots.clone()).build().map_err(unusable)?;
    let mut server = ServerConfig::builder()
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain.clone(), key.clone_key())
        .map_err(unusable)?;
    server.alpn_protocols = vec![b"h2".to_vec()];
    let mut client = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)
        .map_err(unusable)?;
    client.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Configs { server: Arc::new(server), client: Arc::new(client) })
}

/// Would a peer of this cluster accept this certificate, and is it ours?
fn check(
    chain: &[CertificateDer<'static>],
    roots: &Arc<RootCertStore>,
    expected: &Identity,
) -> Result<(), TlsError> {
    let Some((end_entity, intermediates)) = chain.split_first() else {
        return Err(TlsError::Pem { what: "the certificate", problem: "it holds no certificate".to_owned() });
    };
    let found = identity_in(end_entity).map_err(unusable)?;
    if &found != expected {
        return Err(TlsError::SomebodyElse { found: found.to_string(), expected: expected.to_string() });
    }
    let verifier = rustls::client::WebPkiServerVerifier::builder(roots.clone()).build().map_err(unusable)?;
    let name = ServerName::try_from(SERVER_NAME).map_err(unusable)?;
    verifier.verify_server_cert(end_entity, intermediates, &name, &[], UnixTime::now()).map_err(unusable)?;
    Ok(())
}

fn unusable(problem: impl fmt::Display) -> TlsError {
    TlsError::Unusable { problem: problem.to_string() }
}
