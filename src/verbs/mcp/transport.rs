//! The SDK's transport over stdin and stdout. It bounds what a client can cost: lines of one size, so many
//! requests at once, and no further reading while answers are not read. What is no message is answered, and
//! never ends the server.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rmcp::RoleServer;
use rmcp::model::{
    ClientJsonRpcMessage, ClientRequest, ErrorCode, ErrorData, GetExtensions, GetMeta,
    JsonRpcMessage, ProtocolVersion, RequestId, ServerJsonRpcMessage,
};
use rmcp::transport::Transport;
use tokio::sync::mpsc;

use crate::process::frames::Frame;
use crate::process::stdout::Stdout;
use crate::session::{Cancel, Cancelled, Canceller};

/// Bytes of one message at most.
pub(super) const MOST_BYTES: usize = 1024 * 1024;
/// Messages that wait for the client to read; while there are more, nothing is read from it.
const MOST_QUEUED: usize = 16;
/// Requests that are not answered yet; while there are more, nothing is read either. More than the calls that
/// are served at once: those beyond are refused at once.
const MOST_OPEN: usize = 48;
/// How long is waited before it is looked again.
const PAUSE: Duration = Duration::from_millis(5);

/// stdin and stdout as the SDK's transport.
pub(super) struct Stdio {
    frames: mpsc::Receiver<Frame>,
    stdout: Stdout,
    open: OpenRequests,
    /// Answers that wait for room in the queue.
    sending: Arc<AtomicUsize>,
    /// Ends the server, and every call with it.
    closer: Canceller,
    closing: Cancel,
    /// An answer to what was no message.
    owed: Option<ServerJsonRpcMessage>,
    /// The client has begun, in either era: before that the SDK takes requests only.
    begun: bool,
}

/// The transport can't be written to any more.
#[derive(Debug, thiserror::Error)]
#[error("the client does not read any more")]
pub(super) struct Closed;

impl Stdio {
    pub(super) fn new(
        frames: mpsc::Receiver<Frame>,
        stdout: Stdout,
        closer: Canceller,
        closing: Cancel,
    ) -> Self {
        Self {
            frames,
            stdout,
            open: OpenRequests::default(),
            sending: Arc::default(),
            closer,
            closing,
            owed: None,
            begun: false,
        }
    }

    fn is_crowded(&self) -> bool {
        self.sending.load(Ordering::Relaxed) >= MOST_QUEUED || self.open.locked().len() >= MOST_OPEN
    }

    /// The message that a line is; `None` where it is none, or none that is heard.
    fn read(&mut self, frame: Frame) -> Option<ClientJsonRpcMessage> {
        let line = match frame {
            Frame::Line(line) => line,
            Frame::TooLong => {
                let message = format!("a message has more than {MOST_BYTES} bytes");
                return self.refuse(None, ErrorCode::INVALID_REQUEST, message);
            }
        };
        let mut message = match serde_json::from_slice(&line) {
            Ok(message) => message,
            Err(error) if error.is_data() => {
                let message = "this is no request, notification or response".to_owned();
                return self.refuse(None, ErrorCode::INVALID_REQUEST, message);
            }
            Err(_) => {
                let message = "this is not JSON".to_owned();
                return self.refuse(None, ErrorCode::PARSE_ERROR, message);
            }
        };
        let ClientJsonRpcMessage::Request(request) = &mut message else {
            return self.begun.then_some(message);
        };
        self.begun |= begins(&request.request);
        match self.open.begin(&request.id) {
            Some(ticket) => {
                request.request.extensions_mut().insert(ticket);
                Some(message)
            }
            None => {
                let id = Some(request.id.clone());
                let message = "a request of this id is not answered yet".to_owned();
                self.refuse(id, ErrorCode::INVALID_REQUEST, message)
            }
        }
    }

    fn refuse(
        &mut self,
        id: Option<RequestId>,
        code: ErrorCode,
        message: String,
    ) -> Option<ClientJsonRpcMessage> {
        let error = ErrorData::new(code, message, None);
        self.owed = Some(JsonRpcMessage::error(error, id));
        None
    }
}

