//! Parts of a deployment that are gone for a while, at several moments, in both formats: what came is kept,
//! the rest is asked again, and nothing is lost.

use std::time::{Duration, Instant};

use osquery_simulator::{Outage, Part, Scenario, Simulator};
use serde_json::{Value, json};

use super::{Backend, FLEET_TICK, HEAD, Losses, TOKENS, hosts, in_parallel, outputs, start_with};

/// How long a part is gone.
const AWAY: Duration = Duration::from_secs(4);
/// `timeout_seconds` of each run.
const TIMEOUT: Duration = Duration::from_secs(40);
/// The hosts that answer, and what each of them does.
const ANSWERING: [(&str, &str); 4] = [
    ("web-0", "ok"),
    ("web-1", "ok"),
    ("web-2", "ok"),
    ("bad", "error"),
];

/// When a part goes away.
#[derive(Debug, Clone, Copy)]
enum Moment {
    BeforeTheFirstRequest,
    WhileResolving,
    AtTheDispatch,
    BetweenAnswers,
    BeforeTheLastAnswer,
}

impl Moment {
    const ALL: [Self; 5] = [
        Self::BeforeTheFirstRequest,
        Self::WhileResolving,
        Self::AtTheDispatch,
        Self::BetweenAnswers,
        Self::BeforeTheLastAnswer,
    ];

    fn words(self) -> &'static str {
        match self {
            Self::BeforeTheFirstRequest => "before the first request",
            Self::WhileResolving => "while hosts are looked for",
            Self::AtTheDispatch => "after the dispatch",
            Self::BetweenAnswers => "between answers",
            Self::BeforeTheLastAnswer => "before the last answer",
        }
    }

    fn outage(self, part: Part) -> Outage {
        let outage = Outage::of(part, AWAY);
        match self {
            Self::BeforeTheFirstRequest => outage,
            Self::WhileResolving => outage.after_requests(3),
            Self::AtTheDispatch => outage.after_campaigns(1).after(Duration::from_millis(50)),
            Self::BetweenAnswers => outage.after_answers(2),
            Self::BeforeTheLastAnswer => outage.after_answers(3),
        }
    }
}

/// The parts of a server, and what they are called.
fn parts(backend: Backend) -> &'static [(Part, &'static str)] {
    match backend {
        Backend::Fleet => &[
            (Part::Service, "Fleet"),
            (Part::Redis, "Fleet's Redis"),
            (Part::Database, "Fleet's MySQL"),
        ],
        Backend::Osctrl => &[
            (Part::Service, "osctrl"),
            (Part::Database, "osctrl's PostgreSQL"),
        ],
        Backend::AisocDirect => &[
            (Part::Service, "AiSOC's service"),
            (Part::Database, "AiSOC's PostgreSQL"),
        ],
    }
}

type Job = (Backend, Part, &'static str, Moment, &'static str);

/// Prints the table.
pub(super) fn print() {
    println!(
        "\n## Restarts\n\nOne part is gone for {} s, with {} s for each run; every host that answers must be in the document, which must not be partial but for the hosts that are offline or unknown.\n\n| part | gone | format {HEAD}\n|---|---|---|---|---|---|---|---|---|",
        AWAY.as_secs(),
        TIMEOUT.as_secs()
    );
    let mut jobs: Vec<Job> = Vec::new();
    for backend in Backend::ALL {
        for (part, title) in parts(backend) {
            for moment in Moment::ALL {
                let hopeless = match backend {
                    Backend::Fleet => false,
                    // A token that did not work yet is believed to be bad: osctrl without its database says so.
                    Backend::Osctrl => {
                        *part == Part::Database && matches!(moment, Moment::BeforeTheFirstRequest)
                    }
                    // No hosts are looked for. A dispatch that its database did not take may have been taken,
                    // and is never made again.
                    Backend::AisocDirect => match moment {
                        Moment::WhileResolving => true,
                        Moment::BeforeTheFirstRequest | Moment::AtTheDispatch => {
                            *part == Part::Database
                        }
                        Moment::BetweenAnswers | Moment::BeforeTheLastAnswer => false,
                    },
                };
                if !hopeless {
                    jobs.extend(
                        ["document", "ndjson"].map(|it| (backend, *part, *title, moment, it)),
                    );
                }
            }
        }
    }
    let losses = in_parallel(&jobs, |(backend, part, _, moment, format)| {
        run(*backend, *part, *moment, format)
    });
    for ((_, _, title, moment, format), losses) in jobs.iter().zip(&losses) {
        println!(
            "| {title} | {} | {format} | {} |",
            moment.words(),
            losses.cells()
        );
    }
}

