//! Whether a file or folder can be changed by anyone but root and this process's own user: itself, every
//! folder on the way to it, and every link that is followed. Knows nothing of what is in a file.

use std::fs::{self, Metadata};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use crate::regular_file::{self, Access, Links, NoFile};

/// Links that are followed at most, as in the kernel.
const MOST_LINKS: usize = 40;

/// In a folder with this bit only owners can take files away.
const STICKY: u32 = 0o1000;

/// Why a path can't be relied on, as the end of a sentence that begins with the path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Untrusted {
    /// There is nothing at the path.
    Missing,
    /// Something else is wrong.
    Unfit(String),
}

impl Untrusted {
    fn unfit(words: impl Into<String>) -> Self {
        Self::Unfit(words.into())
    }

    fn of(error: &std::io::Error) -> Self {
        match error.kind() {
            ErrorKind::NotFound | ErrorKind::NotADirectory => Self::Missing,
            ErrorKind::PermissionDenied => Self::unfit("may not be read by this process"),
            kind => Self::unfit(format!("can't be looked at: {kind}")),
        }
    }
}

impl From<NoFile> for Untrusted {
    fn from(error: NoFile) -> Self {
        match error {
            NoFile::Missing => Self::Missing,
            error => Self::Unfit(error.to_string()),
        }
    }
}

impl std::fmt::Display for Untrusted {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Missing => formatter.write_str("does not exist"),
            Self::Unfit(words) => formatter.write_str(words),
        }
    }
}

/// The text of a file that only root or this process's user can change.
///
/// # Errors
/// Where others can, or it is no regular file, is larger than `max_bytes`, or is not UTF-8.
pub fn read(path: &Path, max_bytes: usize) -> Result<String, Untrusted> {
    let opened = regular_file::open(&walk(path, passable)?, Links::Refuse, Access::Read)?;
    own(&opened.metadata, "")?;
    let bytes = opened.read(max_bytes)?.bytes;
    String::from_utf8(bytes).map_err(|_| Untrusted::unfit("is not UTF-8"))
}

/// Checks that a path is a regular file of at most `max_bytes` that others can't change.
///
/// # Errors
/// As [`read`].
pub fn file(path: &Path, max_bytes: usize) -> Result<PathBuf, Untrusted> {
    let real = walk(path, passable)?;
    let metadata = fs::metadata(&real).map_err(|error| Untrusted::of(&error))?;
    regular_file::regular(&metadata)?;
    own(&metadata, "")?;
    if metadata.len() > max_bytes as u64 {
        return Err(NoFile::TooLarge(max_bytes).into());
    }
    Ok(real)
}

/// Checks that a path is a folder that others can't write to.
///
/// # Errors
/// Where it is none, or others can.
pub fn folder(path: &Path) -> Result<PathBuf, Untrusted> {
    let real = walk(path, passable)?;
    let metadata = fs::metadata(&real).map_err(|error| Untrusted::of(&error))?;
    if !metadata.is_dir() {
        return Err(Untrusted::unfit("is not a folder"));
    }
    own(&metadata, "")?;
    Ok(real)
}

/// Where a log really stands, or will stand: nobody but root and this process's user can change it, put
/// another in its place or take it away, except whom root has let write to its folders (a group, as in
/// `/var/log`, or everybody where only owners can take files away, as in `/tmp`).
///
/// # Errors
/// Where others can.
pub fn log(path: &Path) -> Result<PathBuf, Untrusted> {
    match walk(path, given_by_root) {
        Ok(real) => {
            given_by_root(real.parent().unwrap_or(Path::new("/")))?;
            own_log(&fs::metadata(&real).map_err(|error| Untrusted::of(&error))?)?;
            Ok(real)
        }
        Err(Untrusted::Missing) => {
            let folder = path
                .parent()
                .filter(|folder| !folder.as_os_str().is_empty());
            let real = match walk(folder.unwrap_or(Path::new(".")), given_by_root) {
                Ok(folder) => folder.join(path.file_name().unwrap_or_default()),
                Err(Untrusted::Missing) => {
                    return Err(Untrusted::unfit("is in a folder that does not exist"));
                }
                Err(error) => return Err(error),
            };
            given_by_root(real.parent().unwrap_or(Path::new("/")))?;
            match fs::symlink_metadata(&real) {
                Ok(_) => Err(Untrusted::unfit("is a broken link")),
                Err(_) => Ok(real),
            }
        }
        Err(error) => Err(error),
    }
}

/// Whether a log that is there can be relied on.
///
/// # Errors
/// Where it is no regular file, or others own it or can write to it.
pub fn own_log(metadata: &Metadata) -> Result<(), Untrusted> {
    regular_file::regular(metadata)?;
    own(metadata, "")
}

/// Nobody but root and this process's user owns it or may write to it. `what` names what is not the path
/// itself, with a blank at its end.
fn own(metadata: &Metadata, what: &str) -> Result<(), Untrusted> {
    owner(metadata, what)?;
    if metadata.mode() & 0o022 != 0 {
        return Err(Untrusted::unfit(format!(
            "{what}can be written to by others (mode {:04o}): chmod go-w",
            metadata.mode() & 0o7777
        )));
    }
    Ok(())
}

fn owner(metadata: &Metadata, what: &str) -> Result<(), Untrusted> {
    let user = rustix::process::geteuid().as_raw();
    if metadata.uid() == 0 || metadata.uid() == user {
        return Ok(());
    }
    Err(Untrusted::unfit(format!(
        "{what}belongs to the user {}, who is neither root nor the user of this process ({user}), and can change it",
        metadata.uid()
    )))
}

