//! SQL as people write it for osquery: what hosts run well has to pass `templates check`, and what would
//! come back empty, or with less than it seems, has to be refused with what to write instead. The schema
//! here is a part of osquery's, so that these tests run where the whole is not at hand; where it is, the
//! right ones are checked with it as well.

use super::now;
use crate::allowlist::{OsquerySchema, check_file};
use crate::problem::Placed;

/// Tables as osquery has them; `*` marks a required column, `+` one that is looked up by, `#` a hidden one.
const TABLES: &str = "
    authorized_keys: uid algorithm key key_file
    chrome_extensions: +uid name identifier version
    device_hash: *device *partition *inode md5
    file: *+path *directory filename inode uid size mtime type mode
    groups: +gid groupname
    hash: *+path *directory md5 sha1 sha256
    interface_addresses: interface address
    launchd: +path name label program run_at_load
    listening_ports: pid port protocol address path
    logged_in_users: user host time pid
    os_version: name version platform
    plist: key subkey value *path
    preferences: domain key value username
    process_events: pid path cmdline time
    process_memory_map: +pid path
    process_open_handles: *+pid handle type name
    process_open_sockets: pid remote_address remote_port local_port state
    processes: +pid name path cmdline uid parent start_time on_disk resident_size
    registry: key +path name type data mtime
    scheduled_tasks: name action path enabled hidden
    shell_history: uid time command history_file
    time: unix_time
    uptime: total_seconds days
    user_groups: +uid +gid
    users: +uid gid username directory shell +uuid
    windows_eventlog: channel *channel datetime eventid data #*xpath
    yara_file: *+path matches count sig_group #sigurl
";

/// Columns of numbers; the others hold text.
const NUMBERS: [&str; 24] = [
    "uid",
    "gid",
    "pid",
    "parent",
    "port",
    "protocol",
    "size",
    "mtime",
    "time",
    "inode",
    "start_time",
    "on_disk",
    "resident_size",
    "remote_port",
    "local_port",
    "unix_time",
    "total_seconds",
    "days",
    "enabled",
    "hidden",
    "eventid",
    "count",
    "run_at_load",
    "handle",
];

fn schema() -> OsquerySchema {
    let tables: Vec<String> = TABLES
        .lines()
        .filter_map(|line| line.trim().split_once(':'))
        .map(|(name, columns)| {
            let columns: Vec<String> = columns.split_whitespace().map(column).collect();
            let events = name.ends_with("_events");
            format!(
                r#"{{"name": "{name}", "evented": {events}, "columns": [{}]}}"#,
                columns.join(", ")
            )
        })
        .collect();
    OsquerySchema::parse(&format!("[{}]", tables.join(", "))).unwrap()
}

fn column(written: &str) -> String {
    let name = written.trim_start_matches(['*', '+', '#']);
    let has = |mark: char| written[..written.len() - name.len()].contains(mark);
    let kind = if NUMBERS.contains(&name) {
        "bigint"
    } else {
        "text"
    };
    format!(
        r#"{{"name": "{name}", "type": "{kind}", "required": {}, "index": {}, "hidden": {}}}"#,
        has('*'),
        has('+'),
        has('#')
    )
}

/// The template of the SQL; `reads` is `TABLE: COLUMN…` for each table, `more` further lines of its file.
fn template(sql: &str, reads: &[&str], more: &str) -> String {
    let tables: String = reads
        .iter()
        .map(|table| {
            let (name, columns) = table.split_once(':').unwrap();
            let (columns, hidden) = columns.split_once('#').unwrap_or((columns, ""));
            let list = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(", ");
            format!(
                "  {name}:\n    columns: [{}]\n    hidden: [{}]\n",
                list(columns),
                list(hidden)
            )
        })
        .collect();
    format!(
        "name: one\nintent: Reads what the test is about.\nplatforms: [linux]\nseverity: info\nsql: |-\n  {}\ntables:\n{tables}{more}",
        sql.replace('\n', "\n  ")
    )
}

