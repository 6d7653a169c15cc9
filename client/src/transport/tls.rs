//! TLS to the hub, with rustls. There is no way to leave out what it verifies.

use std::io;
use std::sync::Arc;

use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, UnixTime};
use tokio_rustls::rustls::{CertificateError, ClientConfig, Error as TlsError, RootCertStore};

use super::hub::{ConnectError, readable};

/// Trusts the authorities in that PEM text, and no others.
pub fn trusting(pem: &[u8]) -> Result<TlsConnector, String> {
    let expected = "expected certificates in PEM, which begin with -----BEGIN CERTIFICATE-----";
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|error| format!("{expected}: {error}"))?;
        roots.add(certificate).map_err(|error| format!("{expected}: {error}"))?;
    }
    if roots.is_empty() { Err(expected.into()) } else { connector(roots) }
}

/// Trusts whom the system trusts.
pub fn trusting_the_system() -> Result<TlsConnector, String> {
    let mut roots = RootCertStore::empty();
    // A system's list has certificates at times that rustls does not take: the others count.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err("this system knows no authority that could vouch for a hub: \
            give the certificate of one with --ca FILE (RINGLEADER_CA)"
            .into());
    }
    connector(roots)
}

fn connector(roots: RootCertStore) -> Result<TlsConnector, String> {
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// What a failed handshake means to whoever has to mend it.
pub fn explain(error: io::Error) -> ConnectError {
    const NO_TLS: &str = "a hub without TLS is at ws://";
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<TlsError>());
    match tls {
        Some(TlsError::InvalidCertificate(problem)) => ConnectError::Untrusted(readable(&distrust(problem))),
        // What is not TLS at all reads as a record of a wrong kind.
        Some(TlsError::InvalidMessage(_)) => ConnectError::NoHub(format!("it does not speak TLS; {NO_TLS}")),
        Some(error) => ConnectError::NoHub(error.to_string()),
        None => ConnectError::NoHub(format!("no TLS handshake ({error}); {NO_TLS}")),
    }
}

fn distrust(problem: &CertificateError) -> String {
    let date = |time: &UnixTime| {
        let time = std::time::UNIX_EPOCH.checked_add(std::time::Duration::from_secs(time.as_secs()));
        time.map_or_else(String::new, |time| format!(" {}", humantime::format_rfc3339_seconds(time)))
    };
    match problem {
        // The latter two: it goes by the same name as somebody who is trusted, with another key.
        CertificateError::UnknownIssuer
        | CertificateError::BadSignature
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            "nobody that is trusted here has signed it; \
            if you know who has, give their certificate with --ca FILE (RINGLEADER_CA)"
                .into()
        }
        CertificateError::ExpiredContext { not_after, .. } => {
            format!("it expired{}, unless our clock is wrong", date(not_after))
        }
        CertificateError::NotValidYetContext { not_before, .. } => {
            format!("it is not valid before{}, unless our clock is wrong", date(not_before))
        }
        CertificateError::NotValidForNameContext { expected, presented } => {
            format!("it is not for {}, but for {}", expected.to_str(), presented.join(", "))
        }
        // What `openssl req -x509` makes when not told otherwise. rustls has no variant of its own for it.
        other if other.to_string().contains("CaUsedAsEndEntity") => {
            "it is an authority's own (CA:TRUE), which a hub must not show; make one with basicConstraints=CA:FALSE"
                .into()
        }
        other => other.to_string(),
    }
}
