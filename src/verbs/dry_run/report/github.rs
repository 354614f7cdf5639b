//! Annotations of GitHub's runner: workflow commands (`::error file=…,line=…,col=…,title=…::message`),
//! escaped as `@actions/core` escapes them, so that no message can end its command or begin another.

use crate::printable::printable;
use crate::verbs::dry_run::finding::{FileReport, Summary};

pub(super) fn write(files: &[FileReport], summary: &Summary) -> String {
    let mut text = String::new();
    for file in files {
        for finding in &file.findings {
            let message = match &finding.step {
                Some(step) => format!("step {step}: {}", finding.message),
                None => finding.message.clone(),
            };
            text.push_str(&format!(
                "::{} file={},line={},col={},title={}::{}\n",
                finding.severity.name(),
                property(&file.path),
                finding.line,
                finding.column,
                property(&finding.rule),
                data(&message)
            ));
        }
    }
    text.push_str(&format!("{}\n", super::text::summary_line(summary)));
    text
}

/// The part after `::`. The file names of a pull request are somebody's: what a terminal or a log viewer
/// would act on is written out.
fn data(text: &str) -> String {
    let text = text
        .replace('%', "%25")
        .replace('\r', "%0D")
        .replace('\n', "%0A");
    printable(&text).into_owned()
}

/// A property's value.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::printable::is_hidden;
    use crate::verbs::dry_run::finding::{Finding, Severity};
    use proptest::prelude::*;

    fn report(path: &str, message: &str) -> String {
        let file = FileReport {
            path: path.into(),
            findings: vec![Finding::new(Severity::Error, "rule", message, None)],
            ..FileReport::default()
        };
        write(&[file], &Summary::default())
    }

    #[test]
    fn commands_are_escaped() {
        let text = report("a,b:c%.yaml", "100 %\r\n::warning::x");
        assert_eq!(
            text.lines().next(),
            Some(
                "::error file=a%2Cb%3Ac%25.yaml,line=1,col=1,title=rule::100 %25%0D%0A::warning::x"
            )
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]
        #[test]
        fn a_finding_is_one_line_and_reads_back(path in "[^\\x00]{1,20}", message in "[^\\x00]{0,40}") {
            let text = report(&path, &message);
            prop_assert_eq!(text.matches(['\n', '\r']).count(), 2);
            let line = text.split('\n').next().unwrap();
            let rest = line.strip_prefix("::error file=").unwrap();
            let (shown, rest) = rest.split_once(",line=1,col=1,title=rule::").unwrap();
            let read = |text: &str| {
                text.replace("%2C", ",").replace("%3A", ":").replace("%0A", "\n")
                    .replace("%0D", "\r").replace("%25", "%")
            };
            let visible = |text: &str| {
                let lines = text.split('\n').map(|line| {
                    let pieces: Vec<_> = line.split('\r').map(printable).collect();
                    pieces.join("\r")
                });
                lines.collect::<Vec<_>>().join("\n")
            };
            prop_assert_eq!(read(shown), visible(&path));
            prop_assert_eq!(read(rest), visible(&message));
            prop_assert!(!line.chars().any(is_hidden));
        }
    }
}
