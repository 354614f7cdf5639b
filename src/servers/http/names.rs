//! Resolves the server's name and looks at what comes out before anything is connected to: the addresses
//! that were looked at are the ones that are used.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::pin::Pin;
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::address;

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

/// The system gives no thread to look the name up on.
#[derive(Debug, thiserror::Error)]
#[error("no thread to look a name up on")]
pub struct NoThread;

impl Names {
    /// The system's name service. It is asked on a thread of its own, which is left behind where nobody
    /// waits any more; not on tokio's, which panics where the system gives none.
    pub fn of_system() -> Self {
        Self::new(|name| {
            let (done, found) = tokio::sync::oneshot::channel();
            let thread = std::thread::Builder::new().name("names".into());
            let asked = thread.spawn(move || {
                let found = (name.as_str(), 0).to_socket_addrs();
                let found = found.map(|all| all.map(|address| address.ip()).collect());
                // Nobody may be there to take it.
                let _ = done.send(found);
            });
            Box::pin(async move {
                asked.map_err(|_| io::Error::other(NoThread))?;
                found
                    .await
                    .unwrap_or_else(|_| Err(io::Error::other(NoThread)))
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
    use std::time::Duration;

    use tokio::time::Instant;

    use super::*;
    use crate::exit::Code;
    use crate::known_servers::Access;
    use crate::notices::Notices;
    use crate::secret::Secret;
    use crate::servers::http::{Http, Method, Repeat, Request};
    use crate::session::failure::Failure;
    use crate::step::model::{Credentials, Server};

    /// What becomes of a request to a listener on loopback where every name resolves to these addresses,
    /// and how many connections the listener saw.
    async fn outcome(addresses: &'static [&'static str], host: &str) -> (Option<Failure>, usize) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = Server {
            access: Access::Fleet,
            base_url: format!("http://{host}:{port}").parse().unwrap(),
            credentials: Credentials::Token(Secret::new("t".into())),
            verify_tls: true,
            ca_file: None,
        };
        let names = Names::new(|_| {
            let addresses = addresses.iter().map(|text| text.parse().unwrap()).collect();
            Box::pin(async { Ok(addresses) })
        });
        let deadline = Instant::now() + Duration::from_secs(30);
        let http = Http::with_names(&server, deadline.into(), Notices::unheard(), names).unwrap();
        let request = Request {
            method: Method::Get,
            path: &["api"],
            query: &[],
            body: None,
            bearer: None,
            repeat: Repeat::Safe,
            max_bytes: 1_000,
        };
        // Either the request is refused, or a connection is made: the listener never answers.
        tokio::select! {
            biased;
            failed = http.send(request) => {
                let connections = tokio::time::timeout(Duration::ZERO, listener.accept()).await;
                (failed.err().map(Failure::from), usize::from(connections.is_ok()))
            }
            accepted = listener.accept() => (None, usize::from(accepted.is_ok())),
        }
    }

    #[tokio::test]
    async fn the_address_that_was_looked_at_is_the_one_connected_to() {
        assert_eq!(
            outcome(&["127.0.0.1"], "fleet.example.com").await,
            (None, 1)
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
            let (failure, connections) = outcome(bad, "fleet.example.com").await;
            let failure = failure.unwrap();
            assert_eq!((failure.code, connections), (Code::Policy, 0), "{bad:?}");
            let begins =
                "the name `fleet.example.com` leads to an address that is not connected to: it is ";
            assert!(failure.message.starts_with(begins), "{}", failure.message);
            assert!(!failure.retryable);
        }
    }

    #[tokio::test]
    async fn names_of_this_machine_stay_on_it() {
        let (failure, connections) = outcome(&["10.0.0.1"], "localhost").await;
        assert_eq!(
            failure.unwrap().message,
            "the name `localhost` leads to an address that is not connected to: it is not this machine, which such a name stands for"
        );
        assert_eq!(connections, 0);
        assert_eq!(
            outcome(&["10.0.0.1", "127.0.0.1"], "a.localhost").await,
            (None, 1)
        );
    }
}
