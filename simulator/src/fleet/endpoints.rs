//! Tokens that are limited to endpoints (Fleet 4.85 and later): what the catalogue holds of what a live
//! query needs, and what a refusal says.

use super::{error, users::User};
use crate::http::{FLEET_JSON, Reply};
use crate::scenario::{Endpoints, ServerVersion};

/// The part of the catalogue that this server has, by method and path; `:` stands for any segment. None of
/// the old paths is in it, nor `logout` or `status/live_query`.
const CATALOGUE: [(&str, &str); 18] = [
    ("GET", "version"),
    ("GET", "config"),
    ("GET", "hosts"),
    ("GET", "hosts/count"),
    ("GET", "host_summary"),
    ("GET", "hosts/identifier/:"),
    ("GET", "hosts/:"),
    ("GET", "labels/summary"),
    ("GET", "labels/:/hosts"),
    ("GET", "fleets"),
    ("GET", "reports"),
    ("GET", "reports/:"),
    ("GET", "reports/:/report"),
    ("POST", "reports"),
    ("POST", "reports/:/run"),
    ("POST", "hosts/identifier/:/query"),
    ("POST", "hosts/:/query"),
    ("POST", "reports/run"),
];

/// The catalogue's entry for a call, in the spelling that was used.
fn entry(version: ServerVersion, method: &str, path: &[&str]) -> Option<String> {
    let fits = |pattern: &str| {
        let parts: Vec<&str> = pattern.split('/').collect();
        parts.len() == path.len()
            && parts
                .iter()
                .zip(path)
                .all(|(part, given)| *part == ":" || part == given)
    };
    // Of two patterns that fit, the one without a placeholder is the router's choice.
    let mut found = CATALOGUE
        .iter()
        .filter(|(known, pattern)| *known == method && fits(pattern));
    let exact = found
        .clone()
        .find(|(_, pattern)| !pattern.contains(':'))
        .or_else(|| found.next())?;
    let since = match exact {
        ("POST", "reports/run") => ServerVersion(4, 90, 0),
        _ => ServerVersion(4, 85, 0),
    };
    (version >= since).then(|| format!("{} {}", exact.0, exact.1))
}

/// Whether scenarios may list this endpoint, written as `POST reports/run`.
pub(crate) fn is_known(endpoint: &str) -> bool {
    CATALOGUE
        .iter()
        .any(|(method, path)| endpoint == format!("{method} {path}"))
}

/// The refusal, where the user's token is limited to other endpoints.
pub(super) fn refusal(
    user: &User,
    version: ServerVersion,
    method: &str,
    path: &[&str],
) -> Option<Reply> {
    let limit = user.spec.endpoints.as_ref()?;
    // Who one is may always be asked.
    if (method, path) == ("GET", &["me"]) {
        return None;
    }
    let entry = entry(version, method, path);
    let listed = match (limit, entry) {
        (_, None) => false,
        (Endpoints::Catalogue, Some(_)) => true,
        (Endpoints::These(list), Some(entry)) => list.contains(&entry),
    };
    if listed {
        return None;
    }
    let reason = if version >= ServerVersion(4, 91, 0) {
        "endpoint not permitted for this API-only user"
    } else {
        "Permission Denied"
    };
    Some(error(403, FLEET_JSON, reason, "base", reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_catalogue_knows_new_paths_only_and_runs_reports_from_4_90_on() {
        let old = ServerVersion(4, 85, 0);
        let new = ServerVersion(4, 90, 0);
        let path = ["reports", "run"];
        assert_eq!(entry(old, "POST", &path), None);
        assert_eq!(
            entry(new, "POST", &path).as_deref(),
            Some("POST reports/run")
        );
        assert_eq!(entry(new, "POST", &["queries", "run"]), None);
        assert_eq!(entry(new, "POST", &["logout"]), None);
        let count = entry(new, "GET", &["hosts", "count"]);
        assert_eq!(count.as_deref(), Some("GET hosts/count"));
        assert_eq!(
            entry(new, "GET", &["hosts", "7"]).as_deref(),
            Some("GET hosts/:")
        );
        assert!(is_known("POST reports/run") && !is_known("POST queries/run"));
    }
}
