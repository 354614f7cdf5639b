//! The osquery tables that every simulated host has without being told: osquery 5.23's columns (without
//! the hidden ones) and plausible rows. Cells may hold `{hostname}`, `{uuid}`, `{serial}` and `{n}`, which
//! are filled in per host once the statement has run.

use std::time::SystemTime;

use crate::clock;

/// A cell before SQLite has seen it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Cell {
    /// NULL.
    Null,
    /// A whole number.
    Integer(i64),
    /// A fraction.
    Real(f64),
    /// Text.
    Text(String),
}

impl From<i64> for Cell {
    fn from(value: i64) -> Self {
        Self::Integer(value)
    }
}

impl From<&str> for Cell {
    fn from(value: &str) -> Self {
        Self::Text(value.into())
    }
}

impl From<String> for Cell {
    fn from(value: String) -> Self {
        Self::Text(value)
    }
}

impl From<&serde_json::Value> for Cell {
    fn from(value: &serde_json::Value) -> Self {
        use serde_json::Value;
        match value {
            Value::Null => Self::Null,
            Value::Bool(value) => Self::Integer(i64::from(*value)),
            Value::Number(number) => number.as_i64().map_or_else(
                || Self::Real(number.as_f64().unwrap_or_default()),
                Self::Integer,
            ),
            Value::String(text) => Self::Text(text.clone()),
            Value::Array(_) | Value::Object(_) => Self::Null,
        }
    }
}

const PROCESSES: &[(&str, &str)] = &[
    ("pid", "BIGINT"),
    ("name", "TEXT"),
    ("path", "TEXT"),
    ("cmdline", "TEXT"),
    ("state", "TEXT"),
    ("cwd", "TEXT"),
    ("root", "TEXT"),
    ("uid", "BIGINT"),
    ("gid", "BIGINT"),
    ("euid", "BIGINT"),
    ("egid", "BIGINT"),
    ("suid", "BIGINT"),
    ("sgid", "BIGINT"),
    ("on_disk", "INTEGER"),
    ("wired_size", "BIGINT"),
    ("resident_size", "BIGINT"),
    ("total_size", "BIGINT"),
    ("user_time", "BIGINT"),
    ("system_time", "BIGINT"),
    ("disk_bytes_read", "BIGINT"),
    ("disk_bytes_written", "BIGINT"),
    ("start_time", "BIGINT"),
    ("parent", "BIGINT"),
    ("pgroup", "BIGINT"),
    ("threads", "INTEGER"),
    ("nice", "INTEGER"),
    ("cgroup_path", "TEXT"),
];

const PROCESS_OPEN_SOCKETS: &[(&str, &str)] = &[
    ("pid", "INTEGER"),
    ("fd", "BIGINT"),
    ("socket", "BIGINT"),
    ("family", "INTEGER"),
    ("protocol", "INTEGER"),
    ("local_address", "TEXT"),
    ("remote_address", "TEXT"),
    ("local_port", "INTEGER"),
    ("remote_port", "INTEGER"),
    ("path", "TEXT"),
    ("state", "TEXT"),
    ("net_namespace", "TEXT"),
];

const LOGGED_IN_USERS: &[(&str, &str)] = &[
    ("type", "TEXT"),
    ("user", "TEXT"),
    ("tty", "TEXT"),
    ("host", "TEXT"),
    ("time", "BIGINT"),
    ("pid", "INTEGER"),
];

const FILE: &[(&str, &str)] = &[
    ("path", "TEXT"),
    ("directory", "TEXT"),
    ("filename", "TEXT"),
    ("inode", "BIGINT"),
    ("uid", "BIGINT"),
    ("gid", "BIGINT"),
    ("mode", "TEXT"),
    ("device", "BIGINT"),
    ("size", "BIGINT"),
    ("block_size", "INTEGER"),
    ("atime", "BIGINT"),
    ("mtime", "BIGINT"),
    ("ctime", "BIGINT"),
    ("btime", "BIGINT"),
    ("hard_links", "INTEGER"),
    ("symlink", "INTEGER"),
    ("type", "TEXT"),
    ("symlink_target_path", "TEXT"),
];

