//! `--format ndjson`: a line for each host as it answers. The last line is the report's summary.

use super::report::TargetReport;
use crate::campaign::Campaign;
use crate::campaign::rows::push_string;

/// The lines of a host that has just answered, one for each name that it stands under.
pub(crate) fn host_lines(campaign: &Campaign, host: usize) -> String {
    let mut lines = String::new();
    for &index in campaign.targets_of(host) {
        let target = TargetReport::of(campaign, &campaign.roster().targets[index]);
        lines.push_str("{\"type\":\"host\",\"host\":");
        push_string(&mut lines, target.key);
        lines.push_str(",\"status\":");
        push_string(&mut lines, target.status.name());
        if let Some(Err(message)) = target.kept.map(|kept| &kept.result) {
            lines.push_str(",\"error\":");
            push_string(&mut lines, message);
        }
        let others = [
            ("hostname", target.hostname),
            ("uuid", target.uuid),
            ("answered_at", target.answered_at.as_deref()),
        ];
        for (name, value) in others {
            if let Some(value) = value {
                lines.push_str(",\"");
                lines.push_str(name);
                lines.push_str("\":");
                push_string(&mut lines, value);
            }
        }
        if target.truncated() {
            lines.push_str(",\"truncated\":true");
        }
        lines.push_str(",\"rows\":");
        lines.push_str(target.rows());
        lines.push_str("}\n");
    }
    lines
}
