//! The verbs `man` and `completions`: the manual page and the shells' completions, from clap's definition.

use std::collections::BTreeSet;
use std::io;

use clap::builder::{PossibleValue, PossibleValuesParser};
use clap::{Arg, Command, CommandFactory, ValueEnum};
use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

use crate::allowlist::Registry;
use crate::cli::{Cli, ShellName};
use crate::exit::Exit;
use crate::verbs::schema::SchemaName;

/// The completion script of a shell.
///
/// The shell offers the templates' names and tags too; the parser itself takes any, for a better message.
pub fn completions(shell: Shell) -> String {
    let names: Vec<&'static str> = Registry::embedded().names().collect();
    let tags: BTreeSet<&'static str> = Registry::embedded()
        .templates()
        .flat_map(|template| template.tags())
        .map(String::as_str)
        .collect();
    let offer = |arg: Arg, values: Vec<&'static str>| {
        arg.value_parser(PossibleValuesParser::new(values))
            .hide_possible_values(true)
    };
    let tags = |arg: Arg| offer(arg, tags.iter().copied().collect());
    let names = |arg: Arg| offer(arg, names.clone());
    let mut command = Cli::command().mut_subcommand("templates", |templates| {
        templates
            .mut_arg("name", names)
            .mut_arg("tags", tags)
            .mut_subcommand("export", |export| {
                export.mut_arg("names", names).mut_arg("tags", tags)
            })
    });
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, env!("CARGO_PKG_NAME"), &mut script);
    let mut script = String::from_utf8_lossy(&script).into_owned();
    match shell {
        Shell::Fish => script.push_str(&fish_values()),
        // clap_complete 4.6 spells a name with hyphens in two ways, and then completes no verb's flags.
        Shell::Bash => {
            script = script.replace(
                "osquery__subcmd__live__subcmd__query",
                "osquery__live__query",
            );
        }
        // Where the verb is left out, `--format` is one of `run`: without this the shell offers its values
        // after `dry-run --format`, too.
        Shell::Zsh => {
            let begins = "_arguments \"${_arguments_options[@]}\" : \\";
            let first_verb_first = "_arguments \"${_arguments_options[@]}\" -A \"-*\" : \\";
            script = script.replacen(begins, first_verb_first, 1);
        }
        _ => {}
    }
    script
}

/// The values of arguments without a flag, which clap's script for fish leaves out.
fn fish_values() -> String {
    let described = |name: &str, meaning: &str| {
        let meaning = meaning.replace('\\', "\\\\").replace('\'', "\\'");
        format!("{name}\t'{meaning}'")
    };
    let templates = Registry::embedded().templates();
    let templates: Vec<String> = templates
        .map(|template| described(template.name(), template.intent()))
        .collect();
    let values = |values: &[PossibleValue]| -> Vec<String> {
        let help = |value: &PossibleValue| value.get_help().map(ToString::to_string);
        values
            .iter()
            .map(|value| described(value.get_name(), &help(value).unwrap_or_default()))
            .collect()
    };
    let schemas: Vec<_> = of_enum::<SchemaName>();
    let shells: Vec<_> = of_enum::<ShellName>();
    [
        ("templates", templates),
        ("schema", values(&schemas)),
        ("completions", values(&shells)),
    ]
    .into_iter()
    .map(|(verb, values)| {
        format!(
            "complete -c osquery-live-query -n \"__fish_osquery_live_query_using_subcommand {verb}; and not __fish_seen_subcommand_from check\" -f -a \"{}\"\n",
            values.join("\n").replace('"', "\\\"").replace('$', "\\$")
        )
    })
    .collect()
}

fn of_enum<E: ValueEnum>() -> Vec<PossibleValue> {
    let variants = E::value_variants().iter();
    variants.filter_map(ValueEnum::to_possible_value).collect()
}

/// The manual page, section 1, with every verb in it.
///
/// # Errors
/// None that a buffer in memory has.
pub fn page() -> io::Result<String> {
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    let page = Man::new(command.clone());
    let mut text = Vec::new();
    page.render_title(&mut text)?;
    page.render_name_section(&mut text)?;
    page.render_synopsis_section(&mut text)?;
    page.render_description_section(&mut text)?;
    page.render_options_section(&mut text)?;
    for verb in command.get_subcommands() {
        verb_section("", verb, &mut text)?;
    }
    exit_status().to_writer(&mut text)?;
    environment().to_writer(&mut text)?;
    examples().to_writer(&mut text)?;
    page.render_version_section(&mut text)?;
    // Old troffs read bytes, not UTF-8.
    Ok(String::from_utf8_lossy(&text).replace('…', "..."))
}

