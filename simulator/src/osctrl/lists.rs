//! osctrl's lists of queries: by state, in pages, sorted; and the older one that has no pages.

use std::cmp::Ordering;

use serde_json::{Value, json};

use super::nodes::environment_id;
use super::queries::StoredQuery;
use super::{error, ok};
use crate::http::{Call, Reply, page_of};
use crate::world::World;

/// More queries than this a page are not given.
const LARGEST_PAGE: usize = 500;

/// `GET /queries/{env}/list/{which}`: the newest first, unless asked otherwise.
pub(super) fn page(world: &World, environment: &str, which: &str, call: &Call) -> Reply {
    let Some(fits) = target(which) else {
        return error(400, "invalid target");
    };
    let mut found = of(world, environment, fits);
    let order: fn(&&StoredQuery, &&StoredQuery) -> Ordering = match call.parameter("sort") {
        Some("name") => |a, b| a.name.cmp(&b.name),
        Some("creator") => |a, b| a.creator.cmp(&b.creator),
        _ => |a, b| a.created.cmp(&b.created),
    };
    found.sort_by(order);
    if call.parameter("dir") != Some("asc") {
        found.reverse();
    }
    // Older servers have no pages here either.
    if !world.scenario.osctrl.paged_results {
        return ok(&documents(world, environment, &found).into());
    }
    let size = call
        .number("page_size")
        .filter(|size| *size > 0)
        .unwrap_or(50)
        .min(LARGEST_PAGE);
    let page = call.number("page").unwrap_or(1).max(1);
    let shown = page_of(&found, page - 1, size);
    ok(&json!({
        "items": documents(world, environment, &shown),
        "page": page,
        "page_size": size,
        "total_items": found.len(),
        "total_pages": found.len().div_ceil(size),
    }))
}

/// `GET /queries/{env}`: the completed ones, hidden or not, without pages.
pub(super) fn completed(world: &World, environment: &str) -> Reply {
    let found = of(world, environment, is_completed);
    ok(&documents(world, environment, &found).into())
}

/// Which queries a target means. `active`, `completed` and `expired` hold the hidden ones too, `all` does
/// not; what is saved is another list, which is empty here.
fn target(which: &str) -> Option<fn(&StoredQuery) -> bool> {
    Some(match which {
        "all" => |query| !query.hidden && !query.deleted,
        "all-full" => |query| !query.deleted,
        "active" => |query| query.active && !query.deleted,
        "completed" => is_completed,
        "expired" => |query| query.expired && !query.deleted,
        "hidden" => |query| query.hidden && !query.deleted,
        "hidden-active" => |query| query.hidden && query.active && !query.deleted,
        "hidden-completed" => |query| query.hidden && is_completed(query),
        "deleted" => |query| query.deleted,
        "saved" => |_| false,
        _ => return None,
    })
}

/// One that expired afterwards counts as expired only.
fn is_completed(query: &StoredQuery) -> bool {
    query.completed && !query.expired && !query.deleted
}

fn of<'world>(
    world: &'world World,
    environment: &str,
    fits: impl Fn(&StoredQuery) -> bool,
) -> Vec<&'world StoredQuery> {
    let queries = world.osctrl.queries.iter();
    queries
        .filter(|query| query.environment == environment && fits(query))
        .collect()
}

fn documents(world: &World, environment: &str, queries: &[&StoredQuery]) -> Vec<Value> {
    let environment = environment_id(world, environment);
    queries
        .iter()
        .map(|query| query.document(environment, false))
        .collect()
}
