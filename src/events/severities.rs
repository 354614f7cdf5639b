//! How grave a row is: by the tables that it was read from.

use std::collections::BTreeMap;

use super::event::Tables;
use crate::severity::Severity;

/// Tables (osquery 5.23.1) whose rows are what persists or runs on a host without anybody asking for it.
const HIGH: &[&str] = &[
    "startup_items",
    "scheduled_tasks",
    "launchd",
    "launchd_overrides",
    "crontab",
    "systemd_units",
    "services",
    "drivers",
    "kernel_extensions",
    "kernel_modules",
    "system_extensions",
    "browser_extensions",
    "browser_plugins",
    "chrome_extensions",
    "firefox_addons",
    "ie_extensions",
    "safari_extensions",
    "autoexec",
    "appcompat_shims",
    "wmi_cli_event_consumers",
    "wmi_event_filters",
    "wmi_filter_consumer_binding",
    "wmi_script_event_consumers",
    "authorization_mechanisms",
    "authorized_keys",
    "sudoers",
];

/// Tables that are inventory: what a host is, and what is installed on it.
const INFO: &[&str] = &[
    "system_info",
    "os_version",
    "uptime",
    "osquery_info",
    "osquery_flags",
    "osquery_schedule",
    "osquery_packs",
    "osquery_extensions",
    "osquery_registry",
    "osquery_events",
    "kernel_info",
    "platform_info",
    "cpu_info",
    "cpuid",
    "chassis_info",
    "memory_info",
    "memory_devices",
    "smbios_tables",
    "acpi_tables",
    "battery",
    "disk_info",
    "video_info",
    "connected_displays",
    "interface_details",
    "interface_addresses",
    "time",
    "programs",
    "apps",
    "deb_packages",
    "rpm_packages",
    "homebrew_packages",
    "chocolatey_packages",
    "python_packages",
    "npm_packages",
    "patches",
    "package_receipts",
    "apt_sources",
    "yum_sources",
    "windows_update_history",
    "deb_package_files",
    "rpm_package_files",
];

/// The severity of rows by table, with the operator's own words over it.
#[derive(Debug, Clone, Default)]
pub struct Severities {
    overrides: BTreeMap<String, Severity>,
}

impl Severities {
    /// With these tables as the operator says; names in any case, as SQLite has them.
    pub fn with(overrides: impl IntoIterator<Item = (String, Severity)>) -> Self {
        let overrides = overrides.into_iter();
        Self {
            overrides: overrides
                .map(|(table, severity)| (table.to_ascii_lowercase(), severity))
                .collect(),
        }
    }

    /// Of a row of one table.
    pub fn of_table(&self, table: &str) -> Severity {
        let table = table.to_ascii_lowercase();
        if let Some(severity) = self.overrides.get(&table) {
            *severity
        } else if HIGH.contains(&table.as_str()) {
            Severity::High
        } else if INFO.contains(&table.as_str()) {
            Severity::Info
        } else {
            Severity::Medium
        }
    }

    /// Of a row that these tables were read for: the highest. Medium where nobody knows them, or where none is
    /// read.
    pub fn of(&self, tables: &Tables) -> Severity {
        let known = match tables {
            Tables::Known(tables) => tables.as_slice(),
            Tables::Unknown(_) => &[],
        };
        let severities = known.iter().map(|table| self.of_table(table));
        severities.max().unwrap_or(Severity::Medium)
    }
}
