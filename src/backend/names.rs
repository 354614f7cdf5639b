//! Resolves the server's name and looks at what comes out before anything is connected to: the addresses
//! that were looked at are the ones that are used.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::policy::address;

type Addresses = Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>>;

/// A resolver that refuses names of addresses that no server has.
#[derive(Clone)]
pub struct Names {
    lookup: Arc<dyn Fn(String) -> Addresses + Send + Sync>,
}

/// A name led to an address that is not connected to.
#[derive(Debug, thiserror::Error)]
#[error("the name `{name}` leads to an address that is not connected to: it is {reason}")]
pub struct Refused {
    name: String,
    reason: &'static str,
}

impl Names {
    /// The system's name service.
    pub fn of_system() -> Self {
        Self::new(|name| {
            Box::pin(async move {
                let found = tokio::net::lookup_host((name, 0)).await?;
                Ok(found.map(|address| address.ip()).collect())
            })
        })
    }

    fn new(lookup: impl Fn(String) -> Addresses + Send + Sync + 'static) -> Self {
        Self {
            lookup: Arc::new(lookup),
        }
    }
}

impl Resolve for Names {
    fn resolve(&self, name: Name) -> Resolving {
        let name = name.as_str().to_owned();
        let found = (self.lookup)(name.clone());
        Box::pin(async move {
            let permitted = address::permitted(&name, found.await?)
                .map_err(|reason| Refused { name, reason })?;
            // Port 0: the URL's own is put in.
            let addresses = permitted
                .into_iter()
                .map(|address| SocketAddr::new(address, 0));
            Ok(Box::new(addresses) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A client that resolves every name to these addresses.
    fn client(addresses: &'static [&'static str]) -> reqwest::Client {
        let names = Names::new(|_| {
            Box::pin(async { Ok(addresses.iter().map(|text| text.parse().unwrap()).collect()) })
        });
        let tls = rustls::ClientConfig::builder_with_provider(Arc::new(
            rustls::crypto::ring::default_provider(),
        ))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
        reqwest::Client::builder()
            .no_proxy()
            .dns_resolver(names)
            .tls_backend_preconfigured(tls)
            .build()
            .unwrap()
    }

    /// What becomes of a request to a listener on loopback, and how many connections it saw.
    async fn outcome(addresses: &'static [&'static str], host: &str) -> (bool, usize) {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = client(addresses)
            .get(format!("http://{host}:{port}/"))
            .send();
        // The listener answers nothing; that a connection was made is all there is to see.
        let asked = tokio::time::timeout(std::time::Duration::from_millis(300), asked).await;
        let refused = match asked {
            Ok(Err(error)) => {
                let mut cause: Option<&dyn std::error::Error> = Some(&error);
                std::iter::from_fn(|| {
                    let this = cause?;
                    cause = this.source();
                    Some(this)
                })
                .any(|cause| cause.downcast_ref::<Refused>().is_some())
            }
            _ => false,
        };
        listener.set_nonblocking(true).unwrap();
        let connections = std::iter::from_fn(|| listener.accept().ok()).count();
        (refused, connections)
    }

    #[tokio::test]
    async fn the_address_that_was_looked_at_is_the_one_connected_to() {
        assert_eq!(
            outcome(&["127.0.0.1"], "fleet.example.com").await,
            (false, 1)
        );
        for bad in [
            &["169.254.169.254"][..],
            &["127.0.0.1", "169.254.169.254"],
            &["127.0.0.1", "::ffff:169.254.169.254"],
            &["fd00:ec2::254", "127.0.0.1"],
            &["64:ff9b::a9fe:a9fe", "127.0.0.1"],
            &["0.0.0.0"],
            &["::"],
        ] {
            assert_eq!(
                outcome(bad, "fleet.example.com").await,
                (true, 0),
                "{bad:?}"
            );
        }
    }

    #[tokio::test]
    async fn names_of_this_machine_stay_on_it() {
        assert_eq!(outcome(&["10.0.0.1"], "localhost").await, (true, 0));
        assert_eq!(
            outcome(&["10.0.0.1", "127.0.0.1"], "a.localhost").await,
            (false, 1)
        );
    }
}
