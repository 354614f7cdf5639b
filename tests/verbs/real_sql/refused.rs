//! Wrong SQL: it would come back empty, or with less than it seems.

use super::{EMPTY, check, comes_first, schema, template};

#[test]
fn what_hosts_would_answer_with_less_is_refused() {
    let of_file = format!(
        "required_column: `sql` must compare `path` or `directory` of `file` by `=`, `IN` or `LIKE`, {EMPTY}"
    );
    let not_looked_by = format!("{of_file}; it is compared in a way that the table can't use");
    let of_handles = format!(
        "required_column: `sql` must compare `pid` of `process_open_handles` by `=` or `IN`, {EMPTY}"
    );
    let of_joined_hash = format!(
        "required_column: `sql` must compare `path` or `directory` of `hash` by `=`, `IN` or `LIKE`, {EMPTY}; {}",
        comes_first("hash")
    );
    let of_user = |table: &str, column: &str| {
        format!(
            "per_user_table: `{table}` covers osquery's own user only (root or SYSTEM), unless `{column}` is compared: \
             write `FROM users CROSS JOIN {table} USING ({column})`, in this order"
        )
    };
    let twice = |name: &str, other: &str| {
        format!(
            "duplicate_column: `sql` has several result columns called `{name}`, and a row of osquery keeps one value of a \
             name: name each column and give all but one a name of its own, such as `AS {other}`"
        )
    };
    let tree = "tree_inside_path: `sql` has `%%` inside a path: osquery walks a tree only where that ends the path (`/home/%%`), \
                and takes it for a single level elsewhere; write one `%` for each level"
        .to_owned();
    let hive = r"current_user_hive: `sql` names HKEY_CURRENT_USER, and osquery's service is a user without keys of interest there: write `HKEY_USERS\%\…` with LIKE for everyone who is logged on, or `HKEY_USERS\SID\…`".to_owned();
    let cases: &[(&str, &[&str], &[&String])] = &[
        // One value of two is lost in osquery's row.
        (
            "SELECT p.pid, l.pid FROM processes AS p JOIN listening_ports AS l ON l.path = p.path",
            &["processes: pid path", "listening_ports: pid path"],
            &[&twice("pid", "pid_2")],
        ),
        (
            "SELECT p.pid, p.name AS pid_2, l.pid, l.pid FROM processes AS p, listening_ports AS l",
            &["processes: pid name", "listening_ports: pid"],
            &[&twice("pid", "pid_3")],
        ),
        (
            "SELECT * FROM processes AS p JOIN listening_ports AS l USING (pid)",
            &["processes: pid name path", "listening_ports: pid path port"],
            &[&twice("path", "path_2")],
        ),
        (
            "SELECT count(*), count(*) FROM processes",
            &["processes:"],
            &[&twice("count(*)", "count_2")],
        ),
        // No comparison, or none that counts.
        ("SELECT path FROM file", &["file: path"], &[&of_file]),
        (
            "SELECT size FROM file WHERE size > 5",
            &["file: size"],
            &[&of_file],
        ),
        (
            "SELECT path FROM file WHERE path > '/etc'",
            &["file: path"],
            &[&not_looked_by],
        ),
        (
            "SELECT path FROM file WHERE path BETWEEN '/a' AND '/b'",
            &["file: path"],
            &[&not_looked_by],
        ),
        (
            "SELECT path FROM file WHERE path IS NOT NULL",
            &["file: path"],
            &[&not_looked_by],
        ),
        (
            "SELECT path FROM file WHERE path != '/etc/passwd'",
            &["file: path"],
            &[&not_looked_by],
        ),
        (
            "SELECT path FROM file WHERE path GLOB '/etc/*'",
            &["file: path"],
            &[&not_looked_by],
        ),
        (
            "SELECT path FROM file WHERE path LIKE '/etc/%' ESCAPE '\\'",
            &["file: path"],
            &[&format!(
                "{of_file}; a LIKE with ESCAPE is not handed to the table: leave ESCAPE out"
            )],
        ),
        (
            "SELECT path FROM file WHERE lower(path) = '/etc/passwd'",
            &["file: path"],
            &[&of_file],
        ),
        (
            "SELECT path FROM file WHERE path NOT LIKE '/etc/%'",
            &["file: path"],
            &[&of_file],
        ),
        (
            "SELECT path FROM file WHERE filename = 'passwd'",
            &["file: path filename"],
            &[&of_file],
        ),
        (
            "SELECT path FROM file WHERE path = '/a' OR size > 5",
            &["file: path size"],
            &[&of_file],
        ),
        (
            "SELECT path FROM file WHERE NOT (path = '/a')",
            &["file: path"],
            &[&of_file],
        ),
        (
            "SELECT count(*) AS files FROM file",
            &["file:"],
            &[&of_file],
        ),
        (
            "SELECT name FROM process_open_handles WHERE pid > 4",
            &["process_open_handles: pid name"],
            &[&format!(
                "{of_handles}; it is compared in a way that the table can't use"
            )],
        ),
        (
            "SELECT name FROM process_open_handles WHERE pid LIKE '4%'",
            &["process_open_handles: pid name"],
            &[&format!(
                "{of_handles}; it is compared in a way that the table can't use"
            )],
        ),
        (
            "SELECT md5 FROM device_hash WHERE device = '/dev/sda'",
            &["device_hash: device md5"],
            &[&format!(
                "required_column: `sql` must compare `device`, `partition` and `inode` of `device_hash` by `=` or `IN`, {EMPTY}; \
                 it is compared in a way that the table can't use"
            )],
        ),
        (
            "SELECT datetime FROM windows_eventlog WHERE eventid = 1102",
            &["windows_eventlog: datetime eventid"],
            &[&format!(
                "required_column: `sql` must compare `channel` or `xpath` of `windows_eventlog` by `=` or `IN`, {EMPTY}"
            )],
        ),
        // The order of a join that SQLite may not change.
        (
            "SELECT h.sha256 FROM hash AS h LEFT JOIN processes AS p ON p.path = h.path",
            &["hash: path sha256", "processes: path"],
            &[&of_joined_hash],
        ),
        (
            "SELECT h.sha256 FROM hash AS h CROSS JOIN processes AS p ON p.path = h.path",
            &["hash: path sha256", "processes: path"],
            &[&of_joined_hash],
        ),
        // A tree that is no tree.
        (
            "SELECT path FROM file WHERE path LIKE '/home/%%/.ssh/id_rsa'",
            &["file: path"],
            &[&tree],
        ),
        (
            "SELECT path FROM hash WHERE path LIKE '/home/%%' || '/x'",
            &["hash: path"],
            &[&tree],
        ),
        (
            "SELECT f.path FROM users AS u JOIN file AS f ON f.path LIKE (u.directory || '/%%/config') AND u.uid > 5",
            &["users: uid directory", "file: path"],
            &[&tree],
        ),
        // Nobody's hive.
        (
            "SELECT data FROM registry WHERE key = 'HKEY_CURRENT_USER\\Software\\Run'",
            &["registry: key data"],
            &[&hive],
        ),
        (
            "SELECT data FROM registry WHERE path LIKE 'hkcu\\%'",
            &["registry: path data"],
            &[&hive],
        ),
        (
            "SELECT data FROM registry WHERE key LIKE 'HKEY_CURRENT_USER' || '\\%'",
            &["registry: key data"],
            &[&hive],
        ),
        // One user's rows instead of everyone's.
        (
            "SELECT command FROM shell_history",
            &["shell_history: command"],
            &[&of_user("shell_history", "uid")],
        ),
        (
            "SELECT command FROM shell_history WHERE command LIKE '%curl%'",
            &["shell_history: command"],
            &[&of_user("shell_history", "uid")],
        ),
        (
            "SELECT u.username, s.command FROM shell_history AS s LEFT JOIN users AS u ON u.uid = s.uid",
            &["shell_history: uid command", "users: uid username"],
            &[&of_user("shell_history", "uid")],
        ),
        (
            "SELECT key FROM authorized_keys WHERE uid >= 1000",
            &["authorized_keys: uid key"],
            &[&of_user("authorized_keys", "uid")],
        ),
        (
            "SELECT name FROM chrome_extensions WHERE name = 'x'",
            &["chrome_extensions: name"],
            &[&of_user("chrome_extensions", "uid")],
        ),
        (
            "SELECT value FROM preferences WHERE domain = 'x'",
            &["preferences: domain value"],
            &[&of_user("preferences", "username")],
        ),
        (
            "SELECT command FROM shell_history WHERE uid = 0 UNION SELECT name FROM chrome_extensions",
            &["shell_history: uid command", "chrome_extensions: name"],
            &[&of_user("chrome_extensions", "uid")],
        ),
    ];
    let templates: Vec<String> = cases
        .iter()
        .map(|(sql, reads, _)| template(sql, reads, ""))
        .collect();
    for schemas in [vec![schema()], Vec::new()] {
        for ((sql, _, expected), said) in cases.iter().zip(check(&templates, &schemas)) {
            let problems: Vec<&String> = said.problems.iter().collect();
            assert_eq!(problems, *expected, "{sql}");
        }
    }
}
