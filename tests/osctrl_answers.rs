//! osctrl: answers of single hosts that must never be taken for "no rows".

use osquery_simulator::{Fault, HostSpec, Scenario};
use serde_json::{Value, json};

use crate::harness::site::{Kind, Site, host, silent};

const UUID: &str = "4C4C4544-0000-4000-8000-0000000000AA";

/// A page of results that holds one host's answer.
fn page_of(item: Value) -> Fault {
    let page =
        json!({"items": [item], "page": 1, "page_size": 1_000, "total_items": 1, "total_pages": 1});
    Fault::on("/results/").body(page.to_string())
}

fn site_with(item: Value) -> Site {
    let asked = HostSpec {
        uuid: Some(UUID.into()),
        ..silent("web-01")
    };
    Site::new(
        Kind::Osctrl,
        Scenario::of([asked, host("web-02")]).with_fault(page_of(item)),
    )
}

/// What stands in `data`, and whether the host then has answered without rows.
fn spellings() -> Vec<(Value, bool)> {
    let text = |data: Value| Value::String(data.to_string());
    let data = |more: Value| {
        let mut data = json!({"name": "query", "status": 0, "message": ""});
        for (key, value) in more.as_object().expect("an object") {
            data[key] = value.clone();
        }
        text(data)
    };
    vec![
        (data(json!({"result": []})), true),
        (data(json!({"result": null})), false),
        (data(json!({})), false),
        (data(json!({"result": {}})), false),
        (data(json!({"result": ""})), false),
        (data(json!({"result": "[]"})), false),
        (data(json!({"result": false})), false),
        (data(json!({"result": 0})), false),
        (data(json!({"result": [null]})), false),
        (data(json!({"results": []})), false),
        (data(json!({"rows": []})), false),
        (text(json!({"status": 0})), false),
        (text(json!({})), false),
        (text(json!(null)), false),
        (text(json!([])), false),
        (text(json!("")), false),
        (json!(r#"{"result":[],"result":null,"status":0}"#), false),
        (json!(r#"{"result":null,"result":[],"status":0}"#), false),
        (json!(""), false),
        (json!(" "), false),
        (json!("null"), false),
        (json!(null), false),
        (json!([]), false),
        (json!({"status": 0}), false),
        (json!({"result": null}), false),
        (json!({"result": [], "status": 0}), true),
    ]
}

#[test]
fn an_answer_without_its_rows_is_an_error_of_that_host() {
    std::thread::scope(|scope| {
        for (data, answered_without_rows) in spellings() {
            for format in ["json", "ndjson"] {
                let data = data.clone();
                scope.spawn(move || {
                    let site = site_with(json!({"id": 1, "uuid": UUID, "status": 0, "data": data}));
                    let step = site.step(&["web-01"]).timeout(20);
                    let ran = step.arg(&format!("--format={format}")).binary().run();
                    assert_eq!(ran.status, 0, "{data}: {}", ran.stderr);
                    let status = if answered_without_rows { "ok" } else { "error" };
                    let summary: Value =
                        serde_json::from_str(ran.stdout.lines().last().expect("a document"))
                            .expect("JSON");
                    assert_eq!(
                        (&summary["hosts"]["web-01"]["status"], &summary["partial"]),
                        (&json!(status), &json!(!answered_without_rows)),
                        "{data}: {summary}"
                    );
                });
            }
        }
    });
}

#[test]
fn an_item_without_data_is_an_error_of_that_host() {
    let site = site_with(json!({"id": 1, "uuid": UUID, "status": 0}));
    let ran = site.step(&["web-01"]).timeout(20).binary().run();
    let document = ran.document();
    assert_eq!(document.failed_hosts, ["web-01"]);
    assert_eq!(
        document.hosts["web-01"].error.as_deref(),
        Some("the answer could not be read: it is missing")
    );
}
