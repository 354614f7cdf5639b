//! Templates on their way to a server that keeps them as queries, for tokens that may run nothing else; each
//! server has its own form for them.

/// A query that is to be saved.
#[derive(Debug, Clone, Copy)]
pub struct ExportedQuery<'a> {
    /// What it is called there; ASCII, for not every server takes more.
    pub name: &'a str,
    /// What it is for.
    pub intent: &'a str,
    /// The statement, to the letter.
    pub sql: &'a str,
    /// osquery's words for its platforms, with commas between.
    pub platforms: &'a str,
}
