//! Versions of servers, as scenarios write them.

use std::fmt;
use std::str::FromStr;

use serde::Deserialize;

/// A server's version: what it does follows from it. `4.93`, `0.5.5`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct ServerVersion(pub u32, pub u32, pub u32);

impl ServerVersion {
    /// The recorded Fleet, built from sources of June 2025: no `/reports`.
    pub const FLEET_2025: Self = Self(4, 69, 0);
    /// Fleet as of September 2026.
    pub const FLEET_2026: Self = Self(4, 93, 0);
}

/// A text that is no version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no version: write it as 4.93 or 0.5.5, in quotes")]
pub struct NoVersion(String);

impl FromStr for ServerVersion {
    type Err = NoVersion;

    fn from_str(text: &str) -> Result<Self, NoVersion> {
        let wrong = || NoVersion(text.to_owned());
        let parts = text.split('.').map(str::parse);
        let parts: Vec<u32> = parts.collect::<Result<_, _>>().map_err(|_| wrong())?;
        match parts[..] {
            [major, minor] => Ok(Self(major, minor, 0)),
            [major, minor, patch] => Ok(Self(major, minor, patch)),
            _ => Err(wrong()),
        }
    }
}

impl TryFrom<String> for ServerVersion {
    type Error = NoVersion;

    fn try_from(text: String) -> Result<Self, NoVersion> {
        text.parse()
    }
}

impl fmt::Display for ServerVersion {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}.{}", self.0, self.1, self.2)
    }
}

#[cfg(test)]
mod tests {
    use super::ServerVersion;

    #[test]
    fn versions_are_read_and_ordered() {
        let read = |text: &str| text.parse::<ServerVersion>();
        assert_eq!(read("4.93"), Ok(ServerVersion(4, 93, 0)));
        assert!(read("0.5.10").ok() > read("0.5.9").ok());
        assert_eq!(ServerVersion(0, 5, 4).to_string(), "0.5.4");
        for wrong in ["", "4", "4.x", "1.2.3.4", "2026"] {
            assert_eq!(
                read(wrong).expect_err(wrong).to_string(),
                format!("'{wrong}' is no version: write it as 4.93 or 0.5.5, in quotes")
            );
        }
    }
}
