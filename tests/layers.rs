//! Holds the code to its layout: a room of `src/` names only rooms below it, so that a reader sees in the
//! folders how data flows, and what is known of a server in one place. Tests inside the crate may name
//! anything.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The rooms from the top; those of one line may name each other's neighbours below, never each other.
const ROOMS: &[&[&str]] = &[
    &["main"],
    &["cli"],
    &["verbs"],
    &["process"],
    &["output"],
    &["session"],
    &["collect"],
    &["servers"],
    &["policy"],
    &["connector"],
    &["allowlist"],
    &["step"],
    &["campaign", "events"],
    &["schema"],
    &["input"],
    &["known_servers"],
    // Leaves.
    &["notices"],
    &["secret", "problem"],
    &[
        "address",
        "bug",
        "call_error",
        "exit",
        "json_parts",
        "json_text",
        "nearest",
        "path",
        "printable",
        "regular_file",
        "severity",
        "time",
        "trace",
        "uuid",
    ],
    &["memory"],
];

/// What still names a room above its own. This list may only become shorter.
const OFFENCES: &[(&str, &str)] = &[];

fn level(room: &str) -> Option<usize> {
    ROOMS.iter().position(|level| level.contains(&room))
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            if name != "tests" {
                sources(&path, found);
            }
        } else if name.ends_with(".rs") && !name.ends_with("tests.rs") {
            found.push(path);
        }
    }
}

/// The rooms that a file names, tests at its end left out.
fn named(text: &str) -> BTreeSet<String> {
    let code = text.split("#[cfg(test)]\nmod ").next().unwrap_or(text);
    let code: String = code
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n");
    let mut rooms = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        if let Some(group) = rest.strip_prefix('{') {
            let mut depth = 0;
            let mut word = String::new();
            for letter in group.chars() {
                match letter {
                    '{' => depth += 1,
                    '}' if depth == 0 => break,
                    '}' => depth -= 1,
                    ',' if depth == 0 => rooms.extend(first(&std::mem::take(&mut word))),
                    letter if depth == 0 => word.push(letter),
                    _ => {}
                }
            }
            rooms.extend(first(&word));
        } else {
            rooms.extend(first(rest));
        }
    }
    rooms
}

fn first(path: &str) -> Option<String> {
    let word: String = path
        .trim_start()
        .chars()
        .take_while(|letter| letter.is_ascii_lowercase() || *letter == '_')
        .collect();
    (!word.is_empty()).then_some(word)
}

#[test]
fn a_room_names_only_rooms_below_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    assert!(files.len() > 80, "the sources were not found");
    let mut offences = BTreeSet::new();
    let mut unknown = BTreeSet::new();
    for file in files {
        let inside = file.strip_prefix(&root).unwrap().to_owned();
        let room = inside.iter().next().unwrap().to_string_lossy().into_owned();
        let room = room.trim_end_matches(".rs").to_owned();
        if room == "lib" {
            continue;
        }
        let Some(own) = level(&room) else {
            unknown.insert(room);
            continue;
        };
        for other in named(&std::fs::read_to_string(&file).unwrap()) {
            match level(&other) {
                Some(_) if other == room => {}
                Some(level) if level > own => {}
                Some(_) => drop(offences.insert(format!("{} names {other}", inside.display()))),
                None => drop(unknown.insert(other)),
            }
        }
    }
    assert!(unknown.is_empty(), "rooms without a level: {unknown:?}");
    let known: BTreeSet<String> = OFFENCES
        .iter()
        .map(|(file, room)| format!("{file} names {room}"))
        .collect();
    let new: Vec<_> = offences.difference(&known).collect();
    assert!(
        new.is_empty(),
        "these name a room above their own: {new:#?}"
    );
    let mended: Vec<_> = known.difference(&offences).collect();
    assert!(
        mended.is_empty(),
        "no offences any more, take them out: {mended:#?}"
    );
}

/// What opens or reads a file, and the words that a file of `src/` may not hold for it.
const READS_FILES: &[&str] = &[
    "fs::read(",
    "read_to_string(",
    "read_to_end(",
    "File::open",
    "File::create",
    "File::options",
    "OpenOptions",
    "fs::write(",
    "fs::copy(",
    "fs::read_to_string",
];

/// Who may, beside `regular_file.rs`, and why.
const READS: &[(&str, &str)] = &[
    // stdin, which is whatever the engine gives, within a size and a time.
    ("process/stdin.rs", "read_to_end("),
    // The last line of a log that `regular_file.rs` has opened, within a size.
    ("policy/audit/file.rs", "read_to_end("),
];

