//! An answer whose body is still on its way: read whole within a limit, or taken apart item by item, so
//! that a list of any length costs no more memory than one of its items.

use std::ops::Deref;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::Http;
use super::items::{Item, Items, NoList};
use super::limits;
use super::reply::{Reply, not_json, of_another_form};
use super::request::Failure;
use crate::memory::{self, NoMemory};
use crate::servers::BackendError;

/// What is made of an item (its text, rows, both of which grow by doubling) takes no more than so many times
/// its bytes.
const MADE_OF_AN_ITEM: usize = 8;
/// What is made of small items is asked for once for all that came at a time.
const MADE_OF_SMALL_ONES: usize = 32 * 1024;
/// After working for so long others have their turn: deadline, signals, other sessions.
const SLICE: Duration = Duration::from_millis(5);

/// An answer of which the head has come; no redirect, and not to be tried again.
#[derive(Debug)]
pub struct Incoming {
    response: reqwest::Response,
    http: Http,
    /// `GET /path`, for messages.
    asked: String,
    bytes: usize,
    most: usize,
}

impl Incoming {
    pub(super) fn new(response: reqwest::Response, http: Http, asked: String, most: usize) -> Self {
        Self {
            response,
            http,
            asked,
            bytes: 0,
            most,
        }
    }

    /// HTTP status.
    pub fn status(&self) -> u16 {
        self.response.status().as_u16()
    }

    /// Whether the status is a success.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status())
    }

    /// Its head, as a reply without a body.
    pub fn head(&self) -> Reply {
        Reply {
            status: self.status(),
            body: Vec::new(),
            asked: self.asked.clone(),
        }
    }

    /// Reads the rest: for refusals, whose bodies are small.
    ///
    /// # Errors
    /// Where the connection breaks, or it is more than the request's `max_bytes`.
    pub async fn whole(self) -> Result<Reply, BackendError> {
        self.read_whole().await.map_err(|failure| failure.error)
    }

    pub(super) async fn read_whole(mut self) -> Result<Reply, Failure> {
        let status = self.status();
        let mut body = Vec::new();
        let large = Arc::clone(&self.http.large);
        let mut turn = None;
        while let Some(chunk) = self.chunk().await? {
            memory::room(&mut body, chunk.len())
                .map_err(|refused| Failure::final_(self.no_memory(refused)))?;
            if turn.is_none() && body.len() + chunk.len() > limits::SMALL.bytes {
                // Never closed.
                turn = large.acquire().await.ok();
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Reply {
            status,
            body,
            asked: self.asked,
        })
    }

    /// Reads a list item by item: the body is `[…]`, or an object that has it under this key. Of one item
    /// no more than `item_bytes` are kept.
    pub fn list(self, under: &'static str, item_bytes: usize) -> List {
        List {
            items: Items::new(under, item_bytes, limits::AROUND_LIST.bytes),
            incoming: self,
            piece: Piece(Box::new(Vec::new())),
            taken: 0,
            items_seen: 0,
            slice: Instant::now(),
        }
    }

    /// The next bytes; `None` at the end. May be dropped and called again.
    async fn chunk(
        &mut self,
    ) -> Result<Option<impl Deref<Target = [u8]> + Send + Sync + use<>>, Failure> {
        match self.response.chunk().await {
            Ok(None) => Ok(None),
            Ok(Some(chunk)) => {
                self.bytes = self.bytes.saturating_add(chunk.len());
                if self.bytes > self.most {
                    return Err(Failure::final_(self.too_large()));
                }
                Ok(Some(chunk))
            }
            Err(error) => Err(self.http.broken(&error)),
        }
    }

    fn no_memory(&self, refused: NoMemory) -> BackendError {
        BackendError::Setup {
            message: format!(
                "the answer of {} to {} can't be read: the system refuses {refused} of memory (`ulimit -v`)",
                self.http.origin(),
                self.asked,
            ),
            hint: Some("raise the limit of this process (`ulimit -v`; in a service LimitAS, MemoryMax), or ask fewer hosts or for fewer rows".into()),
        }
    }

    fn too_large(&self) -> BackendError {
        BackendError::Answer {
            status: None,
            message: format!(
                "{} answered {} with more than {}, the most that is read of such an answer",
                self.http.origin(),
                self.asked,
                limits::words(self.most)
            ),
            hint: Some("no answer of this kind is so large: look at what listens at `base_url`; if it is the server, ask fewer hosts or for fewer rows".into()),
        }
    }
}

/// What has come, in the memory that it came in.
struct Piece(Box<dyn Deref<Target = [u8]> + Send + Sync>);

impl std::fmt::Debug for Piece {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} bytes", self.0.len())
    }
}