const LISTENING_PORTS: &[(&str, &str)] = &[
    ("pid", "INTEGER"),
    ("port", "INTEGER"),
    ("protocol", "INTEGER"),
    ("family", "INTEGER"),
    ("address", "TEXT"),
    ("fd", "BIGINT"),
    ("socket", "BIGINT"),
    ("path", "TEXT"),
    ("net_namespace", "TEXT"),
];

const SYSTEM_INFO: &[(&str, &str)] = &[
    ("hostname", "TEXT"),
    ("uuid", "TEXT"),
    ("cpu_type", "TEXT"),
    ("cpu_subtype", "TEXT"),
    ("cpu_brand", "TEXT"),
    ("cpu_physical_cores", "INTEGER"),
    ("cpu_logical_cores", "INTEGER"),
    ("cpu_sockets", "INTEGER"),
    ("cpu_microcode", "TEXT"),
    ("physical_memory", "BIGINT"),
    ("hardware_vendor", "TEXT"),
    ("hardware_model", "TEXT"),
    ("hardware_version", "TEXT"),
    ("hardware_serial", "TEXT"),
    ("board_vendor", "TEXT"),
    ("board_model", "TEXT"),
    ("board_version", "TEXT"),
    ("board_serial", "TEXT"),
    ("computer_name", "TEXT"),
    ("local_hostname", "TEXT"),
];

const TABLES: &[(&str, &[(&str, &str)])] = &[
    ("file", FILE),
    ("listening_ports", LISTENING_PORTS),
    ("logged_in_users", LOGGED_IN_USERS),
    ("process_open_sockets", PROCESS_OPEN_SOCKETS),
    ("processes", PROCESSES),
    ("system_info", SYSTEM_INFO),
];

/// How many rows a built-in table has when nobody says otherwise.
const USUAL_ROWS: usize = 5;

/// The built-in tables.
pub(crate) fn names() -> Vec<&'static str> {
    TABLES.iter().map(|(name, _)| *name).collect()
}

/// A built-in table's columns with their SQLite types.
pub(crate) fn typed_columns(table: &str) -> Option<&'static [(&'static str, &'static str)]> {
    TABLES
        .iter()
        .find(|(name, _)| *name == table)
        .map(|(_, columns)| *columns)
}

/// A built-in table's columns.
pub(crate) fn columns(table: &str) -> Option<Vec<&'static str>> {
    Some(
        typed_columns(table)?
            .iter()
            .map(|(name, _)| *name)
            .collect(),
    )
}

/// Rows of a built-in table, in its columns' order; `None` for `count` means as many as are usual.
pub(crate) fn rows(table: &str, count: Option<usize>, now: SystemTime) -> Vec<Vec<Cell>> {
    let now = clock::unix(now);
    let usual = match table {
        "system_info" => 1,
        "logged_in_users" => 2,
        _ => USUAL_ROWS,
    };
    (0..count.unwrap_or(usual))
        .map(|index| {
            let number = i64::try_from(index).unwrap_or(i64::MAX / 1_000);
            match table {
                "processes" => process(number, now),
                "process_open_sockets" => socket(number),
                "logged_in_users" => login(number, now),
                "file" => file(number, now),
                "listening_ports" => port(number),
                _ => system_info(),
            }
        })
        .collect()
}

const PROGRAMS: [(&str, &str, &str); 5] = [
    ("systemd", "/usr/lib/systemd/systemd", "/sbin/init splash"),
    (
        "sshd",
        "/usr/sbin/sshd",
        "sshd: /usr/sbin/sshd -D [listener]",
    ),
    ("bash", "/usr/bin/bash", "-bash"),
    (
        "osqueryd",
        "/opt/osquery/bin/osqueryd",
        "osqueryd --host_identifier={hostname}",
    ),
    (
        "python3",
        "/usr/bin/python3.12",
        "python3 -c \"print('a <b> & c')\"",
    ),
];

