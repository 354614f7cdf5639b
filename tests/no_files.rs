//! What is named as a file and is none: a pipe, a device, a socket, a folder, a file that the kernel makes
//! up or that never ends. Each flag of each verb that names a file, each key and variable that does, with each
//! of these: refused at once, with what it is and what to do.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::CommandFactory;

use crate::harness::folder::Folder;
use crate::harness::site::on_all;
use crate::harness::{Binary, Ran, args, step};

/// Nothing here takes as long, unless it waits.
const AT_ONCE: Duration = Duration::from_secs(20);

/// A folder with one of each kind, removed at the end.
struct Kinds {
    folder: Folder,
    _socket: UnixListener,
}

impl Kinds {
    fn new() -> Self {
        let folder = Folder::new();
        let made = Command::new("mkfifo").arg(folder.at("pipe")).status();
        assert!(made.expect("mkfifo runs").success());
        symlink("/dev/zero", folder.at("zero")).expect("a link");
        symlink("pipe", folder.at("link-to-pipe")).expect("a link");
        folder.folder("folder");
        folder.file("huge", "");
        let huge = fs::File::options().write(true).open(folder.at("huge"));
        let huge = huge.expect("a file");
        huge.set_len(1 << 40).expect("a sparse file");
        Self {
            _socket: UnixListener::bind(folder.at("socket")).expect("a socket"),
            folder,
        }
    }

    /// Each, with what is to be said of it.
    fn all(&self) -> Vec<(PathBuf, &'static [&'static str])> {
        let own = |name: &str| self.folder.at(name);
        vec![
            (own("pipe"), &["is a pipe, not a"]),
            (own("link-to-pipe"), &["is a pipe, not a"]),
            (own("socket"), &["is a socket, not a"]),
            (own("folder"), &["is a folder, not a"]),
            (own("zero"), &["is a device, not a"]),
            ("/dev/zero".into(), &["is a device, not a"]),
            ("/dev/tty".into(), &["is a device, not a"]),
            (
                "/proc/self/status".into(),
                &["is made up by the kernel, not a"],
            ),
            // Not to be had for every user, nor on every machine.
            (
                "/proc/kmsg".into(),
                &[
                    "is made up by the kernel, not a",
                    "may not be read",
                    "does not exist",
                ],
            ),
            (own("huge"), &["is larger than "]),
        ]
    }
}

/// A way of naming a file.
struct Way {
    /// The verb and its flag, or the key or variable.
    name: &'static str,
    binary: fn(&Path, &Path) -> Binary,
    /// Words that some kinds are spared: `folder` where folders may be named.
    spared: &'static [&'static str],
}

const STEP: &str = "id: s\ntype: osquery_live_query\nname: s\nparams: {backend: fleetdm, base_url: 'https://127.0.0.1:9', template: logged_in_users, target_hosts: [web-01], api_token: 'TOKEN'}\n";

const CONNECTOR: &str = "connector: fleetdm\nbase_url: 'https://127.0.0.1:9'\napi_token: 'TOKEN'\n";

const WEBHOOK: &str = r#"{"type": "a", "details": {}}"#;

fn of_a_step() -> Binary {
    step(STEP)
}

fn of_a_connector() -> Binary {
    step(CONNECTOR)
}

fn with(binary: Binary, flags: &[&str], path: &Path) -> Binary {
    binary.args(flags).arg(path)
}

/// A step whose secret is a file of that name in a folder.
fn secret() -> String {
    STEP.replace("TOKEN", "{{ secrets.token }}")
}

fn put(folder: &Path, name: &str, path: &Path) -> PathBuf {
    fs::create_dir_all(folder).expect("a folder");
    let mode = Command::new("chmod").arg("755").arg(folder).status();
    assert!(mode.expect("chmod runs").success());
    symlink(path, folder.join(name)).expect("a link");
    folder.to_owned()
}

/// A policy in a folder of its own, whose text names the path in place of `$PATH`.
fn policy(folder: &Path, text: &str, path: &Path) -> PathBuf {
    fs::create_dir_all(folder).expect("a folder");
    let file = folder.join("policy.yaml");
    let text = text.replace("$PATH", &path.display().to_string());
    fs::write(&file, text).expect("a policy");
    let mode = Command::new("chmod")
        .arg("go-w")
        .arg(folder)
        .arg(&file)
        .status();
    assert!(mode.expect("chmod runs").success());
    file
}

fn scenario() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("playbooks")
}

const INSTANCE: &str =
    "instances:\n  corp:\n    backend: fleetdm\n    base_url: https://127.0.0.1:9\n";

