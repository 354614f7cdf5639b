//! stdout: written by a thread of its own from a queue that never blocks who fills it. A reader that stops
//! reading, or has gone, is told to the run and holds nothing up.

use std::collections::VecDeque;
use std::io::{self, BufWriter, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, OFlags};
use tokio::sync::watch;

use crate::memory;

/// How often it is looked whether the reader is still there.
const LOOK: Duration = Duration::from_millis(100);
/// Bytes that are written in one call.
const PIECE: usize = 64 * 1024;

/// The one stdout of the process, as a run writes to it. Clones are the same.
#[derive(Clone)]
pub(crate) struct Stdout(Arc<Shared>);

struct Shared {
    queue: Mutex<Queue>,
    filled: Condvar,
    state: watch::Sender<State>,
}

#[derive(Default)]
struct Queue {
    works: VecDeque<Work>,
    started: bool,
}

type Work = Box<dyn FnOnce(&mut dyn Write) -> io::Result<()> + Send>;

#[derive(Debug, Clone, Default)]
struct State {
    queued: usize,
    written: usize,
    broken: Option<Broken>,
}

/// What to do once nothing is queued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Once {
    /// Wait for more: a thread.
    Waiting,
    /// End.
    Done,
}

/// Why stdout can't be written any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Broken {
    /// Its reader has gone.
    Gone,
    /// The system refuses; its words.
    Refused(String),
}

impl Stdout {
    /// Nothing is written and no thread runs yet.
    pub fn new() -> Self {
        Self(Arc::new(Shared {
            queue: Mutex::default(),
            filled: Condvar::new(),
            state: watch::Sender::new(State::default()),
        }))
    }

    /// Queues work that writes; what it writes is never held as a whole.
    pub fn queue_work(&self, work: impl FnOnce(&mut dyn Write) -> io::Result<()> + Send + 'static) {
        self.queue_for_later(work);
        self.wake();
    }

    /// Has what was queued for later written.
    pub fn wake(&self) {
        self.0.filled.notify_one();
    }

    /// The same as [`Stdout::queue_work`], but nothing may come of it before [`Stdout::wake`]: waking the thread
    /// for each host, which then writes each by itself, costs more than reading what a host answered.
    pub fn queue_for_later(
        &self,
        work: impl FnOnce(&mut dyn Write) -> io::Result<()> + Send + 'static,
    ) {
        let mut queue = self.locked();
        queue.works.push_back(Box::new(work));
        self.0.state.send_modify(|state| state.queued += 1);
        if !queue.started {
            queue.started = true;
            let shared = Arc::clone(&self.0);
            let thread = std::thread::Builder::new().name("stdout".into());
            let started = memory::for_a_thread()
                .is_ok_and(|()| thread.spawn(move || shared.write(Once::Waiting)).is_ok());
            if !started {
                // The system gives no thread: rather a document that may wait for its reader than none.
                queue.started = false;
                drop(queue);
                self.0.write(Once::Done);
            }
        }
    }

    /// Waits until fewer than so many works are queued: whoever waits before each has no more in memory than
    /// those.
    ///
    /// # Errors
    /// Why that will never be.
    pub async fn room(&self, most: usize) -> Result<(), Broken> {
        let mut state = self.0.state.subscribe();
        let seen = state
            .wait_for(|state| state.broken.is_some() || state.queued - state.written < most)
            .await;
        match seen.map(|state| state.broken.clone()) {
            Ok(Some(broken)) => Err(broken),
            _ => Ok(()),
        }
    }

    /// Why it is broken, where it is known to be.
    pub fn broken(&self) -> Option<Broken> {
        self.0.state.borrow().broken.clone()
    }

    /// Waits until all that was queued is written.
    ///
    /// # Errors
    /// Why that will never be.
    pub async fn drained(&self) -> Result<(), Broken> {
        let mut state = self.0.state.subscribe();
        let seen = state
            .wait_for(|state| state.broken.is_some() || state.written == state.queued)
            .await;
        match seen.map(|state| state.broken.clone()) {
            Ok(Some(broken)) => Err(broken),
            _ => Ok(()),
        }
    }

    /// Waits until stdout is broken: writing failed, or (pipes and sockets) its reader has gone although
    /// nothing is written. Never returns while it is good.
    pub async fn breaks(&self) -> Broken {
        let mut looks = tokio::time::interval(LOOK);
        loop {
            looks.tick().await;
            if let Some(broken) = self.broken() {
                return broken;
            }
            if reader_has_gone() {
                return Broken::Gone;
            }
        }
    }

