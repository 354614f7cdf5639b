//! Who may do what: tokens, logins, roles, and the words for what is refused.

use osquery_simulator::{
    FLEET_ADMIN_EMAIL, FLEET_ADMIN_PASSWORD, FLEET_MAINTAINER_TOKEN, FLEET_OBSERVER_TOKEN, Fault,
    FleetUser, Role,
};

use super::*;

fn token(token: &str) -> Credentials {
    Credentials::Token(Secret::new(token.into()))
}

fn login(password: &str) -> Credentials {
    Credentials::Login {
        username: Secret::new(FLEET_ADMIN_EMAIL.into()),
        password: Secret::new(password.into()),
    }
}

fn one_host() -> Scenario {
    Scenario::of([host("a")])
}

#[tokio::test]
async fn a_token_costs_no_request_and_may_be_verified() {
    for good in [FLEET_ADMIN_TOKEN, FLEET_MAINTAINER_TOKEN] {
        let mut bench = Bench::with(one_host(), token(good)).await;
        bench.fleet.authenticate().await.unwrap();
        assert_eq!(bench.observed().connections, 0);
        bench.fleet.verify().await.unwrap();
    }
}

#[tokio::test]
async fn a_wrong_token_is_refused_in_words() {
    let mut bench = Bench::with(one_host(), token("nope-nope")).await;
    bench.fleet.authenticate().await.unwrap();
    let verified = bench.fleet.verify().await.unwrap_err();
    let targets = Targets {
        hosts: vec!["a".into()],
        ..Targets::default()
    };
    let resolved = bench.resolve(&targets).await.unwrap_err();
    for error in [verified, resolved] {
        assert!(matches!(error, BackendError::Auth { .. }));
        assert_eq!(
            words_of(&bench, &error),
            "Fleet at SERVER refused the API token (HTTP 401: Authentication required) \
             | check the secret that `api_token` names: the token may be revoked, or another server's; a Fleet whose \
             database is down says the same"
        );
    }
}

#[tokio::test]
async fn an_observer_is_told_what_has_to_be_saved() {
    let mut bench = Bench::with(one_host(), token(FLEET_OBSERVER_TOKEN)).await;
    bench.fleet.verify().await.unwrap();
    let hint = "give the user one of the roles observer+ or technician (where Fleet is licensed for them), \
                maintainer or admin; or save this SQL, to the letter, with `observer_can_run: true` (`templates \
                export --format fleet` writes such files): SELECT * FROM processes LIMIT 2";
    let permitted = bench.fleet.permits(&statement(), &[]).await.unwrap_err();
    assert_eq!(
        words_of(&bench, &permitted),
        format!(
            "Fleet at SERVER does not let this user run live queries: its role is observer, and no \
                 saved query that this user sees is this step's statement | {hint}"
        )
    );
    let refused = bench.ask(&["a"]).await.unwrap_err();
    assert!(matches!(refused, BackendError::Auth { .. }));
    assert_eq!(
        words_of(&bench, &refused),
        format!(
            "Fleet at SERVER does not let this user run live queries on these hosts (HTTP 403: \
                 forbidden), and no saved query that this user sees is this step's statement | {hint}"
        )
    );
    assert!(!bench.fleet.may_be_running(false));
}

