//! Where a hub is, and what it takes to be let in.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use ringleader_shared::id::RingName;
use thiserror::Error;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_tungstenite::tungstenite::http::Uri;

/// Where a hub is: `ws://HOST[:PORT]`, or `wss://` for TLS, with a ring's name or a
/// path of its own; and the files that it takes to be let in there.
///
/// ```
/// # use ringleader_client::transport::hub::HubUrl;
/// let hub: HubUrl = "wss://lab.example".parse().unwrap();
/// let hub = hub.with_token_file("/run/secrets/ringleader").with_ca("lab-ca.pem");
/// ```
///
/// Both are read again for each attempt to connect, so that one that is replaced
/// counts from then on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubUrl {
    authority: String,
    pub(super) host: String,
    pub(super) port: u16,
    /// As it was given; empty where only a host was.
    path: String,
    ring: RingName,
    /// With TLS, whom the hub's certificate has to name.
    pub(super) tls: Option<ServerName<'static>>,
    pub(super) ca: Option<PathBuf>,
    pub(super) token_file: Option<PathBuf>,
}

/// Why a text is no [`HubUrl`].
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("expected ws://HOST:PORT or wss://HOST:PORT, such as ws://localhost:8080; got {text:?}: {problem}")]
pub struct BadHubUrl {
    text: String,
    problem: &'static str,
}

impl FromStr for HubUrl {
    type Err = BadHubUrl;

    fn from_str(text: &str) -> Result<Self, BadHubUrl> {
        let bad = |problem| BadHubUrl { text: without_secrets(text), problem };
        let uri: Uri = text.parse().map_err(|_| bad("that is no URL"))?;
        let secure = match uri.scheme_str() {
            Some("ws") => false,
            Some("wss") => true,
            Some("http" | "https") => return Err(bad("the scheme is ws, or wss for TLS")),
            _ => return Err(bad("it has no scheme; write ws:// in front, or wss:// for TLS")),
        };
        let authority = uri.authority().ok_or_else(|| bad("it has no host"))?;
        if authority.as_str().contains('@') {
            return Err(bad("a user and a password do not belong in it"));
        }
        // An address of IPv6 stands in brackets in a URL and without them elsewhere.
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        if host.is_empty() {
            return Err(bad("it has no host"));
        }
        // What is no port is `None` here, too.
        let has_port = authority.as_str().len() > authority.host().len();
        if authority.port_u16() == Some(0) || (authority.port_u16().is_none() && has_port) {
            return Err(bad("the port is a number from 1 to 65535"));
        }
        if uri.query().is_some_and(has_token) {
            return Err(bad(
                "a token does not belong in it, for URLs end up in logs; put it into a file, for --token-file",
            ));
        }
        let name = ServerName::try_from(host.clone());
        let tls = if secure { Some(name.map_err(|_| bad("no certificate can be for such a host"))?) } else { None };
        let path = uri.path_and_query().map_or("", |path| path.as_str()).trim_start_matches('/').to_owned();
        Ok(HubUrl {
            authority: authority.to_string(),
            host,
            port: authority.port_u16().unwrap_or(if secure { 443 } else { 80 }),
            path,
            ring: RingName::default(),
            tls,
            ca: None,
            token_file: None,
        })
    }
}

impl HubUrl {
    /// Another ring than `default`. A URL that has a path of its own keeps it.
    pub fn with_ring(self, ring: RingName) -> Self {
        HubUrl { ring, ..self }
    }

    /// With `wss://`: trust the authorities whose certificates this PEM file holds, and
    /// no others. Without it the system's own are trusted.
    pub fn with_ca(self, file: impl Into<PathBuf>) -> Self {
        HubUrl { ca: Some(file.into()), ..self }
    }

    /// Show the hub the token that this file holds. It gets into no log of `tracing`; a
    /// program that has another logger keeps `tungstenite` above the level `trace` there.
    pub fn with_token_file(self, file: impl Into<PathBuf>) -> Self {
        HubUrl { token_file: Some(file.into()), ..self }
    }

    /// Where to connect. The default ring is at the root, where other hubs are too.
    pub(super) fn target(&self, purpose: Purpose) -> String {
        let ring = &self.ring;
        let is_default = *ring == RingName::default();
        let path = match (&*self.path, is_default, purpose) {
            ("", true, Purpose::Join) => "?join".into(),
            ("", true, Purpose::Watch) => "watch".into(),
            ("", false, Purpose::Join) => format!("rings/{ring}?join"),
            ("", false, Purpose::Watch) => format!("rings/{ring}/watch"),
            (path, ..) => path.to_owned(),
        };
        format!("{self}/{path}")
    }

    /// The host and port, as they stand in a request over HTTP.
    pub(super) fn authority(&self) -> &str {
        &self.authority
    }

    /// Where the ring's jobs and all that is theirs are. A path of the URL's own may name
    /// the ring.
    pub(super) fn ring_path(&self) -> String {
        let path = self.path.split('?').next().unwrap_or_default();
        let named = path.strip_prefix("rings/").and_then(|rest| rest.split('/').next()?.parse().ok());
        format!("/rings/{}", named.as_ref().unwrap_or(&self.ring))
    }
}

