//! A template as the program holds it: SQL with named parameters and everything that is said about it.
//! Made by `load` only; knows nothing of YAML or of SQLite.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::campaign::host::Platform;

use super::parameter::Parameter;
use crate::severity::Severity;

/// One allowlisted query.
#[derive(Debug, Clone)]
pub struct Template {
    pub(super) name: String,
    pub(super) intent: String,
    pub(super) sql: String,
    pub(super) tables: BTreeMap<String, Table>,
    pub(super) platforms: Vec<Platform>,
    pub(super) tags: Vec<String>,
    pub(super) severity: Severity,
    pub(super) limits: Option<Vec<String>>,
    pub(super) functions: Vec<String>,
    pub(super) collations: Vec<String>,
    pub(super) recursive: bool,
    pub(super) parameters: BTreeMap<String, Parameter>,
}

/// What a template reads of an osquery table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Columns that the SQL names, or that `SELECT *` brings on every platform of the template.
    pub columns: Vec<String>,
    /// Columns that the SQL names and that osquery leaves out of `SELECT *`.
    pub hidden: Vec<String>,
}

impl Table {
    /// Every column that the SQL may name.
    pub fn all_columns(&self) -> impl Iterator<Item = &str> {
        self.columns.iter().chain(&self.hidden).map(String::as_str)
    }
}

impl Template {
    /// What steps call it by; also the name of its file.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it is for, in a sentence or two.
    pub fn intent(&self) -> &str {
        &self.intent
    }

    /// The SQL with `:parameters`.
    pub fn sql(&self) -> &str {
        &self.sql
    }

    /// The osquery tables it reads, by name.
    pub fn tables(&self) -> &BTreeMap<String, Table> {
        &self.tables
    }

    /// The platforms on which all its tables and columns exist.
    pub fn platforms(&self) -> &[Platform] {
        &self.platforms
    }

    /// Words to find it by: ATT&CK technique ids and topics.
    pub fn tags(&self) -> &[String] {
        &self.tags
    }

    /// How grave its rows are.
    pub fn severity(&self) -> Severity {
        self.severity
    }

    /// What an answer without rows does not prove, a sentence each; an empty list where it proves that there
    /// is nothing. `None` where the template's author does not say.
    pub fn limits(&self) -> Option<&[String]> {
        self.limits.as_deref()
    }

    /// The functions of osquery (beyond SQLite's own) that it calls.
    pub fn functions(&self) -> &[String] {
        &self.functions
    }

    /// The collations of osquery that it names.
    pub fn collations(&self) -> &[String] {
        &self.collations
    }

    /// Its parameters, by name.
    pub fn parameters(&self) -> &BTreeMap<String, Parameter> {
        &self.parameters
    }

    /// The template for machines: what `templates --format json` and `describe` show of it.
    pub fn to_json(&self) -> Value {
        let parameters: Vec<Value> = self
            .parameters
            .iter()
            .map(|(name, parameter)| parameter.to_json(name))
            .collect();
        let tables: Map<String, Value> = self
            .tables
            .iter()
            .map(|(name, table)| (name.clone(), table.all_columns().collect()))
            .collect();
        let platforms: Vec<&str> = self.platforms.iter().map(|one| one.name()).collect();
        let mut document = json!({
            "name": self.name,
            "intent": self.intent,
            "sql": self.sql,
            "platforms": platforms,
            "tables": tables,
            "tags": self.tags,
            "severity": self.severity.name(),
        });
        if let Some(limits) = &self.limits {
            document["limits"] = json!(limits);
        }
        document["parameters"] = parameters.into();
        document
    }
}
