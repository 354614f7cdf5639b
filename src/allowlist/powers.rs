//! What tables can do beyond telling of their host, and so which ones a policy denies unless it says
//! otherwise. The decisions stand in `powers.txt`, one for each table.

/// One decision a line: a table and its powers.
const DECISIONS: &str = include_str!("powers.txt");

/// Second names of tables, which no schema file lists: osquery makes them views of the first.
const ALIASES: [(&str, &str); 1] = [("yara", "yara_file")];

/// The tables among the decisions that are an extension's and not osquery's own.
const OF_EXTENSIONS: [&str; 5] = [
    "cli_command",
    "file_contents",
    "file_lines",
    "mdm_bridge",
    "sntp_request",
];

/// Something that reading a table does to its host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Power {
    /// The host sends requests to an address that the SQL names.
    Fetch,
    /// It reads what processes have in their memory.
    Memory,
    /// It reads raw disks, past the permissions of their files.
    Device,
    /// It takes files off the host, whatever they hold.
    Copy,
    /// It runs what the SQL names.
    Command,
}

impl Power {
    const ALL: [Self; 5] = [
        Self::Fetch,
        Self::Memory,
        Self::Device,
        Self::Copy,
        Self::Command,
    ];

    /// The word in `powers.txt`.
    fn word(self) -> &'static str {
        match self {
            Self::Fetch => "fetch",
            Self::Memory => "memory",
            Self::Device => "device",
            Self::Copy => "copy",
            Self::Command => "command",
        }
    }

    /// What it is, going on after "it ".
    pub fn deed(self) -> &'static str {
        match self {
            Self::Fetch => "makes hosts send requests to an address that the SQL names",
            Self::Memory => "reads the memory of processes",
            Self::Device => "reads raw disks, past the permissions of files",
            Self::Copy => "takes files off hosts, whatever they hold",
            Self::Command => "runs what the SQL names on hosts",
        }
    }
}

/// The table's own name, where this is a second one.
pub fn first_name(table: &str) -> &str {
    let alias = ALIASES.iter().find(|(alias, _)| *alias == table);
    alias.map_or(table, |(_, name)| name)
}

/// What the table can do; none where nothing has been decided about it, as of an extension's tables.
pub fn powers(table: &str) -> Option<Vec<Power>> {
    let table = first_name(table);
    decisions()
        .find(|(name, _)| *name == table)
        .map(|(_, powers)| powers.collect())
}

/// The tables that can do something, by all their names: what a policy denies by itself.
pub fn denied_by_default() -> Vec<String> {
    let able = decisions().filter_map(|(name, mut powers)| powers.next().map(|_| name));
    let mut names: Vec<&str> = able.collect();
    let second = ALIASES
        .iter()
        .filter(|(_, name)| names.contains(name))
        .map(|(alias, _)| *alias);
    let second: Vec<&str> = second.collect();
    names.extend(second);
    names.sort_unstable();
    names.into_iter().map(str::to_owned).collect()
}

/// Whether it is a table of osquery itself: of other tables nobody but their extension knows what they do.
pub(super) fn is_of_osquery(table: &str) -> bool {
    let table = first_name(table);
    !OF_EXTENSIONS.contains(&table) && decisions().any(|(name, _)| name == table)
}

fn decisions() -> impl Iterator<Item = (&'static str, impl Iterator<Item = Power>)> {
    DECISIONS.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let name = words.next().filter(|name| !name.starts_with('#'))?;
        let powers =
            words.filter_map(|word| Power::ALL.into_iter().find(|power| power.word() == word));
        Some((name, powers))
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{ALIASES, DECISIONS, OF_EXTENSIONS, Power, denied_by_default, first_name, powers};
    use crate::allowlist::tests::osquery_tables;

    #[test]
    fn every_line_is_a_decision() {
        let mut seen = BTreeSet::new();
        for line in DECISIONS
            .lines()
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
        {
            let words: Vec<&str> = line.split_whitespace().collect();
            let known = |word: &&str| Power::ALL.iter().any(|power| power.word() == *word);
            assert!(
                words.len() > 1 && (words[1..] == ["-"] || words[1..].iter().all(known)),
                "{line}: NAME and `-`, or NAME and powers"
            );
            assert!(seen.insert(words[0]), "{}: two lines", words[0]);
        }
        for name in OF_EXTENSIONS
            .iter()
            .chain(ALIASES.iter().map(|(_, name)| name))
        {
            assert!(seen.contains(name), "{name}");
        }
    }

    #[test]
    fn every_table_of_osquery_is_decided_upon() {
        let Some(tables) = osquery_tables() else {
            return;
        };
        let names = tables.iter().map(|table| table["name"].as_str().unwrap());
        let undecided: Vec<&str> = names.filter(|name| powers(name).is_none()).collect();
        assert!(
            undecided.is_empty(),
            "decide what these tables can do, in src/allowlist/powers.txt: {undecided:?}"
        );
        // A column that takes an address or a command is how a table gets such a power.
        let telling = [
            "url",
            "sigurl",
            "endpoint",
            "metadata_endpoint",
            "hostname_to_connect",
            "command",
            "carve",
        ];
        for table in &tables {
            let name = table["name"].as_str().unwrap();
            for column in table["columns"].as_array().unwrap() {
                let takes = column["required"] == true
                    || column["index"] == true
                    || column["hidden"] == true;
                let tells = telling.contains(&column["name"].as_str().unwrap());
                assert!(
                    !(takes && tells) || powers(name) != Some(Vec::new()),
                    "{name}: {column}"
                );
            }
        }
    }

    #[test]
    fn what_is_denied_by_itself() {
        assert_eq!(
            denied_by_default(),
            [
                "carves",
                "cli_command",
                "curl",
                "curl_certificate",
                "device_file",
                "device_hash",
                "device_partitions",
                "file_contents",
                "file_lines",
                "mdm_bridge",
                "sntp_request",
                "yara",
                "yara_file",
                "yara_process",
                "ycloud_instance_metadata",
            ]
        );
        assert_eq!(
            powers("yara_process"),
            Some(vec![Power::Fetch, Power::Memory])
        );
        assert_eq!(powers("yara"), powers("yara_file"));
        assert_eq!(powers("processes"), Some(Vec::new()));
        assert_eq!(powers("no_such_table"), None);
        assert_eq!(
            (first_name("yara"), first_name("users")),
            ("yara_file", "users")
        );
    }
}