impl fmt::Display for HubUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls.is_some() { "wss" } else { "ws" };
        write!(f, "{scheme}://{}", self.authority)
    }
}

/// What a link is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To greet, and be a member. Saying so spares us what spectators are shown.
    Join,
    /// To watch, and nothing else.
    Watch,
}

/// `token=`, `access_token=` and the like.
fn has_token(query: &str) -> bool {
    let names = query.split('&').map(|pair| pair.split('=').next().unwrap_or_default());
    names.map(str::to_ascii_lowercase).any(|name| name.ends_with("token"))
}

/// A URL without user, password and query, to be shown to people and kept in logs.
fn without_secrets(text: &str) -> String {
    let (text, query) = text.split_once('?').map_or((text, ""), |(text, _)| (text, "?…"));
    match (text.split_once("://"), text.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}://…@{host}{query}"),
        (None, Some((_, host))) => format!("…@{host}{query}"),
        (_, None) => format!("{text}{query}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_lead_to_a_ring() {
        let table = [
            ("ws://localhost:8080", "ws://localhost:8080/rings/blue?join", "ws://localhost:8080/rings/blue/watch"),
            ("ws://localhost:8080/", "ws://localhost:8080/rings/blue?join", "ws://localhost:8080/rings/blue/watch"),
            ("ws://hub", "ws://hub/rings/blue?join", "ws://hub/rings/blue/watch"),
            ("ws://[::1]:9", "ws://[::1]:9/rings/blue?join", "ws://[::1]:9/rings/blue/watch"),
            ("ws://hub/chat?x=1", "ws://hub/chat?x=1", "ws://hub/chat?x=1"),
            ("wss://hub", "wss://hub/rings/blue?join", "wss://hub/rings/blue/watch"),
            ("wss://hub/chat?x=1", "wss://hub/chat?x=1", "wss://hub/chat?x=1"),
        ];
        for (text, join, watch) in table {
            let url = text.parse::<HubUrl>().unwrap().with_ring("blue".parse().unwrap());
            assert_eq!((&*url.target(Purpose::Join), &*url.target(Purpose::Watch)), (join, watch));
        }
        let url: HubUrl = "ws://hub".parse().unwrap();
        assert_eq!((&*url.target(Purpose::Join), &*url.target(Purpose::Watch)), ("ws://hub/?join", "ws://hub/watch"));
    }

    #[test]
    fn jobs_are_of_the_ring_that_is_joined() {
        let table = [
            ("ws://hub", "/rings/blue"),
            ("ws://hub/rings/red?join", "/rings/red"),
            ("wss://hub/rings/red/watch", "/rings/red"),
            ("ws://hub/chat", "/rings/blue"),
        ];
        for (text, expected) in table {
            let url = text.parse::<HubUrl>().unwrap().with_ring("blue".parse().unwrap());
            assert_eq!(url.ring_path(), expected, "{text}");
        }
    }

    #[test]
    fn ports_and_names_to_verify_follow_from_the_url() {
        let table = [
            ("ws://hub", 80, None),
            ("ws://hub:443", 443, None),
            ("wss://hub", 443, Some("hub")),
            ("wss://my_hub-1:80", 80, Some("my_hub-1")),
            ("wss://127.0.0.1:9", 9, Some("127.0.0.1")),
            ("wss://[::1]:9", 9, Some("::1")),
        ];
        for (text, port, name) in table {
            let url: HubUrl = text.parse().unwrap();
            let tls = url.tls.as_ref().map(|name| name.to_str());
            assert_eq!((url.port, tls.as_deref()), (port, name), "{text}");
            assert_eq!(url.to_string(), text);
        }
    }

    #[test]
    fn wrong_urls_are_told_apart() {
        let table = [
            ("", "no URL"),
            ("localhost:8080", "ws://"),
            ("hub", "no scheme"),
            ("http://localhost:8080", "scheme is ws"),
            ("https://localhost", "wss for TLS"),
            ("ws://", "no URL"),
            ("wss://", "no URL"),
            ("ws://:8080", "no host"),
            ("wss://a..b", "no certificate"),
            ("ws://user:secret@hub", "password"),
            ("ws://hub:99999", "port"),
            ("ws://hub:0", "port"),
            ("ws://hub?token=secret", "--token-file"),
            ("wss://hub/rings/red?join&Token=secret", "--token-file"),
            ("wss://hub/chat?access_token=secret", "--token-file"),
            ("http://hub?token=secret", "scheme is ws"),
            ("user:secret@hub", "ws://"),
        ];
        for (text, expected) in table {
            let error = text.parse::<HubUrl>().unwrap_err();
            assert!(error.to_string().contains(expected), "{text}: {error}");
            assert!(!format!("{error} {error:?}").contains("secret"), "{text}: {error:?}");
        }
    }
}
