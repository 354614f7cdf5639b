//! `--format ndjson`: a line for each host as it answers. The last line is the report's summary.

use std::io::{self, Write};

use super::report::TargetReport;
use crate::campaign::Campaign;
use crate::campaign::names::Matched;
use crate::campaign::rows::Rows;
use crate::json_text::push_string;
use crate::time::rfc3339;

/// The lines of a host that has just answered, one for each name that it stands under.
pub(crate) struct HostLines {
    /// Each line up to its rows.
    heads: Vec<String>,
    rows: Option<Rows>,
}

impl HostLines {
    /// Takes the host's rows out of the campaign: they are written from where they are, and not copied.
    pub(crate) fn take(campaign: &mut Campaign, host: usize) -> Self {
        let targets = campaign.targets_of(host);
        let heads = targets.map(|index| head(campaign, index)).collect();
        Self {
            heads,
            rows: campaign.take_rows(host),
        }
    }

    /// Bytes that they hold.
    pub(crate) fn bytes(&self) -> usize {
        let heads: usize = self.heads.iter().map(String::len).sum();
        heads + self.rows.as_ref().map_or(0, |rows| rows.json().len())
    }

    /// Writes them.
    ///
    /// # Errors
    /// What the writer fails with.
    pub(crate) fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let rows = self.rows.as_ref().map_or("[]", Rows::json);
        for head in &self.heads {
            for part in [head, rows, "}\n"] {
                out.write_all(part.as_bytes())?;
            }
        }
        Ok(())
    }
}

/// The line of a target, up to its rows.
fn head(campaign: &Campaign, target: usize) -> String {
    let target = TargetReport::of(campaign, &campaign.roster().targets[target]);
    let mut head = String::with_capacity(256);
    head.push_str("{\"type\":\"host\",\"host\":");
    push_string(&mut head, target.key);
    head.push_str(",\"status\":");
    push_string(&mut head, target.status.name());
    if let Some(Err(message)) = target.kept.map(|kept| &kept.result) {
        head.push_str(",\"error\":");
        push_string(&mut head, message);
    }
    let answered_at = target.answered_at.map(rfc3339);
    let others = [
        ("hostname", target.hostname),
        ("uuid", target.uuid),
        ("matched", target.matched.map(Matched::name)),
        ("answered_at", answered_at.as_deref()),
    ];
    for (name, value) in others {
        if let Some(value) = value {
            head.push_str(",\"");
            head.push_str(name);
            head.push_str("\":");
            push_string(&mut head, value);
        }
    }
    if target.truncated() {
        head.push_str(",\"truncated\":true");
    }
    head.push_str(",\"rows\":");
    head
}
