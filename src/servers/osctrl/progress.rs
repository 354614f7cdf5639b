//! Which results of a query have been read and which to read next. Pure: no I/O, no clock.
//!
//! The server orders results by the time they were stored and says with each page how many there are.
//! So the next new one stands at the place that is the number of those already known, and a page that
//! begins there brings new ones only. A result that was stored late stands further up: then the pages
//! before it are read once more, the last first, until the numbers agree.

use std::collections::HashSet;

use super::wire::{self, Item, Results};
use crate::campaign::host::HostId;

/// The most that a page may hold.
pub const PAGE_SIZE: u64 = 1_000;
/// Bytes that a page should hold at most, judged by what has come so far: pages are read whole.
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

/// A new answer, still unread.
#[derive(Debug, PartialEq, Eq)]
pub struct Fresh {
    /// Who answered.
    pub host: HostId,
    /// Whether the item's own status is 0.
    pub succeeded: bool,
    /// Where its data stands in the body.
    pub data: Option<std::ops::Range<usize>>,
}

/// What is known of a query's results.
#[derive(Debug)]
pub struct Progress {
    /// Results that were read, by the server's ids: counted, since repeated answers have their own.
    ids: HashSet<String>,
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

/// What one page brought.
#[derive(Debug, Default)]
pub struct Absorbed {
    /// Answers of hosts that had not answered, in the page's order.
    pub fresh: Vec<Fresh>,
    /// Whether anything was new, a repeated answer too.
    pub moved: bool,
    /// Whether results that name no host came for the first time.
    pub unnamed: bool,
    /// The page that should be read at once; `None`: nothing more for now.
    pub next: Option<Window>,
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

    /// Takes a page: which answers are new, and what to read next.
    pub fn absorb(&mut self, body: &[u8], results: &Results<'_>) -> Absorbed {
        let mut absorbed = Absorbed::default();
        self.bytes = self.bytes.saturating_add(body.len() as u64);
        self.results = self.results.saturating_add(results.items.len() as u64);
        for raw in &results.items {
            let item = serde_json::from_str::<Item<'_>>(raw.get()).ok();
            let id = item.as_ref().and_then(|item| item.id);
            // Without an id the whole item stands for itself.
            let id = id.map_or_else(|| raw.get(), |id| id.get());
            if !self.ids.insert(short(id)) {
                continue;
            }
            absorbed.moved = true;
            let failed = item
                .as_ref()
                .is_some_and(|item| !wire::is_success(item.status));
            self.error_items += u64::from(failed);
            let uuid = item.as_ref().and_then(|item| item.uuid.as_deref());
            let (Some(item), Some(uuid)) = (&item, uuid.filter(|uuid| wire::is_uuid(uuid))) else {
                absorbed.unnamed |= !self.unnamed;
                self.unnamed = true;
                continue;
            };
            let host = wire::host_id(uuid);
            // A host's first answer counts.
            if self.answered.insert(host.clone()) {
                absorbed.fresh.push(Fresh {
                    host,
                    succeeded: wire::is_success(item.status),
                    data: item.data.map(|data| place_in(body, data.get())),
                });
            }
        }
        // Without pages everything there is has just been read.
        self.total = results.total_items.unwrap_or_else(|| self.known());
        absorbed.next = self.next(absorbed.moved);
        absorbed
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

/// Where a part of the body stands in it.
fn place_in(body: &[u8], part: &str) -> std::ops::Range<usize> {
    let start = (part.as_ptr() as usize).saturating_sub(body.as_ptr() as usize);
    start..start + part.len()
}

/// An id as it is kept: a server that sends long ones must not fill the memory.
fn short(id: &str) -> String {
    use std::hash::{DefaultHasher, Hash, Hasher};
    const LONGEST: usize = 40;
    if id.len() <= LONGEST {
        return id.to_owned();
    }
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    format!("#{:x}", hasher.finish())
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
