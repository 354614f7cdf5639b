//! Both eras, the tools as clients list them, resources, how the server begins and ends.

use rustix::process::Signal;

use super::*;

fn tools(client: &mut Client) -> Vec<Value> {
    let answer = client.ask("tools/list", json!({}));
    let tools = answer["result"]["tools"].as_array().expect("a list");
    tools.clone()
}

#[test]
fn both_eras_list_the_same_six_tools() {
    let site = Site::new(vec![HostSpec::named("web-01")]);
    let lists = ERAS.map(|era| {
        let mut client = Client::start(&site.policy(""), &[]).begin(era, json!({}));
        let list = tools(&mut client);
        let left = client.end();
        assert_eq!((left.status, &*left.stderr), (0, ""), "{era:?}");
        assert_eq!(left.rest, Vec::<Value>::new(), "{era:?}");
        list
    });
    assert!(lists[0] == lists[1] && lists[1] == lists[2]);
    let names: Vec<&str> = lists[0]
        .iter()
        .filter_map(|it| it["name"].as_str())
        .collect();
    assert_eq!(
        names,
        [
            "find_templates",
            "describe_template",
            "find_hosts",
            "plan_live_query",
            "run_live_query",
            "read_rows"
        ]
    );
    // Read-only, destructive, idempotent, open world.
    let truths: Vec<[bool; 4]> = lists[0]
        .iter()
        .map(|tool| {
            [
                "readOnlyHint",
                "destructiveHint",
                "idempotentHint",
                "openWorldHint",
            ]
            .map(|hint| tool["annotations"][hint].as_bool().expect("a truth"))
        })
        .collect();
    assert_eq!(
        truths,
        [
            [true, false, true, false],
            [true, false, true, false],
            [true, false, true, true],
            [true, false, true, true],
            [false, false, false, true],
            [true, false, true, false],
        ]
    );
    for tool in &lists[0] {
        for schema in ["inputSchema", "outputSchema"] {
            assert_eq!(tool[schema]["type"], "object", "{tool}");
            jsonschema::draft202012::new(&tool[schema]).expect("a schema");
        }
        let instance = &tool["inputSchema"]["properties"]["instance"];
        if !instance.is_null() {
            assert_eq!(instance["enum"], json!(["corp", "lab"]));
        }
        let text = tool.to_string();
        assert!(
            !text.contains("base_url") && !text.contains("token"),
            "{text}"
        );
    }
    // Small enough for a model.
    assert!(json!(lists[0]).to_string().len() < 24_000);
}

