//! The nouns of a campaign: hosts as servers describe them, and what they answer. Pure: no server's words
//! beyond a platform's, no I/O.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;

use super::names::Seen;
use super::rows::Rows;
use crate::printable::cut;

/// A host's identity towards its server: whatever the server dispatches to and answers with. A hundred thousand of
/// them are held in several places, so that a number is no text, and a text is shared.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HostId(Id);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Id {
    /// What is written as a number is one, whoever wrote it.
    Number(u64),
    Text(Arc<str>),
}

impl HostId {
    /// As it is written.
    pub fn text(&self) -> Cow<'_, str> {
        match &self.0 {
            Id::Number(number) => number.to_string().into(),
            Id::Text(text) => (&**text).into(),
        }
    }

    /// The number, where it is one.
    pub fn number(&self) -> Option<u64> {
        match self.0 {
            Id::Number(number) => Some(number),
            Id::Text(_) => None,
        }
    }
}

impl From<u64> for HostId {
    fn from(number: u64) -> Self {
        Self(Id::Number(number))
    }
}

impl From<&str> for HostId {
    fn from(text: &str) -> Self {
        // `007` and `+7` are other texts than `7`.
        let plain = text.starts_with(|first: char| matches!(first, '1'..='9')) || text == "0";
        let number = plain.then(|| text.parse().ok()).flatten();
        Self(number.map_or_else(|| Id::Text(text.into()), Id::Number))
    }
}

impl Ord for HostId {
    /// By their text.
    fn cmp(&self, other: &Self) -> Ordering {
        self.text().cmp(&other.text())
    }
}

impl PartialOrd for HostId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for HostId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Id::Number(number) => write!(formatter, "{number}"),
            Id::Text(text) => formatter.write_str(text),
        }
    }
}

/// An enrolled host, as the server described it when it was resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// What the backend calls it.
    pub id: HostId,
    /// Its names, and when it was seen: its methods tell them.
    pub texts: Packed,
    /// Its address, where the server says and it can be one host's.
    pub address: Option<IpAddr>,
    /// The platform, where the server's word for it is known.
    pub platform: Option<Platform>,
    /// Whether the server holds it for online; `None` where it did not say.
    pub online: Option<bool>,
    /// How often it checks in, in seconds, where the server says so.
    pub check_in_seconds: Option<NonZeroU32>,
    /// A phone or tablet: it runs no osquery, so that it is never asked and never waited for.
    pub unsupported: bool,
}

/// What a host is called, and when it was seen; each may be empty.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Texts<'a> {
    /// Hostname, as the server spells it.
    pub hostname: &'a str,
    /// Hardware uuid, as the server spells it.
    pub uuid: &'a str,
    /// Hardware serial.
    pub serial: &'a str,
    /// The name that the computer has beside its hostname; empty where it is the same.
    pub computer_name: &'a str,
    /// When the server last saw it: RFC 3339, as the server wrote it.
    pub last_seen: &'a str,
}

/// Bytes of a text that are kept: no step can name what is longer.
const LONGEST_TEXT: usize = 16_000;

/// A host's texts, one behind the other: there may be a hundred thousand hosts, and five allocations for each would
/// take as much memory as what they hold.
#[derive(Clone, PartialEq, Eq)]
pub struct Packed {
    text: Box<str>,
    /// Where the first four end.
    ends: [u16; 4],
}

impl Packed {
    fn of(texts: &Texts<'_>) -> Self {
        let parts = [
            texts.hostname,
            texts.uuid,
            texts.serial,
            texts.computer_name,
            texts.last_seen,
        ];
        let parts = parts.map(|part| cut(part, LONGEST_TEXT));
        let mut ends = [0; 4];
        let mut end = 0;
        for (place, part) in ends.iter_mut().zip(&parts) {
            end += part.len();
            *place = u16::try_from(end).unwrap_or(u16::MAX);
        }
        Self {
            text: parts.concat().into_boxed_str(),
            ends,
        }
    }

