//! Credentials, roles and targets that a server does not accept.

use osquery_simulator::{
    FLEET_ADMIN_EMAIL, FLEET_ADMIN_PASSWORD, FLEET_OBSERVER_TOKEN, Fault, FleetUser,
    OSCTRL_ADMIN_PASSWORD, OSCTRL_PLUGIN_PASSWORD, OSCTRL_PLUGIN_TOKEN, Osctrl, OsctrlUser, Role,
    Scenario,
};

use crate::harness::site::{
    Kind, Site, WRONG_PASSWORD, WRONG_TOKEN, host, on_every, on_those, silent,
};

#[test]
fn faults_wrong_token() {
    on_every(|kind| {
        let site = Site::new(kind, Scenario::of([host("web-01")]));
        site.run("wrong-token", site.step(&["web-01"]).token(WRONG_TOKEN));
        assert!(site.seen().campaigns.is_empty());
    });
}

#[test]
fn faults_wrong_password() {
    on_those(Kind::logs_in, |kind| {
        let site = Site::new(kind, Scenario::of([host("web-01")]));
        let (username, _) = kind.user();
        let step = site.step(&["web-01"]).login(username, WRONG_PASSWORD);
        site.run("wrong-password", step);
        assert_eq!(
            site.seen().requests.len(),
            1,
            "a refused login is not tried again"
        );
    });
}

#[test]
fn faults_token_with_a_line_break() {
    on_every(|kind| {
        let site = Site::new(kind, Scenario::of([host("web-01")]));
        let token = format!("{WRONG_TOKEN}\nsecond line");
        site.run(
            "token-with-a-line-break",
            site.step(&["web-01"]).token(&token),
        );
        assert!(site.seen().requests.is_empty());
    });
}

#[test]
fn faults_role_without_permission() {
    on_those(Kind::logs_in, |kind| {
        let mut scenario = Scenario::of([host("web-01")]);
        scenario.osctrl = Osctrl {
            environments: vec!["dev".into(), "other".into()],
            users: vec![OsctrlUser {
                token: Some(OSCTRL_PLUGIN_TOKEN.into()),
                environments: vec!["other".into()],
                ..OsctrlUser::named("elsewhere", "")
            }],
            ..Osctrl::default()
        };
        let site = Site::new(kind, scenario);
        let step = site.step(&["web-01"]).token(match kind {
            Kind::Fleet => FLEET_OBSERVER_TOKEN,
            Kind::Osctrl => OSCTRL_PLUGIN_TOKEN,
            Kind::AisocDirect => unreachable!("there are no roles"),
        });
        site.run("role-without-permission", step);
        assert!(site.seen().campaigns.is_empty());
    });
}

