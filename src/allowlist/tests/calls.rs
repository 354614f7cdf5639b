//! Calls of the five templates of the contract, word for word.

use serde_json::{Value, json};

use super::{bind, call, now, sql};
use crate::allowlist::Registry;
use crate::problem::Problem;

#[test]
fn the_five_templates_of_the_contract() {
    for (name, params, expected) in [
        (
            "running_processes",
            json!({}),
            "SELECT * FROM processes LIMIT 100",
        ),
        (
            "running_processes",
            json!({"limit": 5}),
            "SELECT * FROM processes LIMIT 5",
        ),
        (
            "running_processes",
            json!({"limit": "10000"}),
            "SELECT * FROM processes LIMIT 10000",
        ),
        (
            "active_connections",
            json!({}),
            "SELECT * FROM process_open_sockets WHERE state='ESTABLISHED'",
        ),
        (
            "logged_in_users",
            json!({}),
            "SELECT * FROM logged_in_users",
        ),
        (
            "recently_modified_files",
            json!({}),
            "SELECT * FROM file WHERE path LIKE '/tmp/%' AND mtime > 1794913600",
        ),
        (
            "recently_modified_files",
            json!({"since": "-1h"}),
            "SELECT * FROM file WHERE path LIKE '/tmp/%' AND mtime > 1794996400",
        ),
        (
            "recently_modified_files",
            json!({"since": 1_794_990_000}),
            "SELECT * FROM file WHERE path LIKE '/tmp/%' AND mtime > 1794990000",
        ),
        (
            "listening_ports",
            json!({}),
            "SELECT * FROM listening_ports",
        ),
    ] {
        assert_eq!(sql(name, &params).as_deref(), Ok(expected));
    }
}

#[test]
fn their_sql_is_the_contracts() {
    for (name, expected) in [
        ("running_processes", "SELECT * FROM processes LIMIT :limit"),
        (
            "active_connections",
            "SELECT * FROM process_open_sockets WHERE state='ESTABLISHED'",
        ),
        ("logged_in_users", "SELECT * FROM logged_in_users"),
        (
            "recently_modified_files",
            "SELECT * FROM file WHERE path LIKE '/tmp/%' AND mtime > :since",
        ),
        ("listening_ports", "SELECT * FROM listening_ports"),
    ] {
        let template = Registry::embedded().template(name).unwrap();
        assert_eq!(template.sql(), expected);
    }
}

#[test]
fn a_refused_limit_says_why_and_never_shows_the_value() {
    let limit = "parameter `limit` must be an integer from 1 to 10000";
    for (given, rule, ending) in [
        (json!(0), "parameter_range", ""),
        (json!(10_001), "parameter_range", ""),
        (json!(-1), "parameter_range", ""),
        (json!("10001"), "parameter_range", ""),
        (json!("99999999999999999999"), "parameter_range", ""),
        (json!(18_446_744_073_709_551_615_u64), "parameter_range", ""),
        (json!("007"), "parameter_type", ", without leading zeros"),
        (
            json!("1.5"),
            "parameter_type",
            ", without a fraction, exponent or sign",
        ),
        (
            json!("1e3"),
            "parameter_type",
            ", without a fraction, exponent or sign",
        ),
        (
            json!("+5"),
            "parameter_type",
            ", without a fraction, exponent or sign",
        ),
        (json!(" 5"), "parameter_type", ", not other text"),
        (json!("５"), "parameter_type", ", not other text"),
        (
            json!("5; DROP TABLE x"),
            "parameter_type",
            ", not other text",
        ),
        (
            json!("5 UNION SELECT 1"),
            "parameter_type",
            ", not other text",
        ),
        (json!("1 -- "), "parameter_type", ", not other text"),
        (
            json!("{{ alert.limit }}"),
            "parameter_type",
            ", not other text",
        ),
        (json!(""), "parameter_type", ", not other text"),
        (
            json!(1.0),
            "parameter_type",
            ", not a number with a fraction",
        ),
        (json!(true), "parameter_type", ", not true or false"),
        (json!(null), "parameter_type", ", not null"),
        (json!([5]), "parameter_type", ", not a list"),
        (json!({"a": 5}), "parameter_type", ", not a mapping"),
    ] {
        let error = bind("running_processes", &json!({"limit": given})).unwrap_err();
        let message = format!("{limit}{ending}");
        assert_eq!(error.to_string(), message);
        let path = "params.template_params.limit";
        assert_eq!(error.problems(), [Problem::new(path, rule, message)]);
    }
}

