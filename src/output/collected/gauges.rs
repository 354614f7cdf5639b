//! `--format prometheus`: what a poll found as gauges, in the text format 0.0.4 of Prometheus, for the node
//! exporter's text files. Written whole at the end of a poll, so that a rename of the file is all that it takes
//! for a scrape to see one poll or the next, and never half of one.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::collect::HostCounts;
use crate::known_servers::KnownServer;

/// What a poll found, in numbers.
#[derive(Debug)]
pub struct Gauges<'a> {
    /// The kind of server.
    pub known: &'static KnownServer,
    /// Its hosts, where they were polled.
    pub hosts: Option<HostCounts>,
    /// Rows that each query's results have now, by the query's name; equal names are counted together.
    pub results: Option<&'a [(String, u64)]>,
    /// When a poll last succeeded as a whole, in milliseconds since 1970.
    pub last_success: Option<i64>,
}

impl Gauges<'_> {
    /// The text: each family once, with what it is before its values.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let events = &self.known.events;
        if let (Some(names), Some(hosts)) = (events.host_gauges, self.hosts) {
            let title = self.known.title;
            let [total, online, offline, missing] = names;
            for (name, what, value) in [
                (total, "Hosts that are enrolled.", hosts.total),
                (online, "Hosts that check in.", hosts.online),
                (
                    offline,
                    "Hosts that do not check in, missing ones included.",
                    hosts.offline,
                ),
                (
                    missing,
                    "Hosts that have not checked in for 30 days.",
                    hosts.missing,
                ),
            ] {
                family(&mut text, name, &format!("{what} ({title})"));
                let _ = writeln!(text, "{name} {value}");
            }
        }
        if let Some(results) = self.results {
            let name = events.results_gauge;
            let mut by_name: BTreeMap<&str, u64> = BTreeMap::new();
            for (query, rows) in results {
                let known = by_name.entry(query).or_default();
                *known = known.saturating_add(*rows);
            }
            let what = format!(
                "Rows in the results of a query, over all hosts. ({})",
                self.known.title
            );
            family(&mut text, name, &what);
            for (query, rows) in by_name {
                let _ = writeln!(text, "{name}{{query=\"{}\"}} {rows}", escaped(query));
            }
        }
        if let Some(moment) = self.last_success {
            let name = "osquery_live_query_collect_last_success_timestamp_seconds";
            family(
                &mut text,
                name,
                "When a poll last succeeded as a whole, in seconds since 1970.",
            );
            let (seconds, rest) = (moment.div_euclid(1_000), moment.rem_euclid(1_000));
            let _ = writeln!(text, "{name} {seconds}.{rest:03}");
        }
        text
    }
}

fn family(text: &mut String, name: &str, what: &str) {
    let _ = writeln!(text, "# HELP {name} {what}\n# TYPE {name} gauge");
}

/// A label's value: three characters have escapes in the format.
fn escaped(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for letter in value.chars() {
        match letter {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            other => text.push(other),
        }
    }
    text
}
