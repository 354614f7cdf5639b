//! What one host said to one query, in plain values: what becomes an event of OCSF or ECS. Knows nothing of
//! documents, so that whoever has a host, its query and a row can make events of them.

use serde_json::{Map, Value};

/// What was observed.
pub(crate) struct Observation<'a> {
    /// The event's own id: the same observation has the same.
    pub id: &'a str,
    /// When the answer came, in milliseconds since 1970.
    pub time: i64,
    /// What it belongs to: the run.
    pub run: Option<&'a str>,
    /// The trace of the W3C's Trace Context that the run is part of (32 hexadecimal digits).
    pub trace: Option<&'a str>,
    /// The kind of server that asked.
    pub server: Option<&'a str>,
    pub host: ObservedHost<'a>,
    pub query: Query<'a>,
    /// How grave a row is: `info`, `low`, `medium`, `high`, `critical`.
    pub severity: Option<&'a str>,
    pub found: Found<'a>,
}

/// A host, as the server knows it.
pub(crate) struct ObservedHost<'a> {
    pub hostname: &'a str,
    pub uuid: Option<&'a str>,
}

/// What the host was asked.
pub(crate) struct Query<'a> {
    pub name: Option<&'a str>,
    /// The server's id of it.
    pub id: Option<&'a str>,
    pub sql: Option<&'a str>,
    /// When, in milliseconds since 1970.
    pub asked: Option<i64>,
    /// The tables that it reads, where that is known.
    pub tables: &'a [&'a str],
}

/// What came of it.
#[derive(Clone, Copy)]
pub(crate) enum Found<'a> {
    /// A row, out of all that there are or not.
    Row {
        row: &'a Map<String, Value>,
        all: bool,
    },
    /// There is nothing.
    Nothing,
    /// osquery's error.
    Error(&'a str),
    /// The host can't be asked.
    Unsupported,
    /// Nobody knows: why.
    Unknown(&'a str),
}

impl Observation<'_> {
    /// It in a sentence.
    pub fn message(&self) -> String {
        let host = self.host.hostname;
        let query = self.query.name.unwrap_or("a live query");
        match self.found {
            Found::Row { .. } => format!("{host} answered {query} with a row"),
            Found::Nothing => format!("{host} answered {query} without rows"),
            Found::Error(error) => format!("{host} answered {query} with an error: {error}"),
            Found::Unsupported => format!("{host} can't answer {query}"),
            Found::Unknown(why) => format!("{host}: {why} ({query})"),
        }
    }
}

/// What a row is of, by the tables that were read and the columns that came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Artifact {
    Connection,
    RegistryValue,
    Job,
    StartupItem,
    Service,
    Session,
    Interface,
    Peripheral,
    Kernel,
    Process,
    File,
    User,
    /// None of them.
    Other,
}

/// Tables (osquery 5.23.1) whose rows are of one kind, and a column of which one has to be there. What is
/// more telling stands first: who joins sockets with processes asks for the sockets.
const ARTIFACTS: &[(Artifact, &[&str], &[&str])] = &[
    (
        Artifact::Connection,
        &[
            "process_open_sockets",
            "listening_ports",
            "socket_events",
            "bpf_socket_events",
        ],
        &["protocol", "local_port", "remote_port", "port"],
    ),
    (Artifact::RegistryValue, &["registry"], &["name"]),
    (
        Artifact::Job,
        &["scheduled_tasks", "crontab"],
        &["name", "command"],
    ),
    (
        Artifact::StartupItem,
        &["startup_items", "launchd"],
        &["name", "label"],
    ),
    (
        Artifact::Service,
        &["services", "systemd_units"],
        &["name", "id"],
    ),
    (
        Artifact::Session,
        &["logged_in_users", "logon_sessions", "last"],
        &["tty", "logon_id", "user", "username"],
    ),
    (
        Artifact::Interface,
        &["interface_details", "interface_addresses"],
        &["interface"],
    ),
    (
        Artifact::Peripheral,
        &["usb_devices", "pci_devices"],
        &["model"],
    ),
    (
        Artifact::Kernel,
        &["kernel_modules", "kernel_extensions"],
        &["name"],
    ),
    (
        Artifact::Process,
        &[
            "processes",
            "process_events",
            "bpf_process_events",
            "es_process_events",
            "process_open_files",
            "process_memory_map",
            "process_envs",
        ],
        &["pid"],
    ),
    (
        Artifact::File,
        &[
            "file",
            "file_events",
            "hash",
            "suid_bin",
            "signature",
            "authenticode",
            "yara",
        ],
        &["path"],
    ),
    (
        Artifact::User,
        &["users", "shadow", "user_ssh_keys", "last"],
        &["username", "uid"],
    ),
];

