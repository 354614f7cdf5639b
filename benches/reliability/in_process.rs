//! Many executions at once in one process, through the library's own `execute`. The process is one of its
//! own, so that its memory is theirs and not the simulator's.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use osquery_live_query::{
    Cancel, Format, Keeping, Mode, Notices, Outcome, Run, Session, Sources, execute, prepare,
};
use osquery_simulator::{
    AISOC_SERVICE_TOKEN, AISOC_TENANT, FLEET_ADMIN_TOKEN, OSCTRL_ADMIN_TOKEN, Simulator,
};
use serde_json::{Value, json};

use crate::{Backend, TIMEOUT, scenario};

/// With this argument the program is such a process: `--executions KIND URL NUMBER`.
pub const ARGUMENT: &str = "--executions";

const NUMBERS: [usize; 2] = [2, 200];

pub fn print() {
    println!(
        "\n## Many executions at once in one process\n\n\
         Through `execute`, on one thread; against the same five hosts.\n\n\
         | executions | backend | took, ms | whole | rows | memory, MiB |\n|---|---|---|---|---|---|"
    );
    for number in NUMBERS {
        for backend in Backend::ALL {
            let simulator = Simulator::spawn(scenario(backend, Vec::new())).expect("a simulator");
            let program = std::env::current_exe().expect("this program");
            let told = Command::new(program)
                .args([ARGUMENT, backend.name(), &simulator.base_url()])
                .arg(number.to_string())
                .stdin(Stdio::null())
                .stderr(Stdio::inherit())
                .output()
                .expect("it runs");
            let told = String::from_utf8_lossy(&told.stdout).into_owned();
            println!("| {number} | {} | {} |", backend.name(), told.trim());
        }
    }
}

/// Runs them, and prints a row's last cells.
pub fn perform(args: &[String]) {
    let [kind, url, number] = args else {
        panic!("{ARGUMENT} KIND URL NUMBER");
    };
    let number: usize = number.parse().expect("a number");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let started = Instant::now();
    let outcomes = runtime.block_on(join_all((0..number).map(|_| executed(kind, url))));
    let took = started.elapsed();
    let (mut whole, mut rows) = (0, 0);
    for (run, outcome) in &outcomes {
        let mut bytes = Vec::new();
        let written = Format::Json.write(run, outcome, &mut bytes);
        written.expect("memory takes all");
        let document: Value = serde_json::from_slice(&bytes).expect("a document");
        whole += usize::from(document["campaign"]["responded"] == 4);
        rows += document["campaign"]["rows"].as_u64().unwrap_or(0);
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak: u64 = peak
        .and_then(|line| line.trim().trim_end_matches("kB").trim().parse().ok())
        .unwrap_or(0);
    println!("{} | {whole} | {rows} | {}", took.as_millis(), peak / 1_024);
}

async fn executed(kind: &str, url: &str) -> (Run, Outcome) {
    let backend = Backend::ALL.into_iter().find(|one| one.name() == kind);
    let backend = backend.expect("a backend");
    let mut params = json!({
        "backend": kind,
        "base_url": url,
        "api_token": "{{ secrets.token }}",
        "template": "running_processes",
        "target_hosts": backend.targets(),
        "offline_hosts": backend.offline_hosts(),
        "timeout_seconds": Duration::as_secs(&TIMEOUT) * 4,
    });
    let token = match backend {
        Backend::Fleet => FLEET_ADMIN_TOKEN,
        Backend::Osctrl => {
            params["environment"] = "dev".into();
            OSCTRL_ADMIN_TOKEN
        }
        Backend::AisocDirect => {
            params["tenant_id"] = AISOC_TENANT.into();
            AISOC_SERVICE_TOKEN
        }
    };
    let invocation = json!({
        "protocol": 1,
        "step": {"id": "many", "type": "osquery_live_query", "params": params},
        "secrets": {"token": token},
    });
    let step = prepare(invocation.to_string().as_bytes(), &Sources::default());
    let mut session = Session {
        run: Run::begin(),
        cancel: Cancel::never(),
        notices: Notices::unheard(),
        sink: &mut Keeping,
    };
    let step = step.expect("a good step");
    let (outcome, aftermath) = execute(step, Mode::Run, &mut session).await;
    aftermath.finish().await;
    (session.run, outcome)
}
