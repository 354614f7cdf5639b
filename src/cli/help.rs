//! The longer texts of `--help`, broken into lines by hand for the manual page; clap breaks them again where
//! a terminal (or COLUMNS) is narrower.

use crate::exit::Exit;
use crate::known_servers;

/// Characters of a line.
const WIDTH: usize = 100;

/// The program in a sentence.
pub(crate) fn about() -> String {
    let servers = known_servers::titles(|_| true);
    format!("Runs one allowlisted osquery live query against {servers}")
}

/// The program as a whole.
pub(crate) fn program() -> String {
    format!("{}.\n\n{PROGRAM}", about())
}

const PROGRAM: &str = "\
Reads one `osquery_live_query` step (YAML or JSON) on stdin and writes one JSON document to
stdout: every target is either a key of `results` or listed in `timed_out_hosts`. Warnings and
errors go to stderr. Without a verb, `run` is meant.";

/// What one does first.
pub(crate) const PROGRAM_EXAMPLES: &str = "\
Examples:
  osquery-live-query templates --search process               find a template
  osquery-live-query templates processes_by_name              see its SQL, parameters and an example
  osquery-live-query check --context alert.yaml < step.yaml   what would be sent, to whom
  osquery-live-query --context alert.yaml < step.yaml         ask the hosts
  osquery-live-query show --format markdown document.json     what they said, for a ticket

`osquery-live-query VERB --help` says more of each verb.";

/// `run`.
pub(crate) const RUN: &str = "\
Execute the step on stdin.

stdin holds a step as the playbook has it, a list of exactly one step, or an invocation:
{protocol: 1, step: {…}, context: {alert: {…}}, secrets: {name: value}}. It is read to its end;
nothing is ever asked back.

The step is checked against its schema and the allowlist before any socket is opened. One
deadline, the step's `timeout_seconds` from the start of the process, covers everything. SIGINT
and SIGTERM stop the campaign and write the document as far as it came.

A credential is written {{ secrets.NAME }} in the step. Its value comes from the invocation, from
a file NAME in --secrets-dir, or from the variable OSQUERY_LIVE_QUERY_SECRET_NAME.";

/// What `collect` is for.
pub(crate) const COLLECT_EXAMPLES: &str = "\
Examples:
  osquery-live-query collect --check < connector.yaml
  osquery-live-query collect --state /var/lib/events/corp.state < connector.yaml >> events.ndjson

Exit status: 0, 3 a stream failed or is not whole, 2 wrong flags, or a file or state that can't be used, 10
to 14 the connector is refused, 20 to 25 nothing could be polled (24: the state is in use), 74 events or state
can't be written, 130 and 143 a signal: what was read to its end lasts.";

/// What `alert` is for.
pub(crate) const ALERT_EXAMPLES: &str = "\
Examples:
  osquery-live-query alert < webhook.json > context.json
  osquery-live-query run --context context.json < step.yaml
  osquery-live-query alert --invocation step.yaml < webhook.json | osquery-live-query run

Exit status: 0 (an alert, or a receipt), 2 wrong flags or files, 10 no alert that is known, 12 no
such secret, 20 a signature that does not fit.";

/// The exit statuses of `run` and `check`.
pub(crate) fn run_status() -> String {
    let mut text = "Exit status:".to_owned();
    for exit in Exit::OF_RUN {
        let head = format!("{:>5}  {:<11}  ", exit.status(), exit.name());
        let mut line = head.clone();
        for word in exit.meaning().split(' ') {
            if line.chars().count() + word.chars().count() > WIDTH {
                text = format!("{text}\n{}", line.trim_end());
                line = " ".repeat(head.len());
            }
            line = format!("{line}{word} ");
        }
        text = format!("{text}\n{}", line.trim_end());
    }
    text
}

/// `check`.
pub(crate) const CHECK: &str = "\
Everything that `run` does up to the dispatch, and what would be sent to whom.

Checks the step, the credentials and the targets against the real server, and dispatches
nothing. The document is that of `run` with empty `results`, and `planned`: the SQL, the hosts
that would be asked, and the targets that the server does not know.

Exit status: as of `run`, 0 where the step could be dispatched.";

/// `templates`.
pub(crate) const TEMPLATES: &str = "\
List the allowlist, or show one template with its SQL and an example step.

The list has each template's intent, platforms and parameters: by topic on a terminal, one line
a template elsewhere. A parameter in [brackets] has a default. Touches no network.";

/// Uses of `templates`.
pub(crate) const TEMPLATES_EXAMPLES: &str = "\
Examples:
  osquery-live-query templates --search ssh
  osquery-live-query templates --tag persistence --platform windows
  osquery-live-query templates processes_by_name
  osquery-live-query templates processes_by_name --format step > step.yaml";

/// `schema`.
pub(crate) const SCHEMA: &str = "\
Print a JSON Schema (draft 2020-12).

For editors and for programs that write steps or read documents. Touches no network.";

/// `describe`.
pub(crate) const DESCRIBE: &str = "\
Describe this build as JSON, for engines that adapt to it.

One object: `name`, `version`, `protocols` (of the invocation), `step_type`, `backends`, `servers`
(what each needs of a step, and can do), `verbs`, `schemas`, `templates` (their names) and
`exit_codes` (each with its meaning, and whether the same step may succeed later). Touches no
network.";

/// Where the completions go.
pub(crate) const COMPLETIONS_INSTALL: &str = "\
Install:
  bash  osquery-live-query completions bash > ~/.local/share/bash-completion/completions/osquery-live-query
  zsh   osquery-live-query completions zsh > \"${fpath[1]}/_osquery-live-query\"
  fish  osquery-live-query completions fish > ~/.config/fish/completions/osquery-live-query.fish";

/// Where the manual page goes.
pub(crate) const MAN_INSTALL: &str = "\
Install:
  osquery-live-query man > ~/.local/share/man/man1/osquery-live-query.1";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_fit_a_terminal() {
        let (status, program) = (run_status(), program());
        let texts = [
            &program,
            PROGRAM_EXAMPLES,
            RUN,
            &status,
            CHECK,
            TEMPLATES,
            TEMPLATES_EXAMPLES,
            SCHEMA,
            DESCRIBE,
            MAN_INSTALL,
        ];
        for line in texts.iter().flat_map(|text| text.lines()) {
            assert!(line.chars().count() <= WIDTH, "{line}");
        }
    }
}
