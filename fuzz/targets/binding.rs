//! Any value for any parameter of any template: it is refused, or it becomes one statement that SQLite
//! reads as the template's own. The input is `PARAMETER NUMBER, VALUE AS JSON OR TEXT`.

#![no_main]

use std::time::{Duration, SystemTime};

use libfuzzer_sys::fuzz_target;
use osquery_live_query::inside::Registry;
use osquery_live_query::inside::TemplateCall;
use serde_json::{Map, Value};

fuzz_target!(|bytes: &[u8]| {
    let [which, rest @ ..] = bytes else { return };
    let Ok(text) = std::str::from_utf8(rest) else {
        return;
    };
    let registry = Registry::embedded();
    let takers: Vec<_> = registry
        .templates()
        .flat_map(|template| template.parameters().keys().map(move |name| (template, name)))
        .collect();
    let (template, attacked) = takers[usize::from(*which) % takers.len()];
    let value = serde_json::from_str(text).unwrap_or_else(|_| Value::from(text));
    let mut params = Map::new();
    for (name, parameter) in template.parameters() {
        let fitting = parameter.example.as_ref().or(parameter.default.as_ref());
        if name == attacked {
            params.insert(name.clone(), value.clone());
        } else if let Some(fitting) = fitting {
            params.insert(name.clone(), fitting.as_str().into());
        }
    }
    let call = TemplateCall {
        name: template.name().to_owned(),
        params,
    };
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_000_000);
    match registry.bind(&call, now) {
        Ok(statement) => {
            let sql = statement.sql();
            assert!(!sql.contains('\0') && !sql.to_ascii_lowercase().contains("carves"));
            // What is left when string literals are taken out is the template's own text and numbers.
            assert_eq!(bones(sql), bones_of_template(template.sql()));
        }
        Err(error) => {
            assert!(error.problems().iter().all(|problem| !problem.message.is_empty()));
        }
    }
});

/// The statement without literals and white space: quotes are doubled inside SQLite's literals.
fn bones(sql: &str) -> String {
    let mut out = String::new();
    let mut inside = false;
    for character in sql.chars() {
        match character {
            '\'' => inside = !inside,
            _ if inside => {}
            digit if digit.is_ascii_digit() || digit == '-' => {}
            other if other.is_whitespace() => {}
            other => out.push(other),
        }
    }
    out
}

/// The same of the template, its `:parameters` taken out.
fn bones_of_template(template: &str) -> String {
    let mut out = String::new();
    let mut inside = false;
    let mut characters = template.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\'' => inside = !inside,
            _ if inside => {}
            ':' => {
                while characters
                    .peek()
                    .is_some_and(|next| next.is_ascii_alphanumeric() || *next == '_')
                {
                    characters.next();
                }
            }
            digit if digit.is_ascii_digit() || digit == '-' => {}
            other if other.is_whitespace() => {}
            other => out.push(other),
        }
    }
    out
}
