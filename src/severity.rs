//! How grave something is for a responder: one scale for templates, alerts and events.

/// How grave a row is for a responder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Facts: inventory and state; a row is no finding.
    Info,
    /// Worth a look in context.
    Low,
    /// Unusual on most hosts.
    Medium,
    /// Rows are likely findings.
    High,
    /// Rows are findings that call for action at once.
    Critical,
}

impl Severity {
    /// All of them, from the mildest.
    pub const ALL: [Self; 5] = [
        Self::Info,
        Self::Low,
        Self::Medium,
        Self::High,
        Self::Critical,
    ];

    /// The word in templates and documents.
    pub fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}
