//! TLS: what the hub shows, and how its own health check knows it again.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, ServerConfig, SignatureScheme,
};

/// Why TLS cannot be spoken with these files.
#[derive(Debug, Error)]
pub enum TlsError {
    /// There is no certificate in the file.
    #[error("{}: expected certificates in PEM, the server's own first (-----BEGIN CERTIFICATE-----): {}", .0.display(), in_words(.1))]
    Certificate(PathBuf, pem::Error),
    /// There is no key in the file.
    #[error("{}: expected a private key in PEM, without a password (-----BEGIN PRIVATE KEY-----): {}", .0.display(), in_words(.1))]
    Key(PathBuf, pem::Error),
    /// Both are there and cannot be used.
    #[error("{} and {}: expected a certificate and its own key: {problem}", cert.display(), key.display())]
    Pair {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's.
        key: PathBuf,
        /// What is wrong.
        problem: Error,
    },
    /// This program was put together badly.
    #[error("no TLS version is at hand: {0}")]
    Versions(Error),
}

fn in_words(error: &pem::Error) -> String {
    match error {
        pem::Error::Io(error) => error.to_string(),
        pem::Error::NoItemsFound => "there is none in it".into(),
        error => error.to_string(),
    }
}

/// How a hub speaks TLS that has this certificate, or chain of them, and its key.
///
/// # Errors
///
/// Names the file, and what was expected in it.
pub fn server(cert: &Path, key: &Path) -> Result<Arc<ServerConfig>, TlsError> {
    let chain = certificates(cert)?;
    let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| TlsError::Key(key.into(), error))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Versions)?
        .with_no_client_auth()
        .with_single_cert(chain, secret)
        .map_err(|problem| TlsError::Pair { cert: cert.into(), key: key.into(), problem })?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// For asking a hub that has exactly this certificate, whatever name or age is in it
/// and whoever signed it: how a hub is asked for its health from its own machine.
///
/// # Errors
///
/// Names the file, and what was expected in it.
pub fn client_of(cert: &Path) -> Result<Arc<ClientConfig>, TlsError> {
    let expected = certificates(cert)?.swap_remove(0);
    let provider = Arc::new(ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Versions)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Exactly { expected, provider }))
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// At least one.
fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read = || -> Result<Vec<_>, pem::Error> { CertificateDer::pem_file_iter(file)?.collect() };
    match read() {
        Ok(chain) if chain.is_empty() => Err(TlsError::Certificate(file.into(), pem::Error::NoItemsFound)),
        Ok(chain) => Ok(chain),
        Err(error) => Err(TlsError::Certificate(file.into(), error)),
    }
}

/// Trusts one certificate, shown by whoever has its key.
#[derive(Debug)]
struct Exactly {
    expected: CertificateDer<'static>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Exactly {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if *shown == self.expected {
            return Ok(ServerCertVerified::assertion());
        }
        Err(CertificateError::ApplicationVerificationFailure.into())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
