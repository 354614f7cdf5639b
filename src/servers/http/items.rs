//! Takes a JSON list apart while it comes: one item at a time, however long the list is. Pure: bytes in,
//! items out. What an item says is its reader's business; here only the brackets are counted, so an item is
//! checked when it is read as JSON.

use crate::json_text::plain;
use crate::memory::{self, NoMemory};

/// Memory of an item that the next one has, at most.
const MOST_REUSED: usize = 64 * 1024;

/// One item of a list, as it stands in the body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Its JSON. Where it is not whole, `null` stands in place of the members that are too large, so that
    /// the rest can be read; where that is not enough, there is only its beginning.
    pub json: Vec<u8>,
    /// Whether it was within the limit.
    pub whole: bool,
    /// Where the value of an object's last member begins, which ends before the last bracket; 0 where there is
    /// none.
    pub last: usize,
}

/// The text is no such list; says nothing of what stands there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoList {
    /// It is not JSON, or ends in the middle.
    NotJson,
    /// What stands around the list is larger than the limit.
    TooMuchAround,
    /// The system gives no memory for an item.
    NoMemory(NoMemory),
}

/// Reads `[item, …]`, or `{"under": [item, …], …}`; a `null` in place of the list is one without items.
#[derive(Debug)]
pub struct Items {
    under: &'static str,
    item_bytes: usize,
    around_bytes: usize,
    /// What stands around the items, an empty list in their place: valid JSON where the body is.
    around: Vec<u8>,
    state: State,
    text: Text,
    /// Brackets that are open around this place.
    depth: usize,
    /// The last text in `around` that ended at depth 1: a key, where a colon follows.
    last_text: (usize, usize),
    /// A list that begins here is the one.
    at_list: bool,
    item: Vec<u8>,
    /// Where the value of the item's member begins that is being read.
    member: Option<usize>,
    /// That value is too large: the rest of it is passed over.
    dropping: bool,
    /// What is too large is no member's value: nothing more of the item is kept.
    beginning_only: bool,
    /// Something of the item was not kept.
    cut: bool,
    /// Where the value of its last member begins.
    last: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Before,
    /// Around the list.
    Around,
    /// In the list: between items (whether one must come), or in one.
    Between {
        first: bool,
    },
    Inside,
    /// An item is over; a comma or the list's end follows.
    Behind,
    /// In a `null` that stands for the whole body.
    Null,
    Ended,
}

/// Whether a place is inside of a JSON string.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Text {
    Outside,
    Inside,
    Escaped,
}

impl Items {
    /// For a list that is the whole body, or the value of a key `under`. Of an item no more than
    /// `item_bytes` are kept, and no more than `around_bytes` of what is around the list.
    pub fn new(under: &'static str, item_bytes: usize, around_bytes: usize) -> Self {
        Self {
            under,
            item_bytes,
            around_bytes,
            around: Vec::new(),
            state: State::Before,
            text: Text::Outside,
            depth: 0,
            last_text: (0, 0),
            at_list: false,
            item: Vec::new(),
            member: None,
            dropping: false,
            beginning_only: false,
            cut: false,
            last: 0,
        }
    }

    /// Gives the memory of an item back, for the next one.
    pub fn reuse(&mut self, mut json: Vec<u8>) {
        // What one large item took is not kept for all others.
        if self.item.capacity() == 0 && json.capacity() <= MOST_REUSED {
            json.clear();
            self.item = json;
        }
    }

    /// Takes bytes up to the end of the next item. Returns how many were taken (all, where no item ended
    /// in them), and the item.
    ///
    /// # Errors
    /// [`NoList`]
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(usize, Option<Item>), NoList> {
        let mut at = 0;
        while at < bytes.len() {
            if self.state == State::Inside {
                let (taken, ended) = self.feed_item(&bytes[at..])?;
                at += taken;
                if ended {
                    self.state = State::Behind;
                    self.beginning_only = false;
                    let json = std::mem::take(&mut self.item);
                    let whole = !std::mem::take(&mut self.cut);
                    let last = std::mem::take(&mut self.last);
                    return Ok((at, Some(Item { json, whole, last })));
                }
            } else if self.text != Text::Outside {
                let taken = self.pass_text(&bytes[at..]);
                self.keep_around(&bytes[at..at + taken])?;
                if self.text == Text::Outside && self.depth == 1 {
                    self.last_text.1 = self.around.len();
                }
                at += taken;
            } else {
                self.outside(bytes[at])?;
                // The first byte of an item is the item's.
                at += usize::from(self.state != State::Inside);
            }
        }
        Ok((bytes.len(), None))
    }

