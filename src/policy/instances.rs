//! Instances: servers that the operator has given a name, with credentials of their own. Their secrets go
//! to them and nowhere else.

use std::path::Path;

use super::file::{Credentials, Instance, Source};
use crate::secret::{self, FoundSecret, Secret, SecretSources};
use crate::step::model::{self, NamedServer, Server};
use crate::step::render::SecretUse;

/// The server of an instance, its secrets looked up where they are to be.
///
/// # Errors
/// Where a secret can't be had: which and why, never its value.
pub(super) fn server(
    name: &str,
    instance: &Instance,
    secrets: SecretUse<'_>,
) -> Result<NamedServer, String> {
    let mut warnings = Vec::new();
    let mut kept = Vec::new();
    let mut find = |field: &str, source: &Source| -> Result<Secret, String> {
        let SecretUse::Resolve(secrets) = secrets else {
            return Ok(Secret::new(format!("the instance's `{field}`, not read")));
        };
        let found = find(source, secrets)
            .map_err(|reason| format!("the instance `{name}` has no `{field}`: {reason}"))?;
        let text = found.secret.expose();
        if field == "api_token" && !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(format!(
                "the `{field}` of the instance `{name}` is not a token: a header can't hold blanks, line breaks or characters beyond ASCII"
            ));
        }
        if text.chars().any(char::is_control) {
            return Err(format!(
                "the `{field}` of the instance `{name}` holds line breaks or other control characters"
            ));
        }
        warnings.extend(found.warning);
        if !matches!(source, Source::Text(_)) {
            kept.push(match field {
                "username" => found.secret.clone().as_user_name(),
                _ => found.secret.clone(),
            });
        }
        Ok(found.secret)
    };
    let missing = || format!("the instance `{name}` has no credentials");
    let credentials = match &instance.credentials {
        Credentials {
            api_token: Some(source),
            ..
        } => model::Credentials::Token(find("api_token", source)?),
        Credentials {
            username, password, ..
        } => model::Credentials::Login {
            username: find("username", username.as_ref().ok_or_else(missing)?)?,
            password: find("password", password.as_ref().ok_or_else(missing)?)?,
        },
    };
    Ok(NamedServer {
        name: name.to_owned(),
        server: Server {
            access: instance.access.clone(),
            base_url: instance.base_url.clone(),
            credentials,
            verify_tls: true,
            ca_file: instance.ca_file.clone(),
        },
        secrets: kept,
        warnings,
    })
}

/// Whether a step that writes its own address may not have the secret of that name: an instance's may be
/// looked up under any name that means the same variable.
pub(super) fn reserves(instance: &Instance, name: &str) -> bool {
    let wanted = secret::variable_of(name);
    instance
        .credentials
        .sources()
        .any(|(_, source)| match source {
            Source::Secret(own) => secret::variable_of(own) == wanted,
            Source::Env(variable) => *variable == wanted,
            Source::File(_) | Source::Text(_) => false,
        })
}

/// The instance's tokens and passwords that can be had now. What can't be read needs no protection.
pub(super) fn values<'a>(
    instance: &'a Instance,
    secrets: &'a SecretSources,
) -> impl Iterator<Item = Secret> + 'a {
    let sources = instance.credentials.sources();
    sources
        .filter(|(field, _)| *field != "username")
        .filter_map(|(_, source)| Some(find(source, secrets).ok()?.secret))
}

fn find(source: &Source, secrets: &SecretSources) -> Result<FoundSecret, String> {
    let plain = |text: String| FoundSecret {
        secret: Secret::new(text),
        warning: None,
    };
    match source {
        Source::Text(text) => Ok(plain(text.clone())),
        Source::Secret(name) => secrets.find(name).map_err(|error| error.to_string()),
        Source::Env(variable) => match secrets.variable(variable)? {
            Some(text) if text.is_empty() => Err(format!("the variable {variable} is empty")),
            Some(text) => Ok(plain(text)),
            None => Err(format!("the variable {variable} is not set")),
        },
        Source::File(path) => of_file(path),
    }
}

fn of_file(path: &Path) -> Result<FoundSecret, String> {
    let shown = path.display();
    let (secret, exposed) = secret::read_file(path)
        .map_err(|reason| format!("the file {shown} {reason}"))?
        .ok_or_else(|| format!("the file {shown} does not exist"))?;
    if secret.expose().is_empty() {
        return Err(format!("the file {shown} is empty"));
    }
    let warning = exposed
        .then(|| format!("every user of this machine may read the secret in {shown}: chmod o-r"));
    Ok(FoundSecret { secret, warning })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::known_servers;

    #[test]
    fn a_servers_secrets_are_redacted_and_not_printed() {
        let backend = known_servers::ALL[0].name;
        let policy = format!(
            "instances:\n  a:\n    backend: {backend}\n    base_url: https://h.example\n    credentials: {{username: {{text: u}}, password: {{env: P}}}}\n"
        );
        let file = super::super::file::parse(&policy).unwrap();
        let variables = |name: &str| (name == "P").then(|| "m4rk3r".into());
        let secrets = SecretSources::new(Default::default(), None, Box::new(variables));
        let server = server("a", &file.instances["a"], SecretUse::Resolve(&secrets)).unwrap();
        assert!(!format!("{server:?} {file:?}").contains("m4rk3r"));
        let kept: Vec<&str> = server.secrets.iter().map(Secret::expose).collect();
        assert_eq!(kept, ["m4rk3r"]);
    }
}
