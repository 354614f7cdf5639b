//! Starts a program and tells what it took. It is started by a small process of its own: a process inherits the peak
//! memory of the one that started it.

use std::fs::File;
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use wait4::Wait4;

/// With this argument the program is such a process: `--child PROGRAM ARGUMENTS…`.
pub const ARGUMENT: &str = "--child";

/// What a program took.
#[derive(Debug, Clone, Copy, Default)]
pub struct Took {
    pub wall: Duration,
    /// User and system.
    pub cpu: Duration,
    /// The most that was resident, in bytes.
    pub memory: u64,
    /// What it wrote to stdout.
    pub written: u64,
    pub status: i32,
    /// When it had ended.
    pub ended: Duration,
}

impl Took {
    /// What [`Took::print`] has printed.
    pub fn read(told: &str) -> Self {
        let mut figures = told.split_whitespace().map(|word| word.parse::<u64>());
        let mut next = || figures.next().expect("a figure").expect("a number");
        Self {
            wall: Duration::from_micros(next()),
            cpu: Duration::from_micros(next()),
            memory: next(),
            written: next(),
            status: next() as i32,
            ended: Duration::from_micros(next()),
        }
    }

    /// Waits for a process of which so many bytes were read, and prints what it took.
    pub fn print(mut child: Child, started: Instant, written: usize) {
        let used = child.wait4().expect("the program ends");
        let (ended, wall) = (now(), started.elapsed());
        let cpu = used.rusage.utime + used.rusage.stime;
        println!(
            "{} {} {} {written} {} {}",
            wall.as_micros(),
            cpu.as_micros(),
            used.rusage.maxrss,
            used.status.code().unwrap_or(255),
            ended.as_micros()
        );
    }
}

/// Since 1970, which all processes of a machine count alike.
pub fn now() -> Duration {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.expect("a clock that goes")
}

/// A program with its arguments and what it reads.
pub struct Program<'a> {
    pub words: Vec<String>,
    pub stdin: Input<'a>,
    pub environment: &'a [(&'a str, &'a str)],
}

pub enum Input<'a> {
    Text(&'a str),
    File(&'a std::path::Path),
}

impl Program<'_> {
    pub fn run(&self) -> Took {
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        let path = std::env::var_os("PATH").unwrap_or_default();
        command
            .arg(ARGUMENT)
            .args(&self.words)
            .env_clear()
            .env("PATH", path)
            .envs(self.environment.iter().copied())
            .stdout(Stdio::piped());
        match self.stdin {
            Input::Text(_) => command.stdin(Stdio::piped()),
            Input::File(path) => command.stdin(File::open(path).expect("a file")),
        };
        let mut child = command.spawn().expect("a process starts");
        if let (Some(mut stdin), Input::Text(text)) = (child.stdin.take(), &self.stdin) {
            // Who reads nothing ends before.
            let _ = stdin.write_all(text.as_bytes());
        }
        let told = child.wait_with_output().expect("it ends").stdout;
        Took::read(&String::from_utf8_lossy(&told))
    }
    /// The run of so many that took the least time of the processor.
    pub fn best_of(&self, runs: usize) -> Took {
        let runs = (0..runs.max(1)).map(|_| self.run());
        runs.min_by_key(|took| took.cpu).expect("one run")
    }
}

/// As the small process: runs the program, throws its output away, and tells.
pub fn perform(words: &[String]) {
    let started = Instant::now();
    let mut child = Command::new(&words[0])
        .args(&words[1..])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts");
    let mut stdout = child.stdout.take().expect("a pipe");
    let mut piece = vec![0; 1 << 16];
    let mut written = 0;
    while let Ok(read @ 1..) = stdout.read(&mut piece) {
        written += read;
    }
    Took::print(child, started, written);
}
