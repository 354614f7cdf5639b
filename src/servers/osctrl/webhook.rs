//! What osctrl's alerts post, from 0.5.7 on (wire notes, Automations).

use serde_json::{Value, json};

use crate::servers::alerts::{Alert, Concerned, Posted, Shape};
use crate::servers::part::{Part, Wrong};
use crate::severity::Severity;

/// The one document, by what tells it.
pub(in crate::servers) static SHAPES: [Shape; 1] = [Shape {
    what: "osctrl's alert",
    told_by: &[&["rule"], &["environment"], &["node"]],
    read: alert,
}];

fn alert(document: &Part<'_>) -> Result<Posted, Wrong> {
    let rule = document.text(&["rule"])?.unwrap_or_default();
    let node = document.text(&["node"])?;
    let environment = document.text(&["environment"])?;
    let entity = document.text(&["entity"])?;
    // A number there, a text where a proxy has made one of it.
    let rule_id = match document.text(&["rule_id"]) {
        Ok(text) => text.map(Value::from),
        Err(_) => document.number(&["rule_id"])?.map(Value::from),
    };
    let mut hosts = Concerned::default();
    hosts.add(node, None, None);
    let matter = json!([rule_id, rule, environment, node, entity]);
    let told = [
        ("name", Some(rule.into())),
        ("id", rule_id),
        ("environment", environment.map(Value::from)),
        ("entity", entity.map(Value::from)),
        ("detail", document.text(&["detail"])?.map(Value::from)),
    ];
    let told = told.into_iter();
    let told = told.filter_map(|(key, value)| Some((key.to_owned(), value?)));
    Ok(Posted::Alert(Box::new(Alert {
        source: "osctrl",
        kind: "osctrl_alert",
        severity: Severity::Medium,
        title: match entity {
            Some(entity) => format!("{rule}: {entity}"),
            None => rule.to_owned(),
        },
        time: document.text(&["timestamp"])?.map(str::to_owned),
        hosts,
        more: vec![("rule", Value::Object(told.collect()))],
        matter,
    })))
}