fn of_the_instance(own: &Path, text: &str, path: &Path) -> Binary {
    let step = "id: s\ntype: osquery_live_query\nparams: {instance: corp, template: logged_in_users, target_hosts: [web-01]}\n";
    let policy = policy(own, &format!("{INSTANCE}{text}"), path);
    self::step(step).arg("--policy").arg(policy)
}

/// The flags of the command line, and then keys and variables. The second path is a folder of its own.
const WAYS: &[Way] = &[
    Way {
        name: "--context",
        binary: |path, _| with(of_a_step(), &["--context"], path),
        spared: &[],
    },
    Way {
        name: "run --context",
        binary: |path, _| with(of_a_step(), &["run", "--context"], path),
        spared: &[],
    },
    Way {
        name: "check --context",
        binary: |path, _| with(of_a_step(), &["check", "--context"], path),
        spared: &[],
    },
    Way {
        name: "dry-run --context",
        binary: |path, _| with(step(secret()), &["dry-run", "-", "--context"], path),
        spared: &[],
    },
    Way {
        name: "--resume",
        binary: |path, _| with(of_a_step(), &["--resume"], path),
        spared: &[],
    },
    Way {
        name: "run --resume",
        binary: |path, _| with(of_a_step(), &["run", "--resume"], path),
        spared: &[],
    },
    Way {
        name: "check --resume",
        binary: |path, _| with(of_a_step(), &["check", "--resume"], path),
        spared: &[],
    },
    Way {
        name: "--policy",
        binary: |path, _| with(of_a_step(), &["--policy"], path),
        spared: &[],
    },
    Way {
        name: "run --policy",
        binary: |path, _| with(of_a_step(), &["run", "--policy"], path),
        spared: &[],
    },
    Way {
        name: "check --policy",
        binary: |path, _| with(of_a_step(), &["check", "--policy"], path),
        spared: &[],
    },
    Way {
        name: "dry-run --policy",
        binary: |path, _| with(step(secret()), &["dry-run", "-", "--policy"], path),
        spared: &[],
    },
    Way {
        name: "mcp --policy",
        binary: |path, _| with(args(["mcp"]), &["--policy"], path),
        spared: &[],
    },
    Way {
        name: "templates --policy",
        binary: |path, _| with(args([]), &["templates", "--policy"], path),
        spared: &[],
    },
    Way {
        name: "templates export --policy",
        binary: |path, _| {
            with(
                args([]),
                &["templates", "export", "--format", "fleet", "--policy"],
                path,
            )
        },
        spared: &[],
    },
    Way {
        name: "--secrets-dir",
        binary: |path, own| with(step(secret()), &["--secrets-dir"], &put(own, "token", path)),
        spared: &[],
    },
    Way {
        name: "run --secrets-dir",
        binary: |path, own| {
            with(
                step(secret()),
                &["run", "--secrets-dir"],
                &put(own, "token", path),
            )
        },
        spared: &[],
    },
    Way {
        name: "check --secrets-dir",
        binary: |path, own| {
            with(
                step(secret()),
                &["check", "--secrets-dir"],
                &put(own, "token", path),
            )
        },
        spared: &[],
    },
    Way {
        name: "dry-run --secrets-dir",
        binary: |path, own| {
            with(
                step(secret()),
                &["dry-run", "-", "--secrets-dir"],
                &put(own, "token", path),
            )
        },
        spared: &[],
    },
    Way {
        name: "alert --invocation",
        binary: |path, _| with(step(WEBHOOK), &["alert", "--invocation"], path),
        spared: &[],
    },
    Way {
        name: "alert --secrets-dir",
        binary: |path, own| {
            let signed = ["alert", "--signature", "00", "--signature-secret", "token"];
            let binary = step(WEBHOOK).args(&signed);
            with(binary, &["--secrets-dir"], &put(own, "token", path))
        },
        spared: &[],
    },
    Way {
        name: "collect FILE",
        binary: |path, _| with(args([]), &["collect"], path),
        spared: &[],
    },
    Way {
        name: "collect --state",
        binary: |path, _| with(of_a_connector(), &["collect", "--state"], path),
        // It grows with the rows; what is in a file that is none of ours is not asked for.
        spared: &["is larger"],
    },
    Way {
        name: "collect --policy",
        binary: |path, _| with(of_a_connector(), &["collect", "--policy"], path),
        spared: &[],
    },
    Way {
        name: "collect --secrets-dir",
        binary: |path, own| {
            let connector = step(CONNECTOR.replace("TOKEN", "{{ secrets.token }}"));
            with(
                connector,
                &["collect", "--secrets-dir"],
                &put(own, "token", path),
            )
        },
        spared: &[],
    },
    Way {
        name: "dry-run PATH",
        binary: |path, _| with(args([]), &["dry-run"], path),
        spared: &["is a folder"],
    },
    Way {
        name: "show FILE",
        binary: |path, _| with(args([]), &["show"], path),
        spared: &[],
    },
    Way {
        name: "dry-run --simulate",
        binary: |path, _| {
            with(args([]), &["dry-run"], &scenario())
                .arg("--simulate")
                .arg(path)
        },
        spared: &[],
    },
    Way {
        name: "templates check PATH",
        binary: |path, _| with(args([]), &["templates", "check"], path),
        spared: &["is a folder"],
    },
    Way {
        name: "templates check --osquery-schema",
        binary: |path, _| with(args([]), &["templates", "check", "--osquery-schema"], path),
        spared: &[],
    },
    // Not of the command line.
    Way {
        name: "OSQUERY_LIVE_QUERY_POLICY",
        binary: |path, _| of_a_step().env("OSQUERY_LIVE_QUERY_POLICY", path),
        spared: &[],
    },
    Way {
        name: "CREDENTIALS_DIRECTORY",
        binary: |path, own| step(secret()).env("CREDENTIALS_DIRECTORY", put(own, "token", path)),
        spared: &[],
    },
    Way {
        name: "SSL_CERT_FILE",
        binary: |path, _| of_a_step().env("SSL_CERT_FILE", path),
        spared: &[],
    },
    Way {
        name: "params.ca_file",
        binary: |path, _| {
            step(STEP.replace(
                "{backend",
                &format!("{{ca_file: '{}', backend", path.display()),
            ))
        },
        spared: &[],
    },
    Way {
        name: "instances.corp.ca_file",
        binary: |path, own| {
            of_the_instance(
                own,
                "    credentials: {api_token: {env: T}}\n    ca_file: $PATH\n",
                path,
            )
            .env("T", "t")
        },
        spared: &[],
    },
    Way {
        name: "instances.corp.credentials.file",
        binary: |path, own| {
            of_the_instance(own, "    credentials: {api_token: {file: $PATH}}\n", path)
        },
        spared: &[],
    },
    Way {
        name: "template_dirs",
        binary: |path, own| {
            put(&own.join("t"), "mine.yaml", path);
            let policy = policy(own, "template_dirs: [t]\n", path);
            of_a_step().arg("--policy").arg(policy)
        },
        spared: &[],
    },
    Way {
        name: "audit_log",
        binary: |path, own| {
            of_a_step()
                .arg("--policy")
                .arg(policy(own, "audit_log: $PATH\n", path))
        },
        // It grows; it is never read whole.
        spared: &["is larger"],
    },
    Way {
        name: "lock_dir",
        binary: |path, own| {
            put(&own.join("locks"), "campaigns-127.0.0.1-9.0.lock", path);
            of_a_step().arg("--policy").arg(policy(
                own,
                "max_concurrent: 1\nlock_dir: locks\n",
                path,
            ))
        },
        // A link in the place of a lock is never one of ours.
        spared: &[
            "is a pipe",
            "is a socket",
            "is a folder",
            "is a device",
            "is made up",
            "is larger",
        ],
    },
];

