//! What a client shows at the door, and whom it trusts there: read from files anew
//! for each attempt to connect, so that what was replaced meanwhile counts.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use tokio::task::spawn_blocking;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_tungstenite::tungstenite::http::HeaderValue;

use super::tls;
use super::url::HubUrl;

/// Longer ones do not fit into a request's head everywhere.
const MOST_TOKEN: usize = 4 * 1024;

/// A system's whole list of authorities takes a quarter of this.
const MOST_CA: usize = 1024 * 1024;

/// What one attempt to connect takes.
pub struct Papers {
    pub token: Option<Token>,
    pub tls: Option<(TlsConnector, ServerName<'static>)>,
}

impl Papers {
    /// Off the loop that connects: a disk may be slow, and the system's list is long.
    pub async fn read(hub: &HubUrl) -> Result<Papers, String> {
        let hub = hub.clone();
        spawn_blocking(move || {
            let token = hub.token_file.as_deref().map(Token::read).transpose()?;
            let tls = match hub.tls {
                Some(name) => Some((connector(hub.ca.as_deref())?, name)),
                None => None,
            };
            Ok(Papers { token, tls })
        })
        .await
        .map_err(|error| error.to_string())?
    }
}

fn connector(ca: Option<&Path>) -> Result<TlsConnector, String> {
    let Some(file) = ca else { return tls::trusting_the_system() };
    let about = |problem| format!("{problem} (--ca {})", file.display());
    let pem = read(file, MOST_CA).map_err(|error| about(error.to_string()))?;
    tls::trusting(&pem).map_err(about)
}

/// What a hub asks for before it lets in. It has no `Debug`, so that it gets into no log.
pub struct Token(String);

impl Token {
    fn read(file: &Path) -> Result<Token, String> {
        let about = |problem| format!("{problem} (--token-file {})", file.display());
        let bytes = read(file, MOST_TOKEN).map_err(|error| about(error.to_string()))?;
        let token = String::from_utf8_lossy(&bytes).trim().to_owned();
        // What can stand in a header. How long one has to be is the hub's affair.
        if token.is_empty() || !token.chars().all(|c| c.is_ascii_graphic()) {
            return Err(about("expected one token, of visible ASCII characters without spaces".into()));
        }
        Ok(Token(token))
    }

    /// For the header `Authorization`.
    pub fn header(&self) -> HeaderValue {
        let mut value = HeaderValue::from_maybe_shared(format!("Bearer {}", self.0)).expect("visible ASCII characters");
        value.set_sensitive(true);
        value
    }

    /// What somebody answered who may have repeated what we sent.
    pub fn out_of(&self, text: &str) -> String {
        text.replace(&self.0, "…")
    }
}

/// A whole file of up to so many bytes.
fn read(file: &Path, most: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![];
    File::open(file)?.take(most as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > most {
        return Err(io::Error::other(format!("expected a file of at most {} KiB", most / 1024)));
    }
    Ok(bytes)
}
