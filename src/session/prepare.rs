//! From stdin's bytes to a step that may be dispatched: decode, schema, rendering, allowlist,
//! policy. Nothing here touches the network; `run`, `check` and `dry-run` take this one path.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde_json::{Map, Value};

use crate::allowlist::{AllowlistError, Binder, Origins, Statement};
use crate::exit::Code;
use crate::input::{self, ContextError, DecodeError, Document, MAX_INPUT_BYTES};
use crate::path::Segment;
use crate::policy::{Guards, Policy};
use crate::problem::Problem;
use crate::secret::SecretSources;
use crate::session::failure::Failure;
use crate::step::model::RenderedStep;
use crate::step::render::{ContextIs, SecretUse, Unknown};
use crate::step::{self, Outline, StepError};

/// A step that keeps its schema, whose SQL the allowlist made, and which the operator's policy allows. Only
/// this can be dispatched.
#[derive(Debug)]
pub struct CheckedStep {
    step: RenderedStep,
    statement: Statement,
    guards: Guards,
}

impl CheckedStep {
    /// The step.
    pub fn step(&self) -> &RenderedStep {
        &self.step
    }

    /// The SQL that it is allowed to send.
    pub fn statement(&self) -> &Statement {
        &self.statement
    }

    /// What the policy has accompany it.
    pub fn guards(&self) -> &Guards {
        &self.guards
    }
}

/// What a step's input may draw on beside stdin.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// `--context FILE`.
    pub context: Option<PathBuf>,
    /// `--secrets-dir DIR`.
    pub secrets_dir: Option<PathBuf>,
    /// `--policy FILE`.
    pub policy: Option<PathBuf>,
}

/// Why a step may not be dispatched.
#[derive(Debug)]
pub struct Refused {
    /// The reason.
    pub failure: Failure,
    /// The rendered `target_hosts`, where it came that far.
    pub named: Vec<String>,
}

/// Takes stdin's bytes all the way to a step that may be dispatched.
///
/// # Errors
/// Everything that can be wrong before the network: usage, decode, schema, render, allowlist, policy.
pub fn check(bytes: &[u8], sources: &Sources) -> Result<CheckedStep, Refused> {
    // First: where the operator's policy can't be used, nothing else matters.
    let policy = Policy::of_process(sources.policy.as_deref())?;
    let mut invocation = input::decode(bytes)?;
    if let Some(path) = &sources.context {
        invocation = invocation
            .with_context(&context_bytes(path)?)
            .map_err(|error| context_failure(path, &error))?;
    }
    let secrets = SecretSources::of_process(
        std::mem::take(&mut invocation.secrets),
        sources.secrets_dir.clone(),
    );
    let examined = examine(
        &invocation.step,
        invocation.context.as_ref(),
        ContextIs::Complete,
        SecretUse::Resolve(&secrets),
        &policy,
        &mut policy.registry().binder(),
        SystemTime::now(),
    )?;
    match examined.sql {
        Sql::Final(statement) => Ok(CheckedStep {
            step: examined.step,
            statement,
            guards: examined.guards,
        }),
        Sql::Preview(_) => Err(Failure::new(
            Code::Internal,
            "a complete context left something unknown (a bug)",
        )
        .into()),
    }
}

/// A step that nothing speaks against, as far as it is known.
#[derive(Debug)]
pub struct Examined {
    /// The step.
    pub step: RenderedStep,
    /// The SQL that its template becomes.
    pub sql: Sql,
    /// What the policy wants of its run.
    pub guards: Guards,
    /// What names something that the context does not have; nothing where the context is complete.
    pub unknown: Vec<Unknown>,
}

/// SQL as far as it is known.
#[derive(Debug)]
pub enum Sql {
    /// Every parameter is known.
    Final(Statement),
    /// Some parameters stand in it as the step has them. Never sent.
    Preview(String),
}

impl Sql {
    /// The text.
    pub fn text(&self) -> &str {
        match self {
            Self::Final(statement) => statement.sql(),
            Self::Preview(text) => text,
        }
    }
}

/// The one way of `run`, `check` and `dry-run`: the step's schema, its rendering, the allowlist and the
/// operator's policy. `allowlist` binds the templates of the policy's registry.
///
/// # Errors
/// Schema, render, allowlist, policy: all problems of the first of these that fails.
pub fn examine(
    document: &Document,
    context: Option<&Map<String, Value>>,
    context_is: ContextIs,
    secrets: SecretUse<'_>,
    policy: &Policy,
    allowlist: &mut Binder<'_>,
    now: SystemTime,
) -> Result<Examined, Refused> {
    step::check_written(document)?;
    let named = policy.instance_of(document, secrets)?;
    let Outline { mut step, unknown } =
        step::outline(document, context, context_is, secrets, named)?;
    let parameters = unknown_parameters(&unknown);
    let origins = origins(document, policy);
    let sql = if parameters.is_empty() {
        allowlist
            .bind(&step.template, &origins, now)
            .map(Sql::Final)
    } else {
        let sql = allowlist.preview(&step.template, &parameters, &origins, now);
        sql.map(Sql::Preview)
    };
    let allowed = sql
        .and_then(|sql| Ok((sql, policy.registry().template(&step.template.name)?)))
        .map_err(|error| allowlist_failure(&error, document))
        .and_then(|(sql, template)| {
            let guards = policy.check(&mut step, document, template, secrets)?;
            Ok((sql, guards))
        });
    match allowed {
        Ok((sql, guards)) => Ok(Examined {
            step,
            sql,
            guards,
            unknown,
        }),
        Err(failure) => Err(Refused {
            failure,
            named: step.targets.hosts,
        }),
    }
}

