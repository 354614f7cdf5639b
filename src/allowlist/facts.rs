//! What no schema file of osquery says of its tables and a query stands or falls by: which tables tell of
//! one user only, which take what comparison, which have rows only where events are collected. The sources
//! are osquery's table specifications (`specs/`), its virtual tables (`osquery/sql/virtual_table.cpp`) and
//! the flags that its event publishers declare; a test holds the lists to the schema file.

use super::host_table::{Comparison, Content, HostTable, Lookup};
use super::powers;
use super::template::Table;

/// Tables that osquery's daemon fills for its own user alone unless the column is compared (`user_data` in
/// the specification): as root that is root's history, root's keys.
const PER_USER: [(&str, &str); 15] = [
    ("authorized_keys", "uid"),
    ("browser_plugins", "uid"),
    ("chrome_extension_content_scripts", "uid"),
    ("chrome_extensions", "uid"),
    ("crashes", "uid"),
    ("firefox_addons", "uid"),
    ("jetbrains_plugins", "uid"),
    ("known_hosts", "uid"),
    ("preferences", "username"),
    ("recent_files", "uid"),
    ("safari_extensions", "uid"),
    ("shell_history", "uid"),
    ("ssh_configs", "uid"),
    ("user_ssh_keys", "uid"),
    ("vscode_extensions", "uid"),
];

/// Columns without which a table has no rows; one of a table's is enough, but for [`ALL_OF`].
const REQUIRED: [(&str, &[&str]); 28] = [
    ("authenticode", &["path"]),
    ("curl", &["url"]),
    ("curl_certificate", &["hostname"]),
    ("device_file", &["device", "partition"]),
    ("device_hash", &["device", "partition", "inode"]),
    ("device_partitions", &["device"]),
    ("docker_container_fs_changes", &["id"]),
    ("docker_container_processes", &["id"]),
    ("docker_container_stats", &["id"]),
    ("extended_attributes", &["path", "directory"]),
    ("file", &["path", "directory"]),
    ("hash", &["path", "directory"]),
    ("lxd_instance_config", &["name"]),
    ("lxd_instance_devices", &["name"]),
    ("magic", &["path"]),
    ("mdfind", &["query"]),
    ("mdls", &["path"]),
    ("ntfs_acl_permissions", &["path"]),
    ("package_bom", &["path"]),
    ("plist", &["path"]),
    ("process_open_handles", &["pid"]),
    ("signature", &["path"]),
    ("system_profiler", &["data_type"]),
    ("windows_eventlog", &["channel", "xpath"]),
    ("yara", &["path"]),
    ("yara_file", &["path"]),
    ("yara_process", &["pid"]),
    // An extension's.
    ("sntp_request", &["server"]),
];

/// Tables that go through every combination of their required columns, and so need all of them.
const ALL_OF: [&str; 2] = ["device_file", "device_hash"];

/// Columns by which tables are joined most, which are looked up rather than read through: without a schema
/// file the order of a join has to be guessed from these.
const LOOKED_UP: [(&str, &str); 3] = [("groups", "gid"), ("processes", "pid"), ("users", "uid")];

/// Columns that hold numbers in every table that has them.
const NUMBERS: [&str; 7] = [
    "atime",
    "ctime",
    "local_port",
    "mtime",
    "pid",
    "port",
    "remote_port",
];

/// Tables that have rows only where events are collected, and what has to be switched on for them.
const EVENTS: [(&str, &str); 22] = [
    (
        "apparmor_events",
        "`--disable_audit=false --audit_allow_config=true --audit_allow_apparmor_events=true`",
    ),
    ("bpf_process_events", "`--enable_bpf_events=true`"),
    ("bpf_socket_events", "`--enable_bpf_events=true`"),
    ("disk_events", "`--disable_events=false`"),
    ("dns_lookup_events", "`--enable_dns_lookup_events=true`"),
    (
        "es_process_events",
        "`--disable_endpointsecurity=false`, and full disk access for osquery",
    ),
    (
        "es_process_file_events",
        "`--disable_endpointsecurity=false --disable_endpointsecurity_fim=false`, and full disk access for osquery",
    ),
    (
        "file_events",
        "`--enable_file_events=true`, and `file_paths` in the configuration",
    ),
    ("hardware_events", "`--disable_events=false`"),
    (
        "ntfs_journal_events",
        "`--enable_ntfs_event_publisher=true`, and `file_paths` in the configuration",
    ),
    (
        "powershell_events",
        "`--enable_windows_events_publisher=true --enable_powershell_events_subscriber=true`, and script block logging in Windows",
    ),
    ("process_etw_events", "`--enable_process_etw_events=true`"),
    (
        "process_events",
        "`--disable_audit=false --audit_allow_config=true --audit_allow_process_events=true`",
    ),
    (
        "process_file_events",
        "`--disable_audit=false --audit_allow_config=true --audit_allow_fim_events=true`, and `file_paths` in the configuration",
    ),
    (
        "seccomp_events",
        "`--disable_audit=false --audit_allow_config=true --audit_allow_seccomp_events=true`",
    ),
    (
        "selinux_events",
        "`--disable_audit=false --audit_allow_config=true --audit_allow_selinux_events=true`",
    ),
    (
        "socket_events",
        "`--disable_audit=false --audit_allow_config=true --audit_allow_sockets=true`",
    ),
    (
        "syslog_events",
        "`--enable_syslog=true`, and rsyslog writing to osquery's pipe",
    ),
    (
        "user_events",
        "`--disable_audit=false --audit_allow_config=true --audit_allow_user_events=true`",
    ),
    (
        "user_interaction_events",
        "`--enable_keyboard_events=true --enable_mouse_events=true`",
    ),
    (
        "windows_events",
        "`--enable_windows_events_publisher=true --enable_windows_events_subscriber=true --windows_event_channels=…`",
    ),
    (
        "yara_events",
        "`--enable_yara_events=true`, and `yara` with `file_paths` in the configuration",
    ),
];

