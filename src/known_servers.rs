//! The facts of each kind of server in one table: what it is called, what it needs of a step, what it can
//! do, and what its SQL may not hold. Whoever needs such a fact takes it from here; a further server is one
//! entry here, one in `servers/open.rs`, and its folder. Knows no client and no wire.

use serde_json::{Map, Value};

/// The kinds of server that are spoken to, in the table's order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Fleet.
    Fleet,
    /// osctrl.
    Osctrl,
    /// AiSOC's own osquery service.
    AisocDirect,
}

/// What is known of a kind of server before it is spoken to.
#[derive(Debug)]
pub struct KnownServer {
    /// Which.
    pub kind: Kind,
    /// The word for it in a step's `backend`, and in documents.
    pub name: &'static str,
    /// Other words for it in a step's `backend`.
    pub aliases: &'static [&'static str],
    /// What its makers call it, for messages.
    pub title: &'static str,
    /// What a step says besides `base_url` and credentials, and may say of no other server.
    pub needs: &'static [Need],
    /// Fields of `params` that no other server takes.
    pub only: &'static [Only],
    /// What it can do.
    pub has: Has,
    /// What `collect` can ask of it.
    pub collects: Collects,
    /// Words that no SQL may hold that it is sent, in lower case.
    pub forbidden_words: &'static [ForbiddenWord],
    /// What an answer without rows proves.
    pub proof: Proof,
    /// The form in which it keeps queries that are saved beforehand, where it keeps any.
    pub saved_queries: Option<SavedQueries>,
    /// What events of it are called.
    pub events: Events,
    /// What stands in examples.
    pub example: Example,
}

/// A field of `params`, and of an instance in the operator's policy.
#[derive(Debug)]
pub struct Need {
    /// Its key.
    pub field: &'static str,
    /// What it is, after "must be".
    pub what: &'static str,
    /// One.
    pub example: &'static str,
    /// Whether nobody gets in without it.
    pub required: bool,
}

/// A field of `params` that goes with some servers only, and is never needed.
#[derive(Debug)]
pub struct Only {
    /// Its key.
    pub field: &'static str,
    /// What it is about, after "has no".
    pub what: &'static str,
}

/// What a server can do for a campaign.
#[derive(Debug)]
pub struct Has {
    /// Whether users log in with a name and a password; else there are tokens only.
    pub logins: bool,
    /// What it calls the groups that `target_labels` names; `None` where it has none.
    pub labels: Option<&'static str>,
    /// Whether it tells of each host's platform, for `target_platforms`.
    pub platforms: bool,
    /// Whether it lists hosts, so that it is known before the dispatch how many there are and who is missing;
    /// else nothing is known of a host but the name that it goes by there.
    pub count: bool,
    /// Whether it tells which hosts are offline.
    pub presence: bool,
    /// Whether it can be told to stop a campaign; else a query that nobody has answered stays with it.
    pub stop: bool,
    /// Whether it runs queries that it keeps, by their id, on hosts of the client's choosing.
    pub saved_queries: bool,
    /// Whether a query can stay there for hosts that come back when nobody listens any more.
    pub queue: bool,
}

/// What a server has for `collect`.
#[derive(Debug)]
pub struct Collects {
    /// What can be polled.
    pub streams: &'static [Stream],
    /// Fields of a connector that no other server takes.
    pub only: &'static [Only],
}

/// What can be polled of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stream {
    /// Its hosts, and whether they are there.
    Hosts,
    /// Results of the queries that it keeps or has dispatched.
    Queries,
}

impl Stream {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Hosts, Self::Queries];

    /// The word in a connector's `streams`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hosts => "hosts",
            Self::Queries => "queries",
        }
    }

    /// The one of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|stream| stream.name() == name)
    }
}

/// A word that makes a server do something else than ask.
#[derive(Debug)]
pub struct ForbiddenWord {
    /// The word, in lower case; it may stand anywhere in the SQL, a value included.
    pub word: &'static str,
    /// Why, as a sentence.
    pub why: &'static str,
}

/// What an answer without rows proves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// That nothing matched: the server passes a host's error on, so it can't look like no rows.
    Itself,
    /// Nothing: the server drops a host's error and calls it no rows. So the statement is sent in a form of
    /// which a host that found nothing answers a row that says so.
    Marker,
}

