//! Signals of the first milliseconds: before the process has an ear it simply dies; from then on there is a
//! whole document, whatever has been read by then.

use std::time::{Duration, Instant};

use crate::harness::document::Line;
use crate::harness::{Ran, step};

/// A process to which nothing is written, and whose stdin stays open.
fn waiting(args: &[&str]) -> crate::harness::Running {
    step("").stdin_stays_open().args(args).start()
}

#[track_caller]
fn assert_cancelled(ran: &Ran, status: i32) {
    assert_eq!((ran.status, ran.killed), (status, false), "{ran:?}");
    let document = ran.document();
    assert!(document.cancelled && document.partial, "{ran:?}");
    assert!(document.error.is_none() && !document.executed, "{ran:?}");
}

#[test]
fn as_soon_as_there_is_an_ear() {
    for (signal, status) in [("TERM", 143), ("INT", 130), ("HUP", 143)] {
        for verb in [
            &[][..],
            &["run"],
            &["check"],
            &["run", "-v", "--exit-with-parent"],
        ] {
            let running = waiting(verb);
            running.wait_until_handled(signal);
            running.signal(signal);
            assert_cancelled(&running.wait(), status);
        }
        let running = waiting(&["run", "--format", "ndjson"]);
        running.wait_until_handled(signal);
        running.signal(signal);
        let ran = running.wait();
        assert_eq!((ran.status, ran.killed), (status, false), "{ran:?}");
        let lines = ran.lines();
        let [Line::Summary { cancelled, .. }] = &lines[..] else {
            panic!("{ran:?}");
        };
        assert!(cancelled, "{ran:?}");
    }
}

#[test]
fn at_every_moment() {
    const STEP: Duration = Duration::from_micros(200);
    let mut documents_in_a_row = 0;
    for round in 0..2_000 {
        let running = waiting(&[]);
        // What is tried is the moment itself: there is no event to wait for.
        let since = Instant::now();
        while since.elapsed() < STEP * round {
            std::hint::spin_loop();
        }
        running.signal("TERM");
        let ran = running.wait();
        if ran.killed {
            assert_eq!((ran.status, &*ran.stdout), (143, ""), "{ran:?}");
            documents_in_a_row = 0;
            continue;
        }
        assert_cancelled(&ran, 143);
        documents_in_a_row += 1;
        if documents_in_a_row == 20 {
            return;
        }
    }
    panic!("the process never has an ear");
}
