//! `max_concurrent`: campaigns at once against one server from this machine. A slot is a file's lock, which
//! the system takes back when its process ends, however it ends. Knows nothing of servers.

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::time::Duration;

use tokio::time::Instant;
use url::Url;

use super::trust;
use crate::exit::Code;
use crate::notices::Notices;
use crate::session::failure::Failure;

/// Pauses between two looks at the slots grow from the first to the second.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(250);

/// The slots of one server.
#[derive(Debug, Clone)]
pub struct Slots {
    most: usize,
    dir: PathBuf,
    server: String,
}

/// A slot that is held, until it is dropped or the process ends.
#[derive(Debug)]
pub struct Slot(#[expect(dead_code, reason = "held for its lock")] File);

impl Slots {
    /// The slots of the server at a URL, as files in a folder.
    pub(super) fn new(most: usize, dir: PathBuf, server: &Url) -> Self {
        Self {
            most,
            dir,
            server: file_name(server),
        }
    }

    /// Waits for a slot until the deadline.
    ///
    /// # Errors
    /// `busy` where none became free in time, `policy` where the folder can't be used.
    pub async fn take(&self, deadline: Instant, notices: &Notices) -> Result<Slot, Failure> {
        let mut pause = FIRST_PAUSE;
        loop {
            if let Some(slot) = self.free()? {
                return Ok(slot);
            }
            let now = Instant::now();
            if now >= deadline {
                return Err(Failure::new(
                    Code::Busy,
                    format!(
                        "this machine runs as many campaigns against the server as the policy's `max_concurrent` allows ({}), and none ended before the deadline",
                        self.most
                    ),
                )
                .hint("run the step again later, or raise `timeout_seconds`"));
            }
            if pause == FIRST_PAUSE {
                notices.info(|| {
                    format!(
                        "waiting for one of the {} campaigns against the server to end",
                        self.most
                    )
                });
            }
            tokio::time::sleep_until(deadline.min(now + pause)).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// A slot that is free right now.
    fn free(&self) -> Result<Option<Slot>, Failure> {
        for number in 0..self.most {
            let path = self.dir.join(format!("{}.{number}.lock", self.server));
            let unusable = |what: String| {
                Failure::new(
                    Code::Policy,
                    format!("the lock {} can't be used: {what}", path.display()),
                )
                .hint("the policy's `lock_dir` must be a folder that this program can write to, and others can't")
            };
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .open(&path)
                .map_err(|error| unusable(error.kind().to_string()))?;
            trust::file(&path, 0).map_err(|error| unusable(format!("it {error}")))?;
            match file.try_lock() {
                Ok(()) => return Ok(Some(Slot(file))),
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => return Err(unusable(error.kind().to_string())),
            }
        }
        Ok(None)
    }
}

/// The server as a part of a file's name. Two servers that end up with the same share their slots.
fn file_name(server: &Url) -> String {
    let host = server.host_str().unwrap_or_default().trim_end_matches('.');
    let port = server.port_or_known_default().unwrap_or_default();
    let plain = |letter: char| {
        if letter.is_ascii_alphanumeric() || matches!(letter, '.' | '-') {
            letter
        } else {
            '_'
        }
    };
    let host: String = host.chars().map(plain).take(180).collect();
    format!("campaigns-{host}-{port}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_has_one_name_however_it_is_written() {
        let name = |url: &str| file_name(&Url::parse(url).unwrap());
        assert_eq!(
            name("https://Fleet.Example.com./x"),
            "campaigns-fleet.example.com-443"
        );
        assert_eq!(name("http://127.1:8080"), "campaigns-127.0.0.1-8080");
        assert_eq!(name("https://[::1]:8443/"), "campaigns-___1_-8443");
        assert!(name(&format!("https://{}.example", "a".repeat(250))).len() < 200);
    }
}
