//! The functions and collations that SQL of templates may name: SQLite's harmless ones, and those that
//! osquery adds and a template has to declare (the source is osquery's `docs/wiki/introduction/sql.md`
//! and `osquery/sql/sqlite_*.cpp`).

/// SQLite's functions that only compute and whose result is not much larger than what they are given.
/// Left out on purpose: `load_extension`, `randomblob` and `zeroblob` (memory), `sqlite_*` (internals).
const BUILT_IN: &[&str] = &[
    "abs",
    "avg",
    "cast",
    "char",
    "coalesce",
    "count",
    "cume_dist",
    "date",
    "datetime",
    "dense_rank",
    "first_value",
    "glob",
    "group_concat",
    "hex",
    "ifnull",
    "iif",
    "instr",
    "json_array_length",
    "json_extract",
    "json_type",
    "json_valid",
    "julianday",
    "lag",
    "last_value",
    "lead",
    "length",
    "like",
    "lower",
    "ltrim",
    "max",
    "min",
    "nth_value",
    "ntile",
    "nullif",
    "percent_rank",
    "rank",
    "replace",
    "round",
    "row_number",
    "rtrim",
    "sign",
    "strftime",
    "substr",
    "substring",
    "sum",
    "time",
    "total",
    "trim",
    "typeof",
    "unhex",
    "unicode",
    "unixepoch",
    "upper",
    "->",
    "->>",
];

/// Functions that osquery registers.
pub(super) const OF_OSQUERY: &[&str] = &[
    "acos",
    "asin",
    "atan",
    "ceil",
    "community_id_v1",
    "concat",
    "concat_ws",
    "conditional_to_base64",
    "cos",
    "cot",
    "degrees",
    "floor",
    "from_base64",
    "in_cidr_block",
    "inet_aton",
    "log",
    "log10",
    "md5",
    "pi",
    "power",
    "radians",
    "regex_match",
    "regex_split",
    "sha1",
    "sha256",
    "sin",
    "split",
    "sqrt",
    "tan",
    "to_base64",
    "version_compare",
];

/// Collations that osquery registers; its package tables have them on their version columns.
pub(super) const COLLATIONS: &[&str] = &["version", "version_arch", "version_dpkg", "version_rhel"];

/// Whether every template may call the function (SQLite gives names as they were registered).
pub(super) fn is_harmless(name: &str) -> bool {
    BUILT_IN
        .iter()
        .any(|known| known.eq_ignore_ascii_case(name))
}
