//! Templates whose SQL decides something: rows that must match and rows that must not, in SQLite tables
//! filled by hand. Functions that only osquery has are not run here.

use rusqlite::Connection;
use rusqlite::types::{Value as Cell, ValueRef};
use serde_json::{Value, json};

use super::{NOW, call, now};
use crate::allowlist::Registry;

/// A template's tables with rows, each a list of the columns that matter; all others are NULL.
struct Host {
    connection: Connection,
    template: &'static str,
}

impl Host {
    fn of(template: &'static str) -> Self {
        let connection = Connection::open_in_memory().unwrap();
        let declared = Registry::embedded().template(template).unwrap();
        for (name, table) in declared.tables() {
            let columns: Vec<String> = table
                .all_columns()
                .map(|column| format!("\"{column}\""))
                .collect();
            connection
                .execute_batch(&format!(
                    "CREATE TEMP TABLE \"{name}\" ({})",
                    columns.join(", ")
                ))
                .unwrap();
        }
        Self {
            connection,
            template,
        }
    }

    fn rows(self, table: &str, columns: &[&str], rows: &[Value]) -> Self {
        let names: Vec<String> = columns
            .iter()
            .map(|column| format!("\"{column}\""))
            .collect();
        let marks = vec!["?"; columns.len()].join(", ");
        let sql = format!(
            "INSERT INTO \"{table}\" ({}) VALUES ({marks})",
            names.join(", ")
        );
        for row in rows {
            let cells = row.as_array().unwrap().iter().map(|cell| match cell {
                Value::Number(number) => Cell::Integer(number.as_i64().unwrap()),
                other => Cell::Text(other.as_str().unwrap().to_owned()),
            });
            self.connection
                .execute(&sql, rusqlite::params_from_iter(cells))
                .unwrap();
        }
        self
    }

    /// One column of what the template answers.
    fn answers(&self, params: &Value, column: &str) -> Vec<String> {
        let bound = Registry::embedded().bind(&call(self.template, params), now());
        let sql = bound.unwrap().sql().to_owned();
        let mut statement = self.connection.prepare(&sql).unwrap();
        let index = statement.column_index(column).unwrap();
        let rows = statement.query_map([], |row| {
            Ok(match row.get_ref(index)? {
                ValueRef::Integer(number) => number.to_string(),
                ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned(),
                other => format!("{:?}", other.data_type()),
            })
        });
        rows.unwrap().map(Result::unwrap).collect()
    }
}

#[test]
fn processes_by_name_and_path() {
    let rows = [
        json!([1, "bash", "/usr/bin/bash"]),
        json!([2, "BASH", "/opt/x"]),
        json!([3, "averylongnameth", "/opt/averylongnamethatiscut"]),
        json!([4, "notbash", "/opt/notbash"]),
        json!([5, "powershell.exe", r"C:\Windows\System32\PowerShell.exe"]),
        json!([6, "", ""]),
    ];
    let host = Host::of("processes_by_name").rows("processes", &["pid", "name", "path"], &rows);
    let named = |name: &str| host.answers(&json!({"name": name}), "pid");
    assert_eq!(named("bash"), ["1", "2"]);
    assert_eq!(named("averylongnamethatiscut"), ["3"]);
    assert_eq!(named("powershell.exe"), ["5"]);
    assert_eq!(named("powershell_exe"), Vec::<String>::new());

    let host = Host::of("processes_by_path").rows("processes", &["pid", "name", "path"], &rows);
    let at = |path: &str| host.answers(&json!({"path": path}), "pid");
    assert_eq!(at("/usr/bin/bash"), ["1"]);
    assert_eq!(at("/usr/bin/Bash"), Vec::<String>::new());
    assert_eq!(at(r"c:\windows\system32\powershell.exe"), ["5"]);
}