fn process(number: i64, now: i64) -> Vec<Cell> {
    let (name, path, cmdline) = usize::try_from(number)
        .ok()
        .and_then(|index| PROGRAMS.get(index))
        .map_or_else(
            || {
                (
                    format!("worker-{number}"),
                    "/opt/app/bin/worker".to_owned(),
                    format!("/opt/app/bin/worker --number {number} --host {{hostname}}"),
                )
            },
            |(name, path, cmdline)| ((*name).into(), (*path).into(), (*cmdline).into()),
        );
    let uid: i64 = if number < 2 { 0 } else { 1_000 };
    vec![
        (if number == 0 { 1 } else { 1_000 + number * 7 }).into(),
        name.into(),
        path.into(),
        cmdline.into(),
        "S".into(),
        "/".into(),
        "/".into(),
        uid.into(),
        uid.into(),
        uid.into(),
        uid.into(),
        uid.into(),
        uid.into(),
        1.into(),
        0.into(),
        (8_192_000 + number * 4_096).into(),
        (170_000_000 + number * 4_096).into(),
        (120 + number).into(),
        (40 + number).into(),
        (number * 4_096).into(),
        (number * 512).into(),
        (now - 86_400 + number).into(),
        i64::from(number != 0).into(),
        (if number == 0 { 1 } else { 1_000 + number * 7 }).into(),
        (1 + number % 4).into(),
        0.into(),
        "/system.slice".into(),
    ]
}

fn socket(number: i64) -> Vec<Cell> {
    // Every fifth socket listens, so that a filter on the state has something to leave out.
    let listening = number % 5 == 4;
    vec![
        (1_000 + number * 7).into(),
        (3 + number % 60).into(),
        (40_000 + number).into(),
        2.into(),
        6.into(),
        "10.0.0.5".into(),
        if listening {
            "0.0.0.0".into()
        } else {
            format!("203.0.113.{}", 1 + number % 250).into()
        },
        (if listening {
            22
        } else {
            40_000 + number % 20_000
        })
        .into(),
        (if listening { 0 } else { 443 }).into(),
        "".into(),
        (if listening { "LISTEN" } else { "ESTABLISHED" }).into(),
        "4026531840".into(),
    ]
}

fn login(number: i64, now: i64) -> Vec<Cell> {
    vec![
        "user".into(),
        (if number == 0 {
            "root".to_owned()
        } else {
            format!("user{number}")
        })
        .into(),
        format!("pts/{number}").into(),
        format!("10.0.0.{}", 20 + number % 200).into(),
        (now - 3_600 - number * 60).into(),
        (2_000 + number).into(),
    ]
}

fn file(number: i64, now: i64) -> Vec<Cell> {
    // Two of five files are older than a day: what a query for recent ones leaves out.
    let age = if number % 5 < 3 {
        600 + number * 60
    } else {
        200_000 + number * 60
    };
    let changed = now - age;
    let filename = format!("upload-{number}.bin");
    vec![
        format!("/tmp/{filename}").into(),
        "/tmp".into(),
        filename.into(),
        (500_000 + number).into(),
        1_000.into(),
        1_000.into(),
        "0644".into(),
        2_049.into(),
        (1_024 + number * 100).into(),
        4_096.into(),
        changed.into(),
        changed.into(),
        changed.into(),
        changed.into(),
        1.into(),
        0.into(),
        "regular".into(),
        "".into(),
    ]
}

fn port(number: i64) -> Vec<Cell> {
    let ports = [22, 53, 443, 5_432, 8_080];
    let port = usize::try_from(number)
        .ok()
        .and_then(|index| ports.get(index).copied())
        .unwrap_or(10_000 + number % 50_000);
    vec![
        (1_000 + number * 7).into(),
        port.into(),
        (if port == 53 { 17 } else { 6 }).into(),
        2.into(),
        (if number % 2 == 0 {
            "0.0.0.0"
        } else {
            "127.0.0.1"
        })
        .into(),
        (3 + number % 60).into(),
        (50_000 + number).into(),
        "".into(),
        "4026531840".into(),
    ]
}

fn system_info() -> Vec<Cell> {
    vec![
        "{hostname}".into(),
        "{uuid}".into(),
        "x86_64".into(),
        "".into(),
        "AMD EPYC".into(),
        2.into(),
        2.into(),
        1.into(),
        "".into(),
        4_125_065_216.into(),
        "QEMU".into(),
        "pc".into(),
        "1".into(),
        "{serial}".into(),
        "".into(),
        "".into(),
        "".into(),
        "".into(),
        "{hostname}".into(),
        "{hostname}".into(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_generated_row_has_a_cell_for_each_column() {
        for name in names() {
            let columns = columns(name).expect("a built-in table");
            for row in rows(name, Some(12), SystemTime::now()) {
                assert_eq!(row.len(), columns.len(), "{name}");
            }
        }
    }
}
