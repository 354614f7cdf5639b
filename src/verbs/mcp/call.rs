//! One call of a tool as a session of its own: its voice with its own redactor, what ends it, how far it is.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rmcp::RoleServer;
use rmcp::model::{CallToolRequestParams, ProgressNotificationParam};
use rmcp::service::RequestContext;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::Instant;

use super::cells::clean;
use super::refusal::Refusal;
use super::server::Server;
use crate::campaign::Campaign;
use crate::exit::Code;
use crate::notices::{Level, Notices};
use crate::session::run::Via;
use crate::session::{Cancel, Cancelled, Canceller, Gone, Progress, Run, Sink};

/// Clients give up after 60 s; an answer is there before this.
pub(super) const ANSWER_WITHIN: Duration = Duration::from_secs(48);
/// Warnings that an answer has.
const MOST_WARNINGS: usize = 10;
/// Bytes of one of them, and of what a client calls itself.
const WARNING_BYTES: usize = 600;
const NAME_BYTES: usize = 200;

/// A call.
pub(super) struct Call {
    pub arguments: Value,
    pub request: CallToolRequestParams,
    pub context: RequestContext<RoleServer>,
    /// Answered by then.
    pub until: Instant,
}

impl Call {
    pub(super) fn new(
        arguments: Value,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Self {
        Self {
            arguments,
            request,
            context,
            until: Instant::now() + ANSWER_WITHIN,
        }
    }

    /// The arguments, which keep to the tool's schema.
    pub(super) fn typed<T: DeserializeOwned>(&self) -> Result<T, Refusal> {
        serde_json::from_value(self.arguments.clone()).map_err(|_| {
            Refusal::new(
                Code::Internal,
                "the arguments keep to the schema and can't be read (a bug)",
                "report this to the project's issue tracker",
            )
        })
    }

    /// Whole seconds of what is left, at least one and at most so many.
    pub(super) fn seconds(&self, most: u64) -> u64 {
        let left = self.until.saturating_duration_since(Instant::now());
        left.as_secs().min(most).max(1)
    }

    /// A run that this call begins now.
    pub(super) fn run(&self) -> Run {
        let client = self.context.client_info();
        let client = client.map(|it| {
            let short = |text: &str| clean(text, NAME_BYTES);
            (short(&it.name), short(&it.version))
        });
        let protocol = "mcp";
        Run::begin().via(Via { protocol, client })
    }

    /// Does the call's work until it is done. The client's word, or the server's end, is handed to it: it then
    /// ends by itself.
    pub(super) async fn heeding<T>(
        &self,
        server: &Server,
        canceller: &Canceller,
        work: impl Future<Output = T>,
    ) -> T {
        let heed = async {
            let reason = tokio::select! {
                () = self.context.ct.cancelled() => Cancelled::Withdrawn,
                reason = server.closing.word() => reason,
            };
            canceller.cancel(reason);
            std::future::pending::<T>().await
        };
        tokio::select! {
            biased;
            done = work => done,
            never = heed => never,
        }
    }

    /// Does the work, and tells the client how far it is, where it wants to know.
    pub(super) async fn telling<T>(
        &self,
        mut seen: watch::Receiver<Option<Progress>>,
        work: impl Future<Output = T>,
    ) -> T {
        let Some(token) = self.context.meta.get_progress_token() else {
            return work.await;
        };
        let tell = async {
            let mut told = None;
            while seen.changed().await.is_ok() {
                let Some(now) = *seen.borrow_and_update() else {
                    continue;
                };
                // Each has to say more than the one before.
                if told.is_some_and(|told| now.answered <= told) {
                    continue;
                }
                told = Some(now.answered);
                let said = format!("{} of {} hosts answered", now.answered, now.targeted);
                #[expect(clippy::cast_precision_loss, reason = "hosts are not that many")]
                let progress = ProgressNotificationParam::new(token.clone(), now.answered as f64)
                    .with_total(now.targeted as f64)
                    .with_message(said);
                if self.context.peer.notify_progress(progress).await.is_err() {
                    break;
                }
            }
            std::future::pending::<T>().await
        };
        tokio::select! {
            biased;
            done = work => done,
            never = tell => never,
        }
    }
}

/// Leaves every answer in the outcome, and says how far it is.
pub(super) struct Watched(pub watch::Sender<Option<Progress>>);

impl Sink for Watched {
    fn answered(&mut self, _: &mut Campaign, _: usize) -> std::ops::ControlFlow<Gone> {
        std::ops::ControlFlow::Continue(())
    }

    fn progress(&mut self, seen: Progress, _: &Campaign) {
        self.0.send_replace(Some(seen));
    }
}

/// What a call's sessions have to say, and what ends them.
pub(super) struct Voice {
    pub notices: Notices,
    pub canceller: Canceller,
    pub cancel: Cancel,
    warnings: Arc<Mutex<Vec<String>>>,
}

impl Voice {
    /// Warnings go to the answer; with `-v`, to stderr as well.
    pub(super) fn of(server: &Server) -> Self {
        let warnings: Arc<Mutex<Vec<String>>> = Arc::default();
        let (stderr, kept) = (server.stderr.clone(), Arc::clone(&warnings));
        let most = stderr.most();
        let notices = Notices::new(most, move |level, text| {
            if level == Level::Warning {
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                if !kept.iter().any(|known| known == text) {
                    kept.push(text.to_owned());
                }
            }
            if most > Level::Warning {
                stderr.line(level, text);
            }
        });
        let (canceller, cancel) = Cancel::new();
        Self {
            notices,
            canceller,
            cancel,
            warnings,
        }
    }

    /// What was warned of.
    pub(super) fn warnings(&self) -> Vec<String> {
        let warnings = self.warnings.lock().unwrap_or_else(PoisonError::into_inner);
        let mut shown: Vec<String> = warnings
            .iter()
            .take(MOST_WARNINGS)
            .map(|warning| clean(warning, WARNING_BYTES))
            .collect();
        if warnings.len() > MOST_WARNINGS {
            shown.push(format!("and {} more", warnings.len() - MOST_WARNINGS));
        }
        shown
    }
}
