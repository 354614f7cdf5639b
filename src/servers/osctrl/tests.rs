//! The backend against servers that misbehave, and what it says of them, word for word.

use std::borrow::Cow;
use std::time::Duration;

use serde_json::{Value, json};

use super::query::{SHORTEST_PAUSE, UNKNOWN_FOR};
use super::stub::{Asked, Stub};
use super::*;
use crate::campaign::host::Answer;
use crate::campaign::host::Platform;
use crate::campaign::host::Texts;

const SQL: &str = "SELECT * FROM logged_in_users";

fn host(uuid: &str) -> Host {
    let texts = Texts {
        hostname: &uuid.to_lowercase(),
        uuid,
        ..Texts::default()
    };
    Host::new(uuid.into(), &texts)
}

fn named(names: &[&str]) -> Targets {
    Targets {
        hosts: names.iter().map(|&name| name.into()).collect(),
        ..Targets::default()
    }
}

fn limits(max_hosts: usize) -> Limits {
    Limits {
        max_hosts,
        max_rows_per_host: 100,
        max_bytes: 100_000,
    }
}

fn ids(hosts: &[Host]) -> Vec<Cow<'_, str>> {
    let mut ids: Vec<_> = hosts.iter().map(|host| host.id.text()).collect();
    ids.sort_unstable();
    ids
}

fn node(uuid: &str, hostname: &str) -> Value {
    json!({"uuid": uuid, "hostname": hostname, "hardware_serial": format!("S-{uuid}"), "platform": "ubuntu",
           "node_key": "never-shown"})
}

fn page_of(nodes: &[Value]) -> String {
    json!({"items": nodes, "total_items": nodes.len(), "page_size": 500}).to_string()
}

fn item(id: u64, uuid: &str) -> Value {
    let data = json!({"name": "q", "result": [{"n": uuid}], "status": 0, "message": ""});
    json!({"id": id, "uuid": uuid, "status": 0, "data": data.to_string()})
}

fn state(more: Value) -> String {
    let mut state = json!({"id": 7, "expected": 2, "executions": 0, "errors": 0, "active": true,
        "completed": false, "expired": false, "deleted": false});
    for (key, value) in more.as_object().unwrap() {
        state[key] = value.clone();
    }
    state.to_string()
}

fn refusal(text: &str) -> String {
    json!({"error": text}).to_string()
}

/// A server that accepts every query, and answers what is asked about it as `answer` says.
async fn running(mut answer: impl FnMut(&Asked) -> (u16, String) + Send + 'static) -> Stub {
    Stub::start(move |asked| match asked.line.as_str() {
        "POST /queries/dev" => (200, json!({"query_name": "q"}).to_string()),
        _ => answer(asked),
    })
    .await
}

fn is_results(asked: &Asked) -> bool {
    asked.line.starts_with("GET /queries/dev/results/q?")
}

async fn dispatched(stub: &Stub) -> Osctrl {
    let mut backend = stub.backend();
    backend
        .dispatch(SQL, &[host("A"), host("B")])
        .await
        .unwrap();
    backend
}

/// Everything until the campaign is over: who answered what.
async fn events(backend: &mut Osctrl) -> Result<Vec<(String, String)>, BackendError> {
    let mut events = Vec::new();
    loop {
        match backend.next().await? {
            Event::Answered { host, answer } => events.push((
                host.to_string(),
                match answer {
                    Answer::Rows(rows) => rows.json().to_owned(),
                    Answer::Error(message) => message,
                },
            )),
            Event::Exhausted => return Ok(events),
            other => panic!("not osctrl's: {other:?}"),
        }
    }
}

/// The error as people see it: class, message, hint. The port differs from run to run.
fn seen(stub: &Stub, error: &BackendError) -> String {
    let (class, hint) = match error {
        BackendError::Auth { hint, .. } => ("auth", hint.clone()),
        BackendError::Targets { hint, .. } => ("targets", hint.clone()),
        BackendError::Answer { hint, .. } => ("answer", hint.clone()),
        BackendError::Unreachable { hint, .. } => ("unreachable", hint.clone()),
        BackendError::Setup { hint, .. } => ("setup", hint.clone()),
        BackendError::TooManyHosts { .. } => ("too many", None),
        BackendError::Busy { .. } => ("busy", None),
        BackendError::Forbidden { .. } => ("forbidden", None),
    };
    format!("{class}: {error} ({})", hint.unwrap_or_default())
        .replace(&stub.address(), "https://osctrl.example")
}

