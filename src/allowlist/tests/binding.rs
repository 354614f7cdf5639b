//! The safeguards behind the types: what they refuse if a value that no type takes came so far.

use std::collections::BTreeMap;

use crate::allowlist::check;
use crate::allowlist::parameter::Bound;
use crate::allowlist::sandbox::Sandbox;
use crate::allowlist::{bind, load};
use crate::known_servers::Proof;

const TEMPLATE: &str = "name: one\nintent: Tries the binding by itself, past the types.\n\
    sql: SELECT pid FROM processes WHERE :value AND name = 'x'\nplatforms: [linux]\nseverity: info\n\
    tables:\n  processes:\n    columns: [pid, name]\nparameters:\n  value:\n    type: text\n    \
    description: Any.\n    maximum_length: 9\n    example: a\n";

/// The SQL, or which safeguard refused.
fn bound(value: Bound) -> Result<String, String> {
    let template = load::load("one", TEMPLATE, super::NOW).unwrap();
    let sandbox = Sandbox::open(&template).unwrap();
    let shape = check::check(&template, &sandbox).unwrap();
    let values = BTreeMap::from([("value", value)]);
    bind::bind(&template, &sandbox, &shape, &values, Proof::Itself)
        .map(|statement| statement.sql().to_owned())
}

#[test]
fn values_that_are_harmless_pass() {
    assert_eq!(
        bound(Bound::Text("it's".into())).as_deref(),
        Ok("SELECT pid FROM processes WHERE 'it''s' AND name = 'x'")
    );
    assert_eq!(
        bound(Bound::Integer(i64::MIN)).as_deref(),
        Ok("SELECT pid FROM processes WHERE -9223372036854775808 AND name = 'x'")
    );
}

#[test]
fn each_safeguard_refuses() {
    // SQLite's expansion ends a text at NUL.
    assert_eq!(
        bound(Bound::Text("a\0b".into())),
        Err("the value of `value` does not survive being written as SQL".into())
    );
    assert_eq!(
        bound(Bound::Text("x carVES y".into())),
        Err("the SQL would hold the word `carves`".into())
    );
    assert_eq!(
        bound(Bound::Text("a".repeat(65_500))),
        Err("the SQL would be longer than 65536 bytes".into())
    );
    // `0 AND …` is folded by the parser: the statement would no longer read what the template says.
    assert_eq!(
        bound(Bound::Integer(0)),
        Err("the values change what the statement does".into())
    );
}

#[test]
fn parameters_without_a_value_are_seen() {
    let template = load::load("one", TEMPLATE, super::NOW).unwrap();
    let sandbox = Sandbox::open(&template).unwrap();
    let shape = check::check(&template, &sandbox).unwrap();
    let other = BTreeMap::from([("other", Bound::Integer(1))]);
    assert_eq!(
        bind::bind(&template, &sandbox, &shape, &other, Proof::Itself)
            .map(|statement| statement.sql().to_owned()),
        Err("the SQL has no parameter `:other`".into())
    );
}
