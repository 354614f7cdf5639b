//! An answer that was read whole, and its JSON in types. Knows nothing of how it came.

use serde::de::DeserializeOwned;

use crate::servers::BackendError;

/// An answer that is no redirect and was not to be tried again.
#[derive(Debug)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// The body, whole.
    pub body: Vec<u8>,
    /// `GET /path`, for messages.
    pub asked: String,
}

impl Reply {
    /// Whether the status is a success.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The body as text, for a server's error message (never for logs).
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON of the expected form.
    ///
    /// # Errors
    /// [`BackendError::Answer`], which says where the JSON is wrong but never shows it.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, BackendError> {
        self.parse(|body| serde_json::from_slice(body))
    }

    /// As [`Reply::json`], for types that borrow from the body.
    ///
    /// # Errors
    /// As [`Reply::json`].
    pub fn parse<'a, T>(
        &'a self,
        read: impl FnOnce(&'a [u8]) -> serde_json::Result<T>,
    ) -> Result<T, BackendError> {
        read(&self.body).map_err(|error| {
            let place = format!("line {}, column {}", error.line(), error.column());
            match error.classify() {
                serde_json::error::Category::Data => {
                    of_another_form(&self.asked, self.status, &place)
                }
                _ => not_json(&self.asked, self.status, &place),
            }
        })
    }
}

/// The answer is JSON, but not what was expected; `place` says where.
pub(super) fn of_another_form(asked: &str, status: u16, place: &str) -> BackendError {
    unreadable(
        "JSON that does not have the expected form",
        asked,
        status,
        place,
    )
}

/// The answer is not JSON; `place` says where.
pub(super) fn not_json(asked: &str, status: u16, place: &str) -> BackendError {
    unreadable("something that is not JSON", asked, status, place)
}

fn unreadable(what: &str, asked: &str, status: u16, place: &str) -> BackendError {
    BackendError::Answer {
        status: None,
        message: format!("the server answered {asked} with {what} (HTTP {status}, {place})"),
        hint: Some(
            "check that `base_url` is the API's address, and not a web page or a proxy".into(),
        ),
    }
}
