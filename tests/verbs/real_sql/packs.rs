//! Right SQL in the shapes of detection packs: several common tables, outer joins, exceptions, text that is
//! made of columns.

use super::all_pass;

#[test]
fn what_detection_packs_ask_passes() {
    all_pass(&[
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
    ]);
}
