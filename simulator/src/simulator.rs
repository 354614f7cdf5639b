//! Starting, watching and ending a simulator, on the caller's runtime or on its own thread.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::observe::{Campaign, Observations, Request};
use crate::scenario::{Change, HostChange, Part, ResultSpec, Scenario, ScenarioError, Snapshot};
use crate::world::{Shared, random_hex};
use crate::{agents, changes, osctrl, outages, server, tls};

/// Why a simulator did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The scenario contradicts itself.
    #[error("{0}")]
    Scenario(#[from] ScenarioError),
    /// No socket, certificate, file or thread.
    #[error("{what}: {source}")]
    Io {
        /// What was to be done.
        what: &'static str,
        /// Why it failed.
        source: std::io::Error,
    },
}

/// A running simulator. Dropping it ends everything: connections, agents, its thread.
pub struct Simulator {
    shared: Arc<Shared>,
    address: SocketAddr,
    ca: Option<Authority>,
    thread: Option<JoinHandle<()>>,
    tasks: Vec<tokio::task::AbortHandle>,
}

struct Authority {
    pem: String,
    path: PathBuf,
}

impl Simulator {
    /// Starts on the runtime of the caller, which must have its I/O and time drivers enabled.
    ///
    /// # Errors
    /// When the scenario contradicts itself or the address can't be listened on.
    pub async fn start(scenario: Scenario) -> Result<Self, StartError> {
        let (mut simulator, listener, acceptor) = Self::prepare(scenario)?;
        let listener = listen_async(listener)?;
        let tasks = [
            tokio::spawn(attend(Arc::clone(&simulator.shared))),
            tokio::spawn(server::accept(
                Arc::clone(&simulator.shared),
                listener,
                acceptor,
            )),
        ];
        simulator.tasks = tasks
            .iter()
            .map(tokio::task::JoinHandle::abort_handle)
            .collect();
        Ok(simulator)
    }

    /// Starts on a thread of its own, for callers without a runtime.
    ///
    /// # Errors
    /// As [`Simulator::start`].
    pub fn spawn(scenario: Scenario) -> Result<Self, StartError> {
        let (mut simulator, listener, acceptor) = Self::prepare(scenario)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .map_err(|source| StartError::Io {
                what: "no runtime",
                source,
            })?;
        let listener = runtime.block_on(async { listen_async(listener) })?;
        let shared = Arc::clone(&simulator.shared);
        let thread = std::thread::Builder::new()
            .name("osquery-simulator".into())
            .spawn(move || {
                runtime.spawn(attend(Arc::clone(&shared)));
                runtime.block_on(server::accept(shared, listener, acceptor));
                runtime.shutdown_background();
            })
            .map_err(|source| StartError::Io {
                what: "no thread",
                source,
            })?;
        simulator.thread = Some(thread);
        Ok(simulator)
    }

    fn prepare(
        scenario: Scenario,
    ) -> Result<(Self, std::net::TcpListener, Option<TlsAcceptor>), StartError> {
        let io = |what| move |source| StartError::Io { what, source };
        let with_tls = scenario.tls;
        let address: SocketAddr = scenario
            .listen
            .parse()
            .map_err(|_| ScenarioError::new("listen is not an address such as 127.0.0.1:0"))?;
        let shared = Shared::new(scenario)?;
        let listener =
            std::net::TcpListener::bind(address).map_err(io("the address can't be listened on"))?;
        listener
            .set_nonblocking(true)
            .map_err(io("the socket can't be prepared"))?;
        let address = listener
            .local_addr()
            .map_err(io("the socket has no address"))?;
        let (ca, acceptor) = if with_tls {
            let identity = tls::identity().map_err(io("no certificate could be made"))?;
            let path =
                std::env::temp_dir().join(format!("osquery-simulator-{}.pem", random_hex(16)));
            std::fs::write(&path, &identity.ca_pem)
                .map_err(io("the authority's certificate can't be written"))?;
            let ca = Authority {
                pem: identity.ca_pem,
                path,
            };
            (Some(ca), Some(TlsAcceptor::from(identity.config)))
        } else {
            (None, None)
        };
        let simulator = Self {
            shared,
            address,
            ca,
            thread: None,
            tasks: Vec::new(),
        };
        Ok((simulator, listener, acceptor))
    }

