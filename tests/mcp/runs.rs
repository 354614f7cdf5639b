//! `plan_live_query` and `run_live_query`: who would be asked, who was, how it goes on, how it is stopped.

use osquery_simulator::Answer;

use crate::harness::site::silent;

use super::*;

fn hosts() -> Vec<HostSpec> {
    vec![
        HostSpec::named("web-01"),
        HostSpec::named("web-02"),
        HostSpec::named("db-01").answering(Answer::Error("no such table: processes".into())),
        HostSpec::named("laptop-07").missing(),
    ]
}

const BOTH: [&str; 2] = ["corp", "lab"];

#[test]
fn a_plan_says_who_would_be_asked_and_asks_nobody() {
    let site = Site::new(hosts());
    let mut client = site.client("");
    for instance in BOTH {
        let plan = client.tool(
            "plan_live_query",
            query(instance, &["web-01", "laptop-07", "web-1"]),
        );
        assert_eq!(
            plan,
            json!({
                "untrusted": true,
                "instance": instance,
                "template": "running_processes",
                "sql": "SELECT * FROM processes LIMIT 100",
                "targeted": 2,
                "needs_confirmation": false,
                "hosts": ["web-01", "laptop-07"],
                "offline": ["laptop-07"],
                "offline_count": 1,
                "unknown": [{"name": "web-1", "near": ["web-01"]}],
                "unsupported": [],
                "left_out": 0,
                "warnings": ["not enrolled, or not visible to these credentials: web-1 (did you mean `web-01`?)"],
            }),
            "{instance}"
        );
    }
    assert!(site.simulator.campaigns().is_empty());
}

#[test]
fn a_run_answers_with_the_document() {
    for era in ERAS {
        let site = Site::new(hosts());
        let policy = site.policy("");
        let mut client = Client::start(&policy, &[]).begin(era, json!({}));
        for instance in BOTH {
            let mut call = query(instance, &["web-01", "db-01", "laptop-07", "printer-9"]);
            call["timeout_seconds"] = 3.into();
            let document = client.tool("run_live_query", call);
            assert_eq!(document["untrusted"], true);
            assert_eq!(document["partial"], true);
            assert_eq!(document["executed"], true);
            let rows = document["results"]["web-01"].as_array().expect("rows");
            assert!(!rows.is_empty() && rows[0]["pid"].is_string());
            assert_eq!(document["results"]["db-01"], json!([]));
            assert_eq!(document["failed_hosts"], json!(["db-01"]));
            assert_eq!(
                document["timed_out_hosts"],
                json!(["laptop-07", "printer-9"])
            );
            assert_eq!(
                document["counts"],
                json!({"targets": 4, "ok": 1, "error": 1, "offline": 1, "unknown": 1, "rows": rows.len()}),
                "{instance}"
            );
            assert_eq!(
                document["hosts"]["db-01"]["error"],
                "no such table: processes"
            );
            assert_eq!(document["hosts"]["printer-9"]["status"], "unknown");
            assert_eq!(document["run"]["template"], "running_processes");
            assert_eq!(document["shown"]["complete"], true);
            assert_eq!(document["shown"]["rows"], rows.len());
        }
        let left = client.end();
        assert_eq!((left.status, &*left.stderr), (0, ""));
        site.wait_until_stopped();
    }
}

#[test]
fn refusals_are_the_tools_with_code_and_hint_and_end_nothing() {
    let site = Site::new(hosts());
    let mut client = site.client("max_timeout_seconds: 30\n");
    let cases = [
        (
            json!({"instance": "emea", "template": "running_processes", "target_hosts": ["web-01"]}),
            "policy",
            "there is no instance `emea` in the operator's policy",
        ),
        (
            json!({"instance": "corp", "template": "nope", "target_hosts": ["web-01"]}),
            "allowlist",
            "there is no template `nope` that may be named here",
        ),
        (
            json!({"instance": "corp", "template": "running_processes"}),
            "schema",
            "the step does not conform to its schema: no target: name hosts in `target_hosts`, `target_labels` or `target_platforms`",
        ),
        (
            json!({"instance": "corp", "template": "running_processes", "target_hosts": ["web-01"], "parameters": {"limit": "many"}}),
            "allowlist",
            "the allowlist refuses the step: parameter `limit` must be an integer from 1 to 10000, not other text",
        ),
        (
            json!({"instance": "corp", "template": "running_processes", "target_hosts": ["web-01"], "parameters": {"sql": "SELECT 1"}}),
            "allowlist",
            "the allowlist refuses the step: unknown parameter `sql` of template `running_processes`: it takes `limit`",
        ),
        (
            json!({"instance": "corp", "template": "running_processes", "target_hosts": ["{{ secrets.token }}"]}),
            "render",
            "a value holds `{{` or `{%`: there are no expressions here",
        ),
        (
            json!({"instance": "corp", "template": "running_processes", "target_hosts": ["web-01"], "timeout_seconds": 46}),
            "schema",
            "the arguments of run_live_query: `timeout_seconds` must be a whole number from 1 to 45",
        ),
        (
            json!({"instance": "corp", "template": "running_processes", "target_hosts": ["web-01"], "base_url": "https://evil.example"}),
            "schema",
            "the arguments of run_live_query: unknown key `base_url`: the run_live_query has no such key",
        ),
        (
            json!({"instance": "lab", "template": "running_processes", "target_hosts": ["web-01"], "target_teams": ["a"]}),
            "schema",
            "the step does not conform to its schema: `target_teams` is for Fleet only: remove it, osctrl has no teams",
        ),
    ];
    for (arguments, code, message) in cases {
        let error = client.refused("run_live_query", arguments.clone());
        assert_eq!(
            (&error["code"], &error["message"]),
            (&json!(code), &json!(message)),
            "{arguments}"
        );
        assert!(
            error["hint"].is_string() || code == "allowlist" || code == "schema",
            "{error}"
        );
    }
    let error = client.refused("no_such_tool", json!({}));
    assert_eq!(error["code"], "usage");
    assert_eq!(site.simulator.connections(), 0);
    let document = client.tool("run_live_query", query("corp", &["web-01"]));
    assert_eq!(document["partial"], false);
}

