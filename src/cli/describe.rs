//! The verb `describe`: what this build is and can, as JSON, for engines that adapt to it.

use clap::{CommandFactory, ValueEnum};
use serde_json::{Map, Value, json};

use crate::allowlist::Registry;
use crate::cli::Cli;
use crate::exit::Exit;
use crate::input::PROTOCOLS;
use crate::known_servers::{self, KnownServer, Proof};
use crate::verbs::schema::SchemaName;

/// The description, as JSON text.
pub fn text() -> String {
    let backends: Vec<&str> = known_servers::ALL.iter().map(|known| known.name).collect();
    let templates: Vec<&str> = Registry::embedded().names().collect();
    let description = json!({
        "name": env!("CARGO_PKG_NAME"),
        "version": env!("CARGO_PKG_VERSION"),
        "protocols": PROTOCOLS,
        "step_type": "osquery_live_query",
        "backends": backends,
        "servers": known_servers::ALL.iter().map(server).collect::<Vec<_>>(),
        "verbs": verbs(),
        "schemas": SchemaName::value_variants().iter().filter_map(name_of).collect::<Vec<_>>(),
        "templates": templates,
        "exit_codes": exit_codes(),
    });
    format!("{description:#}\n")
}

/// What is known of a server.
fn server(known: &KnownServer) -> Value {
    let fields = |required: bool| -> Map<String, Value> {
        let fields = known.needs.iter().filter(|need| need.required == required);
        fields
            .map(|need| (need.field.to_owned(), need.what.into()))
            .collect()
    };
    let only: Vec<&str> = known.only.iter().map(|only| only.field).collect();
    let words: Vec<&str> = known
        .forbidden_words
        .iter()
        .map(|forbidden| forbidden.word)
        .collect();
    json!({
        "backend": known.name,
        "aliases": known.aliases,
        "title": known.title,
        "needs": fields(true),
        "takes": fields(false),
        "logins": known.has.logins,
        "target_labels": known.has.labels,
        "target_platforms": known.has.platforms,
        "only_here": only,
        "counts_hosts": known.has.count,
        "tells_who_is_offline": known.has.presence,
        "stops_campaigns": known.has.stop,
        "runs_saved_queries": known.has.saved_queries,
        "empty_answers_prove": match known.proof {
            Proof::Itself => true,
            // The statement itself brings the proof, whatever the server does.
            Proof::Marker => true,
        },
        "forbidden_words": words,
    })
}

/// The verbs' names, as the command line has them.
fn verbs() -> Vec<String> {
    let command = Cli::command();
    command
        .get_subcommands()
        .map(|verb| verb.get_name().to_owned())
        .collect()
}

fn name_of(schema: &SchemaName) -> Option<String> {
    Some(schema.to_possible_value()?.get_name().to_owned())
}

/// The exit codes of `run` and `check` in order, each with its name and meaning.
fn exit_codes() -> Vec<Value> {
    Exit::OF_RUN
        .into_iter()
        .map(|exit| {
            let mut entry = json!({
                "exit_code": exit.status(),
                "name": exit.name(),
                "meaning": exit.meaning(),
            });
            if let Some(retryable) = exit.retryable() {
                entry["retryable"] = retryable.into();
            }
            entry
        })
        .collect()
}
