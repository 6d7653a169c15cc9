//! The bytes between us and a hub, before anything is said: TCP, and TLS where it is asked for.

use std::io;
use std::net::IpAddr;
use std::sync::Once;

use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;
use tokio_util::either::Either;
use tracing::warn;

use super::hub::{ConnectError, PATIENCE};
use super::papers::{Papers, Token};
use super::tls;
use super::url::HubUrl;

/// What bytes travel over. Boxed, because TLS keeps much that plain links do without.
pub type Stream = Either<TcpStream, Box<TlsStream<TcpStream>>>;

/// Connects, and says what token to show.
pub async fn open(hub: &HubUrl) -> Result<(Stream, Option<Token>), ConnectError> {
    let papers = Papers::read(hub).await.map_err(ConnectError::Unready)?;
    let unreachable = |error: io::Error| ConnectError::Unreachable(error.to_string());
    let seconds = PATIENCE.as_secs();
    let stream = timeout(PATIENCE, TcpStream::connect((&*hub.host, hub.port)))
        .await
        .map_err(|_| ConnectError::Unreachable(format!("no answer in {seconds} s")))?
        .map_err(unreachable)?;
    stream.set_nodelay(true).map_err(unreachable)?;
    let token = papers.token;
    if token.is_some() && papers.tls.is_none() && may_be_overheard(stream.peer_addr().map_err(unreachable)?.ip()) {
        static SAID: Once = Once::new();
        SAID.call_once(|| warn!("{hub}: the token travels in the clear; a hub with TLS is at wss://"));
    }
    let stream = match papers.tls {
        None => Either::Left(stream),
        Some((connector, name)) => {
            let stream = timeout(PATIENCE, connector.connect(name, stream))
                .await
                .map_err(|_| {
                    ConnectError::NoHub(format!("no TLS handshake in {seconds} s; a hub without TLS is at ws://"))
                })?
                .map_err(tls::explain)?;
            Either::Right(Box::new(stream))
        }
    };
    Ok((stream, token))
}

/// Whether others than this machine may see what goes there.
fn may_be_overheard(peer: IpAddr) -> bool {
    !peer.to_canonical().is_loopback()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_out_of_earshot() {
        let table = [
            ("127.0.0.1", false),
            ("127.8.9.1", false),
            ("::1", false),
            ("::ffff:127.0.0.1", false),
            ("10.0.0.1", true),
            ("172.17.0.2", true),
            ("::ffff:10.0.0.1", true),
            ("fd00::1", true),
        ];
        for (peer, expected) in table {
            assert_eq!(may_be_overheard(peer.parse().unwrap()), expected, "{peer}");
        }
    }
}
