//! Paths to servers: an alert never brings one to where a host opens it, whatever the policy says; the
//! step's author may write one where the operator allows it.

use osquery_simulator::TableSpec;
use serde_json::json;

use super::*;

/// Spellings by which a Windows host would go to a server or a device.
const ELSEWHERE: [&str; 14] = [
    r"\\evil.example\share\x.exe",
    "//evil.example/share/x.exe",
    r"/\evil.example\share\x.exe",
    r"\/evil.example/share/x.exe",
    r"\\?\UNC\evil.example\share\x.exe",
    r"\??\UNC\evil.example\share\x.exe",
    r"\\.\UNC\evil.example\share\x.exe",
    r"\\.\PhysicalDrive0",
    r"\\;LanmanRedirector\;Z:0\evil.example\share",
    r"\\wsl$\Ubuntu\etc\passwd",
    r"\\tsclient\c\x.exe",
    r"\\localhost\c$\x.exe",
    "\"\\\\evil.example\\share\\x.exe\"",
    r"\Device\Mup\evil.example\share\x.exe",
];

/// An invocation whose template's parameter is written as given, with an alert.
fn invocation(url: &str, template: &str, params: &serde_json::Value, path: &str) -> String {
    json!({
        "protocol": 1,
        "context": {"alert": {"path": path}},
        "secrets": {"token": FLEET_MAINTAINER_TOKEN},
        "step": {"id": "s", "type": "osquery_live_query", "params": {
            "backend": "fleetdm", "base_url": url, "api_token": "{{ secrets.token }}",
            "target_hosts": ["web-01"], "template": template, "template_params": params,
        }},
    })
    .to_string()
}

/// A server with one host that has files and their digests.
fn server_with_files() -> Simulator {
    let columns = ["path", "md5", "sha1", "sha256"];
    let row = columns.map(|column| (column.to_owned(), json!("")));
    let hashes = TableSpec::Rows(vec![row.into_iter().collect()]);
    let host = HostSpec::named("web-01").with_table("hash", hashes);
    Simulator::spawn(Scenario::of([host])).expect("a simulator")
}

#[test]
fn an_alert_never_brings_one() {
    let folder = Folder::new();
    let policy = folder.policy("allow_unc_paths: true\n");
    for template in [
        ("file_details", "path", ""),
        ("files_in_directory", "directory", ""),
        ("hidden_files_in_directory", "directory", ""),
        ("windows_code_signature", "path", ""),
        ("files_by_pattern", "pattern", r"\%"),
    ] {
        let (template, parameter, ending) = template;
        for path in ELSEWHERE {
            let params = json!({parameter: format!("{{{{ alert.path }}}}{ending}")});
            let text = invocation("http://127.0.0.1:9", template, &params, path);
            let ran = under(&policy, &text).run();
            let document = ran.document();
            let error = document.error.expect("an error");
            assert_eq!(
                (ran.status, &*error.code),
                (13, "allowlist"),
                "{template} {path}"
            );
            for said in [&ran.stderr, &ran.stdout] {
                assert!(!said.contains("evil"), "{said}");
            }
        }
    }
}

#[test]
fn the_reason_says_where_it_came_from() {
    let params = json!({"path": "{{ alert.path }}"});
    let text = invocation(
        "http://127.0.0.1:9",
        "file_details",
        &params,
        r"\\evil\share\x",
    );
    step(text).run().assert_failure(
        13,
        "allowlist",
        "error[allowlist]: the allowlist refuses the step: parameter `path` must not be a UNC or device path (`\\\\server\\share`) that comes from the context: the host would log on to a server of the alert's choosing (column 329)\n",
    );
    let params = json!({"path": r"\\fileserver\share\x"});
    let text = invocation("http://127.0.0.1:9", "file_details", &params, "");
    step(text).run().assert_failure(
        13,
        "allowlist",
        "error[allowlist]: the allowlist refuses the step: parameter `path` must not be a UNC or device path (`\\\\server\\share`), for the host logs on to that server, unless the operator's policy says `allow_unc_paths: true` (column 311)\n",
    );
}

#[test]
fn the_author_of_a_step_may_with_the_policys_leave() {
    let folder = Folder::new();
    let simulator = server_with_files();
    let allowed = folder.policy("allow_http: true\nallow_unc_paths: true\n");
    let silent = folder.file("silent.yaml", "allow_http: true\n");
    for (written, sent) in [
        (r"\\fileserver\share\x.exe", r"\\fileserver\share\x.exe"),
        ("//fileserver/share/x.exe", r"\\fileserver\share\x.exe"),
        (
            r"\\?\UNC\fileserver\share\x.exe",
            r"\\fileserver\share\x.exe",
        ),
    ] {
        let params = json!({"path": written});
        let text = invocation(&simulator.base_url(), "file_details", &params, "");
        assert_eq!(under(&silent, &text).run().status, 13);
        assert_ran(&under(&allowed, &text).run());
        let campaigns = simulator.campaigns();
        let sql = &campaigns.last().expect("a campaign").sql;
        assert!(sql.ends_with(&format!("WHERE f.path = '{sent}'")), "{sql}");
    }
    assert_eq!(simulator.campaigns().len(), 3);
}

/// What a host only compares with what it holds leads nowhere, and an alert may bring it.
#[test]
fn what_is_only_compared_may_be_one() {
    let simulator = server_with_files();
    for (template, parameter) in [
        ("processes_by_path", "path"),
        ("processes_by_command_line", "text"),
    ] {
        let params = json!({parameter: "{{ alert.path }}"});
        let path = r"\\evil.example\share\x.exe";
        let text = invocation(&simulator.base_url(), template, &params, path);
        assert_ran(&step(text).run());
    }
    assert_eq!(simulator.campaigns().len(), 2);
}

#[test]
fn dry_run_finds_it_too() {
    let written = |value: &str| {
        format!(
            "id: s\nname: s\ntype: osquery_live_query\nparams:\n  backend: fleetdm\n  base_url: https://fleet.example.com\n  api_token: '{{{{ secrets.t }}}}'\n  template: file_details\n  template_params: {{path: '{value}'}}\n  target_hosts: [web-01]\n"
        )
    };
    let folder = Folder::new();
    let policy = folder.policy("allow_unc_paths: true\n");
    let ran = step(written(r"\\fileserver\share\x"))
        .args(&["dry-run", "-"])
        .run();
    assert_eq!(ran.status, 1, "{ran:?}");
    assert!(ran.stdout.contains("allow_unc_paths"), "{ran:?}");
    let ran = step(written(r"\\fileserver\share\x"))
        .args(&["dry-run", "-", "--policy"])
        .arg(&policy)
        .run();
    assert_eq!(ran.status, 0, "{ran:?}");
}
