//! How much of a server's answer is read, and why no more: one place, from which `docs/reliability.md` has
//! its table. A server that sends more is not followed; what was not read is said.

/// One kind of answer and where reading it ends.
#[derive(Debug, Clone, Copy)]
pub struct Limit {
    /// What is read.
    pub what: &'static str,
    /// Bytes at most.
    pub bytes: usize,
    /// Why so many.
    pub why: &'static str,
}

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// A status, a refusal, a login, the state of a query.
pub const SMALL: Limit = Limit {
    what: "a status, a refusal, a login, the state of a query",
    bytes: MIB,
    why: "real ones have some hundred bytes",
};

/// What is read whole before it is understood, and may grow with a server's labels or settings.
pub const WHOLE: Limit = Limit {
    what: "a list of labels, a page of saved queries, the server's settings",
    bytes: 8 * MIB,
    why: "10,000 labels have 2 MB; a body that is read whole is held beside what is made of it",
};

/// A page of hosts, which is taken apart while it comes.
pub const PAGE: Limit = Limit {
    what: "a page of 500 hosts",
    bytes: 16 * MIB,
    why: "500 hosts of Fleet have 0.75 MB, with hundreds of labels each some 5 MB; up to eight pages are read at once",
};

/// A list that is taken apart while it comes; none of it is held but what is made of it.
pub const LIST: Limit = Limit {
    what: "a list without pages, or a page of osctrl's results",
    bytes: 1024 * MIB,
    why: "lists of 270 MB and results of 500 MB were met; they are read item by item, and no item is held longer than that takes",
};

/// One host (or node, or query) of a list.
pub const ITEM: Limit = Limit {
    what: "one item of a list: a host, a node, a query",
    bytes: MIB,
    why: "a host has 1.5 KB, and one with hundreds of labels some ten",
};

/// What stands around a list: counts and settings of pages.
pub const AROUND_LIST: Limit = Limit {
    what: "what stands around a list's items",
    bytes: 64 * KIB,
    why: "some numbers",
};

/// One host's answer where it comes over HTTP.
pub const ANSWER: Limit = Limit {
    what: "one host's answer in a page of osctrl's results, or where hosts are asked one by one (AiSOC's service; Fleet without its results stream)",
    bytes: 64 * MIB,
    why: "as much as a message of Fleet's results stream may have: 10,000 rows of 6 KB; rows beyond `max_rows_per_host` and `max_bytes` are cut in any case, and a larger answer is that host's error",
};

/// The head of an answer, the HTTP library's own limit: a hundred fields in one buffer.
pub const HEAD: Limit = Limit {
    what: "the head of an answer (and 100 fields in it)",
    bytes: 408 * KIB,
    why: "the HTTP library's own limit",
};

/// All of them, as the table has them.
pub const ALL: [Limit; 8] = [HEAD, SMALL, WHOLE, PAGE, LIST, AROUND_LIST, ITEM, ANSWER];

impl Limit {
    /// The number as people read it: `32 MiB`.
    pub fn words(self) -> String {
        words(self.bytes)
    }
}

/// A number of bytes as people read it, rounded down.
pub fn words(bytes: usize) -> String {
    match bytes {
        0..KIB => format!("{bytes} bytes"),
        KIB..MIB => format!("{} KiB", bytes / KIB),
        _ => format!("{} MiB", bytes / MIB),
    }
}

/// The table of `docs/reliability.md`.
pub fn table() -> String {
    let mut table = String::from("| what is read | at most | why |\n|---|---|---|\n");
    for limit in ALL {
        let Limit { what, why, .. } = limit;
        table.push_str(&format!("| {what} | {} | {why} |\n", limit.words()));
    }
    table
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_documentation_has_the_same_table() {
        let page = include_str!("../../../docs/reliability.md");
        assert!(
            page.contains(&super::table()),
            "put this into docs/reliability.md:\n{}",
            super::table()
        );
    }
}