    /// The servers' base URL, without a slash at its end.
    pub fn base_url(&self) -> String {
        let scheme = if self.ca.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.address
    }

    /// The certificate (PEM) of the authority that clients must trust; `None` without TLS.
    pub fn ca_pem(&self) -> Option<&str> {
        self.ca.as_ref().map(|ca| ca.pem.as_str())
    }

    /// A file that holds it, as long as the simulator runs.
    pub fn ca_path(&self) -> Option<&Path> {
        self.ca.as_ref().map(|ca| ca.path.as_path())
    }

    /// Everything seen so far.
    pub fn observations(&self) -> Observations {
        self.shared.look().observed.clone()
    }

    /// The requests so far.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.look().observed.requests.clone()
    }

    /// How many TCP connections were accepted.
    pub fn connections(&self) -> usize {
        self.shared.look().observed.connections
    }

    /// The campaigns and queries as they stand.
    pub fn campaigns(&self) -> Vec<Campaign> {
        self.shared.look().observed.campaigns.clone()
    }

    /// When the last host's answer reached the server and was kept.
    pub fn last_answer_at(&self) -> Option<Instant> {
        self.shared.look().observed.last_answer_at
    }

    /// Blocks until the condition holds; false when the time is over. Looks again at every change.
    /// The condition must not call the simulator.
    pub fn wait_until(
        &self,
        condition: impl FnMut(&Observations) -> bool,
        timeout: Duration,
    ) -> bool {
        self.shared.wait_until(condition, timeout)
    }

    /// The same for tasks.
    pub async fn until(
        &self,
        condition: impl FnMut(&Observations) -> bool,
        timeout: Duration,
    ) -> bool {
        self.shared.until(condition, timeout).await
    }

    /// Ends every token and session of all servers, as an administrator may at any time.
    pub fn revoke_tokens(&self) {
        self.shared.change(crate::world::World::revoke_tokens);
    }

    /// A part goes away now, until [`Simulator::bring_back`] has been called as often.
    pub fn take_away(&self, part: Part) {
        self.shared.change(|world| outages::take_away(world, part));
    }

    /// A host goes, comes back, is deleted, renamed or moved, now.
    ///
    /// # Errors
    /// When no host is named so, or a time is none.
    pub fn change_host(&self, change: HostChange) -> Result<(), ScenarioError> {
        self.make(&Change::of_host(change))
    }

    /// A report of Fleet gets a host's new rows now.
    ///
    /// # Errors
    /// When no host or report is named so, or a time is none.
    pub fn take_snapshot(&self, snapshot: Snapshot) -> Result<(), ScenarioError> {
        self.make(&Change::of_report(snapshot))
    }

    /// A query of osctrl gets a host's result now.
    ///
    /// # Errors
    /// When no host or query is named so, or a time is none.
    pub fn take_result(&self, query: &str, result: ResultSpec) -> Result<(), ScenarioError> {
        self.make(&Change::of_query(query, result))
    }

    fn make(&self, change: &Change) -> Result<(), ScenarioError> {
        self.shared.change(|world| changes::make(world, change))
    }

    /// A part comes back now.
    pub fn bring_back(&self, part: Part) {
        self.shared.change(|world| outages::bring_back(world, part));
    }
}

/// Whatever happens without a request.
async fn attend(shared: Arc<Shared>) {
    tokio::join!(
        agents::run(Arc::clone(&shared)),
        outages::run(Arc::clone(&shared)),
        changes::run(Arc::clone(&shared)),
        osctrl::run_admin_service(shared),
    );
}

fn listen_async(listener: std::net::TcpListener) -> Result<TcpListener, StartError> {
    TcpListener::from_std(listener).map_err(|source| StartError::Io {
        what: "the socket can't be used",
        source,
    })
}

impl Drop for Simulator {
    fn drop(&mut self) {
        self.shared.end();
        for task in &self.tasks {
            task.abort();
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        if let Some(ca) = &self.ca {
            let _ = std::fs::remove_file(&ca.path);
        }
    }
}
