//! Secrets: where they come from, a type that can't be printed, and the redaction of foreign text.
//! Knows nothing of steps or servers.

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
