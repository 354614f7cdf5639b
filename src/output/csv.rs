//! `--format csv`: RFC 4180, one line a row, the target's own columns first, then all columns of all rows. A
//! cell that a spreadsheet would take for a formula has an apostrophe before it, and what can't be seen is
//! written out, unless the cells are wanted as they are.

use std::borrow::Cow;
use std::io::{self, Write};

use super::recorded::{Host, Row};
use super::shown::{Form, text_of};
use crate::printable::printable;

/// The columns of the target.
const OWN: [&str; 4] = ["host", "uuid", "hostname", "answered_at"];

/// Columns that there may be at most; SQLite returns no more of one statement.
pub(crate) const MOST_COLUMNS: usize = 2_000;

/// The format.
pub(crate) struct Csv<'a> {
    /// The columns of all rows, in the order in which they came.
    pub columns: &'a [String],
    /// Whether cells are left as they are.
    pub raw: bool,
}

impl Form for Csv<'_> {
    fn begin(&mut self, out: &mut dyn Write) -> io::Result<()> {
        let own = OWN.iter().map(|name| Cow::Borrowed(*name));
        let columns = self
            .columns
            .iter()
            .map(|name| match OWN.contains(&name.as_str()) {
                // A row may have a uuid, too.
                true => Cow::Owned(format!("row.{name}")),
                false => Cow::Borrowed(name.as_str()),
            });
        self.line(own.chain(columns), out)
    }

    fn row(&mut self, host: &Host, _: u64, row: Row, out: &mut dyn Write) -> io::Result<()> {
        let text = |text: &'_ Option<String>| text.clone().unwrap_or_default();
        let own = [
            Cow::Borrowed(host.key.as_str()),
            text(&host.uuid).into(),
            host.name().into(),
            text(&host.answered_at).into(),
        ];
        let cells = self.columns.iter();
        let cells = cells.map(|column| row.get(column).map_or("".into(), text_of));
        self.line(own.into_iter().chain(cells), out)
    }
}

impl Csv<'_> {
    fn line<'c>(
        &self,
        cells: impl Iterator<Item = Cow<'c, str>>,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        for (index, cell) in cells.enumerate() {
            if index > 0 {
                out.write_all(b",")?;
            }
            let cell = if self.raw { cell } else { harmless(&cell) };
            // Tabs and semicolons part cells in some countries.
            if cell.contains(['"', ',', '\r', '\n', ';', '\t']) {
                write!(out, "\"{}\"", cell.replace('"', "\"\""))?;
            } else {
                out.write_all(cell.as_bytes())?;
            }
        }
        out.write_all(b"\r\n")
    }
}

/// The cell as no spreadsheet runs it.
fn harmless(cell: &str) -> Cow<'static, str> {
    let shown = printable(cell);
    let begins = shown.trim_start();
    let formula = begins.starts_with(['=', '+', '-', '@', '＝', '＋', '－', '＠']);
    if formula && !is_number(&shown) {
        format!("'{shown}").into()
    } else {
        shown.into_owned().into()
    }
}

/// `-1` is what osquery says of much; a number is no formula.
fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let all = |text: &str| !text.is_empty() && text.bytes().all(|one| one.is_ascii_digit());
    all(whole) && all(fraction)
}
