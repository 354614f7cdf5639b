//! Which hosts are found for names, labels and platforms, and with how many requests.

use osquery_simulator::Fault;

use super::*;

fn names(hosts: &[Host]) -> Vec<&str> {
    let mut names: Vec<&str> = hosts.iter().map(|host| host.hostname()).collect();
    names.sort_unstable();
    names
}

fn labels(names: &[&str]) -> Targets {
    Targets {
        labels: names.iter().map(|name| (*name).to_owned()).collect(),
        ..Targets::default()
    }
}

#[tokio::test]
async fn a_host_is_found_by_hostname_uuid_and_serial_whatever_the_case() {
    let mut laptop = host("Laptop-7");
    laptop.uuid = Some("4C4C4544-0000-4000-8000-00000000ABCD".into());
    laptop.serial = Some("SERIAL7".into());
    laptop.distributed_interval = 30;
    let scenario = Scenario::of([laptop, host("laptop-77"), host("other").offline()]);
    let mut bench = Bench::new(scenario).await;
    for name in [
        "laptop-7",
        "LAPTOP-7",
        "4c4c4544-0000-4000-8000-00000000abcd",
        "serial7",
        "Laptop-7@4c4c4544-0000-4000-8000-00000000abcd",
    ] {
        let found = bench.named(&[name]).await;
        assert_eq!(names(&found), ["Laptop-7"], "{name}");
        assert_eq!(found[0].uuid(), "4C4C4544-0000-4000-8000-00000000ABCD");
        assert_eq!(found[0].serial(), "SERIAL7");
        assert_eq!(found[0].platform, Some(Platform::Linux));
        assert_eq!(found[0].online, Some(true));
        assert_eq!(found[0].check_in_seconds.map(|it| it.get()), Some(30));
        assert!(found[0].last_seen().is_some());
    }
    let other = bench.named(&["other", "nobody", "aptop"]).await;
    assert_eq!(names(&other), ["other"]);
    assert_eq!(other[0].online, Some(false));
}

#[tokio::test]
async fn every_host_behind_one_hostname_is_found_over_the_pages_of_a_search() {
    let scenario = Scenario::of([HostSpec::many(230, "image"), host("image-server")]);
    let mut bench = Bench::new(scenario).await;
    assert_eq!(bench.named(&["IMAGE"]).await.len(), 230);
    // Two full pages and one that is not.
    assert_eq!(
        bench.observed().requests_to("GET", "/hosts?query=").count(),
        3
    );
}

#[tokio::test]
async fn a_search_carries_the_name_as_it_is() {
    let odd = "ü b&c=d/e?#%41";
    let mut bench = Bench::new(Scenario::of([host(odd), host("ü b")])).await;
    assert_eq!(names(&bench.named(&[odd]).await), [odd]);
}

#[tokio::test]
async fn many_names_are_looked_up_in_the_list_of_all_hosts() {
    let mut bench = Bench::new(Scenario::of([HostSpec::many(1_200, "web-{n}")])).await;
    let wanted: Vec<String> = (0..60).map(|n| format!("WEB-{}", n * 20)).collect();
    let wanted: Vec<&str> = wanted.iter().map(String::as_str).collect();
    let found = bench.named(&wanted).await;
    assert_eq!(found.len(), 60);
    assert_eq!(bench.observed().requests_to("GET", "query=").count(), 0);
}

#[tokio::test]
async fn many_names_in_a_far_larger_fleet_are_searched_after_all() {
    let mut bench = Bench::new(Scenario::of([HostSpec::many(4_000, "web-{n:04}")])).await;
    // The last ones: no page that can be afforded shows them.
    let wanted: Vec<String> = (3_940..4_000).map(|n| format!("web-{n}")).collect();
    let wanted: Vec<&str> = wanted.iter().map(String::as_str).collect();
    assert_eq!(bench.named(&wanted).await.len(), 60);
    assert_eq!(bench.observed().requests_to("GET", "query=").count(), 60);
}

#[tokio::test]
async fn labels_bring_their_members_over_all_pages_each_once() {
    let scenario = Scenario::of([
        HostSpec::many(700, "db-{n}")
            .labelled("Databases")
            .labelled("Production"),
        host("lonely").labelled("Production"),
        host("mac").on("darwin").labelled("Production"),
        host("out"),
    ]);
    let mut bench = Bench::new(scenario).await;
    let found = bench
        .resolve(&labels(&["Databases", "production"]))
        .await
        .unwrap();
    assert_eq!(found.grouped.len(), 702);
    assert!(found.named.is_empty());
    let linux = Targets {
        platforms: vec![Platform::Linux],
        ..labels(&["Production"])
    };
    assert_eq!(bench.resolve(&linux).await.unwrap().grouped.len(), 701);
}

