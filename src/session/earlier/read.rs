//! The text of an earlier document, as it is or as lines of ndjson, into what it says. The text is whatever
//! somebody named: nothing in it is taken on trust, and what is wrong is told with its place and never with
//! its words. Rows stay where they are until it is known how many are wanted.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::time::{Duration, SystemTime};

use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::{Earlier, EarlierHost};
use crate::campaign::Status;
use crate::json_parts::Entries;
use crate::time::moment;

/// Ids of campaigns that one document may name.
const MOST_CAMPAIGNS: usize = 32;

/// What is wrong with the text, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong {
    /// Bytes before the place; `None` where it is the whole.
    at: Option<usize>,
    /// A sentence's end: `the document` goes before it.
    what: String,
}

impl Wrong {
    fn whole(what: impl Into<String>) -> Self {
        Self {
            at: None,
            what: what.into(),
        }
    }

    /// In words, with line and column (in characters).
    pub fn words(&self, text: &str) -> String {
        let Some(at) = self.at else {
            return self.what.clone();
        };
        let before = text.get(..at).unwrap_or(text);
        let line = before.rsplit('\n').next().unwrap_or_default();
        let lines = before.bytes().filter(|byte| *byte == b'\n').count();
        let column = line.chars().count();
        format!("line {}, column {}: {}", lines + 1, column + 1, self.what)
    }
}

/// A value of the text.
#[derive(Debug, Clone, Copy)]
struct Piece<'a> {
    text: &'a str,
    json: &'a str,
}

type Fields<'a> = HashMap<Cow<'a, str>, Piece<'a>>;

impl<'a> Piece<'a> {
    fn new(text: &'a str, raw: &'a RawValue) -> Self {
        Self {
            text,
            json: raw.get(),
        }
    }

    fn at(self) -> usize {
        (self.json.as_ptr() as usize).saturating_sub(self.text.as_ptr() as usize)
    }

    fn wrong(self, what: impl Into<String>) -> Wrong {
        Wrong {
            at: Some(self.at()),
            what: what.into(),
        }
    }

    /// The entries of a mapping in their order, each key once.
    fn entries(self, name: &str) -> Result<Vec<(Cow<'a, str>, Self)>, Wrong> {
        let entries: Entries<'a> = serde_json::from_str(self.json)
            .map_err(|_| self.wrong(format!("{name} must be a mapping")))?;
        let mut seen = HashSet::new();
        let mut pieces = Vec::with_capacity(entries.0.len());
        for (key, raw) in entries.0 {
            let piece = Self::new(self.text, raw);
            if !seen.insert(key.clone()) {
                return Err(piece.wrong(format!("a key of {name}appears twice")));
            }
            pieces.push((key, piece));
        }
        Ok(pieces)
    }

    fn fields(self, name: &str) -> Result<Fields<'a>, Wrong> {
        Ok(self.entries(name)?.into_iter().collect())
    }

    fn string(self, name: &str) -> Result<String, Wrong> {
        serde_json::from_str(self.json).map_err(|_| self.wrong(format!("{name} must be text")))
    }

    fn number(self, name: &str) -> Result<u64, Wrong> {
        serde_json::from_str(self.json)
            .map_err(|_| self.wrong(format!("{name} must be a whole number")))
    }

    fn moment(self, name: &str) -> Result<SystemTime, Wrong> {
        let wrong = || self.wrong(format!("{name} must be a time in RFC 3339, in UTC"));
        let text = self.string(name).map_err(|_| wrong())?;
        moment(&text).ok_or_else(wrong)
    }

    fn range(self) -> Range<usize> {
        self.at()..self.at() + self.json.len()
    }
}

/// A field that has to be there.
fn needed<'a>(
    fields: &Fields<'a>,
    of: Piece<'a>,
    key: &str,
    name: &str,
) -> Result<Piece<'a>, Wrong> {
    fields
        .get(key)
        .copied()
        .ok_or_else(|| of.wrong(format!("{name} is missing")))
}

/// A field that may be there.
fn perhaps<'a, T>(
    fields: &Fields<'a>,
    key: &str,
    name: &str,
    read: impl FnOnce(Piece<'a>, &str) -> Result<T, Wrong>,
) -> Result<Option<T>, Wrong> {
    let piece = fields.get(key).filter(|piece| piece.json != "null");
    piece.map(|piece| read(*piece, name)).transpose()
}

/// What an earlier document says.
///
/// # Errors
/// What is wrong with it, and where.
pub(super) fn read(bytes: Vec<u8>) -> Result<Earlier, String> {
    let mut text = String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let valid = String::from_utf8_lossy(&error.as_bytes()[..valid]);
        let wrong = Wrong {
            at: Some(valid.len()),
            what: "this is not UTF-8".into(),
        };
        wrong.words(&valid)
    })?;
    if text.starts_with('\u{feff}') {
        text.remove(0);
    }
    match read_text(&text) {
        Ok(earlier) => Ok(Earlier { text, ..earlier }),
        Err(wrong) => Err(wrong.words(&text)),
    }
}