/// A pipe, a device or a file that never ends can be named wherever a file is; one function knows how to
/// refuse it.
#[test]
fn files_are_read_in_one_place() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    let mut found = BTreeSet::new();
    for file in files {
        let inside = file.strip_prefix(&root).unwrap().display().to_string();
        let text = std::fs::read_to_string(&file).unwrap();
        let code = text.split("#[cfg(test)]\nmod ").next().unwrap_or(&text);
        let code = code
            .split("#[cfg(test)]\npub(super) mod ")
            .next()
            .unwrap_or(code);
        for line in code.lines() {
            let code = line.split("//").next().unwrap_or(line);
            for words in READS_FILES.iter().filter(|words| code.contains(**words)) {
                found.insert((inside.clone(), (*words).to_owned()));
            }
        }
    }
    let own = |(file, _): &(String, String)| file == "regular_file.rs";
    assert!(found.iter().any(own), "nothing was found at all");
    found.retain(|one| !own(one));
    let known: BTreeSet<(String, String)> = READS
        .iter()
        .map(|(file, words)| ((*file).to_owned(), (*words).to_owned()))
        .collect();
    assert_eq!(found, known, "these read files by themselves");
}

/// What is near to a word, and how near it must be, is one question for the whole program.
#[test]
fn words_are_compared_in_one_place() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    let compare = files.into_iter().filter(|file| {
        let text = std::fs::read_to_string(file).unwrap();
        text.contains("strsim")
    });
    let compare: Vec<_> = compare
        .map(|file| file.strip_prefix(&root).unwrap().display().to_string())
        .collect();
    assert_eq!(compare, ["nearest.rs"]);
}

/// Lines that build a `Failure`: by its fields, or by the functions that take a code, a message or a hint.
fn builds_a_failure(line: &str) -> bool {
    let line = line.trim();
    let literal = line.split("Failure {").next().is_some_and(|before| {
        let other = before.ends_with(|letter: char| letter.is_alphanumeric());
        let signature = before.trim_end().ends_with("->") || before.trim_end().ends_with("for");
        line.contains("Failure {") && !other && !signature
    });
    literal || line.contains("Failure::new(") || line.contains("Failure::of_problems(")
}

#[test]
fn errors_become_codes_in_one_place() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    let mut builders = BTreeSet::new();
    let mut at_home = 0;
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let inside = file.strip_prefix(&root).unwrap().display().to_string();
        // The client has a type of that name for one attempt of a request.
        let names_it = [
            "session::failure",
            "super::failure",
            "failure::{",
            "failure::Failure",
        ]
        .iter()
        .any(|path| text.contains(path));
        if inside.starts_with("session/failure") {
            at_home += text.lines().filter(|line| builds_a_failure(line)).count();
        } else if names_it {
            let lines = text.lines().enumerate();
            let lines = lines.filter(|(_, line)| builds_a_failure(line));
            builders.extend(lines.map(|(at, _)| format!("{inside}:{}", at + 1)));
        }
    }
    assert!(at_home > 0, "what builds a failure was not recognized");
    assert!(
        builders.is_empty(),
        "a layer has an error of its own, and session/failure.rs gives it its code: {builders:#?}"
    );
}

/// The names in backticks of a cell.
fn names(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

#[test]
fn the_way_of_a_step_is_short_and_as_it_is_told() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let told = std::fs::read_to_string(root.join("CONTRIBUTING.md")).unwrap();
    let (_, told) = told.split_once("## The way of a step").unwrap();
    let told = told.split("\n## ").next().unwrap();
    let rows = told.lines().filter(|line| line.starts_with('|')).skip(2);
    let source = |file: &str| {
        let text = std::fs::read_to_string(root.join("src").join(file));
        text.unwrap_or_else(|error| panic!("{file}: {error}"))
    };
    let mut stations: Vec<(&str, Vec<&str>)> = Vec::new();
    for row in rows {
        let cells: Vec<&str> = row.split('|').collect();
        let (from, function, files) = (names(cells[1]), names(cells[2])[0], names(cells[3]));
        for file in &files {
            let text = source(file);
            let known = [format!("fn {function}("), format!("fn {function}<")];
            assert!(
                known.iter().any(|known| text.contains(known)),
                "{file} has no function {function}"
            );
        }
        for giver in from {
            let given = stations.iter().rfind(|(known, _)| *known == giver);
            let (_, places) = given.unwrap_or_else(|| panic!("{giver} is no station before"));
            let call = format!("{function}(");
            let calls = places.iter().any(|file| {
                let text = source(file);
                let mut at = text.match_indices(&call);
                at.any(|(at, _)| {
                    let before = &text[..at];
                    !before.ends_with("fn ")
                        && !before.ends_with(|one: char| one.is_alphanumeric() || one == '_')
                })
            });
            assert!(calls, "{giver} does not call {function}");
        }
        stations.push((function, files));
    }
    assert_eq!(stations.first().unwrap().0, "read_stdin");
    assert_eq!(stations.last().unwrap().0, "start");
    assert!(
        (10..20).contains(&stations.len()),
        "{} stations",
        stations.len()
    );
}

