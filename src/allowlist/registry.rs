//! The set of templates, and the door to them: what is called for by name becomes a [`Statement`] or an
//! error. Only the template that a step names is parsed and checked at run time; parsing and checking
//! all of them is `check_all`, for tests and for those who write templates.

use std::collections::{BTreeMap, HashMap, hash_map};
use std::sync::{LazyLock, OnceLock};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;

use crate::known_servers::Proof;
use crate::nearest::question;
use crate::path::Path;
use crate::problem::{Placed, Problem};
use crate::step::model::TemplateCall;

use super::check;
use super::error::{AllowlistError, TemplateError, alike, listed, shown};
use super::parameter::Bound;
use super::sandbox::{Sandbox, Shape};
use super::template::Template;
use super::unc::Origins;
use super::{Statement, bind, embedded, load, proof};

/// More templates than this are not listed in a message.
const MOST_LISTED: usize = 12;

/// The templates that steps may name.
#[derive(Debug)]
pub struct Registry {
    entries: BTreeMap<String, Entry>,
}

/// A template's text, and the template once it was asked for.
#[derive(Debug)]
struct Entry {
    text: std::borrow::Cow<'static, str>,
    template: OnceLock<Result<Template, TemplateError>>,
}

impl Entry {
    fn template(&self, name: &str) -> Result<&Template, &TemplateError> {
        self.template
            .get_or_init(|| load::load(name, &self.text, unix_seconds(SystemTime::now())))
            .as_ref()
    }
}

impl Registry {
    /// The templates that are built into the program.
    pub fn embedded() -> &'static Self {
        static EMBEDDED: LazyLock<Registry> = LazyLock::new(|| {
            let texts = embedded::TEMPLATES;
            Registry::new(texts.iter().map(|(name, text)| (*name, *text)))
        });
        &EMBEDDED
    }

    /// A registry of templates by the names of their files (without `.yaml`) and their texts. Nothing is
    /// read yet: what is wrong with a template shows when it is called for, or by [`Self::check_all`].
    pub fn new<Text: Into<std::borrow::Cow<'static, str>>>(
        texts: impl IntoIterator<Item = (impl Into<String>, Text)>,
    ) -> Self {
        let entry = |text: Text| Entry {
            text: text.into(),
            template: OnceLock::new(),
        };
        let entries = texts
            .into_iter()
            .map(|(name, text)| (name.into(), entry(text)))
            .collect();
        Self { entries }
    }

    /// The built-in templates and others beside them; whose names differ is the caller's to see to: a
    /// built-in one is never replaced.
    pub fn with_own(own: impl IntoIterator<Item = (String, String)>) -> Self {
        let own = own.into_iter().map(|(name, text)| (name, text.into()));
        let embedded = embedded::TEMPLATES
            .iter()
            .map(|(name, text)| ((*name).to_owned(), std::borrow::Cow::Borrowed(*text)));
        Self::new(own.chain(embedded))
    }

    /// The names of all templates, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// All templates whose files can be read, in order of their names.
    pub fn templates(&self) -> impl Iterator<Item = &Template> {
        self.entries
            .iter()
            .filter_map(|(name, entry)| entry.template(name).ok())
    }

    /// The template of that name.
    ///
    /// # Errors
    /// Where there is none, or its file is not a template.
    pub fn template(&self, name: &str) -> Result<&Template, AllowlistError> {
        match self.entries.get(name) {
            Some(entry) => Ok(entry.template(name).map_err(Clone::clone)?),
            None => Err(AllowlistError::Refused(vec![self.unknown_template(name)])),
        }
    }

    /// The columns of a template's rows.
    ///
    /// # Errors
    /// What is wrong with the template.
    pub fn columns(&self, template: &Template) -> Result<Vec<String>, TemplateError> {
        let sandbox = Sandbox::open(template)
            .map_err(|error| broken(template, vec![check::unopened(&error).into()]))?;
        let (statement, _) = sandbox.prepare(&template.sql).map_err(|invalid| {
            let message = format!("`sql` {}", invalid.reason);
            broken(template, vec![Problem::new("sql", "sql", message)])
        })?;
        Ok(statement.column_names().map(str::to_owned).collect())
    }

    /// Reads every template and has SQLite check it, at the edges of its parameters too.
    ///
    /// # Errors
    /// One for each template that is not right.
    pub fn check_all(&self, now: SystemTime) -> Result<(), Vec<TemplateError>> {
        let now = unix_seconds(now);
        let wrong: Vec<TemplateError> = self
            .entries
            .iter()
            .filter_map(|(name, entry)| {
                let template = entry.template(name).map_err(Clone::clone);
                template.and_then(|template| check_one(template, now)).err()
            })
            .collect();
        if wrong.is_empty() { Ok(()) } else { Err(wrong) }
    }

    /// The statement that a call of a template becomes, whoever gave its values; `now` is what ages count
    /// back from.
    ///
    /// # Errors
    /// Everything that is wrong with the call at once; or what is wrong with the template.
    pub fn bind(&self, call: &TemplateCall, now: SystemTime) -> Result<Statement, AllowlistError> {
        let asking = Asking {
            origins: &Origins::unknown(),
            now,
            proof: Proof::Itself,
        };
        self.binder().bind(call, &asking)
    }

    /// Why a template can't be asked for through servers that prove so much, as the end of a sentence that
    /// begins with "it"; `None` where it can.
    pub fn unprovable(&self, template: &Template, proof: Proof) -> Option<String> {
        match proof {
            Proof::Itself => None,
            Proof::Marker => {
                let sandbox = Sandbox::open(template).ok()?;
                // One that is broken goes nowhere at all.
                sandbox.prepare(&template.sql).ok()?;
                proof::prove(&sandbox, &template.sql).err()
            }
        }
    }

    /// The same for many calls: each template is checked once.
    pub fn binder(&self) -> Binder<'_> {
        Binder {
            registry: self,
            checked: HashMap::new(),
        }
    }

    fn unknown_template(&self, name: &str) -> Problem {
        let message = match (shown(name), question(name, self.names())) {
            (Some(name), Some(question)) => format!(
                "unknown template `{name}`: {question} {}",
                capitalized(&self.all())
            ),
            (Some(name), None) => match alike(name, self.names()).as_slice() {
                [] => format!("unknown template `{name}`; {}", self.all()),
                alike => format!(
                    "unknown template `{name}`; like it are {}; {}",
                    listed(alike.iter().copied()),
                    self.all()
                ),
            },
            (None, _) => format!("`template` must name a template; {}", self.all()),
        };
        Problem::new("params.template", "unknown_template", message)
    }

    /// All templates in a sentence, or how to see them where they are many.
    fn all(&self) -> String {
        match self.entries.len() {
            0 => "there are no templates".to_owned(),
            1..=MOST_LISTED => format!("the templates are {}", listed(self.names())),
            count => format!("`osquery-live-query templates` lists all {count}"),
        }
    }
}