    /// What stood around the items, with an empty list in their place: `{"items":[],"total_items":3}`.
    ///
    /// # Errors
    /// Where the body has not ended.
    pub fn end(self) -> Result<Vec<u8>, NoList> {
        match self.state {
            State::Ended => Ok(self.around),
            _ => Err(NoList::NotJson),
        }
    }

    /// How much of these bytes is the rest of a string.
    fn pass_text(&mut self, bytes: &[u8]) -> usize {
        let mut at = 0;
        if self.text == Text::Escaped && !bytes.is_empty() {
            self.text = Text::Inside;
            at = 1;
        }
        loop {
            at += plain(&bytes[at..]);
            match bytes.get(at) {
                None => return at,
                Some(b'"') => {
                    self.text = Text::Outside;
                    return at + 1;
                }
                Some(b'\\') => {
                    at += 2;
                    if at > bytes.len() {
                        self.text = Text::Escaped;
                        return bytes.len();
                    }
                }
                // Not allowed there; for the item's reader to refuse.
                Some(_) => at += 1,
            }
        }
    }

    /// Keeps what stands around the list.
    fn keep_around(&mut self, bytes: &[u8]) -> Result<(), NoList> {
        if self.around.len() + bytes.len() > self.around_bytes {
            return Err(NoList::TooMuchAround);
        }
        self.around.extend_from_slice(bytes);
        Ok(())
    }

    /// Keeps bytes of the item, as far as they are within its limit.
    fn keep(&mut self, bytes: &[u8]) -> Result<(), NoList> {
        if self.dropping || self.beginning_only {
            return Ok(());
        }
        let room = self.item_bytes.saturating_sub(self.item.len());
        memory::room(&mut self.item, bytes.len().min(room)).map_err(NoList::NoMemory)?;
        if bytes.len() <= room {
            self.item.extend_from_slice(bytes);
            return Ok(());
        }
        self.cut = true;
        match self.member {
            Some(begins) => {
                self.item.truncate(begins);
                self.item.extend_from_slice(b"null");
                self.dropping = true;
            }
            None => {
                self.item.extend_from_slice(&bytes[..room]);
                self.beginning_only = true;
            }
        }
        Ok(())
    }

    /// Takes bytes of an item; whether it has ended, which a comma or bracket behind a number tells that is not
    /// the item's. They are kept in long pieces: up to where a member's value begins or ends, and to their end.
    fn feed_item(&mut self, bytes: &[u8]) -> Result<(usize, bool), NoList> {
        if !self.cut && bytes.len() <= self.item_bytes.saturating_sub(self.item.len()) {
            return self.feed_uncut(bytes);
        }
        let (list, member) = (self.list_depth(), self.list_depth() + 1);
        let (mut kept, mut at) = (0, 0);
        while at < bytes.len() {
            if self.text != Text::Outside {
                at += self.pass_text(&bytes[at..]);
                continue;
            }
            match bytes[at] {
                b'"' => self.text = Text::Inside,
                b'{' | b'[' => self.depth += 1,
                b'}' | b']' if self.depth > list => {
                    self.depth -= 1;
                    if self.depth == list {
                        self.keep(&bytes[kept..at])?;
                        self.last = self.member.unwrap_or_default();
                        self.end_member();
                        self.keep(&bytes[at..=at])?;
                        return Ok((at + 1, true));
                    }
                }
                b':' if self.depth == member => {
                    self.keep(&bytes[kept..=at])?;
                    kept = at + 1;
                    self.member = Some(self.item.len());
                }
                b',' if self.depth == member => {
                    self.keep(&bytes[kept..at])?;
                    kept = at;
                    self.end_member();
                }
                b',' | b']' | b'}' if self.depth == list => {
                    self.keep(&bytes[kept..at])?;
                    return Ok((at, true));
                }
                _ => {}
            }
            at += 1;
        }
        self.keep(&bytes[kept..])?;
        Ok((at, false))
    }

