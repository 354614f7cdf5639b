//! Fleet's teams, newly called fleets: who has one, and what a server without a licence says of them.

use serde_json::{Value, json};

use super::{bad_request, error, ok};
use crate::http::{Call, FLEET_JSON, Reply};
use crate::world::World;

/// Ids and names of the teams: the scenario's, and those that only hosts and reports name.
fn all(world: &World) -> Vec<(u64, String)> {
    let declared = world.scenario.fleet.teams.iter();
    let mut teams: Vec<(u64, String)> = declared.map(|team| (team.id, team.name.clone())).collect();
    let hosts = world.hosts.iter().filter_map(|host| host.team_id);
    let reports = world.scenario.fleet.reports.iter();
    for id in hosts.chain(reports.filter_map(|report| report.team_id)) {
        if !teams.iter().any(|(known, _)| *known == id) {
            teams.push((id, format!("team {id}")));
        }
    }
    teams
}

/// A team's name.
pub(super) fn name(world: &World, id: u64) -> String {
    let mut declared = world.scenario.fleet.teams.iter();
    declared
        .find(|team| team.id == id)
        .map_or_else(|| format!("team {id}"), |team| team.name.clone())
}

/// The team that a list is to be of: none, those without a team (`0`), or one.
pub(super) fn filter(world: &World, call: &Call) -> Result<Option<Option<u64>>, Reply> {
    let Some(id) = asked(call) else {
        return Ok(None);
    };
    if all(world).is_empty() {
        return Err(bad_request(FLEET_JSON, "team is invalid"));
    }
    Ok(Some(Some(id).filter(|id| *id > 0)))
}

/// The team that a call names, by the old word or the new.
pub(super) fn asked(call: &Call) -> Option<u64> {
    let id = call.number("team_id").or_else(|| call.number("fleet_id"))?;
    Some(id as u64)
}

/// `GET /teams`, newly `GET /fleets`.
pub(super) fn list(world: &World, new: bool) -> Reply {
    let teams = all(world);
    if teams.is_empty() {
        let reason = "Requires Fleet Premium license";
        return error(402, FLEET_JSON, reason, "base", reason);
    }
    let teams: Vec<Value> = teams
        .into_iter()
        .map(|(id, name)| {
            let members = world.enrolled();
            let hosts = members.filter(|(_, host)| host.team_id == Some(id)).count();
            json!({"id": id, "name": name, "description": "", "user_count": 0, "host_count": hosts})
        })
        .collect();
    let key = if new { "fleets" } else { "teams" };
    ok(&json!({ key: teams }))
}