#[tokio::test]
async fn a_team_role_that_may_run_is_enough() {
    let user = |roles: &str| format!(r#"{{"user":{{"global_role":null,"teams":[{roles}]}}}}"#);
    for (roles, good) in [
        (r#"{"role":"observer"},{"role":"maintainer"}"#, true),
        (r#"{"role":"observer_plus"}"#, true),
        (r#"{"role":"technician"}"#, true),
        (r#"{"role":"observer"},{"role":"gitops"}"#, false),
        (r#"{"role":"gitops"}"#, false),
        (r#"{"role":"of-a-later-version"}"#, true),
        ("", true),
    ] {
        let scenario = one_host().with_fault(Fault::on("fleet/me").body(user(roles)));
        let mut bench = Bench::new(scenario).await;
        let verified = match bench.fleet.verify().await {
            Ok(()) => bench.fleet.permits(&statement(), &[]).await,
            refused => refused,
        };
        assert_eq!(verified.is_ok(), good, "{roles}: {verified:?}");
    }
}

#[tokio::test]
async fn a_password_that_must_be_reset_is_said_so() {
    let mut scenario = one_host();
    scenario.fleet.users = vec![FleetUser {
        name: "new".into(),
        email: FLEET_ADMIN_EMAIL.into(),
        password: FLEET_ADMIN_PASSWORD.into(),
        token: Some("new-token".into()),
        role: Role::Admin,
        must_reset_password: true,
        api_only: false,
        endpoints: None,
        id: None,
    }];
    let mut bench = Bench::with(scenario, token("new-token")).await;
    let error = bench.fleet.verify().await.unwrap_err();
    assert!(matches!(error, BackendError::Auth { .. }));
    assert!(
        words(&error).contains("lets this user do nothing until its password is reset"),
        "{error}"
    );
}

#[tokio::test]
async fn live_queries_that_do_not_work_are_found_by_verifying() {
    let body =
        r#"{"message":"redis down","errors":[{"name":"base","reason":"dial tcp: refused"}]}"#;
    let fault = Fault::on("status/live_query").status(500).body(body);
    let mut bench = Bench::new(one_host().with_fault(fault)).await;
    let error = bench.fleet.verify().await.unwrap_err();
    assert!(matches!(
        error,
        BackendError::Answer {
            status: Some(500),
            ..
        }
    ));
    assert_eq!(
        words_of(&bench, &error),
        "live queries do not work on this server: Fleet at SERVER answered GET \
         /api/v1/fleet/status/live_query with HTTP 500: dial tcp: refused | Fleet needs its Redis \
         for live queries: look at the server's log"
    );
}

#[tokio::test]
async fn a_login_is_used_and_ended() {
    let mut scenario = one_host();
    scenario.fleet.tick = Duration::from_millis(50);
    let mut bench = Bench::with(scenario, login(FLEET_ADMIN_PASSWORD)).await;
    bench.fleet.authenticate().await.unwrap();
    bench.fleet.verify().await.unwrap();
    assert_eq!(bench.ask(&["a"]).await.unwrap(), Asked::All);
    let answers = bench.answers(1).await;
    assert_answer_of(answers.values().next().unwrap(), "a");
    bench.stop(true).await;
    let observed = bench.observed();
    assert_eq!(observed.requests_to("POST", "/login").count(), 1);
    let logout = observed
        .requests_to("POST", "/logout")
        .next()
        .expect("a logout");
    let session = logout.header("authorization").unwrap();
    assert_ne!(session, format!("Bearer {FLEET_ADMIN_TOKEN}"));
    // The session is over: what it still wanted to do is refused.
    assert!(bench.fleet.verify().await.is_err());
}

#[tokio::test]
async fn a_login_is_ended_even_when_the_deadline_has_passed() {
    let credentials = login(FLEET_ADMIN_PASSWORD);
    let soon = Duration::from_millis(300);
    let mut bench = Bench::until(one_host(), credentials, soon).await;
    bench.fleet.authenticate().await.unwrap();
    tokio::time::sleep(soon).await;
    bench.stop(false).await;
    assert_eq!(bench.observed().requests_to("POST", "/logout").count(), 1);
}

#[tokio::test]
async fn a_wrong_password_is_refused_in_words() {
    let mut scenario = one_host();
    scenario.fleet.wrong_password = Duration::ZERO;
    let mut bench = Bench::with(scenario, login("wrong")).await;
    let error = bench.fleet.authenticate().await.unwrap_err();
    assert!(matches!(error, BackendError::Auth { .. }));
    assert_eq!(
        words_of(&bench, &error),
        "Fleet at SERVER refused the username or the password (HTTP 401: Authentication failed) | \
         `username` is the e-mail address of a Fleet user; a user who signs in through SSO needs an \
         `api_token`; a Fleet whose database is down says the same"
    );
    bench.stop(false).await;
    assert_eq!(bench.observed().requests_to("POST", "/logout").count(), 0);
}

#[tokio::test]
async fn a_second_factor_is_said_to_be_wanted() {
    let fault = Fault::on("fleet/login")
        .status(202)
        .body(r#"{"message":"mail sent"}"#);
    let mut bench = Bench::with(one_host().with_fault(fault), login("any")).await;
    let error = bench.fleet.authenticate().await.unwrap_err();
    assert!(matches!(error, BackendError::Auth { .. }));
    assert!(words(&error).contains("wants a second factor"), "{error}");
}

#[tokio::test]
async fn a_server_that_says_the_token_back_does_not_get_it_shown() {
    let body = format!(r#"{{"message":"bad token {FLEET_ADMIN_TOKEN}"}}"#);
    let fault = Fault::on("fleet/me").status(500).body(body);
    let mut bench = Bench::new(one_host().with_fault(fault)).await;
    let error = bench.fleet.verify().await.unwrap_err();
    assert!(words(&error).contains("bad token [redacted]"), "{error}");
    assert!(!words(&error).contains(FLEET_ADMIN_TOKEN));
}

#[tokio::test]
async fn a_logout_that_is_not_answered_holds_nobody_up() {
    let hang = Fault {
        hang: true,
        ..Fault::on("fleet/logout")
    };
    let credentials = login(FLEET_ADMIN_PASSWORD);
    let mut bench = Bench::with(one_host().with_fault(hang), credentials).await;
    bench.fleet.authenticate().await.unwrap();
    bench.stop(false).await;
    assert_eq!(bench.observed().requests_to("POST", "/logout").count(), 1);
}