fn read_text(text: &str) -> Result<Earlier, Wrong> {
    let pieces = values(text)?;
    let Some(first) = pieces.first() else {
        return Err(Wrong::whole("it is empty"));
    };
    let head = first.fields("the document")?;
    let (rows, head) = match (head.contains_key("type"), pieces.as_slice()) {
        (true, lines) => {
            let (rows, summary) = lines_of(lines)?;
            (rows, summary.fields("the summary")?)
        }
        (false, [document]) => {
            if !head.contains_key("results") {
                let what = "it is not a document of `run`: `results` is missing";
                return Err(Wrong::whole(what));
            }
            let results = needed(&head, *document, "results", "`results`")?;
            (results.entries("`results`")?, head)
        }
        (false, [_, second, ..]) => {
            return Err(second.wrong("more text follows the document"));
        }
        (false, []) => return Err(Wrong::whole("it is empty")),
    };
    if head.contains_key("planned") {
        let what = "it is a document of `check`, which asks nobody";
        return Err(Wrong::whole(what));
    }
    let mut earlier = run_of(&head)?;
    if let Some(campaign) = head.get("campaign") {
        earlier.campaigns = campaigns(*campaign)?;
    }
    earlier.queued_until = perhaps(&head, "queued_until", "`queued_until`", Piece::moment)?;
    let mut rows: HashMap<Cow<'_, str>, Piece<'_>> = rows.into_iter().collect();
    if let Some(hosts) = head.get("hosts") {
        for (key, host) in hosts.entries("`hosts`")? {
            let rows = rows.remove(&key);
            earlier.hosts.push(host_of(key.into_owned(), host, rows)?);
        }
    }
    if let Some(piece) = rows.values().min_by_key(|piece| piece.at()) {
        return Err(piece.wrong("a host that has rows here is missing in `hosts`"));
    }
    Ok(earlier)
}

/// The JSON values of the text, one behind the other.
fn values(text: &str) -> Result<Vec<Piece<'_>>, Wrong> {
    let values = serde_json::Deserializer::from_str(text).into_iter::<&RawValue>();
    let mut pieces = Vec::new();
    for value in values {
        match value {
            Ok(raw) => pieces.push(Piece::new(text, raw)),
            Err(error) if error.is_eof() => {
                return Err(Wrong {
                    at: Some(text.len()),
                    what: "it ends in the middle: it was not written whole".into(),
                });
            }
            Err(error) => {
                return Err(Wrong {
                    at: Some(offset(text, error.line(), error.column())),
                    what: "this is not JSON".into(),
                });
            }
        }
    }
    Ok(pieces)
}

/// serde_json counts lines from one and columns in bytes.
fn offset(text: &str, line: usize, column: usize) -> usize {
    let starts = text.split_inclusive('\n').take(line.saturating_sub(1));
    let start: usize = starts.map(str::len).sum();
    let mut at = (start + column.saturating_sub(1)).min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

type KeysAndRows<'a> = Vec<(Cow<'a, str>, Piece<'a>)>;

/// The rows of ndjson's lines, and its summary.
fn lines_of<'a>(lines: &[Piece<'a>]) -> Result<(KeysAndRows<'a>, Piece<'a>), Wrong> {
    let mut rows = Vec::new();
    let mut seen = HashSet::new();
    let Some((last, hosts)) = lines.split_last() else {
        return Err(Wrong::whole("it is empty"));
    };
    for line in hosts {
        let fields = line.fields("a line")?;
        match needed(&fields, *line, "type", "`type`")?
            .string("`type`")?
            .as_str()
        {
            "host" => {}
            "summary" => return Err(line.wrong("a summary must be the last line, and this is not")),
            _ => return Err(line.wrong("`type` must be `host` or `summary`")),
        }
        let key = needed(&fields, *line, "host", "`host`")?.string("`host`")?;
        if !seen.insert(key.clone()) {
            return Err(line.wrong("a host has a second line"));
        }
        rows.push((Cow::Owned(key), needed(&fields, *line, "rows", "`rows`")?));
    }
    let fields = last.fields("a line")?;
    let kind = needed(&fields, *last, "type", "`type`")?.string("`type`")?;
    if kind != "summary" {
        let what =
            "it has no summary, which is the last line of a run: that run was ended before it";
        return Err(Wrong::whole(what));
    }
    Ok((rows, *last))
}