/// A server's form for queries that are saved beforehand.
#[derive(Debug)]
pub struct SavedQueries {
    /// The word in `templates export --format`.
    pub format: &'static str,
    /// What it is, for the help.
    pub what: &'static str,
}

/// What events of a server are called where others have names for them.
#[derive(Debug)]
pub struct Events {
    /// What AiSOC calls the server in titles.
    pub title: &'static str,
    /// How AiSOC names the rows of a query and a host.
    pub row_ids: RowIds,
    /// Prometheus's names for the numbers of its hosts: all, online, offline, missing.
    pub host_gauges: Option<[&'static str; 4]>,
    /// Prometheus's name for the number of rows of a query.
    pub results_gauge: &'static str,
}

/// How AiSOC's connector names the rows of a query and a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowIds {
    /// `SERVER-qQUERY-hHOST`, by the server's numbers.
    Numbers,
    /// `QUERY::UUID`, by the query's name.
    Names,
}

/// What stands in examples.
#[derive(Debug)]
pub struct Example {
    /// An address.
    pub url: &'static str,
    /// The name of the secret that holds the token.
    pub secret: &'static str,
    /// A step of `playbooks/`: its path and its text.
    #[cfg(feature = "demo")]
    pub playbook: (&'static str, &'static str),
}

/// Every kind of server that is spoken to; the first one stands in examples.
pub static ALL: [KnownServer; 3] = [
    KnownServer {
        kind: Kind::Fleet,
        name: "fleetdm",
        aliases: &["fleet"],
        title: "Fleet",
        needs: &[],
        only: &[
            Only {
                field: "target_teams",
                what: "teams",
            },
            Only {
                field: "target_host_ids",
                what: "numbers for its hosts",
            },
        ],
        has: Has {
            logins: true,
            labels: Some("labels"),
            platforms: true,
            count: true,
            presence: true,
            stop: true,
            saved_queries: true,
            queue: false,
        },
        collects: Collects {
            streams: &[Stream::Hosts, Stream::Queries],
            only: &[Only {
                field: "team_id",
                what: "teams",
            }],
        },
        forbidden_words: &[],
        proof: Proof::Itself,
        saved_queries: Some(SavedQueries {
            format: "fleet",
            what: "Fleet's GitOps file (YAML): queries that observers may run",
        }),
        events: Events {
            title: "FleetDM",
            row_ids: RowIds::Numbers,
            host_gauges: Some([
                "fleet_hosts_total",
                "fleet_hosts_online",
                "fleet_hosts_offline",
                "fleet_hosts_missing",
            ]),
            results_gauge: "fleet_scheduled_query_results",
        },
        example: Example {
            url: "https://fleet.example.com",
            secret: "fleet_token",
            #[cfg(feature = "demo")]
            playbook: (
                "playbooks/triage-running-processes.step.yaml",
                include_str!("../playbooks/triage-running-processes.step.yaml"),
            ),
        },
    },
    KnownServer {
        kind: Kind::Osctrl,
        name: "osctrl",
        aliases: &[],
        title: "osctrl",
        needs: &[Need {
            field: "environment",
            what: "the name or uuid of an osctrl environment",
            example: "production",
            required: true,
        }],
        only: &[],
        has: Has {
            logins: true,
            labels: Some("tags"),
            platforms: true,
            count: true,
            presence: true,
            // As far as the token may: the lowest level that can ask can't stop.
            stop: true,
            saved_queries: false,
            queue: true,
        },
        collects: Collects {
            streams: &[Stream::Queries],
            only: &[Only {
                field: "include_hidden",
                what: "hidden queries",
            }],
        },
        forbidden_words: &[ForbiddenWord {
            word: "carves",
            why: "osctrl takes any SQL with that word for a file carve",
        }],
        proof: Proof::Itself,
        saved_queries: Some(SavedQueries {
            format: "osctrl",
            what: "osctrl's saved queries (JSON): the bodies of POST /api/v1/saved-queries/ENVIRONMENT",
        }),
        events: Events {
            title: "osctrl",
            row_ids: RowIds::Names,
            host_gauges: None,
            results_gauge: "osctrl_query_results",
        },
        example: Example {
            url: "https://osctrl.example.com",
            secret: "osctrl_token",
            #[cfg(feature = "demo")]
            playbook: (
                "playbooks/triage-running-processes-osctrl.step.yaml",
                include_str!("../playbooks/triage-running-processes-osctrl.step.yaml"),
            ),
        },
    },
    KnownServer {
        kind: Kind::AisocDirect,
        name: "aisoc_direct",
        aliases: &[],
        title: "AiSOC's osquery service",
        needs: &[Need {
            field: "tenant_id",
            what: "a tenant's uuid",
            example: "00000000-0000-0000-0000-000000000001",
            required: false,
        }],
        only: &[],
        has: Has {
            logins: false,
            labels: None,
            platforms: false,
            count: false,
            presence: false,
            stop: false,
            saved_queries: false,
            queue: false,
        },
        collects: Collects {
            streams: &[],
            only: &[],
        },
        forbidden_words: &[],
        proof: Proof::Marker,
        saved_queries: None,
        // It has none that could be collected: its two calls list nothing.
        events: Events {
            title: "AiSOC",
            row_ids: RowIds::Names,
            host_gauges: None,
            results_gauge: "aisoc_query_results",
        },
        example: Example {
            url: "https://aisoc.example.com",
            secret: "aisoc_token",
            #[cfg(feature = "demo")]
            playbook: (
                "playbooks/triage-running-processes-aisoc.step.yaml",
                include_str!("../playbooks/triage-running-processes-aisoc.step.yaml"),
            ),
        },
    },
];

