//! The verb `show`: a document of `run` for people and for other tools. Never touches a network.

mod source;
#[cfg(test)]
mod tests;

use std::io;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::{Args, ValueEnum};

use crate::allowlist::Registry;
use crate::call_error::CallError;
use crate::exit::{Code, Exit};
use crate::nearest;
use crate::output::csv::{Csv, MOST_COLUMNS};
use crate::output::events::{Events, Template};
use crate::output::markdown::Ticket;
use crate::output::recorded::{Cut, Host, Recorded, Row};
use crate::output::rows::RowLines;
use crate::output::shown::{Form, Shown};
use crate::output::table::{Columns, Table};
use crate::output::{ecs, ocsf};
use crate::printable::listed;
use crate::process::Process;
use crate::process::stdout::{self, Broken};
use crate::session::failure::Failure;
use source::{Source, Stopped};

/// The long help.
pub(crate) const HELP: &str = "\
Show a document of `run`: as a table, for a ticket, for spreadsheets and for a SIEM.

Reads one document, or the lines of --format ndjson, from FILE or stdin; also one of a run that
failed or was partial, one of `check`, and lines that break off. What is missing is said: in a
table and a ticket below the rows, for the other formats on stderr. What hosts wrote is data:
control characters are made visible, Markdown and HTML do nothing, and a csv cell that a
spreadsheet would take for a formula has an apostrophe before it. Touches no network.

  table     for a terminal, as wide as it is (or COLUMNS; 80 where neither is known)
  markdown  for a ticket: what was asked, who answered, who did not and why, each one's first rows
  csv       one line a row, RFC 4180: host, uuid, hostname, answered_at, then all columns
  rows      one JSON line a row: run, host, uuid, hostname, answered_at, template, row
  ocsf      one event a row or silent host: OCSF 1.8, class 5040 (Live Evidence Info)
  ecs       the same with the field names of the Elastic Common Schema 9

Exit status: 0 shown, 2 wrong flags or no such file or host, 10 no document of `run`, or one that
breaks off (what there is of lines is shown), 74 stdout can't be written.";

/// Uses of it.
pub(crate) const EXAMPLES: &str = "\
Examples:
  osquery-live-query run --context alert.json < step.yaml > document.json
  osquery-live-query show document.json
  osquery-live-query show --format markdown document.json
  osquery-live-query show --format csv --host web-01 document.json > web-01.csv";

/// Flags of `show`.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// What `run` or `check` wrote; without one, or for -, stdin.
    #[arg(value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub file: Option<PathBuf>,
    /// How it is shown.
    #[arg(long, value_enum, default_value_t = ShowFormat::Table)]
    pub format: ShowFormat,
    /// Only this target, by its key, hostname or uuid; may be given again.
    #[arg(long, value_name = "NAME")]
    pub host: Vec<String>,
    /// Rows of each target at most [default: 10 for table and markdown, all for the others].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub rows: Option<u64>,
    /// Leave the cells of csv as hosts sent them, for programs that run no formulas.
    #[arg(long)]
    pub raw: bool,
}

/// Values of `show --format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ShowFormat {
    /// For a terminal.
    Table,
    /// For a ticket.
    Markdown,
    /// For a spreadsheet.
    Csv,
    /// A JSON line a row.
    Rows,
    /// Events of the Open Cybersecurity Schema Framework.
    Ocsf,
    /// Events of the Elastic Common Schema.
    Ecs,
}

impl ShowFormat {
    /// Rows of each target at most, where nobody says.
    fn most(self) -> Option<u64> {
        matches!(self, Self::Table | Self::Markdown).then_some(10)
    }

    /// Whether what is missing stands in it.
    fn says_what_is_missing(self) -> bool {
        matches!(self, Self::Table | Self::Markdown)
    }
}

/// Shows the document. Returns how the process ends.
pub(crate) fn run(args: &ShowArgs, process: &Process) -> Exit {
    match show(args, process) {
        Ok(exit) => exit,
        Err(failure) => process.fail(&failure),
    }
}