    fn part(&self, index: usize) -> &str {
        let end_of = |index: usize| {
            self.ends
                .get(index)
                .map_or(self.text.len(), |end| usize::from(*end))
        };
        let from = index.checked_sub(1).map_or(0, end_of);
        self.text.get(from..end_of(index)).unwrap_or_default()
    }
}

impl fmt::Debug for Packed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = (0..=self.ends.len()).map(|index| self.part(index));
        formatter.debug_list().entries(parts).finish()
    }
}

impl Host {
    /// A host of which nothing is known but what it is called.
    pub fn new(id: HostId, texts: &Texts<'_>) -> Self {
        Self {
            id,
            texts: Packed::of(texts),
            address: None,
            platform: None,
            online: None,
            check_in_seconds: None,
            unsupported: false,
        }
    }

    /// A host of which nothing is known but the name that its server knows it by.
    pub fn named(name: &str) -> Self {
        let texts = Texts {
            hostname: name,
            ..Texts::default()
        };
        Self::new(name.into(), &texts)
    }

    fn text(&self, which: Text) -> &str {
        self.texts.part(which as usize)
    }

    /// Hostname, as the server spells it.
    pub fn hostname(&self) -> &str {
        self.text(Text::Hostname)
    }

    /// Hardware uuid, as the server spells it; may be empty.
    pub fn uuid(&self) -> &str {
        self.text(Text::Uuid)
    }

    /// Hardware serial; may be empty.
    pub fn serial(&self) -> &str {
        self.text(Text::Serial)
    }

    /// The name that the computer has beside its hostname; empty where it is the same.
    pub fn computer_name(&self) -> &str {
        self.text(Text::ComputerName)
    }

    /// When the server last saw it: RFC 3339, as the server wrote it.
    pub fn last_seen(&self) -> Option<&str> {
        Some(self.text(Text::LastSeen)).filter(|seen| !seen.is_empty())
    }

    /// The host with other texts.
    #[must_use]
    pub fn with(self, mut text: impl for<'t> FnMut(Text, &'t str) -> Cow<'t, str>) -> Self {
        let texts = {
            let texts = Text::ALL.map(|which| text(which, self.text(which)));
            let mut both = Text::ALL.into_iter().zip(&texts);
            if both.all(|(which, text)| **text == *self.text(which)) {
                None
            } else {
                let [hostname, uuid, serial, computer_name, last_seen] = &texts;
                Some(Packed::of(&Texts {
                    hostname,
                    uuid,
                    serial,
                    computer_name,
                    last_seen,
                }))
            }
        };
        match texts {
            Some(texts) => Self { texts, ..self },
            None => self,
        }
    }
}

/// One of a host's texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Text {
    /// [`Texts::hostname`].
    Hostname,
    /// [`Texts::uuid`].
    Uuid,
    /// [`Texts::serial`].
    Serial,
    /// [`Texts::computer_name`].
    ComputerName,
    /// [`Texts::last_seen`].
    LastSeen,
}

impl Text {
    /// As they stand in [`Packed`].
    const ALL: [Self; 5] = [
        Self::Hostname,
        Self::Uuid,
        Self::Serial,
        Self::ComputerName,
        Self::LastSeen,
    ];
}

/// Hosts that the server has for a step's targets. Which of them a name means is not the backend's to
/// say: `named` may hold more than what matches.
#[derive(Debug, Default)]
pub struct Candidates {
    /// Hosts found for the names in `Targets::hosts`: at least every one that [`Sought::meets`] says yes to.
    ///
    /// [`Sought::meets`]: super::names::Sought::meets
    pub named: Vec<Host>,
    /// Members of the labels, or every host of the platforms where nothing else was named.
    pub grouped: Vec<Host>,
    /// What was seen of others on the way.
    pub seen: Seen,
    /// The server lists no hosts: each name of the step is one host until it says otherwise.
    pub unlisted: bool,
}