/// A sentence's first letter in upper case, unless it is code.
fn capitalized(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_ascii_uppercase().to_string() + letters.as_str()
    })
}

/// What a call is bound for, beside its own values.
#[derive(Debug, Clone, Copy)]
pub struct Asking<'a> {
    /// Where the values came from.
    pub origins: &'a Origins,
    /// What ages count back from.
    pub now: SystemTime,
    /// What an answer without rows proves at the server that is asked.
    pub proof: Proof,
}

/// Binds calls, and keeps the templates that it has checked.
pub struct Binder<'a> {
    registry: &'a Registry,
    checked: HashMap<&'a str, Checked<'a>>,
}

/// A template with the database that its SQL was prepared in, and what it does.
struct Checked<'a> {
    template: &'a Template,
    sandbox: Sandbox,
    shape: Shape,
}

impl std::fmt::Debug for Binder<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut names: Vec<&&str> = self.checked.keys().collect();
        names.sort();
        formatter.debug_tuple("Binder").field(&names).finish()
    }
}

impl<'a> Binder<'a> {
    /// The statement that a step's call of a template becomes.
    ///
    /// # Errors
    /// Everything that is wrong with the call at once; or what is wrong with the template.
    pub fn bind(
        &mut self,
        call: &TemplateCall,
        asking: &Asking<'_>,
    ) -> Result<Statement, AllowlistError> {
        let (checked, values) = self.values(call, &[], asking)?;
        let Checked {
            template,
            sandbox,
            shape,
        } = checked;
        bind::bind(template, sandbox, shape, &values, asking.proof).map_err(|reason| {
            let message = format!(
                "template `{}` cannot be bound: {reason}",
                checked.template.name
            );
            AllowlistError::Refused(vec![Problem::new(
                "params.template_params",
                "binding",
                message,
            )])
        })
    }

    /// The SQL of a call that is not wholly known yet, for people to read: the parameters in `unknown`
    /// stand in it as the step has them, all others as [`Binder::bind`] writes them.
    ///
    /// # Errors
    /// What is wrong with the call as far as it is known; or what is wrong with the template.
    pub fn preview(
        &mut self,
        call: &TemplateCall,
        unknown: &[&str],
        asking: &Asking<'_>,
    ) -> Result<String, AllowlistError> {
        let (checked, values) = self.values(call, unknown, asking)?;
        let Checked {
            template, sandbox, ..
        } = checked;
        bind::preview(template, sandbox, &values, unknown, asking.proof)
            .map_err(|reason| broken(checked.template, vec![Problem::new("sql", "sql", reason)]))
            .map_err(AllowlistError::from)
    }

