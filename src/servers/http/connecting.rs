//! How long the server's first connection took: name, proxy, TCP and TLS, with every attempt that failed. A
//! responder who waits is told whether it was the network, the server or the hosts.

use std::sync::{Arc, OnceLock};

use tokio::time::Instant;
use tower::layer::layer_fn;
use tower::util::MapFuture;

/// The first connection of a client; clones are the same one's.
#[derive(Debug, Clone, Default)]
pub(super) struct FirstConnection(Arc<Moments>);

#[derive(Debug, Default)]
struct Moments {
    begun: OnceLock<Instant>,
    stood: OnceLock<Instant>,
}

/// When the server was first dialled, and when a connection stood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connecting {
    /// The first attempt.
    pub begun: Instant,
    /// The first connection that could be used; `None` as long as there is none.
    pub stood: Option<Instant>,
}

impl FirstConnection {
    /// A client whose attempts to connect are seen here.
    pub fn watches(&self, client: reqwest::ClientBuilder) -> reqwest::ClientBuilder {
        let this = self.clone();
        client.connector_layer(layer_fn(move |connector| {
            let this = this.clone();
            MapFuture::new(connector, move |attempt| this.clone().watch(attempt))
        }))
    }

    async fn watch<T, E>(self, attempt: impl Future<Output = Result<T, E>>) -> Result<T, E> {
        // Only the first counts.
        let _ = self.0.begun.set(Instant::now());
        let connection = attempt.await;
        if connection.is_ok() {
            let _ = self.0.stood.set(Instant::now());
        }
        connection
    }

    /// As far as it is; `None` where nobody was dialled.
    pub fn get(&self) -> Option<Connecting> {
        Some(Connecting {
            begun: *self.0.begun.get()?,
            stood: self.0.stood.get().copied(),
        })
    }
}
