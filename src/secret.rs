//! Secrets: where they come from, a type that can't be printed, and the redaction of foreign text.
//! Knows nothing of steps or servers.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret, SecretString};

/// What stands in place of a secret wherever text of others is shown.
pub const REDACTED: &str = "[redacted]";

/// A token, password or user name that must not be printed. Its memory is wiped when it is dropped.
#[derive(Clone)]
pub struct Secret(SecretString);

impl Secret {
    /// Takes the secret's text.
    pub fn new(text: String) -> Self {
        Self(SecretString::from(text))
    }

    /// The text itself, for the one header, login body or socket message that it is for.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(REDACTED)
    }
}

/// Takes secrets out of text that comes from servers before it is shown or logged.
#[derive(Debug, Clone, Default)]
pub struct Redactor {
    needles: Vec<Secret>,
}

impl Redactor {
    /// Remembers the secrets, as they are and as JSON escapes them, whole and line by line
    /// (a secret of several lines escapes a mask of the whole); empty ones are skipped.
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a Secret>) -> Self {
        let mut texts: Vec<String> = Vec::new();
        for secret in secrets {
            let whole = secret.expose();
            for piece in std::iter::once(whole).chain(whole.lines().map(str::trim)) {
                let escaped = serde_json::Value::from(piece).to_string();
                let escaped = escaped[1..escaped.len() - 1].to_owned();
                texts.extend([piece.to_owned(), escaped]);
            }
        }
        texts.retain(|text| !text.trim().is_empty());
        // The longest first: a secret that contains another must not be left half shown.
        texts.sort_by(|one, other| other.len().cmp(&one.len()).then_with(|| one.cmp(other)));
        texts.dedup();
        Self {
            needles: texts.into_iter().map(Secret::new).collect(),
        }
    }

    /// The text with every secret replaced by [`REDACTED`].
    pub fn redact(&self, text: &str) -> String {
        let mut clean = text.to_owned();
        for needle in &self.needles {
            if clean.contains(needle.expose()) {
                clean = clean.replace(needle.expose(), REDACTED);
            }
        }
        clean
    }
}

/// Bytes of a secret's file at most.
const MAX_FILE_BYTES: usize = 64 * 1024;

/// What the names of variables that hold secrets begin with.
const VARIABLE_PREFIX: &str = "OSQUERY_LIVE_QUERY_SECRET_";

/// Where the names of secrets are looked up.
type Variables = Box<dyn Fn(&str) -> Option<OsString> + Send + Sync>;

/// Where secrets come from: the invocation, then a directory of files, then the environment.
pub struct SecretSources {
    invocation: BTreeMap<String, Secret>,
    dir: Option<PathBuf>,
    variables: Variables,
}

/// A secret that was found, and what its owner should know.
#[derive(Debug)]
pub struct FoundSecret {
    /// The secret.
    pub secret: Secret,
    /// One line for stderr: a file that every user of the machine may read.
    pub warning: Option<String>,
}

/// Why there is no such secret. Never shows a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// None of the sources has it.
    #[error("the secret `{name}` is missing: neither {places}")]
    Missing {
        /// Its name.
        name: String,
        /// Where it was looked for.
        places: String,
    },
    /// A source has it, but it can't be used; later sources are not asked.
    #[error("the secret `{name}` can't be used: {reason}")]
    Unusable {
        /// Its name.
        name: String,
        /// The source, and what is wrong with it.
        reason: String,
    },
}

