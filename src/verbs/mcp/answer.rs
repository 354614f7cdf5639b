//! The document of a run, and a plan, as a model gets them: within so many bytes. Counts for all hosts, whole
//! rows for the first ones, and each thing that was left out is counted and says how it is read.

use serde_json::{Map, Value, json};

use super::cells::{self, CELL_BYTES, CutCells, Place, clean};
use super::kept::{KeptRun, too_wide};
use super::query::Query;
use super::refusal::Refusal;
use crate::campaign::{Campaign, Status};
use crate::policy::models::ModelPolicy;
use crate::session::Outcome;

/// Bytes of a text beside rows, the first of these with which all of them fit.
const TEXTS: [usize; 4] = [2_048, 512, 128, 32];
/// Bytes of a host's error.
const ERROR_BYTES: usize = 512;
/// What is kept for saying what was left out.
const RESERVED: usize = 640;
/// Tries to keep to the size.
const TRIES: usize = 6;

/// A run that is over, and how much of it may be shown.
pub(super) struct Shown<'a> {
    pub run: &'a KeptRun,
    pub most_bytes: usize,
    pub warnings: Vec<String>,
    pub error: Option<&'a Refusal>,
}

/// What did not fit.
#[derive(Debug, Default)]
struct LeftOut {
    rows: usize,
    rows_shown: usize,
    hosts: usize,
    names: usize,
    texts: usize,
    cells: CutCells,
}