#[tokio::test]
async fn a_token_that_is_refused_is_an_error_at_once() {
    let stub = Stub::start(|_| {
        (
            401,
            r#"{"error":"unauthorized","code":"unauthorized"}"#.into(),
        )
    })
    .await;
    let error = stub.backend().verify().await.unwrap_err();
    assert_eq!(
        seen(&stub, &error),
        "auth: https://osctrl.example does not accept the token (HTTP 401) (look at the secret that `api_token` \
         names: the token may have expired, or belong to another server; a login of the same user ends it too. If it is \
         good, osctrl's database is down: osctrl then says the same)"
    );
    assert_eq!(stub.asked().len(), 1);
}

#[tokio::test]
async fn an_ended_login_session_is_begun_anew_and_the_call_repeated() {
    let mut logins = 0;
    let stub = Stub::start(move |asked| match asked.line.as_str() {
        "POST /login" => {
            logins += 1;
            (200, json!({"token": format!("t{logins}")}).to_string())
        }
        "POST /queries/dev" if asked.token.as_deref() == Some("t1") => {
            (401, refusal("unauthorized"))
        }
        _ => (200, json!({"query_name": "q"}).to_string()),
    })
    .await;
    let mut backend = stub.backend_with_login();
    backend.authenticate().await.unwrap();
    backend.authenticate().await.unwrap();
    backend.dispatch(SQL, &[host("A")]).await.unwrap();
    assert_eq!(backend.campaign_id().as_deref(), Some("q"));
    assert_eq!(
        stub.lines(),
        [
            "POST /login",
            "POST /queries/dev",
            "POST /login",
            "POST /queries/dev"
        ]
    );
    let bodies = stub.asked();
    // Without it a refusal is a redirect to a web page (transcript `auth`).
    assert_eq!(bodies[3].accept.as_deref(), Some("application/json"));
    assert_eq!(bodies[3].token.as_deref(), Some("t2"));
    assert_eq!(
        serde_json::from_str::<Value>(&bodies[0].body).unwrap(),
        json!({"username": "user", "password": "pass-word", "exp_hours": 1})
    );
    assert_eq!(
        serde_json::from_str::<Value>(&bodies[3].body).unwrap(),
        json!({"query": SQL, "uuid_list": ["A"], "hidden": false, "exp_hours": 1})
    );
}

#[tokio::test]
async fn logins_are_few_whatever_the_server_does() {
    let stub = Stub::start(|asked| match asked.line.as_str() {
        "POST /login" => (200, json!({"token": "t"}).to_string()),
        _ => (401, refusal("unauthorized")),
    })
    .await;
    let mut backend = stub.backend_with_login();
    // Four searches at the same time share the logins.
    let error = backend
        .resolve(&named(&["Some-Host"]), &limits(10))
        .await
        .unwrap_err();
    assert_eq!(
        seen(&stub, &error),
        "auth: https://osctrl.example ended the login session 3 times in one run (a login ends the earlier ones of \
         the same user: give each step its own user, or use `api_token` instead of `username` and `password`)"
    );
    let logins = stub
        .lines()
        .iter()
        .filter(|line| *line == "POST /login")
        .count();
    assert_eq!(logins, 3);
}

#[tokio::test]
async fn a_refused_login_says_so_without_the_password() {
    for (status, body, expected) in [
        (
            403,
            refusal("invalid credentials for pass-word"),
            "auth: https://osctrl.example refused the login: \"invalid credentials for [redacted]\" (check `username` \
             and `password`, or the secrets that they name. If they are right, osctrl's database is down: osctrl then \
             says the same)",
        ),
        (
            200,
            r#"{"mfa_required":true}"#.into(),
            "auth: https://osctrl.example asks this user for a second factor, which nobody can give here (use an API \
             token (`api_token`) instead of `username` and `password`, or a service user: these need no second factor)",
        ),
        (
            200,
            r#"{"csrf_token":"x"}"#.into(),
            "auth: https://osctrl.example answered the login without a token (use an API token (`api_token`) instead \
             of `username` and `password`, and look at osctrl's log)",
        ),
        (
            404,
            "404 page not found\n".into(),
            "answer: https://osctrl.example answered POST /api/v1/login with HTTP 404: \"404 page not found\" (check \
             that `base_url` is the address of osctrl's API)",
        ),
    ] {
        let stub = Stub::start(move |_| (status, body.clone())).await;
        let error = stub.backend_with_login().authenticate().await.unwrap_err();
        assert_eq!(seen(&stub, &error), expected);
    }
}