/// The table is in the order of [`Kind`]: each kind has its entry.
const _: () = {
    let mut at = 0;
    while at < ALL.len() {
        assert!(ALL[at].kind as usize == at);
        at += 1;
    }
};

impl Kind {
    /// What is known of it.
    pub fn known(self) -> &'static KnownServer {
        &ALL[self as usize]
    }
}

impl KnownServer {
    /// The server that a step's `backend` names.
    pub fn named(backend: &str) -> Option<&'static Self> {
        ALL.iter()
            .find(|known| known.name == backend || known.aliases.contains(&backend))
    }

    /// Why this server does not take a field of `params` that others do; a sentence about the field.
    pub fn lacks(&self, field: &str) -> Option<String> {
        if let Some(what) = self.unheard_of(field) {
            return Some(format!("`{field}` is not for {}: {what}", self.title));
        }
        self.lacks_of(|known| known.only, field)
    }

    /// The same of a field of a connector.
    pub fn lacks_in_polls(&self, field: &str) -> Option<String> {
        self.lacks_of(|known| known.collects.only, field)
    }

    fn lacks_of(&self, only: fn(&Self) -> &'static [Only], field: &str) -> Option<String> {
        let takes = |known: &Self| only(known).iter().any(|only| only.field == field);
        let mut all = ALL.iter().flat_map(only);
        let only = all
            .find(|only| only.field == field)
            .filter(|_| !takes(self))?;
        Some(format!(
            "`{field}` is for {} only: remove it, {} has no {}",
            titles(takes),
            self.title,
            only.what
        ))
    }

    /// Why a field means nothing here that most servers take, and what to do; the end of a sentence.
    fn unheard_of(&self, field: &str) -> Option<&'static str> {
        let has = &self.has;
        Some(match field {
            "username" | "password" if !has.logins => "it knows tokens only, give `api_token`",
            "target_labels" if has.labels.is_none() => {
                "it has no groups of hosts, name each host in `target_hosts`"
            }
            "target_platforms" if !has.platforms => {
                "it tells nothing of its hosts, name each host in `target_hosts`"
            }
            "also_match" if !has.count => {
                "it finds a host by the one name that it enrolled under, upper and lower case told apart; write that into `target_hosts`"
            }
            _ => return None,
        })
    }

    /// Why a step for this server may not say this of `offline_hosts`, as a sentence; `None` where it may.
    pub fn refuses_offline_hosts(&self, said: &str) -> Option<String> {
        let Self { has, title, .. } = self;
        match said {
            "skip" if !has.presence => Some(format!(
                "`offline_hosts: skip` is not for {title}, which does not tell who is offline: write `wait`"
            )),
            "queue" if !has.queue => {
                let only = titles(|known| known.has.queue);
                let why = match has.stop {
                    true => {
                        "keeps no live query for hosts that are offline; write `wait` or `skip`"
                    }
                    false => {
                        "hands every query out until it is answered, but keeps nothing by which a later run could find the answer; write `wait`"
                    }
                };
                Some(format!(
                    "`offline_hosts: queue` is for {only} only: {title} {why}"
                ))
            }
            _ => None,
        }
    }

    /// The first word in the SQL that this server may not be sent.
    pub fn forbidden_word(&self, sql: &str) -> Option<&'static ForbiddenWord> {
        let sql = sql.to_ascii_lowercase();
        let words: &'static [ForbiddenWord] = self.forbidden_words;
        words.iter().find(|forbidden| sql.contains(forbidden.word))
    }
}

