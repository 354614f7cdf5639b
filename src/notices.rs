//! What one execution tells beside its document: warnings, and with `-v` what it does. Each session has its
//! own, with the one redactor of everything that it shows; two sessions in one process know nothing of each
//! other's secrets.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::printable::{cut, is_plain, printable};
use crate::secret::{Redactor, Secret};

/// Bytes of a server's text in a message.
const TEXT_BYTES: usize = 300;
/// Bytes of a name that a server chose (a host's, a label's): 1 KiB.
const NAME_BYTES: usize = 1_024;
/// Bytes of an id that a server chose.
const ID_BYTES: usize = 256;
/// A session tells so many warnings at most; more are counted.
const MOST_WARNINGS: usize = 100;
/// A line is no longer than this, whatever it names.
const LINE_BYTES: usize = 4_096;

/// How much a line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// For everybody.
    Warning,
    /// With `-v`.
    Info,
    /// With `-vv`.
    Debug,
}

type Tell = dyn Fn(Level, &str) + Send + Sync;

/// The voice and the redactor of one session; clones are the same session's.
#[derive(Clone)]
pub struct Notices(Arc<Inner>);

struct Inner {
    most: Level,
    tell: Box<Tell>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    redactor: Redactor,
    warnings: usize,
}

impl std::fmt::Debug for Notices {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Notices")
    }
}

impl Notices {
    /// Lines up to `most` go to `tell`, already without secrets.
    pub fn new(most: Level, tell: impl Fn(Level, &str) + Send + Sync + 'static) -> Self {
        Self(Arc::new(Inner {
            most,
            tell: Box::new(tell),
            state: Mutex::default(),
        }))
    }

    /// Nobody listens; secrets are learnt and masked all the same.
    pub fn unheard() -> Self {
        Self::new(Level::Warning, |_, _| {})
    }

    /// From now on this secret is masked in everything that the session shows. One that is too short to be
    /// masked draws a warning.
    pub fn learn(&self, secret: &Secret) {
        let can = self.state().redactor.learn(secret);
        if !can {
            self.warn(
                "a secret of one or two letters can't be masked in messages: use a longer one",
            );
        }
    }

    /// From now on this id is masked, too: whoever has it can do what only the session should. Learning many
    /// costs little; only a uuid is found again.
    pub fn learn_id(&self, uuid: &str) {
        self.state().redactor.learn_id(uuid);
    }

    /// Something that the step's author, the responder or the operator should know; one line.
    pub fn warn(&self, text: impl AsRef<str>) {
        let mut state = self.state();
        state.warnings += 1;
        let warnings = state.warnings;
        let text = state.redactor.redact(text.as_ref());
        drop(state);
        match warnings.cmp(&MOST_WARNINGS) {
            std::cmp::Ordering::Less => (self.0.tell)(Level::Warning, &cut(&text, LINE_BYTES)),
            std::cmp::Ordering::Equal => {
                (self.0.tell)(
                    Level::Warning,
                    "there are more warnings, which are left out",
                );
            }
            std::cmp::Ordering::Greater => {}
        }
    }

    /// What is done, for `-v`.
    pub fn info(&self, text: impl FnOnce() -> String) {
        self.detail(Level::Info, text);
    }

    /// Every request, for `-vv`: never bodies.
    pub fn debug(&self, text: impl FnOnce() -> String) {
        self.detail(Level::Debug, text);
    }

    fn detail(&self, level: Level, text: impl FnOnce() -> String) {
        if level <= self.0.most {
            let text = self.redact(&text());
            (self.0.tell)(level, &cut(&text, LINE_BYTES));
        }
    }

    /// A text without the session's secrets.
    pub fn redact(&self, text: &str) -> String {
        self.state().redactor.redact(text).into_owned()
    }

    /// A value that the step was given, as the document may repeat it: whole but for tokens and passwords (a
    /// user may be called as the one who is asked for).
    pub fn value(&self, text: &str) -> String {
        self.state().redactor.redact_name(text).into_owned()
    }