    /// The same where nothing of these bytes can be too much: they are kept in one piece.
    fn feed_uncut(&mut self, bytes: &[u8]) -> Result<(usize, bool), NoList> {
        let (list, member) = (self.list_depth(), self.list_depth() + 1);
        let before = self.item.len();
        let (mut depth, mut at) = (self.depth, 0);
        if self.text != Text::Outside {
            at = self.pass_text(bytes);
        }
        let mut ended = false;
        while let Some(byte) = bytes.get(at) {
            match byte {
                b'"' => match string_end(bytes, at + 1) {
                    Some(end) => {
                        at = end;
                        continue;
                    }
                    None => {
                        self.text = Text::Inside;
                        self.pass_text(&bytes[at + 1..]);
                        at = bytes.len();
                        break;
                    }
                },
                b'{' | b'[' => depth += 1,
                b'}' | b']' if depth > list => {
                    depth -= 1;
                    if depth == list {
                        self.last = self.member.take().unwrap_or_default();
                        ended = true;
                        at += 1;
                        break;
                    }
                }
                b':' if depth == member => self.member = Some(before + at + 1),
                b',' if depth == member => self.member = None,
                b',' | b']' | b'}' if depth == list => {
                    ended = true;
                    break;
                }
                _ => {}
            }
            at += 1;
        }
        self.depth = depth;
        memory::room(&mut self.item, at).map_err(NoList::NoMemory)?;
        self.item.extend_from_slice(&bytes[..at]);
        Ok((at, ended))
    }

    fn end_member(&mut self) {
        self.member = None;
        self.dropping = false;
    }

    /// How many brackets are open between items: the list's, and that of the object around it.
    fn list_depth(&self) -> usize {
        match self.around.first() {
            Some(b'{') => 2,
            _ => 1,
        }
    }

    /// A byte outside of items and strings.
    fn outside(&mut self, byte: u8) -> Result<(), NoList> {
        let blank = byte.is_ascii_whitespace();
        match self.state {
            // One is kept where it may part two values that must not become one.
            State::Around if blank && self.around.last() != Some(&b' ') => {
                self.keep_around(b" ")?
            }
            _ if blank => {}
            State::Before => {
                match byte {
                    b'[' => self.state = State::Between { first: true },
                    b'{' => self.state = State::Around,
                    // Go's list that is nil.
                    b'n' => self.state = State::Null,
                    _ => return Err(NoList::NotJson),
                }
                self.depth = 1;
                self.keep_around(&[byte])?;
            }
            State::Between { first } => match byte {
                b']' if first => self.end_list()?,
                b',' | b']' | b'}' | b':' => return Err(NoList::NotJson),
                _ => self.state = State::Inside,
            },
            State::Behind => match byte {
                b',' => self.state = State::Between { first: false },
                b']' => self.end_list()?,
                _ => return Err(NoList::NotJson),
            },
            State::Around => self.around(byte)?,
            State::Null => {
                self.keep_around(&[byte])?;
                match b"null".strip_prefix(self.around.as_slice()) {
                    Some([]) => self.state = State::Ended,
                    Some(_) => {}
                    None => return Err(NoList::NotJson),
                }
            }
            State::Ended => return Err(NoList::NotJson),
            // Its bytes do not come here.
            State::Inside => {}
        }
        Ok(())
    }

    fn end_list(&mut self) -> Result<(), NoList> {
        self.depth -= 1;
        self.state = match self.depth {
            0 => State::Ended,
            _ => State::Around,
        };
        self.keep_around(b"]")
    }

    /// A byte of the object around the list.
    fn around(&mut self, byte: u8) -> Result<(), NoList> {
        let at_list = std::mem::take(&mut self.at_list);
        match byte {
            b'"' => {
                self.text = Text::Inside;
                if self.depth == 1 {
                    self.last_text.0 = self.around.len() + 1;
                }
            }
            b':' if self.depth == 1 => {
                let (from, to) = self.last_text;
                let key = self.around.get(from..to.saturating_sub(1));
                self.at_list = key == Some(self.under.as_bytes());
            }
            b'[' if at_list => {
                self.depth += 1;
                self.state = State::Between { first: true };
            }
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' => {
                self.depth -= 1;
                if self.depth == 0 {
                    self.keep_around(&[byte])?;
                    self.state = State::Ended;
                    return Ok(());
                }
            }
            _ => {}
        }
        self.keep_around(&[byte])
    }
}

