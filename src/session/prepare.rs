//! From stdin's bytes to a step that may be dispatched: decode, schema, rendering, allowlist,
//! policy. Nothing here touches the network; `run`, `check` and `dry-run` take this one path.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde_json::{Map, Value};

use crate::allowlist::{AllowlistError, Asking, Binder, Origins, Statement};
use crate::bug::Bug;
use crate::campaign::Limits;
use crate::input::{self, Document, Invocation, MAX_INPUT_BYTES};
use crate::known_servers::Proof;
use crate::memory;
use crate::path::Path as Place;
use crate::policy::{Grant, Policy};
use crate::problem::{Placed, Problem};
use crate::regular_file::{self, Links};
use crate::secret::SecretSources;
use crate::session::earlier::{Earlier, Resumed};
use crate::session::failure::{Detail, Failure, Objection};
use crate::session::run::AskedFor;
use crate::step;
use crate::step::model::{RenderedStep, TemplateCall};
use crate::step::render::{ContextIs, SecretUse, Unknown, render};
use crate::step::schema::{Stage, violations};

/// A byte of input takes no more than so many of memory while it is decoded and checked: 4 MiB of the
/// shortest YAML took 81 MB.
const DECODED: usize = 24;

/// A step that keeps its schema, whose SQL the allowlist made, and which the operator's policy allows. Only
/// this can be dispatched.
#[derive(Debug)]
pub struct CheckedStep {
    step: RenderedStep,
    statement: Statement,
    grant: Grant,
    as_of: SystemTime,
    resumed: Option<Resumed>,
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

    /// How much may come back, and from how many.
    pub fn limits(&self) -> &Limits {
        &self.grant.limits
    }

    /// The one deadline, counted from the start of the process.
    pub fn timeout(&self) -> Duration {
        self.grant.timeout
    }

    /// What ages in the parameters count back from: the SQL holds the moments.
    pub fn as_of(&self) -> SystemTime {
        self.as_of
    }

    /// The id of the earlier run that it goes on with.
    pub fn resumes(&self) -> Option<&str> {
        self.resumed.as_ref().map(|resumed| resumed.run.as_str())
    }

    /// What the earlier run brought.
    pub(crate) fn take_resumed(&mut self) -> Option<Resumed> {
        self.resumed.take()
    }

    /// What the policy has accompany it.
    pub fn grant(&self) -> &Grant {
        &self.grant
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
    /// `--resume FILE`.
    pub resume: Option<PathBuf>,
}

/// Why a step may not be dispatched.
#[derive(Debug)]
pub struct Refused {
    /// The reason.
    pub failure: Failure,
    /// The rendered `target_hosts`, where it came that far.
    pub named: Vec<String>,
    /// What it asks for, where that is known.
    pub(crate) asked: Box<AskedFor>,
}

/// Takes stdin's bytes all the way to a step that may be dispatched.
///
/// # Errors
/// Everything that can be wrong before the network: usage, decode, schema, render, allowlist, policy.
pub fn prepare(bytes: &[u8], sources: &Sources) -> Result<CheckedStep, Refused> {
    // First: where the operator's policy can't be used, nothing else matters.
    let policy = Policy::of_process(sources.policy.as_deref())?;
    let room = |bytes: &[u8], what| {
        let refused = |refused| Failure::no_memory(what, refused);
        memory::asked(bytes.len().saturating_mul(DECODED)).map_err(refused)
    };
    room(bytes, "reading the step")?;
    let mut invocation = input::decode(bytes)?;
    if let Some(path) = &sources.context {
        let bytes = context_bytes(path)?;
        room(&bytes, "reading the context")?;
        invocation = invocation
            .with_context(&bytes)
            .map_err(|error| Failure::of_context(path, &error))?;
    }
    let earlier = match &sources.resume {
        Some(path) => Some((path.as_path(), Earlier::read(path)?)),
        None => None,
    };
    checked(invocation, &policy, earlier, sources.secrets_dir.clone())
}

/// The same under a policy that is held already, of a step that a program has made; `resumes` is the document
/// of an earlier run of this process, with its id.
///
/// # Errors
/// As [`prepare`].
pub(crate) fn prepare_under(
    policy: &Policy,
    step: &Value,
    resumes: Option<(&str, &str)>,
) -> Result<CheckedStep, Refused> {
    let invocation = input::decode(step.to_string().as_bytes())?;
    let earlier = match resumes {
        Some((run, document)) => Some((Path::new(run), Earlier::of_text(run, document)?)),
        None => None,
    };
    checked(invocation, policy, earlier, None)
}

/// From an invocation to a step that may be dispatched.
fn checked(
    mut invocation: Invocation,
    policy: &Policy,
    earlier: Option<(&Path, Earlier)>,
    secrets_dir: Option<PathBuf>,
) -> Result<CheckedStep, Refused> {
    let as_of = match &earlier {
        Some((_, earlier)) => earlier.as_of(),
        None => SystemTime::now(),
    };
    let secrets = SecretSources::of_process(std::mem::take(&mut invocation.secrets), secrets_dir);
    let inquiry = Inquiry {
        step: &invocation.step,
        context: invocation.context.as_ref(),
        context_is: ContextIs::Complete,
        secrets: SecretUse::Resolve(&secrets),
        policy,
        now: as_of,
    };
    let Passed { step, sql, grant } = examine(&inquiry, &mut policy.registry().binder()).verdict?;
    match sql {
        Sql::Final(statement) => {
            let keep = grant.limits.keep();
            let resumed =
                earlier.map(|(path, earlier)| earlier.resumed(path, &step, &statement, keep));
            Ok(CheckedStep {
                resumed: resumed.transpose()?,
                step,
                statement,
                grant,
                as_of,
            })
        }
        Sql::Preview(_) => {
            let bug = Bug::that("a complete context left something unknown");
            Err(Failure::from(bug).into())
        }
    }
}

/// A step, and what it is examined with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Inquiry<'a> {
    /// As it is written.
    pub step: &'a Document,
    /// What its expressions may name.
    pub context: Option<&'a Map<String, Value>>,
    /// Whether that is all that there will be.
    pub context_is: ContextIs,
    /// Where its secrets come from.
    pub secrets: SecretUse<'a>,
    /// The operator's word.
    pub policy: &'a Policy,
    /// What ages count back from.
    pub now: SystemTime,
}

