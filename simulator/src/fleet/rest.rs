//! Fleet's calls that ask hosts and wait for their answers: one host by name or id, and what saved
//! queries share with it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::mpsc::UnboundedReceiver;

use super::campaigns::{self, Heard, HostAnswer};
use super::{bad_request, forbidden, hosts, ok};
use crate::http::{Call, FLEET_JSON, Reply, TEXT};
use crate::pieces::Pieces;
use crate::rows::Answered;
use crate::scenario::Part;
use crate::world::Shared;

/// `POST /hosts/identifier/{identifier}/query`.
pub(super) async fn ask_by_identifier(
    shared: &Arc<Shared>,
    user: usize,
    identifier: &str,
    call: &Call,
) -> Reply {
    let place = hosts::find(&shared.look(), identifier).map(|(place, _)| place);
    ask(shared, user, place, call, || {
        format!(
            "host not found: {identifier}: get host by identifier: : \
             Host {identifier} was not found in the datastore"
        )
    })
    .await
}

/// `POST /hosts/{id}/query`.
pub(super) async fn ask_by_id(shared: &Arc<Shared>, user: usize, id: &str, call: &Call) -> Reply {
    let place = hosts::with_id(&shared.look(), id).map(|(place, _)| place);
    ask(shared, user, place, call, || {
        format!("host not found: {id}: Host {id} was not found in the datastore")
    })
    .await
}

async fn ask(
    shared: &Arc<Shared>,
    user: usize,
    place: Option<usize>,
    call: &Call,
    unknown: impl FnOnce() -> String,
) -> Reply {
    let body = call.json().unwrap_or_default();
    let sql = body["query"].as_str().unwrap_or_default().to_owned();
    let prepared = {
        let world = shared.look();
        if world.outages.is_away(Part::Redis) {
            return super::no_redis();
        }
        if !world
            .fleet
            .users
            .get(user)
            .is_some_and(super::users::User::may_run)
        {
            return forbidden(TEXT);
        }
        let host = place.and_then(|place| Some((place, world.hosts.get(place)?)));
        host.map(|(place, host)| (place, host.id, host.online, world.scenario.fleet.rest_wait))
    };
    let Some((place, host_id, online, wait)) = prepared else {
        return bad_request(TEXT, &unknown());
    };
    if sql.trim().is_empty() {
        return bad_request(TEXT, "query is required");
    }
    if !online {
        return ok(&json!({
            "host_id": host_id, "rows": null, "query": sql, "status": "offline",
        }));
    }
    let mut answers = gather(shared, user, &sql, vec![place], wait).await;
    let mut document = json!({"host_id": host_id, "rows": null, "query": sql, "status": "online"});
    let Some(answer) = answers.pop() else {
        document["error"] = json!("timeout waiting for results");
        return ok(&document);
    };
    let (rows, error) = describe(shared, &answer);
    if let Some(error) = error {
        document["error"] = json!(error);
    }
    match rows {
        Rows::Json(rows) => document["rows"] = rows,
        Rows::Missing => {
            if let Some(fields) = document.as_object_mut() {
                fields.remove("rows");
            }
        }
        Rows::Whole(text) => return Reply::new(200, FLEET_JSON, text),
        // Text in the rows' place goes out as it stands, well-formed or not.
        Rows::Raw(pieces) => {
            let text = document.to_string();
            let (before, after) = text.split_once("\"rows\":null").unwrap_or_default();
            let pieces = pieces.between(format!("{before}\"rows\":"), after.to_owned());
            return Reply::made(200, FLEET_JSON, pieces);
        }
    }
    ok(&document)
}

/// Starts a campaign and listens to it until every host has answered or the wait is over.
pub(super) async fn gather(
    shared: &Arc<Shared>,
    user: usize,
    sql: &str,
    targets: Vec<usize>,
    wait: Duration,
) -> Vec<HostAnswer> {
    let expected = targets.len();
    let started = shared.change(|world| {
        let campaign = campaigns::create(world, user, sql.to_owned(), targets);
        let (listener, answers) = campaigns::listen(world, campaign)?;
        Some((campaign, listener, answers))
    });
    let Some((campaign, listener, mut answers)) = started else {
        return Vec::new();
    };
    let mut gathered = Vec::new();
    // Whatever came before the wait is over counts, so the list lives outside the timeout.
    let _ = tokio::time::timeout(wait, fill(&mut answers, expected, &mut gathered)).await;
    shared.change(|world| campaigns::dispose(world, campaign, listener));
    gathered
}

async fn fill(
    answers: &mut UnboundedReceiver<Heard>,
    expected: usize,
    gathered: &mut Vec<HostAnswer>,
) {
    while gathered.len() < expected
        && let Some(heard) = answers.recv().await
    {
        if let Heard::Answer(answer) = heard {
            gathered.push(answer);
        }
    }
}

/// An answer's rows.
pub(super) enum Rows {
    Json(Value),
    /// A text, well-formed or not.
    Raw(Pieces),
    /// There are none where they belong.
    Missing,
    /// A text in place of the whole answer.
    Whole(String),
}

/// An answer's rows, without added columns, and its error.
pub(super) fn describe(shared: &Shared, answer: &HostAnswer) -> (Rows, Option<String>) {
    let world = shared.look();
    let host = world.hosts.get(answer.host);
    match answer.answer.as_ref() {
        Answered::Rows(rows) => {
            let text = host.map(|host| rows.json(host));
            let rows = text.and_then(|text| serde_json::from_str(&text).ok());
            (Rows::Json(rows.unwrap_or_else(|| json!([]))), None)
        }
        Answered::Error(text) => (Rows::Json(json!([])), Some(text.clone())),
        Answered::StatusOnly(status) => (
            Rows::Json(json!([])),
            Some(format!("distributed query returned status {status}")),
        ),
        Answered::Raw(text) => {
            let text = Bytes::from(text.clone());
            (Rows::Raw(Pieces::new(std::iter::once(text))), None)
        }
        Answered::Made(made) => (Rows::Raw(made.pieces(None, 0)), None),
        Answered::Missing => (Rows::Missing, None),
        Answered::Data(text) => {
            let filled = host.map(|host| host.fill(text, 1).into_owned());
            (Rows::Whole(filled.unwrap_or_default()), None)
        }
    }
}
