//! One file, from its bytes to findings and plans; and one step, on the way that `run` takes. Knows
//! nothing of folders or of how findings are shown.

use std::collections::{BTreeSet, HashSet};
use std::time::SystemTime;

use serde_json::{Map, Value};

use super::finding::{FileReport, Finding, Plan, PlannedTargets, Severity};
use super::{checks, playbook};
use crate::allowlist::Binder;
use crate::input::{self, DecodeError, Document, Form, Invocation, kind};
use crate::known_servers::KnownServer;
use crate::path::Path;
use crate::policy::Policy;
use crate::secret::SecretSources;
use crate::session::prepare::{self, Examination, Inquiry, Passed};
use crate::step::render::{ContextIs, SecretUse, Unknown};

/// What holds for all files.
#[derive(Debug)]
pub struct Settings {
    /// The content of `--context FILE`.
    pub context: Option<Map<String, Value>>,
    /// `--context-root`: other roots of the context.
    pub roots: Vec<String>,
    /// Whether secrets have to be there.
    pub look_secrets_up: bool,
    /// `--secrets-dir`.
    pub secrets_dir: Option<std::path::PathBuf>,
    /// Whether no key is left to engines.
    pub strict: bool,
    /// Whether the text is kept although there is no finding.
    pub keep_text: bool,
    /// `--policy`.
    pub policy: Policy,
    /// What ages count back from.
    pub now: SystemTime,
}

/// What a step's expressions may name.
#[derive(Debug)]
pub struct Scope {
    /// What is known of the context.
    pub context: Option<Map<String, Value>>,
    /// Whether that is all.
    pub context_is: ContextIs,
    /// What the playbook around it declares; `None` without a playbook.
    pub names: Option<Names>,
    /// Whether a loop is around it, whose item has a name that only the engine knows.
    pub in_loop: bool,
}

/// What a playbook declares.
#[derive(Debug, Default)]
pub struct Names {
    /// Its inputs.
    pub inputs: BTreeSet<String>,
    /// Its steps.
    pub steps: BTreeSet<String>,
}

/// Examines files, and keeps the templates that it has checked.
#[derive(Debug)]
pub struct Examiner<'a> {
    /// What holds for all files.
    pub settings: &'a Settings,
    allowlist: Binder<'a>,
    secrets: Option<SecretSources>,
}

impl<'a> Examiner<'a> {
    /// An examiner with nothing checked yet.
    pub fn new(settings: &'a Settings) -> Self {
        let sources =
            || SecretSources::of_process(Default::default(), settings.secrets_dir.clone());
        Self {
            settings,
            allowlist: settings.policy.registry().binder(),
            secrets: settings.look_secrets_up.then(sources),
        }
    }

    /// Examines a file's bytes.
    pub fn file(&mut self, bytes: &[u8], report: &mut FileReport) {
        match content(bytes, report.named_playbook) {
            Ok(Content::Playbook(document)) => playbook::examine(self, document, report),
            Ok(Content::Single(invocation)) => self.single(*invocation, report),
            Err(error) => report.findings.push(undecoded(&error, report)),
        }
        let findings = &mut report.findings;
        findings.sort_by(|one, other| {
            (one.line, one.column, one.severity as u8).cmp(&(
                other.line,
                other.column,
                other.severity as u8,
            ))
        });
        let mut told = HashSet::new();
        findings.retain(|finding| {
            told.insert((
                finding.line,
                finding.column,
                finding.message.clone(),
                finding.step.clone(),
            ))
        });
    }

    /// A step without a playbook, or an invocation.
    fn single(&mut self, mut invocation: Invocation, report: &mut FileReport) {
        let secrets = std::mem::take(&mut invocation.secrets);
        let scope = match (invocation.form, &self.settings.context) {
            // What the engine would send: there will be no more.
            (Form::Invocation, _) => Scope {
                context: invocation.context.take(),
                context_is: ContextIs::Complete,
                names: None,
                in_loop: false,
            },
            (_, Some(context)) => Scope {
                context: Some(context.clone()),
                context_is: ContextIs::Complete,
                names: None,
                in_loop: false,
            },
            (_, None) => Scope {
                context: Some(Map::new()),
                context_is: ContextIs::Partial,
                names: None,
                in_loop: false,
            },
        };
        let own = self
            .settings
            .look_secrets_up
            .then(|| SecretSources::of_process(secrets, self.settings.secrets_dir.clone()));
        let kept = std::mem::replace(&mut self.secrets, own);
        self.step(&invocation.step, &scope, report);
        self.secrets = kept;
    }

