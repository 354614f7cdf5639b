//! Fleet for `collect`: hosts by pages, who is missing by the list's filter, saved queries and their reports.
//! Facts: transcripts `host-posture` and `reports`.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::LocalBoxFuture;
use futures_util::stream::{self, LocalBoxStream};
use futures_util::{FutureExt, StreamExt, TryStreamExt};
use tokio::time::Instant;

use super::LOGOUT_WITHIN;
use super::patience::Patience;
use super::rest::{HostsOf, Rest};
use super::wire::{AroundReport, ListedHost, Reported, usual};
use crate::servers::BackendError;
use crate::servers::collecting::{
    Collector, Ids, Named, Piece, PolledHost, PolledQuery, ReportRows, Results, Wanted,
};
use crate::servers::http::{Http, List, limits};
use crate::step::model::Server;

/// Hosts of one page: about 0.75 MB.
const HOSTS_PAGE: usize = 500;
/// No list of hosts is longer than so many pages; a server that never stops is an error.
const MOST_HOST_PAGES: usize = 4_000;
/// Pages of hosts that are under way at once.
const PAGES_AT_ONCE: usize = 4;
/// Queries of one page, and pages at most.
const QUERIES_PAGE: usize = 100;
const MOST_QUERY_PAGES: usize = 200;
/// Rows of one page of a report, where the server has pages.
const ROWS_PAGE: usize = 5_000;
/// Rows of a first page are handed on when they have so many bytes: where there is no other it holds all of them.
const MANY_ROWS: usize = 256 * 1024;
/// Bytes of a page's rows for which there is room before they come, at most.
const MOST_ROOM: usize = 4 * 1024 * 1024;
/// How often a report is begun anew whose connection broke, and how often one that changed from one page to the
/// next: a large one of a busy server may never hold still.
const READINGS: usize = 4;
const UNSETTLED_READINGS: usize = 2;

/// One Fleet server that is polled.
pub struct Fleet {
    rest: Rest,
    wanted: Wanted,
}

impl Fleet {
    /// The connector's server; nothing is sent yet.
    pub fn new(server: &Server, http: Http, wanted: Wanted) -> Self {
        Self {
            rest: Rest::new(http, server.credentials.clone()),
            wanted,
        }
    }

    /// Who is missing, of all or of the team.
    async fn missing(&self) -> Result<HashSet<u64>, BackendError> {
        let mut missing = HashSet::new();
        for page in 0..MOST_HOST_PAGES {
            let of = HostsOf::Missing(self.wanted.team);
            let hosts = self.rest.hosts(of, page, HOSTS_PAGE).await?;
            let known = missing.len();
            missing.extend(hosts.iter().map(|host| host.id));
            if missing.len() == known {
                break;
            }
        }
        Ok(missing)
    }

    fn all(&self) -> HostsOf<'static> {
        match self.wanted.team {
            Some(team) => HostsOf::Team(team),
            None => HostsOf::All,
        }
    }

    /// Pages of hosts as they are numbered; only a full first one promises more than one other.
    fn pages(
        &self,
    ) -> impl stream::Stream<Item = Result<(usize, Vec<ListedHost>), BackendError>> + '_ {
        let page = move |page| async move {
            let hosts = self.rest.hosts(self.all(), page, HOSTS_PAGE).await?;
            Ok::<_, BackendError>((page, hosts))
        };
        let first = stream::once(page(0));
        first
            .map_ok(move |(number, hosts)| {
                let at_once = match hosts.len() < HOSTS_PAGE {
                    true => 1,
                    false => PAGES_AT_ONCE,
                };
                let others = stream::iter(1..MOST_HOST_PAGES).map(page).buffered(at_once);
                stream::once(std::future::ready(Ok((number, hosts)))).chain(others)
            })
            .try_flatten()
    }

    fn endless(&self, what: &str) -> BackendError {
        BackendError::Answer {
            status: None,
            message: format!("{}'s list of {what} does not end", self.rest.server()),
            hint: Some("look at what listens at `base_url`".into()),
        }
    }

    /// Every saved query of one team, or of all.
    async fn saved(
        &self,
        team: Option<u64>,
        found: &mut HashMap<u64, PolledQuery>,
    ) -> Result<(), BackendError> {
        for page in 0..MOST_QUERY_PAGES {
            let (_, listed) = self.rest.saved_queries(team, page, QUERIES_PAGE).await?;
            let last = listed.len() < QUERIES_PAGE;
            for query in listed {
                let results = match query.no_report() {
                    Some(why) => Results::None(why),
                    None => Results::Report,
                };
                let sql = query.sql().to_owned();
                found.entry(query.id).or_insert(PolledQuery {
                    key: query.id.cast_signed(),
                    id: Some(query.id),
                    name: query.name,
                    sql,
                    results,
                });
            }
            if last {
                return Ok(());
            }
        }
        Err(self.endless("saved queries"))
    }
}

