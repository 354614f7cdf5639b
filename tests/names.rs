//! What a target's name means, on both servers: names that resemble it, the computer's own name, short names
//! and addresses, serials that are none, hosts that share what should be one host's.

use osquery_simulator::{Answer, Fault, HostSpec, Scenario, ServerVersion};
use serde_json::json;

use crate::harness::Ran;
use crate::harness::document::Document;
use crate::harness::site::{Kind, Site, host, on_all, on_those};

fn site(kind: Kind, hosts: impl IntoIterator<Item = HostSpec>) -> Site {
    let mut scenario = Scenario::of(hosts);
    scenario.fleet.version = Some(ServerVersion::FLEET_2026);
    Site::new(kind, scenario)
}

fn run(site: &Site, names: &[&str], also_match: &[&str]) -> Ran {
    let step = site.step(names);
    let step = match also_match {
        [] => step,
        ways => step.with("also_match", ways),
    };
    let ran = step.binary().run();
    site.assert_no_secret(&ran);
    ran
}

fn serial(name: &str, serial: &str) -> HostSpec {
    HostSpec {
        serial: Some(serial.into()),
        ..host(name)
    }
}

fn uuid(name: &str, uuid: &str) -> HostSpec {
    HostSpec {
        uuid: Some(uuid.into()),
        ..host(name)
    }
}

fn computer(name: &str, own: &str) -> HostSpec {
    HostSpec {
        display_name: Some(own.into()),
        ..host(name)
    }
}

fn at(name: &str, address: &str) -> HostSpec {
    HostSpec {
        address: Some(address.into()),
        ..host(name)
    }
}

fn near<'a>(document: &'a Document, name: &str) -> Vec<&'a str> {
    document.hosts[name]
        .near
        .iter()
        .map(String::as_str)
        .collect()
}

#[test]
fn names_that_resemble_an_unknown_one_are_told() {
    on_those(Kind::lists_hosts, |kind| {
        let hosts = [
            host("web-01.corp.example.com"),
            host("database-7"),
            host("WIN-DESKTOP"),
            host("mail"),
        ];
        let site = site(kind, hosts);
        for (name, expected) in [
            ("web-01", &["web-01.corp.example.com"][..]),
            ("web-01.example.com", &["web-01.corp.example.com"]),
            ("wbe-01.corp.example.com", &["web-01.corp.example.com"]),
            ("databse-7", &["database-7"]),
            ("database-07", &["database-7"]),
            ("win-dekstop", &["WIN-DESKTOP"]),
            ("nothing-like-it", &[]),
        ] {
            // Alone it is the error's hint, beside others the line of those that are missing.
            let ran = run(&site, &[name], &[]);
            let document = ran.document();
            assert_eq!(ran.status, 21, "{name}: {ran:?}");
            assert_eq!(near(&document, name), expected, "{name}");
            let hint = document.error.and_then(|error| error.hint);
            let hint = hint.expect("a hint");
            let ran = run(&site, &[name, "mail"], &[]);
            let document = ran.document();
            assert_eq!((ran.status, document.results["mail"].len()), (0, 1));
            assert_eq!(near(&document, name), expected, "{name}");
            match expected.first() {
                Some(likely) => {
                    let question = format!("did you mean `{likely}`?");
                    assert!(hint.starts_with(&question), "{name}: {hint}");
                    let line = format!("credentials: {name} ({question})\n");
                    assert!(ran.stderr.contains(&line), "{name}: {}", ran.stderr);
                }
                None => assert!(!hint.contains("did you mean"), "{hint}"),
            }
        }
    });
}

/// Five at most, the likeliest first, and of a thousand hosts that are numbered none as what was meant.
#[test]
fn neighbours_are_told_and_not_suggested() {
    on_those(Kind::lists_hosts, |kind| {
        let many = HostSpec::many(1_000, "host-{n:04}");
        let site = site(kind, [many, host("mail")]);
        let ran = run(&site, &["host-1000", "hsot-0042", "mail"], &[]);
        let document = ran.document();
        let numbered = near(&document, "host-1000");
        assert_eq!(numbered.len(), 5, "{numbered:?}");
        let typed = near(&document, "hsot-0042");
        assert_eq!(typed.first(), Some(&"host-0042"), "{typed:?}");
        assert!(
            ran.stderr
                .contains("credentials: host-1000, hsot-0042 (did you mean `host-0042`?)\n"),
            "{}",
            ran.stderr
        );
    });
}

