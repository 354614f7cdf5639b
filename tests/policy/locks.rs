//! `max_concurrent`: campaigns at once against one server from this machine.

use super::*;
use crate::harness::Running;

fn limited(folder: &Folder, most: usize) -> PathBuf {
    if !folder.at("locks").exists() {
        folder.folder("locks");
    }
    folder.policy(&format!("max_concurrent: {most}\nlock_dir: locks"))
}

/// Starts a run against hosts that stay silent, and waits until its campaign runs.
fn occupy(simulator: &Simulator, policy: &std::path::Path, timeout: u64) -> Running {
    let before = simulator.campaigns().len();
    let text = fleet_step(
        &simulator.base_url(),
        &format!("timeout_seconds: {timeout}"),
    );
    let running = under(policy, &text).start();
    assert!(simulator.wait_until(|seen| seen.campaigns.len() > before, PATIENCE));
    running
}

const BUSY: &str = "error[busy]: this machine runs as many campaigns against the server as the policy's `max_concurrent` allows (1), and none ended before the deadline\n";

#[test]
fn who_comes_too_many_waits_and_ends_as_busy() {
    let folder = Folder::new();
    let simulator = silent_server();
    let policy = limited(&folder, 1);
    let first = occupy(&simulator, &policy, 60);
    let before = simulator.connections();
    let text = fleet_step(&simulator.base_url(), "timeout_seconds: 1");
    let second = under(&policy, &text).run();
    let document = second.assert_failure(24, "busy", BUSY);
    assert!(document.error.expect("an error").retryable);
    assert!(
        second.elapsed >= Duration::from_secs(1),
        "{:?}",
        second.elapsed
    );
    assert_eq!(simulator.connections(), before);
    // Another server has slots of its own.
    let other = server();
    assert_ran(&under(&policy, &fleet_step(&other.base_url(), "")).run());
    // `check` dispatches nothing.
    let check = binary(&text)
        .arg("check")
        .arg("--policy")
        .arg(&policy)
        .run();
    assert!(check.document().planned.is_some(), "{check:?}");
    first.signal("TERM");
    assert_eq!(first.wait().status, 143);
}

#[test]
fn a_slot_dies_with_its_process() {
    let folder = Folder::new();
    let simulator = silent_server();
    let policy = limited(&folder, 1);
    for round in 0..3 {
        let running = occupy(&simulator, &policy, 60);
        running.signal("KILL");
        assert_eq!(running.wait().status, 128 + 9, "round {round}");
    }
    assert_eq!(
        fs::read_dir(folder.at("locks")).expect("a folder").count(),
        1
    );
}

#[test]
fn who_waits_goes_on_when_a_slot_is_free() {
    let folder = Folder::new();
    let simulator = silent_server();
    let policy = limited(&folder, 2);
    let first = occupy(&simulator, &policy, 60);
    let second = occupy(&simulator, &policy, 60);
    let text = fleet_step(&simulator.base_url(), "timeout_seconds: 30");
    let third = under(&policy, &text).arg("-v").start();
    first.signal("TERM");
    assert!(simulator.wait_until(|seen| seen.campaigns.len() == 3, PATIENCE));
    for running in [first, second, third] {
        running.signal("TERM");
        assert_eq!(running.wait().status, 143);
    }
}

#[test]
fn a_signal_ends_the_waiting() {
    let folder = Folder::new();
    let simulator = silent_server();
    let policy = limited(&folder, 1);
    let first = occupy(&simulator, &policy, 60);
    let text = fleet_step(&simulator.base_url(), "timeout_seconds: 60");
    let second = under(&policy, &text).arg("-v").start();
    second.wait_for_stderr("waiting for one of the 1 campaigns");
    second.signal("INT");
    let ran = second.wait();
    assert_eq!(ran.status, 130);
    assert!(ran.document().cancelled);
    first.signal("TERM");
    first.wait();
}

#[test]
fn locks_that_others_can_reach_are_refused() {
    let folder = Folder::new();
    let simulator = server();
    let policy = limited(&folder, 1);
    let run = || under(&policy, &fleet_step(&simulator.base_url(), "")).run();
    folder.mode("locks", 0o777);
    let shown = folder.at("locks").display().to_string();
    assert_refused(
        &run(),
        &format!(
            "the policy {} can't be used: `lock_dir` {shown} can be written to by others (mode 0777): chmod go-w",
            policy.display()
        ),
    );
    fs::remove_dir(folder.at("locks")).expect("the folder");
    assert_refused(
        &run(),
        &format!(
            "the policy {} can't be used: `lock_dir` {shown} does not exist",
            policy.display()
        ),
    );
    assert_eq!(simulator.connections(), 0);
}