impl Shown<'_> {
    /// The document, bounded.
    pub(super) fn answer(&self) -> Value {
        let mut most = self.most_bytes;
        let mut answer = self.within(most);
        for _ in 0..TRIES {
            let length = answer.to_string().len();
            if length <= self.most_bytes {
                break;
            }
            most = most.saturating_sub(length - self.most_bytes + 64);
            answer = self.within(most);
        }
        answer
    }

    fn within(&self, most: usize) -> Value {
        let mut left_out = LeftOut::default();
        let mut answer = self.head(most, &mut left_out);
        for key in ["timed_out_hosts", "failed_hosts"] {
            if let Some(names) = self.run.head.get(key) {
                let names = self.names(names, most / 8, &mut left_out);
                answer.insert(key.into(), names);
            }
        }
        let hosts = self.hosts(most / 4, &mut left_out);
        if !hosts.is_empty() {
            answer.insert("hosts".into(), hosts.into());
        }
        let used = Value::from(answer.clone()).to_string().len() + RESERVED;
        let results = self.results(most.saturating_sub(used), &mut left_out);
        // First, as in the document of `run`.
        answer.insert("results".into(), results);
        answer.insert("shown".into(), left_out.to_json(&self.run.id));
        answer.into()
    }

    /// What is said of the whole run.
    fn head(&self, most: usize, left_out: &mut LeftOut) -> Map<String, Value> {
        let mut head = Map::new();
        head.insert("untrusted".into(), true.into());
        head.insert("results".into(), json!({}));
        for key in [
            "partial",
            "executed",
            "truncated",
            "cancelled",
            "queued_until",
        ] {
            if let Some(value) = self.run.head.get(key) {
                head.insert(key.into(), value.clone());
            }
        }
        head.insert("counts".into(), self.counts());
        if let Some(error) = self.error {
            head.insert("error".into(), error.to_json());
        }
        head.insert("warnings".into(), self.warnings.clone().into());
        let mut rest = Map::new();
        for bytes in TEXTS {
            rest.clear();
            left_out.texts = 0;
            for key in ["campaign", "run"] {
                if let Some(value) = self.run.head.get(key) {
                    let value = tidy(value, bytes, &mut left_out.texts);
                    rest.insert(key.into(), value);
                }
            }
            if Value::from(rest.clone()).to_string().len() <= most / 3 {
                break;
            }
        }
        if Value::from(rest.clone()).to_string().len() > most / 3
            && let Some(run) = rest.get_mut("run").and_then(Value::as_object_mut)
            && run.remove("parameters").is_some()
        {
            left_out.texts += 1;
        }
        head.extend(rest);
        head
    }

    fn counts(&self) -> Value {
        let mut counts = Map::new();
        let hosts = self.run.head.get("hosts").and_then(Value::as_object);
        counts.insert("targets".into(), hosts.map_or(0, Map::len).into());
        for host in hosts.into_iter().flat_map(Map::values) {
            let status = host["status"].as_str().unwrap_or_default();
            let count = counts.entry(status).or_insert(0.into());
            *count = (count.as_u64().unwrap_or_default() + 1).into();
        }
        let rows: usize = self.run.hosts.iter().map(|host| host.count).sum();
        counts.insert("rows".into(), rows.into());
        counts.into()
    }

    fn shown_name(&self, key: &str) -> String {
        let known = self.run.names.get(key).cloned();
        known.unwrap_or_else(|| clean(key, ERROR_BYTES))
    }

    fn names(&self, names: &Value, most: usize, left_out: &mut LeftOut) -> Value {
        let mut bytes = 0;
        let mut shown: Vec<String> = Vec::new();
        for name in names.as_array().into_iter().flatten() {
            let name = self.shown_name(name.as_str().unwrap_or_default());
            bytes += Value::from(name.as_str()).to_string().len() + 1;
            if bytes > most {
                left_out.names += 1;
            } else {
                shown.push(name);
            }
        }
        shown.into()
    }

    /// How each target stands, the first ones; those that did not answer come before those that did, whose
    /// names stand in `results`.
    fn hosts(&self, most: usize, left_out: &mut LeftOut) -> Map<String, Value> {
        let mut shown = Map::new();
        let mut bytes = 0;
        let hosts = self.run.head.get("hosts").and_then(Value::as_object);
        for (key, host) in hosts.into_iter().flatten() {
            let mut cut = 0;
            let host = tidy(host, ERROR_BYTES, &mut cut);
            let key = self.shown_name(key);
            bytes += key.len() + host.to_string().len() + 8;
            if bytes > most {
                left_out.hosts += 1;
                continue;
            }
            left_out.texts += cut;
            shown.insert(key, host);
        }
        shown
    }

    /// Whole rows: each host gets its share of what is left.
    fn results(&self, most: usize, left_out: &mut LeftOut) -> Value {
        let mut results = Map::new();
        let mut room = most;
        let hosts = &self.run.hosts;
        for (index, host) in hosts.iter().enumerate() {
            let around = Value::from(host.shown.as_str()).to_string().len() + 4;
            if around > room {
                left_out.rows += host.count;
                left_out.names += 1;
                continue;
            }
            room -= around;
            let share = room / (hosts.len() - index);
            let (mut bytes, mut rows) = (0, Vec::new());
            for (number, row) in self.run.rows(host, 0) {
                let place = Place {
                    host: &host.shown,
                    row: number,
                    cell_bytes: CELL_BYTES.min(self.most_bytes / 4),
                    notices: &self.run.notices,
                };
                let (row, cuts) = cells::row(row, place);
                let mut row = Value::from(row);
                let mut length = row.to_string().len() + 1 + cuts.to_json(true).to_string().len();
                if length > self.most_bytes / 2 {
                    // It fits nowhere: what follows it must not be lost with it.
                    row = too_wide();
                    length = row.to_string().len() + 1;
                }
                if bytes + length > share {
                    break;
                }
                bytes += length;
                left_out.cells.add(cuts);
                rows.push(row);
            }
            room -= bytes;
            left_out.rows += host.count - rows.len();
            left_out.rows_shown += rows.len();
            results.insert(host.shown.clone(), rows.into());
        }
        results.into()
    }
}

