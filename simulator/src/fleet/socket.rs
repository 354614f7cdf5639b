//! Fleet's results socket: a plain websocket with one JSON document a message, totals and status by the
//! server's tick, results as they come, and refusals that end with close code 0.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use hyper::HeaderMap;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::frame::{CloseFrame, Frame};

use super::campaigns::{self, Counts, Heard, HostAnswer};
use crate::http::{Reply, TEXT};
use crate::rows::{Answered, json_string};
use crate::scenario::{Part, SocketClose, SocketFault};
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
    let (campaign, user) = match greet(&shared, &mut socket).await {
        Some(Ok(selected)) => selected,
        Some(Err(refusal)) => {
            refuse(&mut socket, &refusal).await;
            return;
        }
        None => return,
    };
    match select(&shared, campaign, user).await {
        Ok((listener, answers, counts)) => {
            let mut stream = Stream {
                shared: Arc::clone(&shared),
                socket: Some(socket),
                campaign,
                faults,
                last_counts: counts,
                last_status: Status::default(),
                status: Status::default(),
                results: 0,
            };
            stream.run(listener, answers).await;
        }
        Err(refusal) => refuse(&mut socket, &refusal).await,
    }
}

/// The client's two first messages: the campaign that it selects, and who it is. `None`: it went away.
async fn greet<S>(
    shared: &Shared,
    socket: &mut WebSocketStream<S>,
) -> Option<Result<(u64, usize), String>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let refuse = |text: &str| Some(Err(text.to_owned()));
    let message = next_document(socket).await?;
    let token = message["data"]["token"].as_str().unwrap_or_default();
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
    match message["data"]["campaign_id"].as_u64() {
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

fn counts(world: &World, campaign: u64) -> Counts {
    let targets = world
        .fleet
        .campaigns
        .get(&campaign)
        .and_then(|found| world.queries.get(found.query))
        .map(|query| query.targets.as_slice());
    Counts::of(world, targets.unwrap_or_default())
}

async fn refuse<S>(socket: &mut WebSocketStream<S>, text: &str)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let message = json!({"type": "error", "data": text}).to_string();
    if socket.send(Message::text(message)).await.is_ok() {
        close(socket, 0, "").await;
    }
}

async fn close<S>(socket: &mut WebSocketStream<S>, code: u16, reason: &str)
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

/// What a `status` frame counts; on this socket only, as the server does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Status {
    expected: usize,
    actual: usize,
    with_results: usize,
    with_no_results: usize,
}

