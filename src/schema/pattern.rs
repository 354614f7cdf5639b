//! Regular expressions as far as the schemas have them: anchors, classes, groups, alternatives, repetitions. A text
//! is read once, whatever the pattern; nothing is made for the characters of Unicode, which costs milliseconds.

/// A pattern, ready to be looked for in texts.
#[derive(Debug)]
pub(super) struct Pattern {
    program: Vec<Step>,
}

#[derive(Debug, Clone)]
enum Step {
    /// One character of these, or none of them.
    One {
        ranges: Vec<(char, char)>,
        blank: bool,
        not: bool,
    },
    Start,
    End,
    /// Goes on at both places.
    Either(usize, usize),
    Goto(usize),
    Found,
}

#[derive(Debug)]
enum Node {
    Step(Step),
    Row(Vec<Node>),
    Any(Vec<Node>),
    /// So many times at least, and at most.
    Times(Box<Node>, usize, Option<usize>),
}

impl Pattern {
    /// Reads a pattern; what is no part of it, in words.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        let mut reader = Reader {
            rest: text.chars().peekable(),
        };
        let node = reader.alternatives()?;
        if let Some(other) = reader.rest.next() {
            return Err(format!("`{other}` in the pattern `{text}`"));
        }
        let mut program = Vec::new();
        put(&node, &mut program);
        program.push(Step::Found);
        Ok(Self { program })
    }

    /// Whether it is found anywhere in the text.
    pub(super) fn is_in(&self, text: &str) -> bool {
        let mut now = vec![false; self.program.len()];
        let mut next = now.clone();
        let mut rest = text.chars();
        let mut at_start = true;
        loop {
            let character = rest.next();
            // A match may begin at every place.
            self.enter(0, at_start, character.is_none(), &mut now);
            if now.last() == Some(&true) {
                return true;
            }
            let Some(character) = character else {
                return false;
            };
            let at_end = rest.as_str().is_empty();
            next.fill(false);
            for (place, step) in self.program.iter().enumerate() {
                if now[place] && step.takes(character) {
                    self.enter(place + 1, false, at_end, &mut next);
                }
            }
            std::mem::swap(&mut now, &mut next);
            at_start = false;
        }
    }

    /// Goes on from a place to where a character is wanted.
    fn enter(&self, place: usize, at_start: bool, at_end: bool, places: &mut [bool]) {
        if std::mem::replace(&mut places[place], true) {
            return;
        }
        let mut go = |place| self.enter(place, at_start, at_end, places);
        match self.program[place] {
            Step::Start if at_start => go(place + 1),
            Step::End if at_end => go(place + 1),
            Step::Either(one, other) => {
                go(one);
                go(other);
            }
            Step::Goto(other) => go(other),
            _ => {}
        }
    }
}

impl Step {
    fn takes(&self, character: char) -> bool {
        let Self::One { ranges, blank, not } = self else {
            return false;
        };
        let is = *blank && is_blank(character)
            || ranges
                .iter()
                .any(|(from, to)| (*from..=*to).contains(&character));
        is != *not
    }

    fn one(character: char) -> Self {
        Self::One {
            ranges: vec![(character, character)],
            blank: false,
            not: false,
        }
    }
}

/// `\s` as ECMA-262 has it, which JSON Schema's patterns go by: a byte order mark is one, a next line is none.
fn is_blank(character: char) -> bool {
    character == '\u{feff}' || character.is_whitespace() && character != '\u{85}'
}

fn put(node: &Node, program: &mut Vec<Step>) {
    match node {
        Node::Step(step) => program.push(step.clone()),
        Node::Row(nodes) => nodes.iter().for_each(|node| put(node, program)),
        Node::Any(nodes) => {
            let mut ends = Vec::new();
            for (index, node) in nodes.iter().enumerate() {
                let choice = program.len();
                let is_last = index + 1 == nodes.len();
                if !is_last {
                    program.push(Step::Goto(0));
                }
                put(node, program);
                if !is_last {
                    ends.push(program.len());
                    program.push(Step::Goto(0));
                    program[choice] = Step::Either(choice + 1, program.len());
                }
            }
            for end in ends {
                program[end] = Step::Goto(program.len());
            }
        }
        Node::Times(node, least, most) => {
            (0..*least).for_each(|_| put(node, program));
            match most {
                None => {
                    let choice = program.len();
                    program.push(Step::Goto(0));
                    put(node, program);
                    program.push(Step::Goto(choice));
                    program[choice] = Step::Either(choice + 1, program.len());
                }
                Some(most) => {
                    let mut choices = Vec::new();
                    for _ in *least..*most {
                        choices.push(program.len());
                        program.push(Step::Goto(0));
                        put(node, program);
                    }
                    for choice in choices {
                        program[choice] = Step::Either(choice + 1, program.len());
                    }
                }
            }
        }
    }
}

