//! Where the time of an execution went: the network, the server, or the hosts.

use std::fmt;
use std::time::Duration;

use tokio::time::Instant;

use super::drive::Phase;
use crate::campaign::Campaign;
use crate::servers::http::Connecting;

/// When each phase began.
#[derive(Debug, Default)]
pub(super) struct Phases(Vec<(Phase, Instant)>);

impl Phases {
    /// A phase begins, and with it the one before ends.
    pub fn enter(&mut self, phase: Phase) {
        self.0.push((phase, Instant::now()));
    }

    /// The phase that it is in.
    pub fn now(&self) -> Phase {
        self.0.last().map_or(Phase::default(), |(phase, _)| *phase)
    }

    /// From when to when a phase lasted; `end` is the end of the last one.
    fn of(&self, phase: Phase, end: Instant) -> Option<(Instant, Instant)> {
        let at = self.0.iter().position(|(began, _)| *began == phase)?;
        let until = self.0.get(at + 1).map_or(end, |(_, next)| *next);
        Some((self.0[at].1, until))
    }
}

/// How long each part took, as far as the execution came. The first four do not overlap: what connecting took
/// is in none of the others.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timings {
    /// From the first attempt until a connection stood, or until the end where none did.
    pub connect: Option<Duration>,
    /// Logging in; next to nothing with a token.
    pub auth: Option<Duration>,
    /// Finding the hosts that the targets mean.
    pub resolve: Option<Duration>,
    /// From there until the server had taken the campaign and was listened to.
    pub dispatch: Option<Duration>,
    /// The first host's answer in this run, counted from the dispatch.
    pub first_answer: Option<Duration>,
    /// The last one's.
    pub last_answer: Option<Duration>,
}

impl Timings {
    /// Of an execution that has ended now.
    pub(super) fn of(
        phases: &Phases,
        connecting: Option<Connecting>,
        campaign: Option<&Campaign>,
    ) -> Self {
        let end = Instant::now();
        let connecting = connecting.map(|it| (it.begun, it.stood.unwrap_or(end)));
        let phase = |phase| {
            let (from, to) = phases.of(phase, end)?;
            let connecting = connecting.map_or(Duration::ZERO, |(begun, stood)| {
                stood.min(to).saturating_duration_since(begun.max(from))
            });
            Some(to.duration_since(from).saturating_sub(connecting))
        };
        let answers = campaign.and_then(Campaign::answers_came);
        Self {
            connect: connecting.map(|(begun, stood)| stood.duration_since(begun)),
            auth: phase(Phase::Connecting),
            resolve: phase(Phase::Resolving),
            dispatch: phase(Phase::Starting),
            first_answer: answers.map(|(first, _)| first),
            last_answer: answers.map(|(_, last)| last),
        }
    }

    /// Each that is known, as documents name it.
    pub(crate) fn known(&self) -> impl Iterator<Item = (&'static str, Duration)> {
        let all = [
            ("connect_ms", self.connect),
            ("auth_ms", self.auth),
            ("resolve_ms", self.resolve),
            ("dispatch_ms", self.dispatch),
            ("first_answer_ms", self.first_answer),
            ("last_answer_ms", self.last_answer),
        ];
        let known = all.into_iter();
        known.filter_map(|(name, took)| Some((name, took?)))
    }
}

/// A line for people.
impl fmt::Display for Timings {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [
            ("to connect", self.connect),
            ("to log in", self.auth),
            ("to find the hosts", self.resolve),
            ("to dispatch", self.dispatch),
        ];
        let parts = parts.into_iter();
        let parts: Vec<String> = parts
            .filter_map(|(what, took)| Some(format!("{} ms {what}", took?.as_millis())))
            .collect();
        formatter.write_str(&parts.join(", "))?;
        if let (Some(first), Some(last)) = (self.first_answer, self.last_answer) {
            let (first, last) = (first.as_millis(), last.as_millis());
            write!(
                formatter,
                "; the first answer came {first} ms after the dispatch, the last {last} ms"
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn milliseconds(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    #[tokio::test(start_paused = true)]
    async fn what_connecting_took_is_in_no_other_part() {
        let mut phases = Phases::default();
        phases.enter(Phase::Connecting);
        let begun = Instant::now();
        tokio::time::advance(milliseconds(10)).await;
        // With a token the first request finds hosts.
        phases.enter(Phase::Resolving);
        tokio::time::advance(milliseconds(20)).await;
        let connecting = Some(Connecting {
            begun,
            stood: Some(Instant::now()),
        });
        tokio::time::advance(milliseconds(5)).await;
        phases.enter(Phase::Starting);
        tokio::time::advance(milliseconds(7)).await;
        phases.enter(Phase::Collecting);
        tokio::time::advance(milliseconds(1_000)).await;
        let timings = Timings::of(&phases, connecting, None);
        assert_eq!(
            timings,
            Timings {
                connect: Some(milliseconds(30)),
                auth: Some(milliseconds(0)),
                resolve: Some(milliseconds(5)),
                dispatch: Some(milliseconds(7)),
                first_answer: None,
                last_answer: None,
            }
        );
        assert_eq!(
            timings.to_string(),
            "30 ms to connect, 0 ms to log in, 5 ms to find the hosts, 7 ms to dispatch"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn what_never_ended_lasted_until_the_end() {
        let mut phases = Phases::default();
        phases.enter(Phase::Connecting);
        tokio::time::advance(milliseconds(2)).await;
        let connecting = Some(Connecting {
            begun: Instant::now(),
            stood: None,
        });
        tokio::time::advance(milliseconds(40)).await;
        let known: Vec<_> = Timings::of(&phases, connecting, None).known().collect();
        assert_eq!(
            known,
            [
                ("connect_ms", milliseconds(40)),
                ("auth_ms", milliseconds(2))
            ]
        );
        assert_eq!(phases.now(), Phase::Connecting);
    }
}
