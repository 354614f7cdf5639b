//! `--format markdown`: a document for a ticket. What hosts and servers wrote stands in code spans, in which
//! no renderer finds a link, a mention, a picture or HTML; the two characters that mean something even there
//! (`|` in a table, `<` to who does not render) stand outside of them as entities.

use std::io::{self, Write};

use super::recorded::{Host, Row};
use super::shown::{Form, Shown, counted, legible};
use crate::printable::{cut, printable};

/// Bytes of a cell; a ticket has little room.
const CELL: usize = 300;
/// Bytes of the SQL and of an error.
const TEXT: usize = 4_000;
/// Columns of a target's table.
const COLUMNS: usize = 100;

/// The format.
pub(crate) struct Ticket<'a> {
    shown: &'a Shown<'a>,
    /// The target whose rows come now, and those that came.
    now: Option<Section>,
}

struct Section {
    key: String,
    kept: u64,
    columns: Vec<String>,
    left_out: usize,
    rows: Vec<Vec<(usize, String)>>,
}

impl<'a> Ticket<'a> {
    /// A ticket of a document.
    pub fn new(shown: &'a Shown<'a>) -> Self {
        Self { shown, now: None }
    }

    fn heading(&self) -> String {
        let recorded = self.shown.recorded;
        let run = &recorded.run;
        let template = run.template.as_deref();
        let mut heading = format!("## Live query {}", template.map_or(String::new(), code));
        let parameters = run.parameters.iter().flatten();
        let parameters: Vec<String> = parameters
            .map(|(name, value)| format!("{} = {}", code(name), cell(value)))
            .collect();
        if !parameters.is_empty() {
            heading.push_str(&format!(" ({})", parameters.join(", ")));
        }
        let outcome = match (&recorded.planned, &recorded.error, recorded.partial) {
            (Some(_), _, _) => "checked, not asked",
            (None, Some(_), _) => "failed",
            (None, None, true) => "partial",
            (None, None, false) => "complete",
        };
        format!("{}: {outcome}\n\n", heading.trim_end())
    }

    fn facts(&self) -> String {
        let recorded = self.shown.recorded;
        let run = &recorded.run;
        let mut text = String::new();
        let mut when: Vec<String> = Vec::new();
        when.extend(run.started_at.as_deref().map(code));
        when.extend(
            run.finished_at
                .as_deref()
                .map(|at| format!("to {}", code(at))),
        );
        if !when.is_empty() {
            text.push_str(&format!("- When: {}\n", when.join(" ")));
        }
        let parts = [
            ("", &run.id),
            ("step ", &run.step),
            ("goes on with ", &run.resumes),
            ("osquery-live-query ", &run.version),
        ];
        let parts = parts.into_iter().filter_map(|(what, value)| {
            let value = code(&cut(value.as_deref()?, CELL));
            Some(format!("{what}{value}"))
        });
        let parts: Vec<String> = parts.collect();
        if !parts.is_empty() {
            text.push_str(&format!("- Run: {}\n", parts.join(", ")));
        }
        if let Some(campaign) = &recorded.campaign {
            let id = campaign.id.as_deref().map(code);
            let id = id.map_or(String::new(), |id| format!(", campaign {id}"));
            text.push_str(&format!("- Server: {}{id}\n", code(&campaign.backend)));
        }
        text.push_str(&format!("- {}\n", self.shown.tally()));
        for line in self.shown.of_the_run() {
            text.push_str(&format!("- {}{}\n", line.words, code(&line.foreign)));
        }
        if recorded.partial {
            text.push_str("- **Partial: these are not all rows that were asked for.**\n");
        }
        if let Some(note) = &run.note {
            text.push_str(&format!("- {}\n", code(&cut(note, TEXT))));
        }
        let sql = recorded.planned.as_ref().map(|planned| &planned.sql);
        if let Some(sql) = run.sql.as_ref().or(sql) {
            text.push_str(&format!("- SQL: {}\n", lines(&cut(sql, TEXT))));
        }
        text
    }

    fn targets(&self) -> String {
        let mut text = String::new();
        for host in self.shown.hosts() {
            if text.is_empty() {
                text.push_str("\n| target | what became of it | rows | when | host |\n|---|---|---|---|---|\n");
            }
            let mut words = match host.status.as_str() {
                // Words of another program.
                other if host.words() == other => code(other),
                _ => host.words().to_owned(),
            };
            if let Some(error) = &host.error {
                words.push_str(&format!(": {}", code(&cut(error, CELL))));
            }
            if let (false, Some(seen)) = (host.answered(), &host.last_seen) {
                words.push_str(&format!(", last seen {}", code(&cut(seen, CELL))));
            }
            if let Some(matched) = &host.matched {
                words.push_str(&format!(", found by its {}", code(&cut(matched, CELL))));
            }
            if !host.near.is_empty() {
                let near = host.near.iter().take(5).map(|name| code(&cut(name, CELL)));
                words.push_str(&format!(
                    ", perhaps {}",
                    near.collect::<Vec<_>>().join(" or ")
                ));
            }
            let rows = match (host.status.as_str(), host.whole()) {
                ("ok", true) => host.kept.to_string(),
                ("ok", false) => format!(
                    "{} of {}",
                    host.kept,
                    host.received.map_or("more".into(), |all| all.to_string())
                ),
                _ => String::new(),
            };
            let at = host
                .answered_at
                .as_deref()
                .map_or(String::new(), |at| code(&cut(at, CELL)));
            let others = [host.hostname.as_deref(), host.uuid.as_deref()];
            let others = others
                .into_iter()
                .flatten()
                .map(|name| code(&cut(name, CELL)));
            text.push_str(&format!(
                "| {} | {words} | {rows} | {at} | {} |\n",
                code(&cut(&host.key, CELL)),
                others.collect::<Vec<_>>().join(" ")
            ));
        }
        text
    }
}

