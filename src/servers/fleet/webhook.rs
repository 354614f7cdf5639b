//! What Fleet's automations post (wire notes, Automations; transcript `webhooks`). Since 4.82 keys come
//! under two names: the newer one is read first.

use serde_json::{Value, json};

use crate::servers::alerts::{Alert, Concerned, Posted, Shape};
use crate::servers::part::{Part, Wrong};
use crate::severity::Severity;

/// What tells that this server posted it.
const SOURCE: &str = "fleet";

/// The documents, by what tells them apart.
pub(in crate::servers) static SHAPES: [Shape; 3] = [
    Shape {
        what: "Fleet's failing policies",
        told_by: &[&["policy"], &["hosts"]],
        read: policy,
    },
    Shape {
        what: "Fleet's vulnerability",
        told_by: &[&["vulnerability", "cve"]],
        read: vulnerability,
    },
    Shape {
        what: "Fleet's host status",
        told_by: &[&["data", "unseen_hosts"]],
        read: host_status,
    },
];

/// To be tried after those of all servers.
pub(in crate::servers) static LEAST_TELLING: [Shape; 1] = [Shape {
    what: "Fleet's activity",
    told_by: &[&["type"], &["details"]],
    read: activity,
}];

/// The server's own receipts for what an automation did.
const RECEIPTS: [&str; 2] = ["ran_automation_webhook", "failed_automation_webhook"];

const TEAM: &[&str] = &["fleet_id", "team_id"];