fn run(backend: Backend, part: Part, moment: Moment, format: &str) -> Losses {
    let mut scenario = Scenario {
        wire: backend.wire(),
        outages: vec![moment.outage(part)],
        ..Scenario::of(hosts())
    };
    scenario.fleet.tick = FLEET_TICK;
    let simulator = Simulator::spawn(scenario).expect("a simulator");
    let step = super::step(backend, &simulator.base_url());
    let limit = format!("timeout_seconds: {}", super::TIMEOUT.as_secs());
    let step = step.replace(&limit, &format!("timeout_seconds: {}", TIMEOUT.as_secs()));
    let started = Instant::now();
    let args: &[&str] = match format {
        "ndjson" => &["--format", "ndjson"],
        _ => &[],
    };
    let mut child = start_with(args, &step);
    let (stdout, stderr) = outputs(&mut child);
    let took = started.elapsed();
    child.wait().expect("the process ends");
    let mut losses = Losses {
        past_deadline: took.saturating_sub(TIMEOUT),
        ..Losses::default()
    };
    losses.leaked = TOKENS
        .iter()
        .filter(|(_, token)| stdout.contains(token) || stderr.contains(token))
        .count();
    let Some(document) = whole(backend, &stdout) else {
        losses.invalid = 1;
        return losses;
    };
    for (host, expected) in ANSWERING {
        let rows = document["results"][host].as_array().map_or(0, Vec::len);
        match document["hosts"][host]["status"].as_str() {
            Some(status) if status == expected => {
                losses.rows_lost += if expected == "ok" { 2 - rows.min(2) } else { 0 };
            }
            Some("no_answer" | "not_asked" | "offline") if expected == "ok" => {
                losses.rows_lost += 2
            }
            _ => losses.misreported += 1,
        }
    }
    losses.misreported += usize::from(document["error"] != Value::Null);
    let says_so = document["campaign"]["may_be_running"] == true;
    let ended = says_so || {
        let ends = FLEET_TICK * 4 + Duration::from_secs(2);
        let ended = |seen: &osquery_simulator::Observations| {
            let mut campaigns = seen.campaigns.iter();
            campaigns.all(|campaign| campaign.state != osquery_simulator::CampaignState::Running)
        };
        simulator.wait_until(ended, ends)
    };
    losses.left_running = usize::from(!ended);
    losses
}

/// The document; of ndjson, the summary with the lines' rows as its results.
fn whole(backend: Backend, stdout: &str) -> Option<Value> {
    if !stdout.starts_with("{\"type\"") {
        return super::valid(backend, stdout);
    }
    let mut results = serde_json::Map::new();
    let mut summary = None;
    for line in stdout.lines() {
        let line: Value = serde_json::from_str(line).ok()?;
        match line["type"].as_str()? {
            "host" => {
                let name = line["host"].as_str()?.to_owned();
                // A host has one line.
                let rows = line.get("rows").cloned().unwrap_or(json!([]));
                results.insert(name, rows).is_none().then_some(())?;
            }
            _ => summary = Some(line),
        }
    }
    let mut document = summary?;
    document["results"] = results.into();
    Some(document)
}
