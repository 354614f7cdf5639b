//! `collect`: one poll of a connector's server, its events on stdout a line each, and a summary. The state
//! moves on only once the events are written.

mod out;
mod source;
mod summary;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum, ValueHint};
use serde_json::json;
use tokio::time::Instant;

use crate::bug;
use crate::collect::{Belongs, Ended, Found, Poll, PollError, State, StateError, milliseconds};
use crate::connector::{Connector, RowsWanted};
use crate::events::{Origin, Severities};
use crate::exit::Exit;
use crate::known_servers::Stream;
use crate::notices::Notices;
use crate::output::collected::EventFormat;
use crate::output::collected::gauges::Gauges;
use crate::process::stdout::{self, Broken, Stdout};
use crate::process::{Ears, EventLoop, Process};
use crate::servers::collecting::{Collector, Wanted};
use crate::servers::http::Patience;
use crate::servers::open;
use crate::session::connector::{CheckedConnector, Sources};
use crate::session::failure::Failure;
use crate::session::{Cancel, Cancelled, Run};
use out::Out;
use summary::Summary;

/// How long a reader of stdout may stall after the deadline or a signal.
const STALL: Duration = Duration::from_secs(2);
/// How long the end of a login's session may take.
const TIDYING: Duration = Duration::from_secs(1);
/// A check says soon that a server can't be reached: nothing hangs on it yet.
const CHECK_REACHES_WITHIN: Duration = Duration::from_secs(5);

/// Flags of `collect`.
#[derive(Debug, Args)]
pub struct CollectArgs {
    /// The connector's configuration; without one, or for -, stdin.
    ///
    /// For who starts it without a shell, as Kubernetes does.
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub connector: Option<PathBuf>,
    /// An SQLite database that remembers what was polled; made where there is none.
    ///
    /// Without it every start is a first poll, which looks back by the connector's `since_seconds`.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub state: Option<PathBuf>,
    /// How events are written.
    #[arg(long, value_enum, default_value_t = FormatName::Events)]
    pub format: FormatName,
    /// Leave the last line out, which says what came of each stream.
    #[arg(long)]
    pub no_summary: bool,
    /// Test the connection and the credentials, and poll nothing.
    #[arg(long, conflicts_with_all = ["state", "no_summary", "format"])]
    pub check: bool,
    /// A directory with one file per secret [default: $CREDENTIALS_DIRECTORY].
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub secrets_dir: Option<PathBuf>,
    /// The operator's policy [default: $OSQUERY_LIVE_QUERY_POLICY, which wins].
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
    /// End as on SIGTERM when the process that started this one has ended.
    #[arg(long)]
    pub exit_with_parent: bool,
}

/// Values of `collect --format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum FormatName {
    /// This program's own events (`schema event`).
    #[default]
    Events,
    /// The Open Cybersecurity Schema Framework.
    Ocsf,
    /// The Elastic Common Schema.
    Ecs,
    /// Flat, as the detections of AiSOC match it.
    Aisoc,
    /// No events: gauges for Prometheus's node exporter, without a summary.
    Prometheus,
}

impl FormatName {
    /// How an event is written; `None` where none is.
    fn of_events(self) -> Option<EventFormat> {
        Some(match self {
            Self::Events => EventFormat::Events,
            Self::Ocsf => EventFormat::Ocsf,
            Self::Ecs => EventFormat::Ecs,
            Self::Aisoc => EventFormat::Aisoc,
            Self::Prometheus => return None,
        })
    }
}

/// Polls the connector of the file or on stdin; `early` hears signals already. Returns how the process ends.
pub(crate) fn run(args: CollectArgs, process: &Process, early: Option<EventLoop>) -> Exit {
    let performed = bug::caught(|| {
        let EventLoop { runtime, ears } = match early {
            Some(early) => early,
            None => EventLoop::new()?,
        };
        let ended = runtime.block_on(attended(args, process, ears));
        // A thread may still wait for stdin, or for a reader of stdout.
        runtime.shutdown_background();
        ended
    });
    match performed {
        Ok(Ok(exit)) => exit,
        Ok(Err(failure)) => process.fail(&failure),
        Err(bug) => process.fail(&bug.into()),
    }
}