impl LeftOut {
    fn to_json(&self, run: &str) -> Value {
        let complete = self.rows + self.hosts + self.names + self.texts + self.cells.count == 0;
        let mut shown = json!({
            "complete": complete,
            "rows": self.rows_shown,
            "rows_left_out": self.rows,
            "hosts_left_out": self.hosts,
            "names_left_out": self.names,
            "cells_cut": self.cells.count,
            "texts_cut": self.texts,
        });
        if self.cells.count > 0 {
            shown["cut_cells"] = self.cells.to_json(true);
        }
        if self.rows + self.cells.count > 0 {
            shown["how_to_read_on"] = format!(
                "read_rows with run={run}, a host, and offset = the number of its rows here; with limit=1 for a cut cell"
            )
            .into();
        } else if self.hosts + self.names > 0 {
            shown["how_to_read_on"] = "ask fewer hosts in one call".into();
        }
        shown
    }
}

/// A value without anything hidden in its texts, each of them no longer than so many bytes.
fn tidy(value: &Value, bytes: usize, cut: &mut usize) -> Value {
    match value {
        Value::String(text) => {
            *cut += usize::from(text.len() > bytes);
            let most = if text.len() > bytes {
                bytes
            } else {
                bytes * 12
            };
            clean(text, most).into()
        }
        Value::Array(items) => items.iter().map(|item| tidy(item, bytes, cut)).collect(),
        Value::Object(entries) => {
            let entries = entries.iter();
            let entries = entries.map(|(key, value)| (clean(key, 256), tidy(value, bytes, cut)));
            Value::Object(entries.collect())
        }
        other => other.clone(),
    }
}

/// What `plan_live_query` answers.
pub(super) fn planned(
    outcome: &Outcome,
    query: &Query,
    policy: &ModelPolicy,
    warnings: Vec<String>,
) -> Value {
    let (sql, campaign) = match outcome {
        Outcome::Planned { sql, campaign, .. } => (sql.as_str(), Some(&**campaign)),
        _ => ("", None),
    };
    let targeted = campaign.map_or(0, Campaign::targeted);
    let mut plan = Plan::new(policy.max_bytes() / 2);
    let roster = campaign.map(Campaign::roster);
    let targets = roster.map(|roster| roster.targets.iter().map(move |target| (roster, target)));
    for (roster, target) in targets.into_iter().flatten() {
        let status = campaign.map(|campaign| campaign.status(target.host()));
        let host = target.host().map(|at| &roster.hosts[at]);
        let key = clean(roster.key(target), ERROR_BYTES);
        if host.is_some_and(|host| host.online == Some(false) && !host.unsupported) {
            plan.offline_count += 1;
            plan.name("offline", key.clone().into());
        }
        match status {
            Some(Status::Unsupported) => plan.name("unsupported", key.into()),
            Some(Status::Unknown) => {
                let near = target.near().iter();
                let near = near.map(|near| clean(&near.name, ERROR_BYTES));
                let near: Vec<String> = near.collect();
                plan.name("unknown", json!({ "name": key, "near": near }));
            }
            _ => plan.name("hosts", key.into()),
        }
    }
    let mut answer = json!({
        "untrusted": true,
        "instance": query.instance,
        "template": query.template,
        "sql": clean(sql, policy.max_bytes() / 4),
        "targeted": targeted,
        "needs_confirmation": targeted > policy.confirm_above(),
        "offline_count": plan.offline_count,
        "left_out": plan.left_out,
        "warnings": warnings,
    });
    for (key, names) in plan.lists {
        answer[key] = names;
    }
    answer
}

/// Lists of names within a size.
struct Plan {
    room: usize,
    lists: Map<String, Value>,
    offline_count: usize,
    left_out: usize,
}

impl Plan {
    fn new(room: usize) -> Self {
        let lists = ["hosts", "offline", "unknown", "unsupported"];
        let lists = lists.map(|list| (list.to_owned(), json!([])));
        Self {
            room,
            lists: lists.into_iter().collect(),
            offline_count: 0,
            left_out: 0,
        }
    }

    fn name(&mut self, list: &str, entry: Value) {
        let bytes = entry.to_string().len() + 1;
        if bytes > self.room {
            self.left_out += 1;
            return;
        }
        self.room -= bytes;
        if let Some(Value::Array(list)) = self.lists.get_mut(list) {
            list.push(entry);
        }
    }
}
