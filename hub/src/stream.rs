//! The bytes of one connection: TCP as it is, or TLS over it.

use std::io;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;

/// What HTTP and WebSockets are read from and written to. TLS is boxed: its state is
/// a kilobyte, and most hubs speak plain TCP.
pub type Stream = Either<TcpStream, Box<TlsStream<TcpStream>>>;

/// Does the TLS handshake, where there is to be one.
pub async fn accept(tcp: TcpStream, tls: Option<&Arc<ServerConfig>>) -> io::Result<Stream> {
    match tls {
        None => Ok(Either::Left(tcp)),
        Some(tls) => Ok(Either::Right(Box::new(TlsAcceptor::from(tls.clone()).accept(tcp).await?))),
    }
}