#[test]
fn process_tree_goes_both_ways_and_ends() {
    let host = Host::of("process_tree").rows(
        "processes",
        &["pid", "parent", "name"],
        &[
            json!([0, 0, "idle"]),
            json!([1, 0, "init"]),
            json!([10, 1, "sshd"]),
            json!([20, 10, "bash"]),
            json!([30, 20, "curl"]),
            json!([31, 20, "sh"]),
            json!([40, 31, "xmrig"]),
            json!([11, 1, "other"]),
        ],
    );
    let tree = |pid: i64| {
        let depths = host.answers(&json!({"pid": pid}), "depth");
        let pids = host.answers(&json!({"pid": pid}), "pid");
        depths
            .into_iter()
            .zip(pids)
            .map(|(depth, pid)| format!("{depth}:{pid}"))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        tree(20),
        ["-3:0", "-2:1", "-1:10", "0:20", "1:30", "1:31", "2:40"]
    );
    assert_eq!(
        tree(40),
        ["-5:0", "-4:1", "-3:10", "-2:20", "-1:31", "0:40"]
    );
    assert_eq!(tree(99), Vec::<String>::new());

    // Two processes that are each other's parent, as a reused id makes them.
    let host = Host::of("process_tree").rows(
        "processes",
        &["pid", "parent"],
        &[json!([5, 6]), json!([6, 5])],
    );
    assert_eq!(host.answers(&json!({"pid": 5}), "pid").len(), 33);
}

#[test]
fn programs_where_anyone_can_write() {
    let host = Host::of("processes_in_temporary_directories").rows(
        "processes",
        &["pid", "path"],
        &[
            json!([1, "/tmp/x"]),
            json!([2, "/private/tmp/x"]),
            json!([3, "/dev/shm/.x/y"]),
            json!([4, r"C:\Users\anna\AppData\Local\Temp\x.exe"]),
            json!([5, "/opt/tmp/x"]),
            json!([6, "/usr/bin/tmp"]),
            json!([7, r"C:\Program Files\x.exe"]),
        ],
    );
    assert_eq!(host.answers(&json!({}), "pid"), ["1", "2", "3", "4"]);
}

#[test]
fn reverse_shells_and_ports() {
    let host = Host::of("shells_with_connections")
        .rows(
            "processes",
            &["pid", "name"],
            &[
                json!([1, "bash"]),
                json!([2, "sshd"]),
                json!([3, "PowerShell.exe"]),
                json!([4, "sh"]),
            ],
        )
        .rows(
            "process_open_sockets",
            &["pid", "remote_address", "remote_port"],
            &[
                json!([1, "192.0.2.1", 4444]),
                json!([2, "192.0.2.1", 22]),
                json!([3, "2001:db8::1", 443]),
                json!([4, "127.0.0.1", 80]),
                json!([4, "", 0]),
            ],
        );
    assert_eq!(host.answers(&json!({}), "pid"), ["1", "3"]);

    let host = Host::of("unusual_listening_ports").rows(
        "listening_ports",
        &["pid", "port", "protocol", "address"],
        &[
            json!([1, 4444, 6, "0.0.0.0"]),
            json!([2, 22, 6, "0.0.0.0"]),
            json!([3, 4444, 6, "127.0.0.1"]),
            json!([4, 50050, 6, "::"]),
            json!([5, 50051, 17, "0.0.0.0"]),
            json!([6, 0, 0, ""]),
        ],
    );
    assert_eq!(host.answers(&json!({}), "port"), ["4444", "50050"]);

    let host = Host::of("connections_to_address").rows(
        "process_open_sockets",
        &["pid", "remote_address", "remote_port"],
        &[
            json!([1, "192.0.2.10", 1]),
            json!([2, "::ffff:192.0.2.10", 2]),
            json!([3, "192.0.2.100", 3]),
        ],
    );
    let ports = host.answers(&json!({"address": "192.0.2.10"}), "remote_port");
    assert_eq!(ports, ["1", "2"]);
}

