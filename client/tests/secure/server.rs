//! Certificates, and a server that shows them.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::StreamExt;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use ringleader_client::transport::hub::HubUrl;
use tokio::io::{AsyncRead, AsyncWrite, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_tungstenite::accept_hdr_async;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};

use super::world::PATIENCE;

/// A key where a certificate is wanted. It is nobody's.
pub const KEY_PEM: &str = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";

/// In the right armour, and no certificate.
pub const BROKEN_PEM: &str = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";

/// A new file with that text.
pub fn file(name: &str, text: &str) -> PathBuf {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("secure-{}-{count}-{name}", std::process::id()));
    std::fs::write(&path, text).unwrap();
    path
}

/// From the first day of a year to that of another.
#[derive(Clone, Copy)]
pub struct Validity(i32, i32);

pub fn of_years(from: i32, to: i32) -> Validity {
    Validity(from, to)
}

/// What a server shows, and how it proves that it may.
pub struct Identity {
    pub pem: String,
    certificate: CertificateDer<'static>,
    key: KeyPair,
}

/// Who vouches for servers.
pub struct Authority {
    certificate: rcgen::Certificate,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub fn new(name: &str) -> Authority {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        Authority { certificate: params.self_signed(&key).unwrap(), issuer: Issuer::new(params, key) }
    }

    pub fn pem(&self) -> String {
        self.certificate.pem()
    }

    pub fn file(&self) -> PathBuf {
        file("ca.pem", &self.pem())
    }

    pub fn certify(&self, names: &[&str], Validity(from, to): Validity) -> Identity {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>()).unwrap();
        (params.not_before, params.not_after) = (date_time_ymd(from, 1, 1), date_time_ymd(to, 1, 1));
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Identity { pem: certificate.pem(), certificate: certificate.der().clone(), key }
    }

    /// Its own certificate, shown as if it were a server's.
    pub fn own(&self) -> Identity {
        let key = KeyPair::from_pem(&self.issuer.key().serialize_pem()).unwrap();
        Identity { pem: self.pem(), certificate: self.certificate.der().clone(), key }
    }
}

/// Signed by itself, and no authority.
pub fn self_signed(names: &[&str]) -> Identity {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>()).unwrap();
    params.is_ca = IsCa::ExplicitNoCa;
    let certificate = params.self_signed(&key).unwrap();
    Identity { pem: certificate.pem(), certificate: certificate.der().clone(), key }
}

/// What a server does with whoever connects.
#[derive(Clone, Copy)]
pub enum Answer {
    /// Opens a WebSocket, and closes it when it has been heard.
    Welcome,
    /// Answers 401, and repeats what it was shown.
    Unauthorized,
    /// Closes the connection at once.
    HangUp,
    /// Hands everything on.
    PassOn(SocketAddr),
}

/// What was asked of a server in a handshake.
#[derive(Debug)]
pub struct Asked {
    pub target: String,
    pub authorization: Option<String>,
}

pub struct Server {
    address: SocketAddr,
    asked: mpsc::UnboundedReceiver<Asked>,
    task: AbortHandle,
}

impl Server {
    pub async fn plain(answer: Answer) -> Server {
        Server::start(None, answer).await
    }

    pub async fn with_tls(identity: Identity, answer: Answer) -> Server {
        let key = PrivateKeyDer::try_from(identity.key.serialize_der()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![identity.certificate], key)
            .unwrap();
        Server::start(Some(TlsAcceptor::from(Arc::new(config))), answer).await
    }

    /// A door with TLS for a hub without.
    pub async fn in_front_of(hub: SocketAddr, identity: Identity) -> Server {
        Server::with_tls(identity, Answer::PassOn(hub)).await
    }

    async fn start(tls: Option<TlsAcceptor>, answer: Answer) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (tell, asked) = mpsc::unbounded_channel();
        let serve = async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (tell, tls) = (tell.clone(), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        // A client that refuses our certificate is what some tests are about.
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                serve(stream, answer, tell).await;
                            }
                        }
                        None => serve(stream, answer, tell).await,
                    }
                });
            }
        };
        Server { address, asked, task: tokio::spawn(serve).abort_handle() }
    }

    pub fn at(&self, scheme: &str, host: &str) -> HubUrl {
        format!("{scheme}://{host}:{}", self.address.port()).parse().unwrap()
    }

    /// The next handshake.
    pub async fn asked(&mut self) -> Asked {
        timeout(PATIENCE, self.asked.recv()).await.unwrap().unwrap()
    }

    /// How many handshakes there were that nobody has taken note of.
    pub fn asked_so_far(&mut self) -> usize {
        self.asked.len()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin, answer: Answer, tell: mpsc::UnboundedSender<Asked>) {
    match answer {
        Answer::HangUp => return,
        Answer::PassOn(hub) => {
            let mut hub = TcpStream::connect(hub).await.unwrap();
            // Ends with whoever hangs up first.
            let _ = copy_bidirectional(&mut stream, &mut hub).await;
            return;
        }
        Answer::Welcome | Answer::Unauthorized => {}
    }
    #[expect(clippy::result_large_err, reason = "tungstenite wants it so")]
    let note = |request: &Request, response: Response| {
        let authorization = request.headers().get("authorization").map(|value| value.to_str().unwrap().to_owned());
        let repeated = format!("you said: {}", authorization.as_deref().unwrap_or("nothing"));
        // The test has ended when nobody listens.
        let _ = tell.send(Asked { target: request.uri().to_string(), authorization });
        match answer {
            Answer::Unauthorized => {
                let mut refusal = ErrorResponse::new(Some(repeated));
                *refusal.status_mut() = tokio_tungstenite::tungstenite::http::StatusCode::UNAUTHORIZED;
                Err(refusal)
            }
            _ => Ok(response),
        }
    };
    if let Ok(mut socket) = accept_hdr_async(stream, note).await {
        let _ = socket.close(None).await;
        while let Some(Ok(_)) = socket.next().await {}
    }
}
