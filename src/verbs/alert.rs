//! The verb `alert`: a webhook's document on stdin becomes a playbook's context on stdout, or the whole
//! invocation of a step. Opens no socket. What the document says is data: nothing in it is rendered.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use clap::{Args, ValueHint};
use serde_json::{Value, json};

use crate::call_error::CallError;
use crate::exit::Exit;
use crate::input::{self, Form, MAX_INPUT_BYTES, PROTOCOLS};
use crate::output::visible;
use crate::process::{Process, stdin};
use crate::regular_file::{self, Links};
use crate::secret::SecretSources;
use crate::servers::alerts::{self, MAX_ALERT_BYTES};
use crate::session::failure::Failure;
use crate::time::rfc3339;

/// The verb, in messages.
const VERB: &str = "alert";

/// Flags of `alert`.
#[derive(Debug, Args)]
pub struct AlertArgs {
    /// Write the whole invocation of the step in this file, with the alert as its context.
    #[arg(long, value_name = "STEP", value_hint = ValueHint::FilePath)]
    pub invocation: Option<PathBuf>,
    /// The signature that came with the document, in hexadecimal digits; what it does not fit is refused.
    #[arg(long, value_name = "HEX", requires = "signature_secret")]
    pub signature: Option<String>,
    /// The name of the secret that the document is signed with.
    #[arg(long, value_name = "NAME", requires = "signature")]
    pub signature_secret: Option<String>,
    /// A directory with one file per secret [default: $CREDENTIALS_DIRECTORY].
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub secrets_dir: Option<PathBuf>,
}

/// Reads stdin and writes what the alert becomes. Returns how the process ends.
pub(crate) fn run(args: &AlertArgs, process: &Process) -> Exit {
    match text(args, process) {
        Ok(text) => process.handed_on(&text),
        Err(failure) => process.fail(&failure),
    }
}

fn text(args: &AlertArgs, process: &Process) -> Result<String, Failure> {
    // A step that can't be used is told before anything is waited for.
    let step = args.invocation.as_deref().map(step_of).transpose()?;
    let bytes = stdin::read(MAX_ALERT_BYTES, &stdin::Wanted::ALERT)?;
    if let (Some(signature), Some(secret)) = (&args.signature, &args.signature_secret) {
        verify(&bytes, signature, secret, args.secrets_dir.clone())?;
    }
    let document = input::decode_json(&bytes, MAX_ALERT_BYTES)?;
    let received = alerts::read(document, &rfc3339(SystemTime::now()))?;
    for warning in &received.warnings {
        process.stderr.notices().warn(warning);
    }
    let is_none = received.alert.is_null();
    let context = json!({ "alert": received.alert });
    let Some(step) = step.filter(|_| !is_none) else {
        return line(&context);
    };
    let whole = json!({"protocol": PROTOCOLS[0], "step": step, "context": context});
    let text = line(&whole)?;
    if text.len() > MAX_INPUT_BYTES {
        process.stderr.notices().warn(format!(
            "the invocation is {} MiB long, and `run` reads no more than {} MiB",
            text.len().div_ceil(1 << 20),
            MAX_INPUT_BYTES >> 20
        ));
    }
    Ok(text)
}

/// The value on a line of its own, fit for a terminal.
fn line(value: &Value) -> Result<String, Failure> {
    let mut text = Vec::new();
    let written = visible::line(&mut text, value).map_err(|error| error.to_string());
    let text = written.and_then(|()| String::from_utf8(text).map_err(|error| error.to_string()));
    text.map_err(|error| Failure::not_written(&error))
}

/// The step in a file, as it is written there.
fn step_of(path: &Path) -> Result<Value, Failure> {
    let unusable = |what: String| CallError::File {
        path: path.to_owned(),
        what,
        hint: Some("a file with one step, as `run` reads it"),
    };
    let file = regular_file::read(path, MAX_INPUT_BYTES, Links::Follow)
        .map_err(|error| unusable(error.to_string()))?;
    let invocation = input::decode(&file.bytes).map_err(|error| {
        let at = error.position.map_or(String::new(), |at| {
            format!(" (line {}, column {})", at.line, at.column)
        });
        unusable(format!("can't be read as a step{at}: {error}"))
    })?;
    if invocation.form == Form::Invocation {
        let what = "is an invocation already: write the step alone".into();
        return Err(unusable(what).into());
    }
    Ok(invocation.step.into_value())
}

/// Whether the document is what somebody who has the secret has signed: HMAC-SHA256 (RFC 2104), compared in
/// constant time.
fn verify(
    document: &[u8],
    signature: &str,
    secret: &str,
    dir: Option<PathBuf>,
) -> Result<(), Failure> {
    let Some(signature) = from_hex(signature) else {
        return Err(CallError::Flags {
            verb: VERB,
            message: "`--signature` must be hexadecimal digits, two for each byte".into(),
        }
        .into());
    };
    let sources = SecretSources::of_process(BTreeMap::new(), dir);
    let found = sources.find(secret);
    let found = found.map_err(|error| CallError::Secret(error.to_string()))?;
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, found.secret.expose().as_bytes());
    ring::hmac::verify(&key, document, &signature)
        .map_err(|_| CallError::Signature(secret.to_owned()).into())
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.strip_prefix("sha256=").unwrap_or(text).as_bytes();
    if digits.is_empty()
        || !digits.len().is_multiple_of(2)
        || !digits.iter().all(u8::is_ascii_hexdigit)
    {
        return None;
    }
    let pairs = digits.chunks(2).map(std::str::from_utf8);
    pairs
        .map(|pair| u8::from_str_radix(pair.ok()?, 16).ok())
        .collect()
}
