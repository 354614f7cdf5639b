//! Opens a websocket's connection, and believes a server only what a websocket's handshake proves
//! (RFC 6455, 4.1): a proxy that answers 101 by itself must not pass for Fleet.

use reqwest::header::{self, HeaderMap, HeaderName};
use tokio_tungstenite::tungstenite::handshake;

use super::Http;
use super::request::Repeat;
use crate::servers::BackendError;

/// Why a websocket could not be opened.
#[derive(Debug)]
pub enum UpgradeError {
    /// The server (or a proxy before it) answered without switching protocols.
    Refused {
        /// HTTP status; 101 where the switch was not a websocket's.
        status: u16,
    },
    /// The server could not be reached.
    Failed(BackendError),
}

impl Http {
    /// Opens a websocket's connection: the upgraded stream, its handshake checked. It lives no longer than
    /// this client and its clones.
    ///
    /// # Errors
    /// [`UpgradeError::Refused`] where the server answered without switching, else as [`Http::send`];
    /// not repeated: the caller knows whether to wait.
    pub async fn upgrade(&self, path: &[&str]) -> Result<reqwest::Upgraded, UpgradeError> {
        let url = self.url(path, &[]).map_err(UpgradeError::Failed)?;
        let key = handshake::client::generate_key();
        // The connection is the socket's own from here on, and must not be one that is about to close.
        let request = self
            .request(Repeat::Unsent, reqwest::Method::GET, url)
            .header(header::CONNECTION, "Upgrade")
            .header(header::UPGRADE, "websocket")
            .header(header::SEC_WEBSOCKET_VERSION, "13")
            .header(header::SEC_WEBSOCKET_KEY, &key);
        let response = self.head_of(request).await;
        let response = response.map_err(|failure| UpgradeError::Failed(failure.error))?;
        let status = response.status().as_u16();
        if status != 101 || !is_handshake(response.headers(), &key) {
            return Err(UpgradeError::Refused { status });
        }
        response
            .upgrade()
            .await
            .map_err(|error| UpgradeError::Failed(self.broken(&error).error))
    }
}

/// Whether the head answers a handshake with this key that offered no extension and no subprotocol.
fn is_handshake(headers: &HeaderMap, key: &str) -> bool {
    let accept = handshake::derive_accept_key(key.as_bytes());
    let mut accepts = headers.get_all(header::SEC_WEBSOCKET_ACCEPT).iter();
    let accepted = accepts
        .next()
        .is_some_and(|it| it.as_bytes() == accept.as_bytes());
    has_word(headers, &header::UPGRADE, "websocket")
        && has_word(headers, &header::CONNECTION, "upgrade")
        && accepted
        && accepts.next().is_none()
        && !headers.contains_key(header::SEC_WEBSOCKET_EXTENSIONS)
        && !headers.contains_key(header::SEC_WEBSOCKET_PROTOCOL)
}

/// Whether one of a field's words, parted by commas, is this one, whatever the case.
fn has_word(headers: &HeaderMap, field: &HeaderName, word: &str) -> bool {
    let values = headers.get_all(field).iter();
    let mut texts = values.filter_map(|value| value.to_str().ok());
    texts.any(|text| {
        let mut words = text.split(',');
        words.any(|one| one.trim().eq_ignore_ascii_case(word))
    })
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    #[test]
    fn only_a_whole_handshake_counts() {
        // The example of RFC 6455, 1.3.
        const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
        const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
        let whole = [
            ("upgrade", "websocket"),
            ("connection", "Upgrade"),
            ("sec-websocket-accept", ACCEPT),
        ];
        let head = |fields: &[(&'static str, &'static str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in fields {
                headers.append(*name, HeaderValue::from_static(value));
            }
            headers
        };
        assert!(is_handshake(&head(&whole), KEY));
        let spelled = [
            ("upgrade", "h2c, WebSocket"),
            ("connection", "keep-alive, upgrade"),
            ("sec-websocket-accept", ACCEPT),
        ];
        assert!(is_handshake(&head(&spelled), KEY));
        for left_out in 0..whole.len() {
            let mut fields = whole.to_vec();
            let (name, _) = fields.remove(left_out);
            assert!(!is_handshake(&head(&fields), KEY), "without {name}");
        }
        for more in [
            ("sec-websocket-extensions", "permessage-deflate"),
            ("sec-websocket-protocol", "chat"),
            ("sec-websocket-accept", ACCEPT),
        ] {
            let mut fields = whole.to_vec();
            fields.push(more);
            assert!(!is_handshake(&head(&fields), KEY), "with {more:?}");
        }
        for other in [
            ("upgrade", "h2c"),
            ("connection", "close"),
            ("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo"),
        ] {
            let mut fields = whole.to_vec();
            fields.retain(|(name, _)| *name != other.0);
            fields.push(other);
            assert!(!is_handshake(&head(&fields), KEY), "with {other:?}");
        }
    }
}