/// What the document says of its run.
fn run_of(head: &Fields<'_>) -> Result<Earlier, Wrong> {
    let Some(run) = head.get("run").copied() else {
        let what = "it does not say which run it belongs to (`run`): an older version wrote it, or another program";
        return Err(Wrong::whole(what));
    };
    let fields = run.fields("`run`")?;
    let id = needed(&fields, run, "id", "`run.id`")?;
    let name = id.string("`run.id`")?;
    if !is_uuid(&name) {
        return Err(id.wrong("`run.id` must be a uuid"));
    }
    let unsaid = |what: &str| {
        Wrong::whole(format!(
            "it does not say which {what}: an older version wrote it, or that run was refused before anything was sent"
        ))
    };
    let server = fields
        .get("server")
        .ok_or_else(|| unsaid("server was asked"))?;
    let mut named = Map::new();
    for (key, value) in server.entries("`run.server`")? {
        named.insert(
            key.into_owned(),
            value.string("an entry of `run.server`")?.into(),
        );
    }
    let text = |key: &str, name: &str| perhaps(&fields, key, name, Piece::string);
    let started_at = needed(&fields, run, "started_at", "`run.started_at`")?;
    let started_at = started_at.moment("`run.started_at`")?;
    let as_of = perhaps(&fields, "as_of", "`run.as_of`", Piece::moment)?;
    let parameters = perhaps(&fields, "parameters", "`run.parameters`", |piece, name| {
        serde_json::from_str::<Map<String, Value>>(piece.json)
            .map_err(|_| piece.wrong(format!("{name} must be a mapping")))
    })?;
    Ok(Earlier {
        text: String::new(),
        run: name,
        as_of: as_of.unwrap_or(started_at),
        server: named,
        template: text("template", "`run.template`")?
            .ok_or_else(|| unsaid("template was asked"))?,
        parameters: parameters.unwrap_or_default(),
        sql: text("sql", "`run.sql`")?.ok_or_else(|| unsaid("SQL was asked"))?,
        campaigns: Vec::new(),
        queued_until: None,
        hosts: Vec::new(),
    })
}

fn is_uuid(text: &str) -> bool {
    let dashes = [8, 13, 18, 23];
    text.len() == 36
        && text
            .bytes()
            .enumerate()
            .all(|(at, byte)| match dashes.contains(&at) {
                true => byte == b'-',
                false => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
            })
}

/// The ids of the campaigns that may still bring answers.
fn campaigns(campaign: Piece<'_>) -> Result<Vec<String>, Wrong> {
    let fields = campaign.fields("`campaign`")?;
    let id = perhaps(&fields, "id", "`campaign.id`", Piece::string)?;
    let others = perhaps(
        &fields,
        "other_ids",
        "`campaign.other_ids`",
        |piece, name| {
            let others = serde_json::from_str::<Vec<String>>(piece.json);
            others.map_err(|_| piece.wrong(format!("{name} must be a list of texts")))
        },
    )?;
    let mut ids: Vec<String> = id.into_iter().chain(others.unwrap_or_default()).collect();
    if ids.len() > MOST_CAMPAIGNS {
        let what = format!("`campaign` names more than {MOST_CAMPAIGNS} campaigns");
        return Err(campaign.wrong(what));
    }
    let mut seen = HashSet::new();
    ids.retain(|id| seen.insert(id.clone()));
    Ok(ids)
}

fn host_of(key: String, host: Piece<'_>, rows: Option<Piece<'_>>) -> Result<EarlierHost, Wrong> {
    let fields = host.fields("a host")?;
    let status = needed(&fields, host, "status", "`status` of a host")?;
    let word = status.string("`status` of a host")?;
    let known = Status::named(&word);
    let known = known.ok_or_else(|| status.wrong("`status` of a host is none that is known"))?;
    let text = |key: &str, name: &str| perhaps(&fields, key, name, Piece::string);
    let number = |key: &str, name: &str| perhaps(&fields, key, name, Piece::number);
    let answered_at = perhaps(
        &fields,
        "answered_at",
        "`answered_at` of a host",
        Piece::moment,
    )?;
    match (known.answered(), rows, answered_at) {
        (true, None, _) => return Err(host.wrong("a host that answered is missing in `results`")),
        (false, Some(rows), _) => {
            return Err(rows.wrong("a host that did not answer has rows here"));
        }
        (true, _, None) => {
            return Err(host.wrong("a host that answered does not say when (`answered_at`)"));
        }
        _ => {}
    }
    let error = text("error", "`error` of a host")?;
    let received = number("rows", "`rows` of a host")?.unwrap_or(0);
    Ok(EarlierHost {
        key,
        at: host.at(),
        status: known,
        rows: rows.map(Piece::range),
        received: usize::try_from(received).unwrap_or(usize::MAX),
        error,
        hostname: text("hostname", "`hostname` of a host")?,
        uuid: text("uuid", "`uuid` of a host")?,
        last_seen: text("last_seen", "`last_seen` of a host")?,
        answered_at,
        answered_after: Duration::from_millis(
            number("answered_ms", "`answered_ms` of a host")?.unwrap_or(0),
        ),
    })
}

impl Earlier {
    /// What is wrong with a host's rows.
    pub(super) fn wrong_rows(&self, host: &EarlierHost, what: &str) -> String {
        let at = host.rows.as_ref().map_or(host.at, |rows| rows.start);
        let wrong = Wrong {
            at: Some(at),
            what: what.to_owned(),
        };
        wrong.words(&self.text)
    }
}