/// A socket whose campaign is selected.
struct Stream<S> {
    shared: Arc<Shared>,
    /// `None` once the socket is dead: the server goes on until its tick tells it.
    socket: Option<WebSocketStream<S>>,
    campaign: u64,
    faults: Vec<SocketFault>,
    last_counts: Counts,
    last_status: Status,
    status: Status,
    results: usize,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Stream<S> {
    async fn run(&mut self, listener: u64, mut answers: UnboundedReceiver<Heard>) {
        self.status.expected = self.last_counts.online;
        self.last_status = self.status;
        let totals = self.totals();
        self.send(totals).await;
        let status = self.status_frame();
        self.send(status).await;
        self.misbehave().await;
        let mut tick = tokio::time::interval(self.shared.look().scenario.fleet.tick);
        tick.tick().await;
        let mut announced = false;
        loop {
            if self.socket.is_none() && !announced {
                announced = true;
                let campaign = self.campaign;
                self.shared
                    .change(|world| campaigns::lose_listener(world, campaign, listener));
            }
            let heard = async {
                match &mut self.socket {
                    Some(socket) => socket.next().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.shared.ended() => return,
                message = heard => match message {
                    Some(Ok(Message::Close(_)) | Err(_)) | None => self.socket = None,
                    // Pongs are answered by the library; nothing else is expected.
                    Some(Ok(_)) => {}
                },
                heard = answers.recv() => match heard {
                    Some(Heard::Answer(answer)) => self.result(&answer).await,
                    Some(Heard::Error(text)) => self.error(&text).await,
                    // The service is gone, and this connection will be in a moment.
                    None => return,
                },
                _ = tick.tick() => {
                    if self.socket.is_none() {
                        break;
                    }
                    self.tick().await;
                }
            }
        }
        let campaign = self.campaign;
        self.shared
            .change(|world| campaigns::dispose(world, campaign, listener));
    }

    async fn error(&mut self, text: &str) {
        self.send(json!({"type": "error", "data": text}).to_string())
            .await;
    }

    async fn tick(&mut self) {
        if self.shared.look().outages.without_database() {
            self.error("error retrieving target counts").await;
            return;
        }
        let counts = counts(&self.shared.look(), self.campaign);
        if counts != self.last_counts {
            self.last_counts = counts;
            let totals = self.totals();
            self.send(totals).await;
        }
        self.status.expected = counts.online;
        if self.status != self.last_status {
            self.last_status = self.status;
            let status = self.status_frame();
            self.send(status).await;
        }
    }

    fn totals(&self) -> String {
        json!({"type": "totals", "data": {
            "count": self.last_counts.total,
            "online": self.last_counts.online,
            "offline": self.last_counts.offline,
            "missing_in_action": 0,
        }})
        .to_string()
    }

    fn status_frame(&self) -> String {
        let finished = self.status.actual > 0 && self.status.actual >= self.status.expected;
        json!({"type": "status", "data": {
            "expected_results": self.status.expected,
            "actual_results": self.status.actual,
            "count_of_hosts_with_results": self.status.with_results,
            "count_of_hosts_with_no_results": self.status.with_no_results,
            "status": if finished { "finished" } else { "pending" },
        }})
        .to_string()
    }

    async fn result(&mut self, answer: &HostAnswer) {
        let frame = {
            let world = self.shared.look();
            let (Some(host), Some(named)) = (
                world.hosts.get(answer.host),
                campaigns::host_named(&world, answer.host),
            ) else {
                return;
            };
            let (rows, error) = match answer.answer.as_ref() {
                Answered::Rows(rows) => {
                    if rows.len() == 0 {
                        self.status.with_no_results += 1;
                    } else {
                        self.status.with_results += 1;
                    }
                    (rows.json_with_added_columns(host), None)
                }
                Answered::Error(text) => ("[]".to_owned(), Some(text.clone())),
                Answered::StatusOnly(status) => (
                    "[]".to_owned(),
                    Some(format!("distributed query returned status {status}")),
                ),
                Answered::Raw(text) => {
                    self.status.with_results += 1;
                    (text.clone(), None)
                }
            };
            let error = error
                .map(|text| format!(",\"error\":{}", json_string(&text)))
                .unwrap_or_default();
            format!(
                "{{\"type\":\"result\",\"data\":{{\"distributed_query_execution_id\":{},\
                 \"host\":{named},\"rows\":{rows},\"stats\":null{error}}}}}",
                self.campaign
            )
        };
        self.status.actual += 1;
        self.send(frame).await;
        self.results += 1;
        self.misbehave().await;
    }

    async fn send(&mut self, text: String) {
        if let Some(socket) = &mut self.socket
            && socket.send(Message::text(text)).await.is_err()
        {
            self.socket = None;
        }
    }

    /// Does what the scenario's faults say at this number of results.
    async fn misbehave(&mut self) {
        let now: Vec<SocketFault> = self
            .faults
            .iter()
            .filter(|fault| fault.after_results == self.results)
            .cloned()
            .collect();
        for fault in now {
            for text in fault.send {
                self.send(text).await;
            }
            let bytes = fault
                .send_base64
                .as_deref()
                .and_then(crate::scenario::decode_base64);
            if let (Some(bytes), Some(socket)) = (bytes, &mut self.socket) {
                let frame = Frame::message(bytes, OpCode::Data(Data::Text), true);
                if socket.send(Message::Frame(frame)).await.is_err() {
                    self.socket = None;
                }
            }
            match (fault.close, self.socket.take()) {
                (None, socket) => self.socket = socket,
                (Some(SocketClose::Cut), _) | (_, None) => {}
                (Some(SocketClose::Frame), Some(mut socket)) => {
                    close(&mut socket, 1001, "going away").await;
                }
                (Some(SocketClose::Zero), Some(mut socket)) => close(&mut socket, 0, "").await,
            }
        }
    }
}
