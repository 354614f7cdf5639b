//! The form of a playbook: its JSON Schema. What belongs to the step's own schema is left to it, which has
//! better words. A key that the schema does not know is an engine's own matter, unless it resembles one that
//! it knows. Knows nothing of graphs or templates.

use serde_json::Value;

use super::finding::Severity;
use crate::nearest::nearest;
use crate::path::{Path, Segment, show_key};
use crate::problem::Problem;
use crate::schema::{Schema, Violation, Words, texts, value_at};

/// The type of the steps that are this program's.
pub const STEP_TYPE: &str = "osquery_live_query";

/// The rule of a key that is an engine's own.
pub(super) const UNKNOWN_KEY: &str = "unknown_key";

static SCHEMA: Schema = Schema::new("playbook", texts::PLAYBOOK);

/// Every violation of the playbook's form; with `strict`, no key is an engine's own.
pub(super) fn violations(playbook: &Value, strict: bool) -> Vec<Problem> {
    SCHEMA
        .violations(playbook, &PlaybookWords { playbook, strict })
        .into_vec()
}

/// How grave a problem of the form is.
pub(super) fn severity(rule: &str) -> Severity {
    match rule == UNKNOWN_KEY {
        true => Severity::Warning,
        false => Severity::Error,
    }
}

/// How many segments of a path lead to the innermost step on it: `steps[1].steps[0]`.
pub(super) fn length_of_step(path: &Path) -> usize {
    let pairs = path.segments().chunks_exact(2);
    let of_steps = pairs.take_while(
        |pair| matches!(pair, [Segment::Key(steps), Segment::Index(_)] if steps == "steps"),
    );
    2 * of_steps.count()
}

struct PlaybookWords<'a> {
    playbook: &'a Value,
    strict: bool,
}

impl Words for PlaybookWords<'_> {
    fn leave_out(&self, violation: &Violation<'_>) -> bool {
        let segments = violation.path.segments();
        let (step, [Segment::Key(key), deeper @ ..]) =
            segments.split_at(length_of_step(violation.path))
        else {
            return false;
        };
        if step.is_empty() {
            return false;
        }
        let step = step.iter().cloned();
        let step = step.fold(Path::default(), |path, segment| path.with(segment));
        let ours = value_at(self.playbook, &step.key("type")).and_then(Value::as_str);
        let of_a_key = matches!(violation.rule, "additionalProperties" | "required");
        ours == Some(STEP_TYPE)
            && (matches!(key.as_str(), "id" | "params" | "type") || deeper.is_empty() && of_a_key)
    }

    fn own(&self, violation: &Violation<'_>) -> Option<Problem> {
        if violation.rule != "additionalProperties" || self.strict {
            return None;
        }
        let key = violation.path.last_key()?;
        let known = violation.known_keys(&violation.path.parent());
        nearest(key, known).is_none().then(|| {
            let message = format!("unknown key `{}`: it is left to the engine", show_key(key));
            Problem::new(violation.path, UNKNOWN_KEY, message)
        })
    }
}