#[test]
fn unknown_targets_are_an_error_whose_near_names_are_data() {
    let site = Site::new(hosts());
    let mut client = site.client("");
    for instance in BOTH {
        let id = client.call("run_live_query", query(instance, &["web-1"]));
        let answer = client.answer(id);
        assert_eq!(answer["result"]["isError"], true);
        let document = structured("run_live_query", &answer["result"]);
        assert_eq!(document["error"]["code"], "targets");
        let error = document["error"].to_string();
        assert!(
            !error.contains("web-01"),
            "a host's name in the words of an error: {error}"
        );
        assert_eq!(document["hosts"]["web-1"]["near"], json!(["web-01"]));
        assert_eq!(document["executed"], false);
    }
    assert!(site.simulator.campaigns().is_empty());
}

#[test]
fn more_hosts_than_the_policy_allows_are_not_asked() {
    let site = Site::new(vec![HostSpec::many(8, "web-{n}")]);
    let mut client = site.client("mcp: {max_hosts: 4, confirm_above: 3}\n");
    for instance in BOTH {
        let error = client.refused(
            "run_live_query",
            json!({"instance": instance, "template": "running_processes", "target_platforms": ["linux"]}),
        );
        assert_eq!(error["code"], "targets");
        assert_eq!(
            error["message"],
            "the targets are more hosts than `max_hosts` allows (4): nothing was dispatched"
        );
        assert!(
            error["hint"]
                .as_str()
                .expect("a hint")
                .contains("name fewer hosts")
        );
    }
    assert!(site.simulator.campaigns().is_empty());
}

#[test]
fn silent_hosts_are_gone_on_with() {
    let site = Site::new(vec![
        HostSpec::named("web-01"),
        HostSpec::named("web-02").delayed(Duration::from_secs(3)),
    ]);
    let mut client = site.client("");
    for instance in BOTH {
        let mut call = query(instance, &["web-01", "web-02"]);
        call["timeout_seconds"] = 1.into();
        call["parameters"] = json!({"limit": 3});
        let first = client.tool("run_live_query", call);
        assert_eq!(first["timed_out_hosts"], json!(["web-02"]), "{first}");
        assert_eq!(first["results"]["web-01"].as_array().map(Vec::len), Some(3));
        let id = &first["run"]["id"];
        let again = json!({"instance": instance, "template": "running_processes", "resume": id});
        let whole = client.tool("run_live_query", again.clone());
        assert_eq!(whole["run"]["resumes"], *id);
        assert_eq!(whole["partial"], false, "{whole}");
        assert_eq!(whole["results"]["web-01"], first["results"]["web-01"]);
        assert_eq!(whole["results"]["web-02"].as_array().map(Vec::len), Some(3));
        // Nothing else can be slipped under an earlier run.
        for (key, value) in [
            ("target_hosts", json!(["db-01"])),
            ("parameters", json!({"limit": 9})),
            ("template", json!("logged_in_users")),
        ] {
            let mut other = again.clone();
            other[key] = value;
            let error = client.refused("run_live_query", other);
            assert_eq!(error["code"], "usage", "{key}");
        }
    }
    let gone = json!({
        "instance": "corp", "template": "running_processes",
        "resume": "00000000-0000-4000-8000-000000000000",
    });
    assert_eq!(client.refused("run_live_query", gone)["code"], "usage");
}

#[test]
fn progress_is_told_and_only_grows() {
    let site = Site::new(vec![
        HostSpec::named("web-01"),
        HostSpec::named("web-02").delayed(Duration::from_millis(1_500)),
    ]);
    let mut client = site.client("");
    let id = client.send(
        "tools/call",
        json!({
            "name": "run_live_query",
            "arguments": query("corp", &["web-01", "web-02"]),
            "_meta": {"progressToken": "p-1"},
        }),
    );
    let mut told = Vec::new();
    loop {
        let message = client.next();
        if message["id"] == id {
            break;
        }
        assert_eq!(message["method"], "notifications/progress", "{message}");
        assert_eq!(message["params"]["progressToken"], "p-1");
        assert_eq!(message["params"]["total"], 2.0);
        told.push(message["params"]["progress"].as_f64().expect("a number"));
    }
    assert!(told.contains(&1.0), "{told:?}");
    assert!(told.windows(2).all(|pair| pair[0] < pair[1]), "{told:?}");
}

