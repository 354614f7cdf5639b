//! The tables that any SQL reads, as SQLite's own parser finds them. Saved queries are other people's: their
//! tables may be an extension's, their columns unknown, their text hostile.
//!
//! How: the SQL is prepared in a database that has no table at all. SQLite complains of the first one that it
//! does not find; that one is made, and it is asked again. Before SQLite looks at a single column it has
//! looked up every table of the statement (`sqlite3SelectPrep`: the whole tree is expanded, then its names are
//! resolved), with all that it knows of scopes, common table expressions and aliases. So once it complains of
//! something that it only sees afterwards, a column or a function, the tables are all there. Nothing is ever
//! sought in the text, and nothing is ever executed but the making of these empty tables.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use rusqlite::fallible_iterator::FallibleIterator as _;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::limits::Limit;
use rusqlite::{Batch, Connection, Error, ErrorCode};

use super::event::Tables;

/// The longest SQL that is looked into, in bytes.
const MOST_SQL: usize = 256 * 1024;
/// Tables of one SQL.
const MOST_TABLES: usize = 256;
/// Bytes that may be parsed for one SQL, all repetitions together: what bounds the time.
const MOST_PARSED: usize = 8 << 20;
/// How often SQLite may stop to ask whether it should go on.
const MOST_STEPS: u32 = 20_000;
/// The widest that a table is made so that `*` fits.
const MOST_COLUMNS: usize = 2_000;

/// osquery's own limits are SQLite's defaults, so what is deeper or wider than those runs on no host; these
/// are lower where SQLite's work grows faster than the text.
const LIMITS: [(Limit, i32); 6] = [
    (Limit::SQLITE_LIMIT_LENGTH, 1 << 20),
    (Limit::SQLITE_LIMIT_EXPR_DEPTH, 500),
    (Limit::SQLITE_LIMIT_PARSER_DEPTH, 500),
    (Limit::SQLITE_LIMIT_COMPOUND_SELECT, 500),
    (Limit::SQLITE_LIMIT_ATTACHED, 0),
    (Limit::SQLITE_LIMIT_VDBE_OP, 250_000),
];

/// Complaints that SQLite has only once it has found every table of a statement.
const AFTER_THE_TABLES: &[&str] = &[
    "no such column: ",
    "ambiguous column name: ",
    "no such function: ",
    "unknown function: ",
    "wrong number of arguments to function ",
    "no such collation sequence: ",
    "misuse of ",
    "row value misused",
    "sub-select returns ",
    "SELECTs to the left and right of ",
    "IN(...) element has ",
    "aggregate functions are not allowed in ",
    "a GROUP BY clause is required before HAVING",
    "HAVING clause on a non-aggregate query",
    "DISTINCT aggregates must have exactly one argument",
    "no query solution",
];

impl Tables {
    /// The tables that the SQL reads, of all its statements. Takes a bounded time and never fails: where SQLite
    /// does not understand the SQL, or it is made to be expensive, nobody knows them.
    pub fn of(sql: &str) -> Self {
        match Reading::of(sql) {
            Ok(tables) => Self::Known(tables),
            Err(why) => Self::Unknown(why.0),
        }
    }
}

/// Why the tables can't be told.
struct Why(String);

impl From<&str> for Why {
    fn from(why: &str) -> Self {
        Self(why.to_owned())
    }
}

impl From<Error> for Why {
    fn from(error: Error) -> Self {
        Self(complaint(&error))
    }
}

/// What SQLite has against a statement, without the places that it adds.
fn complaint(error: &Error) -> String {
    match error {
        Error::SqlInputError { msg, .. } => msg.clone(),
        Error::SqliteFailure(_, Some(message)) => message.clone(),
        other => other.to_string(),
    }
}

/// A table that was made because SQLite missed it.
struct Made {
    /// How SQLite called it: with a schema where the SQL writes one.
    missed: String,
    /// Its name in lower case, without a schema.
    name: String,
    /// Where it was made: schema and name, quoted.
    place: String,
    /// Whether its name is all of what SQLite called it.
    whole: bool,
    /// The columns that it was made with.
    columns: Vec<String>,
}

/// An SQL that is being read.
struct Reading {
    connection: Connection,
    /// Whether what is prepared now is our own, which may make tables.
    own: Arc<AtomicBool>,
    steps: Arc<AtomicU32>,
    made: Vec<Made>,
    /// Bytes that may still be parsed.
    left: usize,
}

impl Reading {
    fn of(sql: &str) -> Result<Vec<String>, Why> {
        if sql.len() > MOST_SQL {
            return Err("its SQL is longer than 256 KiB".into());
        }
        if sql.contains('\0') {
            return Err("its SQL holds a NUL character".into());
        }
        let mut reading = Self::open()?;
        let mut rest = sql;
        while reading.has_statement(rest)? {
            let length = reading.statement(rest)?;
            rest = rest.get(length..).unwrap_or_default();
        }
        let mut tables: Vec<String> = Vec::new();
        for made in reading.made {
            if !tables.contains(&made.name) {
                tables.push(made.name);
            }
        }
        Ok(tables)
    }

