//! Which hosts are found, in an environment, with a token of the lowest levels.

use osquery_live_query::inside::Platform;
use osquery_simulator::{Fault, HostSpec, OSCTRL_ADMIN_TOKEN, Osctrl};

use super::*;

fn host(hostname: &str, uuid: &str, serial: &str) -> HostSpec {
    HostSpec {
        uuid: Some(uuid.into()),
        serial: Some(serial.into()),
        ..HostSpec::named(hostname)
    }
}

const A: &str = "ABCD4544-0000-4000-8000-00000000000A";
const B: &str = "ABCD4544-0000-4000-8000-00000000000B";
const C: &str = "ABCD4544-0000-4000-8000-00000000000C";

fn office() -> Scenario {
    let elsewhere = HostSpec {
        environment: Some("production".into()),
        ..HostSpec::named("elsewhere")
    };
    let mut scenario = Scenario::of([
        host("web-01", A, "C02A"),
        host("DESKTOP-7", B, "C02B"),
        host("dup", C, "C02C"),
        HostSpec::named("dup"),
        HostSpec::many(5, "other-{n}"),
        elsewhere,
    ]);
    scenario.osctrl.environments = vec!["dev".into(), "production".into()];
    scenario
}

#[tokio::test]
async fn by_hostname_uuid_and_serial_whatever_the_case() {
    for (names, found) in [
        (&["web-01"][..], &["web-01"][..]),
        (&["WEB-01"], &["web-01"]),
        (&["Desktop-7"], &["DESKTOP-7"]),
        (&["abcd4544-0000-4000-8000-00000000000a"], &["web-01"]),
        (&["c02b"], &["DESKTOP-7"]),
        (&["web-01", "desktop-7"], &["DESKTOP-7", "web-01"]),
        (&["dup"], &["dup", "dup"]),
        (&["nobody"], &[]),
        (&["web-01", "nobody"], &["web-01"]),
        (&["elsewhere"], &[]),
        // Wildcards of the search are nothing but characters of a name.
        (&["web%", "other__"], &[]),
    ] {
        let mut bench = Bench::new(office());
        let hosts = bench.resolve(names).await;
        assert_eq!(hostnames(&hosts), found, "{names:?}");
    }
}

#[tokio::test]
async fn by_the_name_that_our_own_output_gives_hosts_of_one_name() {
    let mut bench = Bench::new(office());
    let hosts = bench.resolve(&[&format!("dup@{C}")]).await;
    assert_eq!(hosts.len(), 1);
    assert_eq!((&*hosts[0].id.text(), hosts[0].serial()), (C, "C02C"));
    assert_eq!(hosts[0].platform, Some(Platform::Linux));
    assert_eq!(hosts[0].online, Some(true));
    assert!(hosts[0].last_seen().is_some_and(|seen| seen.ends_with('Z')));
    // One search, and one for those that are inactive: nothing else was read.
    assert_eq!(bench.requests().len(), 2, "{:#?}", bench.requests());
}

#[tokio::test]
async fn only_the_list_that_the_lowest_level_may_read_is_used() {
    let mut bench = Bench::new(office());
    bench.resolve(&["web-01", "nobody", A]).await;
    for request in bench.requests() {
        assert!(request.starts_with("GET /nodes/dev?"), "{request}");
    }
}

#[tokio::test]
async fn many_among_pages_that_move_while_they_are_read() {
    let mut scenario = Scenario::of([HostSpec::many(1_300, "pod-{n:04}")]);
    scenario.osctrl.moving_last_seen = true;
    // Much faster than agents do.
    scenario.check_in = Duration::from_secs(2);
    let mut bench = Bench::new(scenario);
    let names: Vec<String> = (0..1_300)
        .step_by(10)
        .map(|n| format!("pod-{n:04}"))
        .collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let hosts = bench.resolve(&names).await;
    assert_eq!(hostnames(&hosts), names);
    let lists = bench.requests();
    let lists = lists.iter().filter(|request| !request.contains("q="));
    assert!(lists.count() <= 4 * 3 + 4);
}

#[tokio::test]
async fn by_platform_with_who_has_been_away_for_long() {
    let away = HostSpec {
        last_seen: Some("2020-01-01T00:00:00Z".into()),
        ..HostSpec::named("win-away").on("windows").offline()
    };
    let mut bench = Bench::new(Scenario::of([
        HostSpec::named("linux-1"),
        HostSpec::named("linux-2").on("rhel"),
        HostSpec::named("mac-1").on("darwin"),
        HostSpec::named("win-1").on("windows"),
        away,
    ]));
    for (platforms, found) in [
        (&[Platform::Linux][..], &["linux-1", "linux-2"][..]),
        (&[Platform::Darwin], &["mac-1"]),
        (
            &[Platform::Windows, Platform::Darwin],
            &["mac-1", "win-1", "win-away"],
        ),
    ] {
        let targets = Targets {
            platforms: platforms.to_vec(),
            ..Targets::default()
        };
        let candidates = bench.candidates(&targets).await.unwrap();
        assert!(candidates.named.is_empty());
        assert_eq!(hostnames(&candidates.grouped), found);
        for host in &candidates.grouped {
            assert_eq!(host.online, Some(host.hostname() != "win-away"), "{host:?}");
            assert!(
                host.platform
                    .is_some_and(|platform| platforms.contains(&platform))
            );
        }
        let most = Limits {
            max_hosts: found.len() - 1,
            ..LIMITS
        };
        let error = bench.osctrl.resolve(&targets, &most).await.unwrap_err();
        assert!(
            matches!(error, BackendError::TooManyHosts { .. }),
            "{error}"
        );
    }
}

#[tokio::test]
async fn on_a_server_without_pages_with_an_administrators_token() {
    let older = Scenario {
        osctrl: Osctrl {
            paged_nodes: false,
            paged_results: false,
            ..Osctrl::default()
        },
        ..Scenario::of([
            HostSpec::named("web-01"),
            HostSpec::named("mac").on("darwin"),
        ])
    };
    let mut bench = Bench::with(older.clone(), token(OSCTRL_ADMIN_TOKEN));
    bench.osctrl.verify().await.unwrap();
    let hosts = bench.resolve(&["WEB-01"]).await;
    assert_eq!(hostnames(&hosts), ["web-01"]);
    assert_eq!(hosts[0].online, None);
    let targets = Targets {
        platforms: vec![Platform::Darwin],
        ..Targets::default()
    };
    let candidates = bench.candidates(&targets).await.unwrap();
    assert_eq!(hostnames(&candidates.grouped), ["mac"]);
    bench.start(&hosts).await.unwrap();
    assert_eq!(bench.answers(1).await.len(), 1);

    let mut bench = Bench::new(older);
    let error = bench.candidates(&named(&["web-01"])).await.unwrap_err();
    assert_eq!(
        bench.seen(&error),
        "auth: the token's user may not list all hosts at once (this osctrl has no paged list, which needs less) in \
         the environment `dev` of https://osctrl.example: \"no access\" (give that user osctrl's level `admin` in this \
         environment)"
    );
}

#[tokio::test]
async fn a_server_that_does_not_say_who_is_inactive_is_no_failure() {
    let fault = || Fault::on("status=inactive");
    let hanging = Fault {
        hang: true,
        ..fault()
    };
    for fault in [fault().status(500), fault().status(503), hanging] {
        let mut bench = Bench::new(office().with_fault(fault));
        let found = tokio::time::timeout(PATIENCE / 2, bench.resolve(&["web-01"]));
        let hosts = found.await.unwrap();
        assert_eq!((hosts.len(), hosts[0].online), (1, None));
    }
}
