//! Which results of a query have been read and which to read next. Pure: no I/O, no clock.
//!
//! The server orders results by the time they were stored and says with each page how many there are.
//! So the next new one stands at the place that is the number of those already known, and a page that
//! begins there brings new ones only. A result that was stored late stands further up: then the pages
//! before it are read once more, the last first, until the numbers agree.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use super::wire::Named;
use crate::campaign::host::HostId;

/// The most that a page may hold.
pub const PAGE_SIZE: u64 = 1_000;
/// Bytes that a page should hold at most, judged by what has come so far: a page whose connection breaks is
/// read again.
const PAGE_BYTES: u64 = 8 * 1024 * 1024;
/// Nodes may answer a query more than once (transcript `query-answered-twice`), but a server that tells
/// of many times more results than hosts were asked is not followed.
const REPEATS: u64 = 4;
/// How often everything is read again while the number of results stays the same.
const READ_AGAIN: u32 = 3;

/// One page to be asked for, both numbers as the server counts them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// From one.
    pub page: u64,
    /// Results a page.
    pub size: u64,
}

/// What one item is to the query.
#[derive(Debug, PartialEq, Eq)]
pub enum Taken {
    /// The first answer of this host.
    Fresh(HostId),
    /// A further answer of a host, or one that names none.
    Moved,
    /// It was read before.
    Known,
}

/// What is known of a query's results.
#[derive(Debug)]
pub struct Progress {
    /// Results that were read, by the server's ids: counted, since repeated answers have their own.
    ids: HashSet<u64>,
    /// Hosts that have answered.
    answered: HashSet<HostId>,
    /// How many results the server last said there are.
    total: u64,
    most: u64,
    /// The page to be read once more next, the last first.
    again: Option<Window>,
    /// For which total everything was read again, and how often: a server whose numbers never agree
    /// is not asked for ever.
    read_again: (u64, u32),
    /// Bytes and results that were read, for the size of pages.
    bytes: u64,
    results: u64,
    /// Results with an error, repeated ones too.
    error_items: u64,
    unnamed: bool,
}

impl Progress {
    /// For a query that so many hosts were asked.
    pub fn new(targeted: usize) -> Self {
        Self {
            ids: HashSet::new(),
            answered: HashSet::new(),
            total: 0,
            most: (targeted as u64)
                .saturating_mul(REPEATS)
                .saturating_add(PAGE_SIZE),
            again: None,
            read_again: (0, 0),
            bytes: 0,
            results: 0,
            error_items: 0,
            unnamed: false,
        }
    }

    /// Whether the host's answer has come.
    pub fn has_answered(&self, host: &HostId) -> bool {
        self.answered.contains(host)
    }

    /// How many results with an error were read, repeated ones and those of foreign hosts too.
    pub fn error_items(&self) -> u64 {
        self.error_items
    }

    /// Whether the server tells of more results than there can be.
    pub fn is_too_much(&self) -> bool {
        self.ids.len() as u64 > self.most
    }

    /// The page to ask for when a new round begins.
    pub fn poll(&self) -> Window {
        window(self.known(), 1, self.page_size())
    }

    /// Whether an item of this id was read before.
    pub fn knows(&self, id: &str) -> bool {
        self.ids.contains(&short(id))
    }

    /// Takes an item of so many bytes.
    pub fn take(&mut self, item: &Named, bytes: usize) -> Taken {
        self.bytes = self.bytes.saturating_add(bytes as u64);
        self.results = self.results.saturating_add(1);
        if !self.ids.insert(short(&item.id)) {
            return Taken::Known;
        }
        self.error_items += u64::from(!item.succeeded);
        let Some(host) = &item.host else {
            self.unnamed = true;
            return Taken::Moved;
        };
        // A host's first answer counts.
        match self.answered.insert(host.clone()) {
            true => Taken::Fresh(host.clone()),
            false => Taken::Moved,
        }
    }

    /// Whether there are results that name no host.
    pub fn has_unnamed(&self) -> bool {
        self.unnamed
    }

    /// A page is over: the page that should be read at once; `None`: nothing more for now. `total`: how many
    /// results there are; `None` where the server does not page, and everything there is has just been read.
    pub fn end_of_page(&mut self, total: Option<u64>, moved: bool) -> Option<Window> {
        self.total = total.unwrap_or_else(|| self.known());
        self.next(moved)
    }

    fn known(&self) -> u64 {
        self.ids.len() as u64
    }

    /// Results a page at most.
    fn page_size(&self) -> u64 {
        let average = (self.bytes / self.results.max(1)).max(1);
        (PAGE_BYTES / average).clamp(1, PAGE_SIZE)
    }

    /// Where to read on in this round.
    fn next(&mut self, moved: bool) -> Option<Window> {
        let again = self.again.take();
        let total = self.total.min(self.most);
        let known = self.known();
        if total == known || self.is_too_much() {
            return None;
        }
        self.again = match again {
            Some(Window { page, size }) => (page > 1).then(|| Window {
                page: page - 1,
                size,
            }),
            None if total > known && moved => {
                return Some(window(known, total - known, self.page_size()));
            }
            // The numbers differ and the place where new ones belong brought none: something was
            // stored late, further up (or the server has dropped some).
            None => {
                let times = match self.read_again {
                    (for_total, times) if for_total == self.total => times + 1,
                    _ => 1,
                };
                if times > READ_AGAIN {
                    return None;
                }
                self.read_again = (self.total, times);
                let size = self.page_size();
                let page = total.div_ceil(size);
                (page > 0).then_some(Window { page, size })
            }
        };
        self.again
    }
}

/// An id as it is kept, whatever its length.
fn short(id: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    hasher.finish()
}

/// The page of at most `largest` results that brings those from place `from` on, `wanted` of them if it
/// can: few that are known already, and few requests. A page may have any size, so one whose size
/// divides `from` begins exactly there.
fn window(from: u64, wanted: u64, largest: u64) -> Window {
    /// A request costs about as much as so many results that are read in vain.
    const REQUEST: u64 = 20;
    let cost = |size: u64| {
        let known = from % size;
        let requests = known.saturating_add(wanted).div_ceil(size);
        known.saturating_add(requests.saturating_mul(REQUEST))
    };
    // Of equal ones the largest: more may have come since.
    let size = (1..=largest).rev().min_by_key(|&size| cost(size));
    let size = size.unwrap_or(1);
    Window {
        page: from / size + 1,
        size,
    }
}

#[cfg(test)]
#[path = "progress_tests.rs"]
mod tests;
