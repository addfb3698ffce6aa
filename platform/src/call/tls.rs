//! TLS towards a server. By default its certificate must be good for the name that is called and come from
//! an authority that this machine trusts; a call that says `insecure` accepts any certificate.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::CallError;

/// Where distributions keep the authorities that a machine trusts.
const BUNDLES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Whose certificates are accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// Those that this machine trusts.
    Machine,
    /// Anybody's: the spec says `insecure`. A check only asks whether its own workload answers; a
    /// fetch trusts its network, as its author chose.
    Anybody,
}

/// What is spoken inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speak {
    /// HTTP/1.1, which need not be agreed on.
    Http1,
    /// HTTP/2, which a server may serve beside HTTP/1.1 and must be told of.
    Http2,
}

/// Speaks TLS on a fresh connection to `host`, a name or an address.
pub async fn handshake(
    stream: TcpStream,
    host: &str,
    trust: Trust,
    speak: Speak,
) -> Result<TlsStream<TcpStream>, CallError> {
    let config = match trust {
        Trust::Machine => machine_config()?,
        Trust::Anybody => insecure_config()?,
    };
    let config = match speak {
        Speak::Http1 => config,
        Speak::Http2 => {
            // A copy shares its roots and tickets; it costs next to nothing beside the handshake.
            let mut config = (*config).clone();
            config.alpn_protocols = vec![b"h2".to_vec()];
            Arc::new(config)
        }
    };
    let name = ServerName::try_from(host)
        .map_err(|_| {
            CallError::NoAnswer(format!(
                "'{host}' is neither a name nor an address that a certificate can be for"
            ))
        })?
        .to_owned();
    TlsConnector::from(config)
        .connect(name, stream)
        .await
        .map_err(|error| CallError::NoAnswer(format!("the TLS handshake failed: {error}")))
}

fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    Arc::clone(PROVIDER.get_or_init(|| Arc::new(rustls::crypto::aws_lc_rs::default_provider())))
}

fn machine_config() -> Result<Arc<ClientConfig>, CallError> {
    static CONFIG: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    if let Some(config) = CONFIG.get() {
        return Ok(Arc::clone(config));
    }
    let bundle = BUNDLES.into_iter().find(|path| Path::new(path).exists()).ok_or_else(|| {
        CallError::NoAnswer(
            "TLS without `insecure` needs this machine's CA certificates, and none are installed".to_owned(),
        )
    })?;
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| CallError::NoAnswer(error.to_string()))?
        .with_root_certificates(authorities(Path::new(bundle))?)
        .with_no_client_auth();
    Ok(Arc::clone(CONFIG.get_or_init(|| Arc::new(config))))
}

/// The authorities in a bundle.
fn authorities(bundle: &Path) -> Result<RootCertStore, CallError> {
    let what = || format!("cannot read the CA certificates in {}", bundle.display());
    let unreadable = |error: pem::Error| match error {
        pem::Error::Io(source) => CallError::Machine { what: what(), source },
        error => CallError::NoAnswer(format!("{}: {error}", what())),
    };
    let mut certificates = Vec::new();
    for certificate in CertificateDer::pem_file_iter(bundle).map_err(unreadable)? {
        match certificate {
            Ok(certificate) => certificates.push(certificate),
            // What it holds beyond is not known.
            Err(error @ pem::Error::Io(_)) => return Err(unreadable(error)),
            // A bundle may hold what is no certificate; the others count.
            Err(_) => {}
        }
    }
    let mut roots = RootCertStore::empty();
    // Nor need every certificate be one of an authority.
    roots.add_parsable_certificates(certificates);
    Ok(roots)
}

fn insecure_config() -> Result<Arc<ClientConfig>, CallError> {
    static CONFIG: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    if let Some(config) = CONFIG.get() {
        return Ok(Arc::clone(config));
    }
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| CallError::NoAnswer(error.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider())))
        .with_no_client_auth();
    Ok(Arc::clone(CONFIG.get_or_init(|| Arc::new(config))))
}

/// Accepts every certificate, but still checks that the peer holds its key.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundle_that_this_machine_does_not_give_is_no_fault_of_the_server() {
        let dir = tempfile::tempdir().unwrap();
        for bundle in [dir.path().to_owned(), dir.path().join("none")] {
            let refusal = authorities(&bundle).unwrap_err();
            assert!(matches!(refusal, CallError::Machine { .. }), "{refusal}");
        }
        let bundle = dir.path().join("bundle.pem");
        let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let other = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        std::fs::write(&bundle, format!("{other}{}", certified.cert.pem())).unwrap();
        assert_eq!(authorities(&bundle).unwrap().len(), 1, "what is none does not hide the others");
    }
}
