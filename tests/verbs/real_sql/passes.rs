//! Right SQL, one shape a case.

use super::{Said, all_pass, check, schema, template};

const OF_PATTERN: &str = "parameters:\n  pattern:\n    type: path_pattern\n    description: Which files.\n    example: /opt/x/%\n";
const OF_PID: &str =
    "parameters:\n  pid:\n    type: pid\n    description: Which process.\n    example: 1\n";

#[test]
fn what_hosts_run_well_passes() {
    all_pass(&[
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
    ]);
}

#[test]
fn as_many_conditions_as_osquery_takes_pass() {
    let conditions = vec!["name NOT LIKE 'kworker%'"; 300].join(" AND ");
    let sql = format!("SELECT pid FROM processes WHERE {conditions}");
    let templates = [template(&sql, &["processes: pid name"], "")];
    for schemas in [vec![schema()], Vec::new()] {
        assert_eq!(check(&templates, &schemas), [Said::default()]);
    }
}