/// Whether the SDK takes this for the beginning: the handshake, or a request that says everything of itself.
fn begins(request: &ClientRequest) -> bool {
    let complete = || {
        let meta = request.get_meta();
        let version = meta.protocol_version();
        version.is_some_and(|version| ProtocolVersion::KNOWN_VERSIONS.contains(&version))
            && meta
                .missing_required_keys(&ProtocolVersion::V_2026_07_28)
                .is_empty()
    };
    match request {
        ClientRequest::InitializeRequest(_) => true,
        ClientRequest::PingRequest(_) | ClientRequest::DiscoverRequest(_) => false,
        _ => complete(),
    }
}

fn queue(stdout: &Stdout, message: &ServerJsonRpcMessage) {
    // What the SDK makes can always be written.
    if let Ok(mut line) = serde_json::to_vec(message) {
        line.push(b'\n');
        stdout.queue_work(move |out| out.write_all(&line));
    }
}

impl Transport<RoleServer> for Stdio {
    type Error = Closed;

    fn send(
        &mut self,
        message: ServerJsonRpcMessage,
    ) -> impl Future<Output = Result<(), Closed>> + Send + 'static {
        let (stdout, closer) = (self.stdout.clone(), self.closer.clone());
        // Counted from now on, however late the future is polled.
        let waiting = Waiting::new(&self.sending);
        async move {
            let _waiting = waiting;
            if stdout.room(MOST_QUEUED).await.is_err() {
                closer.cancel(Cancelled::Unread);
                return Err(Closed);
            }
            queue(&stdout, &message);
            Ok(())
        }
    }

    /// May be dropped at any await: nothing that was read is lost.
    async fn receive(&mut self) -> Option<ClientJsonRpcMessage> {
        loop {
            while self.is_crowded() {
                tokio::select! {
                    biased;
                    _ = self.closing.word() => return None,
                    () = tokio::time::sleep(PAUSE) => {}
                }
            }
            let room = tokio::select! {
                biased;
                _ = self.closing.word() => return None,
                room = self.stdout.room(MOST_QUEUED) => room,
            };
            if room.is_err() {
                self.closer.cancel(Cancelled::Unread);
                return None;
            }
            if let Some(owed) = self.owed.take() {
                queue(&self.stdout, &owed);
                continue;
            }
            let frame = tokio::select! {
                biased;
                _ = self.closing.word() => return None,
                frame = self.frames.recv() => frame,
            };
            let Some(frame) = frame else {
                self.closer.cancel(Cancelled::Withdrawn);
                return None;
            };
            if let Some(message) = self.read(frame) {
                return Some(message);
            }
        }
    }

    async fn close(&mut self) -> Result<(), Closed> {
        Ok(())
    }
}

/// Counts an answer as long as it waits.
struct Waiting(Arc<AtomicUsize>);

impl Waiting {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(count))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The requests that are not answered yet.
#[derive(Debug, Clone, Default)]
struct OpenRequests(Arc<Mutex<HashSet<RequestId>>>);

impl OpenRequests {
    /// `None` where one of this id is open.
    fn begin(&self, id: &RequestId) -> Option<Ticket> {
        let mut open = self.locked();
        open.insert(id.clone()).then(|| {
            let others = open.len() - 1;
            let (open, id) = (self.clone(), id.clone());
            Ticket(Arc::new(OpenRequest { open, id, others }))
        })
    }

    fn locked(&self) -> MutexGuard<'_, HashSet<RequestId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Goes with a request to whoever serves it, and counts it until it is dropped.
#[derive(Debug, Clone)]
pub(super) struct Ticket(Arc<OpenRequest>);

#[derive(Debug)]
struct OpenRequest {
    open: OpenRequests,
    id: RequestId,
    others: usize,
}

impl Ticket {
    /// How many were open when this one came.
    pub(super) fn others(&self) -> usize {
        self.0.others
    }
}

impl Drop for OpenRequest {
    fn drop(&mut self) {
        self.open.locked().remove(&self.id);
    }
}

/// Reads any bytes as what a client may write; for the fuzzer only.
#[cfg(fuzzing)]
pub fn fuzz(bytes: &[u8]) {
    const MOST: usize = 1_024;
    for frame in crate::process::frames::Cutter::new(MOST).cut(bytes) {
        let Frame::Line(line) = frame else { continue };
        assert!(line.len() <= MOST && !line.contains(&b'\n'));
        if let Ok(message) = serde_json::from_slice::<ClientJsonRpcMessage>(&line) {
            let text = serde_json::to_string(&message).expect("a message");
            assert!(!text.contains('\n'));
        }
    }
}