fn concerned(hosts: &[Part<'_>]) -> Result<Concerned, Wrong> {
    let mut concerned = Concerned::default();
    for host in hosts {
        let display_name = host.text(&["display_name"])?;
        let name = host.text(&["hostname"])?;
        concerned.add(
            name.or(display_name),
            host.number(&["id"])?,
            host.text(&["url"])?,
        );
    }
    Ok(concerned)
}

/// `key: value` pairs of what is there.
fn present<const N: usize>(entries: [(&'static str, Option<Value>); N]) -> Value {
    let entries = entries.into_iter();
    let there = entries.filter_map(|(key, value)| Some((key.to_owned(), value?)));
    Value::Object(there.collect())
}

fn text(part: &Part<'_>, key: &str) -> Result<Option<Value>, Wrong> {
    Ok(part.text(&[key])?.map(Value::from))
}

fn number(part: &Part<'_>, key: &str) -> Result<Option<Value>, Wrong> {
    Ok(part.number(&[key])?.map(Value::from))
}

fn of_team(part: &Part<'_>) -> Result<Option<(&'static str, Value)>, Wrong> {
    let team = part.number(TEAM)?;
    Ok(team.map(|team| ("team_id", team.into())))
}

fn alert(alert: Alert) -> Result<Posted, Wrong> {
    Ok(Posted::Alert(Box::new(alert)))
}

fn policy(document: &Part<'_>) -> Result<Posted, Wrong> {
    let Some(policy) = document.part("policy")? else {
        return Ok(Posted::Receipt);
    };
    let hosts = document.parts("hosts")?;
    let name = policy.text(&["name"])?.unwrap_or("without a name");
    let critical = policy.flag(&["critical"])?;
    let mut more = vec![
        (
            "policy",
            present([
                ("id", number(&policy, "id")?),
                ("name", text(&policy, "name")?),
                ("critical", critical.map(Value::from)),
                ("resolution", text(&policy, "resolution")?),
                ("query", text(&policy, "query")?),
            ]),
        ),
        (
            "counts",
            present([
                ("passing_hosts", number(&policy, "passing_host_count")?),
                ("failing_hosts", number(&policy, "failing_host_count")?),
            ]),
        ),
    ];
    more.extend(of_team(&policy)?);
    alert(Alert {
        source: SOURCE,
        kind: "policy",
        severity: match critical {
            Some(true) => Severity::High,
            _ => Severity::Medium,
        },
        title: format!("Failing policy: {name}"),
        time: document.text(&["timestamp"])?.map(str::to_owned),
        hosts: concerned(&hosts)?,
        more,
        matter: json!([policy.number(&["id"])?, policy.text(&["name"])?]),
    })
}

fn vulnerability(document: &Part<'_>) -> Result<Posted, Wrong> {
    let Some(found) = document.part("vulnerability")? else {
        return Ok(Posted::Receipt);
    };
    let cve = found.text(&["cve"])?.unwrap_or_default();
    let score = found.fraction(&["cvss_score"])?;
    let exploited = found.flag(&["cisa_known_exploit"])?;
    let by_score = match score {
        Some(9.0..) => Severity::Critical,
        Some(7.0..) => Severity::High,
        Some(4.0..) | None => Severity::Medium,
        Some(_) => Severity::Low,
    };
    let least = match exploited {
        Some(true) => Severity::High,
        _ => Severity::Low,
    };
    let more = [
        ("cve", Some(cve.into())),
        ("cvss_score", score.map(Value::from)),
        (
            "epss_probability",
            found.fraction(&["epss_probability"])?.map(Value::from),
        ),
        ("known_exploited", exploited.map(Value::from)),
    ];
    let more = more.into_iter();
    alert(Alert {
        source: SOURCE,
        kind: "vulnerability",
        severity: by_score.max(least),
        title: format!("Vulnerable software: {cve}"),
        time: document.text(&["timestamp"])?.map(str::to_owned),
        hosts: concerned(&found.parts("hosts_affected")?)?,
        more: more
            .filter_map(|(key, value)| Some((key, value?)))
            .collect(),
        matter: cve.into(),
    })
}

/// Ids only, and no names; older servers post none either.
fn host_status(document: &Part<'_>) -> Result<Posted, Wrong> {
    let Some(data) = document.part("data")? else {
        return Ok(Posted::Receipt);
    };
    let mut hosts = Concerned::default();
    for id in data.numbers("host_ids")? {
        hosts.add(None, Some(id), None);
    }
    let unseen = data.number(&["unseen_hosts"])?.unwrap_or_default();
    let days = data.number(&["days_unseen"])?;
    let since = days.map_or(String::new(), |days| format!(" for more than {days} days"));
    let of_all = match data.number(&["total_hosts"])? {
        Some(total) => format!("{unseen} of {total} hosts"),
        None => format!("{unseen} hosts"),
    };
    let mut more = vec![(
        "counts",
        present([
            ("unseen_hosts", number(&data, "unseen_hosts")?),
            ("total_hosts", number(&data, "total_hosts")?),
            ("days_unseen", number(&data, "days_unseen")?),
        ]),
    )];
    more.extend(of_team(&data)?);
    alert(Alert {
        source: SOURCE,
        kind: "host_status",
        severity: Severity::Low,
        title: format!("Not seen{since}: {of_all}"),
        time: document.text(&["timestamp"])?.map(str::to_owned),
        hosts,
        more,
        matter: json!([data.number(TEAM)?, days]),
    })
}

fn activity(document: &Part<'_>) -> Result<Posted, Wrong> {
    let what = document.text(&["type"])?.unwrap_or_default();
    if RECEIPTS.contains(&what) {
        return Ok(Posted::Receipt);
    }
    let details = document.part("details")?;
    let mut hosts = Concerned::default();
    let mut more = Vec::new();
    if let Some(details) = &details {
        let name = details.text(&["host_display_name"])?;
        let ids = details.numbers("host_ids")?;
        match details.number(&["host_id"])? {
            None if name.is_none() => {}
            id => hosts.add(name, id, None),
        }
        for id in ids {
            hosts.add(None, Some(id), None);
        }
        more.extend(of_team(details)?);
    }
    let name = document.text(&["actor_full_name"])?;
    let actor = name.or(document.text(&["actor_email"])?);
    more.insert(
        0,
        (
            "activity",
            present([
                ("type", Some(what.into())),
                ("actor", actor.map(Value::from)),
            ]),
        ),
    );
    alert(Alert {
        source: SOURCE,
        kind: "activity",
        severity: Severity::Info,
        // The server itself acts, too.
        title: format!("{}: {what}", actor.unwrap_or("Fleet")),
        time: document.text(&["timestamp"])?.map(str::to_owned),
        hosts,
        more,
        matter: json!([what, document.number(&["actor_id"])?, actor]),
    })
}
