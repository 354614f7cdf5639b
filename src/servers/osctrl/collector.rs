//! osctrl for `collect`: the lists of queries, and what hosts answered since the last poll. Facts: transcript
//! `query-lists`.

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::LocalBoxFuture;
use futures_util::stream::{self, LocalBoxStream};
use futures_util::{FutureExt, StreamExt};
use tokio::time::Instant;

use super::nodes;
use super::rest::{Call, ITEMS, Purpose, Rest, SMALL, error_of, is_unknown_environment};
use super::wire::{Count, ListedQuery, Page, Reader, Unread, around_results};
use crate::campaign::host::Answer;
use crate::campaign::rows::Keep;
use crate::events::number_for;
use crate::servers::collecting::{
    Answered, Collector, Ids, Named, Piece, PolledAnswer, PolledHost, PolledQuery, Results, Wanted,
};
use crate::servers::http::{self, Http, List, limits};
use crate::servers::{BackendError, away};
use crate::step::model::Server;
use crate::time::rfc3339_us;

/// Queries of one page: the most that the server gives (transcript `query-lists`).
const QUERIES_PAGE: usize = 500;
const MOST_QUERY_PAGES: usize = 2_000;
/// Answers of one page: the most that the server gives.
const RESULTS_PAGE: usize = 1_000;
const MOST_RESULT_PAGES: usize = 20_000;
/// How often results are read again of which some are missing, or whose connection broke.
const READINGS: usize = 4;
/// The pause before that.
const PAUSE: Duration = Duration::from_millis(300);
/// Hosts that one uuid names at most; a server that claims more nodes is not followed.
const MOST_NAMES: usize = 2_000_000;

const READ: Purpose = Purpose {
    what: "read queries and their results",
    level: "query",
};

/// One environment of one osctrl server that is polled.
pub struct Osctrl {
    rest: Rest,
    wanted: Wanted,
    /// It is of an age that has no pages: each list comes as a whole.
    has_no_pages: Cell<bool>,
}

impl Osctrl {
    /// The connector's server; nothing is sent yet.
    pub fn new(server: &Server, environment: &str, http: Http, wanted: Wanted) -> Self {
        Self {
            rest: Rest::new(server, environment, http),
            wanted,
            has_no_pages: Cell::new(false),
        }
    }

    /// All queries of a list, the oldest first.
    async fn list(
        &self,
        which: &str,
        found: &mut HashMap<String, ListedQuery>,
    ) -> Result<(), BackendError> {
        for number in 1..=MOST_QUERY_PAGES {
            let (page, size) = (number.to_string(), QUERIES_PAGE.to_string());
            let path = ["queries", self.rest.environment(), "list", which];
            let query = [
                ("page", page.as_str()),
                ("page_size", size.as_str()),
                // New ones come last, so that pages do not shift.
                ("sort", "created"),
                ("dir", "asc"),
            ];
            let call = Call::get(&path, &query, limits::LIST.bytes);
            let take = |queries: &mut Vec<ListedQuery>, query| {
                queries.push(query);
                Ok(())
            };
            let (queries, reply) = self.rest.each(call, Vec::new, take).await?;
            let none = error_of(&reply).is_some_and(|error| error.starts_with("no queries"));
            if reply.status == 404 && none && !is_unknown_environment(&reply) {
                return Ok(());
            }
            let reply = self.rest.judge(reply, READ)?;
            let brought = queries.len();
            found.extend(queries.into_iter().map(|query| (query.name.clone(), query)));
            let total = match reply.body.first() {
                // Servers before 0.5 have no pages: this is all.
                Some(b'[' | b'n') => {
                    self.has_no_pages.set(true);
                    return Ok(());
                }
                _ => {
                    let page: Page<serde::de::IgnoredAny> = reply.json()?;
                    if page.items.is_none() {
                        return Err(no_list(&self.rest, "queries"));
                    }
                    page.total_items
                }
            };
            let more = total.is_none_or(|Count(total)| total > (number * QUERIES_PAGE) as u64);
            if brought == 0 || !more {
                return Ok(());
            }
        }
        Err(BackendError::Answer {
            status: None,
            message: format!("the list of queries of {} does not end", self.rest.origin()),
            hint: Some("look at what listens at `base_url`".into()),
        })
    }
}

/// An answer that is none: what was known before must not go because of it.
fn no_list(rest: &Rest, of: &str) -> BackendError {
    BackendError::Answer {
        status: None,
        message: format!("{} answered without a list of {of}", rest.origin()),
        hint: Some("check that `base_url` is the address of osctrl's API".into()),
    }
}

/// A query's answers, page by page.
struct Answers<'a> {
    rest: &'a Rest,
    query: Arc<PolledQuery>,
    since: Option<String>,
    page: usize,
    list: Option<List>,
    /// Whether the page has brought anything.
    brought: bool,
    /// Those that were seen in this reading.
    seen: Ids,
    /// Those of which nobody needs more than the number.
    known: Ids,
    readings: usize,
    ended: bool,
}

