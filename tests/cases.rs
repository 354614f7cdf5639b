//! Runs every case of `tests/cases/` through the real binary. `tests/cases/README.md` says what a case
//! consists of, and lists them: the list there is made from the cases.
//!
//! `UPDATE_CASES=1 cargo test --test outside cases` writes what came out, and the list; read the
//! difference before you commit it.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::net::TcpListener;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use osquery_simulator::{Scenario, Simulator};
use serde::Deserialize;
use serde_json::Value;

use crate::harness::document::take_evidence;
use crate::harness::{Binary, Ran, step};

/// What surrounds a step, and what has to come out beside the document.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    /// What the case shows, in one line.
    about: String,
    /// The simulated servers; without it nobody answers at `$SERVER`, and nobody may call there.
    #[serde(default)]
    scenario: Option<Value>,
    /// Arguments.
    #[serde(default)]
    args: Vec<String>,
    /// Variables.
    #[serde(default)]
    env: BTreeMap<String, String>,
    /// The context file's content.
    #[serde(default)]
    context: Option<Value>,
    /// Files of `$SECRETS_DIR`, by name.
    #[serde(default)]
    secrets: BTreeMap<String, String>,
    /// Permissions of these files.
    #[serde(default = "private")]
    secrets_mode: String,
    /// Exit status.
    exit: i32,
    /// Every statement that the server was told to hand out.
    #[serde(default)]
    sent: Vec<String>,
    /// All of stderr.
    #[serde(default)]
    stderr: String,
}

fn private() -> String {
    "600".into()
}

/// The README's sections: what names of cases begin with, and what these cases are about.
const SECTIONS: &[(&str, &str)] = &[
    ("input-", "How a step may come"),
    ("secret-", "Where secrets come from"),
    ("target-", "Who is asked"),
    ("result-", "What comes back"),
    ("template-", "The templates"),
    ("check-", "`check`: what would be sent to whom"),
    ("warning-", "Warnings"),
    ("error-usage-", "Exit 2, `usage`"),
    ("error-decode-", "Exit 10, `decode`"),
    ("error-schema-", "Exit 11, `schema`"),
    ("error-render-", "Exit 12, `render`"),
    ("error-allowlist-", "Exit 13, `allowlist`"),
    ("error-auth-", "Exit 20, `auth`"),
    ("error-targets-", "Exit 21, `targets`"),
    ("error-backend-", "Exit 22, `backend`"),
    ("error-unreachable-", "Exit 23, `unreachable`"),
    ("error-busy-", "Exit 24, `busy`"),
    ("error-deadline-", "Exit 25, `deadline`"),
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases")
}

fn updating() -> bool {
    std::env::var_os("UPDATE_CASES").is_some()
}

/// The cases' names, and the files with their steps.
pub fn steps() -> Vec<(String, PathBuf)> {
    let files = fs::read_dir(folder()).expect("tests/cases is there");
    let mut steps: Vec<(String, PathBuf)> = files
        .map(|file| file.expect("a file").path())
        .filter_map(|path| {
            let name = path.file_name()?.to_str()?;
            let (name, rest) = name.split_once('.')?;
            (rest == "step.yaml" || rest == "step.json").then(|| (name.to_owned(), path.clone()))
        })
        .collect();
    steps.sort();
    steps
}

fn read_case(name: &str) -> Result<(Case, String), String> {
    let path = folder().join(format!("{name}.case.yaml"));
    let text = fs::read_to_string(path).map_err(|error| error.to_string())?;
    let case = serde_saphyr::from_str(&text).map_err(|error| error.to_string())?;
    Ok((case, text))
}

#[test]
fn cases_are_many_and_each_is_whole() {
    let names = steps();
    assert!(names.len() >= 40, "only {} cases", names.len());
    for (name, _) in &names {
        for part in ["case.yaml", "document.json"] {
            let file = format!("{name}.{part}");
            assert!(folder().join(&file).exists(), "{file} is missing");
        }
    }
    let files = fs::read_dir(folder())
        .expect("tests/cases is there")
        .count();
    let expected = 3 * names.len() + 1;
    assert_eq!(files, expected, "a file of no case (README.md aside)");
}

