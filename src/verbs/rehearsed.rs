//! One step executed in this very process, for verbs that show or rehearse steps: the same way as `run`,
//! its document as a value.

use serde_json::Value;

use crate::notices::Notices;
use crate::output::report::Report;
use crate::process::Process;
use crate::session::failure::Failure;
use crate::session::prepare::{Sources, prepare};
use crate::session::{Cancel, Keeping, Mode, Outcome, Refused, Run, Session, execute};

/// What the step left.
pub(super) struct Rehearsed {
    /// The document of `run`.
    pub document: Value,
    /// Its exit status.
    pub status: u8,
}

/// Executes the step of an invocation.
///
/// # Errors
/// `internal`, where no event loop can be had or the document is none.
pub(super) fn rehearse(invocation: &Value, notices: Notices) -> Result<Rehearsed, Failure> {
    let mut run = Run::begin();
    let (run, outcome) = match prepare(invocation.to_string().as_bytes(), &Sources::default()) {
        Err(Refused {
            failure,
            named,
            asked,
        }) => {
            run.refused(*asked);
            (run, Outcome::refused(failure, named))
        }
        Ok(step) => Process::runtime()?.block_on(async {
            let mut session = Session {
                run,
                cancel: Cancel::never(),
                notices,
                sink: &mut Keeping,
            };
            let (outcome, aftermath) = execute(step, Mode::Run, &mut session).await;
            aftermath.finish().await;
            (session.run, outcome)
        }),
    };
    let mut document = Vec::new();
    let written = Report::of(&run, &outcome).write_json(&mut document);
    let document = written
        .ok()
        .and_then(|()| serde_json::from_slice(&document).ok())
        .ok_or_else(|| Failure::not_written("it is not JSON (a bug)"))?;
    Ok(Rehearsed {
        document,
        status: outcome.exit(false).status(),
    })
}