impl Answers<'_> {
    async fn next(&mut self) -> Result<Option<Piece>, BackendError> {
        if self.ended {
            return Ok(None);
        }
        loop {
            let Some(list) = &mut self.list else {
                let Some(incoming) = self.open().await? else {
                    return Ok(Some(self.end()));
                };
                self.brought = false;
                self.list = Some(incoming.list(ITEMS, limits::ANSWER.bytes));
                continue;
            };
            match list.next().await {
                Ok(Some(item)) => {
                    self.brought = true;
                    if let Some(id) = usual_id(&item.json).filter(|id| self.known.contains(*id)) {
                        list.reuse(item);
                        match self.seen.insert(id) {
                            true => return Ok(Some(Piece::Known(id))),
                            false => continue,
                        }
                    }
                    let bytes = item.json.len();
                    let notices = self.rest.notices().clone();
                    let read = away(bytes, move || read(item, |text| notices.shown(text)));
                    let answer = read.await.ok_or_else(|| list.no_item())?;
                    if self.seen.insert(answer.id) {
                        return Ok(Some(Piece::Answer(answer)));
                    }
                }
                Ok(None) => {
                    let Some(list) = self.list.take() else {
                        continue;
                    };
                    let around = list.end()?.parse(around_results)?;
                    if !around.is_list {
                        return Err(no_list(self.rest, "results"));
                    }
                    let Some(total) = around.total else {
                        return Ok(Some(self.end()));
                    };
                    let read = (self.page * RESULTS_PAGE) as u64;
                    if self.brought && read < total && self.page < MOST_RESULT_PAGES {
                        self.page += 1;
                        continue;
                    }
                    // Items of one moment have no order between pages: one may have been passed by.
                    if self.seen.count() < total && self.again(None).await.is_ok() {
                        continue;
                    }
                    return Ok(Some(self.end()));
                }
                Err(error @ BackendError::Unreachable { .. }) => self.again(Some(error)).await?,
                Err(error) => return Err(error),
            }
        }
    }

    /// Asks for the page; `None` where the query is gone.
    async fn open(&self) -> Result<Option<http::Incoming>, BackendError> {
        let (page, size) = (self.page.to_string(), RESULTS_PAGE.to_string());
        let path = [
            "queries",
            self.rest.environment(),
            "results",
            &self.query.name,
        ];
        let mut query = vec![("page", page.as_str()), ("page_size", size.as_str())];
        query.extend(self.since.as_deref().map(|since| ("since", since)));
        let call = Call::get(&path, &query, limits::LIST.bytes);
        let (incoming, reply) = self.rest.open(call).await?;
        if reply.status == 404 && !is_unknown_environment(&reply) {
            return Ok(None);
        }
        self.rest.judge(reply, READ)?;
        Ok(incoming)
    }

    /// Begins anew, after a pause.
    async fn again(&mut self, error: Option<BackendError>) -> Result<(), BackendError> {
        self.readings += 1;
        let at = Instant::now() + PAUSE;
        if self.readings >= READINGS || at >= self.rest.deadline() {
            return Err(error.unwrap_or(BackendError::Busy {
                message: "some results were passed by".into(),
            }));
        }
        tokio::time::sleep_until(at).await;
        self.list = None;
        self.page = 1;
        self.seen.clear();
        Ok(())
    }

    fn end(&mut self) -> Piece {
        self.ended = true;
        Piece::End { clipped: false }
    }
}

/// The number of an item, where it is what the item begins with, as running servers write it.
fn usual_id(json: &[u8]) -> Option<u64> {
    const ID: &[u8] = b"\"id\":";
    let blank = |bytes: &[u8]| {
        bytes
            .iter()
            .take_while(|it| it.is_ascii_whitespace())
            .count()
    };
    let json = json.strip_prefix(b"{")?;
    let json = json[blank(json)..].strip_prefix(ID)?;
    let json = &json[blank(json)..];
    let digits = json.iter().take_while(|it| it.is_ascii_digit()).count();
    let (number, behind) = json.split_at(digits);
    let is_usual = matches!(number, [b'1'..=b'9', ..]) && digits <= 18;
    let ends = matches!(behind[blank(behind)..].first(), Some(b',' | b'}'));
    let number = number
        .iter()
        .fold(0, |all, digit| all * 10 + u64::from(digit - b'0'));
    (is_usual && ends).then_some(number)
}

/// An item as an answer; `None` where it is no item: it has no number, or nobody has answered.
fn read(item: http::Item, shown: impl Fn(&str) -> String) -> Option<PolledAnswer> {
    let keep = Keep {
        rows: usize::MAX,
        bytes: usize::MAX,
    };
    let item = Unread::of(item.json, item.whole)?;
    let at_us = item.stored_at_us();
    let id = &item.named.id;
    let id = id.parse().unwrap_or_else(|_| number_for(id));
    let uuid = item.named.host.as_ref()?.to_string();
    let found = match (Reader { keep, shown }).answer(item) {
        Answer::Rows(rows) => Answered::Rows(rows.json().into()),
        Answer::Error(error) => Answered::Error(error),
    };
    Some(PolledAnswer {
        id,
        uuid,
        at_us,
        found,
    })
}