/// Whether text can name a secret: letters, digits, `_` and `-`. Such a name is one plain file name.
pub fn is_secret_name(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

impl SecretSources {
    /// The sources of this process: `dir` is `--secrets-dir`, by default `$CREDENTIALS_DIRECTORY`.
    pub fn of_process(invocation: BTreeMap<String, Secret>, dir: Option<PathBuf>) -> Self {
        let dir = dir.or_else(|| {
            std::env::var_os("CREDENTIALS_DIRECTORY")
                .filter(|dir| !dir.is_empty())
                .map(PathBuf::from)
        });
        Self::new(invocation, dir, Box::new(|name| std::env::var_os(name)))
    }

    /// Sources with an environment of one's own.
    pub fn new(
        invocation: BTreeMap<String, Secret>,
        dir: Option<PathBuf>,
        variables: Variables,
    ) -> Self {
        Self {
            invocation,
            dir,
            variables,
        }
    }

    /// Looks a secret up, in order; the first source that has it decides.
    ///
    /// # Errors
    /// Where no source has it, or the first that has it holds nothing or can't be read.
    pub fn find(&self, name: &str) -> Result<FoundSecret, SecretError> {
        let unusable = |reason: String| SecretError::Unusable {
            name: name.to_owned(),
            reason,
        };
        if !is_secret_name(name) {
            return Err(unusable(
                "its name may hold letters, digits, `_` and `-` only".into(),
            ));
        }
        if let Some(secret) = self.invocation.get(name) {
            return found(secret.clone(), None)
                .ok_or_else(|| unusable("it is empty in the invocation's `secrets`".into()));
        }
        if let Some(dir) = &self.dir {
            match read_file(&dir.join(name)) {
                Ok(Some((secret, warning))) => {
                    let warning = warning.then(|| {
                        format!("every user of this machine may read the file of the secret `{name}`: chmod o-r")
                    });
                    return found(secret, warning)
                        .ok_or_else(|| unusable("its file is empty".into()));
                }
                Ok(None) => {}
                Err(reason) => return Err(unusable(reason)),
            }
        }
        let variable = variable_of(name);
        if let Some(value) = (self.variables)(&variable) {
            let text = value
                .into_string()
                .map_err(|_| unusable(format!("the variable {variable} is not UTF-8")))?;
            return found(Secret::new(text), None)
                .ok_or_else(|| unusable(format!("the variable {variable} is empty")));
        }
        let file = match self.dir {
            Some(_) => "a file of that name in the secrets directory",
            None => "a secrets directory (`--secrets-dir`)",
        };
        Err(SecretError::Missing {
            name: name.to_owned(),
            places: format!(
                "the invocation's `secrets` nor {file} nor the variable {variable} has it"
            ),
        })
    }
}

impl std::fmt::Debug for SecretSources {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("SecretSources")
    }
}

fn found(secret: Secret, warning: Option<String>) -> Option<FoundSecret> {
    (!secret.expose().is_empty()).then_some(FoundSecret { secret, warning })
}

/// The environment variable of a secret: upper case, `_` for what is neither letter nor digit.
fn variable_of(name: &str) -> String {
    let name: String = name
        .chars()
        .map(|letter| match letter {
            letter if letter.is_ascii_alphanumeric() => letter.to_ascii_uppercase(),
            _ => '_',
        })
        .collect();
    format!("{VARIABLE_PREFIX}{name}")
}

/// A file's text without one newline at its end, and whether every user may read it; `None` where there
/// is no such file. Links are followed: secrets are often mounted as links.
fn read_file(path: &Path) -> Result<Option<(Secret, bool)>, String> {
    let cant = |error: &std::io::Error| format!("its file can't be read: {}", error.kind());
    // Asked before it is opened: opening a pipe would wait for a writer.
    let metadata = match std::fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(cant(&error)),
    };
    if !metadata.is_file() {
        return Err("what stands under its name in the secrets directory is not a file".into());
    }
    let mut bytes = Vec::with_capacity(1024);
    File::open(path)
        .and_then(|file| file.take(MAX_FILE_BYTES as u64 + 1).read_to_end(&mut bytes))
        .map_err(|error| cant(&error))?;
    if bytes.len() > MAX_FILE_BYTES {
        return Err(format!(
            "its file is longer than {} KiB",
            MAX_FILE_BYTES >> 10
        ));
    }
    let mut text = String::from_utf8(bytes).map_err(|_| "its file is not UTF-8".to_owned())?;
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    Ok(Some((Secret::new(text), readable_by_all(&metadata))))
}

#[cfg(unix)]
fn readable_by_all(metadata: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt;
    metadata.permissions().mode() & 0o004 != 0
}

#[cfg(not(unix))]
fn readable_by_all(_: &std::fs::Metadata) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_never_printed() {
        assert_eq!(format!("{:?}", Secret::new("tok".into())), "[redacted]");
    }

    #[test]
    fn redacts_plain_escaped_and_single_lines() {
        let secrets = [
            Secret::new("quo\"ted".into()),
            Secret::new("first\nsecond".into()),
            Secret::new(String::new()),
        ];
        let redactor = Redactor::new(&secrets);
        assert_eq!(
            redactor.redact(r#"a quo"ted b quo\"ted c second d"#),
            "a [redacted] b [redacted] c [redacted] d"
        );
    }
}