/// The column that has to be compared for the table to tell of more than osquery's own user.
pub(super) fn per_user(table: &str) -> Option<&'static str> {
    let found = PER_USER.iter().find(|(name, _)| *name == table);
    found.map(|(_, column)| *column)
}

/// Whether each of the table's required columns has to be compared, not just one.
pub(super) fn needs_all(table: &str) -> bool {
    ALL_OF.contains(&table)
}

/// What has to be switched on for an event table.
pub(super) fn events(table: &str) -> Option<&'static str> {
    let found = EVENTS.iter().find(|(name, _)| *name == table);
    found.map(|(_, flags)| *flags)
}

/// Whether a table that requires a column has rows for such a comparison of it: osquery lets any pass, but
/// tables look for equal values only, and those of files expand patterns.
pub(super) fn answers(table: &str, column: &str, comparison: Comparison) -> bool {
    match comparison {
        Comparison::Equal => true,
        Comparison::Like => matches!(column, "path" | "directory") || !powers::is_of_osquery(table),
        _ => false,
    }
}

/// The table as a host has it, as far as is known without a schema file.
pub(super) fn host_table(name: &str, declared: &Table) -> HostTable {
    let mut table = HostTable::declared(name, declared);
    let listed = REQUIRED.iter().find(|(known, _)| *known == name);
    let required = listed.map_or(&[][..], |(_, columns)| *columns);
    for column in required {
        table.require(column);
    }
    for column in &mut table.columns {
        if NUMBERS.contains(&column.name.as_str()) {
            column.content = Content::Numbers;
        }
        let known = (name, column.name.as_str());
        if column.lookup == Lookup::None
            && (PER_USER.contains(&known) || LOOKED_UP.contains(&known))
        {
            column.lookup = Lookup::Index;
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::Value;

    use super::{EVENTS, NUMBERS, PER_USER, REQUIRED};
    use crate::allowlist::tests::osquery_tables;

    #[test]
    fn the_lists_are_those_of_osquerys_schema() {
        let Some(tables) = osquery_tables() else {
            return;
        };
        let columns = |table: &Value, flag: &str| -> Vec<String> {
            let columns = table["columns"].as_array().unwrap().iter();
            let kept = columns.filter(|column| flag.is_empty() || column[flag] == true);
            kept.map(|column| column["name"].as_str().unwrap().to_owned())
                .collect()
        };
        let by_name: BTreeMap<&str, &Value> = tables
            .iter()
            .map(|table| (table["name"].as_str().unwrap(), table))
            .collect();
        for (name, table) in &by_name {
            let required = columns(table, "required");
            let listed = REQUIRED
                .iter()
                .find(|(known, _)| known == name)
                .map(|(_, columns)| columns.to_vec());
            assert_eq!(
                required,
                listed.unwrap_or_default(),
                "required columns of {name}"
            );
            for column in table["columns"].as_array().unwrap() {
                let is_number = NUMBERS.iter().any(|known| column["name"] == *known);
                assert!(!is_number || column["type"] != "text", "{name}: {column}");
            }
            let is_listed = EVENTS.iter().any(|(known, _)| known == name);
            assert_eq!(table["evented"] == true, is_listed, "the events of {name}");
        }
        for (name, column) in PER_USER {
            assert!(
                columns(by_name[name], "")
                    .iter()
                    .any(|known| known == column),
                "{name}.{column}"
            );
        }
    }
}
