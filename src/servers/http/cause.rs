//! Why a connection failed, in the user's words: reads the chain of errors that the HTTP client leaves.
//! Knows nothing of requests or retries.

use std::error::Error;
use std::io;

use rustix::io::Errno;

use super::names::{NoThread, Refused};
use super::proxies::Proxy;
use super::tls;
use crate::servers::BackendError;

/// Why a connection failed, as far as the error's chain tells.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// The name leads to an address that no server has.
    Forbidden(String),
    Dns,
    /// The server's certificate is not to be believed: what is wrong, and what to do about it.
    Certificate((String, &'static str)),
    /// The same of TLS otherwise.
    Tls((String, &'static str)),
    Refused,
    TimedOut,
    /// It was closed before anything of the request was sent.
    Unsent,
    Closed,
    /// The proxy does not let the connection through.
    Proxy(&'static str),
    /// What came is not HTTP, or too much of it.
    NotHttp(&'static str),
    /// This process may not have what a connection needs.
    Limit(&'static str),
    Other(String),
}

impl Cause {
    /// The cause of a failed request.
    pub(super) fn of(error: &reqwest::Error) -> Self {
        let mut next = error.source();
        let mut innermost = error.to_string();
        // How the HTTP library tells of chunks that are none.
        let mut bad_data = false;
        while let Some(cause) = next {
            innermost = cause.to_string();
            if innermost.starts_with("dns error") {
                return of_names(cause);
            }
            if let Some(known) = known(cause).or_else(|| by_words(&innermost)) {
                return known;
            }
            next = below(cause);
            if let Some(io) = cause.downcast_ref::<io::Error>() {
                bad_data |= matches!(
                    io.kind(),
                    io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput
                );
                if next.is_none() {
                    return Self::of_io(io);
                }
            }
        }
        if bad_data {
            return Self::NotHttp("something that is not HTTP");
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
        if let Some(errno) = error.raw_os_error().map(Errno::from_raw_os_error)
            && let Some(limit) = limit(errno)
        {
            return Self::Limit(limit);
        }
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

    /// The error of the server at `origin`, whose name is `host`, reached through `proxy`.
    pub(super) fn into_error(
        self,
        origin: &str,
        host: Option<&str>,
        proxy: Option<&Proxy>,
    ) -> BackendError {
        let way = proxy.map_or(String::new(), |proxy| {
            format!(" through the proxy {} ({})", proxy.shown(), proxy.variable)
        });
        let where_ = |server: &str| match proxy {
            Some(proxy) => format!("the variable {}", proxy.variable),
            None => server.to_owned(),
        };
        let name = proxy.map_or(host.unwrap_or_default(), Proxy::host);
        let message = |what: &str| format!("{origin} can't be reached{way}: {what}");
        let (what, hint) = match self {
            Self::Forbidden(message) => return BackendError::Forbidden { message },
            Self::Certificate((what, hint)) => {
                return BackendError::Setup {
                    message: message(&format!("TLS failed: {what}")),
                    hint: Some(hint.into()),
                };
            }
            Self::Limit(what) => {
                return BackendError::Setup {
                    message: message(what),
                    hint: Some("raise the limits of this process (`ulimit -n`, `ulimit -u`; in a service LimitNOFILE, TasksMax)".into()),
                };
            }
            Self::NotHttp(what) => {
                return BackendError::Answer {
                    status: None,
                    message: format!("{origin} answered with {what}"),
                    hint: Some("check the address and port in `base_url`: something other than the server's API listens there".into()),
                };
            }
            Self::Dns => (
                format!("the name `{name}` can't be resolved"),
                Some(format!("check {}, and the name service of this machine", where_("`base_url`"))),
            ),
            Self::Tls((what, hint)) => (format!("TLS failed: {what}"), Some(hint.into())),
            Self::Refused => (
                "the connection was refused".into(),
                Some(match proxy {
                    Some(proxy) => format!("check the address and port in the variable {}, and that the proxy runs", proxy.variable),
                    None => "check the address and port in `base_url`, and that the server runs".into(),
                }),
            ),
            Self::TimedOut => (
                "no answer to the connection".into(),
                Some(format!("check {}, and that a firewall lets this machine through", where_("`base_url`"))),
            ),
            Self::Closed | Self::Unsent => (
                "the connection was closed before the answer was complete".into(),
                Some("look at the log of the server, and for a proxy or a firewall that cuts connections".into()),
            ),
            Self::Proxy(what) => (
                what.into(),
                Some("look at the proxy's log and its credentials; servers that need no proxy are named in NO_PROXY".into()),
            ),
            Self::Other(text) => (text, None),
        };
        BackendError::Unreachable {
            message: message(&what),
            hint,
        }
    }
}

/// The next error of a chain: an io error's source skips what it wraps.
fn below<'a>(cause: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    match cause.downcast_ref::<io::Error>() {
        Some(io) => io.get_ref().map(|inner| inner as &(dyn Error + 'static)),
        None => cause.source(),
    }
}

/// Why a name has no address.
fn of_names(error: &(dyn Error + 'static)) -> Cause {
    let mut next = Some(error);
    while let Some(cause) = next {
        if let Some(known) = known(cause) {
            return known;
        }
        next = below(cause);
    }
    Cause::Dns
}

/// A cause that is a type of its own.
fn known(cause: &(dyn Error + 'static)) -> Option<Cause> {
    if let Some(refused) = cause.downcast_ref::<Refused>() {
        return Some(Cause::Forbidden(refused.to_string()));
    }
    if cause.downcast_ref::<NoThread>().is_some() {
        return Some(Cause::Limit(
            "the system gives this process no more threads",
        ));
    }
    let tls = cause.downcast_ref::<rustls::Error>()?;
    let words = tls::words(tls);
    Some(match tls {
        rustls::Error::InvalidCertificate(_) => Cause::Certificate(words),
        _ => Cause::Tls(words),
    })
}

/// A cause that the library's error tells by its words alone.
fn by_words(text: &str) -> Option<Cause> {
    Some(match text {
        // What is wrong with the name stands below.
        "operation was canceled" => Cause::Unsent,
        "message head is too large" => Cause::NotHttp("a head that is larger than an answer's"),
        "tunnel error: proxy authorization required" => {
            Cause::Proxy("the proxy wants credentials, or other ones than it was given")
        }
        "tunnel error: unsuccessful" => Cause::Proxy("the proxy refuses the connection"),
        "tunnel error: unexpected end of file" => Cause::Proxy("the proxy closed the connection"),
        "tunnel error: proxy response headers too long" => {
            Cause::Proxy("the proxy's answer is not a proxy's")
        }
        _ if text.starts_with("invalid ") && text.ends_with(" parsed") => {
            Cause::NotHttp("something that is not HTTP")
        }
        _ => return None,
    })
}

/// The limit that an error of the system stands for.
pub(super) fn limit(errno: Errno) -> Option<&'static str> {
    match errno {
        Errno::MFILE => Some("this process may open no more files and connections"),
        Errno::NFILE => Some("this machine can open no more files and connections"),
        Errno::NOMEM | Errno::NOBUFS => Some("the system gives this process no more memory"),
        _ => None,
    }
}