impl Collector for Osctrl {
    fn begin(&mut self) -> LocalBoxFuture<'_, Result<(), BackendError>> {
        self.rest.authenticate().boxed_local()
    }

    fn verify(&mut self) -> LocalBoxFuture<'_, Result<(), BackendError>> {
        async {
            // Older servers have no such call; a token that is refused (401) is an error in any case.
            self.rest
                .send(Call::get(&["checks-auth"], &[], SMALL))
                .await?;
            nodes::verify(&self.rest).await
        }
        .boxed_local()
    }

    fn hosts(&self) -> LocalBoxStream<'_, Result<Vec<PolledHost>, BackendError>> {
        // Its nodes have no status of their own that a poll could compare.
        stream::empty().boxed_local()
    }

    fn host(&self, _id: u64) -> LocalBoxFuture<'_, Result<Option<PolledHost>, BackendError>> {
        std::future::ready(Ok(None)).boxed_local()
    }

    fn queries(&self) -> LocalBoxFuture<'_, Result<Vec<PolledQuery>, BackendError>> {
        async {
            let mut found = HashMap::new();
            self.list("all", &mut found).await?;
            if self.wanted.hidden {
                self.list("hidden", &mut found).await?;
            }
            let is_polled = |query: &ListedQuery| {
                let is_query = query.kind.is_empty() || query.kind == "query";
                is_query && !query.deleted && (self.wanted.hidden || !query.hidden)
            };
            let queries = found.into_values().filter(is_polled);
            let mut queries: Vec<PolledQuery> = queries
                .map(|query| PolledQuery {
                    key: match query.id {
                        Count(0) => number_for(&query.name).cast_signed(),
                        Count(id) => id.cast_signed(),
                    },
                    id: None,
                    sql: query.query,
                    results: Results::Answers {
                        count: query.executions.0.saturating_add(query.errors.0),
                        over: query.completed || query.expired,
                    },
                    name: query.name,
                })
                .collect();
            queries.sort_unstable_by_key(|query| query.key);
            Ok(queries)
        }
        .boxed_local()
    }

    fn count<'a>(
        &'a self,
        query: &'a PolledQuery,
    ) -> LocalBoxFuture<'a, Result<Option<u64>, BackendError>> {
        async move {
            if self.has_no_pages.get() {
                return Ok(None);
            }
            let path = ["queries", self.rest.environment(), "results", &query.name];
            let call = Call::get(
                &path,
                &[("page", "1"), ("page_size", "1")],
                limits::LIST.bytes,
            );
            let take = |(): &mut (), _: serde::de::IgnoredAny| Ok(());
            let ((), reply) = self.rest.each(call, || (), take).await?;
            if reply.status == 404 && !is_unknown_environment(&reply) {
                return Ok(None);
            }
            let reply = self.rest.judge(reply, READ)?;
            let around = reply.parse(around_results)?;
            match around.is_list {
                true => Ok(around.total),
                false => Err(no_list(&self.rest, "results")),
            }
        }
        .boxed_local()
    }

    fn results(
        &self,
        query: &Arc<PolledQuery>,
        since_us: Option<i64>,
        known: Ids,
    ) -> LocalBoxStream<'_, Result<Piece, BackendError>> {
        let answers = Answers {
            rest: &self.rest,
            query: Arc::clone(query),
            since: since_us.map(rfc3339_us),
            page: 1,
            list: None,
            brought: false,
            seen: Ids::default(),
            known,
            readings: 0,
            ended: false,
        };
        stream::try_unfold(answers, |mut answers| async move {
            Ok(answers.next().await?.map(|piece| (piece, answers)))
        })
        .boxed_local()
    }

    fn names(&self) -> LocalBoxFuture<'_, Result<HashMap<String, Named>, BackendError>> {
        async {
            let mut names = HashMap::new();
            nodes::every(&self.rest, |node| {
                if names.len() < MOST_NAMES {
                    names.extend(node.named());
                }
            })
            .await?;
            Ok(names)
        }
        .boxed_local()
    }

    fn end(&mut self) -> LocalBoxFuture<'_, ()> {
        // A token of a login ends by itself, within the hour.
        std::future::ready(()).boxed_local()
    }
}

/// Reads any bytes as what is polled of osctrl; for the fuzzer only.
#[cfg(fuzzing)]
pub fn fuzz(bytes: &[u8]) {
    let one = |json: &[u8]| {
        let item = http::Item {
            json: json.to_vec(),
            whole: true,
            last: 0,
        };
        if let Some(answer) = read(item, str::to_owned) {
            if let Answered::Rows(rows) = answer.found {
                assert!(serde_json::from_str::<Vec<&serde_json::value::RawValue>>(&rows).is_ok());
            }
        }
        let _ = serde_json::from_slice::<ListedQuery>(json);
    };
    one(bytes);
    let _ = around_results(bytes);
    let page: Option<Page<serde_json::Value>> = serde_json::from_slice(bytes).ok();
    for item in page.and_then(|page| page.items).into_iter().flatten() {
        one(item.to_string().as_bytes());
    }
}
