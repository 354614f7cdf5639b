//! Limits of this process that are too low: named as such, at each value, and never taken for a bug.

use osquery_simulator::{Answer, HostSpec, Huge, Scenario};

use crate::harness::document::Line;
use crate::harness::site::{Site, host, on_every};
use crate::harness::{Binary, Ran, args};

/// The binary under a limit of sh's `ulimit`.
fn under(limit: &str, binary: Binary) -> Ran {
    binary
        .by_shell(format!("ulimit {limit} || exit 99; exec \"$@\""))
        .run()
}

/// Whether the process itself began: the loader and the runtime need files and memory, too.
fn begins(limit: &str) -> bool {
    let ran = under(limit, args(["--version"]));
    ran.status == 0
}

/// Either all went well, or there is a document that names the limit by one of these words.
#[track_caller]
fn well_or_named(ran: &Ran, about: &str, words: &[&str]) -> bool {
    for said in [&ran.stdout, &ran.stderr] {
        assert!(
            !said.contains("a bug") && !said.contains("panicked"),
            "{about}: {ran:?}"
        );
    }
    assert!(ran.status < 128, "{about}: {ran:?}");
    let document = ran.document();
    let Some(error) = document.error else {
        assert_eq!(ran.status, 0, "{about}: {ran:?}");
        return true;
    };
    let named = words.iter().any(|word| error.message.contains(word));
    assert!(named, "{about} is not named: {ran:?}");
    assert!(
        error.hint.is_some_and(|hint| hint.contains("limit")),
        "{about}: {ran:?}"
    );
    false
}

#[test]
fn open_files() {
    on_every(|kind| {
        let site = Site::new(kind, Scenario::of([host("web-01")]));
        let mut went_well = Vec::new();
        for most in 3..=20 {
            let limit = format!("-n {most}");
            if !begins(&limit) {
                assert!(most < 5, "the process does not begin with {most} files");
                continue;
            }
            let ran = under(&limit, site.step(&["web-01"]).binary());
            let words = ["may open no more files"];
            if well_or_named(&ran, &format!("{most} files"), &words) {
                went_well.push(most);
            }
        }
        assert!(went_well.contains(&20), "{went_well:?}");
    });
}

/// Rows of each host that answers much, and bytes of one.
const LARGE: Huge = Huge {
    rows: 4_000,
    row_bytes: 2_000,
};

/// The process ended in a library that does not ask (`docs/reliability.md`): the C library; what is small
/// enough that nothing here asks for it first.
fn died_in_a_library(ran: &Ran) -> bool {
    const SMALL: usize = 64 << 10;
    let refused = ran.stderr.strip_prefix("memory allocation of ");
    let bytes = refused.and_then(|rest| rest.split(' ').next()?.parse().ok());
    let allowed = bytes.is_some_and(|bytes: usize| bytes < SMALL);
    ran.killed && ran.status == 134 && (allowed || ran.stderr.starts_with("Fatal glibc error"))
}

#[test]
fn memory() {
    /// MiB of address space; what is wanted at once lies between them.
    const SIZES: [u32; 9] = [60, 130, 140, 150, 160, 175, 190, 200, 600];
    on_every(|kind| {
        let large = Answer::Huge(LARGE);
        let names = ["web-01", "web-02", "web-03"];
        let hosts = names.map(|name| HostSpec::named(name).answering(large.clone()));
        let site = Site::new(kind, Scenario::of(hosts));
        let (mut told, mut died) = (0, 0);
        for (mib, format) in SIZES.map(|mib| [(mib, "json"), (mib, "ndjson")]).concat() {
            let limit = format!("-v {}", mib << 10);
            let about = format!("{kind:?} with {mib} MiB as {format}");
            let step = site.step(&names).arg("--format").arg(format);
            let ran = under(&limit, step.binary());
            let ends = format!("{about}: {} {:?}", ran.status, ran.stderr);
            if died_in_a_library(&ran) {
                died += 1;
                continue;
            }
            assert!(ran.status < 128, "{ends}");
            let said = [&ran.stdout, &ran.stderr];
            let says = |words: &str| said.iter().any(|said| said.contains(words));
            assert!(!says("a bug") && !says("panicked"), "{ends}");
            let (error, hosts) = match format {
                "json" => {
                    let document = ran.document();
                    (document.error, document.hosts)
                }
                _ => match ran.lines().pop() {
                    Some(Line::Summary { error, hosts, .. }) => (error, hosts),
                    other => panic!("{about}: {other:?}"),
                },
            };
            let errors = hosts.values().filter_map(|host| host.error.as_deref());
            let errors = errors.chain(error.as_ref().map(|error| &*error.message));
            let mut complains = false;
            for message in errors {
                complains = true;
                let named = message.contains("`ulimit -v`") && message.contains(" MiB ");
                assert!(named, "{about}: {message}");
            }
            let whole = hosts
                .values()
                .all(|host| host.rows == Some(LARGE.rows as u64));
            let all = hosts.len() == names.len() && whole;
            assert_ne!(complains, all, "{ends}");
            told += usize::from(complains);
            assert!(!complains || mib < 600, "{ends}");
        }
        assert!(told > 3 && died <= 4, "{kind:?}: {told} told, {died} died");
    });
}

/// Another user, who has no other processes: the limit counts all that a user has, and root has none.
const NOBODY: &str = "54321";

#[test]
#[expect(
    clippy::print_stderr,
    reason = "whoever runs it learns that it was left out"
)]
fn threads() {
    let limited = |most: usize| {
        format!("exec setpriv --reuid={NOBODY} --clear-groups prlimit --nproc={most} \"$@\"")
    };
    let version = args(["--version"]).by_shell(limited(1)).run();
    if version.status != 0 {
        eprintln!("left out: it takes root, setpriv, prlimit, and a binary that all may run");
        return;
    }
    on_every(|kind| {
        let site = Site::new(kind, Scenario::of([host("web-01")]));
        let by_address = site.simulator.base_url();
        let by_name = by_address.replace("127.0.0.1", "localhost");
        for url in [by_address, by_name] {
            let mut went_well = Vec::new();
            for most in 1..=12 {
                let step = site.step(&["web-01"]).with("base_url", url.as_str());
                let ran = step.binary().by_shell(limited(most)).run();
                let words = ["no more threads"];
                if well_or_named(&ran, &format!("{most} threads"), &words) {
                    went_well.push(most);
                } else {
                    assert!(most < 12, "{ran:?}");
                }
                assert!(most > 1 || went_well.is_empty(), "no limit: {ran:?}");
            }
            assert!(went_well.contains(&12), "{went_well:?}");
        }
    });
}