/// What all stages have to say of a step.
#[derive(Debug)]
pub(crate) struct Examination {
    /// Whether anything speaks against it: then its first stage's failure, with the problems of all.
    pub verdict: Result<Passed, Refused>,
    /// What its author should know although it works.
    pub warnings: Vec<Placed>,
    /// What names something that the context does not have; nothing where the context is complete.
    pub unknown: Vec<Unknown>,
}

/// A step that nothing speaks against, as far as it is known.
#[derive(Debug)]
pub(crate) struct Passed {
    /// The step.
    pub step: RenderedStep,
    /// The SQL that its template becomes.
    pub sql: Sql,
    /// What the policy grants it.
    pub grant: Grant,
}

/// SQL as far as it is known.
#[derive(Debug)]
pub(crate) enum Sql {
    /// Every parameter is known.
    Final(Statement),
    /// Some parameters stand in it as the step has them. Never sent.
    Preview(String),
}

impl Sql {
    /// The text.
    pub(crate) fn text(&self) -> &str {
        match self {
            Self::Final(statement) => statement.sql(),
            Self::Preview(text) => text,
        }
    }
}

/// The one way of `run`, `check` and `dry-run`: the step's schema, its rendering, the allowlist and the
/// operator's policy. A stage that objects does not stop those behind it: what they find is told, too, as
/// far as it can be known. `allowlist` binds the templates of the policy's registry.
pub(crate) fn examine(inquiry: &Inquiry<'_>, allowlist: &mut Binder<'_>) -> Examination {
    let (policy, written) = (inquiry.policy, inquiry.step.value());
    let mut objections = Objections::default();
    objections.add(Objection::Schema, violations(written, Stage::Written));
    let refused = |problems| Objection::Allowlist(AllowlistError::Refused(problems));
    objections.add(refused, step::offered_sql(written));
    // Where the policy objects, no secret is looked up.
    let (named, secrets) = match policy.instance_of(written, inquiry.secrets) {
        Ok(named) => (named, inquiry.secrets),
        Err(error) => {
            objections.push(Objection::Policy(error));
            (None, SecretUse::CheckFormOnly)
        }
    };
    let mut rendering = render(written, inquiry.context, inquiry.context_is, secrets);
    let mut unrendered = std::mem::take(&mut rendering.problems);
    let unknown = std::mem::take(&mut rendering.unknown);
    let open = std::mem::take(&mut rendering.open_parameters);
    let open: Vec<&str> = open.iter().map(String::as_str).collect();
    if objections.0.is_empty() {
        // What could not be rendered yet is still without a type.
        let stage = match unknown.is_empty() && unrendered.is_empty() {
            true => Stage::Rendered,
            false => Stage::Written,
        };
        let broken = violations(&rendering.step, stage);
        objections.add(Objection::Render, std::mem::take(&mut unrendered));
        objections.add(Objection::Schema, broken);
    }
    objections.add(Objection::Render, unrendered);
    let mut warnings = rendering.warnings.clone();
    warnings.extend(step::insecure(&rendering.step));
    let (mut typed, mut sketch) = (None, None);
    if !objections.0.is_empty() {
        sketch = Some(step::sketch(&rendering.step));
    } else {
        match step::typed(rendering, named) {
            Ok(step) => {
                warnings.clone_from(&step.warnings);
                typed = Some(step);
            }
            Err(problem) => objections.push(Objection::Schema(vec![problem])),
        }
    }
    let sketched = sketch.as_ref().and_then(|sketch| sketch.call.as_ref());
    let sketched = sketched.filter(|call| is_named(call));
    let call = typed.as_ref().map(|step| &step.template).or(sketched);
    let template = call.and_then(|call| policy.registry().template(&call.name).ok());
    let origins = origins(written, policy);
    let server = typed.as_ref().map(|step| step.server.access.known());
    let asking = Asking {
        origins: &origins,
        now: inquiry.now,
        proof: server
            .or_else(|| step::server(written))
            .map_or(Proof::Itself, |known| known.proof),
    };
    let named_template = call.map(|call| call.name.clone());
    let sql = call.map(|call| match open.is_empty() {
        true => allowlist.bind(call, &asking).map(Sql::Final),
        false => allowlist.preview(call, &open, &asking).map(Sql::Preview),
    });
    let sql = sql.and_then(|sql| {
        sql.map_err(|error| objections.push(Objection::Allowlist(error)))
            .ok()
    });
    let granted = match (&typed, &sketch, template) {
        (Some(step), _, Some(template)) => policy.grant(step, written, template, secrets).map(Some),
        (Some(step), ..) => policy
            .foresee(step.own_address(), &step.limits, None)
            .map(|()| None),
        (None, Some(sketch), template) => policy
            .foresee(sketch.own_address(), &sketch.limits, template)
            .map(|()| None),
        (None, None, _) => Ok(None),
    };
    let grant = granted.unwrap_or_else(|error| {
        objections.push(Objection::Policy(error));
        None
    });
    let verdict = match (typed, sql, grant, objections.0.is_empty()) {
        (Some(step), Some(sql), Some(grant), true) => Ok(Passed { step, sql, grant }),
        (typed, sql, ..) => {
            let statement = match sql {
                Some(Sql::Final(statement)) => Some(statement.sql().to_owned()),
                _ => None,
            };
            Err(Refused {
                failure: objections.failure(inquiry.step),
                asked: Box::new(AskedFor {
                    step: written.get("id").and_then(Value::as_str).map(str::to_owned),
                    template: named_template,
                    // What was refused is not repeated: an alert may have brought it.
                    parameters: typed
                        .as_ref()
                        .filter(|_| statement.is_some())
                        .map(|step| step.template.params.clone()),
                    sql: statement,
                    ..AskedFor::default()
                }),
                named: typed.map(|step| step.targets.written()).unwrap_or_default(),
            })
        }
    };
    Examination {
        verdict,
        warnings: inquiry.step.placed(warnings),
        unknown,
    }
}

