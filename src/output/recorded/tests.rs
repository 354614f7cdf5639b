//! Reading what is broken: at every place, and by any change.

use std::io::Cursor;

use proptest::prelude::*;
use serde_json::Value;

use super::{ReadError, Recorded, read};

const SAMPLE: &str = include_str!("../../../tests/show/sample.json");

/// What is read of a text, with its rows.
fn reading(text: &[u8]) -> (Result<Recorded, ReadError>, Vec<(String, Value)>) {
    let mut rows = Vec::new();
    let read = read(Cursor::new(text), &mut |host, row| {
        rows.push((host.to_owned(), Value::Object(row)));
        Ok(())
    });
    (read, rows)
}

/// Lines of the sample, as `run --format ndjson` writes them.
fn lines() -> String {
    let mut document: Value = serde_json::from_str(SAMPLE).unwrap();
    let results = document["results"].take();
    let host = |(host, rows): (&String, &Value)| {
        let status = &document["hosts"][host]["status"];
        format!("{{\"type\":\"host\",\"host\":\"{host}\",\"status\":{status},\"rows\":{rows}}}\n")
    };
    let mut text: String = results.as_object().unwrap().iter().map(host).collect();
    document.as_object_mut().unwrap().shift_remove("results");
    text.push_str("{\"type\":\"summary\",");
    text.push_str(&document.to_string()[1..]);
    text
}

/// A prefix is an error or is known to be cut, and its rows are the first of all.
#[test]
fn no_prefix_passes_for_the_whole() {
    for text in [SAMPLE.trim_end(), &lines()] {
        let (whole, all) = reading(text.as_bytes());
        let whole = whole.unwrap();
        assert!(whole.cut.is_none() && whole.hosts.len() == 10 && all.len() == 5);
        for end in 0..text.len() {
            let (some, rows) = reading(&text.as_bytes()[..end]);
            assert_eq!(rows[..], all[..rows.len()], "{end}");
            if let Ok(some) = some {
                assert!(some.cut.is_some() && some.partial, "{end}");
                let kept: u64 = some.hosts.iter().map(|host| host.kept).sum();
                assert_eq!(kept, rows.len() as u64, "{end}");
            }
        }
    }
}

#[test]
fn who_takes_no_more_rows_ends_the_reading() {
    let stopped = read(Cursor::new(SAMPLE), &mut |_, _| {
        Err(std::io::ErrorKind::BrokenPipe.into())
    });
    let error = stopped.unwrap_err();
    assert!(
        matches!(error, ReadError::Sink(error) if error.kind() == std::io::ErrorKind::BrokenPipe)
    );
}

/// A text whose source breaks in the middle.
struct Broken<'a>(&'a [u8]);

impl std::io::Read for Broken<'_> {
    fn read(&mut self, piece: &mut [u8]) -> std::io::Result<usize> {
        if self.0.is_empty() {
            return Err(std::io::ErrorKind::ConnectionReset.into());
        }
        std::io::Read::read(&mut self.0, piece)
    }
}

#[test]
fn a_source_that_breaks_is_no_text_that_ends() {
    for text in [SAMPLE.to_owned(), lines()] {
        for end in [0, 1, 300, text.len() - 300, text.len()] {
            let read = read(Broken(&text.as_bytes()[..end]), &mut |_, _| Ok(()));
            let error = read.unwrap_err();
            let kind = std::io::ErrorKind::ConnectionReset;
            assert!(
                matches!(error, ReadError::Source(error) if error.kind() == kind),
                "{end}"
            );
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let (read, _) = reading(&bytes);
        prop_assert!(matches!(read, Err(ReadError::Text(_))));
    }

    /// Bytes of a document replaced, taken out or put in: read or refused, with one line that says why.
    #[test]
    fn any_change_is_read_or_refused(
        of_lines: bool,
        at in 0_usize..2_800,
        out in 0_usize..40,
        put in "[\\x00-\\x7f]{0,8}|\\\\[\"\\{\\}\\[\\]:,]|\"(rows|host|type|hosts|run|error)\":",
    ) {
        let text = if of_lines { lines() } else { SAMPLE.to_owned() };
        let (before, after) = text.as_bytes().split_at(at.min(text.len()));
        let changed = [before, put.as_bytes(), &after[out.min(after.len())..]].concat();
        let (read, rows) = reading(&changed);
        match read {
            Ok(recorded) => {
                let kept: u64 = recorded.hosts.iter().map(|host| host.kept).sum();
                prop_assert_eq!(kept, rows.len() as u64);
                prop_assert!(recorded.hosts.iter().all(|host| !host.status.is_empty() || recorded.cut.is_some()));
            }
            Err(ReadError::Text(error)) => {
                prop_assert!(!error.message.is_empty() && !error.message.contains('\n'));
                let lines = changed.split(|byte| *byte == b'\n').count();
                prop_assert!(error.position.is_none_or(|at| (1..=lines).contains(&at.line)));
            }
            Err(other) => prop_assert!(false, "{:?}", other),
        }
    }
}
