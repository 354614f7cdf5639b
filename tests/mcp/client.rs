//! A client of the protocol that writes raw lines, so that it may write wrong ones: the real binary behind
//! pipes. What comes is kept until it is asked for, by the request's id or as notifications.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

/// Nothing that is waited for takes as long, unless it never comes.
const PATIENCE: Duration = Duration::from_secs(60);

/// Which era a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Era {
    /// It shakes hands, in this version.
    Handshake(&'static str),
    /// Every request says all of itself.
    Stateless,
}

/// Both eras, and both versions of the handshake that are promised.
pub const ERAS: [Era; 3] = [
    Era::Handshake("2025-06-18"),
    Era::Handshake("2025-11-25"),
    Era::Stateless,
];

/// A client with its server.
pub struct Client {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<Value>,
    early: VecDeque<Value>,
    stderr: Option<JoinHandle<String>>,
    era: Era,
    capabilities: Value,
    next: u64,
}

/// What a server left.
pub struct Left {
    pub status: i32,
    pub stderr: String,
    /// What came after all that was asked for.
    pub rest: Vec<Value>,
}

impl Client {
    /// Starts a server under a policy; nothing is said yet. `env` is all of its environment.
    pub fn start(policy: &Path, env: &[(&str, &str)]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_osquery-live-query"));
        command.arg("mcp").arg("--policy").arg(policy);
        Self::of(command, env)
    }