fn said(problems: &[Placed]) -> Vec<String> {
    let line = |Placed { problem, .. }: &Placed| format!("{}: {}", problem.rule, problem.message);
    problems.iter().map(line).collect()
}

const OF_PATTERN: &str = "parameters:\n  pattern:\n    type: path_pattern\n    description: Which files.\n    example: /opt/x/%\n";
const OF_PID: &str =
    "parameters:\n  pid:\n    type: pid\n    description: Which process.\n    example: 1\n";

#[test]
fn what_hosts_run_well_passes() {
    let many = format!(
        "SELECT pid FROM processes WHERE {}",
        vec!["name NOT LIKE 'kworker%'"; 300].join(" AND ")
    );
    let cases: &[(&str, &[&str], &str)] = &[
        // Joins by USING, whose columns no authorizer is told of.
        (
            "SELECT p.name, l.port FROM listening_ports AS l JOIN processes AS p USING (pid)",
            &["listening_ports: pid port", "processes: pid name"],
            "",
        ),
        (
            "SELECT u.username, g.groupname FROM user_groups JOIN users AS u USING (uid) JOIN groups AS g ON g.gid = user_groups.gid",
            &[
                "user_groups: uid gid",
                "users: uid username",
                "groups: gid groupname",
            ],
            "",
        ),
        (
            "SELECT DISTINCT h.sha256 FROM processes JOIN hash AS h USING (path)",
            &["processes: path", "hash: path sha256"],
            "",
        ),
        (
            "SELECT name FROM processes NATURAL JOIN listening_ports",
            &["processes: pid name path", "listening_ports: pid path"],
            "",
        ),
        // Tables of which no column is read.
        (
            "SELECT count(*) AS running FROM processes",
            &["processes:"],
            "",
        ),
        (
            "SELECT p.pid, u.days FROM processes AS p, uptime AS u",
            &["processes: pid", "uptime: days"],
            "",
        ),
        (
            "SELECT p.pid FROM processes AS p CROSS JOIN time",
            &["processes: pid", "time:"],
            "",
        ),
        (
            "SELECT EXISTS (SELECT 1 FROM logged_in_users) AS anyone",
            &["logged_in_users:"],
            "",
        ),
        // Patterns that are joined or computed.
        (
            "SELECT u.username, f.path FROM users AS u JOIN file AS f ON f.path LIKE u.directory || '/.ssh/%'",
            &["users: username directory", "file: path"],
            "",
        ),
        (
            "SELECT f.path FROM file AS f WHERE f.path LIKE 'C:' || CHAR(92) || 'Users' || CHAR(92) || '%'",
            &["file: path"],
            "",
        ),
        (
            "SELECT f.path, h.sha256 FROM users u, file f, hash h WHERE f.directory = u.directory || '/Downloads' AND h.path = f.path",
            &[
                "users: directory",
                "file: path directory",
                "hash: path sha256",
            ],
            "",
        ),
        (
            "SELECT path FROM file WHERE path LIKE :pattern",
            &["file: path"],
            OF_PATTERN,
        ),
        (
            "SELECT path FROM file WHERE path LIKE '/proc/' || :pid || '/fd/%'",
            &["file: path"],
            OF_PID,
        ),
        (
            "SELECT path FROM hash WHERE path LIKE '/tmp/%%'",
            &["hash: path"],
            "",
        ),
        (
            "SELECT path FROM file WHERE path LIKE '/home/%/.ssh/' || 'id_%'",
            &["file: path"],
            "",
        ),
        // Joins that are left or grouped, and subqueries.
        (
            "SELECT p.name, count(h.sha256) AS hashes FROM processes AS p LEFT JOIN hash AS h ON h.path = p.path GROUP BY p.name",
            &["processes: name path", "hash: path sha256"],
            "",
        ),
        (
            "SELECT p.pid, group_concat(DISTINCT h.md5) AS md5s FROM processes AS p LEFT JOIN process_memory_map AS m USING (pid) \
             LEFT JOIN hash AS h ON h.path = m.path GROUP BY p.pid HAVING count(*) > 1",
            &[
                "processes: pid",
                "process_memory_map: pid path",
                "hash: path md5",
            ],
            "",
        ),
        (
            "SELECT path FROM file WHERE path IN (SELECT path FROM processes)",
            &["file: path", "processes: path"],
            "",
        ),
        (
            "SELECT path FROM file WHERE directory IN (SELECT directory || '/.config' FROM users)",
            &["file: path directory", "users: directory"],
            "",
        ),
        (
            "SELECT pid, name FROM processes AS p WHERE NOT EXISTS (SELECT 1 FROM file AS f WHERE f.path = p.path)",
            &["processes: pid name path", "file: path"],
            "",
        ),
        (
            "WITH homes AS (SELECT directory FROM users) SELECT f.path FROM homes JOIN file AS f ON f.directory = homes.directory || '/.ssh'",
            &["users: directory", "file: path directory"],
            "",
        ),
        (
            "SELECT name, max(c) AS most FROM (SELECT name, count(*) AS c FROM processes GROUP BY name) GROUP BY name",
            &["processes: name"],
            "",
        ),
        (
            "SELECT pid, row_number() OVER (PARTITION BY name ORDER BY start_time) AS turn FROM processes",
            &["processes: pid name start_time"],
            "",
        ),
        (
            "SELECT path FROM file WHERE path = (SELECT path FROM processes WHERE pid = 1)",
            &["file: path", "processes: pid path"],
            "",
        ),
        // Required columns, by all that counts.
        (
            "SELECT path FROM file WHERE directory = '/etc' AND size BETWEEN 5 AND 9",
            &["file: path directory size"],
            "",
        ),
        (
            "SELECT path FROM file WHERE path = '/etc/a' OR path LIKE '/opt/%'",
            &["file: path"],
            "",
        ),
        (
            "SELECT path FROM file WHERE path = '/etc/a' OR directory = '/opt'",
            &["file: path directory"],
            "",
        ),
        (
            "SELECT path FROM file WHERE path LIKE '/tmp/%' AND filename LIKE '%\\_x' ESCAPE '\\'",
            &["file: path filename"],
            "",
        ),
        (
            "SELECT key, value FROM plist WHERE path IN ('/a', '/b') AND key = 'x'",
            &["plist: key value path"],
            "",
        ),
        (
            "SELECT h.name FROM processes AS p JOIN process_open_handles AS h USING (pid) WHERE p.name = 'lsass.exe'",
            &["processes: pid name", "process_open_handles: pid name"],
            "",
        ),
        (
            "SELECT datetime, data FROM windows_eventlog WHERE channel = 'Security' AND eventid IN (4624, 4625)",
            &["windows_eventlog: channel datetime eventid data"],
            "",
        ),
        (
            "SELECT md5 FROM device_hash WHERE device = '/dev/sda' AND partition = 1 AND inode = 5",
            &["device_hash: device partition inode md5"],
            "",
        ),
        (
            "SELECT path, count FROM yara WHERE path LIKE '/tmp/%' AND sig_group = 'x'",
            &["yara: path count sig_group"],
            "",
        ),
        // Tables of each user.
        (
            "SELECT u.username, s.command FROM users AS u CROSS JOIN shell_history AS s USING (uid)",
            &["users: uid username", "shell_history: uid command"],
            "",
        ),
        (
            "SELECT u.username, e.name FROM users AS u JOIN chrome_extensions AS e ON e.uid = u.uid WHERE e.name LIKE '%vpn%'",
            &["users: uid username", "chrome_extensions: uid name"],
            "",
        ),
        (
            "SELECT name FROM chrome_extensions WHERE uid IN (SELECT uid FROM users)",
            &["chrome_extensions: uid name", "users: uid"],
            "",
        ),
        (
            "SELECT command FROM shell_history WHERE uid = 0",
            &["shell_history: uid command"],
            "",
        ),
        (
            "SELECT p.key, p.value FROM users JOIN preferences AS p USING (username) WHERE p.domain = 'com.apple.loginwindow'",
            &["users: username", "preferences: domain key value username"],
            "",
        ),
        // The registry.
        (
            "SELECT path, data FROM registry WHERE key LIKE 'HKEY_USERS\\%\\Software\\Microsoft\\Windows\\CurrentVersion\\Run'",
            &["registry: key path data"],
            "",
        ),
        (
            "SELECT count(*) AS keys FROM registry WHERE key = 'HKEY_LOCAL_MACHINE\\SOFTWARE'",
            &["registry: key"],
            "",
        ),
        // Names that repeat inside, not in the result.
        (
            "SELECT a.name AS child, b.name AS parent FROM processes AS a JOIN processes AS b ON a.parent = b.pid",
            &["processes: pid name parent"],
            "",
        ),
        (
            "SELECT pid, name FROM processes UNION SELECT pid, user FROM logged_in_users",
            &["processes: pid name", "logged_in_users: pid user"],
            "",
        ),
        (
            "SELECT name, CASE WHEN on_disk = 0 THEN 'gone' ELSE 'there' END AS binary, json_object('pid', pid) AS facts FROM processes",
            &["processes: name on_disk pid"],
            "",
        ),
        // Shapes of detection packs: several common tables, outer joins, exceptions, text made of columns.
        (
            "WITH listeners AS (SELECT pid, port, address FROM listening_ports WHERE port > 0 AND address NOT IN ('127.0.0.1', '::1')),\n\
             gone AS (SELECT pid FROM processes WHERE on_disk = 0)\n\
             SELECT p.pid, p.name, p.path, group_concat(l.port, ',') AS ports, (p.pid IN (SELECT pid FROM gone)) AS deleted\n\
             FROM listeners AS l JOIN processes AS p ON p.pid = l.pid\n\
             WHERE p.path NOT LIKE '/usr/%' GROUP BY p.pid ORDER BY p.name COLLATE NOCASE",
            &[
                "listening_ports: pid port address",
                "processes: pid name path on_disk",
            ],
            "",
        ),
        (
            "SELECT p0.pid AS pid, p0.name AS name, p1.name AS parent, p2.name AS grandparent, h.sha256 AS sha256\n\
             FROM processes AS p0\n\
             LEFT JOIN processes AS p1 ON p1.pid = p0.parent\n\
             LEFT JOIN processes AS p2 ON p2.pid = p1.parent\n\
             LEFT JOIN hash AS h ON h.path = p0.path\n\
             WHERE p0.path LIKE '/tmp/%' AND NOT (p0.name = 'a' OR p1.name IN ('b', 'c'))",
            &["processes: pid parent name path", "hash: path sha256"],
            "",
        ),
        (
            "SELECT f.path, f.mtime, u.username AS owner, h.sha256 FROM file AS f LEFT JOIN users AS u ON f.uid = u.uid\n\
             LEFT JOIN hash AS h ON f.path = h.path\n\
             WHERE (f.path LIKE '/tmp/%' OR f.path LIKE '/var/tmp/%' OR f.path LIKE '/dev/shm/%')\n\
             AND f.type = 'regular' AND f.size > 64 AND f.mtime > (SELECT unix_time FROM time) - 86400",
            &[
                "file: path uid mtime type size",
                "users: uid username",
                "hash: path sha256",
                "time: unix_time",
            ],
            "",
        ),
        (
            "SELECT * FROM (SELECT name, path, pid FROM processes WHERE uid = 0) AS p JOIN (SELECT pid AS owner, port FROM listening_ports) AS l ON l.owner = p.pid",
            &["processes: name path pid uid", "listening_ports: pid port"],
            "",
        ),
        (
            "SELECT s.pid, s.remote_address, p.name FROM process_open_sockets AS s INNER JOIN processes AS p USING (pid)\n\
             WHERE s.remote_port = 4444 OR (s.remote_port BETWEEN 6660 AND 6669 AND s.remote_address NOT LIKE '10.%')",
            &[
                "process_open_sockets: pid remote_address remote_port",
                "processes: pid name",
            ],
            "",
        ),
        (
            "SELECT l.name, l.program, h.sha1 FROM launchd AS l JOIN hash AS h ON h.path = l.program WHERE l.run_at_load = 1",
            &["launchd: name program run_at_load", "hash: path sha1"],
            "",
        ),
        (
            "SELECT t.name, t.action, datetime(f.mtime, 'unixepoch') AS changed FROM scheduled_tasks AS t JOIN file AS f\n\
             ON f.path = 'C:\\Windows\\System32\\Tasks' || t.path WHERE t.enabled = 1 AND t.hidden = 1",
            &[
                "scheduled_tasks: name action path enabled hidden",
                "file: path mtime",
            ],
            "",
        ),
        (
            "SELECT key, name, data, substr(key, 12, instr(substr(key, 12), '\\') - 1) AS sid FROM registry\n\
             WHERE key LIKE 'HKEY_USERS\\%\\Software\\Microsoft\\Windows\\CurrentVersion\\Run%' AND name != '(Default)'",
            &["registry: key name data"],
            "",
        ),
        (
            "SELECT u.username, f.path, f.mode FROM users AS u CROSS JOIN file AS f ON f.directory = u.directory || '/.ssh'\n\
             WHERE f.mode NOT IN ('0600', '0700') AND u.shell NOT LIKE '%nologin'",
            &[
                "users: username directory shell",
                "file: path directory mode",
            ],
            "",
        ),
        (
            "SELECT u.username, count(*) AS keys FROM users AS u CROSS JOIN authorized_keys AS k USING (uid) GROUP BY u.uid HAVING keys > 3",
            &["users: uid username", "authorized_keys: uid"],
            "",
        ),
        (
            "SELECT o.name AS system, o.version, a.interface, a.address FROM os_version AS o, interface_addresses AS a WHERE a.address NOT LIKE 'fe80%'",
            &[
                "os_version: name version",
                "interface_addresses: interface address",
            ],
            "",
        ),
        (
            "SELECT name, round(resident_size / 1048576.0, 1) AS megabytes, 100.0 * resident_size / (SELECT sum(resident_size) FROM processes) AS share\n\
             FROM processes ORDER BY megabytes DESC LIMIT 20",
            &["processes: name resident_size"],
            "",
        ),
        (
            "SELECT h.path, h.md5 FROM (SELECT DISTINCT path FROM process_memory_map WHERE path LIKE '%.so%' AND pid IN (SELECT pid FROM processes)) AS m\n\
             JOIN hash AS h USING (path)",
            &[
                "process_memory_map: pid path",
                "processes: pid",
                "hash: path md5",
            ],
            "",
        ),
        (
            "SELECT path FROM file WHERE directory = '/etc/cron.d' EXCEPT SELECT path FROM file WHERE path IN ('/etc/cron.d/a', '/etc/cron.d/b')",
            &["file: path directory"],
            "",
        ),
        (
            "SELECT pid, regex_match(cmdline, 'https?://[^ ]+', 0) AS address FROM processes WHERE cmdline LIKE '%curl%'",
            &["processes: pid cmdline"],
            "functions: [regex_match]\n",
        ),
        (
            "SELECT name, lag(start_time) OVER (ORDER BY start_time) AS before FROM processes WHERE start_time > 0",
            &["processes: name start_time"],
            "",
        ),
        (
            "SELECT user, host, max(time) AS latest FROM logged_in_users WHERE host IS NOT NULL AND host != '' GROUP BY user, host",
            &["logged_in_users: user host time"],
            "",
        ),
        (
            "SELECT count(*) AS files, sum(size) AS bytes FROM file WHERE path LIKE '/var/log/%%'",
            &["file: path size"],
            "",
        ),
        (
            "SELECT data FROM windows_eventlog WHERE xpath = '*[System[(EventID=1102)]]'",
            &["windows_eventlog: data # xpath"],
            "",
        ),
        (&many, &["processes: pid name"], ""),
    ];
    let whole = super::osquery_schema_text().map(|text| OsquerySchema::parse(&text).unwrap());
    for (sql, reads, more) in cases {
        let text = template(sql, reads, more);
        for osquery in [Some(schema()), None] {
            let findings = check_file("one", &text, osquery.as_ref(), now());
            assert_eq!(said(&findings.problems), Vec::<String>::new(), "{sql}");
            assert_eq!(said(&findings.warnings), Vec::<String>::new(), "{sql}");
        }
        if let Some(osquery) = &whole {
            // The platforms are not what this is about.
            let findings = check_file("one", &text, Some(osquery), now());
            let wrong: Vec<String> = said(&findings.problems)
                .into_iter()
                .filter(|line| !line.starts_with("platform:"))
                .collect();
            assert_eq!(wrong, Vec::<String>::new(), "{sql}");
        }
    }
}

