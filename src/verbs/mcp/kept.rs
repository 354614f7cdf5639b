//! Runs of this process that can be read on, and gone on with: for a quarter of an hour, and so many bytes of
//! them in all. The handle is the run's id, which nobody can guess.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet, VecDeque};
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::cells::{self, CELL_BYTES, CutCells, Place, WIDE_CELL_BYTES, clean};
use super::query::Query;
use super::refusal::Refusal;
use crate::bug::Bug;
use crate::exit::Code;
use crate::json_parts::{Entries, place};
use crate::notices::Notices;
use crate::output::Format;
use crate::policy::models::ModelPolicy;
use crate::session::failure::Failure;
use crate::session::{Outcome, Run};

/// How long a run is kept.
pub(super) const KEPT_FOR: Duration = Duration::from_secs(15 * 60);
/// Bytes of all of them.
pub(super) const MOST_BYTES: usize = 64 * 1024 * 1024;
/// Bytes that a run takes beside its document.
const AROUND: usize = 4 * 1024;
/// Bytes of a host's key as it is shown.
const KEY_BYTES: usize = 512;
/// Rows that are read where nothing is said.
const USUAL_ROWS: usize = 100;

/// A run that is over.
#[derive(Debug)]
pub(super) struct KeptRun {
    pub id: String,
    /// What was asked for, to be asked again.
    pub query: Query,
    /// So many hosts were agreed to.
    pub confirmed: usize,
    /// The document of `run`.
    pub document: Arc<str>,
    /// All of it but the rows.
    pub head: Map<String, Value>,
    /// Who answered, in order.
    pub hosts: Vec<KeptHost>,
    /// Each target's key as it is shown, by its key; no two are shown the same.
    pub names: HashMap<String, String>,
    pub notices: Notices,
}

/// A host that answered.
#[derive(Debug)]
pub(super) struct KeptHost {
    /// Its key, fit to be shown; no two are the same.
    pub shown: String,
    /// Its key.
    pub key: String,
    pub(super) rows: Range<usize>,
    /// How many there are.
    pub count: usize,
}

impl KeptRun {
    /// The run with what came of it.
    ///
    /// # Errors
    /// `internal`, where its document is none.
    pub(super) fn of(
        run: &Run,
        outcome: &Outcome,
        query: Query,
        confirmed: usize,
        notices: Notices,
    ) -> Result<Self, Refusal> {
        let broken = || Failure::from(Bug::that("a run's document can't be read"));
        let mut document = Vec::new();
        let written = Format::Json.write(run, outcome, &mut document);
        written.map_err(|_| broken())?;
        let document: Arc<str> = String::from_utf8(document).map_err(|_| broken())?.into();
        let Entries(entries) = serde_json::from_str(&document).map_err(|_| broken())?;
        let (mut head, mut hosts) = (Map::new(), Vec::new());
        for (key, part) in entries {
            if key != "results" {
                let value = serde_json::from_str(part.get()).map_err(|_| broken())?;
                head.insert(key.into_owned(), value);
                continue;
            }
            let Entries(results) = serde_json::from_str(part.get()).map_err(|_| broken())?;
            for (key, rows) in results {
                let many: Vec<&RawValue> =
                    serde_json::from_str(rows.get()).map_err(|_| broken())?;
                hosts.push(KeptHost {
                    shown: String::new(),
                    key: key.into_owned(),
                    rows: place(&document, rows),
                    count: many.len(),
                });
            }
        }
        let (mut names, mut told) = (HashMap::new(), HashSet::new());
        let targets = head.get("hosts").and_then(Value::as_object);
        for key in targets.into_iter().flat_map(Map::keys) {
            let shown = unlike(clean(&notices.value(key), KEY_BYTES), &mut told);
            names.insert(key.clone(), shown);
        }
        for host in &mut hosts {
            host.shown = names.get(&host.key).cloned().unwrap_or_default();
        }
        Ok(Self {
            id: run.id().to_owned(),
            query,
            confirmed,
            head,
            hosts,
            names,
            notices,
            document,
        })
    }

    fn bytes(&self) -> usize {
        self.document.len() + AROUND
    }

    /// The rows of a host from one on, each with its number.
    pub(super) fn rows(
        &self,
        host: &KeptHost,
        from: usize,
    ) -> impl Iterator<Item = (usize, Map<String, Value>)> {
        let text = self.document.get(host.rows.clone()).unwrap_or("[]");
        let rows: Vec<&RawValue> = serde_json::from_str(text).unwrap_or_default();
        let rows = rows.into_iter().enumerate().skip(from);
        rows.filter_map(|(number, row)| Some((number, serde_json::from_str(row.get()).ok()?)))
    }
}

/// The name, with a number behind it where there is one like it.
fn unlike(name: String, told: &mut HashSet<String>) -> String {
    let mut unique = name.clone();
    let mut number = 2;
    while !told.insert(unique.clone()) {
        unique = format!("{name}#{number}");
        number += 1;
    }
    unique
}