#[test]
fn the_stateless_era_says_what_it_can_before_anything_else() {
    let site = Site::new(vec![HostSpec::named("web-01")]);
    let mut client = Client::start(&site.policy(""), &[]).begin(Era::Stateless, json!({}));
    let answer = client.ask("server/discover", json!({}));
    let result = &answer["result"];
    assert_eq!(result["resultType"], "complete");
    let versions = result["supportedVersions"].as_array().expect("a list");
    for version in ["2026-07-28", "2025-11-25", "2025-06-18"] {
        assert!(versions.contains(&version.into()), "{answer}");
    }
    let info = &result["_meta"]["io.modelcontextprotocol/serverInfo"];
    assert_eq!(info["name"], "osquery-live-query");
    assert!(result["capabilities"]["tools"].is_object());
    let list = client.ask("tools/list", json!({}));
    let result = &list["result"];
    assert_eq!(result["resultType"], "complete");
    assert_eq!(
        (&result["ttlMs"], &result["cacheScope"]),
        (&json!(3_600_000), &json!("private"))
    );
    // Each request says all of itself, or is refused; the server goes on.
    client.write(br#"{"jsonrpc":"2.0","id":"bare","method":"tools/list","params":{}}"#);
    let bare = client.wait(|message| message["id"] == "bare");
    assert_eq!(bare["error"]["code"], -32602, "{bare}");
    assert!(client.ask("tools/list", json!({}))["result"].is_object());
}

#[test]
fn a_session_of_the_handshake_has_no_word_of_the_other_era() {
    let site = Site::new(vec![HostSpec::named("web-01")]);
    let mut client = site.client("");
    let answer = client.ask("ping", json!({}));
    assert_eq!(answer["result"], json!({}));
    let answer = client.ask(
        "tools/call",
        json!({"name": "find_templates", "arguments": {}}),
    );
    assert!(answer["result"].get("resultType").is_none(), "{answer}");
    let unknown = client.ask("prompts/list", json!({}));
    assert_eq!(unknown["error"]["code"], -32601, "{unknown}");
    let unknown = client.ask("sampling/createMessage", json!({}));
    assert_eq!(unknown["error"]["code"], -32601, "{unknown}");
}

#[test]
fn resources_are_the_templates_and_two_schemas() {
    let site = Site::new(vec![HostSpec::named("web-01")]);
    let mut client = site.client("mcp: {templates: {deny: {names: [shell_history]}}}\n");
    let (mut uris, mut cursor) = (Vec::new(), None::<String>);
    loop {
        let params = match &cursor {
            Some(cursor) => json!({"cursor": cursor}),
            None => json!({}),
        };
        let answer = client.ask("resources/list", params);
        let page = answer["result"]["resources"]
            .as_array()
            .expect("a list")
            .clone();
        assert!(!page.is_empty() && page.len() <= 50);
        uris.extend(
            page.iter()
                .filter_map(|it| it["uri"].as_str().map(str::to_owned)),
        );
        cursor = answer["result"]["nextCursor"].as_str().map(str::to_owned);
        if cursor.is_none() {
            break;
        }
    }
    let all = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/templates"));
    let all = all.expect("templates").count();
    // Two schemas more, one denied, those of `tables_denied` less.
    assert!(uris.len() > 100 && uris.len() < all + 2, "{}", uris.len());
    assert!(uris.contains(&"template:///running_processes".into()));
    assert!(!uris.contains(&"template:///shell_history".into()));
    for uri in [
        "schema:///step",
        "schema:///output",
        "template:///running_processes",
    ] {
        let answer = client.ask("resources/read", json!({"uri": uri}));
        let content = &answer["result"]["contents"][0];
        assert_eq!(
            (&content["uri"], &content["mimeType"]),
            (&json!(uri), &json!("application/json"))
        );
        let text = content["text"].as_str().expect("text");
        assert!(serde_json::from_str::<Value>(text).is_ok());
    }
    for uri in [
        "template:///shell_history",
        "file:///etc/passwd",
        "schema:///policy",
    ] {
        let answer = client.ask("resources/read", json!({"uri": uri}));
        assert_eq!(answer["error"]["code"], -32002, "{answer}");
    }
    let wrong = client.ask("resources/list", json!({"cursor": "x"}));
    assert_eq!(wrong["error"]["code"], -32602, "{wrong}");
    let forms = client.ask("resources/templates/list", json!({}));
    let form = &forms["result"]["resourceTemplates"][0]["uriTemplate"];
    assert_eq!(form, "template:///{name}");
}

#[test]
fn a_server_needs_a_policy_with_an_instance() {
    let folder = Folder::new();
    let empty = folder.policy("{}\n");
    let broken = folder.file(
        "broken.yaml",
        "mcp: {max_hosts: 0, confirm_below: 5, templates: {allow: {names: [no_such]}}}\n",
    );
    let unknown = folder.file(
        "unknown.yaml",
        "mcp: {templates: {allow: {names: [runing_processes]}}}\n",
    );
    let cases: [(&[&str], String); 4] = [
        (&[], "error[policy]: there is no policy: it says which servers a model may ask, and what\nhint: name one with `--policy FILE` whose `instances` has at least one server\n".into()),
        (
            &["--policy", empty.to_str().expect("UTF-8")],
            format!("error[policy]: the policy {} has no instance, and a model can name nothing else\nhint: name one with `--policy FILE` whose `instances` has at least one server\n", empty.display()),
        ),
        (
            &["--policy", broken.to_str().expect("UTF-8")],
            format!("error[policy]: the policy {} can't be used:\n  line 1, column 18 of the policy: `mcp.max_hosts` must be a whole number from 1 to 1000000\n  line 1, column 21 of the policy: unknown key `confirm_below`; the keys here are `templates`, `max_hosts`, `max_runs_per_minute`, `confirm_above`, `max_bytes`\nhint: `osquery-live-query schema policy` describes every key\n", broken.display()),
        ),
        (
            &["--policy", unknown.to_str().expect("UTF-8")],
            format!("error[policy]: the policy {} can't be used: `mcp.templates.allow.names` lists `runing_processes`, which is no template: did you mean `running_processes`?\nhint: `osquery-live-query schema policy` describes every key\n", unknown.display()),
        ),
    ];
    for (args, stderr) in cases {
        let ran = crate::harness::args(["mcp"]).args(args).run();
        assert_eq!((ran.status, &*ran.stdout, &*ran.stderr), (14, "", &*stderr));
    }
}

#[test]
fn the_end_of_stdin_and_signals_end_it_with_their_status() {
    let site = Site::new(vec![HostSpec::named("web-01")]);
    for begun in [false, true] {
        for (signal, status) in [
            (None, 0),
            (Some(Signal::TERM), 143),
            (Some(Signal::HUP), 143),
            (Some(Signal::INT), 130),
        ] {
            let mut client = Client::start(&site.policy(""), &[]);
            // That it answers shows that it hears signals, too.
            assert_eq!(
                client.ask("server/discover", json!({}))["result"]["resultType"],
                "complete"
            );
            if begun {
                client = client.begin(USUAL, json!({}));
            }
            let left = match signal {
                Some(signal) => {
                    client.signal(signal);
                    client.wait_for_end()
                }
                None => client.end(),
            };
            assert_eq!(
                (left.status, &*left.stderr),
                (status, ""),
                "{signal:?} {begun}"
            );
        }
    }
}
