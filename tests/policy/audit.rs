//! The audit log: two lines a run, whatever becomes of it.

use super::*;
use serde_json::{Value, json};

/// The log's lines; each is whole.
fn lines(folder: &Folder) -> Vec<Value> {
    let text = folder.text("audit.jsonl");
    assert!(
        text.is_empty() || text.ends_with('\n'),
        "a torn line: {text}"
    );
    text.lines()
        .map(|line| serde_json::from_str(line).expect("a whole line"))
        .collect()
}

fn audited(folder: &Folder) -> PathBuf {
    folder.policy("audit_log: audit.jsonl")
}

/// A line without what differs from run to run.
fn settled(line: &Value) -> Value {
    let mut line = line.clone();
    for (key, value) in line.as_object_mut().expect("a mapping") {
        match key.as_str() {
            "time" => {
                let time = value.as_str().expect("text");
                assert!(time.starts_with("20") && time.ends_with('Z'), "{time}");
                *value = "TIME".into();
            }
            "run" => {
                assert_eq!(value.as_str().map(str::len), Some(36));
                *value = "RUN".into();
            }
            "elapsed_ms" => *value = value.as_u64().map(|_| 0).into(),
            "campaign" if value.is_string() => *value = "ID".into(),
            "server" => *value = "SERVER".into(),
            _ => {}
        }
    }
    line
}