#[test]
fn all_problems_of_a_call_at_once() {
    let params = json!({"limt": 5, "limit": "many", "\u{1b}[2J": 1});
    let error = bind("running_processes", &params).unwrap_err();
    let problems = error.problems();
    let paths: Vec<String> = problems.iter().map(|one| one.path.to_string()).collect();
    let seen: Vec<(&str, &str, &str)> = problems
        .iter()
        .zip(&paths)
        .map(|(problem, path)| {
            (
                path.as_str(),
                problem.rule.as_str(),
                problem.message.as_str(),
            )
        })
        .collect();
    assert_eq!(
        seen,
        [
            (
                "params.template_params.limt",
                "unknown_parameter",
                "unknown parameter `limt` of template `running_processes`: did you mean `limit`?"
            ),
            (
                "params.template_params",
                "unknown_parameter",
                "unknown parameter of template `running_processes`, with a name that is no plain word: it takes `limit`"
            ),
            (
                "params.template_params.limit",
                "parameter_type",
                "parameter `limit` must be an integer from 1 to 10000, not other text"
            ),
        ]
    );
}

#[test]
fn a_template_without_parameters_says_so() {
    assert_eq!(
        sql("listening_ports", &json!({"port": 1})).unwrap_err(),
        "unknown parameter `port` of template `listening_ports`: it takes none"
    );
}

/// A registry of two, for messages that list all templates.
fn two() -> Registry {
    let text = |name: &str| {
        let all = Registry::embedded();
        let template = all.template(name).unwrap();
        format!(
            "name: {name}\nintent: Lists something for the tests of messages.\nsql: {}\nplatforms: [linux]\n\
             severity: info\ntables:\n  {}:\n    columns: [pid]\n",
            template.sql(),
            template.tables().keys().next().unwrap()
        )
    };
    Registry::new(["active_connections", "listening_ports"].map(|name| (name, text(name))))
}

#[test]
fn unknown_templates_are_named_with_the_nearest_and_all() {
    let message = |name: &str| {
        two()
            .bind(&call(name, &json!({})), now())
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        message("listening_port"),
        "unknown template `listening_port`: did you mean `listening_ports`? \
         The templates are `active_connections`, `listening_ports`"
    );
    assert_eq!(
        message("users"),
        "unknown template `users`; the templates are `active_connections`, `listening_ports`"
    );
    assert_eq!(
        message("SELECT 1"),
        "`template` must name a template; the templates are `active_connections`, `listening_ports`"
    );
    let error = two()
        .bind(&call("users", &json!({"x": 1})), now())
        .unwrap_err();
    let problem = &error.problems()[0];
    assert_eq!(
        (&*problem.path.to_string(), problem.rule.as_str()),
        ("params.template", "unknown_template")
    );
}

/// A registry of one template with the parameter's lines given.
fn with_parameter(sql: &str, parameter: &str) -> Registry {
    Registry::new([(
        "one",
        format!(
            "name: one\nintent: Tries a parameter of some type in tests.\nsql: {sql}\n\
             platforms: [linux, windows]\nseverity: info\ntables:\n  processes:\n    columns: [pid, name, path]\n\
             parameters:\n  value:\n    description: The value.\n{parameter}"
        ),
    )])
}

#[test]
fn texts_are_bound_as_they_are() {
    let registry = with_parameter(
        "SELECT pid, name, path FROM processes WHERE path = :value",
        "    type: path\n    example: /etc/passwd\n",
    );
    for (given, literal) in [
        ("/home/o'brien/x", "'/home/o''brien/x'"),
        ("/tmp/a;b -- c", "'/tmp/a;b -- c'"),
        ("/tmp/'||(SELECT 1)||'", "'/tmp/''||(SELECT 1)||'''"),
        ("/home/josé/docs", "'/home/josé/docs'"),
        ("/tmp/’ UNION SELECT 1", "'/tmp/’ UNION SELECT 1'"),
        (r"C:\Program Files (x86)", r"'C:\Program Files (x86)'"),
        ("/tmp/:value", "'/tmp/:value'"),
    ] {
        let statement = registry
            .bind(&call("one", &json!({"value": given})), now())
            .unwrap();
        assert_eq!(
            statement.sql(),
            format!("SELECT pid, name, path FROM processes WHERE path = {literal}")
        );
    }
    let missing = registry.bind(&call("one", &json!({})), now()).unwrap_err();
    assert_eq!(missing.problems()[0].rule, "missing_parameter");
    assert_eq!(
        missing.to_string(),
        r"template `one` needs the parameter `value`: an absolute path (`/etc/passwd`, `C:\Windows`)"
    );
}