/// What is said of a join in the wrong order.
fn comes_first(table: &str) -> String {
    format!(
        "where another table has what it is compared with, that one comes first: `FROM other CROSS JOIN {table} ON …`"
    )
}

const EMPTY: &str = "for osquery answers with nothing otherwise";

#[test]
fn what_hosts_would_answer_with_less_is_refused() {
    let of_file = format!(
        "required_column: `sql` must compare `path` or `directory` of `file` by `=`, `IN` or `LIKE`, {EMPTY}"
    );
    let not_looked_by =
        format!("{of_file}; it is compared in a way that the table does not look by");
    let of_handles = format!(
        "required_column: `sql` must compare `pid` of `process_open_handles` by `=` or `IN`, {EMPTY}"
    );
    let of_joined_hash = format!(
        "required_column: `sql` must compare `path` or `directory` of `hash` by `=`, `IN` or `LIKE`, {EMPTY}; {}",
        comes_first("hash")
    );
    let of_user = |table: &str, column: &str| {
        format!(
            "per_user_table: `{table}` tells of osquery's own user only (root or SYSTEM), unless `{column}` is compared: \
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
                "{of_handles}; it is compared in a way that the table does not look by"
            )],
        ),
        (
            "SELECT name FROM process_open_handles WHERE pid LIKE '4%'",
            &["process_open_handles: pid name"],
            &[&format!(
                "{of_handles}; it is compared in a way that the table does not look by"
            )],
        ),
        (
            "SELECT md5 FROM device_hash WHERE device = '/dev/sda'",
            &["device_hash: device md5"],
            &[&format!(
                "required_column: `sql` must compare `device`, `partition` and `inode` of `device_hash` by `=` or `IN`, {EMPTY}; \
                 it is compared in a way that the table does not look by"
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
    for (sql, reads, expected) in cases {
        let text = template(sql, reads, "");
        for osquery in [Some(schema()), None] {
            let findings = check_file("one", &text, osquery.as_ref(), now());
            assert_eq!(
                said(&findings.problems).iter().collect::<Vec<_>>(),
                *expected,
                "{sql}"
            );
            let places = findings
                .problems
                .iter()
                .filter(|problem| problem.at.is_none());
            assert_eq!(places.count(), 0, "{sql}: without a place");
        }
    }
}

#[test]
fn tables_of_events_draw_a_warning() {
    let text = template(
        "SELECT pid, path FROM process_events",
        &["process_events: pid path"],
        "",
    );
    let expected = "event_table: `process_events` has rows only on hosts that collect these events: osquery needs \
                    `--disable_audit=false --audit_allow_config=true --audit_allow_process_events=true`";
    for osquery in [Some(schema()), None] {
        let findings = check_file("one", &text, osquery.as_ref(), now());
        assert_eq!(
            (said(&findings.problems), said(&findings.warnings)),
            (Vec::new(), vec![expected.to_owned()])
        );
    }
}

#[test]
fn tables_of_extensions_come_from_further_files() {
    let own = r#"[{"name": "puppet_state", "platforms": ["macos", "linux"], "columns": [
        {"name": "resource", "type": "text", "required": true}, {"name": "status", "type": "text"}]}]"#;
    let both = schema().and(OsquerySchema::parse(own).unwrap());
    let check = |sql: &str| {
        let text = template(
            sql,
            &["puppet_state: resource status", "processes: pid"],
            "",
        );
        said(&check_file("one", &text, Some(&both), now()).problems)
    };
    assert_eq!(
        check(
            "SELECT status, (SELECT count(pid) FROM processes) AS running FROM puppet_state WHERE resource LIKE 'File[%'"
        ),
        Vec::<String>::new()
    );
    assert_eq!(
        check("SELECT resource, status, pid FROM puppet_state, processes"),
        [format!(
            "required_column: `sql` must compare `resource` of `puppet_state` by `=`, `IN` or `LIKE`, {EMPTY}; {}",
            comes_first("puppet_state")
        )]
    );
    // A table that both files have is taken from the later one.
    let later = schema()
        .and(OsquerySchema::parse(r#"[{"name": "file", "columns": [{"name": "path"}]}]"#).unwrap());
    let text = template("SELECT path FROM file", &["file: path"], "");
    assert_eq!(
        said(&check_file("one", &text, Some(&later), now()).problems),
        Vec::<String>::new()
    );
}

/// A parameter of a type, as lines of a template.
fn parameter(lines: &str) -> String {
    format!(
        "parameters:\n  value:\n    description: What is looked for.\n    {}\n",
        lines.replace("; ", "\n    ")
    )
}

#[test]
fn comparisons_that_are_never_true_draw_a_warning() {
    const TEXT: &str = "type: text; maximum_length: 99; example: '0'";
    const HASH: &str = "type: hash; example: d41d8cd98f00b204e9800998ecf8427e";
    let registry = "paths from a hive on, written out: `HKEY_LOCAL_MACHINE\\SOFTWARE\\…`";
    let paths = "whole paths: `~` is never one, drives go on with `\\`, and `%` is a wildcard for LIKE only";
    let of_sql = |column: &str, table: &str, text: &str, holds: &str| {
        format!(
            "never_held: `sql` compares `{column}` of `{table}` with '{text}', which it never holds: it holds {holds}"
        )
    };
    let of_value = |holds: &str, kind: &str| {
        format!(
            "never_held: `parameters.value` takes values that nothing it is compared with ever holds ({holds}): make it {kind}"
        )
    };
    let numbers = of_value(
        "`pid` of `processes` holds numbers",
        "`integer`, `pid`, `port` or `since`",
    );
    let digests = "64 hexadecimal digits in lower case";
    let cases: &[(&str, &[&str], &str, &[&str])] = &[
        // Written in the SQL.
        (
            "SELECT pid FROM process_open_sockets WHERE remote_port = 'https'",
            &["process_open_sockets: pid remote_port"],
            "",
            &[&of_sql(
                "remote_port",
                "process_open_sockets",
                "https",
                "numbers",
            )],
        ),
        (
            "SELECT pid FROM process_open_sockets WHERE state = 'listen'",
            &["process_open_sockets: pid state"],
            "",
            &[&of_sql(
                "state",
                "process_open_sockets",
                "listen",
                "words in upper case",
            )],
        ),
        (
            "SELECT pid FROM process_open_sockets WHERE remote_address IN ('10.0.0.1', '10.0.0.0/8')",
            &["process_open_sockets: pid remote_address"],
            "",
            &[&of_sql(
                "remote_address",
                "process_open_sockets",
                "10.0.0.0/8",
                "addresses without mask, port and name",
            )],
        ),
        (
            "SELECT data FROM registry WHERE key = 'HKLM\\SOFTWARE\\Run'",
            &["registry: key data"],
            "",
            &[&of_sql("key", "registry", "HKLM\\SOFTWARE\\Run", registry)],
        ),
        (
            "SELECT size FROM file WHERE path = '~/.ssh/config'",
            &["file: path size"],
            "",
            &[&of_sql("path", "file", "~/.ssh/config", paths)],
        ),
        (
            "SELECT f.size FROM file AS f WHERE f.path IN ('/etc/a', '/home/%/.bashrc')",
            &["file: path size"],
            "",
            &[&of_sql("path", "file", "/home/%/.bashrc", paths)],
        ),
        (
            "SELECT h.path FROM hash AS h WHERE h.directory = '/opt' AND h.md5 = 'D41D8CD98F00B204E9800998ECF8427E'",
            &["hash: path directory md5"],
            "",
            &[&of_sql(
                "md5",
                "hash",
                "D41D8CD98F00B204E9800998ECF8427E",
                "32 hexadecimal digits in lower case",
            )],
        ),
        // Given by steps.
        (
            "SELECT name FROM processes WHERE pid = :value",
            &["processes: pid name"],
            TEXT,
            &[&numbers],
        ),
        (
            "SELECT name FROM processes WHERE pid = :value",
            &["processes: pid name"],
            "type: process_name; example: bash",
            &[&numbers],
        ),
        (
            "SELECT name FROM processes WHERE pid IN (:value, 1)",
            &["processes: pid name"],
            "type: process_name; example: bash",
            &[&numbers],
        ),
        (
            "SELECT path FROM hash WHERE directory = '/opt' AND sha256 = :value",
            &["hash: path directory sha256"],
            HASH,
            &[&of_value(
                &format!("`sha256` of `hash` holds {digests}"),
                "`hash` with these `algorithms`",
            )],
        ),
        (
            "SELECT path FROM hash AS h WHERE directory = '/opt' AND :value IN (h.sha256, h.sha1)",
            &["hash: path directory sha1 sha256"],
            HASH,
            &[&of_value(
                &format!(
                    "`sha1` of `hash` holds 40 hexadecimal digits in lower case; `sha256` of `hash` holds {digests}"
                ),
                "`hash` with these `algorithms`",
            )],
        ),
        (
            "SELECT data FROM registry WHERE key = :value",
            &["registry: key data"],
            TEXT,
            &[&of_value(
                &format!("`key` of `registry` holds {registry}"),
                "`registry_key`",
            )],
        ),
        (
            "SELECT pid FROM process_open_sockets WHERE remote_address = :value",
            &["process_open_sockets: pid remote_address"],
            "type: domain; example: example.com",
            &[&of_value(
                "`remote_address` of `process_open_sockets` holds addresses without mask, port and name",
                "`ip_address`",
            )],
        ),
        // What may be true.
        (
            "SELECT name FROM processes WHERE pid = :value",
            &["processes: pid name"],
            "type: pid; example: 1",
            &[],
        ),
        (
            "SELECT pid FROM processes WHERE name = :value OR pid = :value",
            &["processes: pid name"],
            TEXT,
            &[],
        ),
        (
            "SELECT pid FROM processes WHERE pid = :value OR lower(name) = :value",
            &["processes: pid name"],
            TEXT,
            &[],
        ),
        (
            "SELECT path FROM hash AS h WHERE directory = '/opt' AND :value IN (h.md5, h.sha1, h.sha256)",
            &["hash: path directory md5 sha1 sha256"],
            HASH,
            &[],
        ),
        (
            "SELECT path FROM hash WHERE directory = '/opt' AND (md5 = :value OR sha1 = :value OR sha256 = :value)",
            &["hash: path directory md5 sha1 sha256"],
            HASH,
            &[],
        ),
        (
            "SELECT path FROM hash WHERE directory = '/opt' AND sha256 = :value",
            &["hash: path directory sha256"],
            "type: hash; algorithms: [sha256]; example: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            &[],
        ),
        (
            "SELECT pid FROM process_open_sockets WHERE state NOT IN ('listen')",
            &["process_open_sockets: pid state"],
            "",
            &[],
        ),
        (
            "SELECT pid FROM processes WHERE name = 'HKLM' AND pid != 0",
            &["processes: pid name"],
            "",
            &[],
        ),
    ];
    for (sql, reads, lines, expected) in cases {
        let more = if lines.is_empty() {
            String::new()
        } else {
            parameter(lines)
        };
        let text = template(sql, reads, &more);
        for osquery in [Some(schema()), None] {
            let findings = check_file("one", &text, osquery.as_ref(), now());
            assert_eq!(said(&findings.problems), Vec::<String>::new(), "{sql}");
            assert_eq!(said(&findings.warnings), *expected, "{sql}");
            assert!(
                findings.warnings.iter().all(|warning| warning.at.is_some()),
                "{sql}"
            );
        }
    }
}