#[tokio::test]
async fn an_unknown_label_is_named_with_the_likely_one() {
    let mut bench = Bench::new(Scenario::of([host("a").labelled("Production")])).await;
    let error = bench.resolve(&labels(&["Produktion"])).await.unwrap_err();
    assert!(matches!(error, BackendError::Targets { .. }));
    assert_eq!(
        words_of(&bench, &error),
        "the label `Produktion` does not exist at Fleet at SERVER, or this user can't see it \
         | is `Production` meant? `fleetctl get labels` lists them all"
    );
    let error = bench
        .resolve(&labels(&["Production", "x", "y"]))
        .await
        .unwrap_err();
    assert!(
        words(&error).starts_with("the labels `x`, `y` do not exist at "),
        "{error}"
    );
}

#[tokio::test]
async fn platforms_alone_mean_the_members_of_the_built_in_labels() {
    let scenario = Scenario::of([
        host("deb"),
        host("el").on("rhel"),
        host("mac").on("darwin"),
        host("win").on("windows"),
        host("phone").on("ios"),
    ]);
    let mut bench = Bench::new(scenario).await;
    let on = |platforms: &[Platform]| Targets {
        platforms: platforms.to_vec(),
        ..Targets::default()
    };
    for (platforms, expected) in [
        (&[Platform::Linux][..], &["deb", "el"][..]),
        (&[Platform::Darwin], &["mac"]),
        (&[Platform::Windows, Platform::Darwin], &["mac", "win"]),
    ] {
        let found = bench.resolve(&on(platforms)).await.unwrap();
        assert_eq!(names(&found.grouped), expected);
    }
    assert_eq!(
        bench.observed().requests_to("GET", "fleet/hosts?").count(),
        0
    );
}

#[tokio::test]
async fn platforms_are_compared_where_the_server_has_no_built_in_label() {
    let labels = r#"{"labels":[{"id":12,"name":"macOS","label_type":"regular"}]}"#;
    let scenario = Scenario::of([HostSpec::many(600, "web-{n}"), host("mac").on("darwin")])
        .with_fault(Fault::on("labels/summary").body(labels));
    let mut bench = Bench::new(scenario).await;
    let darwin = Targets {
        platforms: vec![Platform::Darwin],
        ..Targets::default()
    };
    assert_eq!(
        names(&bench.resolve(&darwin).await.unwrap().grouped),
        ["mac"]
    );
}

#[tokio::test]
async fn names_bring_no_groups_and_a_platform_leaves_them_alone() {
    let mut bench = Bench::new(Scenario::of([host("a"), host("b")])).await;
    let targets = Targets {
        hosts: vec!["a".into()],
        platforms: vec![Platform::Windows],
        ..Targets::default()
    };
    let found = bench.resolve(&targets).await.unwrap();
    assert_eq!((names(&found.named), found.grouped.len()), (vec!["a"], 0));
}

#[tokio::test]
async fn too_many_hosts_are_known_before_all_pages_are_read() {
    let scenario = Scenario::of([HostSpec::many(3_000, "web-{n}"), host("mac").on("darwin")]);
    let mut bench = Bench::new(scenario).await;
    let everyone = labels(&["All Hosts"]);
    let error = bench
        .fleet
        .resolve(&everyone, &limits(100))
        .await
        .unwrap_err();
    assert_eq!(error, BackendError::TooManyHosts { max_hosts: 100 });
    assert_eq!(
        bench
            .observed()
            .requests_to("GET", "labels/11/hosts")
            .count(),
        1
    );
    let macs = Targets {
        platforms: vec![Platform::Darwin],
        ..everyone
    };
    let found = bench.fleet.resolve(&macs, &limits(1)).await.unwrap();
    assert_eq!(names(&found.grouped), ["mac"]);
}

#[tokio::test]
async fn a_server_that_repeats_its_page_for_ever_comes_to_an_end() {
    let page = r#"{"hosts":[{"id":1,"hostname":"a"},{"id":2,"hostname":"b"}]}"#;
    let scenario = Scenario::of([host("a")])
        .with_fault(Fault::on("labels/11/hosts").body(page))
        .with_fault(Fault::on("fleet/hosts?").body(page));
    let mut bench = Bench::new(scenario).await;
    let found = bench.resolve(&labels(&["All Hosts"])).await.unwrap();
    assert_eq!(names(&found.grouped), ["a", "b"]);
    assert_eq!(names(&bench.named(&["B"]).await), ["b"]);
}

#[tokio::test]
async fn pages_that_are_no_pages_are_said_to_be_so_without_being_shown() {
    for (body, what) in [
        ("<html>secret", "something that is not JSON"),
        (
            r#"{"hosts":"secret"}"#,
            "JSON that does not have the expected form",
        ),
        (
            r#"{"hosts":[{"id":"secret"}]}"#,
            "JSON that does not have the expected form",
        ),
    ] {
        let fault = Fault::on("fleet/hosts?").body(body);
        let mut bench = Bench::new(Scenario::of([host("a")]).with_fault(fault)).await;
        let targets = Targets {
            hosts: vec!["a".into()],
            ..Targets::default()
        };
        let error = bench.resolve(&targets).await.unwrap_err();
        assert!(
            matches!(error, BackendError::Answer { status: None, .. }),
            "{error}"
        );
        let words = words(&error);
        assert!(
            words.contains(what) && words.contains("GET /api/v1/fleet/hosts"),
            "{words}"
        );
        assert!(!words.contains("secret"), "{words}");
    }
}
