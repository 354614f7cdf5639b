//! A campaign's stream: totals and status by the server's tick, results as they come, and what the
//! scenario's faults put between them.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::time::Instant;

use futures_util::{SinkExt, StreamExt};
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

use super::campaigns::{self, Counts, Heard, HostAnswer};
use super::socket::{close, counts};
use crate::echo::Echoing;
use crate::flood::{self, Poured, Pouring};
use crate::observe::{EndedBy, SocketEnd};
use crate::pieces::Pieces;
use crate::rows::{Answered, json_string};
use crate::scenario::{SocketClose, SocketFault};
use crate::world::Shared;

/// What a `status` frame counts; on this socket only, as the server does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Status {
    expected: usize,
    actual: usize,
    with_results: usize,
    with_no_results: usize,
}

/// A socket whose campaign is selected.
pub(super) struct Stream<S> {
    shared: Arc<Shared>,
    /// `None` once the socket is dead: the server goes on until its tick tells it.
    socket: Option<WebSocketStream<S>>,
    campaign: u64,
    faults: Vec<SocketFault>,
    echo: Option<Echoing>,
    flood: Option<Pouring>,
    /// When a proxy cuts the socket.
    cut_at: Option<Instant>,
    last_counts: Counts,
    last_status: Status,
    status: Status,
    results: usize,
}