#[test]
fn cases_stand_in_the_readme() {
    let path = folder().join("README.md");
    let text = fs::read_to_string(&path).expect("the README is there");
    let mark = "\n## ";
    let intro = text.split(mark).next().unwrap_or_default().trim_end();
    let mut whole = format!("{intro}\n");
    let mut listed = 0;
    let steps = steps();
    for (prefix, title) in SECTIONS {
        whole.push_str(&format!("{mark}{title}\n\n"));
        for (name, path) in steps.iter().filter(|(name, _)| name.starts_with(prefix)) {
            let (case, _) = read_case(name).unwrap_or_else(|error| panic!("{name}: {error}"));
            let file = path.file_name().and_then(|file| file.to_str());
            let (rest, file) = (&name[prefix.len()..], file.expect("a name"));
            let about = case.about.trim();
            whole.push_str(&format!("- [{rest}]({file}): {about}\n"));
            listed += 1;
        }
    }
    assert_eq!(
        listed,
        steps.len(),
        "a case's name begins with none of the sections"
    );
    if updating() {
        fs::write(path, whole).expect("the README is written");
    } else {
        assert_eq!(
            text, whole,
            "the README's list is old: see the top of tests/cases.rs"
        );
    }
}

#[test]
fn cases_come_out_as_written() {
    each(steps(), |(name, path)| {
        run(name, path).map_err(|message| format!("{name}: {message}"))
    });
}

/// Engines that read one merged stream take its last line.
#[test]
fn cases_say_everything_before_the_document() {
    each(steps(), |(name, path)| {
        let (case, _) = read_case(name)?;
        let came = came_by(name, path, &case, |binary| binary.merged().run().apart())?;
        same(&expected(name, &case)?, &came).map_err(|message| format!("{name}: {message}"))
    });
}