    /// One of our steps, on the way that `run` takes up to the dispatch.
    pub fn step(&mut self, document: &Document, scope: &Scope, report: &mut FileReport) {
        let id = playbook::id_of(document.value());
        let mut plan = outline(document.value(), id.clone());
        let inquiry = Inquiry {
            step: document,
            context: scope.context.as_ref(),
            context_is: scope.context_is,
            secrets: match &self.secrets {
                Some(sources) => SecretUse::Resolve(sources),
                None => SecretUse::CheckFormOnly,
            },
            policy: &self.settings.policy,
            now: self.settings.now,
        };
        let Examination {
            verdict,
            warnings,
            unknown,
        } = prepare::examine(&inquiry, &mut self.allowlist);
        let mut findings: Vec<Finding> = Vec::new();
        let mut timeout = None;
        match verdict {
            Ok(passed) => {
                timeout = Some(passed.grant.timeout.as_secs());
                self.passed(document, &passed, &unknown, &mut plan, &mut findings);
            }
            Err(refused) => {
                // What `run` would say, and what it would say next once that is mended.
                let details = refused.failure.details.into_iter();
                let problems = details.map(|detail| Finding::of(Severity::Error, detail.placed));
                findings.extend(problems);
                let asked = checks::platforms_written(document.value());
                let template = text(document.value(), "template");
                findings.extend(template.and_then(|template| {
                    checks::platforms(self.settings.policy.registry(), document, template, &asked)
                }));
            }
        }
        let warnings = warnings.into_iter();
        findings.extend(warnings.map(|placed| Finding::of(Severity::Warning, placed)));
        let unknown_names = super::names::unknown_names(self.settings, &unknown, scope);
        let unknown_names = document.placed(unknown_names).into_iter();
        findings.extend(unknown_names.map(|placed| Finding::of(Severity::Error, placed)));
        findings.extend(checks::engine_timeout(document, timeout));
        let findings = findings.into_iter();
        report
            .findings
            .extend(findings.map(|finding| finding.in_step(id.as_deref())));
        report.plans.push(plan);
    }

    fn passed(
        &self,
        document: &Document,
        passed: &Passed,
        unknown: &[Unknown],
        plan: &mut Plan,
        findings: &mut Vec<Finding>,
    ) {
        let Passed { step, sql, grant } = passed;
        findings.extend(checks::platforms(
            self.settings.policy.registry(),
            document,
            &step.template.name,
            &step.targets.platforms,
        ));
        let is_unknown = |field: &str| {
            let path = Path::of(&["params", field]);
            unknown.iter().any(|unknown| unknown.path == path)
        };
        plan.sql = Some(sql.text().to_owned());
        plan.backend = Some(step.server.access.known().name);
        plan.targets = Some(PlannedTargets {
            hosts: step.targets.written(),
            labels: step.targets.labels.clone(),
            teams: step.targets.teams.clone(),
            platforms: step
                .targets
                .platforms
                .iter()
                .map(|one| one.name())
                .collect(),
        });
        if !is_unknown("timeout_seconds") {
            plan.timeout_seconds = Some(grant.timeout.as_secs().into());
        }
    }
}

/// What a file holds.
pub enum Content {
    /// A playbook.
    Playbook(Document),
    /// What `run` takes: a step, a list of one, an invocation.
    Single(Box<Invocation>),
}

/// Tells what a file holds: its name says that it is a playbook, or its content does.
///
/// # Errors
/// Those of `run` for what is no playbook.
pub fn content(bytes: &[u8], named_playbook: bool) -> Result<Content, DecodeError> {
    let is_playbook = |value: &Value| value.get("steps").is_some() && value.get("params").is_none();
    if !named_playbook {
        return match (input::decode(bytes), input::decode_file(bytes)) {
            (_, Ok(document)) if is_playbook(document.value()) => Ok(Content::Playbook(document)),
            (Ok(invocation), _) => Ok(Content::Single(Box::new(invocation))),
            (Err(error), _) => Err(error),
        };
    }
    let document = input::decode_file(bytes)?;
    let Value::Object(entries) = document.value() else {
        return Err(DecodeError::new(format!(
            "expected a playbook (a mapping with `name` and `steps`), found {}",
            kind(document.value())
        ))
        .at(document.position_of_value(&Path::default())));
    };
    let is_step = entries.contains_key("params") || entries.contains_key("step");
    if is_playbook(document.value()) || !is_step {
        return Ok(Content::Playbook(document));
    }
    input::decode(bytes).map(|invocation| Content::Single(Box::new(invocation)))
}

fn undecoded(error: &DecodeError, report: &FileReport) -> Finding {
    let message = match report.source {
        Some(_) => error
            .message
            .replacen("stdin is empty", "the file is empty", 1),
        None => error.message.clone(),
    };
    Finding::new(Severity::Error, "decode", message, error.position)
}

fn text<'a>(step: &'a Value, field: &str) -> Option<&'a str> {
    step.get("params")?.get(field)?.as_str()
}

/// What a step says of itself before it is examined.
fn outline(step: &Value, id: Option<String>) -> Plan {
    Plan {
        id,
        // Only names that could be templates' are shown: raw SQL is not.
        template: text(step, "template")
            .filter(|name| {
                name.len() <= 128
                    && name
                        .bytes()
                        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
            })
            .map(str::to_owned),
        backend: text(step, "backend")
            .and_then(KnownServer::named)
            .map(|known| known.name),
        timeout_seconds: text(step, "timeout_seconds")
            .filter(|timeout| timeout.contains("{{") && timeout.len() <= 1024)
            .map(Value::from),
        ..Plan::default()
    }
}

#[cfg(test)]
mod tests;