/// The hosts of a list, page by page.
struct Hosts<'a, S> {
    fleet: &'a Fleet,
    pages: S,
    missing: HashSet<u64>,
    /// The last one seen: the order is by id.
    last: Option<u64>,
    ended: bool,
}

impl<S> Hosts<'_, S>
where
    S: stream::Stream<Item = Result<(usize, Vec<ListedHost>), BackendError>> + Unpin,
{
    async fn next(&mut self) -> Result<Option<Vec<PolledHost>>, BackendError> {
        if self.ended {
            return Ok(None);
        }
        let Some((number, mut page)) = self.pages.try_next().await? else {
            return Err(self.fleet.endless("hosts"));
        };
        let is_new = |host: &ListedHost| self.last.is_none_or(|last| host.id > last);
        // A host that was deleted meanwhile has moved those behind it.
        if page.first().is_some_and(|first| !is_new(first)) {
            page = (self.fleet.rest)
                .hosts(self.fleet.all(), number, HOSTS_PAGE)
                .await?;
        }
        page.retain(is_new);
        page.sort_unstable_by_key(|host| host.id);
        // A list may come in smaller pages than were asked for: it ends where nothing new comes.
        let Some(last) = page.last() else {
            self.ended = true;
            return Ok(None);
        };
        self.last = Some(last.id);
        let missing = &self.missing;
        let hosts = page.into_iter().map(|host| {
            let is_missing = missing.contains(&host.id);
            host.polled(is_missing)
        });
        Ok(Some(hosts.collect()))
    }
}

/// A report that is read row by row.
struct Report<'a> {
    rest: &'a Rest,
    query: Arc<PolledQuery>,
    team: Option<u64>,
    page: usize,
    /// The page that is on its way.
    list: Option<List>,
    /// Whether it has brought anything.
    brought: bool,
    /// Rows that came, and how many there are as the first page says.
    rows: u64,
    count: Option<u64>,
    /// Rows that were read: those of a page are held back until it is known that the page fits to those before
    /// it.
    read: ReportRows,
    /// Bytes of the rows of this page and of the one before, which the next one takes, too.
    bytes: usize,
    bytes_before: usize,
    moment: usual::Moment,
    /// What is handed on next.
    ready: VecDeque<Piece>,
    readings: usize,
    patience: Patience,
    ended: bool,
}

