//! Which templates steps may name, and the operator's own.

use super::*;

const OWN: &str = "name: own_users\nintent: Lists who is logged in, for the tests of templates of one's own.\nsql: SELECT user, host FROM logged_in_users\nplatforms: [linux]\nseverity: info\ntags: [own]\ntables:\n  logged_in_users:\n    columns: [user, host]\n";

const CURL: &str = "name: fetch\nintent: Has the host fetch an address, which is denied by default.\nsql: SELECT url, response_code FROM curl WHERE url = 'https://a.example'\nplatforms: [linux]\nseverity: info\ntables:\n  curl:\n    columns: [url, response_code]\n";

#[test]
fn templates_are_allowed_and_denied_by_name_and_tag() {
    let folder = Folder::new();
    let simulator = server();
    let run = |policy: &str, template: &str| {
        let policy = folder.policy(policy);
        let text = fleet_step(&simulator.base_url(), &format!("template: {template}"));
        under(&policy, &text).run()
    };
    let denied = |name: &str| {
        format!(
            "the operator's policy forbids the step: the template `{name}` is on the policy's list `templates.deny` (line 9, column 13)"
        )
    };
    let not_allowed = |name: &str| {
        format!(
            "the operator's policy forbids the step: the template `{name}` is not on the policy's list `templates.allow` (line 9, column 13)"
        )
    };
    for policy in [
        "templates: {deny: {names: [logged_in_users]}}",
        "templates: {deny: {tags: [accounts]}}",
        "templates: {deny: {tags: [ACCOUNTS]}}",
        "templates: {allow: {names: [logged_in_users]}, deny: {tags: [accounts]}}",
        "templates: {allow: {tags: [accounts]}, deny: {names: [logged_in_users]}}",
    ] {
        assert_refused(&run(policy, "logged_in_users"), &denied("logged_in_users"));
    }
    for policy in [
        "templates: {allow: {names: [logged_in_users]}}",
        "templates: {allow: {tags: [accounts]}}",
        "templates: {allow: {names: []}}",
    ] {
        assert_refused(
            &run(policy, "listening_ports"),
            &not_allowed("listening_ports"),
        );
    }
    assert_eq!(simulator.connections(), 0);
    for policy in [
        "templates: {deny: {names: [listening_ports]}}",
        "templates: {allow: {names: [logged_in_users]}}",
        "templates: {allow: {tags: [accounts]}}",
        "templates: {allow: {names: [listening_ports], tags: [accounts]}}",
    ] {
        assert_ran(&run(policy, "logged_in_users"));
    }
}

#[test]
fn an_operators_own_template_is_checked_like_a_built_in_one() {
    let folder = Folder::new();
    let simulator = server();
    folder.folder("templates");
    folder.file("templates/own_users.yaml", OWN);
    folder.file(
        "templates/broken.yaml",
        OWN.replace("own_users", "broken")
            .replace("user, host FROM", "user, secret FROM"),
    );
    folder.file("templates/notes.txt", "not a template");
    let policy = folder
        .policy("template_dirs: [templates]\ntemplates: {deny: {names: [running_processes]}}");
    let run = |template: &str| {
        let text = fleet_step(&simulator.base_url(), &format!("template: {template}"));
        under(&policy, &text).run()
    };
    assert_ran(&run("own_users"));
    assert_eq!(
        simulator.campaigns()[0].sql,
        "SELECT user, host FROM logged_in_users"
    );
    assert_ran(&run("logged_in_users"));
    let ran = run("broken");
    assert_eq!(
        (ran.status, ran.document().error.expect("an error").code),
        (13, "allowlist".into())
    );
    let listed = |name: &[&str]| {
        let mut binary = crate::harness::args(["templates", "--policy"]).arg(&policy);
        for name in name {
            binary = binary.arg(*name);
        }
        binary.run()
    };
    let all = listed(&[]);
    assert_eq!(all.status, 0);
    assert_eq!(
        all.stderr,
        "warning: template `broken`: `sql` is not valid: no such column: secret\n"
    );
    assert!(all.stdout.contains("own_users") && !all.stdout.contains("running_processes "));
    assert!(listed(&["own_users"]).stdout.contains("SELECT user, host"));
    let refused = listed(&["running_processes"]);
    assert_eq!((refused.status, &*refused.stdout), (14, ""));
    assert_eq!(
        refused.stderr,
        "error[policy]: the template `running_processes` is on the policy's list `templates.deny`\n"
    );
}

