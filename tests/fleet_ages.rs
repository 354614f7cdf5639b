//! Fleet as it was and as it became, through the real binary: limited tokens, roles, phones, lists that break
//! off, live queries that are switched off, hosts that write into campaigns of others.

use osquery_simulator::{
    Endpoints, Fault, FleetUser, HostSpec, ListError, Role, Scenario, ServerVersion,
};

use crate::harness::Ran;
use crate::harness::site::{Kind, Site, host, on_all};

const AGES: [ServerVersion; 4] = [
    ServerVersion::FLEET_2025,
    ServerVersion(4, 82, 0),
    ServerVersion(4, 90, 0),
    ServerVersion::FLEET_2026,
];

/// A token that no document may hold.
const LIMITED: &str = "marker-of-a-token-that-is-limited";

fn fleet(version: ServerVersion, hosts: impl IntoIterator<Item = HostSpec>) -> Scenario {
    let mut scenario = Scenario::of(hosts);
    scenario.fleet.version = Some(version);
    scenario
}

fn as_user(mut scenario: Scenario, role: Role, endpoints: Option<Endpoints>) -> Site {
    let mut user = FleetUser::with_token("Responder", role, LIMITED);
    user.endpoints = endpoints;
    scenario.fleet.users = vec![user];
    Site::new(Kind::Fleet, scenario)
}

#[track_caller]
fn assert_whole(site: &Site, ran: &Ran, what: &str) {
    site.assert_no_secret(ran);
    let document = ran.document();
    assert_eq!(
        (ran.status, document.partial),
        (0, false),
        "{what}: {ran:?}"
    );
    assert_eq!(document.results["web-01"].len(), 1, "{what}");
}

#[track_caller]
fn assert_refused(site: &Site, ran: &Ran, status: i32, words: &str) {
    site.assert_no_secret(ran);
    let error = ran.document().error.expect("an error");
    assert_eq!((ran.status, error.exit_code), (status, status), "{ran:?}");
    assert!(error.message.contains(words), "{words}: {}", error.message);
}

/// `POST reports/run` may be listed since 4.90; before that the error names it.
#[test]
fn a_token_that_is_limited_to_endpoints_works_from_4_90_on() {
    let cases = [85, 89, 90, 91, 93].map(|minor| (ServerVersion(4, minor, 0), minor >= 90));
    on_all(cases, |(version, works)| {
        let scenario = fleet(version, [host("web-01")]);
        let site = as_user(scenario, Role::ObserverPlus, Some(Endpoints::Catalogue));
        let step = site.step(&["web-01"]).token(LIMITED);
        let ran = step.clone().binary().run();
        if works {
            assert_whole(&site, &ran, &version.to_string());
            assert_eq!(ran.stderr, "", "{version}");
            let checked = step.arg("check").binary().run();
            assert_eq!((checked.status, &*checked.stderr), (0, ""), "{version}");
        } else {
            let words = "does not let this token use POST /api/v1/fleet/reports/run (HTTP 403";
            assert_refused(&site, &ran, 20, words);
            let hint = ran.document().error.expect("an error").hint;
            assert!(hint.unwrap_or_default().contains("4.90"), "{ran:?}");
        }
        let seen = site.seen();
        for old in ["/queries", "/logout"] {
            assert!(
                seen.requests.iter().all(|it| !it.path.contains(old)),
                "{old}"
            );
        }
    });
}

#[test]
fn the_endpoint_that_a_token_lacks_is_named() {
    let listed = [
        "GET hosts",
        "GET labels/summary",
        "GET labels/:/hosts",
        "POST reports/run",
    ];
    let named = [
        "GET /api/v1/fleet/hosts (HTTP 403",
        "GET /api/v1/fleet/labels/summary (HTTP 403",
        "GET /api/v1/fleet/labels/:id/hosts (HTTP 403",
        "POST /api/v1/fleet/reports/run (HTTP 403",
    ];
    let versions = [ServerVersion(4, 90, 0), ServerVersion::FLEET_2026];
    let cases = versions.into_iter().flat_map(|version| {
        let lacking = listed.into_iter().zip(named);
        lacking.map(move |(lacking, named)| (version, lacking, named))
    });
    on_all(cases, |(version, lacking, named)| {
        let others = listed.iter().filter(|endpoint| **endpoint != lacking);
        let others = others.map(|&endpoint| endpoint.to_owned()).collect();
        let scenario = fleet(version, [host("web-01")]);
        let site = as_user(scenario, Role::Maintainer, Some(Endpoints::These(others)));
        let step = site.step(&["web-01"]).token(LIMITED);
        let step = step.with("target_labels", vec!["All Linux"]);
        assert_refused(&site, &step.binary().run(), 20, named);
    });
}