/// Looking around costs Fleet a few small requests, for three names at most, and osctrl none.
#[test]
fn what_resembles_costs_few_requests() {
    on_those(Kind::lists_hosts, |kind| {
        let site = site(kind, [HostSpec::many(300, "host-{n:04}"), host("mail")]);
        let names: Vec<String> = (0..10).map(|n| format!("unknown-{n}")).collect();
        let mut names: Vec<&str> = names.iter().map(String::as_str).collect();
        names.push("mail");
        run(&site, &names, &[]);
        let seen = site.seen();
        let requests = seen.requests_to(
            "GET",
            match kind {
                Kind::Fleet => "/fleet/hosts?",
                Kind::Osctrl => "/nodes/dev?",
                Kind::AisocDirect => unreachable!("it lists no hosts"),
            },
        );
        let most = match kind {
            // A search for each name, and for the parts of three.
            Kind::Fleet => names.len() + 3 * 3,
            // Three spellings of each and who is inactive of them; then the whole list.
            Kind::Osctrl => 3 * 2 * names.len() + 2,
            Kind::AisocDirect => 0,
        };
        assert!(requests.count() <= most, "{kind:?}");
    });
}

#[test]
fn a_computer_is_found_by_its_own_name() {
    on_those(Kind::lists_hosts, |kind| {
        let hosts = [
            computer("ip-10-0-0-7.ec2.internal", "Anna's MacBook"),
            computer("laptop-7", "web-01"),
            host("web-01"),
        ];
        let site = site(kind, hosts);
        let ran = run(&site, &["anna's macbook", "web-01"], &[]);
        let document = ran.document();
        assert_eq!((ran.status, document.partial), (0, false), "{ran:?}");
        let found = &document.hosts["anna's macbook"];
        assert_eq!(
            (found.matched.as_deref(), found.hostname.as_deref()),
            (Some("computer_name"), Some("ip-10-0-0-7.ec2.internal"))
        );
        // A hostname goes before a computer's own name.
        assert_eq!(document.hosts["web-01"].matched, None);
        assert_eq!((document.campaign().targeted, &*ran.stderr), (2, ""));
    });
}

#[test]
fn a_computer_name_of_several_is_a_shared_name() {
    on_those(Kind::lists_hosts, |kind| {
        let site = site(
            kind,
            [computer("a-1", "MacBook"), computer("a-2", "macbook")],
        );
        let ran = run(&site, &["MacBook"], &[]);
        let document = ran.document();
        assert_eq!(document.results.len(), 2, "{ran:?}");
        assert!(
            ran.stderr
                .contains("`MacBook` is the name of 2 enrolled hosts")
        );
        // Each key of the document means its host again.
        for key in document.results.keys() {
            let again = run(&site, &[key], &[]).document();
            assert_eq!(again.hosts[key].uuid, document.hosts[key].uuid, "{key}");
            assert_eq!(again.campaign().targeted, 1, "{key}");
        }
    });
}