/// Where the values of a step's template come from, and what the policy grants to those that are written in
/// the step.
pub(crate) fn origins(document: &Document, policy: &Policy) -> Origins {
    let from_context = step::render::parameters_from_context(document.value());
    Origins::of_step(from_context.map(str::to_owned), policy.allows_unc_paths())
}

/// The template's parameters among what is unknown.
fn unknown_parameters(unknown: &[Unknown]) -> Vec<&str> {
    let names = unknown.iter();
    let names = names.filter_map(|unknown| match unknown.path.segments() {
        [Segment::Key(_), Segment::Key(field), Segment::Key(name), ..]
            if field == "template_params" =>
        {
            Some(name.as_str())
        }
        _ => None,
    });
    names.collect()
}

/// What the allowlist says of a call in a document.
pub(crate) fn allowlist_problems(error: &AllowlistError, document: &Document) -> Vec<Problem> {
    let problems = error.problems().into_iter();
    problems.map(|problem| placed(problem, document)).collect()
}

/// The content of a context file.
///
/// # Errors
/// `usage`, where it can't be read or is no mapping.
pub(crate) fn read_context(path: &Path) -> Result<Map<String, Value>, Failure> {
    input::decode_context(&context_bytes(path)?)
        .map_err(|error| context_failure(path, &error.into()))
}

fn context_bytes(path: &Path) -> Result<Vec<u8>, Failure> {
    let unusable = |what: &str| {
        Failure::new(
            Code::Usage,
            format!("the context file {} {what}", path.display()),
        )
        .hint("`--context` names a YAML or JSON file with a mapping such as `alert: {…}`")
    };
    let file = File::open(path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => unusable("does not exist"),
        ErrorKind::PermissionDenied => unusable("may not be read by this process"),
        kind => unusable(&format!("can't be opened: {kind}")),
    })?;
    let mut bytes = Vec::new();
    file.take(MAX_INPUT_BYTES as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| unusable(&format!("can't be read: {}", error.kind())))?;
    if bytes.len() > MAX_INPUT_BYTES {
        return Err(unusable("is larger than 4 MiB"));
    }
    Ok(bytes)
}

fn context_failure(path: &Path, error: &ContextError) -> Failure {
    match error {
        ContextError::InvocationHasItsOwn => Failure::new(Code::Usage, error.to_string())
            .hint("leave `--context` out, or give the step alone"),
        ContextError::Decode(decode) => {
            let place = decode.position.map_or(String::new(), |position| {
                format!(" (line {}, column {})", position.line, position.column)
            });
            Failure::new(
                Code::Usage,
                format!(
                    "the context file {}{place}: {}",
                    path.display(),
                    decode.message
                ),
            )
        }
    }
}

fn allowlist_failure(error: &AllowlistError, document: &Document) -> Failure {
    let what = match error {
        AllowlistError::Refused(_) => "the allowlist refuses the step",
        AllowlistError::Template(_) => "the template is broken",
    };
    Failure::of_problems(Code::Allowlist, what, allowlist_problems(error, document))
}

/// Gives a problem of the step the line and column of what its path names.
pub(crate) fn placed(problem: Problem, document: &Document) -> Problem {
    let keys: Vec<&str> = problem.path.split('.').collect();
    let position = document.position_of_value(&crate::path::Path::of(&keys));
    problem.at(position)
}

impl From<Failure> for Refused {
    fn from(failure: Failure) -> Self {
        Self {
            failure,
            named: Vec::new(),
        }
    }
}

impl From<DecodeError> for Refused {
    fn from(error: DecodeError) -> Self {
        let message = match error.position {
            Some(position) => format!(
                "line {}, column {}: {}",
                position.line, position.column, error.message
            ),
            None => error.message.clone(),
        };
        let mut failure = Failure::new(Code::Decode, message);
        failure.hint = error.hint;
        if error.position.is_some() {
            failure.details = vec![Problem::new("", "decode", error.message).at(error.position)];
        }
        failure.into()
    }
}

impl From<StepError> for Refused {
    fn from(error: StepError) -> Self {
        let (code, what) = match &error {
            StepError::Schema(_) => (Code::Schema, "the step breaks its schema"),
            StepError::RawSql(_) => (Code::Allowlist, "the allowlist refuses the step"),
            StepError::Render(_) => (Code::Render, "the step can't be rendered"),
        };
        Failure::of_problems(code, what, error.problems().to_vec()).into()
    }
}