/// Follows a path as the kernel does and checks every folder (by the rule) and link on the way: whoever may
/// change one of them decides what stands at the path. Returns where it leads, without links.
fn walk(path: &Path, rule: impl Fn(&Path) -> Result<(), Untrusted>) -> Result<PathBuf, Untrusted> {
    let path = std::path::absolute(path).map_err(|error| Untrusted::of(&error))?;
    let mut to_come: Vec<PathBuf> = components(&path);
    let mut reached = PathBuf::from("/");
    let mut links = 0;
    while let Some(next) = to_come.pop() {
        rule(&reached)?;
        if next == Path::new("..") {
            reached.pop();
            continue;
        }
        let here = reached.join(&next);
        let metadata = fs::symlink_metadata(&here).map_err(|error| Untrusted::of(&error))?;
        if !metadata.is_symlink() {
            reached = here;
            continue;
        }
        links += 1;
        if links > MOST_LINKS {
            return Err(Untrusted::unfit("leads through too many links"));
        }
        owner(
            &metadata,
            &format!("leads through {}, which ", here.display()),
        )?;
        let target = fs::read_link(&here).map_err(|error| Untrusted::of(&error))?;
        if target.is_absolute() {
            reached = PathBuf::from("/");
        }
        to_come.extend(components(&target));
    }
    Ok(reached)
}

/// The components of a path, the last one first.
fn components(path: &Path) -> Vec<PathBuf> {
    let kept = path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(PathBuf::from(name)),
        Component::ParentDir => Some(PathBuf::from("..")),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    });
    let mut components: Vec<PathBuf> = kept.collect();
    components.reverse();
    components
}

/// Whether what stands in a folder can be relied on: others can't write to it, or it is one like `/tmp`,
/// where they can't take away what is not theirs.
fn passable(folder: &Path) -> Result<(), Untrusted> {
    let metadata = fs::metadata(folder).map_err(|error| Untrusted::of(&error))?;
    let what = format!("lies under {}, which ", folder.display());
    if metadata.is_dir() && metadata.mode() & STICKY != 0 {
        return owner(&metadata, &what);
    }
    own(&metadata, &what)
}

/// As [`passable`], and root may have let a group write to it.
fn given_by_root(folder: &Path) -> Result<(), Untrusted> {
    let metadata = fs::metadata(folder).map_err(|error| Untrusted::of(&error))?;
    let for_a_group = metadata.mode() & 0o002 == 0;
    if metadata.is_dir() && metadata.uid() == 0 && for_a_group {
        return Ok(());
    }
    passable(folder)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::tests::scratch::Scratch;

    fn words(result: Result<impl std::fmt::Debug, Untrusted>) -> String {
        result.unwrap_err().to_string()
    }

    #[test]
    fn a_file_of_ones_own_is_read() {
        let dir = Scratch::new();
        assert_eq!(read(&dir.file("a", "text", 0o644), 4), Ok("text".into()));
        assert_eq!(words(read(&dir.at("a"), 3)), "is larger than 0 KiB");
        assert_eq!(read(&dir.at("b"), 4), Err(Untrusted::Missing));
        assert_eq!(
            words(read(dir.path(), 4)),
            "is a folder, not a regular file"
        );
        assert_eq!(words(folder(&dir.at("a"))), "is not a folder");
        assert!(folder(dir.path()).is_ok());
    }

    #[test]
    fn what_others_can_write_to_is_refused() {
        let dir = Scratch::new();
        for mode in [0o664, 0o646, 0o666] {
            let path = dir.file("a", "text", mode);
            let expected = format!("can be written to by others (mode {mode:04o}): chmod go-w");
            assert_eq!(words(read(&path, 9)), expected);
            assert_eq!(words(file(&path, 9)), expected);
        }
        dir.mode("", 0o777);
        assert!(words(folder(dir.path())).starts_with("can be written to by others (mode 0777)"));
    }

    #[test]
    fn what_others_can_put_something_else_in_place_of_is_refused() {
        let dir = Scratch::new();
        fs::create_dir(dir.at("open")).unwrap();
        dir.file("open/a", "text", 0o600);
        dir.mode("open", 0o777);
        let expected = format!(
            "lies under {}, which can be written to by others (mode 0777): chmod go-w",
            dir.at("open").display()
        );
        assert_eq!(words(read(&dir.at("open/a"), 9)), expected);
        // A link that lies where all is well leads there all the same, and so do two of them.
        symlink(dir.at("open/a"), dir.at("link")).unwrap();
        symlink("link", dir.at("second")).unwrap();
        assert_eq!(words(read(&dir.at("link"), 9)), expected);
        assert_eq!(words(read(&dir.at("second"), 9)), expected);
        // And a link in an open folder may lead elsewhere tomorrow.
        dir.file("closed", "text", 0o600);
        symlink(dir.at("closed"), dir.at("open/link")).unwrap();
        assert_eq!(words(read(&dir.at("open/link"), 9)), expected);
        // In a folder like /tmp nobody can take away what is another's.
        dir.mode("open", 0o1777);
        assert_eq!(read(&dir.at("link"), 9), Ok("text".into()));
        assert_eq!(read(&dir.at("open/../open/a"), 9), Ok("text".into()));
    }

    #[test]
    fn links_in_a_circle_end() {
        let dir = Scratch::new();
        symlink("b", dir.at("a")).unwrap();
        symlink("a", dir.at("b")).unwrap();
        assert_eq!(words(read(&dir.at("a"), 9)), "leads through too many links");
    }

    #[test]
    fn a_device_or_pipe_is_no_file() {
        assert_eq!(
            words(read(Path::new("/dev/null"), 9)),
            "is a device, not a regular file"
        );
    }
}