/// osctrl's levels are two: one lists hosts, the other runs queries.
#[test]
fn faults_level_that_lists_and_does_not_query() {
    let refusal = kind_fault(403, r#"{"error":"no access"}"#);
    let site = Site::new(
        Kind::Osctrl,
        Scenario::of([host("web-01")]).with_fault(refusal),
    );
    let document = site.run("level-without-queries", site.step(&["web-01"]));
    assert!(!document.campaign().may_be_running);
}

fn kind_fault(status: u16, body: &str) -> Fault {
    Kind::Osctrl.dispatching().status(status).body(body)
}

#[test]
fn faults_password_that_must_be_reset() {
    let mut scenario = Scenario::of([host("web-01")]);
    scenario.fleet.users = vec![FleetUser {
        name: "New".into(),
        email: "new@example.com".into(),
        password: FLEET_ADMIN_PASSWORD.into(),
        token: None,
        role: Role::Maintainer,
        must_reset_password: true,
        api_only: false,
        endpoints: None,
        id: None,
    }];
    let site = Site::new(Kind::Fleet, scenario);
    let step = site
        .step(&["web-01"])
        .login("new@example.com", FLEET_ADMIN_PASSWORD);
    site.run("password-that-must-be-reset", step);
}

#[test]
fn faults_unknown_environment() {
    let site = Site::new(Kind::Osctrl, Scenario::of([host("web-01")]));
    site.run(
        "unknown-environment",
        site.step(&["web-01"]).with("environment", "prod"),
    );
    assert!(
        site.seen().campaigns.is_empty(),
        "osctrl leaves a query behind such a call"
    );
}

#[test]
fn faults_unknown_label() {
    let site = Site::new(
        Kind::Fleet,
        Scenario::of([host("web-01").labelled("Web servers")]),
    );
    let step = site
        .step(&["web-01"])
        .with("target_labels", vec!["Web server"]);
    site.run("unknown-label", step);
    assert!(site.seen().campaigns.is_empty());
}

#[test]
fn faults_every_host_unknown() {
    on_every(|kind| {
        let site = Site::new(kind, Scenario::of([host("web-01")]));
        site.run("every-host-unknown", site.step(&["web-1", "db-1"]));
        site.run("the-one-host-unknown", site.step(&["web-1"]));
        assert!(site.seen().campaigns.is_empty());
    });
}

#[test]
fn faults_some_hosts_unknown() {
    on_every(|kind| {
        let site = Site::new(kind, Scenario::of([host("web-01"), host("web-02")]));
        let document = site.run(
            "some-hosts-unknown",
            site.step(&["web-01", "db-1", "web-02"]),
        );
        assert!(document.partial);
    });
}

#[test]
fn faults_more_hosts_than_allowed() {
    on_every(|kind| {
        let site = Site::new(kind, Scenario::of([host("web-01"), host("web-02")]));
        let step = site.step(&["web-01", "web-02"]).with("max_hosts", 1);
        site.run("more-hosts-than-allowed", step);
        assert_eq!(kind.dispatches(&site.seen()), 0);
    });
}

/// The least that osctrl can give: it may not stop a query, and that is no error.
#[test]
fn faults_least_privilege() {
    let site = Site::new(
        Kind::Osctrl,
        Scenario::of([host("web-01"), silent("db-01")]),
    );
    let step = site
        .step(&["web-01", "db-01"])
        .token(OSCTRL_PLUGIN_TOKEN)
        .timeout(4);
    let document = site.run("least-privilege", step);
    assert!(document.campaign().may_be_running);
    assert_eq!(site.seen().requests_to("POST", "/expire/").count(), 1);
}

#[test]
fn faults_session_is_ended_after_the_run() {
    let site = Site::new(Kind::Fleet, Scenario::of([host("web-01")]));
    let step = site
        .step(&["web-01"])
        .login(FLEET_ADMIN_EMAIL, FLEET_ADMIN_PASSWORD);
    site.run("fleet-session", step);
    let seen = site.seen();
    let logouts: Vec<_> = seen.requests_to("POST", "/fleet/logout").collect();
    assert_eq!(logouts.len(), 1);
    let session = logouts[0].header("authorization");
    assert!(
        seen.requests_to("GET", "/hosts")
            .all(|call| call.header("authorization") == session)
    );
}

/// Another step of the same user logs in while this one runs: one new login, and it goes on.
#[test]
fn faults_session_that_ends_in_the_middle() {
    let ends = Fault {
        revoke_tokens: true,
        ..Fault::on("/results/").skipping(1).times(1)
    };
    let slow = host("web-02").delayed(std::time::Duration::from_millis(600));
    let site = Site::new(
        Kind::Osctrl,
        Scenario::of([host("web-01"), slow]).with_fault(ends),
    );
    let step = site
        .step(&["web-01", "web-02"])
        .login("plugin", OSCTRL_PLUGIN_PASSWORD);
    site.run("osctrl-session-that-ends", step);
    assert_eq!(site.seen().requests_to("POST", "/login").count(), 2);
    assert_eq!(site.seen().campaigns.len(), 1);
}

#[test]
fn faults_session_that_ends_again_and_again() {
    let ends = Fault {
        revoke_tokens: true,
        ..Fault::on("/results/")
    };
    let scenario = Scenario::of([host("web-01")]).with_fault(ends);
    let site = Site::new(Kind::Osctrl, scenario);
    let step = site.step(&["web-01"]).login("admin", OSCTRL_ADMIN_PASSWORD);
    site.run("osctrl-session-that-keeps-ending", step);
}

/// A token is all there is: its end is the run's, and what came is kept.
#[test]
fn faults_token_that_is_revoked_in_the_middle() {
    let slow = silent("web-02");
    let site = Site::new(Kind::Osctrl, Scenario::of([host("web-01"), slow]));
    let running = site
        .step(&["web-01", "web-02"])
        .arg("--format=ndjson")
        .binary()
        .start();
    running.wait_for_stdout("web-01");
    site.simulator.revoke_tokens();
    let ran = running.wait();
    site.assert_no_secret(&ran);
    assert_eq!(ran.lines().len(), 2);

    let ends = Fault {
        revoke_tokens: true,
        ..Fault::on("/results/").skipping(6)
    };
    let scenario = Scenario::of([host("web-01"), silent("web-02")]).with_fault(ends);
    let site = Site::new(Kind::Osctrl, scenario);
    let document = site.run(
        "token-revoked-in-the-middle",
        site.step(&["web-01", "web-02"]),
    );
    assert_eq!(document.results["web-01"].len(), 1, "what came is kept");
}

#[test]
fn faults_login_limit() {
    let mut scenario = Scenario::of([host("web-01")]);
    scenario.osctrl.login_limit = 0;
    let site = Site::new(Kind::Osctrl, scenario);
    let step = site.step(&["web-01"]).login("admin", OSCTRL_ADMIN_PASSWORD);
    site.run("login-limit", step);
    assert_eq!(
        site.seen().requests_to("POST", "/login").count(),
        1,
        "a minute is too long to wait"
    );
}