fn show(args: &ShowArgs, process: &Process) -> Result<Exit, Failure> {
    if args.raw && args.format != ShowFormat::Csv {
        return Err(usage(
            "`--raw` goes with `--format csv`: no other format changes cells",
        ));
    }
    let mut source = Source::open(args.file.as_deref())?;
    let wanted = Wanted {
        wide: stdout::columns(),
        ..Wanted::of(args)
    };
    let cut = formed(&wanted, &mut source, |form, source, shown| {
        tell(args.format, shown, process);
        write(form, source, shown)
    })?;
    Ok(match cut {
        Some(_) => Code::Decode.into(),
        None => Exit::Ok,
    })
}

/// What a document that is held becomes in a format, with nothing left out, on a terminal of 80 columns.
///
/// # Errors
/// `decode` for what is no document of `run`; `usage` for a csv of too many columns.
pub fn text(format: ShowFormat, document: &[u8]) -> Result<Vec<u8>, Failure> {
    let wanted = Wanted {
        format,
        hosts: &[],
        most: None,
        raw: false,
        wide: 80,
    };
    let mut text = Vec::new();
    formed(
        &wanted,
        &mut Source::held(document),
        |form, source, shown| Ok(all(form, source, shown, &mut text)?),
    )?;
    Ok(text)
}

/// What of a document is wanted, and how.
struct Wanted<'a> {
    format: ShowFormat,
    hosts: &'a [String],
    most: Option<u64>,
    raw: bool,
    /// Columns of the terminal.
    wide: usize,
}

impl<'a> Wanted<'a> {
    fn of(args: &'a ShowArgs) -> Self {
        Self {
            format: args.format,
            hosts: &args.host,
            most: args.rows.or(args.format.most()),
            raw: args.raw,
            wide: 80,
        }
    }
}

/// Looks through a document, and gives on what is needed to write it. Returns where it breaks off.
fn formed(
    wanted: &Wanted<'_>,
    source: &mut Source,
    then: impl FnOnce(Box<dyn Form + '_>, &mut Source, &Shown<'_>) -> Result<(), Failure>,
) -> Result<Option<Cut>, Failure> {
    let recorded = source.read(&mut |_, _| Ok(()))?;
    let chosen = chosen(&recorded, wanted.hosts)?;
    let shown = Shown {
        recorded: &recorded,
        chosen: &chosen,
        most: wanted.most,
    };
    let mut columns = Columns::default();
    if matches!(wanted.format, ShowFormat::Csv | ShowFormat::Table) {
        each_row(source, &shown, &mut |host, _, row| {
            columns.see(host, &row, MOST_COLUMNS);
            Ok(())
        })?;
    }
    if wanted.format == ShowFormat::Csv && columns.too_many {
        return Err(usage(&format!(
            "the rows have more than {MOST_COLUMNS} columns in all, which no query returns; `--format rows` shows each row with its own"
        )));
    }
    let template = template(recorded.run.template.as_deref());
    let events = |event| {
        Box::new(Events {
            shown: &shown,
            template: &template,
            now: now(),
            event,
        })
    };
    let form: Box<dyn Form + '_> = match wanted.format {
        ShowFormat::Table => Box::new(Table::new(&shown, &columns, wanted.wide)),
        ShowFormat::Markdown => Box::new(Ticket::new(&shown)),
        ShowFormat::Csv => Box::new(Csv {
            columns: &columns.names,
            raw: wanted.raw,
        }),
        ShowFormat::Rows => Box::new(RowLines(&shown)),
        ShowFormat::Ocsf => events(ocsf::event),
        ShowFormat::Ecs => events(ecs::event),
    };
    then(form, source, &shown)?;
    Ok(recorded.cut)
}

/// Says on stderr, before anything is shown, what the format can't say.
fn tell(format: ShowFormat, shown: &Shown<'_>, process: &Process) {
    if shown.recorded.cut.is_some() || !format.says_what_is_missing() {
        let lines = shown.of_the_run().into_iter();
        for line in lines.chain(shown.of_the_hosts()) {
            process.stderr.warn(&line.to_string());
        }
    }
    process.stderr.flush();
}