/// The first word in the SQL that one of the servers may not be sent: templates are for all of them.
pub fn forbidden_word(sql: &str) -> Option<&'static ForbiddenWord> {
    ALL.iter().find_map(|known| known.forbidden_word(sql))
}

/// The titles of the servers that meet a condition, as `A, B or C`.
pub fn titles(meets: impl Fn(&KnownServer) -> bool) -> String {
    let titles = ALL.iter().filter(|known| meets(known));
    alternatives(titles.map(|known| known.title.to_owned()))
}

/// The words that a step's `backend` has for the servers, as `` `a` or `b` ``.
pub fn names() -> String {
    alternatives(ALL.iter().map(|known| format!("`{}`", known.name)))
}

/// `a, b or c`.
pub fn alternatives(of: impl Iterator<Item = String>) -> String {
    let mut of: Vec<String> = of.collect();
    let last = of.pop().unwrap_or_default();
    if of.is_empty() {
        last
    } else {
        format!("{} or {last}", of.join(", "))
    }
}

/// What a field is that only some servers need, and the titles of those.
pub fn need(field: &str) -> Option<(&'static Need, String)> {
    let of = |known: &KnownServer| known.needs.iter().any(|need| need.field == field);
    let mut needs = ALL.iter().flat_map(|known| known.needs);
    Some((needs.find(|need| need.field == field)?, titles(of)))
}

/// Which server is spoken to, with all that this kind of server needs besides an address and credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    /// Fleet.
    Fleet,
    /// osctrl.
    Osctrl {
        /// One of the server's environments, by name or uuid.
        environment: String,
    },
    /// AiSOC's own osquery service.
    AisocDirect {
        /// The uuid of the tenant that a service's token acts for; a console's token has its own.
        tenant: Option<String>,
    },
}

impl Access {
    /// What a step's `params`, or an instance, say; `None` where `backend` names no server, or something that
    /// it needs is not there.
    pub fn of(written: &Map<String, Value>) -> Option<Self> {
        let text = |field: &str| written.get(field).and_then(Value::as_str);
        Some(match KnownServer::named(text("backend")?)?.kind {
            Kind::Fleet => Self::Fleet,
            Kind::Osctrl => Self::Osctrl {
                environment: text("environment")?.to_owned(),
            },
            Kind::AisocDirect => Self::AisocDirect {
                tenant: text("tenant_id").map(str::to_owned),
            },
        })
    }

    /// What is known of the server.
    pub fn known(&self) -> &'static KnownServer {
        match self {
            Self::Fleet => Kind::Fleet,
            Self::Osctrl { .. } => Kind::Osctrl,
            Self::AisocDirect { .. } => Kind::AisocDirect,
        }
        .known()
    }

    /// What was said for each of [`KnownServer::needs`], by field.
    pub fn said(&self) -> Vec<(&'static str, &str)> {
        match self {
            Self::Fleet => Vec::new(),
            Self::Osctrl { environment } => vec![("environment", environment)],
            Self::AisocDirect { tenant } => {
                let tenant = tenant.as_deref().map(|tenant| ("tenant_id", tenant));
                tenant.into_iter().collect()
            }
        }
    }
}