#[test]
fn every_role_that_may_run_does_and_the_others_are_named() {
    let cases = AGES
        .into_iter()
        .flat_map(|version| Role::ALL.map(|role| (version, role)));
    on_all(cases, |(version, role)| {
        let site = as_user(fleet(version, [host("web-01")]), role, None);
        let ran = site.step(&["web-01"]).token(LIMITED).binary().run();
        match role {
            Role::Admin | Role::Maintainer | Role::ObserverPlus | Role::Technician => {
                assert_whole(&site, &ran, &format!("{version} {role:?}"));
            }
            Role::Observer => {
                assert_refused(&site, &ran, 20, "does not let this user run live queries");
            }
            Role::Gitops => assert_refused(&site, &ran, 20, "HTTP 403"),
        }
    });
}

/// Phones and tablets are targeted by labels and names alike, and from 4.93 on count as online.
#[test]
fn phones_are_never_asked_nor_waited_for() {
    let ways = [("wait", false), ("skip", false), ("wait", true)];
    let cases = AGES
        .into_iter()
        .flat_map(|version| ways.map(|(offline, one_by_one)| (version, offline, one_by_one)));
    on_all(cases, |(version, offline, one_by_one)| {
        let what = format!("{version} {offline} {one_by_one}");
        let phones = ["ios", "ipados", "android"].map(|platform| host(platform).on(platform));
        let hosts = [host("web-01"), host("book-01").on("chrome")];
        let mut scenario = fleet(version, hosts.into_iter().chain(phones));
        if one_by_one {
            scenario = scenario.with_fault(Fault::on("results/websocket").status(403));
        }
        let site = Site::new(Kind::Fleet, scenario);
        let step = site
            .step(&["ios", "web-01", "android", "book-01", "ipados"])
            .with("offline_hosts", offline)
            .timeout(60);
        let ran = step.clone().binary().run();
        site.assert_no_secret(&ran);
        let document = ran.document();
        assert_eq!((ran.status, document.partial), (0, true), "{what}: {ran:?}");
        assert!(ran.elapsed.as_secs() < 40, "{what}: they were waited for");
        assert_eq!(
            document.timed_out_hosts,
            ["ios", "android", "ipados"],
            "{what}"
        );
        for phone in &document.timed_out_hosts {
            assert_eq!(document.hosts[phone].status, "unsupported", "{what}");
        }
        assert_eq!(document.campaign().targeted, 2, "{what}");
        assert!(
            ran.stderr.contains(
                "not asked, since phones and tablets run no osquery: ios, android, ipados"
            ),
            "{what}: {}",
            ran.stderr
        );
        let asked: usize = site.seen().campaigns.iter().map(|it| it.hosts.len()).sum();
        assert_eq!(asked, 2, "{what}");
        let checked = step.arg("check").binary().run().document();
        let planned = checked.planned.expect("a plan");
        assert_eq!(planned.hosts, ["web-01", "book-01"], "{what}");
    });
}

