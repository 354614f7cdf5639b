//! Polls of reports in any order, with and without the marks by which results are known unread: they find the
//! same.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::StreamExt;
use futures_util::future::{LocalBoxFuture, pending, ready};
use futures_util::stream::{self, LocalBoxStream};
use proptest::prelude::*;
use tokio::time::Instant;

use super::{Belongs, Found, Gone, Poll, Sink, State};
use crate::connector::RowsWanted;
use crate::events::{Digest, Event, Found as What, Origin, Severities};
use crate::known_servers::{ALL, Stream};
use crate::notices::Notices;
use crate::servers::BackendError;
use crate::servers::collecting::{
    Collector, Ids, Named, Piece, PolledHost, PolledQuery, ReportRow, ReportRows, Results,
};

/// One report, in the pieces in which it comes.
#[derive(Debug, Clone)]
enum Part {
    /// Of each row the host, the moment, and what it says.
    Rows(Vec<(u64, i64, String)>),
    Unsettled,
    /// It broke off, and is told again.
    Again,
}

struct Server {
    parts: Vec<Part>,
    clipped: bool,
}

type Asked<'a, T> = LocalBoxFuture<'a, Result<T, BackendError>>;

impl Collector for Server {
    fn begin(&mut self) -> Asked<'_, ()> {
        ready(Ok(())).boxed_local()
    }

    fn verify(&mut self) -> Asked<'_, ()> {
        ready(Ok(())).boxed_local()
    }

    fn hosts(&self) -> LocalBoxStream<'_, Result<Vec<PolledHost>, BackendError>> {
        stream::empty().boxed_local()
    }

    fn host(&self, _id: u64) -> Asked<'_, Option<PolledHost>> {
        ready(Ok(None)).boxed_local()
    }

    fn queries(&self) -> Asked<'_, Vec<PolledQuery>> {
        let query = PolledQuery {
            key: 1,
            id: Some(1),
            name: "a query".into(),
            sql: "SELECT 1".into(),
            results: Results::Report,
        };
        ready(Ok(vec![query])).boxed_local()
    }

    fn count<'a>(&'a self, _query: &'a PolledQuery) -> Asked<'a, Option<u64>> {
        ready(Ok(None)).boxed_local()
    }

    fn results(
        &self,
        _query: &Arc<PolledQuery>,
        _since_us: Option<i64>,
        _known: Ids,
    ) -> LocalBoxStream<'_, Result<Piece, BackendError>> {
        let pieces = self.parts.iter().map(|part| match part {
            Part::Rows(rows) => {
                let mut all = ReportRows::default();
                for (host, at, json) in rows {
                    let name = format!("host-{host}");
                    let (host, at, name) = (*host, *at, name.as_str());
                    all.push(ReportRow {
                        host,
                        name,
                        at,
                        json,
                    });
                }
                Piece::Rows(all)
            }
            Part::Unsettled => Piece::Unsettled,
            Part::Again => Piece::Again,
        });
        let clipped = self.clipped;
        let pieces = pieces.chain([Piece::End { clipped }]);
        stream::iter(pieces.map(Ok)).boxed_local()
    }

    fn names(&self) -> Asked<'_, HashMap<String, Named>> {
        ready(Ok(HashMap::new())).boxed_local()
    }

    fn end(&mut self) -> LocalBoxFuture<'_, ()> {
        ready(()).boxed_local()
    }
}

/// What was told: of which row, as what, when.
type Told = (Digest, &'static str, i64);

#[derive(Default)]
struct Heard(RefCell<Vec<Told>>);

impl Sink for Heard {
    fn put(&self, event: &Event<'_>) {
        let change = match &event.found {
            What::Row(_, change) => change.name(),
            _ => event.kind().name(),
        };
        let told = (event.dedupe_key, change, event.when.time);
        self.0.borrow_mut().push(told);
    }

    fn room(&self) -> LocalBoxFuture<'_, Result<(), Gone>> {
        ready(Ok(())).boxed_local()
    }
}

fn state() -> State {
    let belongs = Belongs {
        kind: "fleetdm",
        server: "https://fleet.example.com".into(),
        part: None,
        team: None,
        output: "events",
    };
    State::open(None, &belongs, 0).expect("a state")
}

/// What one poll tells, in any order.
fn poll(state: &State, server: &Server, rows: RowsWanted, now: i64) -> Vec<Told> {
    let (heard, found) = (Heard::default(), Found::default());
    let origin = Origin::new(&ALL[0], "https://fleet.example.com", None);
    let within = Duration::from_secs(600);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let poll = Poll {
            server,
            origin: &origin,
            state,
            sink: &heard,
            notices: &Notices::unheard(),
            queries: &[],
            rows,
            severities: &Severities::default(),
            now,
            deadline: (Instant::now() + within, within),
            found: &found,
            gauges: false,
        };
        for ended in poll.run(&[Stream::Queries], pending()).await {
            assert_eq!(ended.error, None);
        }
    });
    let mut told = heard.0.into_inner();
    told.sort_unstable();
    told
}

