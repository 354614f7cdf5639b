//! `max_concurrent`: campaigns at once against one server from this machine. A slot is a file's lock, which
//! the system takes back when its process ends, however it ends. Knows nothing of servers.

use std::fs::{File, TryLockError};
use std::path::PathBuf;
use std::time::Duration;

use tokio::time::Instant;
use url::Url;

use super::error::PolicyError;
use super::trust;
use crate::notices::Notices;
use crate::regular_file::{self, Access, Links, Opened};

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
    /// [`PolicyError::Busy`] where none became free in time, [`PolicyError::Lock`] where the folder can't be
    /// used.
    pub async fn take(&self, deadline: Instant, notices: &Notices) -> Result<Slot, PolicyError> {
        let mut pause = FIRST_PAUSE;
        loop {
            if let Some(slot) = self.free()? {
                return Ok(slot);
            }
            let now = Instant::now();
            if now >= deadline {
                return Err(PolicyError::Busy { most: self.most });
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
    fn free(&self) -> Result<Option<Slot>, PolicyError> {
        for number in 0..self.most {
            let path = self.dir.join(format!("{}.{number}.lock", self.server));
            let unusable = |reason: String| PolicyError::Lock {
                path: path.clone(),
                reason,
            };
            let Opened { file, .. } = regular_file::open(&path, Links::Refuse, Access::Lock)
                .map_err(|error| unusable(format!("it {error}")))?;
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
            name("https://Live.Example.com./x"),
            "campaigns-live.example.com-443"
        );
        assert_eq!(name("http://127.1:8080"), "campaigns-127.0.0.1-8080");
        assert_eq!(name("https://[::1]:8443/"), "campaigns-___1_-8443");
        assert!(name(&format!("https://{}.example", "a".repeat(250))).len() < 200);
    }
}