/// Every file of `src/` but those that hold tests only: folders called `tests`, files ending in `tests.rs`.
/// A module of tests at the end of a file counts as its file.
fn files() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    sources(&root, &mut found);
    let named = |file: PathBuf| {
        let text = std::fs::read_to_string(&file).unwrap();
        let name = file.strip_prefix(&root).unwrap();
        (name.to_string_lossy().into_owned(), text)
    };
    found.into_iter().map(named).collect()
}

/// The folders of `src/servers/` that are a server's: all but what they share.
fn servers() -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/servers");
    std::fs::read_dir(root)
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.file_type().unwrap().is_dir() && entry.file_name() != "http")
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect()
}

#[test]
fn no_server_is_named_outside_of_its_place() {
    let servers = servers();
    assert!(servers.contains("fleet") && servers.contains("osctrl"));
    let names_one = |text: &str| {
        let text = text.to_ascii_lowercase();
        servers.iter().any(|name| text.contains(name))
    };
    let files = files();
    let (inside, outside): (Vec<_>, Vec<_>) = files
        .iter()
        .partition(|(file, _)| file.starts_with("servers/") || file == "known_servers.rs");
    assert!(inside.iter().any(|(_, text)| names_one(text)));
    let naming: Vec<&String> = outside
        .into_iter()
        .filter(|(_, text)| names_one(text))
        .map(|(file, _)| file)
        .collect();
    assert!(
        naming.is_empty(),
        "these name a server; take what is known of it from known_servers.rs: {naming:#?}"
    );
}

/// One more server is a folder, an entry in `known_servers.rs`, and one in `servers/open.rs`.
#[test]
fn a_server_has_three_places() {
    for server in servers() {
        let title: String = server
            .split('_')
            .map(|word| word[..1].to_uppercase() + &word[1..])
            .collect();
        let folder = format!("servers/{server}/");
        let code = |text: &str| -> String {
            let code = text.split("#[cfg(test)]\nmod ").next().unwrap_or(text);
            let lines = code.lines();
            let lines = lines.filter(|line| !line.trim_start().starts_with("//"));
            lines.collect::<Vec<_>>().join("\n")
        };
        let places = |marks: &[String]| -> Vec<String> {
            files()
                .into_iter()
                .filter(|(file, _)| !file.starts_with(&folder))
                .filter(|(_, text)| marks.iter().any(|mark| code(text).contains(mark)))
                .map(|(file, _)| file)
                .collect::<BTreeSet<_>>()
                .into_iter()
                .collect()
        };
        // Its kind and how to get in.
        let kind = ["Kind", "Access"].map(|of| format!("{of}::{title}"));
        assert_eq!(places(&kind), ["known_servers.rs", "servers/open.rs"]);
        // Its code; `servers/mod.rs` has the line that makes the folder a module, and its name for tests.
        let code = [format!("{server}::"), format!("mod {server};")];
        assert_eq!(places(&code), ["servers/mod.rs", "servers/open.rs"]);
    }
}

/// Tests go over one list of the kinds of servers, so that one more is in all of them.
#[test]
fn the_kinds_of_servers_are_listed_in_the_harness_only() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let mut files = Vec::new();
    sources(&root, &mut files);
    let lists = ["[Kind::Fleet, ", "[Kind::Osctrl, ", "[Kind::AisocDirect, "];
    let (mut listing, mut read) = (Vec::new(), 0);
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        read += 1;
        // This one names what it looks for.
        if !file.ends_with("layers.rs") && lists.iter().any(|list| text.contains(list)) {
            listing.push(file);
        }
    }
    assert!(read > 40, "{read} files");
    assert!(
        listing.is_empty(),
        "these list kinds of servers; go over `Kind::ALL`, or those of which something holds: {listing:#?}"
    );
}