#[test]
fn short_names_and_addresses_match_where_the_step_says_so() {
    struct Case {
        name: &'static str,
        also: &'static [&'static str],
        /// Hostnames that are asked, and how they were matched.
        asked: &'static [&'static str],
        matched: Option<&'static str>,
    }
    let case = |name, also, asked, matched| Case {
        name,
        also,
        asked,
        matched,
    };
    const SHORT: &[&str] = &["short_name"];
    const ADDRESS: &[&str] = &["ip_address"];
    const BOTH: &[&str] = &["short_name", "ip_address"];
    on_those(Kind::lists_hosts, |kind| {
        let hosts = [
            at("web-01.corp.example.com", "10.1.2.3"),
            at("web-02.corp.example.com", "10.1.2.4"),
            at("WEB-02", "2001:db8::7"),
            at("db", "10.9.9.9"),
            at("db.corp.example.com", "10.9.9.9"),
            at("10.1.2.30", "10.1.2.30"),
        ];
        let site = site(kind, hosts);
        let cases = [
            case("WEB-01", &[], &[], None),
            case(
                "web-01",
                SHORT,
                &["web-01.corp.example.com"],
                Some("short_name"),
            ),
            case(
                "Web-01.other.example.com",
                SHORT,
                &["web-01.corp.example.com"],
                Some("short_name"),
            ),
            // An exact name goes first.
            case("web-02", BOTH, &["WEB-02"], None),
            case("db.corp.example.com", SHORT, &["db.corp.example.com"], None),
            // Both have it.
            case(
                "db.lab.example.com",
                SHORT,
                &["db", "db.corp.example.com"],
                Some("short_name"),
            ),
            case("web", SHORT, &[], None),
            case("10.1.2.3", &[], &[], None),
            case("10.1.2.3", SHORT, &[], None),
            case(
                "10.1.2.3",
                ADDRESS,
                &["web-01.corp.example.com"],
                Some("ip_address"),
            ),
            case(
                "::ffff:10.1.2.4",
                ADDRESS,
                &["web-02.corp.example.com"],
                Some("ip_address"),
            ),
            case("2001:DB8:0:0::7", BOTH, &["WEB-02"], Some("ip_address")),
            case(
                "10.9.9.9",
                ADDRESS,
                &["db", "db.corp.example.com"],
                Some("ip_address"),
            ),
            case("10.1.2.30", BOTH, &["10.1.2.30"], None),
            case("127.0.0.1", BOTH, &[], None),
        ];
        for it in cases {
            let what = format!("{kind:?} {} {:?}", it.name, it.also);
            let ran = run(&site, &[it.name], it.also);
            let document = ran.document();
            let mut asked: Vec<&str> = document
                .hosts
                .iter()
                .filter(|(_, host)| host.status == "ok")
                .map(|(key, host)| host.hostname.as_deref().unwrap_or(key))
                .collect();
            asked.sort_unstable();
            // The key may be the hostname in another case.
            let same = asked.iter().map(|name| name.to_lowercase());
            let mut expected: Vec<String> =
                it.asked.iter().map(|name| name.to_lowercase()).collect();
            expected.sort_unstable();
            assert_eq!(same.collect::<Vec<_>>(), expected, "{what}: {ran:?}");
            for (key, host) in &document.hosts {
                assert_eq!(host.matched.as_deref(), it.matched, "{what}");
                if it.asked.len() > 1 {
                    let shared = format!("{}@{}", it.name, host.uuid.as_deref().unwrap_or(""));
                    assert_eq!(*key, shared, "{what}");
                    assert!(ran.stderr.contains("enrolled hosts"), "{what}");
                    assert!(ran.stderr.contains("last seen"), "{what}");
                    let again = run(&site, &[key], it.also).document();
                    assert_eq!(again.campaign().targeted, 1, "{what}: {key}");
                    assert_eq!(again.hosts[key].uuid, host.uuid, "{what}");
                }
            }
        }
    });
}

#[test]
fn a_way_that_there_is_not_is_refused_with_the_likely_one() {
    let site = site(Kind::Fleet, [host("a")]);
    for (value, status, words) in [
        (
            json!(["short_names"]),
            11,
            "must be one of `short_name`, `ip_address`",
        ),
        (json!([]), 11, "`also_match`"),
        (json!("short_name"), 11, "`also_match`"),
        (
            json!(["{{ alert.way }}"]),
            12,
            "`also_match[0]` takes no expression",
        ),
    ] {
        let step = site.step(&["a"]).with("also_match", value.clone());
        let ran = step.binary().run();
        let error = ran.document().error.expect("an error");
        assert_eq!(ran.status, status, "{value}: {ran:?}");
        assert!(error.message.contains(words), "{value}: {error:?}");
    }
    assert!(site.seen().requests.is_empty());
}