/// The fields of `params`, and of an instance, that [`Access::of`] reads.
pub fn access_fields() -> impl Iterator<Item = &'static str> {
    let needs = ALL.iter().flat_map(|known| known.needs);
    std::iter::once("backend").chain(needs.map(|need| need.field))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::schema::texts;

    /// The least that gets into a server.
    fn written(known: &KnownServer) -> Map<String, Value> {
        let mut written = Map::new();
        written.insert("backend".into(), known.name.into());
        for need in known.needs {
            written.insert(need.field.into(), need.example.into());
        }
        written
    }

    #[test]
    fn an_access_is_whole_or_none() {
        for known in &ALL {
            let whole = written(known);
            let access = Access::of(&whole).unwrap();
            assert_eq!(access.known().kind, known.kind);
            let said: Vec<_> = known
                .needs
                .iter()
                .map(|need| (need.field, need.example))
                .collect();
            assert_eq!(access.said(), said);
            for need in known.needs {
                let mut less = whole.clone();
                less.remove(need.field);
                let access = Access::of(&less);
                assert_eq!(access.is_none(), need.required);
                assert!(access.is_none_or(|access| access.said().is_empty()));
            }
            for alias in known.aliases {
                let mut other = whole.clone();
                other.insert("backend".into(), (*alias).into());
                assert_eq!(Access::of(&other).as_ref(), Some(&access));
            }
        }
        for nobody in [
            json!({}),
            json!({"backend": "Fleet"}),
            json!({"backend": 1}),
        ] {
            assert_eq!(Access::of(nobody.as_object().unwrap()), None);
        }
    }

    /// The schemas are written by hand: they and the table know the same servers, with the same needs.
    #[test]
    fn the_schemas_know_the_same_servers() {
        let names: Vec<&str> = ALL
            .iter()
            .flat_map(|known| known.aliases.iter().chain([&known.name]))
            .copied()
            .collect();
        for (schema, params, properties) in [
            (
                texts::STEP,
                json!({"template": "uptime", "target_hosts": ["h"], "base_url": "https://h.example", "api_token": "t"}),
                "/$defs/params/properties/backend/enum",
            ),
            (
                texts::POLICY,
                json!({"base_url": "https://h.example", "credentials": {"api_token": {"env": "T"}}}),
                "/$defs/instance/properties/backend/enum",
            ),
        ] {
            let schema: Value = serde_json::from_str(schema).unwrap();
            let mut known_there: Vec<&str> = schema
                .pointer(properties)
                .and_then(Value::as_array)
                .unwrap_or_else(|| panic!("{properties}"))
                .iter()
                .filter_map(Value::as_str)
                .collect();
            let mut names = names.clone();
            names.sort_unstable();
            known_there.sort_unstable();
            assert_eq!(known_there, names);
            let validator = jsonschema::validator_for(&schema).unwrap();
            let is_valid = |access: &Map<String, Value>| {
                let mut params = params.clone();
                params.as_object_mut().unwrap().extend(access.clone());
                let whole = match params.get("template") {
                    Some(_) => json!({"id": "a", "type": "osquery_live_query", "params": params}),
                    None => json!({"instances": {"a": params}}),
                };
                validator.is_valid(&whole)
            };
            for known in &ALL {
                let whole = written(known);
                assert!(is_valid(&whole), "{}", known.name);
                for need in known.needs {
                    let mut less = whole.clone();
                    less.remove(need.field);
                    let without = format!("{} without {}", known.name, need.field);
                    assert_eq!(is_valid(&less), !need.required, "{without}");
                }
                for only in ALL.iter().flat_map(|other| other.only) {
                    let mut more = whole.clone();
                    more.insert(only.field.into(), json!([1]));
                    let text = more.clone();
                    let valid = [json!([1]), json!("a")].into_iter().any(|value| {
                        more.insert(only.field.into(), value);
                        is_valid(&more)
                    });
                    let takes =
                        params.get("template").is_some() && known.lacks(only.field).is_none();
                    assert_eq!(valid, takes, "{text:?}");
                }
                for other in ALL.iter().flat_map(|other| other.needs) {
                    if known.needs.iter().all(|need| need.field != other.field) {
                        let mut more = whole.clone();
                        more.insert(other.field.into(), other.example.into());
                        assert!(!is_valid(&more), "{} with {}", known.name, other.field);
                    }
                }
            }
        }
    }

    #[test]
    fn words_are_forbidden_in_every_spelling() {
        for forbidden in ALL.iter().flat_map(|known| known.forbidden_words) {
            assert_eq!(forbidden.word, forbidden.word.to_ascii_lowercase());
            let sql = format!("SELECT 'x{}y'", forbidden.word.to_ascii_uppercase());
            assert_eq!(forbidden_word(&sql).unwrap().word, forbidden.word);
        }
        assert!(forbidden_word("SELECT pid FROM processes").is_none());
    }

    #[test]
    fn servers_are_listed_as_people_do() {
        let all = "Fleet, osctrl or AiSOC's osquery service";
        assert_eq!(titles(|_| true), all);
        assert_eq!(need("environment").unwrap().1, "osctrl");
        assert!(need("base_url").is_none());
        assert_eq!(names(), "`fleetdm`, `osctrl` or `aisoc_direct`");
        let three = ["a", "b", "c"].map(str::to_owned).into_iter();
        assert_eq!(alternatives(three), "a, b or c");
    }
}
