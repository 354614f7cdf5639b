//! A person's word for a query that means many hosts. A client that can ask its user is made to: by a request
//! of the server's own in the era of the handshake, by an answer that wants input in the stateless one. The
//! person sees the template, the SQL and how many hosts; nothing that a host wrote.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::time::Duration;

use rmcp::model::{
    CallToolRequestParams, CallToolResponse, ElicitRequest, ElicitRequestParams, ElicitResult,
    ElicitationAction, ElicitationSchema, InputRequest, InputRequests, InputRequiredResult,
    ProtocolVersion,
};
use rmcp::service::ServiceError;
use serde_json::Value;
use tokio::time::Instant;

use super::call::Call;
use super::cells::clean;
use super::query::Query;
use super::refusal::Refusal;
use crate::exit::Code;
use crate::session::Run;

/// The question's name, and its one field.
const QUESTION: &str = "confirm";
const FIELD: &str = "run";
/// Of a call's time so much is left for the hosts.
pub(super) const FOR_THE_HOSTS: Duration = Duration::from_secs(8);
/// How long a question may be answered in the stateless era.
pub(super) const OPEN_FOR: Duration = Duration::from_secs(15 * 60);
/// Questions that are open at once; the oldest goes.
const MOST_OPEN: usize = 32;
/// Bytes of SQL that a person is shown.
const SQL_BYTES: usize = 4_096;

/// What a person is asked.
pub(super) struct Question<'a> {
    pub query: &'a Query,
    pub sql: &'a str,
    pub hosts: usize,
    /// More hosts than these need a person's word.
    pub above: usize,
    /// Where it is kept while it is open.
    pub consents: &'a Consents,
}

/// What came of it.
pub(super) enum Word {
    Agreed,
    /// The client comes back with it.
    Later(Box<CallToolResponse>),
}

impl Question<'_> {
    /// Asks in the way of the client's era.
    ///
    /// # Errors
    /// The person does not agree, or can't be asked.
    pub(super) async fn ask(&self, call: &Call) -> Result<Word, Refusal> {
        let able = call.context.client_capabilities();
        let able = able.and_then(|able| able.elicitation).is_some_and(|able| {
            // Neither form nor url named: that was before there were two kinds.
            able.form.is_some() || able.url.is_none()
        });
        if !able {
            return Err(self.too_many());
        }
        let stateless = call
            .context
            .protocol_version()
            .is_some_and(|version| version >= ProtocolVersion::V_2026_07_28);
        match stateless {
            true => Ok(Word::Later(Box::new(self.input_required()))),
            false => self.elicited(call).await,
        }
    }

    async fn elicited(&self, call: &Call) -> Result<Word, Refusal> {
        let left = call.until.saturating_duration_since(Instant::now());
        let patience = left.saturating_sub(FOR_THE_HOSTS);
        let peer = &call.context.peer;
        let asked = peer.create_elicitation_with_timeout(self.form(), Some(patience));
        match asked.await {
            Ok(answer) => agreed(&answer).map(|()| Word::Agreed),
            Err(ServiceError::Timeout { .. }) => Err(Refusal::new(
                Code::Policy,
                format!("nobody confirmed the query on {} hosts in time", self.hosts),
                "call again when the user is there, or name fewer hosts",
            )),
            Err(_) => Err(self.too_many()),
        }
    }

    fn input_required(&self) -> CallToolResponse {
        let state = self.consents.open(self.query.clone(), self.hosts);
        let request = InputRequest::Elicitation(ElicitRequest::new(self.form()));
        let requests = InputRequests::from([(QUESTION.to_owned(), request)]);
        InputRequiredResult::new(Some(requests), Some(state)).into()
    }

    fn form(&self) -> ElicitRequestParams {
        let message = format!(
            "Run the osquery live query `{}` on {} hosts of `{}`?\n\nAsked for: {}\n\nSQL: {}",
            self.query.template,
            self.hosts,
            self.query.instance,
            clean(&self.query.targets(), 1_024),
            clean(self.sql, SQL_BYTES),
        );
        let title = format!("Run it on {} hosts", self.hosts);
        let schema = ElicitationSchema::builder()
            .required_bool_property(FIELD, |field| field.title(title))
            .build()
            .unwrap_or_else(|_| ElicitationSchema::new(Default::default()));
        ElicitRequestParams::FormElicitationParams {
            meta: None,
            message,
            requested_schema: schema,
        }
    }

    fn too_many(&self) -> Refusal {
        let above = self.above;
        Refusal::new(
            Code::Policy,
            format!(
                "the query means {} hosts; above {above} the policy's `mcp.confirm_above` wants the user's word, and this client can't ask for it",
                self.hosts
            ),
            format!("name at most {above} hosts, or narrow them with `target_platforms`"),
        )
    }
}

/// Whether a person has agreed: accepted, and said so in the form.
fn agreed(answer: &ElicitResult) -> Result<(), Refusal> {
    let content = answer.content.as_ref();
    let said = content.and_then(|content| content.get(FIELD));
    if answer.action == ElicitationAction::Accept && said == Some(&Value::Bool(true)) {
        return Ok(());
    }
    Err(Refusal::new(
        Code::Policy,
        "the user did not agree to this query",
        "ask the user what to do instead: don't call this again without being told to",
    ))
}

/// Questions that the stateless era has open. Each is answered once, for the very call that it was asked for.
#[derive(Debug, Default)]
pub(super) struct Consents(RefCell<VecDeque<Open>>);

#[derive(Debug)]
struct Open {
    state: String,
    query: Query,
    hosts: usize,
    at: Instant,
}

impl Consents {
    /// Opens a question; its handle can't be guessed.
    pub(super) fn open(&self, query: Query, hosts: usize) -> String {
        let state = Run::begin().id().to_owned();
        let mut open = self.0.borrow_mut();
        open.retain(|open| open.at.elapsed() < OPEN_FOR);
        if open.len() >= MOST_OPEN {
            open.pop_front();
        }
        open.push_back(Open {
            state: state.clone(),
            query,
            hosts,
            at: Instant::now(),
        });
        state
    }

    /// How many hosts a person has agreed to, where the call brings a word.
    ///
    /// # Errors
    /// The person did not agree, or to something else.
    pub(super) fn given(
        &self,
        request: &CallToolRequestParams,
        query: &Query,
    ) -> Result<Option<usize>, Refusal> {
        let Some(state) = &request.request_state else {
            return Ok(None);
        };
        let mut open = self.0.borrow_mut();
        open.retain(|open| open.at.elapsed() < OPEN_FOR);
        let at = open.iter().position(|open| open.state == *state);
        let answered = at.and_then(|at| open.remove(at));
        let answered = answered.filter(|open| open.query == *query).ok_or_else(|| {
            Refusal::new(
                Code::Usage,
                "no open question of this server is answered by that: each is good once, for 15 minutes, for the same arguments",
                "call again without `requestState`",
            )
        })?;
        let word = request.input_responses.as_ref();
        let word = word.and_then(|responses| responses.get(QUESTION));
        let word = word.and_then(|word| serde_json::from_value(word.clone()).ok());
        let word: ElicitResult =
            word.unwrap_or_else(|| ElicitResult::new(ElicitationAction::Cancel));
        agreed(&word).map(|()| Some(answered.hosts))
    }
}