/// Firmware's words for no serial never mean the machines of a vendor.
#[test]
fn placeholder_serials_are_refused_with_how_many_hosts_have_them() {
    let words = [
        ("To be filled by O.E.M.", "to be FILLED by o.e.m."),
        ("Default string", "default string"),
        ("System Serial Number", "SYSTEM SERIAL NUMBER"),
        ("None", "none"),
        ("Not Specified", "Not specified"),
        ("0", "0"),
        ("123456789", "123456789"),
        ("00000000", "00000000"),
    ];
    on_those(Kind::lists_hosts, |kind| {
        on_all(words, |(set, written)| {
            let twelve = HostSpec {
                serial: Some(set.into()),
                ..HostSpec::many(12, "box-{n}").answering(Answer::None)
            };
            let site = site(kind, [twelve, host("web-01")]);
            let ran = run(&site, &[written], &[]);
            let document = ran.document();
            let error = document.error.as_ref().expect("an error");
            assert_eq!((ran.status, &*error.code), (21, "targets"), "{ran:?}");
            assert_eq!(
                error.message,
                format!(
                    "`{written}` (12 enrolled hosts have it) is no host's own serial: firmware says so where its maker set none, and no host is asked for it"
                ),
            );
            assert_eq!(document.timed_out_hosts, [written]);
            // Not beside others, either.
            let ran = run(&site, &["web-01", written], &[]);
            assert_eq!(ran.status, 21, "{ran:?}");
            assert!(
                site.seen().campaigns.is_empty(),
                "{written}: nobody is asked"
            );
        });
    });
}

#[test]
fn a_placeholder_that_is_a_host_s_name_means_that_host() {
    on_those(Kind::lists_hosts, |kind| {
        let site = site(kind, [serial("none", "S1"), serial("web-01", "None")]);
        let ran = run(&site, &["None"], &[]);
        let document = ran.document();
        assert_eq!(document.results["None"].len(), 1, "{ran:?}");
        assert_eq!(document.campaign().targeted, 1);
        let uuid = document.hosts["None"].uuid.clone();
        assert_eq!(run(&site, &["s1"], &[]).document().hosts["s1"].uuid, uuid);
    });
}

/// A thousand machines of a vendor in a fleet of many are counted as far as a few pages show them.
#[test]
fn a_placeholder_that_half_a_fleet_has_costs_few_requests() {
    let box_of = HostSpec {
        serial: Some("0".into()),
        ..HostSpec::many(1_200, "box-{n}")
    };
    let site = site(Kind::Fleet, [box_of]);
    let ran = run(&site, &["0"], &[]);
    let error = ran.document().error.expect("an error");
    assert!(
        error
            .message
            .starts_with("`0` (at least 500 enrolled hosts have it) is no host's own"),
        "{}",
        error.message
    );
    let seen = site.seen();
    assert_eq!(seen.requests_to("GET", "/fleet/hosts?query=0").count(), 5);
}

#[test]
fn a_serial_of_several_hosts_is_a_shared_name() {
    on_those(Kind::lists_hosts, |kind| {
        let hosts = [
            serial("clone-1", "C02SAME"),
            serial("clone-2", "c02same"),
            host("other"),
        ];
        let site = site(kind, hosts);
        let ran = run(&site, &["C02SAME"], &[]);
        let document = ran.document();
        assert_eq!((ran.status, document.results.len()), (0, 2), "{ran:?}");
        assert!(
            ran.stderr.starts_with(
                "warning: `C02SAME` is the name of 2 enrolled hosts: all are asked, as C02SAME@"
            ),
            "{}",
            ran.stderr
        );
        for (key, host) in &document.hosts {
            assert!(
                host.hostname
                    .as_ref()
                    .is_some_and(|name| name.starts_with("clone-"))
            );
            let again = run(&site, &[key], &[]).document();
            assert_eq!(again.campaign().targeted, 1, "{key}");
            assert_eq!(again.hosts[key].hostname, host.hostname, "{key}");
        }
    });
}

