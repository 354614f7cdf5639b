//! `--format table`: a document on a terminal. As many columns as fit, wide cells cut with `…`, and below it
//! what became of every target; whatever was left out is said.

use std::collections::HashMap;
use std::io::{self, Write};

use super::recorded::{Host, Row};
use super::shown::{Form, Shown, counted, legible};
use crate::printable::{cut, listed, printable};

/// Columns of a cell that is cut no further, and that no cell exceeds.
const LEAST: usize = 16;
const MOST: usize = 500;
/// Bytes of a cell that are looked at: enough for [`MOST`] characters of most kinds.
const BYTES: usize = 2_000;
/// The first column's name.
const HOST: &str = "host";
/// Characters of SQL that are shown.
const SQL: usize = 2_000;

/// The columns of the rows that are shown, in the order in which they came, and how wide each would be.
#[derive(Default)]
pub(crate) struct Columns {
    /// Their names.
    pub names: Vec<String>,
    widths: Vec<usize>,
    index: HashMap<String, usize>,
    host: usize,
    /// Whether there were more than are kept.
    pub too_many: bool,
}

impl Columns {
    /// Looks at a row, for at most so many columns.
    pub fn see(&mut self, host: &Host, row: &Row, most: usize) {
        self.host = self.host.max(width(&name(host)));
        for (column, cell) in row {
            let at = match self.index.get(column) {
                Some(at) => *at,
                None if self.names.len() == most => {
                    self.too_many = true;
                    continue;
                }
                None => {
                    self.names.push(column.clone());
                    self.widths
                        .push(width(&legible(&column.as_str().into(), BYTES)));
                    self.index.insert(column.clone(), self.names.len() - 1);
                    self.names.len() - 1
                }
            };
            if self.widths[at] < MOST {
                self.widths[at] = self.widths[at].max(width(&legible(cell, BYTES)));
            }
        }
    }
}

/// The format.
pub(crate) struct Table<'a> {
    shown: &'a Shown<'a>,
    /// Columns of the terminal.
    wide: usize,
    /// How wide the target's name is, and each column that fits.
    host: usize,
    columns: Vec<(&'a str, usize)>,
    left_out: Vec<&'a str>,
}

impl<'a> Table<'a> {
    /// Fits the columns into a terminal.
    pub fn new(shown: &'a Shown<'a>, columns: &'a Columns, wide: usize) -> Self {
        let host = columns.host.max(HOST.len()).min((wide / 3).max(8));
        let mut widths = columns.widths.clone();
        let used = |widths: &[usize], most: usize| -> usize {
            widths
                .iter()
                .map(|width| 2 + (*width).min(most))
                .sum::<usize>()
                + host
        };
        let most = (LEAST..=MOST)
            .rev()
            .find(|most| used(&widths, *most) <= wide);
        let most = most.unwrap_or(LEAST);
        while widths.len() > 1 && used(&widths, most) > wide {
            widths.pop();
        }
        // The one that is left may be wider than the terminal.
        let most = most.min(wide.saturating_sub(host + 2).max(1));
        let names = columns.names.iter().map(String::as_str);
        let (fit, left_out) = columns.names.split_at(widths.len());
        debug_assert_eq!(fit.len() + left_out.len(), names.len());
        Self {
            shown,
            wide,
            host,
            columns: fit
                .iter()
                .zip(widths)
                .map(|(name, width)| (name.as_str(), width.min(most).max(1)))
                .collect(),
            left_out: left_out.iter().map(String::as_str).collect(),
        }
    }

    fn line(&self, host: &str, cells: impl Iterator<Item = String>) -> String {
        let mut line = padded(host, self.host);
        for (cell, (_, width)) in cells.zip(&self.columns) {
            line.push_str("  ");
            line.push_str(&padded(&cell, *width));
        }
        format!("{}\n", line.trim_end())
    }

    /// Text that is broken between words, and inside one that is longer than a line.
    fn wrapped(&self, text: &str, out: &mut dyn Write) -> io::Result<()> {
        let wide = self.wide.max(20);
        let mut line = String::new();
        for word in text.split(' ') {
            if width(&line) + 1 + width(word) > wide && !line.trim().is_empty() {
                writeln!(out, "{line}")?;
                line = "  ".to_owned();
            } else if !line.is_empty() {
                line.push(' ');
            }
            for letter in word.chars() {
                if width(&line) + columns_of(letter) > wide {
                    writeln!(out, "{line}")?;
                    line = "  ".to_owned();
                }
                line.push(letter);
            }
        }
        writeln!(out, "{line}")
    }
}