#[test]
fn files_by_mode_time_and_hash() {
    let columns = [
        "path",
        "directory",
        "filename",
        "type",
        "mode",
        "symlink",
        "size",
        "mtime",
        "ctime",
    ];
    let rows = [
        json!([
            "/etc/a",
            "/etc",
            "a",
            "regular",
            "0666",
            0,
            1,
            NOW - 10,
            NOW - 10
        ]),
        json!([
            "/etc/b",
            "/etc",
            "b",
            "regular",
            "0644",
            0,
            1,
            NOW - 90_000,
            NOW - 10
        ]),
        json!([
            "/etc/.c",
            "/etc",
            ".c",
            "regular",
            "0602",
            0,
            1,
            NOW - 90_000,
            NOW - 90_000
        ]),
        json!([
            "/etc/d",
            "/etc",
            "d",
            "directory",
            "0777",
            0,
            1,
            NOW - 10,
            NOW - 10
        ]),
        json!([
            "/tmp/e",
            "/tmp",
            "e",
            "regular",
            "0755",
            0,
            200_000_000,
            NOW - 10,
            NOW - 10
        ]),
    ];
    let only = |template: &'static str| {
        let declared = &Registry::embedded().template(template).unwrap().tables()["file"];
        let kept: Vec<usize> = (0..columns.len())
            .filter(|index| {
                declared
                    .all_columns()
                    .any(|column| column == columns[*index])
            })
            .collect();
        let names: Vec<&str> = kept.iter().map(|index| columns[*index]).collect();
        let rows: Vec<Value> = rows
            .iter()
            .map(|row| kept.iter().map(|index| row[*index].clone()).collect())
            .collect();
        Host::of(template).rows("file", &names, &rows)
    };
    let etc = json!({"directory": "/etc"});
    assert_eq!(
        only("world_writable_files").answers(&etc, "path"),
        ["/etc/a", "/etc/.c"]
    );
    assert_eq!(
        only("hidden_files_in_directory").answers(&etc, "path"),
        ["/etc/.c"]
    );
    assert_eq!(
        only("recently_changed_files").answers(&etc, "path"),
        ["/etc/a", "/etc/b", "/etc/d"]
    );
    assert_eq!(
        only("files_by_pattern")
            .answers(&json!({"pattern": "/etc/%"}), "path")
            .len(),
        4
    );
    let md5 = "d41d8cd98f00b204e9800998ecf8427e";
    let host = only("files_by_hash").rows(
        "hash",
        &["path", "md5"],
        &[
            json!(["/etc/a", md5]),
            json!(["/etc/b", "0"]),
            json!(["/etc/d", md5]),
            json!(["/tmp/e", md5]),
        ],
    );
    let found = |directory: &str| {
        host.answers(
            &json!({"directory": directory, "hash": md5.to_uppercase()}),
            "path",
        )
    };
    assert_eq!(found("/etc"), ["/etc/a"]);
    assert_eq!(found("/tmp"), Vec::<String>::new());
    let host = only("executables_in_temporary_directories").rows(
        "hash",
        &["path", "sha256"],
        &[json!(["/tmp/e", "0"]), json!(["/etc/a", "0"])],
    );
    assert_eq!(host.answers(&json!({}), "path"), ["/tmp/e"]);
}

#[test]
fn accounts_and_passwords() {
    let host = Host::of("accounts_with_root_rights").rows(
        "users",
        &["uid", "username"],
        &[
            json!([0, "root"]),
            json!([0, "toor"]),
            json!([1000, "anna"]),
        ],
    );
    assert_eq!(host.answers(&json!({}), "username"), ["toor"]);

    let host = Host::of("users_with_shell").rows(
        "users",
        &["username", "shell"],
        &[
            json!(["root", "/bin/bash"]),
            json!(["daemon", "/usr/sbin/nologin"]),
            json!(["mail", "/bin/false"]),
            json!(["none", ""]),
        ],
    );
    assert_eq!(host.answers(&json!({}), "username"), ["root"]);

    let host = Host::of("administrators")
        .rows(
            "groups",
            &["gid", "groupname"],
            &[json!([27, "sudo"]), json!([50, "staff"])],
        )
        .rows(
            "user_groups",
            &["uid", "gid"],
            &[json!([1, 27]), json!([2, 50])],
        )
        .rows(
            "users",
            &["uid", "username"],
            &[json!([1, "anna"]), json!([2, "ben"])],
        );
    assert_eq!(host.answers(&json!({}), "username"), ["anna"]);

    let today = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs()
        / 86_400;
    let host = Host::of("password_ages").rows(
        "shadow",
        &["username", "password_status", "last_change"],
        &[
            json!(["anna", "active", today - 40]),
            json!(["bin", "locked", 0]),
        ],
    );
    let ages = host.answers(&json!({}), "age_days");
    assert!(ages == ["40"] || ages == ["41"], "{ages:?}");
}

