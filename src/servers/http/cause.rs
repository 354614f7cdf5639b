//! Why a connection failed, in the user's words: reads the chain of errors that the HTTP client leaves.
//! Knows nothing of requests or retries.

use std::error::Error as _;
use std::io;

use super::{names, tls};

/// Why a connection failed, as far as the error's chain tells.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// The name leads to an address that no server has.
    Forbidden(String),
    Dns,
    /// What TLS found wrong, and what to do about it.
    Tls(String, &'static str),
    Refused,
    TimedOut,
    Closed,
    Other(String),
}

impl Cause {
    /// The cause of a failed request.
    pub(super) fn of(error: &reqwest::Error) -> Self {
        let mut next: Option<&(dyn std::error::Error + 'static)> = error.source();
        let mut innermost = error.to_string();
        while let Some(cause) = next {
            innermost = cause.to_string();
            if innermost.starts_with("dns error") {
                return refused_name(cause).map_or(Self::Dns, Self::Forbidden);
            }
            if let Some(tls) = cause.downcast_ref::<rustls::Error>() {
                let (what, hint) = tls::words(tls);
                return Self::Tls(what, hint);
            }
            next = match cause.downcast_ref::<io::Error>() {
                Some(io) => {
                    // An io error's source skips what it wraps.
                    if let Some(inner) = io.get_ref() {
                        Some(inner)
                    } else {
                        return Self::of_io(io);
                    }
                }
                None => cause.source(),
            };
        }
        if error.is_timeout() {
            return Self::TimedOut;
        }
        match innermost.as_str() {
            text if text.contains("connection closed")
                || text.contains("end of file")
                || text.contains("eof") =>
            {
                Self::Closed
            }
            text => Self::Other(text.to_owned()),
        }
    }

    fn of_io(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Self::Refused,
            io::ErrorKind::TimedOut => Self::TimedOut,
            io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::UnexpectedEof => Self::Closed,
            _ => Self::Other(error.to_string()),
        }
    }

    /// What it is called, and what to do; `host` is the server's name.
    pub(super) fn words(&self, host: &str) -> (String, Option<String>) {
        match self {
            Self::Dns => (
                format!("the name `{host}` can't be resolved"),
                Some("check `base_url`, and the name service of this machine".into()),
            ),
            Self::Tls(what, hint) => (format!("TLS failed: {what}"), Some((*hint).into())),
            Self::Refused => (
                "the connection was refused".into(),
                Some("check the address and port in `base_url`, and that the server runs".into()),
            ),
            Self::TimedOut => (
                "no answer to the connection".into(),
                Some("check `base_url`, and that a firewall lets this machine through".into()),
            ),
            Self::Closed => (
                "the connection was closed before the answer was complete".into(),
                Some("look at the log of the server, and for a proxy or a firewall that cuts connections".into()),
            ),
            Self::Forbidden(text) | Self::Other(text) => (text.clone(), None),
        }
    }
}

/// What the resolver said, where it refused the name.
fn refused_name(error: &(dyn std::error::Error + 'static)) -> Option<String> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(refused) = error.downcast_ref::<names::Refused>() {
            return Some(refused.to_string());
        }
        next = error.source();
    }
    None
}
