//! What is heard on a stream, and what it means to its campaign: answers, errors of the server, and ends of
//! the line.

use super::super::reading::Heard;
use super::super::refusal::{is_of_credentials, of_stream};
use super::super::socket::{Broken, MESSAGE_BYTES};
use super::{Lost, Stage, Stream, WARNINGS};
use crate::campaign::host::{Answer, HostId};
use crate::servers::{BackendError, Event};

impl Stream {
    pub(super) fn heard(&mut self, heard: Heard) -> Result<Option<Event>, BackendError> {
        match heard {
            Heard::Answer { host, answer } => Ok(self.answered(host, answer)),
            Heard::Alive => {
                self.mark_heard();
                Ok(None)
            }
            Heard::Refused(text) => {
                self.refused(&text)?;
                Ok(None)
            }
            Heard::Garbled(what) => {
                self.garbled += 1;
                if self.garbled <= WARNINGS {
                    self.rest.notices().warn(format!("{} sent {what} on the results stream: it is left out, and its host may seem silent",
                        self.rest.server()));
                }
                Ok(None)
            }
        }
    }

    /// Any enrolled host may write into any campaign (fleetdm/fleet#53259), and agents may answer twice:
    /// what counts is the first answer of a host that was asked.
    fn answered(&mut self, host: u64, answer: Answer) -> Option<Event> {
        self.mark_heard();
        if !self.hosts.contains(&host) && !std::mem::replace(&mut self.foreign, true) {
            self.rest
                .notices()
                .warn("the server sent answers of hosts that were not asked: they are left out");
        }
        if !self.silent.remove(&host) {
            return None;
        }
        if let Some(campaign) = &mut self.campaign {
            campaign.answers += 1;
        }
        if let Stage::Listening(socket) = &mut self.stage {
            socket.was_worth_it();
        }
        let answer = match answer {
            Answer::Error(text) => Answer::Error(self.rest.shown(&text)),
            rows @ Answer::Rows(_) => rows,
        };
        let host = HostId::from(host);
        Some(Event::Answered { host, answer })
    }

    /// The server's `error` message. Whatever it says, nothing more comes on this socket, closed or not
    /// (transcripts `websocket-refusals`, `redis-restarted`, `database-away`).
    fn refused(&mut self, text: &str) -> Result<(), BackendError> {
        let error = of_stream(&self.rest, text);
        if matches!(error, BackendError::Auth { .. }) && !is_of_credentials(text)
            || is_of_credentials(text) && !self.rest.worked()
        {
            self.give_up();
            return Err(error);
        }
        let shown = self.rest.shown(text);
        let words = match &*shown {
            "" => "the server said that there was an error".into(),
            shown => format!("the server said: {shown}"),
        };
        self.lose(Lost {
            words,
            error: Some(error),
        })
    }

    pub(super) fn broken(&mut self, broken: Broken) -> Result<(), BackendError> {
        let (message, hint) = match broken {
            Broken::Lost(reason) => return self.lose(Lost::line(reason)),
            Broken::NoMemory(refused) => {
                let message = format!(
                    "a message of {}'s results stream can't be read: the system refuses {refused} of memory (`ulimit -v`)",
                    self.rest.server()
                );
                self.give_up();
                return Err(BackendError::Setup {
                    message,
                    hint: Some("raise the limit of this process (`ulimit -v`; in a service LimitAS, MemoryMax), or ask fewer hosts or for fewer rows".into()),
                });
            }
            Broken::TooLarge => (
                format!(
                    "{} sent an answer of more than {} MB",
                    self.rest.server(),
                    MESSAGE_BYTES / 1_000_000
                ),
                "use a template that asks for fewer rows",
            ),
            Broken::Noise(came) => (
                format!(
                    "{} floods the results stream: {came}, and no answer in between",
                    self.rest.server()
                ),
                "look for a proxy in front of the server, or at the server's log",
            ),
        };
        self.give_up();
        Err(BackendError::Answer {
            status: None,
            message,
            hint: Some(hint.into()),
        })
    }

    fn mark_heard(&mut self) {
        if let Some(campaign) = &mut self.campaign {
            campaign.heard = true;
        }
    }
}
