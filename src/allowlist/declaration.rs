//! A parameter as a template's file declares it, and the type that its keys make.

use serde::Deserialize;
use serde_saphyr::Spanned;

use super::error::listed;
use super::parameter::{Alphabet, HashAlgorithm, ParameterType};
use super::path::PathForms;
use super::time;

/// A `since` goes back ten years unless its template says otherwise.
const OLDEST: &str = "3650d";

/// The lines under a parameter's name.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ParameterDocument {
    pub(super) r#type: String,
    pub(super) description: String,
    pub(super) default: Option<Spanned<String>>,
    pub(super) example: Option<Spanned<String>>,
    pub(super) minimum: Option<i64>,
    pub(super) maximum: Option<i64>,
    pub(super) oldest: Option<String>,
    pub(super) choices: Option<Vec<String>>,
    pub(super) algorithms: Option<Vec<String>>,
    pub(super) minimum_prefix: Option<usize>,
    pub(super) maximum_length: Option<usize>,
    pub(super) alphabet: Option<String>,
}

/// The type, from the keys that it takes; any other key that is given is an error.
pub(super) fn kind(
    document: &ParameterDocument,
    forms: PathForms,
) -> Result<ParameterType, String> {
    let ParameterDocument {
        minimum,
        maximum,
        oldest,
        choices,
        algorithms,
        minimum_prefix,
        maximum_length,
        alphabet,
        ..
    } = document;
    let given = [
        ("minimum", minimum.is_some()),
        ("maximum", maximum.is_some()),
        ("oldest", oldest.is_some()),
        ("choices", choices.is_some()),
        ("algorithms", algorithms.is_some()),
        ("minimum_prefix", minimum_prefix.is_some()),
        ("maximum_length", maximum_length.is_some()),
        ("alphabet", alphabet.is_some()),
    ];
    let name = document.r#type.as_str();
    let takes: &[&str] = match name {
        "integer" => &["minimum", "maximum"],
        "since" => &["oldest"],
        "choice" => &["choices"],
        "hash" => &["algorithms"],
        "path_pattern" | "pattern" => &["minimum_prefix"],
        "text" => &["maximum_length", "alphabet"],
        _ => &[],
    };
    if let Some((key, _)) = given.iter().find(|(key, is)| *is && !takes.contains(key)) {
        return Err(format!("a parameter of the type `{name}` takes no `{key}`"));
    }
    let prefix = minimum_prefix.unwrap_or(3);
    if prefix == 0 {
        return Err("`minimum_prefix` must be 1 or more".to_owned());
    }
    Ok(match name {
        "integer" => match (minimum, maximum) {
            (Some(minimum), Some(maximum)) if minimum <= maximum => ParameterType::Integer {
                minimum: *minimum,
                maximum: *maximum,
            },
            _ => {
                return Err("needs `minimum` and `maximum`, the first not above the second".into());
            }
        },
        "since" => ParameterType::Since {
            oldest: time::age(oldest.as_deref().unwrap_or(OLDEST))
                .ok_or("`oldest` must be an age without sign, such as `365d`")?,
        },
        "path" => ParameterType::Path(forms),
        "path_pattern" => ParameterType::PathPattern {
            forms,
            minimum_prefix: prefix,
        },
        "pattern" => ParameterType::Pattern {
            minimum_prefix: prefix,
        },
        "registry_key" => ParameterType::RegistryKey,
        "host_name" => ParameterType::HostName,
        "user_name" => ParameterType::UserName,
        "process_name" => ParameterType::ProcessName,
        "hash" => ParameterType::Hash {
            algorithms: hash_algorithms(algorithms.as_deref())?,
        },
        "port" => ParameterType::Port,
        "pid" => ParameterType::Pid,
        "ip_address" => ParameterType::IpAddress,
        "domain" => ParameterType::Domain,
        "package_name" => ParameterType::PackageName,
        "version" => ParameterType::Version,
        "choice" => match choices.as_deref() {
            Some(choices) if !choices.is_empty() => ParameterType::Choice {
                choices: choices.to_vec(),
            },
            _ => return Err("needs `choices`".to_owned()),
        },
        "boolean" => ParameterType::Boolean,
        "text" => ParameterType::Text {
            maximum_length: maximum_length
                .filter(|most| (1..=1_024).contains(most))
                .ok_or("needs a `maximum_length` from 1 to 1024")?,
            alphabet: match alphabet.as_deref() {
                None | Some("printable") => Alphabet::Printable,
                Some("identifier") => Alphabet::Identifier,
                Some(_) => return Err("`alphabet` must be `printable` or `identifier`".to_owned()),
            },
        },
        _ => return Err(format!("`type` must be one of {}", listed(TYPES))),
    })
}

/// The types as templates name them.
pub(super) const TYPES: [&str; 19] = [
    "integer",
    "since",
    "path",
    "path_pattern",
    "pattern",
    "registry_key",
    "host_name",
    "user_name",
    "process_name",
    "hash",
    "port",
    "pid",
    "ip_address",
    "domain",
    "package_name",
    "version",
    "choice",
    "boolean",
    "text",
];

fn hash_algorithms(names: Option<&[String]>) -> Result<Vec<HashAlgorithm>, String> {
    let Some(names) = names else {
        return Ok(HashAlgorithm::ALL.to_vec());
    };
    let algorithms: Option<Vec<HashAlgorithm>> = names
        .iter()
        .map(|name| {
            HashAlgorithm::ALL
                .into_iter()
                .find(|one| one.name() == name)
        })
        .collect();
    algorithms
        .filter(|algorithms| !algorithms.is_empty())
        .ok_or_else(|| "`algorithms` must be some of `md5`, `sha1`, `sha256`".to_owned())
}
