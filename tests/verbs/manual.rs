//! `schema`, `describe`, the help, the completions and the manual page.

use std::process::Command;

use super::{folder_with, json_of, printed, skipped};

#[test]
fn describe_and_schemas_name_each_other() {
    let description = json_of(&printed(["describe"]));
    for schema in description["schemas"].as_array().expect("schemas") {
        let document = json_of(&printed(["schema", schema.as_str().expect("a name")]));
        assert_eq!(
            document["$schema"],
            "https://json-schema.org/draft/2020-12/schema"
        );
        let validator = jsonschema::draft202012::new(&document).expect("a schema");
        for example in document["examples"].as_array().into_iter().flatten() {
            assert!(validator.is_valid(example), "{schema}: {example}");
        }
    }
    for verb in description["verbs"].as_array().expect("verbs") {
        let help = printed([verb.as_str().expect("a name"), "--help"]);
        assert!(help.contains("Usage: "), "{verb}");
    }
}

/// Every verb and flag has a help text, and it begins as a sentence.
#[test]
fn every_flag_is_explained() {
    use clap::CommandFactory;
    fn look(command: &clap::Command) {
        let name = command.get_name();
        assert!(command.get_about().is_some(), "{name} has no help");
        for arg in command.get_arguments() {
            let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
            assert!(
                help.chars().count() >= 10,
                "{name} {}: {help:?}",
                arg.get_id()
            );
        }
        command.get_subcommands().for_each(look);
    }
    let mut command = osquery_live_query::inside::Cli::command();
    command.build();
    let verbs = command
        .get_subcommands()
        .filter(|verb| verb.get_name() != "help");
    verbs.for_each(look);
}

/// Without a terminal the variable counts, as for other programs.
#[test]
fn help_fits_the_width_that_there_is() {
    use crate::harness::args;
    for verb in [
        "run",
        "check",
        "dry-run",
        "templates",
        "schema",
        "show",
        "describe",
    ] {
        for width in [50, 80] {
            let ran = args([verb, "--help"])
                .env("COLUMNS", width.to_string())
                .run();
            assert_eq!((ran.status, &*ran.stderr), (0, ""), "{verb}");
            // clap keeps a usage on its line.
            let words = |line: &&str| line.trim().contains(' ') && !line.starts_with("Usage: ");
            for line in ran.stdout.lines().filter(words) {
                assert!(line.chars().count() <= width, "{verb}, {width}: {line}");
            }
        }
    }
}

#[test]
fn bash_takes_the_completions() {
    let script = printed(["completions", "bash"]);
    // Sourced by a shell, it completes verbs, flags and templates.
    let asked = format!(
        "{script}\n\
         complete -p osquery-live-query\n\
         ask() {{ COMP_WORDS=(\"$@\"); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); COMPREPLY=()\n\
         _osquery__live__query osquery-live-query \"${{COMP_WORDS[COMP_CWORD]}}\" \"${{COMP_WORDS[COMP_CWORD-1]}}\"\n\
         printf '%s\\n' \"${{COMPREPLY[@]}}\"; }}\n\
         ask osquery-live-query templ\n\
         ask osquery-live-query templates running_\n\
         ask osquery-live-query templates check --osq\n\
         ask osquery-live-query schema st\n"
    );
    let Ok(output) = Command::new("bash").args(["--norc", "-c", &asked]).output() else {
        skipped("bash");
        return;
    };
    let said = String::from_utf8(output.stdout).expect("UTF-8");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    for word in ["templates", "running_processes", "--osquery-schema", "step"] {
        assert!(said.lines().any(|line| line == word), "{word}: {said}");
    }
}

#[test]
fn zsh_and_fish_have_completions_too() {
    let zsh = printed(["completions", "zsh"]);
    assert!(zsh.starts_with("#compdef osquery-live-query"), "{zsh}");
    let fish = printed(["completions", "fish"]);
    assert!(fish.contains("complete -c osquery-live-query"), "{fish}");
    for script in [zsh, fish] {
        assert!(script.contains("running_processes") && script.contains("osquery-schema"));
    }
    for (shell, file) in [("zsh", "zsh"), ("fish", "fish")] {
        let script = printed(["completions", shell]);
        let folder = folder_with(&[("script", &script)]);
        let Ok(output) = Command::new(file)
            .args(["-n", &folder.name("script")])
            .output()
        else {
            skipped(shell);
            continue;
        };
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{shell}");
    }
}

#[test]
fn the_manual_page_is_one() {
    let page = printed(["man"]);
    assert!(page.is_ascii(), "old troffs read bytes");
    let folder = folder_with(&[("page.1", &page)]);
    for section in [
        "NAME",
        "SYNOPSIS",
        "DESCRIPTION",
        "OPTIONS",
        "ENVIRONMENT",
        "EXAMPLES",
    ] {
        assert!(page.contains(&format!(".SH {section}\n")), "{section}");
    }
    for verb in [
        "run",
        "check",
        "templates",
        "templates check",
        "schema",
        "describe",
        "man",
    ] {
        assert!(page.contains(&format!(".SH \"VERB: {verb}\"\n")), "{verb}");
    }
    assert!(page.contains("130"), "exit statuses");
    // groff warns of macros and characters that it does not know.
    let groff = Command::new("groff")
        .args(["-man", "-Tascii", "-ww", &folder.name("page.1")])
        .output();
    let Ok(output) = groff else {
        skipped("groff");
        return;
    };
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert!(output.status.success() && output.stdout.len() > 5_000);
}

#[test]
fn a_closed_pipe_is_no_error() {
    let script = format!(
        "{} templates --format json | head -c 1 > /dev/null; exit ${{PIPESTATUS[0]}}",
        env!("CARGO_BIN_EXE_osquery-live-query")
    );
    let Ok(status) = Command::new("bash").args(["-c", &script]).status() else {
        skipped("bash");
        return;
    };
    assert_eq!(status.code(), Some(0));
}