#[tokio::test]
async fn a_dispatch_that_fails_says_why_and_whether_it_may_run() {
    for (status, body, may_run, expected) in [
        (
            403,
            refusal("no access"),
            false,
            "auth: the token's user may not run queries in the environment `dev` of https://osctrl.example: \"no \
             access\" (give that user osctrl's level `query` in this environment)",
        ),
        (
            500,
            refusal("error getting environment"),
            true,
            "targets: https://osctrl.example has no environment `dev` (check `environment` in the step: it is the \
             environment's name or uuid in osctrl; case matters (older servers know only the uuid))",
        ),
        (
            500,
            refusal("error creating query"),
            true,
            "answer: https://osctrl.example could not create the query: \"error creating query\" (osctrl says so when \
             one of the hosts is not enrolled any more: run the step again, so that the hosts are looked up anew)",
        ),
        (
            400,
            refusal("query can not be empty"),
            false,
            "answer: https://osctrl.example answered POST /api/v1/queries/dev with HTTP 400: \"query can not be empty\" ()",
        ),
        (
            500,
            "<html>oops</html>".into(),
            true,
            "answer: https://osctrl.example answered POST /api/v1/queries/dev with HTTP 500 (osctrl's log says more)",
        ),
        (
            200,
            "{}".into(),
            true,
            "answer: https://osctrl.example accepted the query but did not say what it is called (its answers can't be \
             read; look at osctrl's list of queries)",
        ),
        (
            200,
            r#"{"query_name":".."}"#.into(),
            true,
            "answer: https://osctrl.example accepted the query but did not say what it is called (its answers can't be \
             read; look at osctrl's list of queries)",
        ),
        (
            200,
            "{\"query_name\":".into(),
            true,
            "answer: the server answered POST /api/v1/queries/dev with something that is not JSON (HTTP 200, line 1, \
             column 14) (check that `base_url` is the API's address, and not a web page or a proxy)",
        ),
        (
            502,
            String::new(),
            true,
            "answer: https://osctrl.example answered POST /api/v1/queries/dev with HTTP 502 (a gateway in front of the server can't reach it)",
        ),
    ] {
        let stub = Stub::start(move |_| (status, body.clone())).await;
        let mut backend = stub.backend();
        let error = backend.dispatch(SQL, &[host("A")]).await.unwrap_err();
        assert_eq!(seen(&stub, &error), expected);
        assert_eq!(backend.may_be_running(false), may_run, "{expected}");
        assert_eq!(backend.campaign_id(), None);
        // Whatever happened, it is not sent again.
        assert_eq!(stub.lines(), ["POST /queries/dev"]);
    }
}

#[tokio::test]
async fn nothing_is_sent_for_no_host_and_for_what_osctrl_would_carve() {
    let stub = Stub::start(|_| (200, "{}".into())).await;
    let mut backend = stub.backend();
    let nobody = backend.dispatch(SQL, &[]).await.unwrap_err();
    assert_eq!(
        seen(&stub, &nobody),
        "targets: there is no host to ask: nothing was dispatched ()"
    );
    let sql = "SELECT * FROM file WHERE path = '/tmp/Carves'";
    let carve = backend.dispatch(sql, &[host("A")]).await.unwrap_err();
    assert_eq!(
        seen(&stub, &carve),
        "answer: osctrl takes every query that contains the word `carves` for a file carve: nothing was dispatched \
         (use a template and parameters without that word)"
    );
    assert!(!backend.may_be_running(false));
    assert!(stub.asked().is_empty());
}

