//! Whatever value a step gives: it is refused, or the statement is the template's with another literal.
//! Shown with SQLite as the judge: the program it compiles for the bound text is, apart from the
//! literals, the one it compiles for the template's own example.

use std::collections::BTreeMap;

use proptest::prelude::*;
use rusqlite::Connection;
use serde_json::{Map, Value, json};

use super::{call, now};
use crate::allowlist::{Registry, Template};

/// Values that a step can give: numbers, hostile fragments, and any text at all.
pub(super) fn any_value() -> impl Strategy<Value = Value> {
    let fragments = prop::sample::select(vec![
        "'",
        "\"",
        "`",
        ";",
        "--",
        "/*",
        "*/",
        "\\",
        "%",
        "_",
        "?",
        ":limit",
        "@a",
        "$a",
        "(",
        ")",
        "||",
        " UNION SELECT ",
        " OR 1=1 ",
        "DROP TABLE processes",
        "\0",
        "\n",
        "\r",
        "\u{2019}",
        "\u{ff07}",
        "\u{202e}",
        "x'41'",
        "0x10",
        "-24h",
        "/tmp/",
        "C:\\",
        "\\\\server\\share\\",
        "abc",
        "1",
        "é",
        " ",
        "{{",
        "}}",
        "HKEY_LOCAL_MACHINE\\",
        "carves",
        "a.b",
        "::1",
        "NULL",
        "e5",
    ]);
    prop_oneof![
        any::<i64>().prop_map(|number| json!(number)),
        (0_i64..70_000).prop_map(|number| json!(number)),
        (1_i64..10_000).prop_map(|number| json!(number.to_string())),
        "-[0-9]{1,3}[smhd]".prop_map(|text| json!(text)),
        any::<f64>().prop_map(|number| json!(number)),
        any::<bool>().prop_map(|on| json!(on)),
        any::<String>().prop_map(|text| json!(text)),
        "[ -~]{0,40}".prop_map(|text| json!(text)),
        "[a-z0-9._/-]{1,20}".prop_map(|text| json!(text)),
        "/[a-z0-9 ._'\";()-]{1,20}/[a-z%'_]{1,9}".prop_map(|text| json!(text)),
        "[0-9a-fA-F]{64}".prop_map(|text| json!(text)),
        prop::collection::vec(fragments, 0..6).prop_map(|parts| json!(parts.concat())),
        Just(json!(["a"])),
        Just(json!({"a": 1})),
        Just(Value::Null),
    ]
}

/// The tables of a template on a plain connection, without the check's own safeguards.
fn plain_tables(template: &Template) -> Connection {
    let connection = Connection::open_in_memory().unwrap();
    for (name, table) in template.tables() {
        let columns: Vec<String> = table
            .all_columns()
            .map(|one| format!("\"{one}\""))
            .collect();
        connection
            .execute_batch(&format!(
                "CREATE TEMP TABLE \"{name}\" ({})",
                columns.join(", ")
            ))
            .unwrap();
    }
    for name in template.functions() {
        let flags = rusqlite::functions::FunctionFlags::SQLITE_UTF8;
        connection
            .create_scalar_function(name.as_str(), -1, flags, |_| Ok(rusqlite::types::Null))
            .unwrap();
    }
    for name in template.collations() {
        connection
            .create_collation(name.as_str(), |left, right| left.cmp(right))
            .unwrap();
    }
    connection
}

/// SQLite's program for the SQL, as opcodes; the opcodes of literals count as one.
fn program(connection: &Connection, sql: &str) -> Vec<String> {
    let mut statement = connection.prepare(&format!("EXPLAIN {sql}")).unwrap();
    let opcodes = statement
        .query_map([], |row| row.get::<_, String>(1))
        .unwrap();
    opcodes
        .map(|opcode| match opcode.unwrap().as_str() {
            "Integer" | "Int64" | "String" | "String8" => "Literal".to_owned(),
            other => other.to_owned(),
        })
        .collect()
}

pub(super) fn examples(template: &Template) -> Map<String, Value> {
    template
        .parameters()
        .iter()
        .filter_map(|(name, parameter)| {
            let text = parameter.example.as_ref().or(parameter.default.as_ref())?;
            Some((name.clone(), json!(text)))
        })
        .collect()
}

/// A template with a parameter, its name, and what its examples compile to.
struct Subject {
    template: &'static Template,
    parameter: &'static str,
    connection: Connection,
    program: Vec<String>,
}

fn subjects() -> Vec<Subject> {
    let mut subjects = Vec::new();
    for template in Registry::embedded().templates() {
        for parameter in template.parameters().keys() {
            let connection = plain_tables(template);
            let call = call(template.name(), &Value::Object(examples(template)));
            let statement = Registry::embedded().bind(&call, now()).unwrap();
            let program = program(&connection, statement.sql());
            subjects.push(Subject {
                template,
                parameter,
                connection,
                program,
            });
        }
    }
    subjects
}

