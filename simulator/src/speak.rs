//! One connection: HTTP until the client or the scenario has enough of it, then perhaps a results socket,
//! or bytes that no HTTP library would write.

use std::future::poll_fn;
use std::sync::Arc;

use bytes::Bytes;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use crate::connection::Connection;
use crate::fleet;
use crate::raw::Raw;
use crate::scenario::SocketFault;
use crate::server;
use crate::world::Shared;

/// What the connection is for once HTTP is over.
pub(crate) enum Then {
    /// Fleet's results socket; the answer to the upgrade is out.
    Socket(Vec<SocketFault>),
    /// Bytes in place of the last answer.
    Raw(Raw),
}

/// Speaks until either side ends the connection.
pub(crate) async fn speak<S>(shared: Arc<Shared>, stream: S, connection: Connection)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let connection = &connection;
    let service = hyper::service::service_fn(|request| {
        Box::pin(server::respond(Arc::clone(&shared), connection, request))
    });
    let mut http =
        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    let ended = tokio::select! {
        ended = poll_fn(|context| http.poll_without_shutdown(context)) => ended,
        () = connection.idle_too_long() => {
            std::pin::Pin::new(&mut http).graceful_shutdown();
            poll_fn(|context| http.poll_without_shutdown(context)).await
        }
    };
    let parts = http.into_parts();
    let mut stream = parts.io.into_inner();
    match connection.then() {
        Some(Then::Socket(faults)) => {
            socket(Arc::clone(&shared), stream, parts.read_buf, faults).await;
        }
        Some(Then::Raw(raw)) => {
            // An error is a client that went away.
            let _ = raw.write(&mut stream).await;
        }
        // An error is a client that went away, or a connection that the scenario cut.
        None if ended.is_err() => {}
        None => {
            let _ = stream.shutdown().await;
        }
    }
}

async fn socket<S>(shared: Arc<Shared>, stream: S, read_ahead: Bytes, faults: Vec<SocketFault>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let config = WebSocketConfig::default()
        .max_message_size(None)
        .max_frame_size(None);
    let socket = WebSocketStream::from_partially_read(
        stream,
        read_ahead.to_vec(),
        Role::Server,
        Some(config),
    )
    .await;
    fleet::serve(shared, socket, faults).await;
}