    /// A server's text as a message may quote it: without secrets, printable, in one line, cut.
    pub fn shown(&self, text: &str) -> String {
        let line = text.trim().replace(['\n', '\r', '\t'], " ");
        foreign(self.redact(&line).into(), TEXT_BYTES).into_owned()
    }

    /// A name that a server chose, as the document may hold it.
    pub fn name(&self, text: &str) -> String {
        self.foreign(text, NAME_BYTES).into_owned()
    }

    /// An id that a server chose, as the document may hold it.
    pub fn id(&self, text: &str) -> String {
        self.foreign(text, ID_BYTES).into_owned()
    }

    /// As [`Notices::name`], of a text that most often stays as it is: there may be hundreds of thousands.
    pub fn name_of<'t>(&self, text: &'t str) -> Cow<'t, str> {
        self.foreign(text, NAME_BYTES)
    }

    /// As [`Notices::id`], of a text that most often stays as it is.
    pub fn id_of<'t>(&self, text: &'t str) -> Cow<'t, str> {
        self.foreign(text, ID_BYTES)
    }

    fn foreign<'t>(&self, text: &'t str, bytes: usize) -> Cow<'t, str> {
        foreign(self.state().redactor.redact_name(text), bytes)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Printable, and cut first: what is written out is longer than what it stands for.
fn foreign(clean: Cow<'_, str>, bytes: usize) -> Cow<'_, str> {
    if clean.len() <= bytes && is_plain(&clean) {
        return clean;
    }
    printable(&cut(&clean, bytes)).into_owned().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    type Lines = Arc<Mutex<Vec<(Level, String)>>>;

    fn heard(most: Level) -> (Notices, Lines) {
        let lines = Lines::default();
        let kept = Arc::clone(&lines);
        let notices = Notices::new(most, move |level, text| {
            kept.lock().unwrap().push((level, text.to_owned()));
        });
        (notices, lines)
    }

    #[test]
    fn secrets_are_masked_from_the_moment_that_they_are_learnt() {
        let (notices, lines) = heard(Level::Debug);
        notices.warn("token-1234 before");
        notices.learn(&Secret::new("token-1234".into()));
        notices.warn("token-1234 after");
        notices.info(|| "info token-1234".into());
        notices.debug(|| "debug token-1234".into());
        let told: Vec<String> = lines
            .lock()
            .unwrap()
            .iter()
            .map(|line| line.1.clone())
            .collect();
        assert_eq!(
            told,
            [
                "token-1234 before",
                "[redacted] after",
                "info [redacted]",
                "debug [redacted]"
            ]
        );
        assert_eq!(notices.id("a\u{1b}token-1234"), "a\\u{1b}[redacted]");
        assert!(notices.name(&"n".repeat(5_000)).len() <= NAME_BYTES);
    }

    #[test]
    fn another_session_does_not_know_them() {
        let (one, other) = (Notices::unheard(), Notices::unheard());
        one.learn(&Secret::new("token-1234".into()));
        assert_eq!(other.shown("token-1234"), "token-1234");
        assert_eq!(one.clone().shown("token-1234"), "[redacted]");
    }

    #[test]
    fn warnings_are_bounded_and_details_are_made_only_when_wanted() {
        let (notices, lines) = heard(Level::Warning);
        for _ in 0..1_000 {
            notices.warn("x".repeat(100_000));
        }
        notices.info(|| unreachable!("nobody asked for it"));
        let lines = lines.lock().unwrap();
        assert_eq!(lines.len(), MOST_WARNINGS);
        assert!(lines.iter().all(|line| line.1.len() <= LINE_BYTES));
        assert!(lines.last().is_some_and(|line| line.1.contains("left out")));
    }

    #[test]
    fn a_short_secret_draws_a_warning() {
        let (notices, lines) = heard(Level::Warning);
        notices.learn(&Secret::new("x".into()));
        assert!(lines.lock().unwrap()[0].1.contains("one or two letters"));
    }
}