/// From the connector's bytes to the exit status, with an ear for signals.
async fn attended(args: CollectArgs, process: &Process, ears: Ears) -> Result<Exit, Failure> {
    let (canceller, cancel) = ears.listen(args.exit_with_parent);
    let sources = Sources {
        secrets_dir: args.secrets_dir.clone(),
        policy: args.policy.clone(),
    };
    let file = args.connector.clone();
    let prepared = Process::aside(move || source::read(file.as_deref(), &sources));
    let checked = tokio::select! {
        biased;
        reason = cancel.word() => return Ok(exit_of(reason)),
        prepared = prepared => prepared??,
    };
    let stdout = Stdout::new();
    let unread = stdout.clone();
    tokio::spawn(async move {
        unread.breaks().await;
        canceller.cancel(Cancelled::Unread);
    });
    let run = process.begun();
    let notices = process.stderr.notices();
    let connector = checked.connector();
    for secret in &connector.secrets {
        notices.learn(secret);
    }
    for warning in &connector.warnings {
        notices.warn(&warning.message);
    }
    let deadline = Instant::from_std(process.started + checked.timeout());
    let patience = Patience {
        deadline,
        reach_within: args.check.then_some(CHECK_REACHES_WITHIN),
    };
    let wanted = Wanted {
        team: connector.team,
        hidden: connector.include_hidden,
    };
    let server = &connector.server;
    let opened = open::collector(server, patience, wanted, run.trace(), notices.clone());
    let mut collector = opened.map_err(|error| redacted(error.into(), &notices))?;
    let polling = Polling {
        args: &args,
        checked: &checked,
        process,
        cancel: &cancel,
        run: &run,
        notices: &notices,
        stdout,
        deadline,
    };
    let ended = match args.check {
        true => polling.check(&mut *collector).await,
        false => polling.poll(&mut *collector).await,
    };
    // After all that was to be written; nobody waits for it for long.
    let _ = tokio::time::timeout(TIDYING, collector.end()).await;
    ended.map_err(|failure| redacted(failure, &notices))
}

/// A poll of a checked connector.
struct Polling<'a> {
    args: &'a CollectArgs,
    checked: &'a CheckedConnector,
    process: &'a Process,
    cancel: &'a Cancel,
    run: &'a Run,
    notices: &'a Notices,
    stdout: Stdout,
    deadline: Instant,
}

