//! Resources: each template under `template:///NAME`, and the schemas of a step and of its document.

use rmcp::model::{
    ErrorData, ListResourceTemplatesResult, ListResourcesResult, ReadResourceResult, Resource,
    ResourceContents, ResourceTemplate,
};

use super::cells::clean;
use super::templates;
use crate::allowlist::Template;
use crate::policy::models::ModelPolicy;
use crate::schema::texts;

const JSON: &str = "application/json";
const TEMPLATE: &str = "template:///";
/// Resources of a page.
const PAGE: usize = 50;

const SCHEMAS: [(&str, &str, &str, &str); 2] = [
    (
        "schema:///step",
        "step",
        texts::STEP,
        "The JSON Schema of a step, as playbooks have it.",
    ),
    (
        "schema:///output",
        "output",
        texts::OUTPUT,
        "The JSON Schema of the document that a step ends with.",
    ),
];

/// A page of the list; the cursor is how many came before it.
pub(super) fn list(
    policy: &ModelPolicy,
    cursor: Option<&str>,
) -> Result<ListResourcesResult, ErrorData> {
    let begin: usize = match cursor.map(str::parse) {
        None => 0,
        Some(Ok(begin)) => begin,
        Some(Err(_)) => return Err(ErrorData::invalid_params("this is no cursor of mine", None)),
    };
    let schemas = SCHEMAS.iter().map(|(uri, name, text, description)| {
        Resource::new(*uri, *name)
            .with_description(*description)
            .with_mime_type(JSON)
            .with_size(text.len() as u64)
    });
    let templates = policy.templates().map(|template| {
        Resource::new(format!("{TEMPLATE}{}", template.name()), template.name())
            .with_description(template.intent())
            .with_mime_type(JSON)
    });
    let mut rest = schemas.chain(templates).skip(begin);
    let page: Vec<Resource> = rest.by_ref().take(PAGE).collect();
    let more = rest.next().is_some();
    let mut result = ListResourcesResult::with_all_items(page);
    result.next_cursor = more.then(|| (begin + PAGE).to_string());
    Ok(result)
}

/// The one form that uris of templates have.
pub(super) fn templates() -> ListResourceTemplatesResult {
    let form = ResourceTemplate::new("template:///{name}", "template")
        .with_description("A query template: SQL, parameters, columns, an example call.")
        .with_mime_type(JSON);
    ListResourceTemplatesResult::with_all_items(vec![form])
}

/// One resource.
pub(super) fn read(policy: &ModelPolicy, uri: &str) -> Result<ReadResourceResult, ErrorData> {
    let unknown = || {
        let message = format!("there is no resource `{}`", clean(uri, 200));
        ErrorData::resource_not_found(message, None)
    };
    let schema = SCHEMAS.iter().find(|(known, ..)| *known == uri);
    let text = match (schema, uri.strip_prefix(TEMPLATE)) {
        (Some((_, _, text, _)), _) => (*text).to_owned(),
        (None, Some(name)) => {
            let template: &Template = templates::of_name(policy, name).map_err(|_| unknown())?;
            let whole = templates::whole(policy, template);
            whole.map_err(|_| unknown())?.to_string()
        }
        (None, None) => return Err(unknown()),
    };
    let contents = ResourceContents::text(text, uri).with_mime_type(JSON);
    Ok(ReadResourceResult::new(vec![contents]))
}
