//! The secrets that open the hub: one to join, one to watch.
//!
//! Programs show a token in a header, `Authorization: Bearer …`. Pages cannot set
//! headers on a WebSocket, so they show it as a subprotocol:
//!
//! ```js
//! new WebSocket(url, ["ringleader", "bearer." + encodeURIComponent(token)])
//! ```
//!
//! The hub answers with the subprotocol `ringleader` and never says the token again.
//! A token is never in a URL: those are kept in histories, logs and referrers.
//!
//! A page that shows the join token may join whatever its origin is. The rule about
//! origins is there because a browser lets any page open a WebSocket to what its
//! owner can reach; it does not hand out a token for that. So whoever shows one knows it.

use std::fmt;

use axum::http::{HeaderMap, header};
use subtle::ConstantTimeEq;
use thiserror::Error;

/// The subprotocol that pages ask for beside the token.
pub const SUBPROTOCOL: &str = "ringleader";

/// What a token begins with where it is shown as a subprotocol.
const AS_SUBPROTOCOL: &str = "bearer.";

/// Shorter ones can be guessed.
const FEWEST_BYTES: usize = 16;

/// A secret. It can be compared, and not printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    text: String,
    /// The same as a page writes it: not all of base64's characters may stand in the
    /// name of a subprotocol.
    encoded: String,
}

/// Why a text is no [`Token`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error(
    "expected a token of at least {FEWEST_BYTES} visible ASCII characters without spaces, {}; \
     make one with: openssl rand -base64 32",
    match .0 { Some(bytes) => format!("got {bytes}"), None => "got others among them".into() }
)]
pub struct BadToken(Option<usize>);

impl Token {
    /// # Errors
    ///
    /// Says how to make one, where this is too short or has characters that cannot
    /// stand in a header.
    pub fn new(text: &str) -> Result<Self, BadToken> {
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(BadToken(None));
        }
        if text.len() < FEWEST_BYTES {
            return Err(BadToken(Some(text.len())));
        }
        Ok(Token { text: text.into(), encoded: encode_uri_component(text) })
    }

    /// Takes as long for a wrong one as for the right one, but tells by that how long it is.
    fn is(&self, shown: &Shown) -> bool {
        let (own, shown) = match shown {
            Shown::Header(text) => (&self.text, text),
            Shown::Subprotocol(text) => (&self.encoded, text),
        };
        own.as_bytes().ct_eq(shown.as_bytes()).into()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// As JavaScript's function of that name.
fn encode_uri_component(text: &str) -> String {
    let stays = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.!~*'()".contains(&byte);
    let encoded =
        text.bytes().map(|byte| if stays(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") });
    encoded.collect()
}

/// The tokens of a hub.
#[derive(Debug, Clone, Default)]
pub struct Tokens {
    /// What joining takes; `None`: nothing.
    pub join: Option<Token>,
    /// What watching and asking take, besides the join token; `None`: nothing.
    pub watch: Option<Token>,
}

/// What somebody may do, by the token it shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rights {
    /// Whether the join token was shown.
    pub join: bool,
    /// Whether a token was shown with which one may watch, or none is needed.
    pub watch: bool,
}

/// A token was shown that is none of this hub's.
#[derive(Debug, PartialEq, Eq)]
pub struct Unknown;

impl Tokens {
    /// What these headers give a right to.
    pub fn rights(&self, headers: &HeaderMap) -> Result<Rights, Unknown> {
        let shown = shown(headers);
        let is = |token: &Option<Token>| shown.iter().zip(token).any(|(shown, token)| token.is(shown));
        let (joins, watches) = (is(&self.join), is(&self.watch));
        let any = self.join.is_some() || self.watch.is_some();
        if any && shown.is_some() && !(joins || watches) {
            return Err(Unknown);
        }
        Ok(Rights { join: joins, watch: joins || watches || self.watch.is_none() })
    }
}

enum Shown<'a> {
    Header(&'a str),
    Subprotocol(&'a str),
}

fn shown(headers: &HeaderMap) -> Option<Shown<'_>> {
    let authorization = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let bearer = authorization
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| Shown::Header(token.trim()));
    bearer.or_else(|| subprotocols(headers).find_map(|name| name.strip_prefix(AS_SUBPROTOCOL)).map(Shown::Subprotocol))
}

/// The subprotocols that a page would speak.
pub fn subprotocols(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let values = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).into_iter();
    values.filter_map(|value| value.to_str().ok()).flat_map(|names| names.split(',')).map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    const JOIN: &str = "Jo+in/0123456789==";
    const WATCH: &str = "watch-0123456789";

    fn rights(tokens: [Option<&str>; 2], name: &str, value: &str) -> Result<(bool, bool), Unknown> {
        let [join, watch] = tokens.map(|token| token.map(|token| Token::new(token).unwrap()));
        let mut headers = HeaderMap::new();
        headers.insert(name.parse::<header::HeaderName>().unwrap(), value.parse().unwrap());
        Tokens { join, watch }.rights(&headers).map(|rights| (rights.join, rights.watch))
    }

    #[test]
    fn what_tokens_give_a_right_to() {
        let (a, p) = ("authorization", "sec-websocket-protocol");
        let (both, one, none) = ([Some(JOIN), Some(WATCH)], [Some(JOIN), None], [None, None]);
        let table = [
            (none, "accept", "*/*", Ok((false, true))),
            (none, a, "Bearer whatever", Ok((false, true))),
            (one, "accept", "*/*", Ok((false, true))),
            (one, a, "Bearer Jo+in/0123456789==", Ok((true, true))),
            (one, a, "bearer  Jo+in/0123456789== ", Ok((true, true))),
            (one, a, "Basic Jo+in/0123456789==", Ok((false, true))),
            (one, a, "Bearer Jo+in/0123456789=", Err(Unknown)),
            (one, a, "Bearer Jo+in/0123456789=!", Err(Unknown)),
            (one, a, "Bearer ", Err(Unknown)),
            (both, "accept", "*/*", Ok((false, false))),
            (both, a, "Bearer watch-0123456789", Ok((false, true))),
            (both, a, "Bearer Jo+in/0123456789==", Ok((true, true))),
            (both, p, "ringleader", Ok((false, false))),
            (both, p, "ringleader, bearer.watch-0123456789", Ok((false, true))),
            (both, p, "bearer.Jo%2Bin%2F0123456789%3D%3D,ringleader", Ok((true, true))),
            (both, p, "ringleader, bearer.Join0123456789", Err(Unknown)),
            ([None, Some(WATCH)], a, "Bearer watch-0123456789", Ok((false, true))),
        ];
        for (tokens, name, value, expected) in table {
            assert_eq!(rights(tokens, name, value), expected, "{name}: {value} at {tokens:?}");
        }
    }

    #[test]
    fn weak_or_strange_tokens_are_no_tokens() {
        for (text, problem) in [
            ("", "got 0"),
            ("fifteen-letters", "got 15"),
            ("two words are not one token", "others"),
            ("schlüssel-für-die-tür", "others"),
            ("a\nnewline-in-the-middle", "others"),
        ] {
            let error = Token::new(text).unwrap_err().to_string();
            assert!(error.contains(problem) && error.contains("openssl rand"), "{text:?}: {error}");
        }
        assert!(Token::new("sixteen-letters!").is_ok());
    }

    #[test]
    fn a_token_is_not_printed() {
        let tokens = Tokens { join: Token::new(JOIN).ok(), watch: None };
        assert_eq!(format!("{tokens:?}"), "Tokens { join: Some(Token(…)), watch: None }");
    }
}
