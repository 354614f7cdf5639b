//! Fleet's answers that are none, through the real binary: an empty list in `results` always means that the
//! host has nothing to show.

use osquery_simulator::{Answer, Fault, HostSpec, Scenario, SocketFault};
use serde_json::json;

use crate::harness::site::{Kind, Site, host, on_all, silent};

/// A message of the results socket for the first host.
fn result(data: serde_json::Value) -> String {
    let mut message = json!({"type": "result", "data": {"host": {"id": 1, "hostname": "web-01"}}});
    if let Some(fields) = data.as_object() {
        for (name, value) in fields {
            message["data"][name] = value.clone();
        }
    }
    message.to_string()
}

#[test]
fn an_answer_without_rows_is_that_hosts_error() {
    let frames = [
        json!({}),
        json!({"rows": null}),
        json!({"rows": null, "error": null}),
        json!({"error": ""}),
        json!({"row": []}),
    ];
    on_all(frames, |data| {
        let fault = Fault::on("results/websocket").socket(SocketFault {
            send: vec![result(data.clone())],
            ..SocketFault::default()
        });
        let site = Site::new(
            Kind::Fleet,
            Scenario::of([silent("web-01")]).with_fault(fault),
        );
        let ran = site.step(&["web-01"]).binary().run();
        assert_missing(&site, &ran, &data.to_string());
    });
}

#[test]
fn the_same_where_each_host_is_asked_by_a_call() {
    let answers = [
        json!({"host_id": 1, "rows": null, "status": "online"}),
        json!({"host_id": 1, "status": "online"}),
        json!({"host_id": 1, "rows": null}),
        json!({}),
    ];
    on_all(answers, |answer| {
        let scenario = Scenario::of([host("web-01")])
            .with_fault(Fault::on("results/websocket").status(403))
            .with_fault(Fault::on("hosts/1/query").body(answer.to_string()));
        let site = Site::new(Kind::Fleet, scenario);
        let ran = site.step(&["web-01"]).binary().run();
        assert_missing(&site, &ran, &answer.to_string());
    });
}

#[track_caller]
fn assert_missing(site: &Site, ran: &crate::harness::Ran, what: &str) {
    site.assert_no_secret(ran);
    let document = ran.document();
    assert_eq!((ran.status, document.partial), (0, true), "{what}: {ran:?}");
    assert_eq!(document.failed_hosts, ["web-01"], "{what}");
    assert_eq!(
        document.hosts["web-01"].error.as_deref(),
        Some("the answer could not be read: the rows are missing"),
        "{what}"
    );
}

/// `rows: null` with `status: offline` is how a call says that the host is not there.
#[test]
fn a_host_that_is_said_to_be_offline_has_not_answered() {
    let scenario = Scenario::of([host("web-01"), HostSpec::named("laptop-01").offline()])
        .with_fault(Fault::on("results/websocket").status(403));
    let site = Site::new(Kind::Fleet, scenario);
    let step = site
        .step(&["web-01", "laptop-01"])
        .with("offline_hosts", "skip");
    let ran = step.binary().run();
    let document = ran.document();
    assert_eq!(document.timed_out_hosts, ["laptop-01"], "{ran:?}");
    assert_eq!(document.hosts["laptop-01"].status, "offline");
}

/// No rows are no rows.
#[test]
fn a_host_with_nothing_to_show_is_no_error() {
    let scenario = Scenario::of([host("web-01").answering(Answer::None)]);
    for fault in [None, Some(Fault::on("results/websocket").status(403))] {
        let mut scenario = scenario.clone();
        scenario.faults.extend(fault);
        let site = Site::new(Kind::Fleet, scenario);
        let ran = site.step(&["web-01"]).binary().run();
        let document = ran.document();
        assert_eq!((ran.status, document.partial), (0, false), "{ran:?}");
        assert!(document.results["web-01"].is_empty());
    }
}