impl Report<'_> {
    async fn next(&mut self) -> Result<Option<Piece>, BackendError> {
        loop {
            if self.list.is_none()
                && let Some(piece) = self.ready.pop_front()
            {
                return Ok(Some(piece));
            }
            if self.ended {
                return Ok(None);
            }
            let Some(list) = &mut self.list else {
                let id = self.query.id.unwrap_or_default();
                let opened = self
                    .rest
                    .report(id, self.team, self.page, ROWS_PAGE)
                    .await?;
                let Some(incoming) = opened else {
                    // Deleted since it was listed: no host has lost its rows.
                    self.ready.push_back(Piece::Unsettled);
                    self.end(false);
                    continue;
                };
                self.brought = false;
                if self.page > 0 {
                    // A buffer that grows takes twice as much.
                    let bytes = (self.bytes_before + self.bytes_before / 16).min(MOST_ROOM);
                    self.read = ReportRows::with_room(ROWS_PAGE, bytes);
                }
                self.list = Some(incoming.list("results", limits::ANSWER.bytes));
                continue;
            };
            match list.next().await {
                Ok(Some(item)) => {
                    self.brought = true;
                    self.rows += 1;
                    if !item.whole {
                        return Err(self.too_large());
                    }
                    match usual::row(&item.json, item.last, &mut self.moment) {
                        Some(row) => self.read.push(row),
                        None => {
                            let row: Reported<'_> = list.borrowed(&item)?;
                            if let Some(row) = row.row() {
                                self.read.push(row);
                            }
                        }
                    }
                    list.reuse(item);
                    if self.page == 0 && self.read.bytes() >= MANY_ROWS {
                        self.bytes += self.read.bytes();
                        return Ok(Some(Piece::Rows(std::mem::take(&mut self.read))));
                    }
                }
                Ok(None) => {
                    let Some(list) = self.list.take() else {
                        continue;
                    };
                    let around: AroundReport = list.end()?.json()?;
                    if let Some(error) = around.failure() {
                        let message = format!(
                            "{} broke off the report of `{}`: {}",
                            self.rest.server(),
                            self.shown_name(),
                            self.rest.shown(&error)
                        );
                        self.again(BackendError::Answer {
                            status: Some(200),
                            message,
                            hint: Some("the server's log says more".into()),
                        })
                        .await?;
                        return Ok(Some(Piece::Again));
                    }
                    if !around.is_list() {
                        // No host has lost its rows because of it.
                        let asked = format!("for the report of `{}`", self.shown_name());
                        return Err(self.rest.no_list("rows", &asked));
                    }
                    let goes_on = around.goes_on() && self.brought;
                    if let Some(count) = around.count.0 {
                        // Rows that came or went have moved those behind them to other pages.
                        let first = *self.count.get_or_insert(count);
                        let is_short = !goes_on && self.page > 0 && self.rows != count;
                        if first != count || is_short {
                            if self.readings + 1 < UNSETTLED_READINGS {
                                self.readings += 1;
                                self.begin();
                                return Ok(Some(Piece::Again));
                            }
                            self.ready.push_back(Piece::Unsettled);
                        }
                    }
                    if !self.read.is_empty() {
                        self.bytes += self.read.bytes();
                        let rows = std::mem::take(&mut self.read);
                        self.ready.push_back(Piece::Rows(rows));
                    }
                    self.bytes_before = std::mem::take(&mut self.bytes);
                    match goes_on {
                        true => self.page += 1,
                        false => self.end(around.report_clipped.0 == Some(true)),
                    }
                }
                Err(error @ BackendError::Unreachable { .. }) => {
                    self.again(error).await?;
                    return Ok(Some(Piece::Again));
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn end(&mut self, clipped: bool) {
        self.ended = true;
        self.ready.push_back(Piece::End { clipped });
    }

    /// From the first page on.
    fn begin(&mut self) {
        self.list = None;
        self.page = 0;
        self.rows = 0;
        self.count = None;
        self.read.clear();
        self.bytes = 0;
        self.ready.clear();
    }

    /// Begins anew, after a pause.
    async fn again(&mut self, error: BackendError) -> Result<(), BackendError> {
        self.readings += 1;
        let at = self.patience.next();
        let Some(at) = at.filter(|_| self.readings < READINGS) else {
            return Err(error);
        };
        self.rest
            .notices()
            .debug(|| format!("{error}; the report is read again"));
        tokio::time::sleep_until(at).await;
        self.begin();
        Ok(())
    }

    fn shown_name(&self) -> String {
        self.rest.notices().name(&self.query.name)
    }

    fn too_large(&self) -> BackendError {
        BackendError::Answer {
            status: None,
            message: format!(
                "{} has a row of more than {} in the report of `{}`",
                self.rest.server(),
                limits::ANSWER.words(),
                self.shown_name()
            ),
            hint: Some("no host sends such a row: look at what listens at `base_url`".into()),
        }
    }
}

impl Collector for Fleet {
    fn begin(&mut self) -> LocalBoxFuture<'_, Result<(), BackendError>> {
        async {
            self.rest.login().await?;
            let Some(team) = self.wanted.team else {
                return Ok(());
            };
            // A server takes a parameter that it does not know for none: the list would hold all hosts.
            let teams = self.rest.teams().await?;
            if teams.iter().any(|known| known.id == team) {
                return Ok(());
            }
            Err(BackendError::Targets {
                message: format!(
                    "{} has no team {team}, or this user can't see it",
                    self.rest.server()
                ),
                hint: Some("`fleetctl get teams` lists them all".into()),
            })
        }
        .boxed_local()
    }

    fn verify(&mut self) -> LocalBoxFuture<'_, Result<(), BackendError>> {
        self.rest.recognized().boxed_local()
    }

    fn hosts(&self) -> LocalBoxStream<'_, Result<Vec<PolledHost>, BackendError>> {
        stream::once(self.missing())
            .map_ok(move |missing| {
                let hosts = Hosts {
                    fleet: self,
                    pages: Box::pin(self.pages()),
                    missing,
                    last: None,
                    ended: false,
                };
                stream::try_unfold(hosts, |mut hosts| async move {
                    Ok(hosts.next().await?.map(|page| (page, hosts)))
                })
            })
            .try_flatten()
            .boxed_local()
    }

    fn host(&self, id: u64) -> LocalBoxFuture<'_, Result<Option<PolledHost>, BackendError>> {
        async move {
            let host = self.rest.host(id).await?.map(|host| host.polled(false));
            let is_polled =
                |host: &PolledHost| self.wanted.team.is_none() || host.team == self.wanted.team;
            Ok(host.filter(is_polled))
        }
        .boxed_local()
    }

    fn queries(&self) -> LocalBoxFuture<'_, Result<Vec<PolledQuery>, BackendError>> {
        async {
            let mut found = HashMap::new();
            self.saved(None, &mut found).await?;
            // A list that names no team leaves theirs out.
            let teams = match self.wanted.team {
                Some(team) => vec![team],
                None => match self.rest.teams().await {
                    Ok(teams) => teams.into_iter().map(|team| team.id).collect(),
                    // None are licensed, or this user sees none.
                    Err(
                        BackendError::Targets { .. }
                        | BackendError::Auth { .. }
                        | BackendError::Answer {
                            status: Some(400..=404),
                            ..
                        },
                    ) => Vec::new(),
                    Err(error) => return Err(error),
                },
            };
            for team in teams {
                self.saved(Some(team), &mut found).await?;
            }
            let mut queries: Vec<PolledQuery> = found.into_values().collect();
            queries.sort_unstable_by_key(|query| query.key);
            Ok(queries)
        }
        .boxed_local()
    }

    fn count<'a>(
        &'a self,
        _query: &'a PolledQuery,
    ) -> LocalBoxFuture<'a, Result<Option<u64>, BackendError>> {
        // Its reports are compared as a whole.
        std::future::ready(Ok(None)).boxed_local()
    }

    fn results(
        &self,
        query: &Arc<PolledQuery>,
        _since_us: Option<i64>,
        _known: Ids,
    ) -> LocalBoxStream<'_, Result<Piece, BackendError>> {
        let report = Report {
            rest: &self.rest,
            query: Arc::clone(query),
            team: self.wanted.team,
            page: 0,
            list: None,
            brought: false,
            rows: 0,
            count: None,
            read: ReportRows::default(),
            bytes: 0,
            bytes_before: 0,
            moment: usual::Moment::default(),
            ready: VecDeque::new(),
            readings: 0,
            patience: Patience::until(self.rest.http.deadline()),
            ended: false,
        };
        stream::try_unfold(report, |mut report| async move {
            Ok(report.next().await?.map(|piece| (piece, report)))
        })
        .boxed_local()
    }

    fn names(&self) -> LocalBoxFuture<'_, Result<HashMap<String, Named>, BackendError>> {
        // Its rows name their hosts.
        std::future::ready(Ok(HashMap::new())).boxed_local()
    }

    fn end(&mut self) -> LocalBoxFuture<'_, ()> {
        let by = Instant::now() + Duration::min(LOGOUT_WITHIN, Duration::from_secs(1));
        self.rest.logout(by).boxed_local()
    }
}

