//! Runs the real binary: gives it stdin, arguments and environment, and keeps all of stdout, stderr and
//! status. What is not set is empty: no variable of the caller's reaches the process.

pub mod document;
pub mod folder;
pub mod raw;
pub mod site;

use std::ffi::OsString;
use std::io::{Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Condvar, LazyLock, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use document::{Document, Line};
use rustix::process::{Pid, Signal, kill_process};

/// A process that takes longer is a hang.
const PATIENCE: Duration = Duration::from_secs(180);

/// The binary, before it is started.
#[derive(Debug, Default)]
pub struct Binary {
    stdin: Vec<u8>,
    stdin_stays_open: bool,
    stdout: Option<Stdio>,
    stderr: Option<Stdio>,
    shell: Option<String>,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
}

/// A process that runs.
pub struct Running {
    child: Child,
    started: Instant,
    /// Open as long as this is kept.
    _stdin: Option<ChildStdin>,
    stdout: Pipe,
    stderr: Pipe,
}

/// What a process has written to a pipe so far.
struct Pipe {
    so_far: Arc<(Mutex<Vec<u8>>, Condvar)>,
    reader: Option<JoinHandle<()>>,
}

/// What a process left.
#[derive(Debug)]
pub struct Ran {
    /// Exit status; above 128 also where a signal ended it.
    pub status: i32,
    /// Whether a signal ended it, and not the process itself.
    pub killed: bool,
    /// All of stdout.
    pub stdout: String,
    /// All of stderr.
    pub stderr: String,
    /// From start to end.
    pub elapsed: Duration,
    /// The most memory that was seen resident, in KiB (Linux; 0 elsewhere).
    pub peak_kib: u64,
}

/// The binary with a step on stdin.
pub fn step(stdin: impl AsRef<[u8]>) -> Binary {
    Binary {
        stdin: stdin.as_ref().to_vec(),
        ..Binary::default()
    }
}

/// The binary with arguments and nothing on stdin.
pub fn args<const N: usize>(args: [&str; N]) -> Binary {
    Binary {
        args: args.iter().map(Into::into).collect(),
        ..Binary::default()
    }
}

impl Binary {
    /// One more argument.
    pub fn arg(mut self, arg: impl Into<OsString>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// More arguments.
    pub fn args(mut self, args: &[&str]) -> Self {
        self.args.extend(args.iter().map(OsString::from));
        self
    }

    /// One more variable.
    pub fn env(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// Leaves stdin open once its content is written, as an engine that forgets to close it.
    pub fn stdin_stays_open(mut self) -> Self {
        self.stdin_stays_open = true;
        self
    }

    /// Sends stdout there instead of into [`Ran::stdout`].
    pub fn stdout_to(mut self, to: impl Into<Stdio>) -> Self {
        self.stdout = Some(to.into());
        self
    }

    /// Sends stderr there instead of into [`Ran::stderr`].
    pub fn stderr_to(mut self, to: impl Into<Stdio>) -> Self {
        self.stderr = Some(to.into());
        self
    }

    /// Sends stderr and stdout into one pipe, as many engines do. [`Ran::apart`] takes them apart again.
    pub fn merged(self) -> Self {
        self.by_shell("exec \"$@\" 2>&1")
    }

    /// Starts it by a line of sh, in which `"$@"` is the binary with its arguments: limits, closed files.
    pub fn by_shell(mut self, line: impl Into<String>) -> Self {
        self.shell = Some(line.into());
        self
    }

    /// Starts it and gives it its stdin.
    pub fn start(self) -> Running {
        let started = Instant::now();
        let binary = env!("CARGO_BIN_EXE_osquery-live-query");
        let mut command = match &self.shell {
            Some(line) => {
                let mut shell = Command::new("/bin/sh");
                shell.args(["-c", line, "sh", binary]);
                shell
            }
            None => Command::new(binary),
        };
        let mut child = command
            .args(&self.args)
            .env_clear()
            .envs(self.env)
            .stdin(Stdio::piped())
            .stdout(self.stdout.unwrap_or_else(Stdio::piped))
            .stderr(self.stderr.unwrap_or_else(Stdio::piped))
            .spawn()
            .expect("the binary starts");
        let mut input = child.stdin.take().expect("stdin is a pipe");
        let bytes = self.stdin;
        let stdin = if self.stdin_stays_open {
            input
                .write_all(&bytes)
                .expect("the pipe takes what little there is");
            Some(input)
        } else {
            // A process that stops reading early closes the pipe; that is its right.
            std::thread::spawn(move || drop(input.write_all(&bytes)));
            None
        };
        Running {
            stdout: Pipe::reading(child.stdout.take()),
            stderr: Pipe::reading(child.stderr.take()),
            child,
            started,
            _stdin: stdin,
        }
    }

    /// Starts it and waits for its end.
    pub fn run(self) -> Ran {
        self.start().wait()
    }
}

impl Running {
    /// Sends a signal (`TERM`, `INT`, `HUP`, `KILL`).
    pub fn signal(&self, name: &str) {
        let signal = match name {
            "HUP" => Signal::HUP,
            "INT" => Signal::INT,
            "KILL" => Signal::KILL,
            "TERM" => Signal::TERM,
            _ => panic!("an unknown signal"),
        };
        let process = Pid::from_raw(self.child.id().cast_signed()).expect("an id");
        kill_process(process, signal).expect("the process is gone already");
    }

    /// Waits until the process has a handler for a signal of its own: before that it would just end.
    #[track_caller]
    pub fn wait_until_handled(&self, name: &str) {
        let bit = match name {
            "INT" => 1 << 1,
            "HUP" => 1,
            "TERM" => 1 << 14,
            _ => panic!("an unknown signal"),
        };
        let path = format!("/proc/{}/status", self.child.id());
        while self.started.elapsed() < PATIENCE {
            let status = std::fs::read_to_string(&path).expect("the process is there");
            let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
            let caught = caught.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
            if caught.is_some_and(|mask| mask & bit != 0) {
                return;
            }
            std::thread::yield_now();
        }
        panic!("the process never handles {name}");
    }

    /// Waits until stdout holds this text.
    #[track_caller]
    pub fn wait_for_stdout(&self, text: &str) {
        self.stdout.wait_for(text);
    }

    /// Waits until stderr holds this text.
    #[track_caller]
    pub fn wait_for_stderr(&self, text: &str) {
        self.stderr.wait_for(text);
    }

    /// Waits for the end.
    pub fn wait(mut self) -> Ran {
        let mut peak_kib = 0;
        let status = loop {
            match self
                .child
                .try_wait()
                .expect("the process can be waited for")
            {
                Some(status) => break status,
                None if self.started.elapsed() > PATIENCE => {
                    self.child.kill().expect("the process can be ended");
                    panic!("the process hangs");
                }
                None => {
                    peak_kib = peak_of(self.child.id()).unwrap_or(peak_kib);
                    std::thread::sleep(Duration::from_millis(2));
                }
            }
        };
        use std::os::unix::process::ExitStatusExt;
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("the output is UTF-8");
        Ran {
            elapsed: self.started.elapsed(),
            killed: status.signal().is_some(),
            status: status
                .code()
                .unwrap_or_else(|| 128 + status.signal().unwrap_or_default()),
            stdout: text(self.stdout.all()),
            stderr: text(self.stderr.all()),
            peak_kib,
        }
    }
}

/// The kernel's own record of the most memory a process had.
fn peak_of(process: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().trim_end_matches("kB").trim().parse().ok()
}

impl Pipe {
    fn reading(pipe: Option<impl Read + Send + 'static>) -> Self {
        let so_far: Arc<(Mutex<Vec<u8>>, Condvar)> = Arc::default();
        let shared = Arc::clone(&so_far);
        let reader = pipe.map(|mut pipe| {
            std::thread::spawn(move || {
                let mut piece = vec![0; 1 << 16];
                loop {
                    let read = pipe.read(&mut piece).expect("the pipe can be read");
                    if read == 0 {
                        return;
                    }
                    let mut bytes = shared.0.lock().expect("no reader panicked");
                    bytes.extend_from_slice(&piece[..read]);
                    shared.1.notify_all();
                }
            })
        });
        Self { so_far, reader }
    }

    #[track_caller]
    fn wait_for(&self, text: &str) {
        let (bytes, changed) = &*self.so_far;
        let guard = bytes.lock().expect("no reader panicked");
        let lacks = |bytes: &mut Vec<u8>| !String::from_utf8_lossy(bytes).contains(text);
        let (bytes, waited) = changed
            .wait_timeout_while(guard, PATIENCE, lacks)
            .expect("no reader panicked");
        assert!(
            !waited.timed_out(),
            "no {text:?} in {}",
            String::from_utf8_lossy(&bytes)
        );
    }

    fn all(&mut self) -> Vec<u8> {
        if let Some(reader) = self.reader.take() {
            reader.join().expect("the pipe is read");
        }
        std::mem::take(&mut *self.so_far.0.lock().expect("no reader panicked"))
    }
}

impl Ran {
    /// What came through one pipe ([`Binary::merged`]): the last line, which an engine takes for the document,
    /// and all that was written before it.
    pub fn apart(mut self) -> Self {
        let text = std::mem::take(&mut self.stdout);
        let before = text
            .trim_end_matches('\n')
            .rfind('\n')
            .map_or(0, |end| end + 1);
        assert_eq!(self.stderr, "", "it is another pipe");
        self.stderr = text[..before].to_owned();
        self.stdout = text[before..].to_owned();
        self
    }

    /// The one document, checked against its schema and read into types of the test's own; fails where
    /// stdout holds anything else.
    pub fn document(&self) -> Document {
        let line = self.stdout.strip_suffix('\n').unwrap_or_else(|| {
            panic!("stdout does not end with a newline: {self:?}");
        });
        assert!(!line.contains('\n'), "more than one line: {self:?}");
        assert_valid("", line);
        let document: Document = serde_json::from_str(line).expect("the document's types");
        document.assert_invariant();
        document
    }

    /// The lines of `--format ndjson`, each checked against its schema.
    pub fn lines(&self) -> Vec<Line> {
        let lines: Vec<Line> = self
            .stdout
            .lines()
            .map(|line| serde_json::from_str(line).expect("a line's types"))
            .collect();
        for (text, line) in self.stdout.lines().zip(&lines) {
            let definition = match line {
                Line::Host { .. } => "#/$defs/hostLine",
                Line::Summary { .. } => "#/$defs/summaryLine",
            };
            assert_valid(definition, text);
        }
        lines
    }

    /// Compares status, stderr and the document's error code at once; the document's hint has to stand
    /// below the lines of stderr that are given.
    #[track_caller]
    pub fn assert_failure(&self, status: i32, code: &str, stderr: &str) -> Document {
        let document = self.document();
        let error = document.error.as_ref();
        let hint = error.and_then(|error| error.hint.as_ref());
        let hint = hint.map_or(String::new(), |hint| format!("hint: {hint}\n"));
        assert_eq!(
            (self.status, error.map(|error| &*error.code), &*self.stderr),
            (status, Some(code), &*format!("{stderr}{hint}")),
            "{}",
            self.stdout
        );
        document
    }
}

static OUTPUT_SCHEMA: LazyLock<serde_json::Value> = LazyLock::new(|| {
    serde_json::from_str(include_str!("../../schemas/output.schema.json")).expect("JSON")
});

/// Checks a JSON text against the output's schema, or one of its definitions (`#/$defs/…`).
#[track_caller]
fn assert_valid(definition: &str, text: &str) {
    let mut schema = OUTPUT_SCHEMA.clone();
    if !definition.is_empty() {
        let definitions = schema["$defs"].take();
        schema = serde_json::json!({"$ref": definition, "$defs": definitions});
    }
    let validator = jsonschema::validator_for(&schema).expect("the schema is one");
    let value = serde_json::from_str(text).expect("the output is JSON");
    let errors: Vec<String> = validator
        .iter_errors(&value)
        .map(|error| format!("{} at {}", error, error.instance_path()))
        .collect();
    assert!(errors.is_empty(), "{errors:?}\n{text}");
}