impl Form for Ticket<'_> {
    fn begin(&mut self, out: &mut dyn Write) -> io::Result<()> {
        out.write_all(self.heading().as_bytes())?;
        out.write_all(self.facts().as_bytes())?;
        out.write_all(self.targets().as_bytes())
    }

    fn row(&mut self, host: &Host, number: u64, row: Row, out: &mut dyn Write) -> io::Result<()> {
        if number == 0
            && let Some(before) = self.now.take()
        {
            before.write(out)?;
        }
        let section = self.now.get_or_insert_with(|| Section {
            key: host.key.clone(),
            kept: host.kept,
            columns: Vec::new(),
            left_out: 0,
            rows: Vec::new(),
        });
        section.add(&row);
        Ok(())
    }

    fn end(&mut self, out: &mut dyn Write) -> io::Result<()> {
        self.now.take().map_or(Ok(()), |last| last.write(out))
    }
}

impl Section {
    fn add(&mut self, row: &Row) {
        let mut cells = Vec::new();
        for (column, value) in row {
            let known = self.columns.iter().position(|known| known == column);
            let at = match known {
                Some(at) => at,
                None if self.columns.len() == COLUMNS => {
                    self.left_out += 1;
                    continue;
                }
                None => {
                    self.columns.push(column.clone());
                    self.columns.len() - 1
                }
            };
            cells.push((at, cell(value)));
        }
        self.rows.push(cells);
    }

    fn write(self, out: &mut dyn Write) -> io::Result<()> {
        let shown = self.rows.len() as u64;
        let count = match shown < self.kept {
            true => format!("the first {shown} of {}", counted(self.kept, "row")),
            false => counted(shown, "row"),
        };
        writeln!(out, "\n### {}: {count}\n", code(&cut(&self.key, CELL)))?;
        let names: Vec<String> = self
            .columns
            .iter()
            .map(|name| code(&cut(name, CELL)))
            .collect();
        writeln!(out, "| {} |", names.join(" | "))?;
        writeln!(out, "|{}", "---|".repeat(names.len()))?;
        for row in self.rows {
            let mut cells = vec![String::new(); names.len()];
            for (at, text) in row {
                cells[at] = text;
            }
            writeln!(out, "| {} |", cells.join(" | "))?;
        }
        if self.left_out > 0 {
            writeln!(
                out,
                "\n{} left out.",
                counted(self.left_out as u64, "further cell")
            )?;
        }
        Ok(())
    }
}

fn cell(value: &serde_json::Value) -> String {
    code(&legible(value, CELL))
}

/// Foreign text in a line or a cell.
fn code(text: &str) -> String {
    let text = printable(text);
    let mut spans = String::new();
    let mut rest = &*text;
    while !rest.is_empty() {
        let end = rest.find(['|', '<']).unwrap_or(rest.len());
        spans.push_str(&span(&rest[..end]));
        spans.push_str(match rest[end..].chars().next() {
            Some('|') => "&#124;",
            Some(_) => "&lt;",
            None => "",
        });
        rest = rest.get(end + 1..).unwrap_or_default();
    }
    spans
}

/// Text in a code span: with more backticks around it than follow each other in it.
fn span(text: &str) -> String {
    if text.is_empty() {
        return String::new();
    }
    let fence = "`".repeat(longest_run(text) + 1);
    // One blank at each end is taken away again, where there is one at both.
    let blank = text.starts_with(' ') && text.ends_with(' ') && !text.trim().is_empty();
    let pad = if blank || text.starts_with('`') || text.ends_with('`') {
        " "
    } else {
        ""
    };
    format!("{fence}{pad}{text}{pad}{fence}")
}

/// Text of several lines, each with a break after it.
fn lines(text: &str) -> String {
    let lines = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .map(code);
    lines.collect::<Vec<_>>().join("  \n  ")
}

fn longest_run(text: &str) -> usize {
    let mut longest = 0;
    let mut run = 0;
    for letter in text.chars() {
        run = if letter == '`' { run + 1 } else { 0 };
        longest = longest.max(run);
    }
    longest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_stays_inside_of_code() {
        for (text, written) in [
            ("bash", "`bash`"),
            ("", ""),
            ("curl x | sh", "`curl x `&#124;` sh`"),
            (
                "<script>alert(1)</script>",
                "&lt;`script>alert(1)`&lt;`/script>`",
            ),
            ("a`b``c", "```a`b``c```"),
            ("`", "`` ` ``"),
            ("||", "&#124;&#124;"),
            ("@all [x](http://y) ![z](w)", "`@all [x](http://y) ![z](w)`"),
            ("a\nb\u{1b}[31m\u{202e}", "`a\\nb\\u{1b}[31m\\u{202e}`"),
            ("C:\\", "`C:\\`"),
            (" a ", "`  a  `"),
            ("  ", "`  `"),
        ] {
            assert_eq!(code(text), written, "{text:?}");
        }
    }
}
