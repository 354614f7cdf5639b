//! What a server can do with HTTP itself: connections that end without a word, heads and bodies that never
//! end, bytes that are no HTTP, proxies that are none.

use std::time::Duration;

use osquery_simulator::Scenario;

use crate::harness::Ran;
use crate::harness::raw::{Ends, Raw, before};
use crate::harness::site::{Kind, Site, Step, host, on_all, on_every};

/// A fourth of a second, and as much again for a machine that does other things.
const LATE: Duration = Duration::from_millis(500);

/// Servers and proxies close connections that were kept; the client learns it when it uses one.
#[test]
fn faults_connections_that_end_without_a_word_between_two_requests() {
    for ends in [Ends::AtOnce, Ends::AtTheSecond] {
        on_every(|kind| {
            let site = Site::new(kind, Scenario::of([host("web-01"), host("web-02")]));
            let proxy = before(&site.simulator.base_url(), ends);
            for run in 1..=6 {
                let ran = Step::of(kind, &proxy.url(), &["web-01", "web-02"])
                    .binary()
                    .run();
                site.assert_no_secret(&ran);
                let document = ran.document();
                assert!(
                    ran.status == 0 && !document.partial,
                    "{kind:?} {ends:?}, run {run}: {ran:?}"
                );
                let seen = site.seen();
                let each = if kind.lists_hosts() { 1 } else { 2 };
                assert_eq!(seen.campaigns.len(), each * run, "never repeated");
                assert_eq!(kind.dispatches(&seen), each * run);
            }
        });
    }
}

/// What a server does with the first request.
#[derive(Clone)]
struct Trick {
    name: &'static str,
    /// Sent once.
    head: String,
    /// Sent until nobody takes it.
    more: &'static [u8],
    /// What the error says.
    words: &'static str,
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n";

fn trick(
    name: &'static str,
    head: impl Into<String>,
    more: &'static [u8],
    words: &'static str,
) -> Trick {
    Trick {
        name,
        head: head.into(),
        more,
        words,
    }
}

/// Runs a step against each trick on every kind of server, a few at once.
fn against<const N: usize>(
    tricks: [Trick; N],
    seconds: u32,
    test: impl Fn(&Trick, Kind, Ran) + Sync,
) {
    let mut all: Vec<(Kind, Trick)> = tricks
        .into_iter()
        .flat_map(|trick| Kind::ALL.map(|kind| (kind, trick.clone())))
        .collect();
    while !all.is_empty() {
        let some = all.split_off(all.len().saturating_sub(4));
        on_all(some, |(kind, trick)| {
            let server = Raw::answering(trick.head.clone().into_bytes(), trick.more);
            let step = Step::of(kind, &server.url(), &["web-01"]).timeout(seconds);
            test(&trick, kind, step.binary().run());
        });
    }
}

/// What can't be an answer is told as what it is, without waiting for the deadline.
#[test]
fn faults_what_is_no_answer() {
    const NO_HTTP: &str = "answered with something that is not HTTP";
    const LONG_HEAD: &str = "answered with a head that is larger than an answer's";
    const LINE: &[u8] = b"X-Filler: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n";
    let tricks = [
        trick("another protocol", "SSH-2.0-OpenSSH_9.9\r\n", b"", NO_HTTP),
        trick("a head without end", OK, LINE, LONG_HEAD),
        trick(
            "a field without end",
            format!("{OK}X-Filler: "),
            &[b'a'; 65_536],
            LONG_HEAD,
        ),
        trick(
            "chunks that are none",
            format!("{OK}Transfer-Encoding: chunked\r\n\r\nxyz\r\n"),
            b"",
            NO_HTTP,
        ),
        trick(
            "chunks with more about them than in them",
            format!("{OK}Transfer-Encoding: chunked\r\n\r\n"),
            b"1;aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n \r\n",
            NO_HTTP,
        ),
        trick(
            "a body that was compressed",
            format!("{OK}Content-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc"),
            b"",
            "a compressed body (Content-Encoding: gzip), which was not asked for",
        ),
        trick(
            "a refusal that was compressed",
            "HTTP/1.1 401 Unauthorized\r\nContent-Encoding: br\r\nContent-Length: 3\r\n\r\nabc",
            b"",
            "a compressed body (Content-Encoding: br), which was not asked for",
        ),
        trick(
            "a refusal without end",
            "HTTP/1.1 404 Not Found\r\nContent-Length: 99999999999\r\n\r\n",
            &[b' '; 65_536],
            "with more than 1 MiB, the most that is read of such an answer",
        ),
    ];
    against(tricks, 50, |trick, kind, ran| {
        let error = ran.document().error.expect("an error");
        assert!(
            error.code == "backend" && !error.retryable && error.message.contains(trick.words),
            "{}, {kind:?}: {error:?}",
            trick.name
        );
        assert!(
            ran.elapsed < Duration::from_secs(40),
            "{}: {:?}",
            trick.name,
            ran.elapsed
        );
    });
}

/// What may still become an answer is waited for until the deadline, and no longer, however much it is.
#[test]
fn faults_answers_that_never_come_to_an_end() {
    const PROMISES: &[u8] = &repeated::<25, 65_000>(b"HTTP/1.1 100 Continue\r\n\r\n");
    const SMALL_CHUNKS: &[u8] = &repeated::<6, 60_000>(b"1\r\n \r\n");
    let tricks = [
        trick("promises of an answer", "", PROMISES, ""),
        trick(
            "a body of small chunks",
            format!("{OK}Transfer-Encoding: chunked\r\n\r\n"),
            SMALL_CHUNKS,
            "",
        ),
        trick("silence", "", b"", ""),
        trick("a head that stops", OK, b"", ""),
        trick(
            "a body that stops",
            format!("{OK}Content-Length: 10\r\n\r\n["),
            b"",
            "",
        ),
    ];
    against(tricks, 2, |trick, kind, ran| {
        let error = ran.document().error.expect("an error");
        // A debug build may have read as much as is read of a page before that.
        assert!(
            matches!(&*error.code, "deadline" | "backend"),
            "{}, {kind:?}: {error:?}",
            trick.name
        );
        let late = ran.elapsed.saturating_sub(Duration::from_secs(2));
        assert!(late < LATE, "{}, {kind:?}: {late:?} late", trick.name);
        let most = 150 * 1_024;
        assert!(
            ran.peak_kib < most,
            "{}, {kind:?}: {} KiB",
            trick.name,
            ran.peak_kib
        );
    });
}

/// A text again and again, as far as it fits.
const fn repeated<const M: usize, const N: usize>(text: &[u8; M]) -> [u8; N] {
    let mut all = [0; N];
    let mut at = 0;
    while at < N {
        all[at] = text[at % M];
        at += 1;
    }
    all
}