#[test]
fn a_run_is_an_intent_and_an_outcome() {
    let folder = Folder::new();
    let simulator = server();
    let policy = audited(&folder);
    let text = fleet_step(
        &simulator.base_url(),
        "template: running_processes\ntemplate_params: {limit: 3}",
    );
    let ran = under(&policy, &text).run();
    assert_ran(&ran);
    let lines = lines(&folder);
    let uid = std::os::unix::fs::MetadataExt::uid(
        &fs::metadata(folder.at("audit.jsonl")).expect("a file"),
    );
    assert_eq!(
        lines.iter().map(settled).collect::<Vec<_>>(),
        [
            json!({
                "event": "intent", "run": "RUN", "time": "TIME", "uid": uid, "step": "s",
                "template": "running_processes", "parameters": {"limit": 3},
                "targets": {"hosts": ["web-01"], "labels": [], "platforms": []},
                "backend": "fleetdm", "server": "SERVER",
            }),
            json!({
                "event": "outcome", "run": "RUN", "time": "TIME", "code": "ok", "exit_code": 0, "campaign": "ID",
                "targeted": 1, "responded": 1, "rows": 3, "partial": false, "elapsed_ms": 0,
            }),
        ]
    );
    assert_eq!(lines[0]["run"], lines[1]["run"]);
    let text = folder.text("audit.jsonl");
    assert!(
        !text.contains(FLEET_MAINTAINER_TOKEN) && !text.contains("cmdline"),
        "{text}"
    );
    use std::os::unix::fs::PermissionsExt;
    let mode = fs::metadata(folder.at("audit.jsonl"))
        .expect("a file")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn every_way_out_has_its_outcome() {
    let folder = Folder::new();
    let policy = audited(&folder);
    let outcome = || {
        let lines = lines(&folder);
        let [.., intent, outcome] = lines.as_slice() else {
            panic!("{lines:?}");
        };
        assert_eq!(
            (&intent["event"], &outcome["event"]),
            (&json!("intent"), &json!("outcome"))
        );
        assert_eq!(intent["run"], outcome["run"]);
        (
            outcome["code"].clone(),
            outcome["exit_code"].clone(),
            outcome["targeted"].clone(),
        )
    };
    let silent = silent_server();
    // Signals.
    for (signal, code, status) in [("TERM", "terminated", 143), ("INT", "interrupted", 130)] {
        let before = silent.campaigns().len();
        let running = under(&policy, &fleet_step(&silent.base_url(), "")).start();
        assert!(silent.wait_until(|seen| seen.campaigns.len() > before, PATIENCE));
        running.signal(signal);
        assert_eq!(running.wait().status, status);
        assert_eq!(outcome(), (json!(code), json!(status), json!(1)));
    }
    // The deadline, with a host that stays silent.
    let text = fleet_step(&silent.base_url(), "timeout_seconds: 1");
    assert_eq!(under(&policy, &text).run().status, 0);
    assert_eq!(outcome(), (json!("partial"), json!(0), json!(1)));
    assert_eq!(
        under(&policy, &text).arg("--fail-on-partial").run().status,
        3
    );
    assert_eq!(outcome(), (json!("partial"), json!(3), json!(1)));
    // Failures after the intent.
    let ran = under(&policy, &text)
        .env("OSQUERY_LIVE_QUERY_SECRET_TOKEN", "wrong")
        .run();
    assert_eq!(ran.status, 20);
    assert_eq!(outcome(), (json!("auth"), json!(20), json!(0)));
    let nobody = text.replace("web-01", "nobody");
    assert_eq!(under(&policy, &nobody).run().status, 21);
    assert_eq!(outcome(), (json!("targets"), json!(21), json!(0)));
    let gone = fleet_step("https://fleet.invalid", "timeout_seconds: 1");
    assert_eq!(under(&policy, &gone).run().status, 23);
    assert_eq!(outcome(), (json!("unreachable"), json!(23), json!(0)));
    // A bug.
    let answering = server();
    let ran = under(&policy, &fleet_step(&answering.base_url(), ""))
        .env("OSQUERY_LIVE_QUERY_TEST_PANIC", "collecting")
        .run();
    assert_eq!(ran.status, 70, "{ran:?}");
    assert_eq!(outcome(), (json!("internal"), json!(70), json!(1)));
    assert_eq!(lines(&folder).len(), 16);
}

#[test]
fn a_run_that_was_refused_or_only_checked_is_not_recorded() {
    let folder = Folder::new();
    let simulator = server();
    let policy = folder.policy("audit_log: audit.jsonl\nmax_hosts: 1");
    let text = fleet_step(&simulator.base_url(), "max_hosts: 2");
    assert_eq!(under(&policy, &text).run().status, 14);
    assert!(!folder.at("audit.jsonl").exists());
    let text = fleet_step(&simulator.base_url(), "");
    let check = binary(&text)
        .arg("check")
        .arg("--policy")
        .arg(&policy)
        .run();
    assert!(check.document().planned.is_some());
    assert_eq!(lines(&folder), Vec::<Value>::new());
}

#[test]
fn nothing_is_sent_where_the_intent_cannot_be_written() {
    let folder = Folder::new();
    let simulator = server();
    let run = |verb: &str, log: &str| {
        let policy = folder.policy(&format!("audit_log: {log}"));
        binary(&fleet_step(&simulator.base_url(), ""))
            .arg(verb)
            .arg("--policy")
            .arg(&policy)
            .run()
    };
    folder.folder("dir");
    folder.file("open", "");
    folder.mode("open", 0o666);
    folder.file("hosts", "127.0.0.1 localhost");
    for (log, reason) in [
        ("none/audit.jsonl", "it is in a folder that does not exist"),
        ("dir", "it is a folder, not a regular file"),
        ("/dev/full", "it is a device, not a regular file"),
        (
            "open",
            "it can be written to by others (mode 0666): chmod go-w",
        ),
    ] {
        let shown = folder.at("").join(log).display().to_string();
        for verb in ["run", "check"] {
            assert_refused(
                &run(verb, log),
                &format!("the audit log {shown} can't be written to, so nothing is sent: {reason}"),
            );
        }
    }
    assert_refused(
        &run("run", "hosts"),
        &format!(
            "the audit log {} can't be written to, so nothing is sent: it holds lines that are not an audit log's: is it another file?",
            folder.at("hosts").display()
        ),
    );
    assert_eq!(folder.text("hosts"), "127.0.0.1 localhost");
    assert_eq!(simulator.connections(), 0);
}

#[test]
fn a_torn_tail_is_repaired() {
    let folder = Folder::new();
    let simulator = server();
    let policy = audited(&folder);
    assert_ran(&under(&policy, &fleet_step(&simulator.base_url(), "")).run());
    let whole = folder.text("audit.jsonl");
    folder.file("audit.jsonl", format!("{whole}{}", &whole[..40]));
    assert_ran(&under(&policy, &fleet_step(&simulator.base_url(), "")).run());
    assert_eq!(lines(&folder).len(), 4);
    assert!(folder.text("audit.jsonl").starts_with(&whole));
}

#[test]
fn many_runs_share_the_file_and_some_are_killed() {
    let folder = Folder::new();
    let policy = audited(&folder);
    let answering = server();
    let silent = silent_server();
    let killed: Vec<_> = (0..5)
        .map(|_| under(&policy, &fleet_step(&silent.base_url(), "")).start())
        .collect();
    let running: Vec<_> = (0..15)
        .map(|_| under(&policy, &fleet_step(&answering.base_url(), "")).start())
        .collect();
    assert!(silent.wait_until(|seen| seen.campaigns.len() == 5, PATIENCE));
    for one in &killed {
        one.signal("KILL");
    }
    for one in killed {
        one.wait();
    }
    for one in running {
        assert_ran(&one.wait());
    }
    let lines = lines(&folder);
    let of = |event: &str| lines.iter().filter(|line| line["event"] == event).count();
    assert_eq!((of("intent"), of("outcome")), (20, 15));
    for outcome in lines.iter().filter(|line| line["event"] == "outcome") {
        let same_run = lines.iter().filter(|line| line["run"] == outcome["run"]);
        assert_eq!(same_run.count(), 2);
    }
}

#[test]
fn an_instance_is_named_and_a_secret_is_not() {
    let folder = Folder::new();
    let simulator = server();
    let policy = folder.policy(&format!(
        "audit_log: audit.jsonl\ninstances:\n  corp:\n    backend: osctrl\n    environment: dev\n    base_url: {}\n    credentials: {{api_token: {{env: T}}}}\n",
        simulator.base_url()
    ));
    // A target that is spelled like the token: an engine that mixed up its values.
    let text =
        instance_step("corp", "").replace("[web-01]", &format!("[web-01, {OSCTRL_PLUGIN_TOKEN}]"));
    let ran = under(&policy, &text).env("T", OSCTRL_PLUGIN_TOKEN).run();
    assert_eq!(ran.status, 0);
    let intent = &lines(&folder)[0];
    assert_eq!(intent["instance"], "corp");
    assert_eq!(intent["environment"], "dev");
    assert_eq!(intent["targets"]["hosts"], json!(["web-01", "[redacted]"]));
}

/// Who may change the log, or put another in its place: nobody but root and this process's user, and whom
/// root has let write to its folder.
#[test]
fn others_can_neither_change_nor_replace_it() {
    let simulator = server();
    let other = 12_345;
    // Only root can give files away; where the test is not root, those rows are left out.
    let is_root = {
        let folder = Folder::new();
        std::os::unix::fs::chown(folder.at(""), Some(other), None).is_ok()
    };
    // The folder's mode and owner, the log's mode and owner (0: none yet), and what is said; nothing where
    // the run goes on. `None` as owner is this process's user, who in the tests may be root.
    type Row = (u32, Option<u32>, u32, Option<u32>, &'static str);
    let own_folder_is_roots = is_root;
    let rows: &[Row] = &[
        (0o755, None, 0o600, None, ""),
        (0o755, None, 0o644, None, ""),
        (0o755, None, 0, None, ""),
        (0o700, None, 0o600, None, ""),
        (
            0o755,
            None,
            0o620,
            None,
            "it can be written to by others (mode 0620): chmod go-w",
        ),
        (
            0o755,
            None,
            0o660,
            None,
            "it can be written to by others (mode 0660): chmod go-w",
        ),
        (
            0o755,
            None,
            0o602,
            None,
            "it can be written to by others (mode 0602): chmod go-w",
        ),
        (
            0o755,
            None,
            0o666,
            None,
            "it can be written to by others (mode 0666): chmod go-w",
        ),
        (
            0o1777,
            None,
            0o666,
            None,
            "it can be written to by others (mode 0666): chmod go-w",
        ),
        (
            0o777,
            None,
            0o600,
            None,
            "it lies under FOLDER, which can be written to by others (mode 0777): chmod go-w",
        ),
        (
            0o777,
            None,
            0,
            None,
            "it lies under FOLDER, which can be written to by others (mode 0777): chmod go-w",
        ),
        (
            0o757,
            None,
            0o600,
            None,
            "it lies under FOLDER, which can be written to by others (mode 0757): chmod go-w",
        ),
        (0o1777, None, 0o600, None, ""),
        (0o1777, None, 0, None, ""),
        (
            0o755,
            None,
            0o600,
            Some(other),
            "it belongs to the user 12345, who is neither root nor the user of this process (0), and can change it",
        ),
        (
            0o755,
            Some(other),
            0o600,
            None,
            "it lies under FOLDER, which belongs to the user 12345, who is neither root nor the user of this process (0), and can change it",
        ),
        (
            0o755,
            Some(other),
            0,
            None,
            "it lies under FOLDER, which belongs to the user 12345, who is neither root nor the user of this process (0), and can change it",
        ),
        (
            0o1777,
            Some(other),
            0o600,
            None,
            "it lies under FOLDER, which belongs to the user 12345, who is neither root nor the user of this process (0), and can change it",
        ),
        // root's, and a group's, as /var/log often is.
        (0o775, Some(0), 0o600, None, ""),
        (0o2775, Some(0), 0, None, ""),
        (
            0o775,
            Some(0),
            0o660,
            None,
            "it can be written to by others (mode 0660): chmod go-w",
        ),
    ];
    for (index, (folder_mode, folder_owner, mode, owner, reason)) in rows.iter().enumerate() {
        let foreign = [folder_owner, owner].iter().any(|one| one.is_some());
        if foreign && !is_root {
            continue;
        }
        for verb in ["run", "check"] {
            let folder = Folder::new();
            let logs = folder.folder("logs");
            if *mode != 0 {
                folder.file("logs/audit.jsonl", "");
                folder.mode("logs/audit.jsonl", *mode);
                std::os::unix::fs::chown(folder.at("logs/audit.jsonl"), *owner, None)
                    .expect("an owner");
            }
            std::os::unix::fs::chown(&logs, *folder_owner, None).expect("an owner");
            folder.mode("logs", *folder_mode);
            let policy = folder.policy("audit_log: logs/audit.jsonl");
            let connections = simulator.connections();
            let ran = binary(&fleet_step(&simulator.base_url(), ""))
                .arg(verb)
                .arg("--policy")
                .arg(&policy)
                .run();
            if reason.is_empty() {
                assert_eq!(ran.status, 0, "{index}: {ran:?}");
                assert!(folder.at("logs/audit.jsonl").exists() || verb == "check");
                continue;
            }
            let reason = reason.replace("FOLDER", &logs.display().to_string());
            let path = logs.join("audit.jsonl").display().to_string();
            assert_refused(
                &ran,
                &format!("the audit log {path} can't be written to, so nothing is sent: {reason}"),
            );
            assert_eq!(simulator.connections(), connections, "{index}");
        }
    }
    // A group's folder of a user who is not root: the group may not be the operator's to trust.
    let folder = Folder::new();
    let logs = folder.folder("logs");
    folder.mode("logs", 0o775);
    let policy = folder.policy("audit_log: logs/audit.jsonl");
    let ran = under(&policy, &fleet_step(&simulator.base_url(), "")).run();
    assert_eq!(
        ran.status == 0,
        own_folder_is_roots,
        "{} {ran:?}",
        logs.display()
    );
}

/// The folder that a link leads to counts, and the folders above.
#[test]
fn links_and_folders_above_are_looked_at_too() {
    let simulator = server();
    let folder = Folder::new();
    let open = folder.folder("open");
    folder.folder("open/logs");
    folder.folder("closed");
    folder.file("open/logs/audit.jsonl", "");
    folder.mode("open", 0o777);
    std::os::unix::fs::symlink("../open/logs/audit.jsonl", folder.at("closed/link"))
        .expect("a link");
    std::os::unix::fs::symlink("nothing", folder.at("closed/broken")).expect("a link");
    let open = open.display();
    let lies =
        format!("it lies under {open}, which can be written to by others (mode 0777): chmod go-w");
    for (log, reason) in [
        ("open/logs/audit.jsonl", lies.as_str()),
        ("closed/link", &lies),
        ("closed/broken", "it is a broken link"),
    ] {
        let policy = folder.policy(&format!("audit_log: {log}"));
        let path = folder.at(log).display().to_string();
        assert_refused(
            &under(&policy, &fleet_step(&simulator.base_url(), "")).run(),
            &format!("the audit log {path} can't be written to, so nothing is sent: {reason}"),
        );
    }
    assert_eq!(simulator.connections(), 0);
}