/// What the stream wakes up for.
enum Woken {
    Ended,
    Heard(Option<Heard>),
    Client(Option<EndedBy>),
    Flood(io::Result<Poured>),
    Tick,
    /// A proxy has cut the socket.
    Cut,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Stream<S> {
    pub fn new(
        shared: Arc<Shared>,
        socket: WebSocketStream<S>,
        campaign: u64,
        faults: Vec<SocketFault>,
        echo: Option<Echoing>,
        counts: Counts,
    ) -> Self {
        Self {
            shared,
            socket: Some(socket),
            campaign,
            faults,
            echo,
            flood: None,
            cut_at: None,
            last_counts: counts,
            last_status: Status::default(),
            status: Status::default(),
            results: 0,
        }
    }

    /// A proxy cuts the socket then.
    pub fn cut_at(&mut self, at: Option<Instant>) {
        self.cut_at = at;
    }

    pub async fn run(&mut self, listener: u64, mut heard: UnboundedReceiver<Heard>) {
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
        let campaign = self.campaign;
        loop {
            if self.socket.is_none() && !announced {
                announced = true;
                self.shared
                    .change(|world| campaigns::lose_listener(world, campaign, listener));
            }
            match self.wake(&mut heard, &mut tick).await {
                Woken::Ended => return,
                // Pongs are answered by the library; nothing else is expected.
                Woken::Client(None) => {}
                Woken::Client(Some(by)) => self.end(by),
                Woken::Flood(poured) => self.poured(poured),
                Woken::Heard(Some(Heard::Answer(answer))) => self.result(&answer).await,
                Woken::Heard(Some(Heard::Error(text))) => self.error(&text).await,
                // The service is gone, and this connection will be in a moment.
                Woken::Heard(None) => return,
                Woken::Cut => self.end(EndedBy::Server),
                Woken::Tick if self.socket.is_none() => break,
                Woken::Tick => self.tick().await,
            }
        }
        self.shared
            .change(|world| campaigns::dispose(world, campaign, listener));
    }

    async fn wake(
        &mut self,
        heard: &mut UnboundedReceiver<Heard>,
        tick: &mut tokio::time::Interval,
    ) -> Woken {
        let flooding = self.socket.is_some() && self.flood.is_some();
        let held_up = flooding && !self.flood.as_ref().is_some_and(Pouring::lets_others_pass);
        let cut_at = self.cut_at.filter(|_| self.socket.is_some());
        let cut = async {
            match cut_at {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        let (socket, flood) = (&mut self.socket, &mut self.flood);
        let client = async {
            match (socket, flood) {
                (Some(socket), Some(flood)) => {
                    let stream = socket.get_mut();
                    Woken::Flood(poll_fn(|context| flood.poll(context, stream)).await)
                }
                (Some(socket), None) => Woken::Client(match socket.next().await {
                    Some(Ok(Message::Close(_))) => Some(EndedBy::ClientClosed),
                    Some(Ok(_)) => None,
                    Some(Err(_)) | None => Some(EndedBy::ClientGone),
                }),
                (None, _) => std::future::pending().await,
            }
        };
        tokio::select! {
            () = self.shared.ended() => Woken::Ended,
            () = cut => Woken::Cut,
            woken = client => woken,
            heard = heard.recv(), if !held_up => Woken::Heard(heard),
            _ = tick.tick(), if !held_up => Woken::Tick,
        }
    }

    fn poured(&mut self, poured: io::Result<Poured>) {
        if let Some(flood) = &mut self.flood {
            let frames = flood.count();
            if frames > 0 {
                self.shared
                    .change(|world| world.observed.frames_sent += frames);
            }
        }
        match poured {
            Ok(Poured::More) => {}
            Ok(Poured::Done) => self.flood = None,
            Ok(Poured::Closed) => self.end(EndedBy::ClientClosed),
            Err(_) => self.end(EndedBy::ClientGone),
        }
    }

    /// The socket is dead.
    fn end(&mut self, by: EndedBy) {
        if self.socket.take().is_some() {
            self.note_end(by);
        }
    }

    fn note_end(&self, by: EndedBy) {
        let campaign = self.campaign.to_string();
        self.shared.change(|world| {
            let ends = &mut world.observed.socket_ends;
            ends.push(SocketEnd { campaign, by });
        });
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
        self.status.actual += 1;
        match self.result_frame(answer) {
            Some(Outgoing::Text(text)) => self.send(text).await,
            Some(Outgoing::Pieces(pieces)) => self.send_pieces(pieces).await,
            None => return,
        }
        self.results += 1;
        self.misbehave().await;
    }

    fn result_frame(&mut self, answer: &HostAnswer) -> Option<Outgoing> {
        let world = self.shared.look();
        let host = world.hosts.get(answer.host)?;
        let named = campaigns::host_named(&world, answer.host)?;
        let before = format!(
            "{{\"type\":\"result\",\"data\":{{\"distributed_query_execution_id\":{},\
             \"host\":{named}",
            self.campaign
        );
        let mut error = None;
        let rows = match answer.answer.as_ref() {
            Answered::Rows(rows) => {
                if rows.len() == 0 {
                    self.status.with_no_results += 1;
                } else {
                    self.status.with_results += 1;
                }
                rows.json_with_added_columns(host)
            }
            Answered::Error(text) => {
                error = Some(text.clone());
                "[]".to_owned()
            }
            Answered::StatusOnly(status) => {
                error = Some(format!("distributed query returned status {status}"));
                "[]".to_owned()
            }
            Answered::Raw(text) => {
                self.status.with_results += 1;
                text.clone()
            }
            Answered::Made(made) => {
                self.status.with_results += 1;
                let added = crate::rows::added_columns(host);
                let rows = made.pieces(Some(&added), 0);
                let frame = rows.between(format!("{before},\"rows\":"), ",\"stats\":null}}");
                return Some(Outgoing::Pieces(frame));
            }
            Answered::Missing => {
                self.status.with_no_results += 1;
                return Some(Outgoing::Text(format!("{before},\"stats\":null}}}}")));
            }
            Answered::Data(text) => {
                let data = host.fill(text, 1);
                let frame = format!("{{\"type\":\"result\",\"data\":{data}}}");
                return Some(Outgoing::Text(frame));
            }
        };
        let error = error
            .map(|text| format!(",\"error\":{}", json_string(&text)))
            .unwrap_or_default();
        let frame = format!("{before},\"rows\":{rows},\"stats\":null{error}}}}}");
        Some(Outgoing::Text(frame))
    }

    async fn send(&mut self, text: String) {
        let text = match &self.echo {
            Some(echo) => echo.frame(text),
            None => text,
        };
        self.at_boundary().await;
        if let Some(socket) = &mut self.socket {
            match socket.send(Message::text(text)).await {
                Ok(()) => self.shared.change(|world| world.observed.frames_sent += 1),
                Err(_) => self.end(EndedBy::ClientGone),
            }
        }
    }

    /// Sends a message that is made while it is sent: past the library, which would hold it.
    async fn send_pieces(&mut self, pieces: Pieces) {
        self.at_boundary().await;
        let Some(socket) = &mut self.socket else {
            return;
        };
        let sent = async {
            socket.flush().await.map_err(io::Error::other)?;
            let stream = socket.get_mut();
            let length = pieces.length.unwrap_or_default();
            stream.write_all(&flood::head(0x81, length)).await?;
            for piece in pieces {
                stream.write_all(&piece).await?;
            }
            stream.flush().await
        };
        match sent.await {
            Ok(()) => self.shared.change(|world| world.observed.frames_sent += 1),
            Err(_) => self.end(EndedBy::ClientGone),
        }
    }

    /// Lets the frame that a flood has begun come to its end.
    async fn at_boundary(&mut self) {
        if let (Some(socket), Some(flood)) = (&mut self.socket, &mut self.flood) {
            let stream = socket.get_mut();
            if poll_fn(|context| flood.poll_boundary(context, stream))
                .await
                .is_err()
            {
                self.end(EndedBy::ClientGone);
            }
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
            self.at_boundary().await;
            if let (Some(bytes), Some(socket)) = (bytes, &mut self.socket) {
                let frame = Frame::message(bytes, OpCode::Data(Data::Text), true);
                if socket.send(Message::Frame(frame)).await.is_err() {
                    self.end(EndedBy::ClientGone);
                }
            }
            if let Some(flood) = &fault.flood {
                self.flood = Some(Pouring::new(flood));
            }
            if fault.close.is_some() && self.socket.is_some() {
                self.note_end(EndedBy::Server);
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

/// A message on its way out.
enum Outgoing {
    Text(String),
    Pieces(Pieces),
}
