//! A person's word above `confirm_above`: asked for in the way of each era, for the very call, once.

use super::*;

const ALL: usize = 8;

fn site() -> Site {
    Site::new(vec![HostSpec::many(ALL, "web-{n}")])
}

fn all_linux(instance: &str) -> Value {
    json!({"instance": instance, "template": "running_processes", "target_platforms": ["linux"]})
}

/// What a person is shown.
#[track_caller]
fn assert_asks(form: &Value) {
    assert_eq!(form["mode"], "form", "{form}");
    let message = form["message"].as_str().expect("text");
    for part in [
        "`running_processes` on 8 hosts of `corp`",
        "Asked for: platforms linux",
        "SQL: SELECT * FROM processes LIMIT 100",
    ] {
        assert!(message.contains(part), "{message}");
    }
    // Nothing that a host wrote.
    assert!(!message.contains("web-"), "{message}");
    let schema = &form["requestedSchema"];
    assert_eq!(schema["properties"]["run"]["type"], "boolean", "{form}");
    assert_eq!(schema["required"], json!(["run"]));
}

#[test]
fn a_client_that_shakes_hands_asks_its_user() {
    let agreed = json!({"action": "accept", "content": {"run": true}});
    for (capability, word, runs) in [
        (json!({"elicitation": {}}), agreed.clone(), true),
        (json!({"elicitation": {"form": {}}}), agreed, true),
        (
            json!({"elicitation": {}}),
            json!({"action": "accept", "content": {"run": false}}),
            false,
        ),
        (
            json!({"elicitation": {}}),
            json!({"action": "accept"}),
            false,
        ),
        (
            json!({"elicitation": {}}),
            json!({"action": "decline"}),
            false,
        ),
        (
            json!({"elicitation": {}}),
            json!({"action": "cancel"}),
            false,
        ),
    ] {
        let site = site();
        let mut client = Client::start(&site.policy(""), &[]).begin(USUAL, capability);
        let id = client.call("run_live_query", all_linux("corp"));
        let question = client.wait(|message| message["method"] == "elicitation/create");
        assert_asks(&question["params"]);
        assert!(site.simulator.campaigns().is_empty());
        let answer = json!({"jsonrpc": "2.0", "id": question["id"], "result": word});
        client.write(answer.to_string().as_bytes());
        if runs {
            let document = client.answered(id, "run_live_query");
            assert_eq!(document["counts"]["ok"], ALL);
        } else {
            let error = error_of(&client.answer(id));
            assert_eq!(error["code"], "policy", "{word}");
            assert_eq!(error["message"], "the user did not agree to this query");
        }
        assert_eq!(
            site.simulator.campaigns().len(),
            usize::from(runs),
            "{word}"
        );
        assert_eq!(client.end().status, 0);
    }
}

#[test]
fn a_stateless_client_comes_back_with_its_users_word() {
    let site = site();
    let policy = site.policy("");
    let mut client =
        Client::start(&policy, &[]).begin(Era::Stateless, json!({"elicitation": {"form": {}}}));
    let mut asked = |arguments: Value| {
        let id = client.call("run_live_query", arguments);
        let answer = client.answer(id);
        let result = answer["result"].clone();
        assert_eq!(result["resultType"], "input_required", "{answer}");
        let request = &result["inputRequests"]["confirm"];
        assert_eq!(request["method"], "elicitation/create");
        assert_asks(&request["params"]);
        result["requestState"].clone()
    };
    let (state, other, declined) = (
        asked(all_linux("corp")),
        asked(all_linux("corp")),
        asked(all_linux("corp")),
    );
    assert!(state != other);
    let mut back = |arguments: Value, state: &Value, word: Value| {
        let params = json!({
            "name": "run_live_query", "arguments": arguments,
            "inputResponses": {"confirm": word}, "requestState": state,
        });
        client.ask("tools/call", params)
    };
    let yes = || json!({"action": "accept", "content": {"run": true}});
    let answer = back(all_linux("corp"), &state, yes());
    let document = structured("run_live_query", &answer["result"]);
    assert_eq!(document["counts"]["ok"], ALL, "{answer}");
    assert_eq!(site.simulator.campaigns().len(), 1);
    // Good once, for this call, with this word, of this server.
    let mut wider = all_linux("corp");
    wider["target_platforms"] = json!(["linux", "windows"]);
    for (arguments, state, word, code) in [
        (all_linux("corp"), state, yes(), "usage"),
        (wider, other, yes(), "usage"),
        (
            all_linux("corp"),
            declined,
            json!({"action": "decline"}),
            "policy",
        ),
        (
            all_linux("corp"),
            json!("00000000-0000-4000-8000-000000000000"),
            yes(),
            "usage",
        ),
    ] {
        let error = error_of(&back(arguments, &state, word));
        assert_eq!(error["code"], code, "{error}");
    }
    assert_eq!(site.simulator.campaigns().len(), 1);
}