/// Whatever brings them in: a label, a team, an id, a label beside a host that is away. They count in no
/// `max_hosts`, and nobody waits for them or (with `skip`) for the host that is away.
#[test]
fn phones_are_left_out_however_they_are_targeted() {
    let ways = ["target_labels", "target_teams", "target_host_ids"];
    let cases = ["wait", "skip"].into_iter().flat_map(|offline| {
        let ways = ways.into_iter();
        ways.map(move |way| (offline, way))
    });
    on_all(cases, |(offline, way)| {
        let what = format!("{offline} {way}");
        let of_team = |host: HostSpec| HostSpec {
            team_id: Some(7),
            ..host.labelled("Everyone")
        };
        let phones = ["ios", "ipados", "android"].map(|platform| host(platform).on(platform));
        let mut hosts = vec![host("web-01"), host("book-01").on("chrome")];
        if offline == "skip" {
            hosts.push(host("away-01").offline());
        }
        let computers = hosts.len();
        hosts.extend(phones);
        let count = hosts.len();
        let mut scenario = fleet(ServerVersion::FLEET_2026, hosts.into_iter().map(of_team));
        scenario.fleet.teams = vec![osquery_simulator::Team {
            id: 7,
            name: "Everyone".into(),
        }];
        let site = Site::new(Kind::Fleet, scenario);
        let ids: Vec<usize> = (1..=count).collect();
        let value = match way {
            "target_host_ids" => serde_json::json!(ids),
            _ => serde_json::json!(["Everyone"]),
        };
        let step = site.step(&[]).without("target_hosts").with(way, value);
        let step = step
            .with("offline_hosts", offline)
            .with("max_hosts", computers);
        let ran = step.timeout(60).binary().run();
        site.assert_no_secret(&ran);
        let document = ran.document();
        assert_eq!((ran.status, document.partial), (0, true), "{what}: {ran:?}");
        assert!(ran.elapsed.as_secs() < 40, "{what}: they were waited for");
        let of = |status: &str| {
            let hosts = document.hosts.values();
            hosts.filter(|host| host.status == status).count()
        };
        let counts = (of("ok"), of("unsupported"), of("offline"));
        assert_eq!(counts, (2, 3, computers - 2), "{what}: {ran:?}");
        assert_eq!(document.campaign().targeted, computers as u64, "{what}");
        let asked: usize = site.seen().campaigns.iter().map(|it| it.hosts.len()).sum();
        assert_eq!(asked, computers, "{what}");
    });
}

#[test]
fn nobody_is_asked_where_all_targets_are_phones() {
    let phone = host("phone-01").on("android");
    let site = Site::new(Kind::Fleet, fleet(ServerVersion::FLEET_2026, [phone]));
    let ran = site.step(&["phone-01"]).binary().run();
    assert_refused(
        &site,
        &ran,
        21,
        "phones and tablets run no osquery: phone-01",
    );
    assert_eq!(ran.document().hosts["phone-01"].status, "unsupported");
    assert!(site.seen().campaigns.is_empty());
}

/// The list is streamed: 200, some hosts, then an error.
#[test]
fn a_list_that_breaks_off_is_not_the_last_page() {
    let cases = AGES
        .into_iter()
        .flat_map(|version| [true, false].map(|once| (version, once)));
    on_all(cases, |(version, once)| {
        let mut fault = Fault::on_method("GET", "/fleet/labels/");
        fault = fault.skipping(1);
        fault.list_error = Some(ListError {
            after: 1,
            error: "context deadline exceeded".into(),
        });
        if once {
            fault = fault.times(1);
        }
        let hosts = [host("web-01"), host("web-02"), host("web-03")];
        let site = Site::new(Kind::Fleet, fleet(version, hosts).with_fault(fault));
        let step = site.step(&[]).without("target_hosts").timeout(8);
        let step = step.with("target_labels", vec!["All Linux"]);
        let ran = step.binary().run();
        if once {
            assert_whole(&site, &ran, &version.to_string());
            assert_eq!(ran.document().results.len(), 3, "{version}");
        } else {
            let words = "broke off its list of hosts: context deadline exceeded";
            assert_refused(&site, &ran, 22, words);
        }
    });
}

#[test]
fn live_queries_that_are_switched_off_are_said_to_be() {
    on_all(AGES, |version| {
        let mut scenario = fleet(version, [host("web-01")]);
        scenario.fleet.live_queries = false;
        let site = Site::new(Kind::Fleet, scenario);
        let ran = site.step(&["web-01"]).binary().run();
        assert_refused(&site, &ran, 22, "live queries are switched off at Fleet");
    });
}

/// fleetdm/fleet#53259
#[test]
fn answers_of_hosts_that_were_not_asked_are_left_out() {
    on_all(AGES, |version| {
        let mut stranger = host("stranger");
        stranger.behaviour.intrudes = true;
        let slow = host("web-01").delayed(std::time::Duration::from_millis(800));
        let site = Site::new(Kind::Fleet, fleet(version, [stranger, slow]));
        let ran = site.step(&["web-01"]).binary().run();
        assert_whole(&site, &ran, &version.to_string());
        assert_eq!(ran.document().results.len(), 1, "{version}");
        assert!(
            ran.stderr.contains("hosts that were not asked"),
            "{}",
            ran.stderr
        );
    });
}
