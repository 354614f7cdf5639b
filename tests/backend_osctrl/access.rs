//! Tokens, logins, levels and environments.

use osquery_simulator::{
    CampaignState, Fault, HostSpec, OSCTRL_PLUGIN_PASSWORD, Osctrl, OsctrlUser,
};

use super::*;

fn one_host() -> Scenario {
    Scenario::of([HostSpec::named("web-01")])
}

#[tokio::test]
async fn a_token_costs_nothing_until_it_is_used() {
    let mut bench = Bench::new(one_host());
    bench.osctrl.authenticate().await.unwrap();
    assert!(bench.requests().is_empty());
    bench.osctrl.verify().await.unwrap();
    assert!(bench.simulator.campaigns().is_empty());
}

#[tokio::test]
async fn a_wrong_token_is_refused_where_it_is_used_first() {
    let mut bench = Bench::with(one_host(), token("wrong"));
    for error in [
        bench.osctrl.verify().await.unwrap_err(),
        bench.candidates(&named(&["web-01"])).await.unwrap_err(),
    ] {
        assert_eq!(
            bench.seen(&error),
            "auth: https://osctrl.example does not accept the token (HTTP 401) (look at the secret that `api_token` \
             names: the token may have expired, or belong to another server; a login of the same user ends it too. \
             If it is good, osctrl's database is down: osctrl then says the same)"
        );
    }
}

#[tokio::test]
async fn a_user_logs_in_without_an_administrators_path() {
    let mut bench = Bench::with(one_host(), login("plugin", OSCTRL_PLUGIN_PASSWORD));
    bench.osctrl.authenticate().await.unwrap();
    bench.ask(&["web-01"]).await;
    bench.answers(1).await;
    let requests = bench.requests();
    assert_eq!(requests[0], "POST /login");
    assert_eq!(
        requests.iter().filter(|one| one.contains("login")).count(),
        1
    );
}

#[tokio::test]
async fn a_wrong_password_is_refused() {
    let mut bench = Bench::with(one_host(), login("plugin", "wrong"));
    let error = bench.osctrl.authenticate().await.unwrap_err();
    assert_eq!(
        bench.seen(&error),
        "auth: https://osctrl.example refused the login: \"invalid credentials\" (check `username` and `password`, or \
         the secrets that they name. If they are right, osctrl's database is down: osctrl then says the same)"
    );
}

#[tokio::test]
async fn two_steps_of_one_user_cut_each_other_off_and_both_go_on() {
    let slow = HostSpec::named("web-01").delayed(Duration::from_millis(400));
    let mut bench = Bench::with(
        Scenario::of([slow]),
        login("plugin", OSCTRL_PLUGIN_PASSWORD),
    );
    bench.osctrl.authenticate().await.unwrap();
    bench.ask(&["web-01"]).await;
    // Another step of the same user; its login ends the first one's token (transcript `login-revokes`).
    let user = login("plugin", OSCTRL_PLUGIN_PASSWORD);
    let mut other = backend(&bench.simulator, user, "dev", PATIENCE);
    other.authenticate().await.unwrap();
    assert_eq!(bench.answers(1).await.len(), 1);
    other.verify().await.unwrap();
    let logins = bench
        .requests()
        .into_iter()
        .filter(|one| one == "POST /login");
    assert_eq!(logins.count(), 4);
}

#[tokio::test]
async fn a_token_that_ends_in_the_middle_is_an_error_and_rows_so_far_are_not_lost() {
    let hosts = [HostSpec::named("a"), HostSpec::named("b").delayed(PATIENCE)];
    let credentials = token(OSCTRL_PLUGIN_TOKEN);
    let time = Duration::from_secs(5);
    let mut bench = Bench::within(Scenario::of(hosts), credentials, "dev", time);
    bench.ask(&["a", "b"]).await;
    assert_eq!(bench.answers(1).await.len(), 1);
    bench.simulator.revoke_tokens();
    let error = bench.next().await.unwrap_err();
    assert!(matches!(error, BackendError::Auth { .. }), "{error}");
    assert!(bench.osctrl.may_be_running(false));
}

#[tokio::test]
async fn an_ended_session_before_the_dispatch_dispatches_once() {
    let fault = Fault {
        revoke_tokens: true,
        ..Fault::on_method("POST", "/queries/dev").times(1)
    };
    let scenario = one_host().with_fault(fault);
    let mut bench = Bench::with(scenario, login("plugin", OSCTRL_PLUGIN_PASSWORD));
    bench.ask(&["web-01"]).await;
    assert_eq!(bench.simulator.campaigns().len(), 1);
    assert_eq!(bench.answers(1).await.len(), 1);
}

#[tokio::test]
async fn too_many_logins_are_busy_when_the_deadline_is_sooner_than_the_server_says() {
    let mut scenario = one_host();
    scenario.osctrl.login_limit = 0;
    let mut bench = Bench::with(scenario, login("plugin", OSCTRL_PLUGIN_PASSWORD));
    let error = bench.osctrl.authenticate().await.unwrap_err();
    assert_eq!(
        bench.seen(&error),
        "busy: https://osctrl.example answered POST /api/v1/login with HTTP 429 and asks to wait 60 s ()"
    );
}

#[tokio::test]
async fn an_unknown_environment_is_named() {
    for name in ["nope", "a b/c?d"] {
        let credentials = token(OSCTRL_ADMIN_TOKEN);
        let mut bench = Bench::within(one_host(), credentials, name, PATIENCE);
        for error in [
            bench.osctrl.verify().await.unwrap_err(),
            bench.candidates(&named(&["web-01"])).await.unwrap_err(),
        ] {
            let BackendError::Targets { message, .. } = &error else {
                panic!("{error:?}");
            };
            assert!(
                message.ends_with(&format!("has no environment `{name}`")),
                "{message}"
            );
        }
    }
    let credentials = token(OSCTRL_ADMIN_TOKEN);
    let mut bench = Bench::within(one_host(), credentials, "..", PATIENCE);
    let error = bench.candidates(&named(&["web-01"])).await.unwrap_err();
    assert!(matches!(error, BackendError::Targets { .. }), "{error}");
    assert!(bench.requests().is_empty());
}

#[tokio::test]
async fn a_level_in_another_environment_is_no_level() {
    let scenario = Scenario {
        osctrl: Osctrl {
            environments: vec!["dev".into(), "production".into()],
            users: vec![OsctrlUser {
                token: Some("t".into()),
                environments: vec!["production".into()],
                ..OsctrlUser::named("plugin", "")
            }],
            ..Osctrl::default()
        },
        ..one_host()
    };
    let mut bench = Bench::with(scenario, token("t"));
    let error = bench.osctrl.verify().await.unwrap_err();
    assert_eq!(
        bench.seen(&error),
        "auth: the token's user may not list the hosts in the environment `dev` of https://osctrl.example: \"no \
         access\" (give that user osctrl's level `user` in this environment)"
    );
}

#[tokio::test]
async fn stopping_is_an_administrators_and_no_error_for_others() {
    for (admin, state) in [
        (true, CampaignState::Expired),
        (false, CampaignState::Running),
    ] {
        let silent = HostSpec::named("mute").answering(osquery_simulator::Answer::Silent);
        let scenario = Scenario::of([silent]);
        let mut bench = match admin {
            true => Bench::as_admin(scenario),
            false => Bench::new(scenario),
        };
        bench.ask(&["mute"]).await;
        assert!(bench.osctrl.may_be_running(false));
        bench.osctrl.stop(false).await;
        assert_eq!(bench.simulator.campaigns()[0].state, state);
    }
}
