//! What happened so far, for whoever checks a client against the simulator. Only facts; no behaviour.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

/// Everything that was seen since the start.
#[derive(Debug, Clone, Default)]
pub struct Observations {
    /// Requests in the order of their arrival, faulty or not.
    pub requests: Vec<Request>,
    /// Requests that found their connection closed: without their bodies, for nobody has read them.
    pub unheard: Vec<Request>,
    /// TCP connections accepted, whether or not a request followed.
    pub connections: usize,
    /// Campaigns (Fleet) and queries (osctrl; of AiSOC's own service, one for each enqueue) in the order in which they were created.
    pub campaigns: Vec<Campaign>,
    /// Answers of hosts in the order in which the server had them.
    pub answers: Vec<AnswerSeen>,
    /// Connections that are open now.
    pub open_connections: usize,
    /// The most connections that were open at once.
    pub most_connections: usize,
    /// Results sockets that were accepted.
    pub sockets: usize,
    /// How results sockets with a campaign ended, in the order of their ends.
    pub socket_ends: Vec<SocketEnd>,
    /// Frames that were sent on results sockets, those of floods too.
    pub frames_sent: usize,
    /// When the last host's answer reached the server and was kept.
    pub last_answer_at: Option<Instant>,
}

impl Observations {
    /// Requests with this method whose path contains the text.
    pub fn requests_to<'a>(
        &'a self,
        method: &'a str,
        path: &'a str,
    ) -> impl Iterator<Item = &'a Request> {
        self.requests
            .iter()
            .filter(move |request| request.method == method && request.path.contains(path))
    }

    /// How often AiSOC's own service took a query for the host with this uuid.
    pub fn enqueues(&self, uuid: &str) -> usize {
        let queries = self.campaigns.iter();
        queries
            .filter(|query| query.server == Server::AisocDirect)
            .filter(|query| query.hosts.iter().any(|host| host == uuid))
            .count()
    }

    /// How often AiSOC's own service was asked for the query with this id, answered or not.
    pub fn polls(&self, query_id: &str) -> usize {
        let path = format!("/api/v1/osquery/distributed/{query_id}");
        self.requests_to("GET", &path).count()
    }

    /// How many of a server's campaigns or queries agents are still given.
    pub fn running(&self, server: Server) -> usize {
        let campaigns = self.campaigns.iter();
        campaigns
            .filter(|campaign| campaign.server == server)
            .filter(|campaign| campaign.state == CampaignState::Running)
            .count()
    }

    /// How many of a server's campaigns or queries agents were given and are given no longer.
    pub fn ended(&self, server: Server) -> usize {
        let campaigns = self.campaigns.iter();
        campaigns
            .filter(|campaign| campaign.server == server && campaign.ended.is_some())
            .count()
    }

    /// The most of a server's campaigns or queries that agents were given at once.
    pub fn most_at_once(&self, server: Server) -> usize {
        let campaigns = self.campaigns.iter();
        let given = campaigns.filter(|campaign| {
            campaign.server == server && campaign.state != CampaignState::NeverDelivered
        });
        let mut steps: Vec<(Instant, i32)> = given
            .flat_map(|campaign| {
                let ended = campaign.ended.map(|at| (at, -1));
                [(campaign.created, 1)].into_iter().chain(ended)
            })
            .collect();
        // Of an end and a beginning at one time, the end comes first.
        steps.sort_unstable();
        let (mut now, mut most) = (0, 0);
        for (_, step) in steps {
            now += step;
            most = most.max(now);
        }
        usize::try_from(most).unwrap_or_default()
    }

    /// Uuids of the hosts that were given a campaign or query of the server, whatever became of it.
    pub fn handed_out(&self, server: Server) -> BTreeSet<&str> {
        let campaigns = self.campaigns.iter();
        campaigns
            .filter(|campaign| campaign.server == server)
            .flat_map(|campaign| campaign.handed_out.iter().map(String::as_str))
            .collect()
    }

    /// How many requests each method and path had, without query strings.
    pub fn requests_by_path(&self) -> BTreeMap<(&str, &str), usize> {
        let mut counts = BTreeMap::new();
        for request in &self.requests {
            let path = request.path.split('?').next().unwrap_or_default();
            *counts.entry((request.method.as_str(), path)).or_default() += 1;
        }
        counts
    }
}

/// How a results socket ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SocketEnd {
    /// Id of the campaign that it listened to.
    pub campaign: String,
    /// Who ended it.
    pub by: EndedBy,
}

/// Who ended a results socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndedBy {
    /// The client, with a close frame.
    ClientClosed,
    /// The client: its connection ended without a close frame.
    ClientGone,
    /// The server, a proxy before it, or a fault.
    Server,
}

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Request {
    /// `GET`, `POST`, …
    pub method: String,
    /// Path with query string, as written.
    pub path: String,
    /// Header names in lower case, with their values.
    pub headers: Vec<(String, String)>,
    /// The body as text.
    pub body: String,
    /// When it had arrived whole.
    pub at: Instant,
    /// Which connection it came on, counted from 1.
    pub connection: usize,
}

impl Request {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }
}

/// Which server a campaign belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Server {
    /// Fleet.
    Fleet,
    /// osctrl.
    Osctrl,
    /// AiSOC's own osquery service.
    AisocDirect,
}

/// A campaign or query as it stands.
#[derive(Debug, Clone)]
pub struct Campaign {
    /// Whose.
    pub server: Server,
    /// Fleet's campaign id, osctrl's query name, the id of AiSOC's own service.
    pub id: String,
    /// The statement as it was sent.
    pub sql: String,
    /// Uuids of the hosts that it targets; of an agent that a test plays at AiSOC's own service, what it
    /// enrolled under.
    pub hosts: Vec<String>,
    /// Uuids of the hosts that were given it, once for each time.
    pub handed_out: Vec<String>,
    /// Whether agents are still given it.
    pub state: CampaignState,
    /// Results sockets that are listening now.
    pub listeners: usize,
    /// Its listeners went with the service, so its client can't end it (Fleet).
    pub orphaned: bool,
    /// Answers that were taken.
    pub answers: usize,
    /// Answers that came while only a dead listener was counted as present.
    pub lost: usize,
    /// Answers that the server refused since nobody listened; the agents try again.
    pub refused: usize,
    /// Items that the client can read by now (osctrl).
    pub items: usize,
    /// When it was created.
    pub created: Instant,
    /// When agents were last given it, where that is over.
    pub ended: Option<Instant>,
}

/// Whether agents are still given a campaign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CampaignState {
    /// They are.
    Running,
    /// Nobody listens any more (Fleet), or every node answered (osctrl, AiSOC's own service).
    Completed,
    /// The server lost it with a part that went away; agents are not given it any more.
    LostByServer,
    /// The client stopped it.
    Expired,
    /// The client deleted it.
    Deleted,
    /// It was accepted and can never be delivered (osctrl, `exp_hours: 0`), or its creation failed half-way.
    NeverDelivered,
}

/// What became of a host's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Stored, or passed on to a listener.
    Taken,
    /// Nobody listened: the agent will send it again.
    Refused,
    /// Swallowed.
    Lost,
}

/// A host's answer as it reached the server.
#[derive(Debug, Clone)]
pub struct AnswerSeen {
    /// Place of the campaign in [`Observations::campaigns`].
    pub campaign: usize,
    /// Uuid of the host that answered.
    pub host: String,
    /// When.
    pub at: Instant,
    /// What became of it.
    pub fate: Fate,
}