/// Whether a run says what to do, too: the hint of its document, or more than the bare fact.
fn says_what_to_do(ran: &Ran, fact: &str) -> bool {
    if ran.stdout.starts_with("{\"results\"") {
        let error = ran.document().error.expect("an error");
        let rest = error.message.split_once(fact).map(|(_, rest)| rest);
        return error.hint.is_some() || rest.is_some_and(|rest| rest.contains(": "));
    }
    let said = [&ran.stdout, &ran.stderr];
    let rest = said.iter().find_map(|text| Some(text.split_once(fact)?.1));
    let advised = |rest: &str| {
        if rest
            .lines()
            .nth(1)
            .is_some_and(|line| line.starts_with("hint: "))
        {
            return true;
        }
        let line = rest.lines().next().unwrap_or_default();
        line.contains("; ") || line.contains(": ")
    };
    rest.is_some_and(advised)
}

#[test]
fn what_is_no_file_is_refused_at_once_wherever_it_is_named() {
    let is_here = |way: &&Way| cfg!(feature = "demo") || !way.name.contains("--simulate");
    on_all(WAYS.iter().filter(is_here), |way| {
        let kinds = Kinds::new();
        for (index, (path, facts)) in kinds.all().into_iter().enumerate() {
            if facts
                .iter()
                .any(|fact| way.spared.iter().any(|spared| fact.starts_with(spared)))
            {
                continue;
            }
            let own = kinds.folder.at(&format!("own-{index}"));
            let ran = (way.binary)(&path, &own).run();
            let about = format!("{} {}: {ran:?}", way.name, path.display());
            assert!(ran.elapsed < AT_ONCE, "{about}");
            assert!(
                ![0, 70].contains(&ran.status) && ran.status < 128,
                "{about}"
            );
            let said = format!("{}{}", ran.stdout, ran.stderr);
            let fact = facts.iter().find(|fact| said.contains(**fact));
            let fact = fact.unwrap_or_else(|| panic!("it does not say {facts:?}: {about}"));
            assert!(says_what_to_do(&ran, fact), "what to do? {about}");
        }
    });
}