#[test]
fn what_no_text_may_hold() {
    let registry = with_parameter(
        "SELECT pid, name, path FROM processes WHERE name = :value",
        "    type: text\n    maximum_length: 1000\n    example: bash\n",
    );
    let long = "a".repeat(5_000);
    for (given, why) in [
        (json!("a\0b"), "must not hold a NUL character"),
        (
            json!("a\nb"),
            "must not hold line breaks, tabs or other control characters",
        ),
        (
            json!("a\u{85}b"),
            "must not hold line breaks, tabs or other control characters",
        ),
        (
            json!("a\u{202e}b"),
            "must not hold invisible characters (zero-width, direction marks, damaged text)",
        ),
        (
            json!("a\u{fffd}b"),
            "must not hold invisible characters (zero-width, direction marks, damaged text)",
        ),
        (
            json!("{{ alert.name }}"),
            "must not hold an expression that was left unrendered",
        ),
        (
            json!("{% if x %}"),
            "must not hold an expression that was left unrendered",
        ),
        (
            json!("/var/Carves/x"),
            "must not hold the word `carves`: osctrl takes any SQL with that word for a file carve",
        ),
        (json!(""), "must be text of 1 to 1000 characters, not empty"),
        (
            json!("  "),
            "must be text of 1 to 1000 characters, not empty",
        ),
        (
            json!(long),
            "must be text of 1 to 1000 characters; this is too long",
        ),
        (
            json!("a".repeat(1_001)),
            "must be text of 1 to 1000 characters",
        ),
        (
            json!(5),
            "must be text of 1 to 1000 characters, not a number; put it in quotes where text is meant",
        ),
        (
            json!(["a"]),
            "must be text of 1 to 1000 characters, not a list",
        ),
        (
            json!({"a": "b"}),
            "must be text of 1 to 1000 characters, not a mapping",
        ),
        (
            json!(true),
            "must be text of 1 to 1000 characters, not true or false; put it in quotes where text is meant",
        ),
        (
            json!(null),
            "must be text of 1 to 1000 characters, not null",
        ),
    ] {
        let error = registry
            .bind(&call("one", &json!({"value": given})), now())
            .unwrap_err();
        assert_eq!(error.to_string(), format!("parameter `value` {why}"));
    }
    for given in [
        "'; DROP TABLE processes; --",
        "\" OR 1=1",
        "/* */",
        "a' OR 'a'='a",
        "‘’“”",
        "%_\\",
    ] {
        let statement = registry
            .bind(&call("one", &json!({"value": given})), now())
            .unwrap();
        let literal = given.replace('\'', "''");
        assert_eq!(
            statement.sql(),
            format!("SELECT pid, name, path FROM processes WHERE name = '{literal}'")
        );
    }
}

#[test]
fn booleans_and_choices() {
    let registry = with_parameter(
        "SELECT pid, name, path FROM processes WHERE pid = :value",
        "    type: boolean\n    default: false\n",
    );
    let bound = |registry: &Registry, given: Value| {
        registry
            .bind(&call("one", &json!({"value": given})), now())
            .map(|statement| {
                statement
                    .sql()
                    .rsplit(' ')
                    .next()
                    .unwrap_or_default()
                    .to_owned()
            })
            .map_err(|error| error.to_string())
    };
    assert_eq!(bound(&registry, json!(true)).as_deref(), Ok("1"));
    assert_eq!(bound(&registry, json!("false")).as_deref(), Ok("0"));
    for (given, why) in [
        (json!(1), "not a number"),
        (json!("1"), "not other text"),
        (json!("True"), "not other text"),
        (json!([]), "not a list"),
    ] {
        assert_eq!(
            bound(&registry, given),
            Err(format!("parameter `value` must be true or false, {why}"))
        );
    }
    let registry = with_parameter(
        "SELECT pid, name, path FROM processes WHERE name = :value",
        "    type: choice\n    choices: [tcp, udp]\n    default: tcp\n",
    );
    assert_eq!(bound(&registry, json!("udp")).as_deref(), Ok("'udp'"));
    assert_eq!(bound(&registry, json!("TCP")).as_deref(), Ok("'tcp'"));
    assert_eq!(
        bound(&registry, json!("icmp")),
        Err("parameter `value` must be one of `tcp`, `udp`".to_owned())
    );
}

#[test]
fn of_many_templates_only_those_alike_are_listed() {
    let many = Registry::embedded().names().count();
    let lists = format!("`osquery-live-query templates` lists all {many}");
    for (name, message) in [
        (
            "runing_processes",
            format!(
                "unknown template `runing_processes`: did you mean `running_processes`? {lists}"
            ),
        ),
        (
            "arp_table",
            format!("unknown template `arp_table`; like it are `arp_entries`; {lists}"),
        ),
        ("nonsense", format!("unknown template `nonsense`; {lists}")),
        ("", format!("`template` must name a template; {lists}")),
    ] {
        assert_eq!(sql(name, &json!({})), Err(message));
    }
}