/// Fleet's hosts may share a uuid (clones of a machine): whatever they are named by, each row has its host's
/// name beside it, and each key means the same host again, with and without a websocket.
#[test]
fn hosts_of_one_uuid_are_told_apart() {
    const U: &str = "4C4C4544-0000-4000-8000-0000000000AA";
    let twin = |name: &str, pid: &str| {
        let row = json!({"pid": pid, "name": "init"});
        let rows = vec![row.as_object().cloned().unwrap_or_default()];
        uuid(name, U).answering(Answer::Rows(rows))
    };
    for refused in [false, true] {
        let mut scenario = Scenario::of([twin("dup", "1"), twin("dup", "2"), twin("other", "3")]);
        if refused {
            let fault = Fault::on("results/websocket").status(403);
            scenario = scenario.with_fault(fault);
        }
        let site = Site::new(Kind::Fleet, scenario);
        let (first, second) = (format!("dup@{U}"), format!("dup@{U}#2"));
        let ids = |ran: &Ran| -> Vec<(String, String)> {
            let document = ran.document();
            assert_eq!((ran.status, document.partial), (0, false), "{ran:?}");
            let rows = document.results.iter();
            rows.map(|(key, rows)| {
                (
                    key.clone(),
                    rows[0]["pid"].as_str().unwrap_or("").to_owned(),
                )
            })
            .collect()
        };
        let pair = |key: &str, pid: &str| (key.to_owned(), pid.to_owned());
        let ran = run(&site, &["dup"], &[]);
        assert_eq!(ids(&ran), [pair(&first, "1"), pair(&second, "2")]);
        for host in ran.document().hosts.values() {
            assert_eq!(host.hostname.as_deref(), Some("dup"));
        }
        let ran = run(&site, &[&second], &[]);
        assert_eq!(ids(&ran), [pair(&second, "2")]);
        assert_eq!(
            ran.document().hosts[&second].hostname.as_deref(),
            Some("dup")
        );
        let ran = run(&site, &[&first], &[]);
        assert_eq!(ids(&ran), [pair(&first, "1")]);
        assert!(
            ran.stderr
                .contains("several enrolled hosts have this name and this uuid")
        );
        let ran = run(&site, &[&second, "other", &first], &[]);
        let mut all = ids(&ran);
        all.sort_unstable();
        assert_eq!(
            all,
            [pair(&first, "1"), pair(&second, "2"), pair("other", "3")]
        );
        // By the uuid itself, all three.
        let ran = run(&site, &[U], &[]);
        let by_uuid = ids(&ran);
        assert_eq!(by_uuid.len(), 3);
        for (key, pid) in by_uuid {
            let host = ran.document().hosts[&key].clone();
            let named = if pid == "3" { "other" } else { "dup" };
            assert_eq!(host.hostname.as_deref(), Some(named), "{key}");
            assert_eq!(ids(&run(&site, &[&key], &[])), [pair(&key, &pid)]);
        }
        // An id of another name or uuid is nobody's.
        for wrong in [
            format!("other@{U}#1"),
            format!("dup@{U}#9"),
            "dup@X#2".to_owned(),
        ] {
            let ran = run(&site, &[&wrong], &[]);
            assert_eq!(ran.status, 21, "{wrong}: {ran:?}");
        }
    }
}

/// A server that only has the call by identifier asks one of the hosts that share a uuid: what it says is
/// nobody else's.
#[test]
fn an_answer_of_the_twin_is_not_taken() {
    const U: &str = "4C4C4544-0000-4000-8000-0000000000AA";
    let mut scenario = Scenario::of([uuid("dup", U), uuid("dup", U)]);
    scenario.faults = vec![
        Fault::on("results/websocket").status(403),
        Fault::on_method("POST", "/hosts/1/query").status(404),
        Fault::on_method("POST", "/hosts/2/query").status(404),
    ];
    let site = Site::new(Kind::Fleet, scenario);
    let ran = run(&site, &["dup"], &[]);
    let document = ran.document();
    let (first, second) = (format!("dup@{U}"), format!("dup@{U}#2"));
    assert_eq!(document.results[&first].len(), 1, "{ran:?}");
    assert_eq!(document.hosts[&second].status, "error");
    let error = document.hosts[&second].error.as_deref().unwrap_or_default();
    assert!(error.contains("asked another host"), "{error}");
}
