//! The allowlist: the only SQL that this program sends.

/// SQL that an allowlisted template became, with its parameters bound. Only the allowlist makes one.
#[derive(Debug, Clone)]
pub struct Statement {
    template: String,
    sql: String,
}

impl Statement {
    /// The template's name.
    pub fn template(&self) -> &str {
        &self.template
    }

    /// The SQL as it is sent.
    pub fn sql(&self) -> &str {
        &self.sql
    }
}
