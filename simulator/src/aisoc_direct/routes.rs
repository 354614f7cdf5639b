//! The service's paths, matched as its router matches them: in their order, `{id}` takes any one segment,
//! and a path that fits with another method is a 405 that names the first such method.

/// A call that the service has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Route {
    Health,
    Ready,
    Enrol,
    Read,
    Write,
    Enqueue,
    Query(String),
    Packs,
    FileEvents,
}

/// What the router makes of a path.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    Route(Route),
    /// The path is there with this method only.
    OtherMethod(&'static str),
    /// The path is there without its last slash.
    WithoutSlash,
    Nothing,
}

pub(super) fn find(method: &str, path: &[&str], slash: bool) -> Found {
    let fitting = fitting(path);
    match fitting.first() {
        None => Found::Nothing,
        Some(_) if slash => Found::WithoutSlash,
        Some((first, _)) => fitting
            .iter()
            .find(|(known, _)| *known == method)
            .map_or(Found::OtherMethod(first), |(_, route)| {
                Found::Route(route.clone())
            }),
    }
}

/// Every call with this path, in the order in which the service registers them.
fn fitting(path: &[&str]) -> Vec<(&'static str, Route)> {
    match path {
        ["healthz"] => vec![("GET", Route::Health)],
        ["readyz"] => vec![("GET", Route::Ready)],
        ["api", "v1", "osquery", rest @ ..] => match rest {
            ["enroll"] => vec![("POST", Route::Enrol)],
            ["distributed", id] => {
                let agents = match *id {
                    "read" => Some(Route::Read),
                    "write" => Some(Route::Write),
                    "enqueue" => Some(Route::Enqueue),
                    _ => None,
                };
                // `GET …/enqueue` asks for a query of that name.
                agents
                    .map(|route| ("POST", route))
                    .into_iter()
                    .chain([("GET", Route::Query((*id).to_owned()))])
                    .collect()
            }
            ["packs"] | ["tenants", _, "packs"] => vec![("GET", Route::Packs)],
            ["fim", "summary"] => vec![("GET", Route::FileEvents)],
            _ => Vec::new(),
        },
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_found_as_the_router_finds_them() {
        let osquery = |rest: &[&'static str]| [&["api", "v1", "osquery"], rest].concat();
        let enqueue = osquery(&["distributed", "enqueue"]);
        let query = osquery(&["distributed", "x"]);
        for (method, path, slash, found) in [
            ("POST", &enqueue, false, Found::Route(Route::Enqueue)),
            (
                "GET",
                &enqueue,
                false,
                Found::Route(Route::Query("enqueue".into())),
            ),
            ("DELETE", &enqueue, false, Found::OtherMethod("POST")),
            ("POST", &enqueue, true, Found::WithoutSlash),
            ("GET", &query, false, Found::Route(Route::Query("x".into()))),
            ("POST", &query, false, Found::OtherMethod("GET")),
            ("GET", &osquery(&["distributed"]), false, Found::Nothing),
            ("GET", &osquery(&["nodes"]), true, Found::Nothing),
            (
                "GET",
                &osquery(&["distributed", "a", "b"]),
                false,
                Found::Nothing,
            ),
        ] {
            assert_eq!(find(method, path, slash), found, "{method} {path:?}");
        }
    }
}
