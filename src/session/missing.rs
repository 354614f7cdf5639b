//! Who is missing from the rows and why, in one line for each kind: what a responder reads first, and no
//! longer for ten thousand hosts than for ten.

use super::outcome::Outcome;
use crate::campaign::Status;
use crate::known_servers::KnownServer;
use crate::printable::listed;

/// Names that nobody has: told when the targets are resolved, but where only the dispatch shows it.
const UNKNOWN: &str = "not enrolled, or not visible to these credentials";

/// What a server that can take nothing back leaves behind.
const RUNS_ON: &str =
    "the query can't be taken back, and runs whenever these check in, hours or days from now";

/// The same where nobody is known to have been asked: the answer to the first dispatch never came.
const MAY_RUN: &str =
    "the query may be queued for the first of the hosts, where it can't be taken back";

/// The kinds in the order in which they are told. Names that nobody has, and phones, are told when the
/// targets are resolved: that is known before anybody is waited for.
const KINDS: [(Status, &str); 4] = [
    (Status::NoAnswer, "asked, but did not answer"),
    (Status::Offline, "offline, and did not answer"),
    (Status::NotAsked, "not asked before the run ended"),
    (Status::Error, "answered with an osquery error"),
];

/// A line for each kind of target whose rows are missing.
pub(super) fn lines(outcome: &Outcome) -> Vec<String> {
    let (Outcome::Ran { .. }, Some(campaign)) = (outcome, outcome.campaign()) else {
        return Vec::new();
    };
    let about = outcome.about();
    let has = about.and_then(|about| Some(&KnownServer::named(about.backend)?.has));
    // What can't be stopped goes on, whatever the document says.
    let runs_on = about.is_some_and(|about| about.may_be_running);
    let runs_on = runs_on && has.is_some_and(|has| !has.stop);
    // Nothing was dispatched: the error says why, of all of them alike.
    if outcome.error().is_some() && !campaign.asked_any() {
        return runs_on.then(|| MAY_RUN.to_owned()).into_iter().collect();
    }
    let of_kind = |kind: Status| -> Vec<&str> {
        let roster = campaign.roster();
        let targets = roster.targets.iter();
        targets
            .filter(|target| campaign.status(target.host()) == kind)
            .map(|target| roster.key(target))
            .collect()
    };
    let late = has.is_some_and(|has| !has.count) && outcome.error().is_none();
    let unknown = late.then_some((Status::Unknown, UNKNOWN));
    let kinds = unknown.into_iter().chain(KINDS);
    let kinds = kinds.map(|(kind, what)| (of_kind(kind), what));
    let running = runs_on.then(|| (of_kind(Status::NoAnswer), RUNS_ON));
    let unheard = runs_on && of_kind(Status::NoAnswer).is_empty();
    kinds
        .chain(running)
        .filter(|(names, _)| !names.is_empty())
        .map(|(names, what)| format!("{what}: {}", listed(&names)))
        .chain(unheard.then(|| MAY_RUN.to_owned()))
        .collect()
}