/// A list that is taken apart while it comes.
#[derive(Debug)]
pub struct List {
    incoming: Incoming,
    items: Items,
    /// What has come and is not taken apart yet, from `taken` on.
    piece: Piece,
    taken: usize,
    items_seen: usize,
    /// Since when there was no pause.
    slice: Instant,
}

impl List {
    /// The next item; `None` once the list has ended and what stood around it is known. May be dropped at
    /// any await and called again. Never waits while there is an item in what has come.
    ///
    /// # Errors
    /// Where the connection breaks ([`BackendError::Unreachable`]: the list may be asked for again), or
    /// the body is no such list, or larger than the request's `max_bytes`.
    pub async fn next(&mut self) -> Result<Option<Item>, BackendError> {
        self.advance().await.map_err(|failure| failure.error)
    }

    pub(super) async fn advance(&mut self) -> Result<Option<Item>, Failure> {
        loop {
            let rest = self.piece.0.get(self.taken..).unwrap_or_default();
            if !rest.is_empty() {
                let fed = self.items.feed(rest);
                let (taken, item) = fed.map_err(|error| self.no_list(error))?;
                self.taken += taken;
                if let Some(item) = item {
                    self.items_seen += 1;
                    // Beside it comes what it is made into.
                    let made = item.json.len().saturating_mul(MADE_OF_AN_ITEM);
                    if made > MADE_OF_SMALL_ONES {
                        self.ask(made)?;
                    }
                    return Ok(Some(item));
                }
                continue;
            }
            // Others have their turn however fast it comes.
            if self.slice.elapsed() >= SLICE {
                tokio::task::yield_now().await;
                self.slice = Instant::now();
            }
            match self.incoming.chunk().await? {
                Some(chunk) => {
                    self.ask(MADE_OF_SMALL_ONES)?;
                    self.piece = Piece(Box::new(chunk));
                    self.taken = 0;
                }
                None => return Ok(None),
            }
        }
    }

    fn ask(&self, bytes: usize) -> Result<(), Failure> {
        memory::asked(bytes).map_err(|refused| Failure::final_(self.incoming.no_memory(refused)))
    }

    /// Gives the memory of an item back, for the next one.
    pub fn reuse(&mut self, item: Item) {
        self.items.reuse(item.json);
    }

    /// An item as JSON of the expected form.
    ///
    /// # Errors
    /// [`BackendError::Answer`], which says which item it is but never shows it.
    pub fn read<I: DeserializeOwned>(&self, item: &Item) -> Result<I, BackendError> {
        self.borrowed(item)
    }

    /// As [`List::read`], for types that borrow from the item.
    ///
    /// # Errors
    /// As [`List::read`].
    pub fn borrowed<'a, I: Deserialize<'a>>(&self, item: &'a Item) -> Result<I, BackendError> {
        serde_json::from_slice(&item.json).map_err(|error| {
            let place = format!("item {} of its list", self.items_seen);
            let (asked, status) = (&self.incoming.asked, self.incoming.status());
            match error.is_data() {
                true => of_another_form(asked, status, &place),
                false => self.no_item(),
            }
        })
    }

    /// The item that came last is not JSON.
    pub fn no_item(&self) -> BackendError {
        let place = format!("item {} of its list", self.items_seen);
        not_json(&self.incoming.asked, self.incoming.status(), &place)
    }

    /// Whether more came than is read of such an answer.
    pub fn is_too_large(&self) -> bool {
        self.incoming.bytes > self.incoming.most
    }

    /// What stood around the items, with an empty list in their place, as a reply of its own: its `json`
    /// has the list's total. To be called once [`List::next`] gave `None`.
    ///
    /// # Errors
    /// Where the body broke off inside of the list.
    pub fn end(self) -> Result<Reply, BackendError> {
        self.finish().map_err(|failure| failure.error)
    }

    pub(super) fn finish(self) -> Result<Reply, Failure> {
        let (status, asked) = (self.incoming.status(), self.incoming.asked.clone());
        let ended = Failure::final_(not_json(&asked, status, "its end is missing"));
        let body = self.items.end().map_err(|_| ended)?;
        Ok(Reply {
            status,
            body,
            asked,
        })
    }

    fn no_list(&self, error: NoList) -> Failure {
        let incoming = &self.incoming;
        Failure::final_(match error {
            NoList::NotJson => {
                let place = format!(
                    "byte {}",
                    incoming.bytes - (self.piece.0.len() - self.taken)
                );
                not_json(&incoming.asked, incoming.status(), &place)
            }
            NoList::TooMuchAround => incoming.too_large(),
            NoList::NoMemory(refused) => incoming.no_memory(refused),
        })
    }
}