impl Artifact {
    /// What a row of these tables is of.
    pub fn of(tables: &[&str], row: Cells<'_>) -> Self {
        let of = ARTIFACTS.iter().find(|(artifact, known, columns)| {
            let read = known.iter().any(|known| tables.contains(known));
            let has = columns.iter().any(|column| match artifact {
                Self::Process => row.number(column).is_some(),
                _ => row.text(column).is_some(),
            });
            read && has
        });
        of.map_or(Self::Other, |(artifact, ..)| *artifact)
    }
}

/// A row's cells by the types that schemas of events have: a cell that is of another is none.
#[derive(Clone, Copy)]
pub(crate) struct Cells<'a>(pub &'a Map<String, Value>);

impl<'a> Cells<'a> {
    /// A text that is not empty.
    pub fn text(self, column: &str) -> Option<&'a str> {
        let text = self.0.get(column)?.as_str()?;
        (!text.trim().is_empty()).then_some(text)
    }

    /// The first of the columns that has a text.
    pub fn first(self, columns: &[&str]) -> Option<&'a str> {
        columns.iter().find_map(|column| self.text(column))
    }

    /// A whole number of 32 bits, as OCSF's `integer_t` and a process id are.
    pub fn number(self, column: &str) -> Option<i32> {
        match self.0.get(column)? {
            Value::String(text) => text.trim().parse().ok(),
            other => other.as_i64()?.try_into().ok(),
        }
    }

    /// A whole number.
    pub fn long(self, column: &str) -> Option<i64> {
        match self.0.get(column)? {
            Value::String(text) => text.trim().parse().ok(),
            other => other.as_i64(),
        }
    }

    /// Of seconds since 1970 the milliseconds; zero and less is osquery's word for nothing.
    pub fn moment(self, column: &str) -> Option<i64> {
        let seconds = self.long(column).filter(|seconds| *seconds > 0)?;
        seconds.checked_mul(1_000)
    }

    /// A port.
    pub fn port(self, column: &str) -> Option<u16> {
        self.long(column)?.try_into().ok()
    }

    /// An address of IPv4 or IPv6.
    pub fn address(self, column: &str) -> Option<String> {
        let address: std::net::IpAddr = self.text(column)?.parse().ok()?;
        Some(address.to_string())
    }

    /// A digest of so many hexadecimal digits.
    pub fn digest(self, column: &str, digits: usize) -> Option<&'a str> {
        let digest = self.text(column)?;
        let whole = digest.len() == digits && digest.bytes().all(|one| one.is_ascii_hexdigit());
        whole.then_some(digest)
    }
}

/// The last part of a path of either kind.
pub(crate) fn file_name(path: &str) -> &str {
    let parts = path.trim_end_matches(['/', '\\']);
    let name = parts.rsplit(['/', '\\']).next().unwrap_or(parts);
    if name.is_empty() { path } else { name }
}

/// An object of what is known; objects in it of which nothing is known are left out.
pub(crate) fn object<const N: usize>(entries: [(&str, Option<Value>); N]) -> Value {
    let known = entries.into_iter();
    let known = known.filter_map(|(name, value)| Some((name.to_owned(), value?)));
    let known = known.filter(|(_, value)| value.as_object().is_none_or(|known| !known.is_empty()));
    Value::Object(known.collect())
}
