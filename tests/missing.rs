//! Who is missing, on stderr: one line for each kind, five names and a count, on every server. Sixty hosts and
//! a thousand of a kind take the same number of lines.

use osquery_simulator::{Answer, Fault, HostSpec, Scenario, ServerVersion};

use crate::harness::Ran;
use crate::harness::site::{Kind, Site, Step, host, on_all, on_those, one_row};

/// No run tells more than so many lines and bytes of hosts, however many there are.
const LINES: usize = 8;
const BYTES: usize = 2_000;

/// A kind of missing host, the server that has it, and the line that names it.
struct Case {
    kind: Kind,
    what: &'static str,
    /// The missing hosts beside one that answers.
    hosts: fn(usize) -> Vec<HostSpec>,
    /// Their names in the step.
    names: fn(usize) -> Vec<String>,
    fault: Option<fn() -> Fault>,
    line: &'static str,
    status: &'static str,
}

fn numbered(count: usize, pattern: &str) -> Vec<String> {
    (0..count)
        .map(|number| format!("{pattern}-{number:04}"))
        .collect()
}

fn hosts_names(count: usize) -> Vec<String> {
    numbered(count, "host")
}

fn many(count: usize) -> HostSpec {
    HostSpec::many(count, "host-{n:04}").answering(one_row())
}

fn cases() -> Vec<Case> {
    let case = |kind, what, hosts, line, status| Case {
        kind,
        what,
        hosts,
        names: hosts_names,
        fault: None,
        line,
        status,
    };
    let mut cases = Vec::new();
    for kind in Kind::ALL {
        cases.extend([
            case(
                kind,
                "unknown",
                |_| Vec::new(),
                "not enrolled, or not visible to these credentials",
                "unknown",
            ),
            case(
                kind,
                "no_answer",
                |count| vec![many(count).answering(Answer::Silent)],
                "asked, but did not answer",
                "no_answer",
            ),
            case(
                kind,
                "error",
                |count| vec![many(count).answering(Answer::Error("no such table".into()))],
                "answered with an osquery error",
                "error",
            ),
        ]);
        // Who lists no hosts does not tell who is offline either.
        if kind.lists_hosts() {
            cases.push(case(
                kind,
                "offline",
                |count| {
                    vec![HostSpec {
                        last_seen: Some("2020-01-01T00:00:00Z".into()),
                        ..many(count).offline()
                    }]
                },
                "offline, and did not answer",
                "offline",
            ));
        }
    }
    cases.push(case(
        Kind::Fleet,
        "unsupported",
        |count| vec![many(count).on("ipados")],
        "not asked, since phones and tablets run no osquery",
        "unsupported",
    ));
    // Without a websocket hosts are asked a few at a time, and these keep the places of all others.
    cases.push(Case {
        fault: Some(|| Fault::on("results/websocket").status(403)),
        ..case(
            Kind::Fleet,
            "not_asked",
            |count| vec![many(count).answering(Answer::Silent)],
            "not asked before the run ended",
            "not_asked",
        )
    });
    cases
}

fn run(case: &Case, count: usize) -> Ran {
    let mut hosts = vec![host("aaa")];
    hosts.extend((case.hosts)(count));
    let mut scenario = Scenario::of(hosts);
    scenario.fleet.version = Some(ServerVersion::FLEET_2026);
    scenario.faults.extend(case.fault.map(|fault| fault()));
    let site = Site::new(case.kind, scenario);
    let mut names = vec!["aaa".to_owned()];
    names.extend((case.names)(count));
    let ran = step_for(&site, names).binary().run();
    site.assert_no_secret(&ran);
    ran
}

fn step_for(site: &Site, names: Vec<String>) -> Step {
    let step = site.step(&[]).with("target_hosts", names);
    let step = step.with("max_hosts", 5_000);
    match site.kind.lists_hosts() {
        true => step.with("offline_hosts", "skip").timeout(10),
        // A thousand dispatches take longer than one.
        false => step.timeout(20),
    }
}

#[track_caller]
fn assert_small(ran: &Ran, what: &str) {
    let lines = ran.stderr.lines().count();
    assert!(lines <= LINES, "{what}: {lines} lines\n{}", ran.stderr);
    assert!(ran.stderr.len() <= BYTES, "{what}: {}", ran.stderr);
}