    fn values(
        &mut self,
        call: &TemplateCall,
        unknown: &[&str],
        asking: &Asking<'_>,
    ) -> Result<(&Checked<'a>, BTreeMap<&'a str, Bound>), AllowlistError> {
        let registry = self.registry;
        let mut problems: Vec<Problem> = Vec::new();
        let Some((name, entry)) = registry.entries.get_key_value(&call.name) else {
            let unknown = registry.unknown_template(&call.name);
            return Err(AllowlistError::Refused(vec![unknown]));
        };
        let template = entry.template(name).map_err(Clone::clone)?;
        let now = unix_seconds(asking.now);
        let values = values(template, call, unknown, asking.origins, now, &mut problems);
        if !problems.is_empty() {
            return Err(AllowlistError::Refused(problems));
        }
        let checked = match self.checked.entry(name) {
            hash_map::Entry::Occupied(known) => known.into_mut(),
            hash_map::Entry::Vacant(place) => {
                let sandbox = Sandbox::open(template)
                    .map_err(|error| broken(template, vec![check::unopened(&error).into()]))?;
                let shape = check::check(template, &sandbox).map_err(|flaws| {
                    broken(template, flaws.into_iter().map(Problem::from).collect())
                })?;
                place.insert(Checked {
                    template,
                    sandbox,
                    shape,
                })
            }
        };
        // Asked only where it is wanted: it has SQLite read the statement twice more.
        if asking.proof == Proof::Marker
            && let Err(reason) = proof::prove(&checked.sandbox, &template.sql)
        {
            let message = format!(
                "template `{}` can't be asked for through this server, which drops hosts' errors: it {reason}",
                template.name
            );
            let problem = Problem::new("params.template", "unprovable", message);
            return Err(AllowlistError::Refused(vec![problem]));
        }
        Ok((checked, values))
    }
}

fn broken(template: &Template, problems: Vec<Problem>) -> TemplateError {
    TemplateError {
        label: format!("`{}`", template.name),
        problems: problems.into_iter().map(Placed::from).collect(),
    }
}

/// The values of a call by parameter; what is wrong with them goes to `problems`. A parameter in `unknown`
/// stands for itself.
fn values<'a>(
    template: &'a Template,
    call: &TemplateCall,
    unknown: &[&str],
    origins: &Origins,
    now: i64,
    problems: &mut Vec<Problem>,
) -> BTreeMap<&'a str, Bound> {
    let path = |name: &str| Path::of(&["params", "template_params", name]);
    for name in call.params.keys() {
        if !template.parameters.contains_key(name) {
            problems.push(unknown_parameter(template, name));
        }
    }
    let mut values = BTreeMap::new();
    for (name, parameter) in &template.parameters {
        let default = parameter.default.as_deref().map(Value::from);
        let Some(given) = call.params.get(name).or(default.as_ref()) else {
            let message = format!(
                "template `{}` needs the parameter `{name}`: {}",
                template.name,
                parameter.kind.expectation()
            );
            problems.push(Problem::new(path(name), "missing_parameter", message));
            continue;
        };
        if unknown.contains(&name.as_str()) {
            values.insert(name.as_str(), Bound::Text(placeholder(given)));
            continue;
        }
        let accepted = parameter.kind.accept(given, now).and_then(|value| {
            // A default is the word of the template's author, who is the operator.
            let given_by_step = call.params.contains_key(name);
            match &value {
                Bound::Text(text) if given_by_step && parameter.kind.is_opened() => {
                    origins.judge(name, text).map(|()| value)
                }
                _ => Ok(value),
            }
        });
        match accepted {
            Ok(value) => {
                values.insert(name.as_str(), value);
            }
            Err(refusal) => {
                let message = format!("parameter `{name}` {}", refusal.reason);
                problems.push(Problem::new(path(name), refusal.rule, message));
            }
        }
    }
    values
}

/// What a step says in place of a value that is not known yet, on one line.
fn placeholder(given: &Value) -> String {
    let text = match given {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    text.replace(char::is_control, " ")
}

fn unknown_parameter(template: &Template, name: &str) -> Problem {
    let parameters = || template.parameters.keys().map(String::as_str);
    let known = if template.parameters.is_empty() {
        "it takes none".to_owned()
    } else {
        format!("it takes {}", listed(parameters()))
    };
    let of = format!("of template `{}`", template.name);
    let (path, message) = match (shown(name), question(name, parameters())) {
        (Some(name), Some(question)) => (
            Path::of(&["params", "template_params", name]),
            format!("unknown parameter `{name}` {of}: {question}"),
        ),
        (Some(name), None) => (
            Path::of(&["params", "template_params", name]),
            format!("unknown parameter `{name}` {of}: {known}"),
        ),
        (None, _) => (
            Path::of(&["params", "template_params"]),
            format!("unknown parameter {of}, with a name that is no plain word: {known}"),
        ),
    };
    Problem::new(path, "unknown_parameter", message)
}

/// The check of one template as an error of the template.
fn check_one(template: &Template, now: i64) -> Result<(), TemplateError> {
    check::at_its_edges(template, now).map_err(|flaws| TemplateError {
        label: format!("`{}`", template.name),
        problems: flaws.into_iter().map(|flaw| flaw.problem.into()).collect(),
    })
}

/// Unix seconds; a clock before 1970 counts as 1970.
pub(super) fn unix_seconds(time: SystemTime) -> i64 {
    time.duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|since| i64::try_from(since.as_secs()).ok())
        .unwrap_or_default()
}
