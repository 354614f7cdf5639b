//! A connector: what `collect` polls, as it is written and as the rest of the program works with it. Where the
//! server is and how to get in is said as in a step, so what a step and the policy know of that is asked of
//! them; nothing else of a connector takes an expression.

mod words;

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::known_servers::{KnownServer, Stream};
use crate::path::{Path, Segment};
use crate::problem::Problem;
use crate::secret::Secret;
use crate::severity::Severity;
use crate::step::model::{Asked, NamedServer, Server};
use crate::step::render::{ContextIs, SecretUse, render};
use crate::step::{self, holds_expression, whole_number_of};

pub use words::violations;

/// `timeout_seconds` of a connector that names none.
const DEFAULT_TIMEOUT_SECONDS: u64 = 120;
/// `since_seconds` of one that names none.
const DEFAULT_SINCE_SECONDS: u64 = 300;
/// The fields that a secret goes into.
const CREDENTIALS: [&str; 3] = ["api_token", "username", "password"];

/// What is polled.
#[derive(Debug, Clone)]
pub struct Connector {
    /// Which server, and how to reach it.
    pub server: Server,
    /// Only this team's hosts and queries.
    pub team: Option<u64>,
    /// What is polled, each once.
    pub streams: Vec<Stream>,
    /// Which queries; all, where it is empty.
    pub queries: Vec<Glob>,
    /// Which rows become events.
    pub rows: RowsWanted,
    /// How far back a poll without a state looks.
    pub since: Duration,
    /// The one deadline, counted from the start of the process.
    pub timeout: Asked<Duration>,
    /// Queries that the server hides, too.
    pub include_hidden: bool,
    /// Severities of rows by table, over the built-in ones.
    pub severities: BTreeMap<String, Severity>,
    /// What its author should know although it works.
    pub warnings: Vec<Problem>,
    /// What is to be masked in everything that is shown.
    pub secrets: Vec<Secret>,
}

/// Which rows of a result become events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowsWanted {
    /// Those that were not in the host's result before.
    New,
    /// Those, and that one is gone.
    Changes,
    /// All of each new result.
    All,
}

/// A name, with a `*` at either end perhaps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glob(String);

impl Glob {
    /// Whether it means this name.
    pub fn fits(&self, name: &str) -> bool {
        let front = self.0.strip_prefix('*');
        let rest = front.unwrap_or(&self.0);
        match (front.is_some(), rest.strip_suffix('*')) {
            (false, None) => name == rest,
            (false, Some(start)) => name.starts_with(start),
            (true, None) => name.ends_with(rest),
            (true, Some(middle)) => name.contains(middle),
        }
    }

    /// As it is written.
    pub fn text(&self) -> &str {
        &self.0
    }
}

/// The connector as a step's `params`, as far as both say the same: which server and how to get in.
pub fn as_step(written: &Value) -> Value {
    let mut params = Map::new();
    for (key, value) in written.as_object().into_iter().flatten() {
        let key = match key.as_str() {
            "connector" => "backend",
            key => key,
        };
        params.insert(key.to_owned(), value.clone());
    }
    Value::Object(Map::from_iter([(
        "params".to_owned(),
        Value::Object(params),
    )]))
}

/// What was said of [`as_step`], said of the connector.
pub fn said_of_connector(problem: Problem) -> Problem {
    let mut path = Path::default();
    for (at, segment) in problem.path.segments().iter().enumerate() {
        path = match segment {
            Segment::Key(key) if at == 0 && key == "params" => path,
            Segment::Key(key) if key == "backend" => path.key("connector"),
            segment => path.with(segment.clone()),
        };
    }
    let message = problem
        .message
        .replace("`params.", "`")
        .replace("`backend`", "`connector`")
        .replace("in the step", "in the configuration")
        .replace(
            "available only to steps that",
            "available only to those that",
        );
    Problem {
        path,
        message,
        ..problem
    }
}

/// A connector whose secrets were looked up, as far as that was possible.
pub struct Rendered {
    credentials: BTreeMap<&'static str, step::render::Credential>,
    /// Everything that could not be rendered.
    pub problems: Vec<Problem>,
    warnings: Vec<Problem>,
}

/// Looks up the secrets of a connector that writes its own address.
pub fn rendered(written: &Value, secrets: SecretUse<'_>) -> Rendered {
    let step = as_step(written);
    let params = step.get("params").and_then(Value::as_object);
    let credentials = params.into_iter().flatten();
    let credentials = credentials
        .filter(|(key, _)| CREDENTIALS.contains(&key.as_str()))
        .map(|(key, value)| (key.clone(), value.clone()));
    let params = Value::Object(credentials.collect());
    let step = Value::Object(Map::from_iter([("params".to_owned(), params)]));
    let rendering = render(&step, None, ContextIs::Complete, secrets);
    let said = |problems: Vec<Problem>| problems.into_iter().map(said_of_connector);
    let mut problems = Vec::new();
    for (key, value) in written.as_object().into_iter().flatten() {
        if !CREDENTIALS.contains(&key.as_str()) {
            no_expression(&Path::default().key(key), value, &mut problems);
        }
    }
    problems.extend(said(rendering.problems));
    Rendered {
        credentials: rendering.credentials,
        problems,
        warnings: said(rendering.warnings).collect(),
    }
}

