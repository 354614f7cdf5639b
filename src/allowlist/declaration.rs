//! A parameter as a template's file declares it, and the type that its keys make.

use serde::Deserialize;
use serde_saphyr::Spanned;

use super::error::listed;
use super::kind::{Alphabet, HashAlgorithm, ParameterType, Systems};
use super::package::Ecosystem;
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
    pub(super) ecosystem: Option<String>,
    pub(super) every_user: Option<bool>,
    pub(super) opened: Option<bool>,
}

/// The type, from the keys that it takes; any other key that is given is an error.
pub(super) fn kind(
    document: &ParameterDocument,
    systems: Systems,
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
        ecosystem,
        every_user,
        opened,
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
        ("ecosystem", ecosystem.is_some()),
        ("every_user", every_user.is_some()),
        ("opened", opened.is_some()),
    ];
    let name = document.r#type.as_str();
    let takes: &[&str] = match name {
        "integer" => &["minimum", "maximum"],
        "since" => &["oldest"],
        "choice" => &["choices"],
        "hash" => &["algorithms"],
        "path" => &["opened"],
        "path_pattern" | "pattern" => &["minimum_prefix", "opened"],
        "registry_key" => &["every_user"],
        "package_name" => &["ecosystem"],
        "text" => &["maximum_length", "alphabet", "opened"],
        _ => &[],
    };
    if let Some((key, _)) = given.iter().find(|(key, is)| *is && !takes.contains(key)) {
        return Err(format!("a parameter of the type `{name}` takes no `{key}`"));
    }
    let prefix = minimum_prefix.unwrap_or(3);
    if prefix == 0 {
        return Err("`minimum_prefix` must be 1 or more".to_owned());
    }
    // Who does not say that the host only compares it has it taken for a path that the host opens.
    let opened = opened.unwrap_or(true);
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
        "path" => ParameterType::Path { systems, opened },
        "path_pattern" => ParameterType::PathPattern {
            systems,
            opened,
            minimum_prefix: prefix,
        },
        "pattern" => ParameterType::Pattern {
            opened,
            minimum_prefix: prefix,
        },
        "registry_key" => ParameterType::RegistryKey {
            every_user: every_user.unwrap_or(false),
        },
        "host_name" => ParameterType::HostName,
        "user_name" => ParameterType::UserName(systems),
        "group_name" => ParameterType::GroupName(systems),
        "process_name" => ParameterType::ProcessName,
        "hash" => ParameterType::Hash {
            algorithms: hash_algorithms(algorithms.as_deref())?,
        },
        "port" => ParameterType::Port,
        "pid" => ParameterType::Pid,
        "ip_address" => ParameterType::IpAddress,
        "mac_address" => ParameterType::MacAddress,
        "domain" => ParameterType::Domain,
        "package_name" => ParameterType::PackageName {
            ecosystem: ecosystem.as_deref().map(ecosystem_named).transpose()?,
        },
        "version" => ParameterType::Version,
        "hotfix" => ParameterType::Hotfix,
        "chrome_extension" => ParameterType::ChromeExtension,
        "container" => ParameterType::Container,
        "systemd_unit" => ParameterType::SystemdUnit,
        "choice" => match choices.as_deref() {
            Some(choices) if !choices.is_empty() => ParameterType::Choice {
                choices: choices.to_vec(),
            },
            _ => return Err("needs `choices`".to_owned()),
        },
        "boolean" => ParameterType::Boolean,
        "text" => ParameterType::Text {
            opened,
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
pub(super) const TYPES: [&str; 25] = [
    "integer",
    "since",
    "path",
    "path_pattern",
    "pattern",
    "registry_key",
    "host_name",
    "user_name",
    "group_name",
    "process_name",
    "hash",
    "port",
    "pid",
    "ip_address",
    "mac_address",
    "domain",
    "package_name",
    "version",
    "hotfix",
    "chrome_extension",
    "container",
    "systemd_unit",
    "choice",
    "boolean",
    "text",
];

fn ecosystem_named(name: &str) -> Result<Ecosystem, String> {
    Ecosystem::ALL
        .into_iter()
        .find(|ecosystem| ecosystem.name() == name)
        .ok_or_else(|| {
            let names = Ecosystem::ALL.map(Ecosystem::name);
            format!("`ecosystem` must be one of {}", listed(names))
        })
}

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
