//! Applying a scenario's faults: which of them meet a request, and what they make of its answer.

use bytes::Bytes;
use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue};
use serde_json::Value;

use crate::body::Content;
use crate::gzip;
use crate::http::{FLEET_JSON, Reply, TEXT};
use crate::pieces::Pieces;
use crate::scenario::{Fault, ListError, decode_base64};
use crate::world::World;

/// The faults that this request meets. Each meeting is counted.
pub(crate) fn meet(world: &mut World, method: &str, path: &str) -> Vec<Fault> {
    let now = world.now();
    let scenario = std::sync::Arc::clone(&world.scenario);
    let mut met = Vec::new();
    for (fault, matches) in scenario.faults.iter().zip(&mut world.fault_matches) {
        let fits = fault
            .method
            .as_ref()
            .is_none_or(|wanted| wanted.eq_ignore_ascii_case(method))
            && path.contains(&fault.path)
            && now >= fault.after;
        if !fits {
            continue;
        }
        *matches += 1;
        let applies = *matches > fault.skip
            && fault
                .times
                .is_none_or(|times| *matches <= fault.skip.saturating_add(times));
        if applies {
            met.push(fault.clone());
        }
    }
    met
}

/// The answer as the faults leave it. `None` stands for a request that was not handled.
pub(crate) fn disfigure(faults: &[Fault], reply: Option<Reply>) -> Reply {
    let mut reply = reply.unwrap_or_else(|| Reply::new(200, TEXT, ""));
    for fault in faults {
        if let Some(made) = &fault.made {
            let status = fault.status.unwrap_or(200);
            reply = Reply::made(status, FLEET_JSON, Pieces::of_body(made));
        } else if fault.replaces_answer() {
            let body = match (&fault.body, &fault.body_base64) {
                (Some(text), _) => Bytes::from(text.clone()),
                (None, Some(text)) => decode_base64(text).unwrap_or_default().into(),
                (None, None) => Bytes::new(),
            };
            let json = fault.body.is_some() || fault.body_base64.is_some();
            let kind = if json { FLEET_JSON } else { TEXT };
            reply = Reply::new(fault.status.unwrap_or(200), kind, body);
        }
        if let Some(kind) = &fault.content_type {
            reply.content_type.clone_from(kind);
        }
        if let Some(location) = &fault.location {
            reply = reply.with_header("location", location);
        }
        if let Some(pause) = &fault.retry_after {
            reply = reply.with_header("retry-after", pause);
        }
        if let Some(error) = &fault.list_error {
            end_list(&mut reply, error);
        }
        if fault.gzip {
            let body = std::mem::replace(&mut reply.body, Content::Bytes(Bytes::new()));
            reply.body = Content::Bytes(gzip::stored(&body.into_bytes()).into());
            reply = reply.with_header("content-encoding", "gzip");
        }
    }
    reply
}

/// Cuts the first list of the answer short and adds an error beside it.
fn end_list(reply: &mut Reply, error: &ListError) {
    let body = std::mem::replace(&mut reply.body, Content::Bytes(Bytes::new())).into_bytes();
    let mut document: Value = serde_json::from_slice(&body).unwrap_or_default();
    if let Some(fields) = document.as_object_mut() {
        if let Some(list) = fields.values_mut().find_map(Value::as_array_mut) {
            list.truncate(error.after);
        }
        fields.insert("error".into(), Value::String(error.error.clone()));
    }
    reply.body = Content::Bytes(document.to_string().into());
}

/// Sets the headers that the faults set, and leaves out those that they leave out.
pub(crate) fn set_headers(faults: &[Fault], headers: &mut HeaderMap) {
    for (name, value) in faults.iter().flat_map(|fault| &fault.headers) {
        let Ok(name) = HeaderName::try_from(name) else {
            continue;
        };
        match value.as_deref().map(HeaderValue::try_from) {
            Some(Ok(value)) => {
                headers.insert(name, value);
            }
            Some(Err(_)) => {}
            None => {
                headers.remove(name);
            }
        }
    }
}