#[test]
fn services_tasks_and_registry() {
    let host = Host::of("windows_services_in_unusual_places").rows(
        "services",
        &["name", "path"],
        &[
            json!(["svchost", r"C:\Windows\system32\svchost.exe -k netsvcs"]),
            json!(["quoted", r#""C:\Program Files\x\y.exe" -s"#]),
            json!(["driver", r"\SystemRoot\System32\drivers\x.sys"]),
            json!([
                "defender",
                r"C:\ProgramData\Microsoft\Windows Defender\x.exe"
            ]),
            json!(["bad", r"C:\Users\Public\x.exe"]),
            json!(["quoted bad", r#""D:\tools\x.exe""#]),
            json!(["none", ""]),
        ],
    );
    assert_eq!(host.answers(&json!({}), "name"), ["bad", "quoted bad"]);

    let host = Host::of("scheduled_tasks").rows(
        "scheduled_tasks",
        &["name", "path"],
        &[
            json!(["a", r"\Microsoft\Windows\a"]),
            json!(["b", r"\Updater\b"]),
            json!(["c", r"\c"]),
        ],
    );
    assert_eq!(host.answers(&json!({}), "name"), ["b", "c"]);

    let run = r"Microsoft\Windows\CurrentVersion\Run";
    let host = Host::of("registry_run_keys").rows(
        "registry",
        &["key", "name"],
        &[
            json!([format!(r"HKEY_LOCAL_MACHINE\SOFTWARE\{run}"), "machine"]),
            json!([format!(r"HKEY_USERS\S-1-5-21-1\Software\{run}"), "user"]),
            json!([format!(r"HKEY_USERS\S-1-5-21-1\Software\{run}Once"), "once"]),
            json!([format!(r"HKEY_USERS\S-1-5-21-1\Software\{run}ner"), "other"]),
        ],
    );
    assert_eq!(
        host.answers(&json!({}), "name"),
        ["machine", "user", "once"]
    );
}

#[test]
fn logs_names_and_certificates() {
    let host = Host::of("windows_failed_logons").rows(
        "windows_eventlog",
        &["channel", "eventid", "datetime"],
        &[
            // NOW is 2026-11-18T11:06:40Z.
            json!(["Security", 4625, "2026-11-18T10:00:00.1234567Z"]),
            json!(["Security", 4625, "2026-11-16T14:00:00.1234567Z"]),
            json!(["Security", 4624, "2026-11-18T10:00:00.1234567Z"]),
            json!(["System", 4625, "2026-11-18T10:00:00.1234567Z"]),
        ],
    );
    assert_eq!(
        host.answers(&json!({}), "datetime"),
        ["2026-11-18T10:00:00.1234567Z"]
    );

    let host = Host::of("windows_dns_cache").rows(
        "dns_cache",
        &["name"],
        &[
            json!(["Example.com"]),
            json!(["c2.example.com"]),
            json!(["notexample.com"]),
            json!(["example.com.au"]),
        ],
    );
    assert_eq!(
        host.answers(&json!({"domain": "EXAMPLE.com"}), "name"),
        ["Example.com", "c2.example.com"]
    );

    let seconds = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let host = Host::of("expiring_certificates").rows(
        "certificates",
        &["common_name", "ca", "not_valid_after"],
        &[
            json!(["soon", 0, (seconds + 86_400).to_string()]),
            json!(["over", 0, (seconds - 86_400).to_string()]),
            json!(["later", 0, (seconds + 90 * 86_400).to_string()]),
            json!(["root", 1, (seconds + 86_400).to_string()]),
        ],
    );
    assert_eq!(host.answers(&json!({}), "common_name"), ["soon", "over"]);
    assert_eq!(host.answers(&json!({"days": 0}), "common_name"), ["over"]);
}

#[test]
fn containers() {
    let host = Host::of("container_processes")
        .rows(
            "docker_containers",
            &["id", "name"],
            &[json!(["abc123", "/web"]), json!(["def456", "/db"])],
        )
        .rows(
            "docker_container_processes",
            &["id", "pid"],
            &[json!(["abc123", 1]), json!(["def456", 2])],
        );
    assert_eq!(host.answers(&json!({"container": "web"}), "pid"), ["1"]);
    assert_eq!(host.answers(&json!({"container": "def"}), "pid"), ["2"]);
    assert_eq!(
        host.answers(&json!({"container": "c123"}), "pid"),
        Vec::<String>::new()
    );

    let host = Host::of("sensitive_container_mounts")
        .rows(
            "docker_containers",
            &["id", "name"],
            &[json!(["a", "/web"])],
        )
        .rows(
            "docker_container_mounts",
            &["id", "source"],
            &[
                json!(["a", "/var/run/docker.sock"]),
                json!(["a", "/srv/data"]),
                json!(["a", "/etc/ssl"]),
            ],
        );
    assert_eq!(
        host.answers(&json!({}), "source"),
        ["/var/run/docker.sock", "/etc/ssl"]
    );
}