/// What one host answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Rows, or none.
    Rows(Rows),
    /// osquery's own error message.
    Error(String),
}

/// Who has been asked once a campaign is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// All hosts at once.
    All,
    /// Each one when its [`Event::Asked`] comes.
    OneByOne,
}

/// The platforms a step can narrow to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Platform {
    /// Any Linux distribution.
    Linux,
    /// macOS.
    Darwin,
    /// Windows.
    Windows,
}

impl Platform {
    /// The name in steps.
    pub fn name(self) -> &'static str {
        match self {
            Self::Linux => "linux",
            Self::Darwin => "darwin",
            Self::Windows => "windows",
        }
    }

    /// The platform that a server's word for a host stands for: both servers give the distribution
    /// (`ubuntu`, `rhel`, …) for Linux. `None` for phones, tablets, Chromebooks and no word at all.
    pub fn of_host(word: &str) -> Option<Self> {
        match word.to_ascii_lowercase().as_str() {
            "" | "ios" | "ipados" | "android" | "chrome" | "freebsd" => None,
            "darwin" | "macos" => Some(Self::Darwin),
            "windows" => Some(Self::Windows),
            _ => Some(Self::Linux),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// There may be a hundred thousand: what one takes is in `docs/performance.md`.
    #[test]
    fn a_host_is_small() {
        assert_eq!(size_of::<HostId>(), 16);
        assert!(size_of::<Host>() <= 72, "{}", size_of::<Host>());
    }

    #[test]
    fn an_id_is_its_text() {
        let texts = [
            "",
            "0",
            "00",
            "007",
            "+7",
            "-7",
            "7",
            "18446744073709551615",
            "18446744073709551616",
            "A-7",
            " 7",
        ];
        for (at, one) in texts.iter().enumerate() {
            let id = HostId::from(*one);
            assert_eq!((&*id.text(), &*id.to_string()), (*one, *one));
            for (other_at, other) in texts.iter().enumerate() {
                let other_id = HostId::from(*other);
                assert_eq!(id == other_id, at == other_at, "{one} {other}");
                assert_eq!(id.cmp(&other_id), one.cmp(other), "{one} {other}");
            }
        }
        assert_eq!(HostId::from("31"), HostId::from(31));
        assert_eq!(HostId::from("A").number(), None);
    }

    #[test]
    fn what_nobody_can_name_is_cut() {
        let long = "é".repeat(LONGEST_TEXT);
        let texts = Texts {
            hostname: &long,
            uuid: &long,
            serial: &long,
            computer_name: &long,
            last_seen: "2026",
        };
        let host = Host::new(HostId::from(1), &texts);
        for text in [
            host.hostname(),
            host.uuid(),
            host.serial(),
            host.computer_name(),
        ] {
            assert!(
                text.len() <= LONGEST_TEXT && text.ends_with("é…"),
                "{}",
                text.len()
            );
        }
        assert_eq!(host.last_seen(), Some("2026"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]
        #[test]
        fn a_host_keeps_its_texts(given in prop::array::uniform5(".{0,8}"), others in prop::array::uniform5("[ab]?")) {
            let [hostname, uuid, serial, computer_name, last_seen] = given.each_ref().map(String::as_str);
            let texts = Texts { hostname, uuid, serial, computer_name, last_seen };
            let host = Host::new(HostId::from(1), &texts);
            let told = |host: &Host| {
                let seen = host.last_seen().unwrap_or_default();
                [host.hostname(), host.uuid(), host.serial(), host.computer_name(), seen].map(str::to_owned)
            };
            prop_assert_eq!(&told(&host), &given);
            prop_assert_eq!(&host.clone().with(|_, text| text.into()), &host);
            let changed = host.with(|which, _| others[which as usize].clone().into());
            prop_assert_eq!(told(&changed), others);
        }
    }
}