#[test]
fn the_table_has_every_flag_that_names_a_file() {
    fn add(command: &clap::Command, verb: &str, found: &mut BTreeSet<String>) {
        for arg in command.get_arguments() {
            let names = arg.get_value_names().unwrap_or_default();
            let of_files = ["FILE", "DIR", "PATH"];
            let [value] = names else { continue };
            if of_files.contains(&value.as_str()) {
                let flag = arg
                    .get_long()
                    .map_or(value.to_string(), |long| format!("--{long}"));
                found.insert(format!("{verb} {flag}").trim_start().to_owned());
            }
        }
        for inner in command.get_subcommands() {
            add(
                inner,
                format!("{verb} {}", inner.get_name()).trim_start(),
                found,
            );
        }
    }
    let mut found = BTreeSet::new();
    add(&osquery_live_query::inside::Cli::command(), "", &mut found);
    assert!(found.len() > 15, "{found:?}");
    let known: BTreeSet<&str> = WAYS.iter().map(|way| way.name).collect();
    let missing: Vec<_> = found
        .iter()
        .filter(|flag| !known.contains(flag.as_str()))
        .collect();
    assert!(
        missing.is_empty(),
        "without a row in the table: {missing:?}"
    );
}

/// A file that is written to while it is read is read no further than its limit.
#[test]
fn a_file_that_grows_ends() {
    let kinds = Kinds::new();
    let path = kinds.folder.at("grows");
    fs::write(&path, "alert: {host: a} #").expect("a file");
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut file = fs::OpenOptions::new()
                .append(true)
                .open(&path)
                .expect("the file");
            let piece = vec![b'x'; 1 << 16];
            for _ in 0..4_096 {
                if done.load(Ordering::Relaxed) {
                    break;
                }
                file.write_all(&piece).expect("space");
            }
        });
        let flags = [&["--context"][..], &["dry-run", "-", "--context"]];
        let ran: Vec<Ran> = flags
            .map(|flags| with(of_a_step(), flags, &path).run())
            .into();
        done.store(true, Ordering::Relaxed);
        for ran in ran {
            assert!(ran.elapsed < AT_ONCE && ran.status < 128, "{ran:?}");
        }
    });
}

/// What a folder links to elsewhere is not shown: it may be a change that somebody proposed.
#[test]
fn no_link_leads_out_of_a_folder_that_was_given() {
    let kinds = Kinds::new();
    let outside = kinds.folder.at("outside.yaml");
    fs::write(&outside, "marker-outside: [").expect("a file");
    let tree = kinds.folder.at("tree");
    fs::create_dir_all(tree.join("deep")).expect("a folder");
    let names = ["a.step.yaml", "deep/b.playbook.yaml"];
    symlink(&outside, tree.join(names[0])).expect("a link");
    symlink("../../outside.yaml", tree.join(names[1])).expect("a link");
    fs::write(
        tree.join("inside.step.yaml"),
        STEP.replace("TOKEN", "{{ secrets.token }}"),
    )
    .expect("a file");
    symlink("../inside.step.yaml", tree.join("deep/in.step.yaml")).expect("a link");
    for format in ["text", "json", "github", "sarif"] {
        let ran = with(args([]), &["dry-run", "--format", format], &tree).run();
        assert_eq!(ran.status, 1, "{ran:?}");
        assert!(!ran.stdout.contains("marker"), "{ran:?}");
        let words = "is a link that leads out of the folder that was given";
        assert_eq!(ran.stdout.matches(words).count(), 2, "{ran:?}");
    }
    // Both names of the one step that is inside are examined.
    let ran = with(args([]), &["dry-run", "--format", "json"], &tree).run();
    let report: serde_json::Value = serde_json::from_str(&ran.stdout).expect("JSON");
    assert_eq!(report["summary"]["steps"], 2, "{report}");
    // As templates.
    let ran = with(args([]), &["templates", "check"], &tree).run();
    assert_eq!(ran.status, 2, "{ran:?}");
    assert!(ran.stderr.contains("leads out of the folder"), "{ran:?}");
    assert!(
        !ran.stdout.contains("marker") && !ran.stderr.contains("marker"),
        "{ran:?}"
    );
    // A file that is named itself may be a link, as those of a mounted volume are.
    let ran = with(args([]), &["dry-run"], &tree.join("deep/in.step.yaml")).run();
    assert_eq!(ran.status, 0, "{ran:?}");
}
