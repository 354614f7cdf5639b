//! Sockets: accepting connections, TLS, HTTP/1.1 and the way from a request through its faults to the
//! server that it is meant for.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::header::{HeaderName, HeaderValue};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use crate::connection::Connection;
use crate::faults::{self, FaultyBody};
use crate::http::{Call, Reply, TEXT};
use crate::observe::{self, Server};
use crate::outages::Service;
use crate::scenario::{Cut, Fault, Part, Wire};
use crate::world::Shared;
use crate::{aisoc_direct, fleet, osctrl};

/// Connections that wait to be accepted.
const BACKLOG: u32 = 1_024;
/// No client of a live query sends more.
const LARGEST_BODY: usize = 64 * 1024 * 1024;

/// Accepts connections until the simulator ends; every connection ends with it. While the service is away
/// nothing listens.
pub(crate) async fn accept(
    shared: Arc<Shared>,
    mut listener: TcpListener,
    tls: Option<TlsAcceptor>,
) {
    let Ok(address) = listener.local_addr() else {
        return;
    };
    let mut service = shared.look().outages.watch_service();
    let mut seen = 0;
    loop {
        tokio::select! {
            () = shared.ended() => return,
            () = accept_until(&shared, listener, tls.as_ref(), gone(&mut service, seen)) => {}
        }
        seen = service.borrow_and_update().outages;
        listener = tokio::select! {
            () = shared.ended() => return,
            listener = listen_again(address, &mut service) => listener,
        };
    }
}

/// The service went away once more than was seen.
async fn gone(service: &mut watch::Receiver<Service>, seen: u64) {
    let _ = service.wait_for(|service| service.outages > seen).await;
}