/// The client's word, its end and its death: each stops the campaign.
#[test]
fn a_call_is_ended_in_every_way() {
    for how in ["cancelled", "stdin", "SIGTERM", "killed"] {
        for instance in BOTH {
            let site = Site::new(vec![silent("web-01")]);
            let mut client = site.client("audit_log: audit.jsonl\n");
            let mut call = query(instance, &["web-01"]);
            call["timeout_seconds"] = 40.into();
            let id = client.call("run_live_query", call);
            site.wait_for_campaigns(1);
            let outcome = match how {
                "cancelled" => {
                    client.notify("notifications/cancelled", json!({"requestId": id}));
                    site.wait_until_stopped();
                    // The server lives on, and the call has no answer.
                    assert!(client.ask("ping", json!({}))["result"].is_object());
                    let left = client.end();
                    assert!(left.rest.iter().all(|message| message["id"] != id));
                    "withdrawn"
                }
                "stdin" => {
                    let left = client.end();
                    let answer = left.rest.iter().find(|message| message["id"] == id);
                    let document =
                        structured("run_live_query", &answer.expect("an answer")["result"]);
                    assert_eq!(document["cancelled"], true);
                    assert_eq!(left.status, 0);
                    "withdrawn"
                }
                "SIGTERM" => {
                    client.signal(rustix::process::Signal::TERM);
                    let left = client.wait_for_end();
                    assert_eq!(left.status, 143);
                    assert!(left.rest.iter().any(|message| message["id"] == id));
                    "terminated"
                }
                _ => {
                    // The server itself: its campaign ends with its socket, or by its hours.
                    client.signal(rustix::process::Signal::KILL);
                    assert_eq!(client.wait_for_end().status, -1);
                    continue;
                }
            };
            site.wait_until_stopped();
            let lines = audit(&site.folder);
            assert_eq!(lines.len(), 2, "{how}: {lines:?}");
            assert_eq!(lines[1]["code"], outcome, "{how}");
        }
    }
}

#[test]
fn the_audit_log_knows_who_asked_through_what() {
    let site = Site::new(hosts());
    let policy = site.policy("audit_log: audit.jsonl\n");
    for era in ERAS {
        let mut client = Client::start(&policy, &[]).begin(era, json!({}));
        let document = client.tool("run_live_query", query("corp", &["web-01"]));
        client.end();
        let lines = audit(&site.folder);
        let [intent, outcome] = &lines[lines.len() - 2..] else {
            panic!("{lines:?}")
        };
        assert_eq!(
            (&intent["event"], &outcome["event"]),
            (&json!("intent"), &json!("outcome"))
        );
        assert_eq!(intent["via"], "mcp");
        assert_eq!(
            intent["client"],
            json!({"name": "raw-client", "version": "1.2.3"})
        );
        assert_eq!(intent["instance"], "corp");
        assert_eq!(intent["run"], document["run"]["id"]);
        assert_eq!(
            (&outcome["run"], &outcome["code"]),
            (&intent["run"], &json!("ok"))
        );
    }
    // Where nothing can be recorded, nothing is asked.
    let before = site.simulator.campaigns().len();
    site.folder.mode("audit.jsonl", 0o666);
    let mut client = Client::start(&policy, &[]).begin(USUAL, json!({}));
    let error = client.refused("run_live_query", query("corp", &["web-01"]));
    assert_eq!(error["code"], "policy", "{error}");
    assert_eq!(site.simulator.campaigns().len(), before);
}

#[test]
fn runs_a_minute_are_counted_and_others_wait() {
    let site = Site::new(hosts());
    let mut client = site.client("mcp: {max_runs_per_minute: 2}\n");
    for _ in 0..2 {
        client.tool("run_live_query", query("corp", &["web-01"]));
    }
    let error = client.refused("run_live_query", query("corp", &["web-01"]));
    assert_eq!(
        (&error["code"], &error["retryable"]),
        (&json!("busy"), &json!(true))
    );
    assert!(
        error["hint"]
            .as_str()
            .expect("a hint")
            .starts_with("call again in ")
    );
    // What asks no host is not counted.
    client.tool("plan_live_query", query("corp", &["web-01"]));
    assert_eq!(site.simulator.campaigns().len(), 2);
}

#[test]
fn a_value_that_leads_hosts_to_a_server_is_refused_whatever_the_policy_says() {
    let site = Site::new(hosts());
    let mut client = site.client("allow_unc_paths: true\n");
    let error = client.refused(
        "run_live_query",
        json!({
            "instance": "corp", "template": "file_info", "target_hosts": ["web-01"],
            "parameters": {"path": r"\\evil.example\share\x"},
        }),
    );
    assert_eq!(error["code"], "allowlist", "{error}");
    assert!(site.simulator.campaigns().is_empty());
}
