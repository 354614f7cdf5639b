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
use hyper::http::request::Parts;
use hyper::{Request, Response};
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::body::{Content, FaultyBody};
use crate::connection::{Began, Connection};
use crate::echo::Echoing;
use crate::faults;
use crate::http::{Call, Reply, TEXT};
use crate::observe::{self, Server};
use crate::outages::Service;
use crate::raw::Raw;
use crate::scenario::{Cut, Fault, Part, SlowBody, Wire};
use crate::speak::{Then, speak};
use crate::world::Shared;
use crate::{aisoc_direct, changes, fleet, osctrl, proxy};

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
        let (number, open) = OpenConnection::new(shared);
        let shared = Arc::clone(shared);
        let tls = tls.cloned();
        let (connection, stream) = Connection::new(number, stream);
        connections.spawn(async move {
            let _open = open;
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

/// Counts a connection as open as long as it lives.
struct OpenConnection(Arc<Shared>);

impl OpenConnection {
    /// A new one, with its number.
    fn new(shared: &Arc<Shared>) -> (usize, Self) {
        let number = shared.change(|world| {
            let seen = &mut world.observed;
            seen.connections += 1;
            seen.open_connections += 1;
            seen.most_connections = seen.most_connections.max(seen.open_connections);
            seen.connections
        });
        (number, Self(Arc::clone(shared)))
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.change(|world| world.observed.open_connections -= 1);
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

/// The connection ends instead of an answer.
#[derive(Debug, thiserror::Error)]
#[error("the scenario cuts this connection")]
pub(crate) struct CutOff;

/// Answers one request, through the faults that it meets.
pub(crate) async fn respond(
    shared: Arc<Shared>,
    connection: &Connection,
    request: Request<Incoming>,
) -> Result<Response<FaultyBody>, CutOff> {
    let began = connection.begin();
    let (parts, body) = request.into_parts();
    if closed(&shared, connection, &parts, began) {
        return Err(CutOff);
    }
    let body = match Limited::new(body, LARGEST_BODY).collect().await {
        Ok(body) => body.to_bytes(),
        Err(_) => return Err(CutOff),
    };
    let faults = shared.change(|world| {
        changes::proceed(world, true);
        let mut seen = seen(&parts, connection);
        seen.body = String::from_utf8_lossy(&body).into_owned();
        let path = seen.path.clone();
        world.observed.requests.push(seen);
        let now = world.now();
        world.changes.arm(now, world.observed.requests.len());
        let faults = faults::meet(world, parts.method.as_str(), &path);
        if faults.iter().any(|fault| fault.revoke_tokens) {
            world.revoke_tokens();
        }
        faults
    });
    let mut call = Call::new(parts.method, &parts.uri, parts.headers, body);
    if aisoc_direct::resets(&shared.look(), &call, began) {
        connection.reset();
        return Err(CutOff);
    }
    let echo = Echoing::of(&shared, &call);
    if let Some(echo) = &echo {
        echo.understand(&mut call);
    }

    pause(faults.iter().map(|fault| fault.delay).sum()).await;
    // The task of this connection is ended from outside, in a moment.
    let gone = || shared.look().outages.is_away(Part::Service);
    if gone() || faults.iter().any(|fault| fault.cut == Some(Cut::Before)) {
        return Err(CutOff);
    }
    let handled = faults.iter().all(Fault::lets_through);
    let mut reply = None;
    if handled {
        match upgrade_key(&shared, &call) {
            None => reply = Some(route(&shared, &call).await),
            Some(Err(refusal)) => reply = Some(refusal),
            Some(Ok(_)) if faults.iter().any(Fault::replaces_answer) => {}
            Some(Ok(key)) => {
                shared.change(|world| world.observed.sockets += 1);
                let sockets = faults.iter().filter_map(|fault| fault.socket.clone());
                connection.goes_on_as(Then::Socket(sockets.collect()));
                return Ok(switching(&key, &faults));
            }
        }
    }
    pause(faults.iter().map(|fault| fault.answer_delay).sum()).await;
    if gone() || faults.iter().any(|fault| fault.cut == Some(Cut::After)) {
        return Err(CutOff);
    }
    if faults.iter().any(|fault| fault.hang) {
        std::future::pending::<Infallible>().await;
    }
    if let (Some(echo), Some(reply)) = (&echo, &mut reply) {
        echo.answer(reply);
    }
    let reply = faults::disfigure(&faults, reply);
    if let Some(endless) = faults.iter().find_map(|fault| fault.endless) {
        connection.goes_on_as(Then::Raw(Raw::Endless(endless)));
        return Err(CutOff);
    }
    if let Some(slow) = faults.iter().find_map(|fault| fault.slow_head) {
        connection.goes_on_as(Then::Raw(slow_head(reply, slow, &faults)));
        return Err(CutOff);
    }
    let idle = {
        let scenario = &shared.look().scenario;
        let direct = aisoc_direct::path(&call).map(|_| scenario.aisoc_direct.idle);
        direct.or(scenario.proxy.idle)
    };
    connection.end(idle);
    Ok(response(reply, &faults))
}

/// A request as it came, without its body.
fn seen(parts: &Parts, connection: &Connection) -> observe::Request {
    let headers = parts.headers.iter().map(|(name, value)| {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        (name.to_string(), value)
    });
    let path = parts.uri.path_and_query();
    observe::Request {
        method: parts.method.to_string(),
        path: path.map_or_else(|| parts.uri.path().to_owned(), ToString::to_string),
        headers: headers.collect(),
        body: String::new(),
        at: Instant::now(),
        connection: connection.number,
    }
}

/// Whether the request finds its connection closed.
fn closed(shared: &Shared, connection: &Connection, parts: &Parts, began: Began) -> bool {
    let (closed, reset) = shared.change(|world| {
        let closed = proxy::closes(world, began);
        if closed {
            world.observed.unheard.push(seen(parts, connection));
        }
        (closed, world.scenario.proxy.reset)
    });
    if closed && reset {
        connection.reset();
    }
    closed
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

fn switching(key: &str, faults: &[Fault]) -> Response<FaultyBody> {
    let nothing = Content::Bytes(Bytes::new());
    let mut response = Response::new(FaultyBody::new(nothing, &[]));
    *response.status_mut() = hyper::StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert("connection", HeaderValue::from_static("Upgrade"));
    headers.insert("upgrade", HeaderValue::from_static("websocket"));
    if let Ok(key) = HeaderValue::from_str(key) {
        headers.insert("sec-websocket-accept", key);
    }
    faults::set_headers(faults, headers);
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
    faults::set_headers(faults, headers);
    response
}

/// The answer as bytes, for sending its head in drops.
fn slow_head(reply: Reply, slow: SlowBody, faults: &[Fault]) -> Raw {
    let body = reply.body.into_bytes();
    let mut heading = Reply {
        body: Content::Bytes(Bytes::new()),
        ..reply
    };
    heading = heading.with_header("content-length", body.len().to_string());
    let response = response(heading, faults);
    let mut head = format!("HTTP/1.1 {}\r\n", response.status()).into_bytes();
    for (name, value) in response.headers() {
        head.extend_from_slice(name.as_str().as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
    Raw::SlowHead { head, body, slow }
}