#[test]
fn no_template_takes_the_place_of_another() {
    let folder = Folder::new();
    let simulator = server();
    folder.folder("one");
    folder.folder("two");
    let refused = |policy: &str, stderr: &str| {
        let policy = folder.policy(policy);
        let ran = under(&policy, &fleet_step(&simulator.base_url(), "")).run();
        assert_refused(
            &ran,
            &format!(
                "the policy {} can't be used:{}{stderr}",
                policy.display(),
                if stderr.starts_with('\n') { "" } else { " " }
            ),
        );
    };
    folder.file("one/own_users.yaml", OWN);
    folder.file("two/own_users.yaml", OWN);
    refused(
        "template_dirs: [one, two]",
        &format!(
            "`template_dirs[1]`: {} is in another folder too: keep one of them",
            folder.at("two/own_users.yaml").display()
        ),
    );
    let shadow = folder.file(
        "one/logged_in_users.yaml",
        OWN.replace("own_users", "logged_in_users"),
    );
    refused(
        "template_dirs: [one]",
        &format!(
            "`template_dirs[0]`: {} has the name of a built-in template: give it another",
            shadow.display()
        ),
    );
    fs::remove_file(shadow).expect("the file");
    folder.mode("one/own_users.yaml", 0o666);
    refused(
        "template_dirs: [one]",
        &format!(
            "`template_dirs[0]`: {} can be written to by others (mode 0666): chmod go-w",
            folder.at("one/own_users.yaml").display()
        ),
    );
    folder.mode("one/own_users.yaml", 0o644);
    folder.mode("one", 0o775);
    refused(
        "template_dirs: [one]",
        &format!(
            "`template_dirs[0]`: the folder {} can be written to by others (mode 0775): chmod go-w",
            folder.at("one").display()
        ),
    );
    refused(
        "template_dirs: [none, policy.yaml]",
        &format!(
            "\n  `template_dirs[0]`: the folder {} does not exist\n  `template_dirs[1]`: the folder {} is not a folder",
            folder.at("none").display(),
            folder.at("policy.yaml").display()
        ),
    );
    assert_eq!(simulator.connections(), 0);
}

#[test]
fn tables_that_act_are_denied() {
    let folder = Folder::new();
    let simulator = server();
    folder.folder("templates");
    folder.file("templates/fetch.yaml", CURL);
    let text = fleet_step(&simulator.base_url(), "template: fetch");
    let policy = folder.policy("template_dirs: [templates]");
    assert_refused(
        &under(&policy, &text).run(),
        "the operator's policy forbids the step: the template `fetch` reads the table `curl`, which `tables_denied` lists: it makes hosts send requests to an address that the SQL names (line 9, column 13)",
    );
    let ports = folder.policy("tables_denied: [logged_in_users]");
    assert_refused(
        &under(&ports, &fleet_step(&simulator.base_url(), "")).run(),
        "the operator's policy forbids the step: the template `logged_in_users` reads the table `logged_in_users`, which `tables_denied` lists (line 8, column 13)",
    );
    assert_eq!(simulator.connections(), 0);
    let allowed = folder.policy("template_dirs: [templates]\ntables_denied: []");
    let ran = under(&allowed, &text).run();
    assert_eq!(ran.status, 0);
    // The simulated host has no such table: that it was asked is what counts.
    assert_eq!(ran.document().statuses()["web-01"], "error");
}