/// Reads any bytes as what is polled of Fleet; for the fuzzer only.
#[cfg(fuzzing)]
pub fn fuzz(bytes: &[u8]) {
    use super::wire::SavedPage;

    let one = |json: &[u8]| {
        if let Ok(host) = serde_json::from_slice::<ListedHost>(json) {
            let id = host.id;
            assert_eq!(host.polled(true).id, id);
        }
        if let Ok(row) = serde_json::from_slice::<Reported<'_>>(json) {
            let _ = row.row();
        }
        let _ = usual::host(json).map(|host| host.polled(false));
        for last in 0..json.len().min(100) {
            let _ = usual::row(json, last, &mut usual::Moment::default());
        }
    };
    one(bytes);
    let _ = serde_json::from_slice::<AroundReport>(bytes).map(|around| around.goes_on());
    if let Ok(page) = serde_json::from_slice::<SavedPage>(bytes) {
        for query in page.queries().unwrap_or_default() {
            let _ = query.no_report();
        }
    }
    let lists: Option<serde_json::Map<String, serde_json::Value>> =
        serde_json::from_slice(bytes).ok();
    let lists = lists
        .into_iter()
        .flatten()
        .filter_map(|(_, list)| list.as_array().cloned());
    for item in lists.flatten() {
        one(item.to_string().as_bytes());
    }
}
