//! The report for people: each finding with its line and a caret, what each step would send, a summary.

use std::fmt::Write as _;

use serde_json::Value;

use super::lines::Lines;
use super::{Style, one_line};
use crate::verbs::dry_run::finding::{FileReport, Finding, Plan, Severity, Summary};

/// Targets that are shown of a step; the JSON report has all.
const MOST_TARGETS: usize = 8;

pub(super) fn write(files: &[FileReport], summary: &Summary, style: &Style) -> String {
    let mut text = String::new();
    let paint = Paint(style.colour);
    for file in files {
        // Read again only where there is a line to show.
        let lines = file
            .text
            .as_deref()
            .filter(|_| !file.findings.is_empty())
            .map(Lines::of);
        for finding in &file.findings {
            finding_text(&mut text, &file.path, finding, lines.as_ref(), &paint);
        }
        if !style.quiet && !file.plans.is_empty() {
            plans_text(&mut text, file, &paint);
        }
    }
    let line = summary_line(summary);
    let line = match (summary.errors, summary.warnings) {
        (0, 0) => paint.good(&line),
        (0, _) => paint.warning(&line),
        _ => paint.error(&line),
    };
    text.push_str(&line);
    text.push('\n');
    text
}

/// `3 files, 5 steps: 1 error, 2 warnings`.
pub(super) fn summary_line(summary: &Summary) -> String {
    let count = |number: usize, one: &str| match number {
        1 => format!("1 {one}"),
        _ => format!("{number} {one}s"),
    };
    format!(
        "{}, {}: {}, {}",
        count(summary.files, "file"),
        count(summary.steps, "live-query step"),
        count(summary.errors, "error"),
        count(summary.warnings, "warning")
    )
}

fn finding_text(
    text: &mut String,
    path: &str,
    finding: &Finding,
    lines: Option<&Lines<'_>>,
    paint: &Paint,
) {
    let head = format!("{}[{}]", finding.severity.name(), finding.rule);
    let head = match finding.severity {
        Severity::Error => paint.error(&head),
        Severity::Warning => paint.warning(&head),
    };
    let step = match &finding.step {
        Some(step) => format!("step `{step}`: "),
        None => String::new(),
    };
    // Writing to a String can't fail.
    let _ = writeln!(
        text,
        "{}:{}:{}: {head}: {}{}",
        one_line(path),
        finding.line,
        finding.column,
        one_line(&step),
        one_line(&finding.message)
    );
    if let Some(shown) = lines.and_then(|lines| lines.shown(finding.line, finding.column)) {
        let number = finding.line.to_string();
        let margin = " ".repeat(number.len());
        let _ = writeln!(
            text,
            "{} {}",
            paint.faint(&format!("{number} |")),
            shown.text
        );
        let _ = writeln!(
            text,
            "{} {}{}",
            paint.faint(&format!("{margin} |")),
            " ".repeat(shown.caret),
            paint.error("^")
        );
    }
    text.push('\n');
}

fn plans_text(text: &mut String, file: &FileReport, paint: &Paint) {
    let name = match &file.playbook {
        Some((id, _)) => format!(" (playbook {id})"),
        None => String::new(),
    };
    let _ = writeln!(
        text,
        "{}",
        paint.strong(&one_line(&format!("{}{name}", file.path)))
    );
    for plan in &file.plans {
        plan_text(text, plan, paint);
    }
    text.push('\n');
}

fn plan_text(text: &mut String, plan: &Plan, paint: &Paint) {
    let id = plan.id.as_deref().unwrap_or("(without id)");
    let template = plan.template.as_deref().unwrap_or("(no template)");
    let backend = match plan.backend {
        Some(backend) => format!(" on {backend}"),
        None => String::new(),
    };
    let deadline = match &plan.timeout_seconds {
        Some(Value::String(timeout)) => format!(", at most {timeout} s"),
        Some(timeout) => format!(", at most {timeout} s"),
        None => String::new(),
    };
    let _ = writeln!(
        text,
        "  {}  {}",
        paint.strong(&one_line(id)),
        one_line(&format!("{template}{backend}{deadline}"))
    );
    if let Some(targets) = &plan.targets {
        let mut parts = Vec::new();
        for (what, names) in [
            ("hosts", &targets.hosts),
            ("labels", &targets.labels),
            ("teams", &targets.teams),
        ] {
            if !names.is_empty() {
                parts.push(format!("{what} {}", listed(names)));
            }
        }
        if !targets.platforms.is_empty() {
            parts.push(format!("platforms {}", targets.platforms.join(", ")));
        }
        let _ = writeln!(text, "      {}", one_line(&parts.join("; ")));
    }
    match &plan.sql {
        Some(sql) => {
            for line in sql.lines() {
                let _ = writeln!(text, "      {}", paint.faint(&one_line(line)));
            }
        }
        None => text.push_str("      (nothing would be sent)\n"),
    }
    if let Some(rehearsal) = &plan.rehearsal {
        let _ = writeln!(
            text,
            "      rehearsed, exit status {}:",
            rehearsal.exit_code
        );
        for line in format!("{:#}", rehearsal.document).lines() {
            let _ = writeln!(text, "        {}", one_line(line));
        }
    }
}

fn listed(names: &[String]) -> String {
    // One name with a comma in it must not look like two.
    let shown = names
        .iter()
        .take(MOST_TARGETS)
        .map(|name| match name.contains(',') {
            true => format!("`{name}`"),
            false => name.clone(),
        });
    let shown: Vec<String> = shown.collect();
    let more = names.len() - shown.len();
    match more {
        0 => shown.join(", "),
        _ => format!("{} and {more} more", shown.join(", ")),
    }
}

struct Paint(bool);

impl Paint {
    fn with(&self, code: &str, text: &str) -> String {
        if self.0 && !text.is_empty() {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }

    fn error(&self, text: &str) -> String {
        self.with("1;31", text)
    }

    fn warning(&self, text: &str) -> String {
        self.with("1;33", text)
    }

    fn good(&self, text: &str) -> String {
        self.with("32", text)
    }

    fn strong(&self, text: &str) -> String {
        self.with("1", text)
    }

    fn faint(&self, text: &str) -> String {
        self.with("2", text)
    }
}