/// Where the values of a step's template come from, and what the policy grants to those that are written in
/// the step.
fn origins(written: &Value, policy: &Policy) -> Origins {
    let from_context = step::render::parameters_from_context(written);
    Origins::of_step(from_context.map(str::to_owned), policy.allows_unc_paths())
}

/// Whether a step that is not rendered names a template at all.
fn is_named(call: &TemplateCall) -> bool {
    !call.name.trim().is_empty() && !call.name.contains("{{")
}

/// What the stages have against a step, in their order.
#[derive(Debug, Default)]
struct Objections(Vec<Objection>);

impl Objections {
    fn add(&mut self, objection: impl FnOnce(Vec<Problem>) -> Objection, problems: Vec<Problem>) {
        if !problems.is_empty() {
            self.push(objection(problems));
        }
    }

    fn push(&mut self, objection: Objection) {
        self.0.push(objection);
    }

    /// The failure of the first stage, and what the later ones found at other places: all problems get
    /// their places in the text here, and nowhere else.
    fn failure(&self, text: &Document) -> Failure {
        let mut told: HashSet<Place> = HashSet::new();
        let mut failure: Option<Failure> = None;
        for objection in &self.0 {
            let mut problems = objection.problems();
            problems.retain(|problem| problem.counts_others() || !told.contains(&problem.path));
            told.extend(problems.iter().map(|problem| problem.path.clone()));
            let mut placed = text.placed(problems);
            if !matches!(objection, Objection::Policy(_)) {
                // Its rules have an order of their own: where a step goes, then how much it asks for.
                Placed::in_order(&mut placed);
            }
            match &mut failure {
                None => failure = Some(objection.failure(placed, text.is_of_one_line())),
                Some(first) => {
                    let code = objection.code();
                    let stage = (code != first.code).then_some(code);
                    let later = placed.into_iter().map(|placed| Detail { placed, stage });
                    first.details.extend(later);
                }
            }
        }
        failure.unwrap_or_else(|| Bug::that("a step was refused without a reason").into())
    }
}

/// The content of a context file.
///
/// # Errors
/// `usage`, where it can't be read or is no mapping.
pub(crate) fn read_context(path: &Path) -> Result<Map<String, Value>, Failure> {
    input::decode_context(&context_bytes(path)?)
        .map_err(|error| Failure::of_context(path, &error.into()))
}

fn context_bytes(path: &Path) -> Result<Vec<u8>, Failure> {
    regular_file::read(path, MAX_INPUT_BYTES, Links::Follow)
        .map(|content| content.bytes)
        .map_err(|error| Failure::of_context_file(path, error))
}

/// Whatever stops a run before a step is typed.
impl<E: Into<Failure>> From<E> for Refused {
    fn from(error: E) -> Self {
        Self {
            failure: error.into(),
            named: Vec::new(),
            asked: Box::default(),
        }
    }
}
