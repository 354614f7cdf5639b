//! Who is missing from the rows and why, in one line for each kind: what a responder reads first, and no
//! longer for ten thousand hosts than for ten.

use super::outcome::Outcome;
use crate::campaign::Status;
use crate::printable::listed;

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
    // Nothing was dispatched: the error says why, of all of them alike.
    if outcome.error().is_some() && !campaign.asked_any() {
        return Vec::new();
    }
    let of_kind = |kind: Status| -> Vec<&str> {
        let targets = campaign.roster().targets.iter();
        targets
            .filter(|target| campaign.status(target.host) == kind)
            .map(|target| target.key.as_str())
            .collect()
    };
    let kinds = KINDS.into_iter().map(|(kind, what)| (of_kind(kind), what));
    kinds
        .filter(|(names, _)| !names.is_empty())
        .map(|(names, what)| format!("{what}: {}", listed(&names)))
        .collect()
}