/// What is polled is written down, not chosen by a context.
fn no_expression(path: &Path, value: &Value, problems: &mut Vec<Problem>) {
    match value {
        Value::String(text) if holds_expression(text) => {
            let message = format!(
                "`{}` takes no expression: only `api_token`, `username` and `password` do, and there only `{{{{ secrets.NAME }}}}`",
                path.subject()
            );
            problems.push(Problem::new(path, "context_field", message));
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                no_expression(&path.index(index), item, problems);
            }
        }
        Value::Object(entries) => {
            for (key, item) in entries {
                no_expression(&path.key(key), item, problems);
            }
        }
        _ => {}
    }
}

/// The connector as types; `named` is the server of its instance, where it names one. It keeps its schema and
/// is rendered.
///
/// # Errors
/// Where the server of an instance has not got what is to be polled; else only where the schema would let
/// something pass that has no type here, which is a bug.
pub fn typed(
    written: &Value,
    rendered: Rendered,
    named: Option<NamedServer>,
) -> Result<Connector, Problem> {
    let fields = Fields(written);
    let mut warnings = rendered.warnings;
    let reached = step::reach(&as_step(written), &rendered.credentials, named);
    let reached = reached.map_err(said_of_connector)?;
    warnings.extend(reached.warnings.into_iter().map(said_of_connector));
    let server = reached.server;
    if reached.instance.is_some() {
        fields.fit(server.access.known())?;
    }
    let streams = fields.streams(server.access.known())?;
    Ok(Connector {
        team: fields.number("team_id")?,
        streams,
        queries: fields.texts("queries").map(Glob).collect(),
        rows: match fields.text("rows") {
            None | Some("new") => RowsWanted::New,
            Some("changes") => RowsWanted::Changes,
            Some("all") => RowsWanted::All,
            Some(_) => return Err(fault("rows")),
        },
        since: Duration::from_secs(
            fields
                .number("since_seconds")?
                .unwrap_or(DEFAULT_SINCE_SECONDS),
        ),
        timeout: fields.timeout()?,
        include_hidden: fields.flag("include_hidden").unwrap_or(false),
        severities: fields.severities()?,
        server,
        warnings,
        secrets: reached.secrets,
    })
}

fn fault(field: &str) -> Problem {
    Problem::new(
        Path::of(&[field]),
        "schema",
        format!("`{field}` passed the connector's schema, but can't be read (a bug)"),
    )
}

/// The keys of a connector.
struct Fields<'a>(&'a Value);

impl<'a> Fields<'a> {
    fn text(&self, field: &str) -> Option<&'a str> {
        self.0.get(field)?.as_str()
    }

    fn flag(&self, field: &str) -> Option<bool> {
        self.0.get(field)?.as_bool()
    }

    fn texts(&self, field: &str) -> impl Iterator<Item = String> + use<'a> {
        let items = self.0.get(field).and_then(Value::as_array);
        let items = items.into_iter().flatten().filter_map(Value::as_str);
        items.map(str::to_owned)
    }

    fn number(&self, field: &str) -> Result<Option<u64>, Problem> {
        let Some(value) = self.0.get(field) else {
            return Ok(None);
        };
        whole_number_of(value).map(Some).ok_or_else(|| fault(field))
    }

    fn timeout(&self) -> Result<Asked<Duration>, Problem> {
        let written = self.number("timeout_seconds")?;
        Ok(Asked {
            value: Duration::from_secs(written.unwrap_or(DEFAULT_TIMEOUT_SECONDS)),
            written: written.is_some(),
        })
    }

    /// No field is there that this server does not take: the schema does not know an instance's server.
    fn fit(&self, known: &KnownServer) -> Result<(), Problem> {
        for field in self.0.as_object().into_iter().flat_map(Map::keys) {
            if let Some(lacks) = known.lacks_in_polls(field) {
                return Err(Problem::new(Path::of(&[field]), "not", lacks));
            }
        }
        Ok(())
    }

    fn streams(&self, known: &KnownServer) -> Result<Vec<Stream>, Problem> {
        let mut wanted = Vec::new();
        for (index, name) in self.texts("streams").enumerate() {
            let stream = Stream::named(&name).ok_or_else(|| fault("streams"))?;
            if !known.collects.streams.contains(&stream) {
                let message = words::no_stream(known, stream);
                let path = Path::of(&["streams"]).index(index);
                return Err(Problem::new(path, "enum", message));
            }
            wanted.push(stream);
        }
        if wanted.is_empty() {
            wanted.extend(known.collects.streams);
        }
        if wanted.is_empty() {
            let message = format!("{} has nothing that `collect` can poll", known.title);
            return Err(Problem::new(Path::of(&["connector"]), "enum", message));
        }
        Ok(wanted)
    }

    fn severities(&self) -> Result<BTreeMap<String, Severity>, Problem> {
        let written = self.0.get("severity_overrides").and_then(Value::as_object);
        let named = |name: &str| Severity::ALL.into_iter().find(|it| it.name() == name);
        let read = |(table, severity): (&String, &Value)| {
            let severity = severity.as_str().and_then(named);
            let severity = severity.ok_or_else(|| fault("severity_overrides"))?;
            Ok((table.to_lowercase(), severity))
        };
        written.into_iter().flatten().map(read).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_at_either_end() {
        for (glob, fits, not) in [
            ("startup items", "startup items", "startup items 2"),
            ("startup*", "startup items", "my startup items"),
            ("*items", "startup items", "items of startup"),
            ("*up*", "startup items", "items"),
        ] {
            let glob = Glob(glob.to_owned());
            assert!(glob.fits(fits) && !glob.fits(not), "{glob:?}");
        }
        assert!(Glob("*".to_owned()).fits("") && Glob("**".to_owned()).fits("a"));
    }
}