    fn locked(&self) -> MutexGuard<'_, Queue> {
        self.0.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    /// Writes what is queued until something breaks, or until nothing is queued any more.
    fn write(&self, when_empty: Once) {
        let mut out = BufWriter::with_capacity(PIECE, Raw);
        // Works of which something may still be in the buffer.
        let mut done = 0;
        loop {
            let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
            let work = queue.works.pop_front();
            let written = match work {
                Some(work) => {
                    drop(queue);
                    done += 1;
                    work(&mut out)
                }
                // Nothing waits in the buffer for what may not come.
                None if done > 0 => {
                    drop(queue);
                    let flushed = out.flush();
                    if flushed.is_ok() {
                        let done = std::mem::take(&mut done);
                        self.state.send_modify(|state| state.written += done);
                    }
                    flushed
                }
                None if when_empty == Once::Done => return,
                None => {
                    queue = self
                        .filled
                        .wait(queue)
                        .unwrap_or_else(PoisonError::into_inner);
                    drop(queue);
                    Ok(())
                }
            };
            if let Err(error) = written {
                let broken = Broken::of(&error);
                self.state.send_modify(|state| state.broken = Some(broken));
                // What is buffered would be written again on drop, into the same error.
                let _ = out.into_parts();
                return;
            }
        }
    }
}

impl Broken {
    fn of(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::Gone,
            kind => Self::Refused(kind.to_string()),
        }
    }

    /// What is wrong, in words.
    pub fn words(&self) -> &str {
        match self {
            Self::Gone => "its reader has gone",
            Self::Refused(words) => words,
        }
    }
}

/// File descriptor 1 without a buffer that would outlive a failure.
pub(crate) struct Raw;

impl Write for Raw {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(rustix::io::write(rustix::stdio::stdout(), bytes)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Has work write at once, where no thread is to be had or there is none to wait for.
///
/// # Errors
/// Those of stdout.
pub(crate) fn write_at_once(
    work: impl FnOnce(&mut BufWriter<Raw>) -> io::Result<()>,
) -> Result<(), Broken> {
    let mut out = BufWriter::with_capacity(PIECE, Raw);
    let written = work(&mut out).and_then(|()| out.flush());
    // What is buffered would be written again on drop, into the same error.
    let _ = out.into_parts();
    written.map_err(|error| Broken::of(&error))
}

/// Writes bytes at once: text that is no document (`schema`, `templates`, …).
///
/// # Errors
/// Those of stdout.
pub(crate) fn write_bytes(bytes: &[u8]) -> Result<(), Broken> {
    Raw.write_all(bytes).map_err(|error| Broken::of(&error))
}

/// Whether stdout was closed when the process began: the standard library then opens /dev/null for reading
/// and writing in its place, so that no file of ours gets its number. (A program that discards output by
/// such a /dev/null looks the same; the error says so.)
pub(crate) fn was_closed() -> bool {
    let out = rustix::stdio::stdout();
    let read_write =
        rustix::fs::fcntl_getfl(out).is_ok_and(|flags| flags & OFlags::RWMODE == OFlags::RDWR);
    let same = |one: &rustix::fs::Stat, other: &rustix::fs::Stat| {
        FileType::from_raw_mode(one.st_mode).is_char_device() && one.st_rdev == other.st_rdev
    };
    match (rustix::fs::fstat(out), rustix::fs::stat("/dev/null")) {
        (Ok(out), Ok(null)) => read_write && same(&out, &null),
        _ => false,
    }
}

/// Whether what was written has gone anywhere.
///
/// # Errors
/// Stdout [was closed](was_closed).
pub(crate) fn was_open() -> Result<(), Broken> {
    match was_closed() {
        true => Err(Broken::Refused(
            "it is closed, or a /dev/null that is opened for reading and writing".into(),
        )),
        false => Ok(()),
    }
}

/// Where stdout is a file: has the system keep what was written to it, whatever happens next.
///
/// # Errors
/// Those of the disk.
pub(crate) fn make_last() -> Result<(), Broken> {
    let out = rustix::stdio::stdout();
    let is_file =
        rustix::fs::fstat(out).is_ok_and(|out| FileType::from_raw_mode(out.st_mode).is_file());
    if !is_file {
        return Ok(());
    }
    rustix::fs::fsync(out).map_err(|error| Broken::of(&error.into()))
}

/// How many columns the terminal has that stdout is: of the variable COLUMNS where that says so, and 80 where
/// nobody does.
pub(crate) fn columns() -> usize {
    let told = std::env::var("COLUMNS").ok();
    let told = told.and_then(|columns| columns.trim().parse::<usize>().ok());
    let asked = || {
        let size = rustix::termios::tcgetwinsize(rustix::stdio::stdout());
        size.ok().map(|size| usize::from(size.ws_col))
    };
    let known = told.filter(|columns| *columns > 0).or_else(asked);
    known.filter(|columns| *columns > 0).unwrap_or(80)
}

/// Whether the other end of the pipe or socket is closed; never, where stdout is something else.
fn reader_has_gone() -> bool {
    let out = rustix::stdio::stdout();
    let mut looked = [PollFd::new(&out, PollFlags::empty())];
    poll(&mut looked, Some(&Timespec::default())).is_ok()
        && looked[0]
            .revents()
            .intersects(PollFlags::ERR | PollFlags::HUP)
}