/// Behind the end of a string of which these bytes have the rest; `None` where it does not end in them.
fn string_end(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        at += plain(&bytes[at..]);
        match bytes.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' if at + 2 <= bytes.len() => at += 2,
            b'\\' => return None,
            // Not allowed there; for the item's reader to refuse.
            _ => at += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    /// What comes of a body that arrives in pieces.
    fn taken_apart(body: &[u8], piece: usize) -> Result<(Vec<Item>, Vec<u8>), NoList> {
        taken_apart_within(body, piece, usize::MAX, usize::MAX)
    }

    fn taken_apart_within(
        body: &[u8],
        piece: usize,
        item_bytes: usize,
        around: usize,
    ) -> Result<(Vec<Item>, Vec<u8>), NoList> {
        let mut items = Items::new("items", item_bytes, around);
        let mut found = Vec::new();
        for mut piece in body.chunks(piece.max(1)) {
            while !piece.is_empty() {
                let (taken, item) = items.feed(piece)?;
                assert!(taken > 0 || item.is_some(), "it must get on");
                found.extend(item);
                piece = &piece[taken..];
            }
        }
        Ok((found, items.end()?))
    }

    fn texts(body: &str) -> Result<(Vec<String>, String), NoList> {
        let (items, around) = taken_apart(body.as_bytes(), 3)?;
        let text = |json: Vec<u8>| String::from_utf8(json).unwrap();
        Ok((
            items.into_iter().map(|item| text(item.json)).collect(),
            text(around),
        ))
    }

    #[test]
    fn what_is_too_large_in_an_item_leaves_the_rest_of_it_readable() {
        let big = "x\\\"".repeat(500);
        let nested = "[".repeat(600) + &"]".repeat(600);
        for (item, kept) in [
            (
                format!(r#"{{"id":7,"data":"{big}","uuid":"U","status":0}}"#),
                r#"{"id":7,"data":null,"uuid":"U","status":0}"#,
            ),
            (format!(r#"{{"data":"{big}"}}"#), r#"{"data":null}"#),
            (
                format!(r#"{{"uuid":"U","data":{{"a":{nested},"uuid":"V"}}, "z":[1]}}"#),
                r#"{"uuid":"U","data":null, "z":[1]}"#,
            ),
            (
                format!(r#"{{"a":"{big}","b":"{big}","c":1}}"#),
                r#"{"a":null,"b":null,"c":1}"#,
            ),
        ] {
            for piece in [1, 7, 4_096] {
                let body = format!(r#"{{"items":[{{"a":1}},{item},2],"total":3}}"#);
                let (items, around) =
                    taken_apart_within(body.as_bytes(), piece, 1_000, 1_000).unwrap();
                assert_eq!(around, br#"{"items":[],"total":3}"#);
                assert_eq!(String::from_utf8_lossy(&items[1].json), kept);
                let whole: Vec<bool> = items.iter().map(|item| item.whole).collect();
                assert_eq!(whole, [true, false, true]);
            }
        }
        // A key that is too large: there is only the beginning.
        let body = format!(r#"[{{"{big}":1}}, {{"b":2}}]"#);
        let (items, _) = taken_apart_within(body.as_bytes(), 3, 1_000, 1_000).unwrap();
        assert_eq!((items[0].whole, items[0].json.len()), (false, 1_000));
        assert_eq!(items[1].json, br#"{"b":2}"#);
    }

    #[test]
    fn null_is_a_list_without_items() {
        for body in ["null", " null\n", r#"{"items":null}"#] {
            let (items, around) = taken_apart(body.as_bytes(), 3).unwrap();
            assert!(items.is_empty());
            assert_eq!(around, body.trim().as_bytes());
        }
        for body in ["nul", "null]", "nulll", "no", "n"] {
            assert_eq!(
                taken_apart(body.as_bytes(), 3),
                Err(NoList::NotJson),
                "{body}"
            );
        }
    }

    #[test]
    fn lists_with_and_without_something_around_them() {
        for (body, items, around) in [
            ("[]", &[][..], "[]"),
            (
                " [ 1 ,\"a,]\\\"\", {\"b\":[2,{}]}\n] ",
                &["1 ", "\"a,]\\\"\"", "{\"b\":[2,{}]}"],
                "[]",
            ),
            (r#"{"items":[],"n":1}"#, &[], r#"{"items":[],"n":1}"#),
            (r#"{"items":null}"#, &[], r#"{"items":null}"#),
            (r#"{"x":{"items":[1]}}"#, &[], r#"{"x":{"items":[1]}}"#),
            (
                r#"{"x":["items"],"y":"items","items" :  [ true,null ] , "n":2}"#,
                &["true", "null "],
                r#"{"x":["items"],"y":"items","items" : [] , "n":2}"#,
            ),
            (
                r#"{"items":{"items":[1]}}"#,
                &[],
                r#"{"items":{"items":[1]}}"#,
            ),
        ] {
            let (found, rest) = texts(body).unwrap();
            assert_eq!(found, items, "{body}");
            assert_eq!(rest, around, "{body}");
        }
    }

    #[test]
    fn what_is_no_list_is_told() {
        for body in [
            "",
            "  ",
            "<html>",
            "\"items\"",
            "[",
            "[1",
            "[1,",
            "[1,]",
            "[,1]",
            "[1 2]]",
            "[] []",
            "{\"items\":[1}",
            "{\"items\":[{\"a\":1",
            "{\"items\":[\"]}",
        ] {
            let told = texts(body);
            // An item that is itself not JSON is for whoever reads it.
            let is_bad = |item: &String| serde_json::from_str::<Value>(item).is_err();
            assert!(
                told.as_ref()
                    .map_or(true, |(items, _)| items.iter().any(is_bad)),
                "{body}: {told:?}"
            );
        }
    }

    #[test]
    fn an_item_beyond_the_limit_is_cut_and_the_next_one_is_whole() {
        let body = br#"{"items":[{"a":"0123456789"},{"b":1}]}"#;
        let (items, _) = taken_apart_within(body, 5, 12, 100).unwrap();
        let expected = [(&br#"{"a":null}"#[..], false), (br#"{"b":1}"#, true)];
        let found: Vec<(&[u8], bool)> = items
            .iter()
            .map(|item| (item.json.as_slice(), item.whole))
            .collect();
        assert_eq!(found, expected);
        assert_eq!(
            taken_apart_within(br#"{"x":"0123456789","items":[]}"#, 5, 8, 20),
            Err(NoList::TooMuchAround)
        );
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "[\\PC\"\\\\\\[\\]{},:]{0,8}".prop_map(Value::from),
            Just(json!("items")),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("items|[a\\PC\"]{0,3}", inner, 0..4)
                    .prop_map(|map| json!(map)),
            ]
        })
    }

    proptest! {
        /// The same as reading it whole, wherever the pieces end.
        #[test]
        fn says_the_same_as_serde(
            items in prop::collection::vec(value(), 0..6),
            before in prop::collection::btree_map("[a-h]{1,2}", value(), 0..3),
            after in prop::collection::btree_map("[j-z]{1,2}", value(), 0..3),
            bare in any::<bool>(),
            pretty in any::<bool>(),
            piece in 1usize..40,
        ) {
            let mut around: serde_json::Map<String, Value> = before.into_iter().collect();
            around.insert("items".into(), json!(items));
            around.extend(after);
            let whole = if bare { json!(items) } else { Value::Object(around.clone()) };
            let body = if pretty { format!("{whole:#}") } else { whole.to_string() };
            let (found, rest) = taken_apart(body.as_bytes(), piece).unwrap();
            let found: Vec<Value> = found.iter().map(|item| serde_json::from_slice(&item.json).unwrap()).collect();
            prop_assert_eq!(found, items);
            around.insert("items".into(), json!([]));
            let expected = if bare { json!([]) } else { Value::Object(around) };
            prop_assert_eq!(serde_json::from_slice::<Value>(&rest).unwrap(), expected);
        }

        /// Whatever comes, it ends, keeps within its limits and never panics.
        #[test]
        fn any_bytes(body in prop::collection::vec(prop::sample::select(&b"[]{}\",:\\items 1"[..]), 0..60), piece in 1usize..9) {
            let _ = taken_apart_within(&body, piece, 7, 30);
        }
    }
}
