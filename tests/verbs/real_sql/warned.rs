//! SQL that is right for some hosts or values only: a warning says which.

use super::{Said, check, schema, template};

#[test]
fn tables_of_events_draw_a_warning() {
    let text = template(
        "SELECT pid, path FROM process_events",
        &["process_events: pid path"],
        "",
    );
    let expected = "event_table: `process_events` has rows only on hosts that collect these events: osquery needs \
                    `--disable_audit=false --audit_allow_config=true --audit_allow_process_events=true`";
    for schemas in [vec![schema()], Vec::new()] {
        let warned = Said {
            warnings: vec![expected.to_owned()],
            ..Said::default()
        };
        assert_eq!(check(std::slice::from_ref(&text), &schemas), [warned]);
    }
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
    let templates: Vec<String> = cases
        .iter()
        .map(|(sql, reads, lines, _)| {
            let more = match lines.is_empty() {
                true => String::new(),
                false => parameter(lines),
            };
            template(sql, reads, &more)
        })
        .collect();
    for schemas in [vec![schema()], Vec::new()] {
        for ((sql, .., expected), said) in cases.iter().zip(check(&templates, &schemas)) {
            assert_eq!(said.problems, Vec::<String>::new(), "{sql}");
            assert_eq!(said.warnings, *expected, "{sql}");
        }
    }
}
