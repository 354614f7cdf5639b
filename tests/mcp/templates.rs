//! `find_templates` and `describe_template`.

use super::*;

fn names(found: &Value) -> Vec<&str> {
    let templates = found["templates"].as_array().expect("a list");
    templates
        .iter()
        .filter_map(|it| it["name"].as_str())
        .collect()
}

#[test]
fn templates_are_found_by_words_platform_and_tag() {
    let site = Site::new(vec![HostSpec::named("web-01")]);
    let mut client = site.client("");
    let all = client.tool("find_templates", json!({"limit": 100}));
    let count = names(&all).len() as u64 + all["left_out"].as_u64().expect("a number");
    assert!(count > 100, "{count}");
    let found = client.tool(
        "find_templates",
        json!({"text": "running processes", "limit": 3}),
    );
    assert_eq!(names(&found)[0], "running_processes");
    assert_eq!(names(&found).len(), 3);
    let windows = client.tool(
        "find_templates",
        json!({"platform": "windows", "tag": "T1053", "limit": 100}),
    );
    for template in windows["templates"].as_array().expect("a list") {
        let platforms = template["platforms"].as_array().expect("a list");
        assert!(platforms.contains(&"windows".into()), "{template}");
        let tags = template["tags"].to_string();
        assert!(tags.contains("T1053"), "{template}");
    }
    assert!(!names(&windows).is_empty());
    let none = client.tool("find_templates", json!({"text": "zebra crossing"}));
    assert_eq!(none, json!({"left_out": 0, "templates": []}));
}

#[test]
fn what_the_policy_forbids_is_not_there_at_all() {
    let site = Site::new(vec![HostSpec::named("web-01")]);
    let mut client = site.client(
        "templates: {deny: {names: [shell_history]}}\nmcp: {templates: {allow: {tags: [triage]}, deny: {names: [logged_in_users]}}}\n",
    );
    let found = client.tool("find_templates", json!({"limit": 100}));
    assert_eq!(found["left_out"], 0);
    let names = names(&found);
    assert!(names.contains(&"running_processes"));
    for hidden in ["shell_history", "logged_in_users", "listening_port"] {
        assert!(!names.contains(&hidden), "{hidden}");
    }
    for hidden in ["shell_history", "logged_in_users", "no_such_thing"] {
        let error = client.refused("describe_template", json!({"name": hidden}));
        assert_eq!(error["code"], "allowlist");
        assert_eq!(
            error["message"],
            format!("there is no template `{hidden}` that may be named here")
        );
        let error = client.refused(
            "run_live_query",
            json!({
                "instance": "corp", "template": hidden, "target_hosts": ["web-01"],
            }),
        );
        assert_eq!(error["code"], "allowlist");
    }
    assert_eq!(site.simulator.connections(), 0);
}

#[test]
fn a_template_is_described_with_its_columns_and_a_call_that_works() {
    let site = Site::new(vec![HostSpec::named("web-01")]);
    let mut client = site.client("");
    let described = client.tool("describe_template", json!({"name": "running_processes"}));
    assert_eq!(described["sql"], "SELECT * FROM processes LIMIT :limit");
    let columns = described["columns"].as_array().expect("a list");
    assert!(columns.contains(&"pid".into()) && columns.contains(&"cmdline".into()));
    let plan = client.tool("plan_live_query", described["example"].clone());
    assert_eq!(plan["targeted"], 1, "{plan}");
}

/// Every example is good: what a model is shown to call can be called.
#[test]
fn every_example_passes_the_way_of_a_step() {
    let site = Site::new(vec![HostSpec::named("web-01")]);
    let mut client = site.client("tables_denied: []\n");
    let mut names: Vec<String> =
        std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/templates"))
            .expect("templates")
            .map(|entry| entry.expect("a file").path())
            .map(|path| {
                path.file_stem()
                    .expect("a name")
                    .to_string_lossy()
                    .into_owned()
            })
            .collect();
    names.sort();
    assert!(names.len() > 100);
    for name in names {
        let described = client.tool("describe_template", json!({"name": name}));
        assert!(
            !described["columns"].as_array().expect("a list").is_empty(),
            "{name}"
        );
        let mut call = described["example"].clone();
        // Nothing is sent: the server's name leads nowhere.
        call["target_hosts"] = json!(["no such host"]);
        let error = client.refused("plan_live_query", call);
        assert_eq!(error["code"], "targets", "{name}: {error}");
    }
}