#[test]
fn a_thousand_hosts_of_a_kind_are_one_line() {
    // A few at a time: each is a server of a thousand hosts.
    let cases = cases();
    for some in cases.chunks(3) {
        on_all(some, |case| {
            let what = format!("{:?} {}", case.kind, case.what);
            let (few, ran) = (run(case, 60), run(case, 1_000));
            assert_small(&ran, &what);
            let lines = |ran: &Ran| ran.stderr.lines().count();
            assert_eq!(lines(&few), lines(&ran), "{what}: {few:?}\n{}", ran.stderr);
            let of_kind: Vec<&str> = ran
                .stderr
                .lines()
                .filter(|line| line.starts_with(&format!("warning: {}", case.line)))
                .collect();
            let [line] = *of_kind else {
                panic!("{what}: {}", ran.stderr);
            };
            let document = ran.document();
            let mut hosts = document.hosts.values();
            let missing = hosts.by_ref().filter(|host| host.status == case.status);
            let missing = missing.count();
            assert!(missing > 900, "{what}: {missing}");
            let more = format!(" and {} more", missing - 5);
            assert!(line.ends_with(&more), "{what}: {line}");
            assert_eq!(document.results["aaa"].len(), 1, "{what}");
        });
    }
}

/// Every host stands in exactly one line; what a line says is what the document says.
#[test]
fn each_kind_has_its_line_in_one_run() {
    let phones = || HostSpec::many(2, "phone-{n}").on("android");
    let scenario = Scenario::of([
        host("web-01"),
        HostSpec::many(7, "silent-{n}").answering(Answer::Silent),
        HostSpec::many(2, "away-{n}").answering(one_row()).offline(),
        HostSpec::many(1, "broken-{n}").answering(Answer::Error("no such table: x".into())),
        phones(),
    ]);
    let site = Site::new(Kind::Fleet, scenario);
    let names = "web-01 broken-0 silent-0 silent-1 silent-2 silent-3 silent-4 silent-5 silent-6 away-0 away-1 phone-0 phone-1 nobody-1 nobody-2";
    let names: Vec<&str> = names.split(' ').collect();
    let ran = site.step(&names).timeout(3).binary().run();
    site.assert_no_secret(&ran);
    assert_eq!(
        ran.stderr,
        "warning: not enrolled, or not visible to these credentials: nobody-1, nobody-2\n\
         warning: not asked, since phones and tablets run no osquery: phone-0, phone-1\n\
         warning: asked, but did not answer: silent-0, silent-1, silent-2, silent-3, silent-4 and 2 more\n\
         warning: offline, and did not answer: away-0, away-1\n\
         warning: answered with an osquery error: broken-0\n"
    );
}

/// Without a websocket each host is a call, and each may be refused.
#[test]
fn a_thousand_refused_calls_are_one_line() {
    let mut scenario = Scenario::of([many(1_000)]);
    let body = r#"{"message":"host not found"}"#;
    scenario.faults = vec![
        Fault::on("results/websocket").status(403),
        Fault::on_method("POST", "/query").status(404).body(body),
    ];
    let site = Site::new(Kind::Fleet, scenario);
    let ran = step_for(&site, hosts_names(1_000))
        .timeout(30)
        .binary()
        .run();
    site.assert_no_secret(&ran);
    assert_eq!(ran.document().timed_out_hosts.len(), 1_000, "{ran:?}");
    assert_eq!(ran.stderr.matches("is not asked again").count(), 1);
    assert_small(&ran, "refused calls");
}

/// An error that names labels does not grow with them.
#[test]
fn a_thousand_unknown_labels_are_one_short_line() {
    on_those(Kind::lists_hosts, |kind| {
        let mut scenario = Scenario::of([many(1)]);
        scenario.osctrl.version = ServerVersion(0, 5, 5);
        let site = Site::new(kind, scenario);
        let labels = numbered(1_000, "label");
        let step = site.step(&[]).without("target_hosts");
        let ran = step.with("target_labels", labels).binary().run();
        site.assert_no_secret(&ran);
        assert_eq!(ran.status, 21, "{ran:?}");
        assert_small(&ran, &format!("{kind:?} labels"));
    });
}

/// Two hosts behind each of a thousand names, whether they were named or a label's.
#[test]
fn a_thousand_shared_names_are_a_few_lines() {
    on_those(Kind::lists_hosts, |kind| {
        let twins = || {
            let twin = many(1_000).labelled("Twins");
            HostSpec {
                tags: vec!["Twins".into()],
                ..twin
            }
        };
        let mut scenario = Scenario::of([twins(), twins()]);
        scenario.osctrl.version = ServerVersion(0, 5, 5);
        let site = Site::new(kind, scenario);
        let named = step_for(&site, hosts_names(1_000)).timeout(30);
        let labelled = named
            .clone()
            .without("target_hosts")
            .with("target_labels", vec!["Twins"]);
        for (way, step) in [("named", named), ("labelled", labelled)] {
            let ran = step.binary().run();
            site.assert_no_secret(&ran);
            let document = ran.document();
            assert_eq!(document.campaign().targeted, 2_000, "{way} {ran:?}");
            assert_small(&ran, &format!("{kind:?} {way}"));
        }
    });
}