    /// The same with a command of one's own.
    pub fn of(mut command: Command, env: &[(&str, &str)]) -> Self {
        let mut child = command
            .env_clear()
            .envs(env.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let stdout = child.stdout.take().expect("a pipe");
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines() {
                let line = line.expect("UTF-8");
                let message = serde_json::from_str(&line);
                let message = message.unwrap_or_else(|_| panic!("no message: {line}"));
                if sender.send(message).is_err() {
                    return;
                }
            }
        });
        let mut stderr = child.stderr.take().expect("a pipe");
        let stderr = std::thread::spawn(move || {
            let mut text = String::new();
            stderr.read_to_string(&mut text).expect("UTF-8");
            text
        });
        Self {
            stdin: child.stdin.take(),
            child,
            lines,
            early: VecDeque::new(),
            stderr: Some(stderr),
            era: Era::Stateless,
            capabilities: json!({}),
            next: 1,
        }
    }

    /// Begins in an era, as a client that can do this.
    pub fn begin(mut self, era: Era, capabilities: Value) -> Self {
        self.era = era;
        self.capabilities = capabilities;
        if let Era::Handshake(version) = era {
            let params = json!({
                "protocolVersion": version,
                "capabilities": self.capabilities,
                "clientInfo": {"name": "raw-client", "version": "1.2.3"},
            });
            let answer = self.ask("initialize", params);
            assert_eq!(answer["result"]["protocolVersion"], version, "{answer}");
            self.notify("notifications/initialized", json!({}));
        }
        self
    }

    /// A line as it is.
    pub fn write(&mut self, bytes: &[u8]) {
        let stdin = self.stdin.as_mut().expect("stdin is open");
        stdin.write_all(bytes).expect("the server reads");
        stdin.write_all(b"\n").expect("the server reads");
    }

    pub fn notify(&mut self, method: &str, params: Value) {
        let message = json!({"jsonrpc": "2.0", "method": method, "params": params});
        self.write(message.to_string().as_bytes());
    }

    /// Sends a request; the id that its answer will have.
    pub fn send(&mut self, method: &str, mut params: Value) -> u64 {
        let id = self.next;
        self.next += 1;
        if self.era == Era::Stateless {
            let meta = &mut params["_meta"];
            meta["io.modelcontextprotocol/protocolVersion"] = "2026-07-28".into();
            meta["io.modelcontextprotocol/clientInfo"] =
                json!({"name": "raw-client", "version": "1.2.3"});
            meta["io.modelcontextprotocol/clientCapabilities"] = self.capabilities.clone();
        }
        let message = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        self.write(message.to_string().as_bytes());
        id
    }

    /// The next message of any kind.
    pub fn next(&mut self) -> Value {
        match self.early.pop_front() {
            Some(message) => message,
            None => self.lines.recv_timeout(PATIENCE).expect("a message"),
        }
    }

    /// The first message that fits; those before it are kept.
    pub fn wait(&mut self, fits: impl Fn(&Value) -> bool) -> Value {
        if let Some(at) = self.early.iter().position(&fits) {
            return self.early.remove(at).expect("it is there");
        }
        let begun = Instant::now();
        loop {
            let message = self.lines.recv_timeout(PATIENCE);
            let message = message.unwrap_or_else(|_| panic!("it never came: {:?}", self.early));
            if fits(&message) {
                return message;
            }
            self.early.push_back(message);
            assert!(begun.elapsed() < PATIENCE, "it never came");
        }
    }

    /// The answer to a request.
    pub fn answer(&mut self, id: u64) -> Value {
        self.wait(|message| message["id"] == id && message.get("method").is_none())
    }

    pub fn ask(&mut self, method: &str, params: Value) -> Value {
        let id = self.send(method, params);
        self.answer(id)
    }

    /// Calls a tool, without waiting.
    pub fn call(&mut self, tool: &str, arguments: Value) -> u64 {
        self.send("tools/call", json!({"name": tool, "arguments": arguments}))
    }

    /// Calls a tool that has to answer; checks the answer against the tool's output schema.
    #[track_caller]
    pub fn tool(&mut self, tool: &str, arguments: Value) -> Value {
        let id = self.call(tool, arguments);
        self.answered(id, tool)
    }

    /// The answer of a call, which has to be one.
    #[track_caller]
    pub fn answered(&mut self, id: u64, tool: &str) -> Value {
        let answer = self.answer(id);
        let result = &answer["result"];
        assert_ne!(result["isError"], true, "{answer}");
        structured(tool, result)
    }

    /// Calls a tool that has to refuse: its error.
    #[track_caller]
    pub fn refused(&mut self, tool: &str, arguments: Value) -> Value {
        let id = self.call(tool, arguments);
        error_of(&self.answer(id))
    }

    pub fn signal(&self, signal: Signal) {
        let process = Pid::from_raw(self.child.id().cast_signed()).expect("an id");
        kill_process(process, signal).expect("it runs");
    }

    pub fn close_stdin(&mut self) {
        self.stdin = None;
    }

    /// Memory that is resident now, in KiB.
    pub fn resident_kib(&self) -> u64 {
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(path).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let line = line.expect("a line").trim().trim_end_matches("kB");
        line.trim().parse().expect("a number")
    }

    /// Ends stdin and waits for the server's end.
    pub fn end(mut self) -> Left {
        self.close_stdin();
        self.wait_for_end()
    }

    pub fn wait_for_end(mut self) -> Left {
        let begun = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("it can be waited for") {
                break status;
            }
            if begun.elapsed() > PATIENCE {
                self.child.kill().expect("it can be ended");
                panic!("the server does not end");
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        let stderr = self.stderr.take().expect("once").join().expect("UTF-8");
        let mut rest: Vec<Value> = self.early.drain(..).collect();
        rest.extend(self.lines.iter());
        Left {
            status: status.code().unwrap_or(-1),
            stderr,
            rest,
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The error that a tool's answer is.
#[track_caller]
pub fn error_of(answer: &Value) -> Value {
    let result = &answer["result"];
    assert_eq!(result["isError"], true, "{answer}");
    let text = result["content"][0]["text"].as_str().expect("text");
    let error: Value = serde_json::from_str(text).expect("JSON");
    assert!(error["error"]["code"].is_string(), "{error}");
    error["error"].clone()
}

/// What a tool answered: the same in both forms, and as its output schema has it.
#[track_caller]
pub fn structured(tool: &str, result: &Value) -> Value {
    let answer = result["structuredContent"].clone();
    let text = result["content"][0]["text"].as_str().expect("text");
    assert_eq!(serde_json::from_str::<Value>(text).expect("JSON"), answer);
    let schema = std::fs::read_to_string(
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join(format!("schemas/mcp/{tool}.output.schema.json")),
    );
    let schema: Value = serde_json::from_str(&schema.expect("a schema")).expect("JSON");
    let validator = jsonschema::validator_for(&schema).expect("a schema");
    let wrong: Vec<String> = validator
        .iter_errors(&answer)
        .map(|error| format!("{error} at {}", error.instance_path()))
        .collect();
    assert!(wrong.is_empty(), "{wrong:?}\n{answer}");
    answer
}