/// Does this for each, several at once; all failures are told together.
#[track_caller]
pub fn each<T: Send>(cases: Vec<T>, run: impl Fn(&T) -> Result<(), String> + Sync) {
    let queue = Mutex::new(cases);
    let failures = Mutex::new(Vec::new());
    let run = &run;
    // Most of a case is waiting, for the simulator and for hosts.
    std::thread::scope(|scope| {
        for _ in 0..12 {
            scope.spawn(|| {
                loop {
                    let next = queue.lock().expect("no case panicked").pop();
                    let Some(case) = next else { return };
                    let run = AssertUnwindSafe(|| run(&case));
                    let result = std::panic::catch_unwind(run);
                    if let Err(message) = result.unwrap_or_else(|panic| Err(words(&*panic))) {
                        failures.lock().expect("no case panicked").push(message);
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().expect("no case panicked");
    assert!(failures.is_empty(), "\n{}", failures.join("\n\n"));
}

fn words(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.unwrap_or_else(|| "panicked".into())
}

/// What stands at `$SERVER`.
enum Server {
    Simulated(Simulator),
    /// Accepts connections, and nobody takes them: whoever connects is found in the queue.
    Nobody(TcpListener),
}

impl Server {
    fn start(scenario: Option<&Value>) -> Self {
        let Some(scenario) = scenario else {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
            listener
                .set_nonblocking(true)
                .expect("it can be asked without waiting");
            return Self::Nobody(listener);
        };
        let scenario = Scenario::from_yaml(&scenario.to_string());
        let scenario = scenario.unwrap_or_else(|error| panic!("the scenario: {error}"));
        Self::Simulated(Simulator::spawn(scenario).expect("a simulator"))
    }

    fn base_url(&self) -> String {
        match self {
            Self::Simulated(simulator) => simulator.base_url(),
            Self::Nobody(listener) => {
                format!("http://{}", listener.local_addr().expect("an address"))
            }
        }
    }

    fn has_been_called(&self) -> bool {
        match self {
            Self::Simulated(simulator) => simulator.connections() > 0,
            Self::Nobody(listener) => match listener.accept() {
                Ok(_) => true,
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::WouldBlock);
                    false
                }
            },
        }
    }

    fn statements(&self) -> Vec<String> {
        match self {
            Self::Simulated(simulator) => simulator
                .campaigns()
                .into_iter()
                .map(|campaign| campaign.sql)
                .collect(),
            Self::Nobody(_) => Vec::new(),
        }
    }
}

/// A case's own files, gone with it.
struct Files(PathBuf);

impl Files {
    fn of(name: &str, case: &Case) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let (process, count) = (std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let files = Self(std::env::temp_dir().join(format!("case-{name}-{process}-{count}")));
        fs::create_dir_all(files.secrets_dir()).expect("a folder for the case");
        for (secret, text) in &case.secrets {
            use std::os::unix::fs::PermissionsExt;
            let path = files.secrets_dir().join(secret);
            fs::write(&path, text).expect("a secret's file");
            let mode = u32::from_str_radix(&case.secrets_mode, 8).expect("octal digits");
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("permissions");
        }
        if let Some(context) = &case.context {
            fs::write(files.context(), context.to_string()).expect("a context file");
        }
        files
    }

    fn secrets_dir(&self) -> PathBuf {
        self.0.join("secrets")
    }

    fn context(&self) -> PathBuf {
        self.0.join("context.json")
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        // What can't be removed lies in the system's folder for such files.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// What came out of a case: exit status, statements, stderr, the document.
pub type Came = (i32, Vec<String>, String, String);

/// What is to come out of a case.
fn expected(name: &str, case: &Case) -> Result<Came, String> {
    let document_path = folder().join(format!("{name}.document.json"));
    let document = fs::read_to_string(&document_path).map_err(|error| error.to_string())?;
    Ok((case.exit, case.sent.clone(), case.stderr.clone(), document))
}

fn run(name: &str, path: &Path) -> Result<(), String> {
    let (case, case_text) = read_case(name)?;
    let (status, sent, stderr, document) = came(name, path, &case)?;
    if updating() {
        let case_path = folder().join(format!("{name}.case.yaml"));
        let document_path = folder().join(format!("{name}.document.json"));
        let updated = updated(&case_text, status, &sent, &stderr);
        fs::write(&document_path, document).expect("the document is written");
        fs::write(case_path, updated).expect("the case is written");
        return Ok(());
    }
    same(&expected(name, &case)?, &(status, sent, stderr, document))
}

fn same(want: &Came, got: &Came) -> Result<(), String> {
    match want == got {
        true => Ok(()),
        false => Err(format!("expected {want:#?}\nfound {got:#?}")),
    }
}

/// Runs a case against its servers as `change` makes them of another age, and compares; `differs` says what
/// comes out instead where that is another thing. `false` where the case has no servers.
pub fn run_changed(
    name: &str,
    path: &Path,
    change: impl Fn(&mut Value),
    differs: Option<&dyn Fn(&Came) -> bool>,
) -> Result<bool, String> {
    let (mut case, _) = read_case(name)?;
    let want = expected(name, &case)?;
    let Some(scenario) = &mut case.scenario else {
        return Ok(false);
    };
    change(scenario);
    let got = came(name, path, &case)?;
    match differs {
        Some(differs) if want == got || !differs(&got) => {
            Err(format!("something else was to differ: {got:#?}"))
        }
        Some(_) => Ok(true),
        None => same(&want, &got).map(|()| true),
    }
}

fn came(name: &str, path: &Path, case: &Case) -> Result<Came, String> {
    came_by(name, path, case, Binary::run)
}

fn came_by(
    name: &str,
    path: &Path,
    case: &Case,
    run: impl Fn(Binary) -> Ran,
) -> Result<Came, String> {
    let server = Server::start(case.scenario.as_ref());
    let files = Files::of(name, case);
    let authority = match &server {
        Server::Simulated(simulator) => simulator.ca_path(),
        Server::Nobody(_) => None,
    };
    // What stands for something that each run has anew, the longest first.
    let stand_ins = [
        ("$SERVER", server.base_url()),
        ("$SECRETS_DIR", files.secrets_dir().display().to_string()),
        ("$CONTEXT_FILE", files.context().display().to_string()),
        (
            "$CA_FILE",
            authority
                .unwrap_or(Path::new("/none/ca.pem"))
                .display()
                .to_string(),
        ),
    ];
    let place = |text: &str| {
        let mut text = text.to_owned();
        for (name, real) in &stand_ins {
            text = text.replace(name, real);
        }
        text
    };
    let conceal = |text: &str| {
        let time = |letter: char| letter.is_ascii_alphanumeric() || "-:.".contains(letter);
        let mut text = replace_behind(text, "(last seen ", time, "TIME");
        text = replace_behind(
            &text,
            "templates` lists all ",
            |letter| letter.is_ascii_digit(),
            "N",
        );
        for (name, real) in &stand_ins {
            text = text.replace(real, name);
        }
        text
    };
    let input = match String::from_utf8(fs::read(path).map_err(|error| error.to_string())?) {
        Ok(text) => place(&text).into_bytes(),
        Err(not_text) => not_text.into_bytes(),
    };
    let mut binary: Binary = step(input);
    for arg in &case.args {
        binary = binary.arg(place(arg));
    }
    if case.context.is_some() {
        binary = binary.arg("--context").arg(files.context());
    }
    for (variable, value) in &case.env {
        binary = binary.env(variable, place(value));
    }
    let before = unix_now();
    let ran = run(binary);
    let clock = (before, unix_now());
    ran.document();
    let mut document: Value = serde_json::from_str(&ran.stdout).expect("a document");
    take_evidence(&mut document);
    settle(&mut document, clock);
    let came = conceal(&format!("{document:#}\n"));
    let stderr = conceal(&ran.stderr);
    let statements = server.statements();
    let sent: Vec<String> = statements
        .iter()
        .map(|sql| without_moment(sql, clock))
        .collect();
    for (_, secret) in case.secrets.iter().chain(&case.env) {
        let secret = secret.trim();
        let shown = !secret.is_empty() && !secret.starts_with('$');
        if shown && (ran.stdout.contains(secret) || ran.stderr.contains(secret)) {
            return Err("a secret is shown".into());
        }
    }
    if (10..20).contains(&ran.status) && server.has_been_called() {
        return Err("an input error opened a socket".into());
    }
    Ok((ran.status, sent, stderr, came))
}

/// The case's text with what came; everything before `exit` as it was written.
fn updated(case: &str, status: i32, sent: &[String], stderr: &str) -> String {
    let kept = case.split("\nexit:").next().unwrap_or(case);
    let mut text = format!("{}\nexit: {status}\n", kept.trim_end());
    if !sent.is_empty() {
        text.push_str("sent:\n");
        for statement in sent {
            text.push_str(&format!("  - {}\n", Value::from(statement.as_str())));
        }
    }
    if !stderr.is_empty() {
        text.push_str("stderr: |\n");
        for line in stderr.lines() {
            text.push_str(&format!("  {line}\n"));
        }
    }
    text
}

fn unix_now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.expect("the clock is set").as_secs()
}

/// Replaces what differs from run to run.
fn settle(value: &mut Value, clock: (u64, u64)) {
    match value {
        Value::Object(entries) => {
            for (key, value) in entries {
                match (key.as_str(), &*value) {
                    ("elapsed_ms" | "answered_ms", Value::Number(_)) => *value = 0.into(),
                    ("id", Value::String(_)) => *value = "ID".into(),
                    ("last_seen", Value::String(_)) => *value = "TIME".into(),
                    ("sql", Value::String(sql)) => *value = without_moment(sql, clock).into(),
                    _ => settle(value, clock),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| settle(item, clock)),
        _ => {}
    }
}

/// The text with whatever letters stand behind each mark replaced.
fn replace_behind(text: &str, mark: &str, part: impl Fn(char) -> bool, stand_in: &str) -> String {
    let mut pieces = text.split(mark);
    let mut replaced = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        replaced.push_str(mark);
        replaced.push_str(stand_in);
        replaced.push_str(piece.trim_start_matches(&part));
    }
    replaced
}

/// A statement with the unix time of so many hours before the run (which lay within `clock`) as
/// `NOW-24h`.
fn without_moment(sql: &str, clock: (u64, u64)) -> String {
    let words = sql.split(' ').map(|word| {
        let Ok(moment) = word.parse::<u64>() else {
            return word.to_owned();
        };
        let hours = (clock.1.saturating_sub(moment)) / 3600;
        let then = moment + hours * 3600;
        if hours < 24 * 14 && (clock.0..=clock.1).contains(&then) {
            format!("NOW-{hours}h")
        } else {
            word.to_owned()
        }
    });
    words.collect::<Vec<_>>().join(" ")
}