struct Reader<'a> {
    rest: std::iter::Peekable<std::str::Chars<'a>>,
}

impl Reader<'_> {
    fn alternatives(&mut self) -> Result<Node, String> {
        let mut all = vec![self.row()?];
        while self.rest.next_if_eq(&'|').is_some() {
            all.push(self.row()?);
        }
        Ok(Node::Any(all))
    }

    fn row(&mut self) -> Result<Node, String> {
        let mut row = Vec::new();
        while let Some(character) = self.rest.next_if(|it| !matches!(it, '|' | ')')) {
            let node = match character {
                '^' => Node::Step(Step::Start),
                '$' => Node::Step(Step::End),
                '(' => {
                    let node = self.alternatives()?;
                    self.expect(')')?;
                    node
                }
                '[' => Node::Step(self.class()?),
                '\\' => Node::Step(match self.escaped()? {
                    Some(character) => Step::one(character),
                    None => Step::One {
                        ranges: Vec::new(),
                        blank: true,
                        not: false,
                    },
                }),
                '.' | '*' | '+' | '?' | '{' => return Err(format!("`{character}` in a pattern")),
                character => Node::Step(Step::one(character)),
            };
            row.push(self.repeated(node)?);
        }
        Ok(Node::Row(row))
    }

    fn repeated(&mut self, node: Node) -> Result<Node, String> {
        let signs = |it: &char| matches!(it, '*' | '+' | '?' | '{');
        let (least, most) = match self.rest.next_if(signs) {
            None => return Ok(node),
            Some('*') => (0, None),
            Some('+') => (1, None),
            Some('?') => (0, Some(1)),
            Some(_) => {
                let least = self.number()?;
                let most = match self.rest.next_if_eq(&',') {
                    Some(_) => self.number()?,
                    None => least,
                };
                self.expect('}')?;
                (least, Some(most))
            }
        };
        Ok(Node::Times(Box::new(node), least, most))
    }

    fn number(&mut self) -> Result<usize, String> {
        let mut digits = String::new();
        while let Some(digit) = self.rest.next_if(char::is_ascii_digit) {
            digits.push(digit);
        }
        digits
            .parse()
            .map_err(|_| "a number is missing in a pattern".to_owned())
    }

    fn class(&mut self) -> Result<Step, String> {
        let not = self.rest.next_if_eq(&'^').is_some();
        let (mut ranges, mut blank) = (Vec::new(), false);
        loop {
            let from = match self
                .rest
                .next()
                .ok_or("a class without an end in a pattern")?
            {
                ']' => return Ok(Step::One { ranges, blank, not }),
                '\\' => match self.escaped()? {
                    Some(character) => character,
                    None => {
                        blank = true;
                        continue;
                    }
                },
                character => character,
            };
            let mut ahead = self.rest.clone();
            let is_range = ahead.next() == Some('-') && ahead.next() != Some(']');
            let to = match is_range {
                false => from,
                true => {
                    self.rest.next();
                    match self.rest.next() {
                        Some('\\') => self.escaped()?.ok_or("a range to `\\s` in a pattern")?,
                        Some(character) => character,
                        None => return Err("a class without an end in a pattern".to_owned()),
                    }
                }
            };
            ranges.push((from, to));
        }
    }

    /// What stands behind a backslash; nothing for `\s`.
    fn escaped(&mut self) -> Result<Option<char>, String> {
        match self.rest.next() {
            Some('s') => Ok(None),
            Some('x') => {
                let digits: String = self.rest.by_ref().take(2).collect();
                let number = u8::from_str_radix(&digits, 16);
                number
                    .map(|number| Some(number.into()))
                    .map_err(|_| "`\\x` without two digits in a pattern".to_owned())
            }
            Some(sign) if !sign.is_alphanumeric() => Ok(Some(sign)),
            _ => Err("an escape that is not known in a pattern".to_owned()),
        }
    }

    fn expect(&mut self, character: char) -> Result<(), String> {
        let is = self.rest.next_if_eq(&character);
        is.map(drop)
            .ok_or(format!("`{character}` is missing in a pattern"))
    }
}
