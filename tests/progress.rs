//! How far a campaign is, on a real terminal: what is said there, that it fits, and that it is erased.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::fd::OwnedFd;

use osquery_simulator::Scenario;
use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::harness::site::{Site, host, on_every, silent};

/// Erases from the cursor to the end of the line.
const ERASED: &str = "\u{1b}[K";

/// A terminal: the end that a person looks at, and the one that a process writes to.
fn terminal(columns: u16) -> (File, OwnedFd) {
    let seen = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
    grantpt(&seen).expect("a terminal");
    unlockpt(&seen).expect("a terminal");
    let size = Winsize {
        ws_row: 24,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(&seen, size).expect("a size");
    let name = ptsname(&seen, Vec::new()).expect("a name");
    let written = rustix::fs::open(&name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty());
    (seen.into(), written.expect("the other end"))
}

/// All that was written to it, once the process has ended.
fn all_of(mut seen: File) -> String {
    let mut bytes = Vec::new();
    if let Err(error) = seen.read_to_end(&mut bytes) {
        // What Linux says where nobody has the other end open any more.
        assert_eq!(
            error.raw_os_error(),
            Some(rustix::io::Errno::IO.raw_os_error()),
            "{error}"
        );
        assert_ne!(error.kind(), ErrorKind::WouldBlock);
    }
    String::from_utf8(bytes).expect("text")
}

/// The texts that stood in the line one after the other, with N for the seconds.
fn texts(written: &str) -> Vec<String> {
    let mut texts: Vec<String> = Vec::new();
    for piece in written.split('\r') {
        let Some(text) = piece.strip_suffix(ERASED).filter(|text| !text.is_empty()) else {
            continue;
        };
        let text = match text.split_once(" s;") {
            Some((before, after)) => format!("{} N s;{after}", without_digits(before)),
            None => match text.strip_suffix(" s") {
                Some(before) => format!("{} N s", without_digits(before)),
                None => text.to_owned(),
            },
        };
        if texts.last() != Some(&text) {
            texts.push(text);
        }
    }
    texts
}

fn without_digits(text: &str) -> &str {
    text.trim_end_matches(|it: char| it.is_ascii_digit())
        .trim_end()
}

#[test]
fn a_terminal_shows_how_far_it_is() {
    let after = |answered: &str, rows: &str, waiting: &str| {
        [
            format!("{answered} of 3 hosts answered, N s"),
            format!("{answered} of 3 hosts answered, {rows}, N s; waiting for {waiting}"),
        ]
    };
    let before = after("0", "0 rows", "web-01, web-02, web-03");
    let at_the_end = after("1", "1 row", "web-02, web-03");
    on_every(|kind| {
        for (flags, which) in [(&[] as &[&str], 0), (&["--progress"], 1)] {
            let hosts = vec![host("web-01"), silent("web-02"), silent("web-03")];
            let site = Site::new(
                kind,
                Scenario {
                    hosts,
                    ..Scenario::default()
                },
            );
            let (seen, written) = terminal(120);
            let mut step = site.step(&["web-01", "web-02", "web-03"]).timeout(3);
            for flag in flags {
                step = step.arg(flag);
            }
            let ran = step.binary().stderr_to(written).run();
            assert_eq!(ran.status, 0);
            ran.document().assert_invariant();
            let written = all_of(seen);
            let texts = texts(&written);
            assert_eq!(
                texts.last(),
                Some(&at_the_end[which]),
                "{kind:?}: {written:?}"
            );
            let known = |text: &String| *text == before[which] || *text == at_the_end[which];
            assert!(texts.iter().all(known), "{kind:?}: {texts:?}");
            // Nothing of it stays: the warnings stand in its place.
            let (_, left) = written.rsplit_once(ERASED).expect("it was erased");
            assert!(
                left.starts_with("warning: ") && !left.contains("hosts answered, "),
                "{kind:?}: {left:?}"
            );
        }
    });
}

#[test]
fn a_narrow_terminal_gets_a_line_that_fits() {
    on_every(|kind| {
        let name = "a-host-with-a-name-that-is-long";
        let hosts = vec![silent(name)];
        let site = Site::new(
            kind,
            Scenario {
                hosts,
                ..Scenario::default()
            },
        );
        let (seen, written) = terminal(40);
        let step = site.step(&[name]).timeout(2).arg("--progress");
        let ran = step.binary().stderr_to(written).run();
        assert_eq!(ran.status, 0);
        let written = all_of(seen);
        let shown: Vec<String> = texts(&written);
        assert!(!shown.is_empty(), "{written:?}");
        for text in shown {
            assert!(text.chars().count() <= 39, "{kind:?}: {text:?}");
            assert!(text.starts_with("0 of 1 hosts answered"), "{text:?}");
        }
    });
}

#[test]
fn nothing_is_said_where_stderr_is_no_terminal() {
    on_every(|kind| {
        let hosts = vec![host("web-01"), silent("web-02")];
        let site = Site::new(
            kind,
            Scenario {
                hosts,
                ..Scenario::default()
            },
        );
        let step = site.step(&["web-01", "web-02"]).timeout(2);
        let ran = step.arg("--progress").binary().run();
        assert_eq!(ran.status, 0);
        assert!(!ran.stderr.contains("hosts answered"), "{}", ran.stderr);
    });
}
