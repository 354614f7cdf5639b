//! The form of a playbook: its JSON Schema. What belongs to the step's own schema is left to it, which has
//! better words. Knows nothing of graphs or templates.

use serde_json::Value;

use crate::path::{Path, Segment};
use crate::problem::Problem;
use crate::schema::{Schema, Violation, Words, texts, value_at};

/// The type of the steps that are this program's.
pub const STEP_TYPE: &str = "osquery_live_query";

static SCHEMA: Schema = Schema::new("playbook", texts::PLAYBOOK);

/// Every violation of the playbook's form.
pub(super) fn violations(playbook: &Value) -> Vec<Problem> {
    SCHEMA
        .violations(playbook, &PlaybookWords { playbook })
        .into_vec()
}

struct PlaybookWords<'a> {
    playbook: &'a Value,
}

impl Words for PlaybookWords<'_> {
    fn leave_out(&self, violation: &Violation<'_>) -> bool {
        let [Segment::Key(steps), index, Segment::Key(key), deeper @ ..] =
            violation.path.segments()
        else {
            return false;
        };
        let step = Path::of(&[steps]).with(index.clone()).key("type");
        let ours = steps == "steps"
            && value_at(self.playbook, &step).and_then(Value::as_str) == Some(STEP_TYPE);
        let of_a_key = matches!(violation.rule, "additionalProperties" | "required");
        ours && (matches!(key.as_str(), "id" | "params" | "type") || deeper.is_empty() && of_a_key)
    }

    fn own(&self, _violation: &Violation<'_>) -> Option<Problem> {
        None
    }
}
