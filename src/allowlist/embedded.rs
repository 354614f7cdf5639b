//! The templates that are built in: one line for each file of `templates/` (a test compares).

/// A template's name and the text of its file.
macro_rules! template {
    ($name:literal) => {
        (
            $name,
            include_str!(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/templates/",
                $name,
                ".yaml"
            )),
        )
    };
}

/// Names and texts, in order of the names.
pub(super) const TEMPLATES: &[(&str, &str)] = &[
    template!("active_connections"),
    template!("listening_ports"),
    template!("logged_in_users"),
    template!("recently_modified_files"),
    template!("running_processes"),
];