/// Rows that differ in what they say, or only in how it is written; one of them is none.
const ROWS: [&str; 6] = [
    r#"{"a":"1","b":"2"}"#,
    r#"{"b":"2","a":"1"}"#,
    r#"{"a":"1","b":"\u0032"}"#,
    r#"{"a":"2"}"#,
    r#"{"c":null}"#,
    "7",
];

/// A report of some hosts. Where their rows are `scattered`, all of them are of one moment: a result that comes
/// in several places is another one where its moment is.
fn report(scattered: bool) -> impl Strategy<Value = (Vec<Part>, bool)> {
    let result = (0..3_i64, prop::collection::vec(0..ROWS.len(), 0..5));
    let hosts = prop::collection::btree_map(1..6_u64, result, 0..5);
    let order = any::<prop::sample::Index>();
    let whole = (hosts, prop::collection::vec(order, 24), 1..9_usize).prop_map(
        move |(hosts, order, piece)| {
            let mut rows = Vec::new();
            for (host, (at, results)) in hosts {
                let at = if scattered { 0 } else { at };
                let at = 1_700_000_000_000 + at * 1_000;
                rows.extend(results.iter().map(|row| (host, at, ROWS[*row].to_owned())));
            }
            if scattered {
                let mut left = std::mem::take(&mut rows);
                for at in order.iter().cycle() {
                    if left.is_empty() {
                        break;
                    }
                    rows.push(left.swap_remove(at.index(left.len())));
                }
            }
            rows.chunks(piece)
                .map(|rows| Part::Rows(rows.to_vec()))
                .collect::<Vec<_>>()
        },
    );
    let at = any::<prop::sample::Index>();
    let fate = (0..8_u8, at, prop::bool::weighted(0.1));
    (whole.clone(), whole, fate).prop_map(|(mut parts, again, (fate, at, clipped))| {
        let at = at.index(parts.len() + 1);
        match fate {
            0 => parts.insert(at, Part::Unsettled),
            1 => {
                parts.truncate(at);
                parts.push(Part::Again);
                parts.extend(again);
            }
            _ => {}
        }
        (parts, clipped)
    })
}

/// Several polls; some reports come as the one before.
fn reports() -> impl Strategy<Value = Vec<(Vec<Part>, bool)>> {
    any::<bool>().prop_flat_map(|scattered| {
        let next = prop::option::weighted(0.6, report(scattered));
        prop::collection::vec(next, 2..7).prop_map(|next| {
            let mut last = (Vec::new(), false);
            let each = next.into_iter().map(|next| {
                last = next.unwrap_or_else(|| last.clone());
                last.clone()
            });
            each.collect()
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn what_is_known_unread_is_what_reading_it_says(
        reports in reports(),
        rows in prop::sample::select(&[RowsWanted::New, RowsWanted::Changes, RowsWanted::All][..]),
    ) {
        let (quick, slow) = (state(), state());
        for (now, (parts, clipped)) in (1_800_000_000_000..).zip(reports) {
            let server = Server { parts, clipped };
            slow.forget_marks().expect("a state");
            let told = poll(&quick, &server, rows, now);
            prop_assert_eq!(&told, &poll(&slow, &server, rows, now));
            let known = |state: &State| -> Vec<_> {
                let hosts = state.hosts_with_results(1).expect("a state").into_iter();
                let result = |host| state.result(1, host).expect("a state").expect("a result");
                let all = hosts.map(|host| (host, result(host)));
                all.map(|(host, result)| (host, result.rows, result.texts.is_some())).collect()
            };
            prop_assert_eq!(known(&quick), known(&slow));
        }
    }
}

/// A poll that finds what it knows reads neither rows nor what is remembered of them.
#[test]
fn what_comes_in_the_same_bytes_is_not_read() {
    let at = 1_700_000_000_000;
    let json = |row: usize| ROWS[row].to_owned();
    let rows = [
        (1, at, json(0)),
        (2, at, json(3)),
        (2, at, json(3)),
        (9, at, json(4)),
    ];
    let server = |rows: &mut dyn Iterator<Item = &(u64, i64, String)>| Server {
        parts: rows.map(|row| Part::Rows(vec![row.clone()])).collect(),
        clipped: false,
    };
    for wanted in [RowsWanted::New, RowsWanted::Changes, RowsWanted::All] {
        let state = state();
        let first = poll(&state, &server(&mut rows.iter()), wanted, at);
        assert_eq!(first.len(), 4);
        state.spoil_results().expect("a state");
        // In another order, too.
        for again in [server(&mut rows.iter()), server(&mut rows.iter().rev())] {
            assert_eq!(poll(&state, &again, wanted, at + 1), []);
        }
    }
}
