//! Secrets: a type that can't be printed, where they come from, and the redaction of foreign text.
//! Knows nothing of steps or servers.

mod redact;
mod sources;

use secrecy::{ExposeSecret, SecretString};

pub use redact::Redactor;
pub use sources::{FoundSecret, SecretError, SecretSources, is_secret_name};
pub(crate) use sources::{read_file, variable_of};

/// What stands in place of a secret wherever text of others is shown.
pub const REDACTED: &str = "[redacted]";

/// A token, password or user name that must not be printed. Its memory is wiped when it is dropped.
#[derive(Clone)]
pub struct Secret {
    text: SecretString,
    /// A user name: an ordinary word, perhaps, which is masked only where it stands by itself.
    word: bool,
}

impl Secret {
    /// Takes the secret's text.
    pub fn new(text: String) -> Self {
        Self {
            text: SecretString::from(text),
            word: false,
        }
    }

    /// The same secret as a user's name: `admin` is masked where it stands alone, and `administrators` is not.
    #[must_use]
    pub fn as_user_name(mut self) -> Self {
        self.word = true;
        self
    }

    /// The text itself, for the one header, login body or socket message that it is for.
    pub fn expose(&self) -> &str {
        self.text.expose_secret()
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(REDACTED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_never_printed() {
        assert_eq!(format!("{:?}", Secret::new("tok".into())), "[redacted]");
    }
}
