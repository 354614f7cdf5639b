//! `--format rows`: a JSON line a row, with what makes it evidence.

use std::io::{self, Write};

use serde_json::json;

use super::recorded::{Host, Row};
use super::shown::{Form, Shown};
use super::visible;

/// The format.
pub(crate) struct RowLines<'a>(pub &'a Shown<'a>);

impl Form for RowLines<'_> {
    fn row(&mut self, host: &Host, _: u64, row: Row, out: &mut dyn Write) -> io::Result<()> {
        let run = &self.0.recorded.run;
        let line = json!({
            "run": run.id,
            "host": host.key,
            "uuid": host.uuid,
            "hostname": host.name(),
            "answered_at": host.answered_at,
            "template": run.template,
            "row": row,
        });
        visible::line(out, &line)
    }
}
