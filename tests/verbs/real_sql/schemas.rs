//! Tables of extensions, which come from further schema files.

use super::{EMPTY, Said, check, comes_first, schema, template};

#[test]
fn tables_of_extensions_come_from_further_files() {
    let own = r#"[{"name": "puppet_state", "platforms": ["macos", "linux"], "columns": [
        {"name": "resource", "type": "text", "required": true}, {"name": "status", "type": "text"}]}]"#;
    let templates = [
        "SELECT status, (SELECT count(pid) FROM processes) AS running FROM puppet_state WHERE resource LIKE 'File[%'",
        "SELECT resource, status, pid FROM puppet_state, processes",
    ]
    .map(|sql| template(sql, &["puppet_state: resource status", "processes: pid"], ""));
    let unlooked = format!(
        "required_column: `sql` must compare `resource` of `puppet_state` by `=`, `IN` or `LIKE`, {EMPTY}; {}",
        comes_first("puppet_state")
    );
    let unlooked = Said {
        problems: vec![unlooked],
        ..Said::default()
    };
    assert_eq!(
        check(&templates, &[schema(), own.to_owned()]),
        [Said::default(), unlooked]
    );
    // A table that both files have is taken from the later one.
    let later = r#"[{"name": "file", "columns": [{"name": "path"}]}]"#;
    let templates = [template("SELECT path FROM file", &["file: path"], "")];
    assert_eq!(
        check(&templates, &[schema(), later.to_owned()]),
        [Said::default()]
    );
}
