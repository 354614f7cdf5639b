//! Fleet's labels: the built-in ones, which follow from the platform, and the scenario's own.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{State, not_found, ok};
use crate::clock;
use crate::host::Host;
use crate::http::{Call, Reply};
use crate::world::Shared;

/// A label.
pub(super) struct Label {
    pub id: u64,
    pub name: String,
    description: String,
    built_in: bool,
    members: Members,
}

enum Members {
    Everyone,
    Platform(&'static str),
    Family(&'static str),
    Named,
    Nobody,
}

/// The built-in labels with the ids of a fresh server, then one for each name that a host carries.
pub(super) fn all(hosts: &[Host]) -> Vec<Label> {
    use Members::{Everyone, Family, Named, Nobody, Platform};
    let built_in = [
        (
            1,
            "macOS 14+ (Sonoma+)",
            "macOS hosts with version 14 and above",
            Nobody,
        ),
        (2, "iOS", "All iOS hosts", Platform("ios")),
        (3, "iPadOS", "All iPadOS hosts", Platform("ipados")),
        (4, "Fedora Linux", "All Fedora hosts", Platform("fedora")),
        (5, "Android", "All Android hosts", Platform("android")),
        (
            11,
            "All Hosts",
            "All hosts which have enrolled in Fleet",
            Everyone,
        ),
        (12, "macOS", "All macOS hosts", Platform("darwin")),
        (13, "Ubuntu Linux", "All Ubuntu hosts", Platform("ubuntu")),
        (14, "CentOS Linux", "All CentOS hosts", Platform("centos")),
        (15, "MS Windows", "All Windows hosts", Platform("windows")),
        (
            16,
            "Red Hat Linux",
            "All Red Hat Enterprise Linux hosts",
            Platform("rhel"),
        ),
        (17, "All Linux", "All Linux distributions", Family("linux")),
        (18, "chrome", "All Chrome hosts", Platform("chrome")),
    ];
    let mut labels: Vec<Label> = built_in
        .into_iter()
        .map(|(id, name, description, members)| Label {
            id,
            name: name.into(),
            description: description.into(),
            built_in: true,
            members,
        })
        .collect();
    let mut next = 19;
    for name in hosts.iter().flat_map(|host| &host.labels) {
        if !labels.iter().any(|label| label.name == *name) {
            labels.push(Label {
                id: next,
                name: name.clone(),
                description: String::new(),
                built_in: false,
                members: Named,
            });
            next += 1;
        }
    }
    labels
}

impl Label {
    /// Whether the host carries the label.
    pub fn has(&self, host: &Host) -> bool {
        let named = host.labels.contains(&self.name);
        match self.members {
            Members::Everyone => true,
            Members::Platform(platform) => named || host.platform == platform,
            Members::Family(family) => named || host.family() == family,
            Members::Named | Members::Nobody => named,
        }
    }

    fn kind(&self) -> &'static str {
        if self.built_in { "builtin" } else { "regular" }
    }

    fn document(&self) -> Value {
        json!({
            "id": self.id,
            "name": self.name,
            "description": self.description,
            "label_type": self.kind(),
        })
    }
}

/// `GET /labels/summary`.
pub(super) fn summary(state: &State) -> Reply {
    let labels: Vec<Value> = state.labels.iter().map(Label::document).collect();
    ok(&json!({ "labels": labels }))
}

pub(super) fn built_in(state: &State) -> Vec<Value> {
    state
        .labels
        .iter()
        .filter(|label| label.built_in)
        .map(Label::document)
        .collect()
}

/// `GET /labels/{id}/hosts`.
pub(super) fn hosts(shared: &Arc<Shared>, id: &str, call: &Call) -> Reply {
    let members = {
        let world = shared.look();
        let mut labels = world.fleet.labels.iter();
        let Some(label) = labels.find(|label| label.id.to_string() == id) else {
            return not_found(&format!("Label {id} was not found in the datastore"));
        };
        let members = world.enrolled().filter(|(_, host)| label.has(host));
        members.map(|(place, _)| place).collect()
    };
    super::hosts::page(shared, call, members)
}

/// A host's labels, as its own document shows them.
pub(super) fn of_host(state: &State, host: &Host) -> Value {
    state
        .labels
        .iter()
        .filter(|label| label.has(host))
        .map(|label| {
            json!({
                "created_at": clock::seconds(host.last_seen),
                "updated_at": clock::seconds(host.last_seen),
                "id": label.id,
                "author_id": null,
                "name": label.name,
                "description": label.description,
                "query": "select 1;",
                "platform": "",
                "label_type": label.kind(),
                "label_membership_type": "dynamic",
            })
        })
        .collect()
}