#[tokio::test]
async fn a_server_that_was_never_reached_runs_nothing() {
    let stub = Stub::start(|_| (200, "{}".into())).await;
    let mut backend = stub.backend();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let server = Server {
        access: crate::known_servers::Access::Osctrl {
            environment: "dev".into(),
        },
        base_url: url::Url::parse(&url).unwrap(),
        credentials: crate::step::model::Credentials::Token(crate::secret::Secret::new("t".into())),
        verify_tls: true,
        ca_file: None,
    };
    let deadline = Instant::now() + Duration::from_millis(100);
    let http = Http::new(&server, deadline, crate::notices::Notices::unheard()).unwrap();
    backend.rest = Rest::new(&server, "dev", http);
    let error = backend.dispatch(SQL, &[host("A")]).await.unwrap_err();
    assert!(matches!(error, BackendError::Unreachable { .. }), "{error}");
    assert!(!backend.may_be_running(false));
}

#[tokio::test]
async fn counters_that_run_ahead_of_the_items_lose_nothing() {
    let mut states = 0;
    let stub = running(move |asked| {
        if is_results(asked) {
            let items = match states {
                0..3 => vec![item(1, "A")],
                _ => vec![item(1, "A"), item(2, "B")],
            };
            let body = json!({"items": items, "total_items": items.len()});
            return (200, body.to_string());
        }
        states += 1;
        (200, state(json!({"executions": 2, "completed": true})))
    })
    .await;
    let mut backend = dispatched(&stub).await;
    let rows = |uuid: &str| (uuid.to_owned(), format!(r#"[{{"n":"{uuid}"}}]"#));
    assert_eq!(events(&mut backend).await.unwrap(), [rows("A"), rows("B")]);
}

#[tokio::test]
async fn a_query_that_somebody_ends_blames_nobody() {
    let ended = |over: Value| async move {
        let answer = state(over.clone());
        let stub = running(move |asked| match is_results(asked) {
            true => (200, json!({"items": [], "total_items": 0}).to_string()),
            false => (200, answer.clone()),
        })
        .await;
        let mut backend = dispatched(&stub).await;
        assert_eq!(events(&mut backend).await.unwrap(), [], "{over}");
        assert!(!backend.may_be_running(false));
    };
    tokio::join!(
        ended(json!({"expired": true})),
        ended(json!({"deleted": true})),
    );
}

#[tokio::test]
async fn a_query_that_vanishes_was_deleted() {
    let mut polls = 0;
    let stub = running(move |asked| {
        polls += 1;
        match (polls, is_results(asked)) {
            (..3, true) => (200, json!({"items": [], "total_items": 0}).to_string()),
            (..3, false) => (200, state(json!({}))),
            (_, true) => (404, refusal("query not found")),
            (_, false) => (200, state(json!({"id": 0, "expected": 0}))),
        }
    })
    .await;
    let mut backend = dispatched(&stub).await;
    assert_eq!(events(&mut backend).await.unwrap(), []);
}

#[tokio::test]
async fn a_query_may_be_unknown_for_a_moment_only() {
    let stub = running(|asked| match is_results(asked) {
        true => (404, refusal("query not found")),
        false => (200, state(json!({"id": 0}))),
    })
    .await;
    let mut backend = dispatched(&stub).await;
    let begun = Instant::now();
    let error = events(&mut backend).await.unwrap_err();
    assert!(begun.elapsed() >= UNKNOWN_FOR - SHORTEST_PAUSE);
    assert_eq!(
        seen(&stub, &error),
        "answer: https://osctrl.example does not know the query that it has accepted (somebody may have deleted it; if \
         this happens again, look at osctrl's log)"
    );
    assert!(backend.may_be_running(false));
}

#[tokio::test]
async fn a_query_that_is_known_after_a_moment_goes_on() {
    let mut polls = 0;
    let stub = running(move |asked| {
        polls += 1;
        match (polls, is_results(asked)) {
            (..4, true) => (404, refusal("query not found")),
            (..4, false) => (200, state(json!({"id": 0}))),
            (_, true) => {
                let items = [item(1, "A"), item(2, "B")];
                (200, json!({"items": items, "total_items": 2}).to_string())
            }
            (_, false) => (200, state(json!({"executions": 2, "completed": true}))),
        }
    })
    .await;
    let mut backend = dispatched(&stub).await;
    assert_eq!(events(&mut backend).await.unwrap().len(), 2);
}

#[tokio::test]
async fn polling_waits_out_a_few_errors() {
    let mut polls = 0;
    let stub = running(move |asked| {
        polls += 1;
        match (polls, is_results(asked)) {
            (1..=3, _) => (500, refusal("error getting query results")),
            (_, true) => {
                let items = [item(1, "A"), item(2, "B")];
                (200, json!({"items": items, "total_items": 2}).to_string())
            }
            (_, false) => (200, state(json!({"executions": 2, "completed": true}))),
        }
    })
    .await;
    let mut backend = dispatched(&stub).await;
    assert_eq!(events(&mut backend).await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_dropped_call_loses_nothing() {
    let stub = running(move |asked| {
        std::thread::sleep(Duration::from_millis(30));
        match is_results(asked) {
            true => {
                let items = [item(1, "A"), item(2, "B")];
                (200, json!({"items": items, "total_items": 2}).to_string())
            }
            false => (200, state(json!({"executions": 2, "completed": true}))),
        }
    })
    .await;
    let mut backend = dispatched(&stub).await;
    let mut answered = Vec::new();
    loop {
        // Shorter than any answer takes, at first.
        let patience = Duration::from_millis(10 + 40 * u64::from(stub.asked().len() > 3));
        match tokio::time::timeout(patience, backend.next()).await {
            Ok(Ok(Event::Answered { host, .. })) => answered.push(host.to_string()),
            Ok(Ok(_)) => break,
            Ok(Err(error)) => panic!("{error}"),
            Err(_) => {}
        }
    }
    assert_eq!(answered, ["A", "B"]);
}

#[tokio::test]
async fn endless_results_are_an_error() {
    let mut id = 0;
    let stub = running(move |_| {
        let items: Vec<Value> = (0..1_000)
            .map(|_| {
                id += 1;
                item(id, &format!("X{id}"))
            })
            .collect();
        (
            200,
            json!({"items": items, "total_items": u64::MAX}).to_string(),
        )
    })
    .await;
    let mut backend = dispatched(&stub).await;
    let error = events(&mut backend).await.unwrap_err();
    assert_eq!(
        seen(&stub, &error),
        "answer: https://osctrl.example claims many times more results than hosts were asked ()"
    );
}

#[tokio::test]
async fn stopping_is_tried_once_and_accepted_where_it_is_refused() {
    for status in [200, 403, 404, 500] {
        let stub = running(move |_| (status, refusal("no access"))).await;
        let mut backend = dispatched(&stub).await;
        assert!(backend.may_be_running(false));
        assert!(!backend.may_be_running(true));
        backend.stop(true).await;
        backend.stop(false).await;
        assert_eq!(
            stub.lines(),
            ["POST /queries/dev", "POST /queries/dev/expire/q"]
        );
    }
}

#[tokio::test]
async fn stopping_works_when_the_steps_time_is_over() {
    let stub = running(|_| (200, "{}".into())).await;
    let mut backend = dispatched(&stub).await;
    backend.rest = backend.rest.with_deadline(Instant::now());
    backend.stop(false).await;
    assert_eq!(stub.lines()[1], "POST /queries/dev/expire/q");
}

#[tokio::test]
async fn a_name_is_searched_in_every_spelling_and_then_among_all() {
    let nodes = [node("AB-1", "Web.Example"), node("AB-2", "other")];
    let stub = Stub::start(move |asked| {
        // No search finds anything, as with a serial or a hostname of mixed case.
        match asked.line.contains("q=") || asked.line.contains("inactive") {
            true => (200, page_of(&[])),
            false => (200, page_of(&nodes)),
        }
    })
    .await;
    let mut backend = stub.backend();
    let found = backend
        .resolve(&named(&["Web.exAmple", "s-ab-2"]), &limits(10))
        .await
        .unwrap();
    assert_eq!(ids(&found.named), ["AB-1", "AB-2"]);
    assert!(found.named.iter().all(|host| host.online == Some(true)));
    let lines = stub.lines();
    for text in [
        "Web.exAmple",
        "web.example",
        "WEB.EXAMPLE",
        "s-ab-2",
        "S-AB-2",
    ] {
        for status in ["", "&status=inactive"] {
            let line = format!("GET /nodes/dev?q={text}{status}&page=1&page_size=500");
            assert_eq!(
                lines.iter().filter(|one| **one == line).count(),
                1,
                "{line}"
            );
        }
    }
    assert_eq!(lines.len(), 2 * 5 + 2);
}

#[tokio::test]
async fn what_the_search_finds_needs_no_list() {
    let uuid = "4C4C4544-0000-4000-8000-686F00000001";
    let stub = Stub::start(move |asked| {
        match asked.line.starts_with(&format!("GET /nodes/dev?q={uuid}&")) {
            true => (200, page_of(&[node(uuid, "h")])),
            false => (200, page_of(&[])),
        }
    })
    .await;
    let mut backend = stub.backend();
    let found = backend
        .resolve(&named(&[&uuid.to_lowercase()]), &limits(10))
        .await
        .unwrap();
    assert_eq!(ids(&found.named), [uuid]);
    // The filter for inactive ones found it too.
    assert_eq!(found.named[0].online, Some(false));
    assert_eq!(stub.asked().len(), 2);
    let found = backend
        .resolve(&named(&[&format!("h@{uuid}")]), &limits(10))
        .await
        .unwrap();
    assert_eq!(ids(&found.named), [uuid]);
}

#[tokio::test]
async fn many_names_are_read_from_the_list_at_once() {
    let nodes: Vec<Value> = (0..1_200)
        .map(|n| node(&format!("U{n}"), &format!("h{n}")))
        .collect();
    let stub = Stub::start(move |asked| {
        if asked.line.contains("inactive") {
            return (500, refusal("failed to query nodes"));
        }
        let page = asked
            .line
            .split("page=")
            .nth(1)
            .unwrap()
            .split('&')
            .next()
            .unwrap();
        let page: usize = page.parse().unwrap();
        let items: Vec<&Value> = nodes.iter().skip((page - 1) * 500).take(500).collect();
        (
            200,
            json!({"items": items, "total_items": 1_200, "page_size": 500}).to_string(),
        )
    })
    .await;
    let mut backend = stub.backend();
    let names: Vec<String> = (0..30).map(|n| format!("H{}", n * 41)).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let found = backend.resolve(&named(&names), &limits(10)).await.unwrap();
    assert_eq!(found.named.len(), 30);
    // The server does not say who is inactive: no error, and no answer to that.
    assert!(found.named.iter().all(|host| host.online.is_none()));
    assert_eq!(stub.asked().len(), 3 + 1);
}

#[tokio::test]
async fn what_moved_from_page_to_page_unseen_is_searched() {
    let stub = Stub::start(|asked| {
        let line = &asked.line;
        let nodes: Vec<Value> = match () {
            () if line.contains("inactive") => vec![],
            // One host is on no page, however often they are read.
            () if !line.contains("q=") => (1..30)
                .map(|n| node(&format!("U{n}"), &format!("h{n}")))
                .collect(),
            () if line.contains("q=h0&") => vec![node("U0", "h0")],
            () => vec![],
        };
        (200, page_of(&nodes))
    })
    .await;
    let names: Vec<String> = (0..30).map(|n| format!("h{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let found = stub.backend().resolve(&named(&names), &limits(100)).await;
    assert_eq!(found.unwrap().named.len(), 30);
}

#[tokio::test]
async fn lists_that_lie_about_their_length_end() {
    for total in [json!(u64::MAX), json!(1e300), json!(-5), json!(null)] {
        let answer = json!({"items": [node("A", "a")], "total_items": total}).to_string();
        let stub = Stub::start(move |_| (200, answer.clone())).await;
        let found = stub
            .backend()
            .resolve(&named(&["b"]), &limits(10))
            .await
            .unwrap();
        assert!(found.named.is_empty());
        assert!(
            stub.asked().len() < 150,
            "{} for {total}",
            stub.asked().len()
        );
    }
}

#[tokio::test]
async fn an_older_server_lists_everything_to_administrators() {
    let all = json!([
        {"ID": 1, "UUID": "a-1", "Hostname": "one", "HardwareSerial": "S1", "Platform": "ubuntu"},
        {"ID": 2, "UUID": "a-2", "Hostname": "two", "HardwareSerial": "S2", "Platform": "windows"}
    ])
    .to_string();
    let stub = Stub::start(move |asked| match asked.line.as_str() {
        "GET /nodes/dev/all" => (200, all.clone()),
        _ => (404, "404 page not found\n".into()),
    })
    .await;
    let mut backend = stub.backend();
    backend.verify().await.unwrap();
    let found = backend
        .resolve(&named(&["ONE"]), &limits(10))
        .await
        .unwrap();
    assert_eq!(ids(&found.named), ["A-1"]);
    assert_eq!(found.named[0].online, None);
    let targets = Targets {
        platforms: vec![Platform::Windows],
        ..Targets::default()
    };
    let found = backend.resolve(&targets, &limits(10)).await.unwrap();
    assert_eq!(ids(&found.grouped), ["A-2"]);

    let stub = Stub::start(|asked| match asked.line.as_str() {
        "GET /nodes/dev/all" => (403, refusal("no access")),
        _ => (404, "404 page not found\n".into()),
    })
    .await;
    let error = stub
        .backend()
        .resolve(&named(&["one"]), &limits(10))
        .await
        .unwrap_err();
    assert_eq!(
        seen(&stub, &error),
        "auth: the token's user may not list all hosts at once (this osctrl has no paged list, which needs less) in \
         the environment `dev` of https://osctrl.example: \"no access\" (give that user osctrl's level `admin` in this \
         environment)"
    );
}

#[tokio::test]
async fn platforms_are_filtered_by_the_server_and_other_distributions_found() {
    let stub = Stub::start(|asked| {
        let with = |platform: &str, uuid: &str| {
            let mut node = node(uuid, uuid);
            node["platform"] = platform.into();
            node
        };
        let line = &asked.line;
        let nodes = match () {
            () if line.contains("status=inactive") => vec![with("gentoo", "G")],
            () if line.contains("platform=linux") => vec![with("ubuntu", "L")],
            () if line.contains("platform=other") => {
                vec![with("gentoo", "G"), with("freebsd", "F"), with("", "N")]
            }
            () if line.contains("platform=windows") => vec![with("win32", "W")],
            () => panic!("{line}"),
        };
        (200, page_of(&nodes))
    })
    .await;
    let mut backend = stub.backend();
    let targets = Targets {
        platforms: vec![Platform::Linux, Platform::Windows],
        ..Targets::default()
    };
    let found = backend.resolve(&targets, &limits(10)).await.unwrap();
    assert_eq!(ids(&found.grouped), ["G", "L", "W"]);
    let of = |id: &str| {
        found
            .grouped
            .iter()
            .find(|host| host.id.text() == id)
            .unwrap()
    };
    assert_eq!(of("W").platform, Some(Platform::Windows));
    assert_eq!((of("G").online, of("L").online), (Some(false), Some(true)));
    let error = backend.resolve(&targets, &limits(2)).await.unwrap_err();
    assert_eq!(
        seen(&stub, &error),
        "too many: the targets are more hosts than `max_hosts` allows (2): nothing was dispatched ()"
    );
}

#[tokio::test]
async fn too_many_hosts_of_a_platform_are_known_from_the_first_page() {
    let stub = Stub::start(|_| {
        let body = json!({"items": [node("A", "a")], "total_items": 5_000});
        (200, body.to_string())
    })
    .await;
    let targets = Targets {
        platforms: vec![Platform::Darwin],
        ..Targets::default()
    };
    let error = stub
        .backend()
        .resolve(&targets, &limits(1_000))
        .await
        .unwrap_err();
    assert_eq!(error, BackendError::TooManyHosts { max_hosts: 1_000 });
}

#[tokio::test]
async fn what_may_not_be_listed_names_level_and_environment() {
    let stub = Stub::start(|asked| match asked.line.as_str() {
        "GET /checks-auth" => (200, "✅".into()),
        _ => (403, refusal("no access")),
    })
    .await;
    let error = stub.backend().verify().await.unwrap_err();
    assert_eq!(
        seen(&stub, &error),
        "auth: the token's user may not list the hosts in the environment `dev` of https://osctrl.example: \"no \
         access\" (give that user osctrl's level `user` in this environment)"
    );
    let stub = Stub::start(|asked| match asked.line.contains("/queries/") {
        false => (200, page_of(&[])),
        true => (403, refusal("no access")),
    })
    .await;
    let error = stub.backend().verify().await.unwrap_err();
    assert_eq!(
        seen(&stub, &error),
        "auth: the token's user may not run queries in the environment `dev` of https://osctrl.example: \"no access\" \
         (give that user osctrl's level `query` in this environment)"
    );
}