/// Writes all of it to stdout; a reader that has seen enough is no error.
fn write(form: Box<dyn Form + '_>, source: &mut Source, shown: &Shown<'_>) -> Result<(), Failure> {
    let mut changed = None;
    let written = stdout::write_at_once(|out| match all(form, source, shown, out) {
        Ok(()) => Ok(()),
        Err(Stopped::Writing(error)) => Err(error),
        Err(Stopped::Reading(failure)) => {
            changed = Some(failure);
            Ok(())
        }
    });
    if let Some(failure) = changed {
        return Err(failure);
    }
    match written {
        Ok(()) if stdout::was_closed() => Err(Failure::not_written("it is closed")),
        Ok(()) | Err(Broken::Gone) => Ok(()),
        Err(broken) => Err(Failure::not_written(broken.words())),
    }
}

/// Writes all of it.
fn all(
    mut form: Box<dyn Form + '_>,
    source: &mut Source,
    shown: &Shown<'_>,
    out: &mut dyn io::Write,
) -> Result<(), Stopped> {
    form.begin(out).map_err(Stopped::Writing)?;
    each_row(source, shown, &mut |host, number, row| {
        form.row(host, number, row, out)
    })?;
    form.end(out).map_err(Stopped::Writing)
}

type OfRow<'a> = dyn FnMut(&Host, u64, Row) -> io::Result<()> + 'a;

/// Reads the source once more and hands on the rows that are wanted, each with its number.
fn each_row(source: &mut Source, shown: &Shown<'_>, take: &mut OfRow<'_>) -> Result<(), Stopped> {
    let mut now = None;
    let mut number = 0;
    let read = source.read(&mut |key, row| {
        if now.as_deref() != Some(key) {
            now = Some(key.to_owned());
            number = 0;
        }
        let wanted = shown.wants(key, number);
        number += 1;
        wanted.map_or(Ok(()), |host| take(host, number - 1, row))
    });
    read.map(drop)
}

/// Which targets are wanted.
fn chosen(recorded: &Recorded, names: &[String]) -> Result<Vec<bool>, Failure> {
    let hosts = &recorded.hosts;
    let mut chosen = vec![names.is_empty(); hosts.len()];
    for name in names {
        // A key that is one target's name and another's hostname means the first.
        let exact = recorded.host(name).map(|(index, _)| index);
        let called = hosts
            .iter()
            .enumerate()
            .filter(|(_, host)| host.is_called(name));
        let found: Vec<usize> = match exact {
            Some(index) => vec![index],
            None => called.map(|(index, _)| index).collect(),
        };
        if found.is_empty() {
            return Err(usage(&unknown(name, recorded)));
        }
        for index in found {
            chosen[index] = true;
        }
    }
    Ok(chosen)
}

/// What to say of a name that no target has.
fn unknown(name: &str, recorded: &Recorded) -> String {
    let keys: Vec<&str> = recorded
        .hosts
        .iter()
        .map(|host| host.key.as_str())
        .collect();
    let what = listed(&[name]);
    if keys.is_empty() {
        return format!("the document has no targets, so `{what}` is not one");
    }
    let likely = nearest::question(name, keys.iter().copied());
    let likely = likely.map_or(String::new(), |likely| format!("{likely} "));
    let keys = listed(&keys);
    format!("the document has no target `{what}`: {likely}it has {keys}")
}

/// What is known of the template that was asked; of an operator's own, nothing.
fn template(name: Option<&str>) -> Template {
    let known = name.and_then(|name| Registry::embedded().template(name).ok());
    known.map_or_else(Template::default, |known| Template {
        tables: known.tables().keys().map(String::as_str).collect(),
        severity: Some(known.severity().name()),
    })
}

/// Milliseconds since 1970.
fn now() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

fn usage(message: &str) -> Failure {
    let (verb, message) = ("show", message.to_owned());
    CallError::Flags { verb, message }.into()
}
