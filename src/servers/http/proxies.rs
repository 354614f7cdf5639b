//! The proxy that the environment names for the way to the server, understood before anything is sent: one
//! that is malformed is an error, never ignored, for the token would take another way than was meant.

use std::ffi::OsString;

use url::Url;

use crate::address;
use crate::secret::Secret;
use crate::servers::BackendError;

/// The proxy on the way to the server.
#[derive(Debug, Clone)]
pub(super) struct Proxy {
    /// The variable that names it.
    pub(super) variable: &'static str,
    /// Its address, credentials included.
    url: Url,
    /// `NO_PROXY`, as it was when the client was made.
    except: String,
}

/// The proxy for a URL, as curl and the HTTP library read the environment: `HTTPS_PROXY` or `HTTP_PROXY` by
/// the URL's scheme, else `ALL_PROXY`, in capitals or not; `HTTP_PROXY` never in a CGI program, whose
/// callers could set it.
///
/// # Errors
/// [`BackendError::Setup`] where the variable names no HTTP proxy, [`BackendError::Forbidden`] where it
/// names an address that none has. The value, which may hold a password, is never shown.
pub(super) fn of_environment(
    base: &Url,
    variables: &dyn Fn(&str) -> Option<OsString>,
) -> Result<Option<Proxy>, BackendError> {
    // What never leaves this machine needs no proxy.
    if address::is_loopback(base) || variables("REQUEST_METHOD").is_some() {
        return Ok(None);
    }
    let names: [&'static str; 4] = match base.scheme() {
        "https" => ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"],
        _ => ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"],
    };
    let set = |name: &&'static str| {
        let value = variables(name).filter(|value| !value.is_empty());
        value.map(|value| (*name, value))
    };
    let Some((variable, value)) = names.iter().find_map(set) else {
        return Ok(None);
    };
    let malformed = |what: &str| {
        BackendError::Setup {
        message: format!("the proxy in the variable {variable} can't be used: {what}"),
        hint: Some(
            "a proxy is written `http://HOST:PORT`, with `USER:PASSWORD@` before the host where it asks for them; set NO_PROXY for servers that need none".into(),
        ),
    }
    };
    let text = value
        .into_string()
        .map_err(|_| malformed("it is not UTF-8"))?;
    let text = text.trim();
    let url = match text.contains("://") {
        true => Url::parse(text),
        false => Url::parse(&format!("http://{text}")),
    };
    let url = url.map_err(|_| malformed("it is not an address"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(malformed(
            "only HTTP proxies are spoken to (http:// or https://)",
        ));
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err(malformed("it names no host"));
    }
    if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
        return Err(malformed("it has more after the host and the port"));
    }
    if let Some(reason) = address::literal(&url).and_then(address::forbidden) {
        return Err(BackendError::Forbidden {
            message: format!(
                "the proxy in the variable {variable} has an address that is not connected to: it is {reason}"
            ),
        });
    }
    let except = ["NO_PROXY", "no_proxy"]
        .iter()
        .find_map(|name| variables(name));
    Ok(Some(Proxy {
        variable,
        url,
        except: except.unwrap_or_default().to_string_lossy().into_owned(),
    }))
}

impl Proxy {
    /// For the HTTP library.
    pub(super) fn for_client(&self) -> reqwest::Result<reqwest::Proxy> {
        let except = reqwest::NoProxy::from_string(&self.except);
        Ok(reqwest::Proxy::all(self.url.clone())?.no_proxy(except))
    }

    /// Its address without credentials, for messages.
    pub(super) fn shown(&self) -> String {
        self.url.origin().ascii_serialization()
    }

    /// Its host, for messages.
    pub(super) fn host(&self) -> &str {
        self.url.host_str().unwrap_or_default()
    }

    /// The password that its address holds, if any.
    pub(super) fn password(&self) -> Option<Secret> {
        let password = self.url.password()?;
        Some(Secret::new(password.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(base: &str, variables: &[(&str, &str)]) -> Result<Option<String>, String> {
        let base = Url::parse(base).unwrap();
        let look_up = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| OsString::from(value))
        };
        match of_environment(&base, &look_up) {
            Ok(proxy) => Ok(proxy.map(|proxy| format!("{} {}", proxy.variable, proxy.shown()))),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn the_first_variable_that_is_set_decides() {
        const SECURE: &str = "https://fleet.example.com";
        const PLAIN: &str = "http://fleet.example.com";
        for (base, variables, expected) in [
            (SECURE, &[][..], None),
            (SECURE, &[("HTTPS_PROXY", "")], None),
            (SECURE, &[("HTTP_PROXY", "http://p:1")], None),
            (
                SECURE,
                &[("https_proxy", "p.example:3128"), ("ALL_PROXY", "http://q")],
                Some("https_proxy http://p.example:3128"),
            ),
            (
                SECURE,
                &[
                    ("HTTPS_PROXY", ""),
                    ("all_proxy", "https://user:pw@q.example/"),
                ],
                Some("all_proxy https://q.example"),
            ),
            (
                PLAIN,
                &[("HTTP_PROXY", "10.0.0.1:8080")],
                Some("HTTP_PROXY http://10.0.0.1:8080"),
            ),
            (
                PLAIN,
                &[("REQUEST_METHOD", "GET"), ("HTTP_PROXY", "p:1")],
                None,
            ),
            ("http://127.0.0.1:8080", &[("HTTP_PROXY", "\0")], None),
        ] {
            let expected = expected.map(str::to_owned);
            assert_eq!(found(base, variables), Ok(expected), "{base} {variables:?}");
        }
    }

    #[test]
    fn what_is_no_proxy_is_an_error_that_does_not_show_it() {
        for (value, what) in [
            ("http://", "it is not an address"),
            ("http://secret@:80", "it is not an address"),
            ("http://se cret", "it is not an address"),
            ("http://secret:secret@proxy:99999", "it is not an address"),
            (
                "socks5://secret:1080",
                "only HTTP proxies are spoken to (http:// or https://)",
            ),
            (
                "http://proxy:3128/secret",
                "it has more after the host and the port",
            ),
            (
                "http://proxy:3128?secret",
                "it has more after the host and the port",
            ),
        ] {
            let told = found("https://fleet.example.com", &[("HTTPS_PROXY", value)]);
            let expected = format!("the proxy in the variable HTTPS_PROXY can't be used: {what}");
            assert_eq!(told, Err(expected), "{value}");
        }
    }

    #[test]
    fn a_forbidden_address_is_none_of_a_proxy_s_in_any_spelling() {
        for value in [
            "http://169.254.169.254",
            "169.254.169.254:80",
            "http://0xa9fea9fe:3128",
            "http://[::ffff:169.254.169.254]:3128",
            "http://secret:secret@0.0.0.0",
            "http://[fd00:ec2::254]",
        ] {
            let told = found("https://fleet.example.com", &[("ALL_PROXY", value)]).unwrap_err();
            let begins = "the proxy in the variable ALL_PROXY has an address that is not connected to: it is ";
            assert!(
                told.starts_with(begins) && !told.contains("secret"),
                "{told}"
            );
        }
    }
}
