//! A role's own certificate, checked before it is used, and replaceable while the role runs.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use muster_common::identity::{Identity, Role};
use rustls::client::danger::ServerCertVerifier as _;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use serde::{Deserialize, Serialize};

use super::peer::identity_in;
use super::validity::{self, Validity};
use super::{CONTROLLER_PROTOCOL, SERVER_NAME, TlsError, install_crypto_provider};

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
    validity: Validity,
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
    /// Reads and checks the files; they must speak for `expected`, and be valid now.
    pub fn load(files: &TlsFiles, expected: &Identity) -> Result<Self, TlsError> {
        Self::load_whatever_its_dates(files, expected)?.in_date()
    }

    /// The same for who has work to do without a peer: nobody takes a certificate that is out of date, and everything
    /// else about it is checked all the same. See [`TlsIdentity::out_of_date`].
    pub fn load_whatever_its_dates(files: &TlsFiles, expected: &Identity) -> Result<Self, TlsError> {
        let (ca, cert, key) = read(files)?;
        Ok(Self::of(configs(&ca, &cert, &key, expected)?, expected))
    }

    /// Checks the texts; they must speak for `expected`, and be valid now.
    pub fn from_pem(ca: &str, cert: &str, key: &str, expected: &Identity) -> Result<Self, TlsError> {
        Self::of(configs(ca, cert, key, expected)?, expected).in_date()
    }

    fn of(configs: Configs, expected: &Identity) -> Self {
        Self { identity: expected.clone(), configs: Arc::new(ArcSwap::from_pointee(configs)) }
    }

    fn in_date(self) -> Result<Self, TlsError> {
        match self.out_of_date() {
            Some(problem) => Err(TlsError::OutOfDate { problem }),
            None => Ok(self),
        }
    }

    /// Reads the files anew. When they cannot be used, or what was there before is valid now and they are not, that
    /// stays in use.
    pub fn reload(&self, files: &TlsFiles) -> Result<(), TlsError> {
        let (ca, cert, key) = read(files)?;
        let fresh = configs(&ca, &cert, &key, &self.identity)?;
        if let Some(problem) = fresh.validity.trouble(validity::now())
            && self.out_of_date().is_none()
        {
            return Err(TlsError::OutOfDate { problem });
        }
        self.configs.store(Arc::new(fresh));
        Ok(())
    }

    /// From when until when it is good.
    #[must_use]
    pub fn validity(&self) -> Validity {
        self.configs.load().validity
    }

    /// In words, as what follows "the certificate", why no peer takes it now by this machine's clock.
    #[must_use]
    pub fn out_of_date(&self) -> Option<String> {
        self.validity().trouble(validity::now())
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
    let validity = Validity::of(&chain)?;
    check(&chain, &roots, expected, validity)?;

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
    if matches!(expected.role, Role::Controller(_)) {
        client.alpn_protocols.push(CONTROLLER_PROTOCOL.to_vec());
    }
    Ok(Configs { server: Arc::new(server), client: Arc::new(client), validity })
}

/// Would a peer of this cluster accept this certificate while it is valid, and is it ours?
fn check(
    chain: &[CertificateDer<'static>],
    roots: &Arc<RootCertStore>,
    expected: &Identity,
    validity: Validity,
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
    let at = validity.closest(validity::now());
    verifier.verify_server_cert(end_entity, intermediates, &name, &[], at).map_err(unusable)?;
    Ok(())
}

fn unusable(problem: impl fmt::Display) -> TlsError {
    TlsError::Unusable { problem: problem.to_string() }
}