/// A verb's part of the page, and those of its own verbs.
fn verb_section(above: &str, verb: &Command, text: &mut Vec<u8>) -> io::Result<()> {
    let name = format!("{above}{}", verb.get_name());
    // The options that every verb has stand once, above.
    let own = verb.get_arguments().filter(|arg| !arg.is_global_set());
    let hidden: Vec<clap::Id> = verb
        .get_arguments()
        .filter(|arg| arg.is_global_set())
        .map(|arg| arg.get_id().clone())
        .collect();
    let takes = own
        .filter(|arg| !["help", "version"].contains(&arg.get_id().as_str()))
        .count();
    let mut verb = verb.clone().disable_help_subcommand(true);
    for id in hidden {
        verb = verb.mut_arg(id, |arg| arg.hide(true));
    }
    for common in ["help", "version"] {
        if verb.get_arguments().any(|arg| arg.get_id() == common) {
            verb = verb.mut_arg(common, |arg| arg.hide(true));
        }
    }
    let page = Man::new(verb.clone());
    let mut part = Vec::new();
    page.render_description_section(&mut part)?;
    if takes > 0 {
        page.render_options_section(&mut part)?;
    }
    let part = String::from_utf8_lossy(&part).into_owned();
    let part = part
        .replacen(".SH DESCRIPTION\n", "", 1)
        .replacen(".SH OPTIONS\n", "", 1);
    let mut head = Roff::new();
    head.control("SH", [format!("VERB: {name}").as_str()]);
    head.to_writer(text)?;
    text.extend_from_slice(part.as_bytes());
    for inner in verb.get_subcommands() {
        verb_section(&format!("{name} "), inner, text)?;
    }
    Ok(())
}

fn exit_status() -> Roff {
    let mut part = Roff::new();
    part.control("SH", ["EXIT STATUS"]);
    part.text([roman(
        "Of run and check; templates check ends with 1 where it found problems.",
    )]);
    for exit in Exit::OF_RUN {
        part.control("TP", ["5"]);
        part.text([bold(exit.status().to_string())]);
        part.text([roman(format!("{}: {}", exit.name(), exit.meaning()))]);
    }
    part
}

fn environment() -> Roff {
    let mut part = Roff::new();
    part.control("SH", ["ENVIRONMENT"]);
    for (name, meaning) in [
        (
            "OSQUERY_LIVE_QUERY_SECRET_NAME",
            "The secret NAME (upper case, other characters than letters and digits as _), where neither the invocation nor the directory of secrets has it.",
        ),
        (
            "CREDENTIALS_DIRECTORY",
            "A directory with one file per secret, as systemd sets it; --secrets-dir overrides it.",
        ),
        (
            "HTTPS_PROXY, HTTP_PROXY, NO_PROXY",
            "The proxy to the server, as curl reads them.",
        ),
    ] {
        part.control("TP", []);
        part.text([bold(name)]);
        part.text([roman(meaning)]);
    }
    part
}

fn examples() -> Roff {
    let mut part = Roff::new();
    part.control("SH", ["EXAMPLES"]);
    for (meaning, line) in [
        (
            "Run a step:",
            "osquery-live-query --context alert.yaml --secrets-dir /run/secrets < step.yaml",
        ),
        (
            "See what it would send, and to whom:",
            "osquery-live-query check --context alert.yaml < step.yaml",
        ),
        (
            "From an alert to the text of a ticket:",
            "osquery-live-query run --context alert.json < step.yaml > document.json\nosquery-live-query show --format markdown document.json",
        ),
        (
            "Find a template, and begin a step with it:",
            "osquery-live-query templates --search ssh\nosquery-live-query templates authorized_keys --format step > step.yaml",
        ),
        (
            "Check templates of your own:",
            "osquery-live-query templates check templates/ --osquery-schema 5.23.1.json",
        ),
    ] {
        part.control("PP", []);
        part.text([roman(meaning)]);
        part.control("PP", []);
        part.control("nf", []);
        part.control("RS", ["4"]);
        part.text(
            line.split('\n')
                .map(roman)
                .flat_map(|line| [line, clap_mangen::roff::Inline::LineBreak])
                .collect::<Vec<_>>(),
        );
        part.control("RE", []);
        part.control("fi", []);
    }
    part
}