/// Accepts connections until the service is gone; every connection goes with it.
async fn accept_until(
    shared: &Arc<Shared>,
    listener: TcpListener,
    tls: Option<&TlsAcceptor>,
    gone: impl Future<Output = ()>,
) {
    let mut connections = JoinSet::new();
    let mut gone = std::pin::pin!(gone);
    loop {
        let accepted = tokio::select! {
            () = &mut gone => return,
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
        };
        let Ok((stream, _)) = accepted else {
            // Out of file descriptors, perhaps: give what is open the time to end.
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        // Frames of a few bytes must not wait for more.
        let _ = stream.set_nodelay(true);
        let number = shared.change(|world| {
            world.observed.connections += 1;
            world.observed.connections
        });
        let shared = Arc::clone(shared);
        let tls = tls.cloned();
        let (connection, stream) = Connection::new(number, stream);
        connections.spawn(async move {
            match tls {
                None => speak(shared, stream, connection).await,
                Some(tls) => {
                    if let Ok(stream) = tls.accept(stream).await {
                        speak(shared, stream, connection).await;
                    }
                }
            }
        });
    }
}

/// Listens once the service is back. Meanwhile the port is held by a socket that does not listen, so that
/// connections are refused and nobody else can take it.
async fn listen_again(address: SocketAddr, service: &mut watch::Receiver<Service>) -> TcpListener {
    let held = bind(address);
    let _ = service.wait_for(|service| !service.away).await;
    drop(held);
    loop {
        if let Ok(listener) = bind(address).and_then(|socket| socket.listen(BACKLOG)) {
            return listener;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn bind(address: SocketAddr) -> std::io::Result<TcpSocket> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()
    } else {
        TcpSocket::new_v6()
    }?;
    // Connections of the service that is gone may still be in TIME_WAIT.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

async fn speak<S>(shared: Arc<Shared>, stream: S, connection: Connection)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let sockets: Arc<tokio::sync::Mutex<JoinSet<()>>> = Arc::default();
    let connection = &connection;
    let service = hyper::service::service_fn(|request| {
        let (shared, sockets) = (Arc::clone(&shared), Arc::clone(&sockets));
        async move { respond(shared, sockets, request, connection).await }
    });
    let limit = shared.look().scenario.aisoc_direct.idle;
    let served = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    tokio::pin!(served);
    // An error is a client that went away, or a connection that the scenario cut.
    tokio::select! {
        _ = served.as_mut() => {}
        () = connection.idle_for(limit) => {
            served.as_mut().graceful_shutdown();
            let _ = served.await;
        }
    }
    // A results socket lives on inside this task, and ends with it.
    let mut sockets = sockets.lock().await;
    while sockets.join_next().await.is_some() {}
}

/// The connection ends instead of an answer.
#[derive(Debug, thiserror::Error)]
#[error("the scenario cuts this connection")]
struct CutOff;

async fn respond(
    shared: Arc<Shared>,
    sockets: Arc<tokio::sync::Mutex<JoinSet<()>>>,
    mut request: Request<Incoming>,
    connection: &Connection,
) -> Result<Response<FaultyBody>, CutOff> {
    let began = connection.begin();
    let upgrade = hyper::upgrade::on(&mut request);
    let (parts, body) = request.into_parts();
    let path = parts
        .uri
        .path_and_query()
        .map_or_else(|| parts.uri.path().to_owned(), ToString::to_string);
    let body = match Limited::new(body, LARGEST_BODY).collect().await {
        Ok(body) => body.to_bytes(),
        Err(_) => return Err(CutOff),
    };
    let faults = shared.change(|world| {
        world.observed.requests.push(observe::Request {
            method: parts.method.to_string(),
            path: path.clone(),
            headers: parts
                .headers
                .iter()
                .map(|(name, value)| {
                    let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
                    (name.to_string(), value)
                })
                .collect(),
            body: String::from_utf8_lossy(&body).into_owned(),
            at: Instant::now(),
            connection: connection.number,
        });
        let faults = faults::meet(world, parts.method.as_str(), &path);
        if faults.iter().any(|fault| fault.revoke_tokens) {
            world.revoke_tokens();
        }
        faults
    });
    let call = Call::new(parts.method, &parts.uri, parts.headers, body);
    if aisoc_direct::resets(&shared.look(), &call, began) {
        connection.reset();
        return Err(CutOff);
    }

    pause(faults.iter().map(|fault| fault.delay).sum()).await;
    // The task of this connection is ended from outside, in a moment.
    let gone = || shared.look().outages.is_away(Part::Service);
    if gone() || faults.iter().any(|fault| fault.cut == Some(Cut::Before)) {
        return Err(CutOff);
    }
    let handled = faults.iter().all(Fault::lets_through);
    if handled && let Some(key) = upgrade_key(&shared, &call) {
        return match key {
            Ok(key) if faults.iter().all(|fault| !fault.replaces_answer()) => {
                open_socket(&shared, &sockets, upgrade, faults).await;
                Ok(switching(&key))
            }
            Ok(_) => Ok(response(faults::disfigure(&faults, None), &faults)),
            Err(refusal) => Ok(response(faults::disfigure(&faults, Some(refusal)), &faults)),
        };
    }
    let reply = if handled {
        Some(route(&shared, &call).await)
    } else {
        None
    };
    pause(faults.iter().map(|fault| fault.answer_delay).sum()).await;
    if gone() || faults.iter().any(|fault| fault.cut == Some(Cut::After)) {
        return Err(CutOff);
    }
    if faults.iter().any(|fault| fault.hang) {
        std::future::pending::<Infallible>().await;
    }
    connection.end(aisoc_direct::path(&call).is_some());
    Ok(response(faults::disfigure(&faults, reply), &faults))
}

async fn pause(duration: Duration) {
    if !duration.is_zero() {
        tokio::time::sleep(duration).await;
    }
}

/// Whether the request asks for Fleet's results socket, and whether it gets it.
fn upgrade_key(shared: &Shared, call: &Call) -> Option<Result<String, Reply>> {
    let wire = shared.look().scenario.wire;
    let socket = fleet::path(call).is_some_and(|path| path == ["results", "websocket"]);
    (socket && wire.speaks(Server::Fleet) && call.header("upgrade").is_some())
        .then(|| fleet::accepts(&call.headers))
}

async fn open_socket(
    shared: &Arc<Shared>,
    sockets: &tokio::sync::Mutex<JoinSet<()>>,
    upgrade: hyper::upgrade::OnUpgrade,
    faults: Vec<Fault>,
) {
    shared.change(|world| world.observed.sockets += 1);
    let shared = Arc::clone(shared);
    let faults = faults
        .into_iter()
        .filter_map(|fault| fault.socket)
        .collect();
    sockets.lock().await.spawn(async move {
        let Ok(upgraded) = upgrade.await else { return };
        let config = WebSocketConfig::default()
            .max_message_size(None)
            .max_frame_size(None);
        let socket =
            WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, Some(config))
                .await;
        fleet::serve(shared, socket, faults).await;
    });
}

fn switching(key: &str) -> Response<FaultyBody> {
    let mut response = Response::new(FaultyBody::new(Bytes::new(), &[]));
    *response.status_mut() = hyper::StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert("connection", HeaderValue::from_static("Upgrade"));
    headers.insert("upgrade", HeaderValue::from_static("websocket"));
    if let Ok(key) = HeaderValue::from_str(key) {
        headers.insert("sec-websocket-accept", key);
    }
    response
}

/// Hands the call to the server that its path belongs to.
fn route<'call>(
    shared: &'call Arc<Shared>,
    call: &'call Call,
) -> Pin<Box<dyn Future<Output = Reply> + Send + 'call>> {
    Box::pin(async move {
        let wire = shared.look().scenario.wire;
        if wire.speaks(Server::Fleet)
            && let Some(path) = fleet::path(call)
        {
            return fleet::answer(shared, call, &path).await;
        }
        if wire.speaks(Server::AisocDirect)
            && let Some(path) = aisoc_direct::path(call)
        {
            return aisoc_direct::answer(shared, call, &path).await;
        }
        if wire.speaks(Server::Osctrl)
            && let Some(path) = osctrl::path(call)
        {
            return osctrl::answer(shared, call, &path).await;
        }
        match wire {
            Wire::AisocDirect => aisoc_direct::not_found(),
            _ => Reply::no_such_path(),
        }
    })
}

fn response(reply: Reply, faults: &[Fault]) -> Response<FaultyBody> {
    let mut response = Response::new(FaultyBody::new(reply.body, faults));
    *response.status_mut() = hyper::StatusCode::from_u16(reply.status)
        .unwrap_or(hyper::StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    if !reply.content_type.is_empty() {
        let kind = HeaderValue::from_str(&reply.content_type);
        headers.insert(
            "content-type",
            kind.unwrap_or(HeaderValue::from_static(TEXT)),
        );
    }
    for (name, value) in reply.headers {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
    response
}