#[test]
fn a_client_that_cannot_ask_is_told_what_to_narrow() {
    for era in ERAS {
        for capabilities in [json!({}), json!({"elicitation": {"url": {}}})] {
            let site = site();
            let mut client = Client::start(&site.policy(""), &[]).begin(era, capabilities);
            for instance in ["corp", "lab"] {
                let error = client.refused("run_live_query", all_linux(instance));
                assert_eq!(error["code"], "policy");
                assert_eq!(
                    error["message"],
                    "the query means 8 hosts; above 5 the policy's `mcp.confirm_above` wants the user's word, and this client can't ask for it"
                );
                assert_eq!(
                    error["hint"],
                    "name at most 5 hosts, or narrow them with `target_platforms`"
                );
                let plan = client.tool("plan_live_query", all_linux(instance));
                assert_eq!(plan["needs_confirmation"], true);
            }
            assert!(site.simulator.campaigns().is_empty(), "{era:?}");
        }
    }
}

#[test]
fn few_hosts_need_nobodys_word_and_none_means_always() {
    let site = site();
    let mut client = site.client("");
    let five = ["web-1", "web-2", "web-3", "web-4", "web-5"];
    assert_eq!(
        client.tool("run_live_query", query("corp", &five))["counts"]["ok"],
        5
    );
    drop(client);
    let mut client = site.client("mcp: {confirm_above: 0}\n");
    let error = client.refused("run_live_query", query("corp", &["web-1"]));
    assert_eq!(error["code"], "policy");
    assert_eq!(site.simulator.campaigns().len(), 1);
}

/// One name, several hosts: the names are few, the hosts are not.
#[test]
fn hosts_that_share_a_name_are_counted_one_by_one() {
    let site = Site::new(vec![HostSpec::many(ALL, "shared")]);
    let mut client = site.client("");
    for instance in ["corp", "lab"] {
        let error = client.refused("run_live_query", query(instance, &["shared"]));
        assert_eq!(error["code"], "policy", "{error}");
        assert!(
            error["message"]
                .as_str()
                .expect("text")
                .starts_with("the query means 8 hosts")
        );
    }
    assert!(site.simulator.campaigns().is_empty());
}

#[test]
fn a_call_that_is_cancelled_while_its_user_thinks_asks_nobody() {
    let site = site();
    let mut client = Client::start(&site.policy(""), &[]).begin(USUAL, json!({"elicitation": {}}));
    let id = client.call("run_live_query", all_linux("corp"));
    let question = client.wait(|message| message["method"] == "elicitation/create");
    client.notify("notifications/cancelled", json!({"requestId": id}));
    // Too late.
    let word = json!({"action": "accept", "content": {"run": true}});
    let answer = json!({"jsonrpc": "2.0", "id": question["id"], "result": word});
    client.write(answer.to_string().as_bytes());
    assert!(client.ask("ping", json!({}))["result"].is_object());
    let left = client.end();
    assert_eq!(left.status, 0);
    assert!(site.simulator.campaigns().is_empty());
}
