//! What makes a document evidence: which run it is of, when that was, by which program, and what was asked.
//! The audit log and the servers' traces know the run by the same id.

use std::time::{Instant, SystemTime};

use serde_json::{Map, Value};

use super::prepare::CheckedStep;
use crate::campaign::json_length;
use crate::notices::Notices;
use crate::step::model::Server;
use crate::trace::TraceParent;
use crate::uuid;

/// One run. Two at once have two ids.
#[derive(Debug, Clone)]
pub struct Run {
    id: String,
    began: Instant,
    started_at: SystemTime,
    trace: Option<TraceParent>,
    via: Option<Via>,
    asked: AskedFor,
}

/// What stood between whoever asked and this program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Via {
    /// What it speaks.
    pub protocol: &'static str,
    /// What it calls itself, and its version.
    pub client: Option<(String, String)>,
}

/// What a run asks for, as far as it came to be known.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct AskedFor {
    /// The step's `id`.
    pub step: Option<String>,
    /// The template that it names.
    pub template: Option<String>,
    /// The template's parameters, rendered.
    pub parameters: Option<Map<String, Value>>,
    /// The SQL that the template became.
    pub sql: Option<String>,
    /// Which server, by what a step says of it.
    pub server: Option<Map<String, Value>>,
    /// What ages in the parameters count back from.
    pub as_of: Option<SystemTime>,
    /// The id of the run that it goes on with.
    pub resumes: Option<String>,
}

impl Run {
    /// A run that begins now.
    pub fn begin() -> Self {
        Self::begun(Instant::now())
    }

    /// A run that has begun before, as a process does before it knows what it is to do: the step's deadline
    /// counts from then.
    pub fn begun(began: Instant) -> Self {
        let now = SystemTime::now();
        Self {
            id: uuid::random(),
            began,
            started_at: now.checked_sub(began.elapsed()).unwrap_or(now),
            trace: None,
            via: None,
            asked: AskedFor::default(),
        }
    }

    /// As part of a trace: a `traceparent` of the W3C's Trace Context. `None` where it is malformed.
    pub fn within(self, traceparent: &str) -> Option<Self> {
        let trace = Some(TraceParent::read(traceparent)?);
        Some(Self { trace, ..self })
    }

    /// As asked for by a client of this process; the audit log names it.
    pub(crate) fn via(self, via: Via) -> Self {
        let via = Some(via);
        Self { via, ..self }
    }

    /// What stood between whoever asked and this program, where something did.
    pub(crate) fn asked_via(&self) -> Option<&Via> {
        self.via.as_ref()
    }

    /// Its uuid (version 4), which the audit log has, too.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// When it began.
    pub fn began(&self) -> Instant {
        self.began
    }

    /// When it began, by the clock on the wall.
    pub fn started_at(&self) -> SystemTime {
        self.started_at
    }

    /// Now, by the clock on the wall as it stood when the run began: a clock that is set meanwhile makes no
    /// answer come before its question.
    pub fn now(&self) -> SystemTime {
        let elapsed = self.began.elapsed();
        self.started_at
            .checked_add(elapsed)
            .unwrap_or(self.started_at)
    }

    /// The trace that it is part of.
    pub(crate) fn trace(&self) -> Option<&TraceParent> {
        self.trace.as_ref()
    }

    /// What it asks for.
    pub(crate) fn asked(&self) -> &AskedFor {
        &self.asked
    }

    /// Bytes that it takes in a document at most, a note of so many included.
    pub(super) fn bytes(&self, note: usize) -> usize {
        /// Keys, ids, moments.
        const AROUND: usize = 400;
        let asked = &self.asked;
        let length = |text: &Option<String>| text.as_deref().map_or(0, json_length);
        let entries = |entries: &Option<Map<String, Value>>| {
            let json = entries.as_ref().map(serde_json::to_string);
            json.map_or(0, |json| json.map_or(0, |json| json.len()))
        };
        let texts = [&asked.step, &asked.template, &asked.sql].map(length);
        let entries = [&asked.parameters, &asked.server].map(entries);
        AROUND + note + texts.iter().chain(&entries).sum::<usize>()
    }

    /// What a step asks for that was not let through.
    pub(crate) fn refused(&mut self, asked: AskedFor) {
        self.asked = asked;
    }

    /// What a step asks for that may be dispatched; tokens and passwords are taken out of it.
    pub(super) fn executes(&mut self, step: &CheckedStep, notices: &Notices) {
        let rendered = step.step();
        let shown = |text: &str| notices.value(text);
        self.asked = AskedFor {
            step: rendered.id.as_deref().map(shown),
            template: Some(rendered.template.name.clone()),
            parameters: Some(without_secrets(&rendered.template.params, &shown)),
            sql: Some(shown(step.statement().sql())),
            server: Some(without_secrets(&server_of(&rendered.server), &shown)),
            as_of: Some(step.as_of()),
            resumes: step.resumes().map(str::to_owned),
        };
    }
}

/// Which server a run asks: its kind, its address, and what else this kind needs.
pub(super) fn server_of(server: &Server) -> Map<String, Value> {
    let mut said = Map::new();
    said.insert("backend".into(), server.access.known().name.into());
    said.insert("url".into(), server.base_url.as_str().into());
    for (field, value) in server.access.said() {
        said.insert(field.into(), value.into());
    }
    said
}

fn without_secrets(
    parameters: &Map<String, Value>,
    shown: &dyn Fn(&str) -> String,
) -> Map<String, Value> {
    let entry = |(name, value): (&String, &Value)| {
        let value = match value {
            Value::String(text) => shown(text).into(),
            other => other.clone(),
        };
        (name.clone(), value)
    };
    parameters.iter().map(entry).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn ids_are_uuids_of_version_4_and_differ() {
        let ids: HashSet<String> = (0..1_000).map(|_| Run::begin().id).collect();
        assert_eq!(ids.len(), 1_000);
        for id in ids {
            let parts: Vec<usize> = id.split('-').map(str::len).collect();
            assert_eq!(parts, [8, 4, 4, 4, 12], "{id}");
            assert_eq!(&id[14..15], "4", "{id}");
            assert!("89ab".contains(&id[19..20]), "{id}");
        }
    }

    #[test]
    fn a_run_that_began_before_says_so() {
        let began = Instant::now();
        let run = Run::begun(began);
        assert!(run.started_at() <= run.now());
        assert_eq!(run.began(), began);
    }
}