impl Polling<'_> {
    fn connector(&self) -> &Connector {
        self.checked.connector()
    }

    /// Within the deadline, and unless it is ended from outside.
    async fn in_time<T>(
        &self,
        work: impl Future<Output = Result<T, PollError>>,
    ) -> Result<T, PollError> {
        tokio::select! {
            biased;
            reason = self.cancel.word() => Err(match reason {
                Cancelled::Unread => PollError::Unread,
                _ => PollError::Cancelled,
            }),
            worked = tokio::time::timeout_at(self.deadline, work) => {
                worked.unwrap_or(Err(PollError::TooLate(self.checked.timeout())))
            }
        }
    }

    async fn check(&self, server: &mut dyn Collector) -> Result<Exit, Failure> {
        let verified = self.in_time(async {
            server.begin().await?;
            Ok(server.verify().await?)
        });
        if let Err(error) = verified.await {
            return self.ended_early(error);
        }
        let connector = self.connector();
        let streams: Vec<&str> = connector.streams.iter().map(|it| it.name()).collect();
        let line = json!({
            "kind": "check",
            "ok": true,
            "connector": connector.server.access.known().name,
            "streams": streams,
        });
        Ok(self.process.text(&format!("{line}\n")))
    }

    /// Before anything was polled.
    fn ended_early(&self, error: PollError) -> Result<Exit, Failure> {
        match (error, self.cancel.now()) {
            (PollError::Cancelled, Some(reason)) => Ok(exit_of(reason)),
            (error, _) => Err(error.into()),
        }
    }

    async fn poll(&self, server: &mut dyn Collector) -> Result<Exit, Failure> {
        let connector = self.connector();
        let started = self.run.started_at();
        let now = milliseconds(started);
        let known = connector.server.access.known();
        let gauges = self.args.format == FormatName::Prometheus;
        let part = connector.server.access.said();
        let part = part.first().map(|(_, said)| (*said).to_owned());
        let address = connector.server.base_url.as_str();
        let belongs = Belongs {
            kind: known.name,
            server: address.to_owned(),
            part: part.clone(),
            team: connector.team,
            output: match gauges {
                true => "gauges",
                false => "events",
            },
        };
        let path = self.args.state.clone();
        let back = i64::try_from(connector.since.as_millis()).unwrap_or(i64::MAX);
        // Numbers are of all that there is, however old.
        let horizon = if gauges { 0 } else { now.saturating_sub(back) };
        let opened = Process::aside(move || State::open(path.as_deref(), &belongs, horizon));
        let opened = self.in_time(async { Ok(opened.await) }).await;
        let state = match opened {
            Ok(opened) => opened??,
            Err(error) => return self.ended_early(error),
        };
        let begun = self.in_time(async { Ok(server.begin().await?) }).await;
        let found = Found::default();
        let out = Out::new(self.stdout.clone(), self.args.format);
        let severities = Severities::with(connector.severities.clone());
        let origin = Origin::new(known, address, part.as_deref());
        let poll = Poll {
            server,
            origin: &origin,
            state: &state,
            sink: &out,
            notices: self.notices,
            queries: &connector.queries,
            // Which rows are new is of no matter for numbers.
            rows: if gauges {
                RowsWanted::New
            } else {
                connector.rows
            },
            severities: &severities,
            now,
            deadline: (self.deadline, self.checked.timeout()),
            found: &found,
            gauges,
        };
        let ended = match begun {
            Ok(()) => {
                let cancelled = async {
                    self.cancel.word().await;
                };
                poll.run(&connector.streams, cancelled).await
            }
            Err(PollError::Cancelled) => return self.ended_early(PollError::Cancelled),
            // What holds for one stream holds for all.
            Err(error) => connector
                .streams
                .iter()
                .map(|stream| Ended {
                    stream: *stream,
                    events: 0,
                    error: Some(error.clone()),
                    any: false,
                })
                .collect(),
        };
        if gauges {
            out.text(&self.gauges(&found, &ended, now));
        }
        self.close(&out, &state, ended).await
    }

    /// What was found, in numbers.
    fn gauges(&self, found: &Found, ended: &[Ended], now: i64) -> String {
        let results: Vec<(String, u64)> = found.results.take().into_iter().collect();
        let has_queries = ended.iter().any(|ended| ended.stream == Stream::Queries);
        let gauges = Gauges {
            known: self.connector().server.access.known(),
            hosts: found.hosts.get(),
            results: has_queries.then_some(&*results),
            last_success: ended
                .iter()
                .all(|ended| ended.error.is_none())
                .then_some(now),
        };
        gauges.text()
    }

    /// The events are written, then the state moves on, then the summary says so.
    async fn close(&self, out: &Out, state: &State, ended: Vec<Ended>) -> Result<Exit, Failure> {
        let lost = ended.iter().find_map(|ended| match &ended.error {
            Some(error @ (PollError::State(_) | PollError::Unread)) => Some(error.clone()),
            // Told by the word that ended the streams.
            _ => (self.cancel.now() == Some(Cancelled::Unread)).then_some(PollError::Unread),
        });
        let mut ended: Vec<(Ended, Option<Failure>)> = ended
            .into_iter()
            .map(|mut ended| {
                let failure = ended.error.take().map(Failure::from);
                let failure = failure.map(|failure| redacted(failure, self.notices));
                (ended, failure)
            })
            .collect();
        let lasting = match lost {
            Some(error) => Err(Failure::from(error)),
            None => self.lasting(out, state).await,
        };
        let cancelled = self.cancel.now().filter(|it| *it != Cancelled::Unread);
        for (_, failure) in &ended {
            if let Some(failure) = failure.as_ref().filter(|_| cancelled.is_none()) {
                self.process.stderr.failure(failure);
            }
        }
        let exit = match (&lasting, cancelled) {
            (Err(failure), _) => failure.code.into(),
            (Ok(()), Some(reason)) => exit_of(reason),
            (Ok(()), None) => exit_of_streams(&ended),
        };
        if let Err(failure) = lasting {
            let told = ended
                .iter()
                .any(|(_, told)| told.as_ref() == Some(&failure));
            if !told {
                self.process.stderr.failure(&failure);
            }
            for (_, stream) in &mut ended {
                stream.get_or_insert_with(|| failure.clone());
            }
        }
        if !self.args.no_summary && self.args.format != FormatName::Prometheus {
            let summary = Summary {
                ended: &ended,
                next_since: self.run.started_at(),
                cancelled: cancelled.is_some(),
            };
            self.process.stderr.document_begins();
            out.line(&summary);
        }
        match self.patiently(out.written()).await {
            Ok(()) => Ok(exit),
            // What failed before that stays the reason.
            Err(_) if matches!(exit, Exit::Failed(_)) => Ok(exit),
            Err(broken) => Err(Failure::not_written(broken.words())),
        }
    }

    /// Whether the events are out and the state has moved on.
    async fn lasting(&self, out: &Out, state: &State) -> Result<(), Failure> {
        let written = self.patiently(out.written()).await;
        let written = written.and_then(|()| {
            stdout::was_open()?;
            stdout::make_last()
        });
        written.map_err(|broken| Failure::not_written(broken.words()))?;
        let committed: Result<(), StateError> = state.commit();
        Ok(committed?)
    }

    /// As long as a reader may take.
    async fn patiently(
        &self,
        written: impl Future<Output = Result<(), Broken>>,
    ) -> Result<(), Broken> {
        let patience = async {
            let stall = self.deadline.max(Instant::now()) + STALL;
            tokio::select! {
                () = tokio::time::sleep_until(stall) => {}
                _ = self.cancel.word() => tokio::time::sleep(STALL).await,
            }
        };
        tokio::select! {
            biased;
            written = written => written,
            () = patience => Err(Broken::Refused("its reader has stopped reading".into())),
        }
    }
}

/// How a poll ends whose events were written.
fn exit_of_streams(ended: &[(Ended, Option<Failure>)]) -> Exit {
    let Some(first) = ended.iter().find_map(|(_, failure)| failure.as_ref()) else {
        return Exit::Ok;
    };
    let none = ended
        .iter()
        .all(|(ended, failure)| failure.is_some() && !ended.any && ended.events == 0);
    match none {
        true => first.code.into(),
        false => Exit::Partial,
    }
}

fn exit_of(reason: Cancelled) -> Exit {
    match reason {
        Cancelled::Interrupted => Exit::Interrupted,
        Cancelled::Terminated | Cancelled::Withdrawn => Exit::Terminated,
        Cancelled::Unread => Exit::Failed(crate::exit::Code::Output),
    }
}

fn redacted(failure: Failure, notices: &Notices) -> Failure {
    failure.map_text(|text| notices.redact(text))
}
