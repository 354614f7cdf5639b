//! `find_hosts` on both kinds of server.

use super::*;

fn names(found: &Value) -> Vec<&str> {
    let hosts = found["hosts"].as_array().expect("a list");
    let mut names: Vec<&str> = hosts.iter().filter_map(|it| it["name"].as_str()).collect();
    names.sort_unstable();
    names
}

#[test]
fn hosts_are_found_by_part_of_what_they_are_called() {
    let site = Site::new(vec![
        HostSpec::named("web-01"),
        HostSpec::named("WEB-02").on("windows"),
        HostSpec::named("laptop-07").missing(),
    ]);
    let mut client = site.client("");
    for instance in ["corp", "lab"] {
        let mut find =
            |text: &str| client.tool("find_hosts", json!({"instance": instance, "text": text}));
        let found = find("web");
        assert_eq!(names(&found), ["WEB-02", "web-01"], "{instance}");
        assert_eq!(found["more"], false);
        let first = found["hosts"]
            .as_array()
            .expect("a list")
            .iter()
            .find(|it| it["name"] == "web-01");
        let first = first.expect("it is there");
        assert_eq!(
            (&first["online"], &first["platform"]),
            (&json!(true), &json!("linux"))
        );
        let (uuid, serial) = (
            first["uuid"].as_str().expect("text"),
            first["serial"].as_str(),
        );
        assert_eq!(
            names(&find(&uuid[20..].to_lowercase())),
            ["web-01"],
            "{instance}: {found}"
        );
        assert_eq!(
            names(&find(serial.expect("a serial"))),
            ["web-01"],
            "{instance}: {found}"
        );
        let offline = find("LAPTOP");
        assert_eq!(names(&offline), ["laptop-07"], "{instance}");
        assert_eq!(offline["hosts"][0]["online"], false);
        assert_eq!(
            find("zebra"),
            json!({"untrusted": true, "hosts": [], "more": false})
        );
        // What a search of the server's would take for a pattern.
        assert_eq!(names(&find("%%")), Vec::<&str>::new(), "{instance}");
    }
}

#[test]
fn many_are_bounded_and_said_to_be_more() {
    let site = Site::new(vec![HostSpec::many(700, "web-{n}")]);
    let mut client = site.client("mcp: {max_bytes: 4096}\n");
    for instance in ["corp", "lab"] {
        let few = client.tool(
            "find_hosts",
            json!({"instance": instance, "text": "web", "limit": 3}),
        );
        assert_eq!(
            (names(&few).len(), &few["more"]),
            (3, &json!(true)),
            "{instance}"
        );
        let many = client.tool(
            "find_hosts",
            json!({"instance": instance, "text": "web", "limit": 100}),
        );
        assert!(many.to_string().len() <= 4_096 && names(&many).len() > 5);
        assert_eq!(many["more"], true);
    }
}

#[test]
fn what_stops_a_search_is_told() {
    let site = Site::new(vec![HostSpec::named("web-01")]);
    site.folder.file("wrong", "wrong-secret-0a1b2c3d");
    let mut client = site.client(&format!(
        "  nowhere: {{backend: fleetdm, base_url: 'http://127.0.0.1:9', credentials: {{api_token: {{file: token}}}}}}\n  \
         refused: {{backend: fleetdm, base_url: '{url}', credentials: {{api_token: {{file: wrong}}}}}}\n  \
         keyless: {{backend: fleetdm, base_url: '{url}', credentials: {{api_token: {{file: missing}}}}}}\n",
        url = site.simulator.base_url()
    ));
    for (instance, code) in [
        ("refused", "auth"),
        ("keyless", "policy"),
        ("other", "policy"),
    ] {
        let error = client.refused("find_hosts", json!({"instance": instance, "text": "web"}));
        assert_eq!(error["code"], code, "{error}");
        assert!(!error.to_string().contains("secret-0a1b2c3d"), "{error}");
    }
    let error = client.refused("find_hosts", json!({"instance": "corp", "text": "x"}));
    assert_eq!(
        error["message"],
        "the arguments of find_hosts: `text` must have at least 2 characters"
    );
    // One that can't be reached is tried until the deadline, or until the client's word.
    let id = client.call("find_hosts", json!({"instance": "nowhere", "text": "web"}));
    client.notify("notifications/cancelled", json!({"requestId": id}));
    assert_eq!(client.end().status, 0);
}