    fn open() -> Result<Self, Why> {
        let mut connection = Connection::open_in_memory()?;
        connection.execute_batch("PRAGMA temp_store = MEMORY")?;
        for (limit, most) in LIMITS {
            connection.set_limit(limit, most)?;
        }
        let own = Arc::new(AtomicBool::new(false));
        let is_own = Arc::clone(&own);
        // Some statements act while they are prepared, on the whole process even (`PRAGMA hard_heap_limit`).
        connection.authorizer(Some(move |context: AuthContext<'_>| match context.action {
            _ if is_own.load(Ordering::Relaxed) => Authorization::Allow,
            AuthAction::Select
            | AuthAction::Read { .. }
            | AuthAction::Function { .. }
            | AuthAction::Recursive => Authorization::Allow,
            _ => Authorization::Deny,
        }))?;
        let steps = Arc::new(AtomicU32::new(0));
        let (taken, is_own) = (Arc::clone(&steps), Arc::clone(&own));
        let too_many = move || {
            !is_own.load(Ordering::Relaxed) && taken.fetch_add(1, Ordering::Relaxed) > MOST_STEPS
        };
        connection.progress_handler(1, Some(too_many))?;
        Ok(Self {
            connection,
            own,
            steps,
            made: Vec::new(),
            left: MOST_PARSED,
        })
    }

    /// Whether there is anything but blanks, comments and semicolons.
    fn has_statement(&mut self, sql: &str) -> Result<bool, Why> {
        self.pay(sql)?;
        Ok(!matches!(
            Batch::new(&self.connection, sql).next(),
            Ok(None)
        ))
    }

    /// Finds the tables of the first statement, and tells where it ends.
    fn statement(&mut self, sql: &str) -> Result<usize, Why> {
        loop {
            self.pay(sql)?;
            let complaint = match Batch::new(&self.connection, sql).next() {
                Ok(Some(statement)) => {
                    let reads = statement.readonly() && statement.column_count() > 0;
                    if !reads || statement.is_explain() != 0 {
                        return Err("its SQL does more than read".into());
                    }
                    break;
                }
                Ok(None) => return Ok(sql.len()),
                Err(error)
                    if error.sqlite_error_code() == Some(ErrorCode::OperationInterrupted) =>
                {
                    return Err("its SQL takes too long to read".into());
                }
                Err(error) => complaint(&error),
            };
            if let Some(missed) = complaint.strip_prefix("no such table: ") {
                self.make(missed)?;
            } else if let Some(column) = not_joined(&complaint) {
                self.join_by(column)?;
            } else if let Some(lacking) = too_narrow(&complaint) {
                self.widen(sql, &lacking)?;
            } else if AFTER_THE_TABLES
                .iter()
                .any(|after| complaint.starts_with(after))
            {
                break;
            } else if complaint.starts_with("not authorized") {
                return Err("its SQL does more than read".into());
            } else {
                let complaint = short(&complaint);
                return Err(Why(format!(
                    "SQLite does not understand its SQL: {complaint}"
                )));
            }
        }
        self.end(sql)
    }

    /// Makes the table that SQLite misses.
    fn make(&mut self, missed: &str) -> Result<(), Why> {
        let known = self.made.iter().position(|made| made.missed == missed);
        let schema = |name: &str| {
            let (schema, name) = name.split_once('.')?;
            let is_one = ["main", "temp"]
                .iter()
                .any(|one| schema.eq_ignore_ascii_case(one));
            is_one.then(|| (schema.to_ascii_lowercase(), name.to_owned()))
        };
        // `main.processes` is that table of that schema, or a quoted name that holds a dot.
        let (schema, name) = match (known, schema(missed)) {
            (None, Some((schema, name))) => (schema, name),
            (None, None) => ("temp".to_owned(), missed.to_owned()),
            (Some(place), Some(_)) if !self.made[place].whole => {
                let made = self.made.remove(place);
                self.change(&format!("DROP TABLE {}", made.place))?;
                ("temp".to_owned(), missed.to_owned())
            }
            (Some(_), _) => {
                return Err(Why(format!(
                    "SQLite does not understand its SQL: no such table: {}",
                    short(missed)
                )));
            }
        };
        if self.made.len() == MOST_TABLES {
            return Err("its SQL reads more than 256 tables".into());
        }
        let made = Made {
            missed: missed.to_owned(),
            place: format!("{schema}.{}", quoted(&name)),
            whole: name == missed,
            name: name.to_ascii_lowercase(),
            columns: vec!["a column".to_owned()],
        };
        self.change(&made.creation())?;
        self.made.push(made);
        Ok(())
    }

    /// Gives every table the column by which two are joined.
    fn join_by(&mut self, column: &str) -> Result<(), Why> {
        let lacks = |made: &Made| {
            !made
                .columns
                .iter()
                .any(|known| known.eq_ignore_ascii_case(column))
        };
        let lacking: Vec<usize> = (0..self.made.len())
            .filter(|place| lacks(&self.made[*place]))
            .collect();
        if lacking.is_empty() {
            let column = short(column);
            return Err(Why(format!(
                "SQLite does not understand its SQL: cannot join using column {column}"
            )));
        }
        for place in lacking {
            self.made[place].columns.push(column.to_owned());
            self.remake(place)?;
        }
        Ok(())
    }

    /// Widens the table whose `*` does not fill a common table expression.
    fn widen(&mut self, sql: &str, lacks: &Lacks) -> Result<(), Why> {
        for place in 0..self.made.len() {
            // How often it counts is seen by one column more.
            let before = self.made[place].columns.len();
            self.fill(place, before + 1)?;
            self.pay(sql)?;
            let now = match Batch::new(&self.connection, sql).next() {
                Ok(_) => return Ok(()),
                Err(error) => too_narrow(&complaint(&error)),
            };
            let Some(now) = now.filter(|now| now.name == lacks.name) else {
                return Ok(());
            };
            let each = now.values.saturating_sub(lacks.values);
            let more = lacks.columns.saturating_sub(lacks.values);
            if each > 0 && more > 0 && more.is_multiple_of(each) {
                return self.fill(place, before + more / each);
            }
            self.fill(place, before)?;
        }
        Err("its SQL names columns that `*` does not fill".into())
    }

    fn fill(&mut self, place: usize, columns: usize) -> Result<(), Why> {
        if columns > MOST_COLUMNS {
            return Err("its SQL has more columns than SQLite".into());
        }
        let made = &mut self.made[place];
        made.columns.truncate(columns);
        let fillers = made.columns.len()..columns;
        made.columns
            .extend(fillers.map(|number| format!("column {number}")));
        self.remake(place)
    }

    fn remake(&mut self, place: usize) -> Result<(), Why> {
        let made = &self.made[place];
        let again = format!("DROP TABLE {}; {}", made.place, made.creation());
        self.change(&again)
    }

    /// Executes a statement of our own.
    fn change(&mut self, sql: &str) -> Result<(), Why> {
        self.pay(sql)?;
        self.own.store(true, Ordering::Relaxed);
        let done = self.connection.execute_batch(sql);
        self.own.store(false, Ordering::Relaxed);
        Ok(done?)
    }

    /// Where the first statement ends: of a view only the text is parsed when it is created, so that SQLite
    /// says it without a look at columns and functions. It is not created, only prepared.
    fn end(&mut self, sql: &str) -> Result<usize, Why> {
        const VIEW: &str = "CREATE TEMP VIEW \"a view\" AS ";
        let body = sql.trim_start_matches(|one: char| one.is_ascii_whitespace() || one == ';');
        let text = format!("{VIEW}{body}");
        self.pay(&text)?;
        self.own.store(true, Ordering::Relaxed);
        let view = Batch::new(&self.connection, &text).next();
        self.own.store(false, Ordering::Relaxed);
        let length = match view {
            Ok(Some(view)) => view.expanded_sql().map(|text| text.len()),
            _ => None,
        };
        match length {
            Some(length) => Ok(sql.len() - body.len() + length - VIEW.len()),
            // No view may have a parameter, nor begin with a comment and a semicolon.
            None => match self.connection.prepare(sql) {
                Err(Error::MultipleStatement) => {
                    Err("SQLite does not tell where its statements end".into())
                }
                _ => Ok(sql.len()),
            },
        }
    }

    /// Counts what is parsed.
    fn pay(&mut self, sql: &str) -> Result<(), Why> {
        let left = self.left.checked_sub(sql.len());
        self.left = left
            .filter(|_| self.steps.load(Ordering::Relaxed) < MOST_STEPS)
            .ok_or("its SQL takes too long to read")?;
        Ok(())
    }
}

impl Made {
    fn creation(&self) -> String {
        let columns: Vec<String> = self.columns.iter().map(|name| quoted(name)).collect();
        format!("CREATE TABLE {} ({})", self.place, columns.join(", "))
    }
}

/// A common table expression whose query has fewer values than it names columns.
struct Lacks {
    name: String,
    values: usize,
    columns: usize,
}

/// `cannot join using column NAME - column not present in both tables`.
fn not_joined(complaint: &str) -> Option<&str> {
    let rest = complaint.strip_prefix("cannot join using column ")?;
    rest.strip_suffix(" - column not present in both tables")
}

/// `table NAME has N values for M columns`.
fn too_narrow(complaint: &str) -> Option<Lacks> {
    let rest = complaint.strip_prefix("table ")?.strip_suffix(" columns")?;
    let (rest, columns) = rest.rsplit_once(" values for ")?;
    let (name, values) = rest.rsplit_once(" has ")?;
    Some(Lacks {
        name: name.to_owned(),
        values: values.parse().ok()?,
        columns: columns.parse().ok()?,
    })
}

/// A name as SQL writes it.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text of others in a sentence: its beginning.
fn short(text: &str) -> String {
    const MOST: usize = 120;
    let mut short: String = text.chars().take(MOST).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}
