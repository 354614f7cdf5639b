//! The word that ends an execution from outside: a signal, a client's cancellation, a reader that has gone.

use tokio::sync::watch;

/// Why an execution was ended from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancelled {
    /// SIGINT: a person's word.
    Interrupted,
    /// SIGTERM or SIGHUP, or the end of the process that started this one.
    Terminated,
    /// Whoever asked does not want the answer any more.
    Withdrawn,
    /// Nobody reads what is written.
    Unread,
}

/// Ends executions; clones end the same ones.
#[derive(Debug, Clone)]
pub struct Canceller(watch::Sender<State>);

/// Hears when an execution is to end; clones hear the same word.
#[derive(Debug, Clone)]
pub struct Cancel(watch::Receiver<State>);

#[derive(Debug, Clone, Copy, Default)]
struct State {
    first: Option<Cancelled>,
    times: usize,
}

impl Cancelled {
    /// The word in the audit log.
    pub fn name(self) -> &'static str {
        match self {
            Self::Interrupted => "interrupted",
            Self::Terminated => "terminated",
            Self::Withdrawn => "withdrawn",
            Self::Unread => "unread",
        }
    }
}

impl Canceller {
    /// Ends the execution. The first reason counts; said again, its tidying up ends, too.
    pub fn cancel(&self, reason: Cancelled) {
        self.0.send_modify(|state| {
            state.first.get_or_insert(reason);
            state.times += 1;
        });
    }
}

impl Cancel {
    /// A word that can be given, and the ear for it.
    pub fn new() -> (Canceller, Self) {
        let (sender, receiver) = watch::channel(State::default());
        (Canceller(sender), Self(receiver))
    }

    /// Nobody will ever end it.
    pub fn never() -> Self {
        Self::new().1
    }

    /// Whether the word was given.
    pub fn now(&self) -> Option<Cancelled> {
        self.0.borrow().first
    }

    /// Waits for the word; for ever, where nobody can give it any more.
    pub async fn word(&self) -> Cancelled {
        self.said(1).await;
        match self.now() {
            Some(reason) => reason,
            None => std::future::pending().await,
        }
    }

    /// Waits until the word is given a second time.
    pub async fn word_again(&self) {
        self.said(2).await;
    }

    async fn said(&self, times: usize) {
        let mut receiver = self.0.clone();
        if receiver
            .wait_for(|state| state.times >= times)
            .await
            .is_err()
        {
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "current_thread")]
    async fn the_first_reason_counts_and_the_second_word_is_heard() {
        let (canceller, cancel) = Cancel::new();
        assert_eq!(cancel.now(), None);
        canceller.cancel(Cancelled::Terminated);
        canceller.cancel(Cancelled::Interrupted);
        assert_eq!(cancel.clone().word().await, Cancelled::Terminated);
        cancel.word_again().await;
    }
}