/// The runs that are kept.
#[derive(Debug, Default)]
pub(super) struct KeptRuns(RefCell<VecDeque<(Instant, Rc<KeptRun>)>>);

impl KeptRuns {
    /// Keeps a run. What is old, and the oldest where there is too much, goes.
    pub(super) fn keep(&self, run: KeptRun) -> Rc<KeptRun> {
        self.forget(Instant::now());
        let run = Rc::new(run);
        let mut runs = self.0.borrow_mut();
        runs.push_back((Instant::now(), Rc::clone(&run)));
        let mut bytes: usize = runs.iter().map(|(_, run)| run.bytes()).sum();
        while bytes > MOST_BYTES
            && let Some((_, oldest)) = runs.pop_front()
        {
            bytes -= oldest.bytes();
        }
        run
    }

    /// Drops what is older than a run is kept.
    pub(super) fn forget(&self, now: Instant) {
        let mut runs = self.0.borrow_mut();
        runs.retain(|(at, _)| now.saturating_duration_since(*at) < KEPT_FOR);
    }

    fn find(&self, id: &str) -> Result<Rc<KeptRun>, Refusal> {
        self.forget(Instant::now());
        let runs = self.0.borrow();
        let found = runs.iter().find(|(_, run)| run.id == id);
        found.map(|(_, run)| Rc::clone(run)).ok_or_else(|| {
            Refusal::new(
                Code::Usage,
                "no such run is kept: it is older than 15 minutes, larger ones came after it, or another process ran it",
                "call run_live_query again",
            )
        })
    }

    /// The run to go on with; its targets and parameters become the query's.
    ///
    /// # Errors
    /// It is not kept, or the query says something else.
    pub(super) fn resumed(&self, id: &str, query: &mut Query) -> Result<Rc<KeptRun>, Refusal> {
        let run = self.find(id)?;
        let same = run.query.instance == query.instance && run.query.template == query.template;
        if !same || !query.names_nobody() || !query.parameters.is_empty() {
            return Err(Refusal::new(
                Code::Usage,
                "`resume` goes on with the same question to the same hosts",
                "leave targets and parameters out, and name the run's own instance and template",
            ));
        }
        *query = Query {
            timeout_seconds: query.timeout_seconds,
            ..run.query.clone()
        };
        Ok(run)
    }

    /// `read_rows`: further rows of one host.
    ///
    /// # Errors
    /// The run is not kept, or the host did not answer it.
    pub(super) fn read(&self, policy: &ModelPolicy, wanted: &Wanted) -> Result<Value, Refusal> {
        let run = self.find(&wanted.run)?;
        let mut hosts = run.hosts.iter();
        let host = hosts.find(|host| host.shown == wanted.host || host.key == wanted.host);
        let host = host.ok_or_else(|| {
            Refusal::new(
                Code::Usage,
                "no host of this key answered that run",
                "the keys are those of its `results`",
            )
        })?;
        let most = wanted.limit.unwrap_or(USUAL_ROWS);
        let widest = WIDE_CELL_BYTES.min(policy.max_bytes() / 2);
        let cell_bytes = if most == 1 { widest } else { CELL_BYTES };
        let mut answer = json!({
            "untrusted": true,
            "run": run.id,
            "host": host.shown,
            "offset": wanted.offset,
            "kept": host.count,
            "next_offset": null,
            "cells_cut": 0,
            "rows": [],
        });
        let (mut rows, mut cuts, mut next) = (Vec::new(), CutCells::default(), None);
        let mut bytes = answer.to_string().len() + 128;
        for (number, row) in run.rows(host, wanted.offset) {
            let place = Place {
                host: &host.shown,
                row: number,
                cell_bytes,
                notices: &run.notices,
            };
            let (row, cut) = cells::row(row, place);
            let row = Value::from(row);
            bytes += row.to_string().len() + 1 + cut.to_json(false).to_string().len();
            let full = rows.len() == most || bytes > policy.max_bytes();
            if full && !rows.is_empty() {
                next = Some(number);
                break;
            }
            cuts.add(cut);
            rows.push(if full { too_wide() } else { row });
        }
        answer["rows"] = rows.into();
        answer["next_offset"] = next.into();
        answer["cells_cut"] = cuts.count.into();
        if cuts.count > 0 {
            answer["cut_cells"] = cuts.to_json(false);
        }
        Ok(answer)
    }
}

/// In place of a row that no answer can hold.
pub(super) fn too_wide() -> Value {
    json!({ "row_left_out": "this row is larger than an answer may be" })
}

/// Arguments of `read_rows`.
#[derive(Debug, Deserialize)]
pub(super) struct Wanted {
    run: String,
    host: String,
    #[serde(default)]
    offset: usize,
    limit: Option<usize>,
}
