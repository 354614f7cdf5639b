//! `osquery-simulator SCENARIO.yaml`: serves one scenario until it is told to end.
//!
//! One line on stdout says where it listens, as soon as it does: the base URL and, with TLS, the path of
//! the authority's certificate.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use osquery_simulator::{Scenario, Simulator, Wire};

/// Stands in for Fleet, osctrl and AiSOC on loopback, with the hosts and faults of a scenario file.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// The scenario, as README.md describes it.
    scenario: PathBuf,
    /// Address to listen on instead of the scenario's; port 0 lets the system choose.
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// Speak TLS with a certificate made at the start.
    #[arg(long)]
    tls: bool,
    /// Answer only this server's paths.
    #[arg(long, value_name = "fleet|osctrl|aisoc_direct|all", value_parser = wire)]
    wire: Option<Wire>,
}

fn wire(text: &str) -> Result<Wire, String> {
    match text {
        "fleet" => Ok(Wire::Fleet),
        "osctrl" => Ok(Wire::Osctrl),
        "aisoc_direct" => Ok(Wire::AisocDirect),
        "all" | "both" => Ok(Wire::All),
        _ => Err("write fleet, osctrl, aisoc_direct or all".into()),
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let served = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("no runtime: {error}"))
        .and_then(|runtime| runtime.block_on(serve(arguments)));
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            let _ = writeln!(std::io::stderr(), "error: {message}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(arguments: Arguments) -> Result<(), String> {
    let path = arguments.scenario.display();
    let text =
        std::fs::read_to_string(&arguments.scenario).map_err(|error| format!("{path}: {error}"))?;
    let mut scenario = Scenario::from_yaml(&text).map_err(|error| format!("{path}: {error}"))?;
    if let Some(listen) = arguments.listen {
        scenario.listen = listen;
    }
    if let Some(wire) = arguments.wire {
        scenario.wire = wire;
    }
    scenario.tls |= arguments.tls;

    // Before the line below: whoever reads it may send a signal at once.
    let ended = ended()?;
    let simulator = Simulator::start(scenario)
        .await
        .map_err(|error| format!("{path}: {error}"))?;
    let mut line = simulator.base_url();
    if let Some(ca) = simulator.ca_path() {
        line.push_str(&format!(" {}", ca.display()));
    }
    let mut stdout = std::io::stdout();
    writeln!(stdout, "{line}")
        .and_then(|()| stdout.flush())
        .map_err(|error| format!("stdout: {error}"))?;
    ended.await;
    Ok(())
}

/// Resolves at SIGINT or SIGTERM.
#[cfg(unix)]
fn ended() -> Result<impl Future<Output = ()>, String> {
    use tokio::signal::unix::{SignalKind, signal};
    let listen = |kind| signal(kind).map_err(|error| format!("signals: {error}"));
    let (mut interrupt, mut terminate) = (
        listen(SignalKind::interrupt())?,
        listen(SignalKind::terminate())?,
    );
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

/// Resolves at Ctrl-C.
#[cfg(not(unix))]
fn ended() -> Result<impl Future<Output = ()>, String> {
    Ok(async {
        let _ = tokio::signal::ctrl_c().await;
    })
}
