//! The verb `mcp`: a server of the Model Context Protocol on stdin and stdout, over the same allowlist and the
//! same policy as `run`. The model names templates, instances and hosts; each of its calls is a session of its
//! own. `transport` bounds what a client can cost, `server` knows the protocol, the other files a tool each.

mod answer;
mod call;
mod cells;
mod consent;
mod hosts;
mod kept;
mod live;
mod query;
mod rate;
mod refusal;
mod resources;
mod server;
mod templates;
#[cfg(test)]
mod time_tests;
mod tools;
mod transport;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use rmcp::ServiceExt;
use rmcp::service::ServerInitializeError;

use crate::exit::{Code, Exit};
use crate::policy::Policy;
use crate::process::stdout::Stdout;
use crate::process::{EventLoop, Process, frames};
use crate::session::failure::Failure;
use crate::session::{Cancel, Cancelled, Canceller};
use server::Server;
use transport::Stdio;
#[cfg(fuzzing)]
pub use transport::fuzz;

/// The long help.
pub(crate) const HELP: &str = include_str!("help.txt");
/// How clients are configured.
pub(crate) const EXAMPLES: &str = include_str!("examples.txt");

/// How often it is looked whether the client is still there.
const LOOK: Duration = Duration::from_millis(100);
/// How long the rest of what a client wrote may take to be read once it has gone.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Flags of `mcp`.
#[derive(Debug, Args, Default)]
pub struct McpArgs {
    /// The operator's policy: which servers, templates and how much [default: $OSQUERY_LIVE_QUERY_POLICY, which wins].
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub policy: Option<PathBuf>,
    /// End as on SIGTERM when the process that started this one has ended.
    #[arg(long)]
    pub exit_with_parent: bool,
}

/// Serves until the client ends it. Returns how the process ends.
pub(crate) fn run(args: McpArgs, process: &Process) -> Exit {
    let policy = Policy::of_process(args.policy.as_deref()).map_err(Failure::from);
    let served = policy.and_then(|policy| serve(policy, args.exit_with_parent, process));
    served.unwrap_or_else(|failure| process.fail(&failure))
}

/// Serves a policy until the client ends it.
///
/// # Errors
/// `policy`, where it serves nothing; `internal`, where the system refuses what it needs.
pub(super) fn serve(
    policy: Policy,
    exit_with_parent: bool,
    process: &Process,
) -> Result<Exit, Failure> {
    let policy = policy.for_models()?;
    let EventLoop { runtime, ears } = EventLoop::new()?;
    let frames = frames::of_stdin(transport::MOST_BYTES)?;
    let served = async {
        let (closer, closing) = ears.listen(exit_with_parent);
        let stdout = Stdout::new();
        tokio::spawn(watch(stdout.clone(), closer.clone()));
        let stdio = Stdio::new(frames, stdout.clone(), closer, closing.clone());
        let server = Server::new(Arc::new(policy), closing.clone(), process.stderr.clone());
        let afterwards = server.afterwards();
        tokio::task::spawn_local(forget(std::rc::Rc::clone(&server.kept)));
        match server.serve(stdio).await {
            // Its end is the end of stdin, a signal, or a client that does not read.
            Ok(running) => drop(running.waiting().await),
            Err(ServerInitializeError::ConnectionClosed(_)) => {}
            Err(_) => return Code::Internal.into(),
        }
        afterwards.finish().await;
        goodbye(&stdout, &closing).await
    };
    let exit = tokio::task::LocalSet::new().block_on(&runtime, served);
    // A thread may still wait for stdin.
    runtime.shutdown_background();
    Ok(exit)
}

/// Ends the server where its client has gone without a word that could be read: it reads no more, or nobody
/// writes to stdin, whose rest waits behind answers that are not read.
async fn watch(stdout: Stdout, closer: Canceller) {
    let silent = async {
        let mut looks = tokio::time::interval(LOOK);
        while !frames::writer_has_gone() {
            looks.tick().await;
        }
        tokio::time::sleep(LAST_WORDS).await;
        Cancelled::Withdrawn
    };
    let reason = tokio::select! {
        _ = stdout.breaks() => Cancelled::Unread,
        reason = silent => reason,
    };
    closer.cancel(reason);
}

/// Drops runs that are kept no longer.
async fn forget(kept: std::rc::Rc<kept::KeptRuns>) {
    let mut looks = tokio::time::interval(Duration::from_secs(60));
    loop {
        looks.tick().await;
        kept.forget(tokio::time::Instant::now());
    }
}

/// Waits a moment for what is not written yet.
async fn goodbye(stdout: &Stdout, closing: &Cancel) -> Exit {
    let written = tokio::time::timeout(LAST_WORDS, stdout.drained()).await;
    match (closing.now(), written) {
        (Some(Cancelled::Interrupted), _) => Exit::Interrupted,
        (Some(Cancelled::Terminated), _) => Exit::Terminated,
        (Some(Cancelled::Unread), _) | (_, Err(_) | Ok(Err(_))) => Code::Output.into(),
        (Some(Cancelled::Withdrawn) | None, Ok(Ok(()))) => Exit::Ok,
    }
}