#[test]
fn values_are_refused_or_leave_the_statement_as_it_is() {
    let subjects = subjects();
    let mut outcomes: BTreeMap<bool, usize> = BTreeMap::new();
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases: 256,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let given = (
        any::<prop::sample::Index>(),
        prop::collection::vec(any_value(), 4),
    );
    let seen = std::cell::RefCell::new(&mut outcomes);
    runner
        .run(&given, |(index, values)| {
            let subject = &subjects[index.index(subjects.len())];
            for value in values {
                let mut params = examples(subject.template);
                params.insert(subject.parameter.to_owned(), value.clone());
                let call = call(subject.template.name(), &Value::Object(params));
                let bound = Registry::embedded().bind(&call, now());
                *seen.borrow_mut().entry(bound.is_ok()).or_default() += 1;
                match bound {
                    Ok(statement) => {
                        prop_assert_eq!(
                            &program(&subject.connection, statement.sql()),
                            &subject.program
                        );
                        prop_assert!(!statement.sql().contains('\0'));
                    }
                    Err(error) => {
                        // Refused for this parameter, and the message does not repeat the value.
                        let expected = format!("params.template_params.{}", subject.parameter);
                        for problem in error.problems() {
                            prop_assert_eq!(&problem.path.to_string(), &expected);
                            prop_assert!(
                                problem.rule.starts_with("parameter_"),
                                "{}",
                                problem.rule
                            );
                        }
                        if let Some(text) = value.as_str().filter(|text| text.len() > 24) {
                            prop_assert!(!error.to_string().contains(text));
                        }
                    }
                }
            }
            Ok(())
        })
        .unwrap();
    assert!(
        outcomes.values().all(|count| *count > 20),
        "both happen: {outcomes:?}"
    );
}

/// A template whose parameter takes any printable text, for the binding by itself.
fn free_text() -> Registry {
    Registry::new([(
        "free",
        "name: free\nintent: Tries free text in a comparison, for tests.\n\
         sql: SELECT pid, name FROM processes WHERE name = :text OR name LIKE :like\nplatforms: [linux]\n\
         severity: info\ntables:\n  processes:\n    columns: [pid, name]\nparameters:\n  text:\n    \
         type: text\n    description: Any text.\n    maximum_length: 1024\n    example: a\n  like:\n    \
         type: pattern\n    description: A pattern.\n    default: abc%\n",
    )])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn free_text_reads_back_as_itself(text in any::<String>(), hostile in "['\";:?%_\\\\ -~é]{1,60}") {
        let registry = free_text();
        let template = registry.template("free").unwrap();
        let connection = plain_tables(template);
        for text in [text, hostile] {
            let Ok(statement) = registry.bind(&call("free", &json!({"text": text})), now()) else {
                continue;
            };
            connection
                .execute("INSERT INTO processes VALUES (1, ?1), (2, ?1 || 'x')", [&text])
                .unwrap();
            let mut rows = connection.prepare(statement.sql()).unwrap();
            let mut found: Vec<String> =
                rows.query_map([], |row| row.get(1)).unwrap().map(Result::unwrap).collect();
            found.retain(|name| !name.starts_with("abc"));
            if !text.starts_with("abc") {
                prop_assert_eq!(found, std::slice::from_ref(&text));
            }
            connection.execute("DELETE FROM processes", []).unwrap();
        }
    }

    #[test]
    fn integers_are_in_range_or_refused(number in any::<i64>()) {
        for given in [json!(number), json!(number.to_string())] {
            let bound = super::bind("running_processes", &json!({"limit": given}));
            prop_assert_eq!(bound.is_ok(), (1..=10_000).contains(&number));
        }
    }

    #[test]
    fn a_path_that_is_taken_leads_nowhere_else(text in "(/|C:\\\\|\\\\\\\\)?[a-z./\\\\%*?~ ]{0,30}") {
        use crate::allowlist::kind::Systems;
        use crate::allowlist::path;
        let systems = Systems { unix: true, windows: true };
        if let Ok(path) = path::path(&text, systems) {
            prop_assert!(!path.contains(['%', '*', '?']));
            prop_assert!(path.starts_with(['/', '\\']) || path.as_bytes()[1] == b':');
            prop_assert!(path.split(['/', '\\']).all(|part| part != ".."));
            // What is taken is in its form already.
            prop_assert_eq!(path::path(&path, systems), Ok(path));
        }
        if let Ok(pattern) = path::pattern(&text, systems, 3) {
            prop_assert!(!pattern.contains("%%") && !pattern.contains(['*', '?', '~']));
            prop_assert!(pattern.split(['/', '\\']).all(|part| part != ".."));
            prop_assert!(pattern.find('%').is_none_or(|at| at > 2));
            prop_assert_eq!(path::pattern(&pattern, systems, 3), Ok(pattern));
        }
    }

    #[test]
    fn any_file_is_a_template_or_an_error(at in any::<prop::sample::Index>(), put in "[ -~\n]{0,12}", cut in 0_usize..9) {
        let (name, text) = &crate::allowlist::embedded::TEMPLATES[at.index(crate::allowlist::embedded::TEMPLATES.len())];
        let from = at.index(text.len());
        let from = (from..text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        let to = (from + cut..text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
        let changed = format!("{}{put}{}", &text[..from], &text[to.max(from)..]);
        let registry = Registry::new([(*name, changed)]);
        if let Err(errors) = registry.check_all(now()) {
            prop_assert!(!errors[0].problems.is_empty());
            prop_assert!(errors[0].to_string().len() < 4_000);
        }
    }
}
