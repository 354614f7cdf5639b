//! Where secrets come from: the invocation, then a directory of files, then the environment.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};

use super::Secret;
use crate::regular_file::{self, Links, NoFile};

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

    /// A variable of the environment; `None` where it is not set.
    ///
    /// # Errors
    /// Where it is not UTF-8.
    pub fn variable(&self, name: &str) -> Result<Option<String>, String> {
        (self.variables)(name)
            .map(|value| {
                value
                    .into_string()
                    .map_err(|_| format!("the variable {name} is not UTF-8"))
            })
            .transpose()
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
                Err(reason) => return Err(unusable(format!("its file {reason}"))),
            }
        }
        let variable = variable_of(name);
        if let Some(text) = self.variable(&variable).map_err(&unusable)? {
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
pub(crate) fn variable_of(name: &str) -> String {
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
///
/// # Errors
/// As the end of a sentence that begins with the file.
pub(crate) fn read_file(path: &Path) -> Result<Option<(Secret, bool)>, String> {
    let content = match regular_file::read(path, MAX_FILE_BYTES, Links::Follow) {
        Ok(content) => content,
        Err(NoFile::Missing) => return Ok(None),
        Err(error) => return Err(format!("{error}: {}", error.advice())),
    };
    let mut text = String::from_utf8(content.bytes).map_err(|_| "is not UTF-8".to_owned())?;
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    Ok(Some((
        Secret::new(text),
        readable_by_all(&content.metadata) && !is_mounted(path),
    )))
}

/// Where Docker and Kubernetes mount secrets.
const MOUNTS: [&str; 2] = ["/run/secrets", "/var/run/secrets"];

/// Whether a file is in a container's mount of secrets, which is made so that everybody there may read it:
/// in a folder for such mounts, or in a volume of Kubernetes, whose files are links into `..data`.
fn is_mounted(path: &Path) -> bool {
    let Ok(whole) = std::path::absolute(path) else {
        return false;
    };
    let straight = !whole.components().any(|part| part == Component::ParentDir);
    straight && MOUNTS.iter().any(|mount| whole.starts_with(mount))
        || std::fs::read_link(path).is_ok_and(|to| to.starts_with("..data"))
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

    #[cfg(unix)]
    mod files {
        use super::*;
        use crate::tests::scratch::Scratch;

        fn sources(dir: &Scratch) -> SecretSources {
            let secret = |text: &str| Secret::new(text.to_owned());
            SecretSources::new(
                BTreeMap::from([
                    ("given".to_owned(), secret("from the invocation")),
                    ("given-empty".to_owned(), secret("")),
                ]),
                Some(dir.path().to_owned()),
                Box::new(|name| match name {
                    "OSQUERY_LIVE_QUERY_SECRET_GIVEN"
                    | "OSQUERY_LIVE_QUERY_SECRET_FILE"
                    | "OSQUERY_LIVE_QUERY_SECRET_FILE_EMPTY"
                    | "OSQUERY_LIVE_QUERY_SECRET_A_B_9" => Some("from the environment\n".into()),
                    "OSQUERY_LIVE_QUERY_SECRET_EMPTY" => Some("".into()),
                    _ => None,
                }),
            )
        }

        #[test]
        fn the_first_source_that_has_it_decides() {
            let dir = Scratch::new();
            dir.file("given", b"from the file", 0o600);
            dir.file("file", b"from the file\n", 0o600);
            dir.file("windows", b"a\n\r\n", 0o640);
            dir.file("open", b"x", 0o644);
            std::os::unix::fs::symlink("file", dir.at("link")).unwrap();
            let sources = sources(&dir);
            let find = |name: &str| {
                let found = sources.find(name).unwrap();
                (found.secret.expose().to_owned(), found.warning)
            };
            assert_eq!(find("given"), ("from the invocation".into(), None));
            assert_eq!(find("file"), ("from the file".into(), None));
            assert_eq!(find("link"), ("from the file".into(), None));
            assert_eq!(find("windows"), ("a\n".into(), None));
            assert_eq!(find("a_b-9"), ("from the environment\n".into(), None));
            assert_eq!(
            find("open"),
            ("x".into(), Some("every user of this machine may read the file of the secret `open`: chmod o-r".into()))
        );
        }

        #[test]
        fn mounts_of_containers_may_be_read_by_everybody() {
            let dir = Scratch::new();
            std::fs::create_dir(dir.at("..2026_11_27")).unwrap();
            dir.file("..2026_11_27/token", b"x", 0o644);
            dir.file("elsewhere", b"x", 0o644);
            let link = |to: &str, name: &str| {
                std::os::unix::fs::symlink(to, dir.at(name)).unwrap();
            };
            link("..2026_11_27", "..data");
            link("..data/token", "token");
            link("elsewhere", "other");
            link("..data-of-mine/../elsewhere", "near");
            let sources = sources(&dir);
            let warns = |name: &str| sources.find(name).unwrap().warning.is_some();
            assert!(!warns("token"));
            assert!(warns("elsewhere") && warns("other"));
            for (path, expected) in [
                ("/run/secrets/a_token", true),
                ("/var/run/secrets/a/token", true),
                ("/run/secrets/../../tmp/token", false),
                ("/run/secrets-of-mine/token", false),
                ("/srv/run/secrets/token", false),
                ("run/secrets/token", false),
            ] {
                assert_eq!(is_mounted(Path::new(path)), expected, "{path}");
            }
        }

        #[test]
        fn what_cant_be_used_is_said_without_its_value() {
            let dir = Scratch::new();
            dir.file("file-empty", b"\n", 0o600);
            dir.file("bytes", b"\xffmarker", 0o600);
            dir.file("long", vec![b'm'; MAX_FILE_BYTES + 1], 0o600);
            std::fs::create_dir_all(dir.at("directory")).unwrap();
            std::os::unix::fs::symlink("loop", dir.at("loop")).unwrap();
            let sources = sources(&dir);
            let long = "n".repeat(300);
            for (name, message) in [
                (
                    "none",
                    "the secret `none` is missing: neither the invocation's `secrets` nor a file of that name in the secrets directory nor the variable OSQUERY_LIVE_QUERY_SECRET_NONE has it",
                ),
                (
                    "given-empty",
                    "the secret `given-empty` can't be used: it is empty in the invocation's `secrets`",
                ),
                (
                    "file-empty",
                    "the secret `file-empty` can't be used: its file is empty",
                ),
                (
                    "empty",
                    "the secret `empty` can't be used: the variable OSQUERY_LIVE_QUERY_SECRET_EMPTY is empty",
                ),
                (
                    "bytes",
                    "the secret `bytes` can't be used: its file is not UTF-8",
                ),
                (
                    "long",
                    "the secret `long` can't be used: its file is larger than 64 KiB: check that it is the file that was meant",
                ),
                (
                    "directory",
                    "the secret `directory` can't be used: its file is a folder, not a regular file: name a file in it",
                ),
                (
                    "loop",
                    "the secret `loop` can't be used: its file can't be read: filesystem loop or indirection limit (e.g. symlink loop): check the disk or the share that it is on",
                ),
                (
                    long.as_str(),
                    "its file can't be read: invalid filename: check the disk or the share that it is on",
                ),
                (
                    "../file",
                    "the secret `../file` can't be used: its name may hold letters, digits, `_` and `-` only",
                ),
                (
                    "",
                    "the secret `` can't be used: its name may hold letters, digits, `_` and `-` only",
                ),
            ] {
                let error = sources.find(name).unwrap_err().to_string();
                if name == long {
                    assert!(error.ends_with(message), "{error}");
                } else {
                    assert_eq!(error, message);
                }
            }
            let without_dir = SecretSources::new(BTreeMap::new(), None, Box::new(|_| None));
            assert!(
                without_dir
                    .find("file")
                    .unwrap_err()
                    .to_string()
                    .contains("nor a secrets directory (`--secrets-dir`)")
            );
        }
    }
}
