//! Fleet's results socket up to the stream: a plain websocket with one JSON document a message, who the
//! client is, the campaign that it selects, and refusals that end with close code 0.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use hyper::HeaderMap;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use super::campaigns::{self, Counts, Heard};
use super::stream::Stream;
use crate::echo::Echoing;
use crate::http::{Reply, TEXT};
use crate::scenario::{Part, SocketFault};
use crate::world::{Shared, World};

/// Whether the server upgrades the request; otherwise how it refuses.
pub(crate) fn accepts(headers: &HeaderMap) -> Result<String, Reply> {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let upgrade = header("upgrade").is_some_and(|value| value.eq_ignore_ascii_case("websocket"));
    let version = header("sec-websocket-version") == Some("13");
    let key = header("sec-websocket-key").filter(|_| upgrade && version);
    let Some(key) = key else {
        return Err(Reply::new(400, TEXT, "Bad Request\n"));
    };
    if let Some(origin) = header("origin") {
        let origin_host = origin.split_once("://").map_or(origin, |(_, host)| host);
        if !header("host").is_some_and(|host| host.eq_ignore_ascii_case(origin_host)) {
            return Err(Reply::new(403, TEXT, "Forbidden\n"));
        }
    }
    Ok(tokio_tungstenite::tungstenite::handshake::derive_accept_key(key.as_bytes()))
}

/// How long a refused client is given to close its side.
const PARTING: Duration = Duration::from_secs(1);

/// Speaks on an upgraded connection until either side ends it.
pub(crate) async fn serve<S>(
    shared: Arc<Shared>,
    mut socket: WebSocketStream<S>,
    faults: Vec<SocketFault>,
) where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut echo = None;
    let life = shared.look().scenario.proxy.cut_sockets;
    let cut_at = life.map(|life| Instant::now() + life);
    let greeting = greet(&shared, &mut socket, &mut echo);
    let greeted = match cut_at {
        Some(at) => tokio::time::timeout_at(at.into(), greeting)
            .await
            .unwrap_or_default(),
        None => greeting.await,
    };
    let selected = match greeted {
        Some(Ok((campaign, user))) => select(&shared, campaign, user)
            .await
            .map(|selected| (campaign, selected)),
        Some(Err(refusal)) => Err(refusal),
        None => return,
    };
    match selected {
        Ok((campaign, (listener, answers, counts))) => {
            let mut stream = Stream::new(shared, socket, campaign, faults, echo, counts);
            stream.cut_at(cut_at);
            stream.run(listener, answers).await;
        }
        Err(refusal) => refuse(&mut socket, &refusal, echo.as_ref()).await,
    }
}

/// The client's two first messages: the campaign that it selects, and who it is. `None`: it went away.
async fn greet<S>(
    shared: &Shared,
    socket: &mut WebSocketStream<S>,
    echo: &mut Option<Echoing>,
) -> Option<Result<(u64, usize), String>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let refuse = |text: &str| Some(Err(text.to_owned()));
    let message = next_document(socket).await?;
    let token = message["data"]["token"].as_str().unwrap_or_default();
    *echo = Echoing::of_token(shared, token);
    let user = {
        let world = shared.look();
        let known = world.fleet.tokens.get(token).copied();
        known.filter(|_| message["type"] == "auth" && !world.outages.without_database())
    };
    let Some(user) = user else {
        return refuse("unauthorized");
    };
    let message = next_document(socket).await?;
    if message["type"] != "select_campaign" {
        return refuse("expected select_campaign");
    }
    let campaign = &message["data"]["campaign_id"];
    // An id that a secret was thrown back in has become a text.
    let echoed = || campaign.as_str()?.split('-').next()?.parse().ok();
    match campaign.as_u64().or_else(echoed) {
        Some(campaign) => Some(Ok((campaign, user))),
        None => refuse("error unmarshaling select_campaign data"),
    }
}

async fn next_document<S>(socket: &mut WebSocketStream<S>) -> Option<Value>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    loop {
        match socket.next().await? {
            Ok(Message::Text(text)) => {
                return Some(serde_json::from_str(text.as_str()).unwrap_or_default());
            }
            Ok(Message::Binary(bytes)) => {
                return Some(serde_json::from_slice(&bytes).unwrap_or_default());
            }
            Ok(Message::Close(_)) | Err(_) => return None,
            Ok(_) => {}
        }
    }
}

type Selected = (u64, UnboundedReceiver<Heard>, Counts);

async fn select(shared: &Shared, campaign: u64, user: usize) -> Result<Selected, String> {
    if !shared.look().fleet.campaigns.contains_key(&campaign) {
        let wait = shared.look().scenario.fleet.campaign_wait;
        let id = campaign.to_string();
        let appeared = |observed: &crate::Observations| {
            observed
                .campaigns
                .iter()
                .any(|record| record.server == crate::Server::Fleet && record.id == id)
        };
        if !shared.until(appeared, wait).await {
            return Err(format!("timeout: cannot find campaign for ID {campaign}"));
        }
    }
    shared.change(|world| {
        if world.outages.is_away(Part::Redis) {
            let cause = "dial tcp 127.0.0.1:16379: connect: connection refused";
            return Err(format!("error getting campaign reader: {cause}"));
        }
        if world.outages.without_database() {
            return Err("error retrieving campaign targets: context deadline exceeded".to_owned());
        }
        let owner = world.fleet.campaigns.get(&campaign).map(|found| found.user);
        if owner != Some(user) {
            return Err("unauthorized".to_owned());
        }
        let counts = counts(world, campaign);
        let (listener, answers) =
            campaigns::listen(world, campaign).ok_or_else(|| "unauthorized".to_owned())?;
        Ok((listener, answers, counts))
    })
}

pub(super) fn counts(world: &World, campaign: u64) -> Counts {
    let targets = world
        .fleet
        .campaigns
        .get(&campaign)
        .and_then(|found| world.queries.get(found.query))
        .map(|query| query.targets.as_slice());
    Counts::of(world, targets.unwrap_or_default())
}

async fn refuse<S>(socket: &mut WebSocketStream<S>, text: &str, echo: Option<&Echoing>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let message = json!({"type": "error", "data": text}).to_string();
    let message = match echo {
        Some(echo) => echo.frame(message),
        None => message,
    };
    if socket.send(Message::text(message)).await.is_ok() {
        close(socket, 0, "").await;
    }
}

pub(super) async fn close<S>(socket: &mut WebSocketStream<S>, code: u16, reason: &str)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let frame = CloseFrame {
        code: CloseCode::from(code),
        reason: reason.into(),
    };
    if socket.send(Message::Close(Some(frame))).await.is_ok() {
        // Closing at once may take the last messages from a client that is still sending.
        let drain = async { while let Some(Ok(_)) = socket.next().await {} };
        let _ = tokio::time::timeout(PARTING, drain).await;
    }
}
