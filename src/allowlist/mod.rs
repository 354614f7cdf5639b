//! The allowlist: the only SQL that this program sends. A template is data (`templates/NAME.yaml`): SQL
//! with `:parameters`, the tables and columns it reads, and what each parameter may be. A step names one
//! and gives values; values are typed, refused where they do not fit and never escaped, and SQLite
//! itself writes them into the SQL.
//!
//! The way through: `embedded` → `load` (YAML to a [`Template`]) → `check` (SQLite reads its SQL) →
//! `parameter` and its types (values of a step) → `bind` (one [`Statement`]). [`Registry`] is the door.
//! Nothing in here knows of servers (but for the words that they may not be sent), hosts or steps beyond a
//! template's name and its parameters.

mod account;
mod bind;
mod check;
mod comparisons;
mod declaration;
mod editor;
mod embedded;
mod error;
mod facts;
mod file_check;
mod flaw;
mod functions;
mod held;
mod host_table;
mod kind;
mod load;
mod names;
mod network;
mod osquery_schema;
mod package;
mod parameter;
mod path;
mod powers;
mod proof;
mod registry;
mod registry_key;
mod repair;
mod sandbox;
mod scans;
mod template;
mod time;
mod unc;
mod value;
mod vtab;
mod words;

pub use error::{AllowlistError, TemplateError};
pub use file_check::{Findings, check_file};
pub use osquery_schema::OsquerySchema;
pub use parameter::Parameter;
pub use powers::{Power, denied_by_default, first_name, powers};
pub use registry::{Asking, Binder, Registry};
pub use template::Template;
pub use unc::Origins;

/// The templates that are built in, by name, as their files are written.
pub fn embedded_files() -> &'static [(&'static str, &'static str)] {
    embedded::TEMPLATES
}

/// SQL that an allowlisted template became, with its parameters bound. Only the allowlist makes one.
#[derive(Debug, Clone)]
pub struct Statement {
    template: String,
    sql: String,
    limits: Vec<String>,
    /// Digests that the template lists, which osquery leaves empty for a file that it does not hash.
    digests: Vec<&'static str>,
    /// The column by which an answer proves itself, where the statement has one.
    marker: Option<&'static str>,
}

/// Columns of osquery's table `hash` that are empty where a file was not hashed.
const DIGESTS: [&str; 3] = ["md5", "sha1", "sha256"];

impl Statement {
    /// The template's name.
    pub fn template(&self) -> &str {
        &self.template
    }

    /// The SQL as it is sent: one statement that only reads. It holds no word that
    /// a server would take for something else than a question.
    pub fn sql(&self) -> &str {
        &self.sql
    }

    /// The column that each row of its answer has with a 1 in it, and that is empty in the one row that says
    /// that nothing was found; `None` where the server tells that from an error.
    pub fn marker(&self) -> Option<&'static str> {
        self.marker
    }

    /// What an answer without rows leaves open, a sentence each.
    pub fn limits(&self) -> &[String] {
        &self.limits
    }

    /// Digests that may be empty in a row: of a file that osquery did not hash, which is then not compared.
    pub fn digests(&self) -> &[&'static str] {
        &self.digests
    }
}

#[cfg(test)]
mod tests;