impl Form for Table<'_> {
    fn begin(&mut self, out: &mut dyn Write) -> io::Result<()> {
        let recorded = self.shown.recorded;
        let run = &recorded.run;
        let mut about = vec![run.template.clone().unwrap_or("a live query".into())];
        for (name, value) in run.parameters.iter().flatten() {
            about.push(format!("{name}={}", legible(value, BYTES)));
        }
        let mut when = Vec::new();
        when.extend(run.started_at.clone());
        when.extend(run.id.as_ref().map(|id| format!("run {id}")));
        when.extend(recorded.campaign.as_ref().map(|campaign| {
            let id = campaign.id.as_ref();
            format!(
                "{}{}",
                campaign.backend,
                id.map_or(String::new(), |id| format!(" {id}"))
            )
        }));
        let sql = run.sql.as_deref().or(recorded
            .planned
            .as_ref()
            .map(|planned| planned.sql.as_str()));
        let lines = [
            about.join(" "),
            when.join(", "),
            sql.unwrap_or_default().to_owned(),
        ];
        for line in lines.iter().filter(|line| !line.is_empty()) {
            self.wrapped(&printable(&cut(line, SQL)), out)?;
        }
        if !self.columns.is_empty() {
            let names = self
                .columns
                .iter()
                .map(|(name, _)| legible(&(*name).into(), BYTES));
            let head = self.line(HOST, names);
            write!(out, "\n{head}")?;
        }
        Ok(())
    }

    fn row(&mut self, host: &Host, number: u64, row: Row, out: &mut dyn Write) -> io::Result<()> {
        let cell = |(column, _): &(&str, usize)| {
            row.get(*column)
                .map_or(String::new(), |cell| legible(cell, BYTES))
        };
        let line = self.line(&name(host), self.columns.iter().map(cell));
        out.write_all(line.as_bytes())?;
        let shown = self.shown.rows_of(host);
        if number + 1 == shown && shown < host.kept {
            let more = format!("… {} of this host", counted(host.kept - shown, "more row"));
            writeln!(out, "{}", fitted(&more, self.wide))?;
        }
        Ok(())
    }

    fn end(&mut self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out)?;
        if !self.left_out.is_empty() {
            let count = counted(self.left_out.len() as u64, "more column");
            let text = format!(
                "{count}: {}; `--format csv` has all",
                listed(&self.left_out)
            );
            self.wrapped(&text, out)?;
        }
        self.wrapped(&self.shown.tally(), out)?;
        let empty = self
            .shown
            .hosts()
            .filter(|host| host.whole() && host.kept == 0);
        let empty: Vec<&str> = empty.map(|host| host.key.as_str()).collect();
        if !empty.is_empty() {
            self.wrapped(&format!("answered without rows: {}", listed(&empty)), out)?;
        }
        let lines = self.shown.of_the_hosts().into_iter();
        for line in lines.chain(self.shown.of_the_run()) {
            self.wrapped(&line.to_string(), out)?;
        }
        if let Some(note) = &self.shown.recorded.run.note {
            self.wrapped(&printable(note), out)?;
        }
        if self.shown.recorded.partial {
            self.wrapped("PARTIAL: these are not all rows that were asked for.", out)?;
        }
        Ok(())
    }
}

fn name(host: &Host) -> String {
    legible(&host.key.as_str().into(), BYTES)
}

/// The text in exactly so many columns, `…` where it was cut.
fn padded(text: &str, columns: usize) -> String {
    let mut cell = fitted(text, columns);
    let used = width(&cell);
    cell.extend(std::iter::repeat_n(' ', columns.saturating_sub(used)));
    cell
}

/// The text in at most so many columns.
fn fitted(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let mut cell = String::new();
    let mut used = 0;
    for letter in text.chars() {
        used += columns_of(letter);
        if used + 1 > columns {
            break;
        }
        cell.push(letter);
    }
    cell.push('…');
    cell
}

/// Columns of a terminal that a text takes.
fn width(text: &str) -> usize {
    text.chars().map(columns_of).sum()
}

/// As terminals have it: none for marks that stand on the letter before, two for the wide letters of East Asia
/// and pictures (Unicode 17, East_Asian_Width W and F, as blocks).
fn columns_of(letter: char) -> usize {
    match letter {
        '\u{300}'..='\u{36f}'
        | '\u{483}'..='\u{489}'
        | '\u{591}'..='\u{5bd}'
        | '\u{610}'..='\u{61a}'
        | '\u{64b}'..='\u{65f}'
        | '\u{e31}'
        | '\u{e34}'..='\u{e3a}'
        | '\u{1ab0}'..='\u{1aff}'
        | '\u{1dc0}'..='\u{1dff}'
        | '\u{20d0}'..='\u{20ff}'
        | '\u{fe00}'..='\u{fe0f}'
        | '\u{fe20}'..='\u{fe2f}' => 0,
        '\u{1100}'..='\u{115f}'
        | '\u{2e80}'..='\u{303e}'
        | '\u{3041}'..='\u{a4cf}'
        | '\u{a960}'..='\u{a97f}'
        | '\u{ac00}'..='\u{d7a3}'
        | '\u{f900}'..='\u{faff}'
        | '\u{fe30}'..='\u{fe6f}'
        | '\u{ff00}'..='\u{ff60}'
        | '\u{ffe0}'..='\u{ffe6}'
        | '\u{1f300}'..='\u{1f64f}'
        | '\u{1f680}'..='\u{1f6ff}'
        | '\u{1f900}'..='\u{1faff}'
        | '\u{20000}'..='\u{3fffd}' => 2,
        _ => 1,
    }
}
