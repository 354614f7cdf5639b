//! Opens what is meant to be a file, and reads it within a size: a pipe, a device, a folder or a file that the
//! kernel makes up is refused at once, for reading it could wait for ever, never end, or do something. The
//! one way in which files named by people (or found in folders that they named) are read.

use std::fmt;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::memory::{self, NoMemory};

/// Whether a link at the end of the path is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Links {
    /// To what it leads to, which has to be a regular file itself.
    Follow,
    /// It is refused.
    Refuse,
}

/// What a file is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Reading what is in it.
    Read,
    /// Reading it and adding to it; it is made where it is missing, for this process's user alone.
    Append,
    /// Its lock, whatever is in it; it is made where it is missing, for this process's user alone.
    Lock,
}

/// A regular file that is open.
#[derive(Debug)]
pub struct Opened {
    /// The file.
    pub file: File,
    /// What the system said of it once it was open.
    pub metadata: Metadata,
}

/// A file's content.
#[derive(Debug)]
pub struct Content {
    /// All of it.
    pub bytes: Vec<u8>,
    /// What the system said of the file that was read.
    pub metadata: Metadata,
}

/// Why there is nothing to read, as the end of a sentence that begins with the path or `it`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoFile {
    /// There is nothing.
    Missing,
    /// This process may not read it.
    Denied,
    /// It is something else: `a folder`.
    Other(&'static str),
    /// It is a link that leads out of the folder that was given.
    Outside,
    /// It holds more bytes than this.
    TooLarge(usize),
    /// The system gives no memory for it.
    Memory(NoMemory),
    /// The process or the machine can't open further files.
    Limit,
    /// The system says something else.
    Failed(ErrorKind),
}

impl fmt::Display for NoFile {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => formatter.write_str("does not exist"),
            Self::Denied => formatter.write_str("may not be read by this process"),
            Self::Other(what) => write!(formatter, "is {what}, not a regular file"),
            Self::Outside => {
                formatter.write_str("is a link that leads out of the folder that was given")
            }
            Self::TooLarge(most) if *most < 1 << 20 => {
                write!(formatter, "is larger than {} KiB", most >> 10)
            }
            Self::TooLarge(most) => write!(formatter, "is larger than {} MiB", most >> 20),
            Self::Memory(refused) => write!(
                formatter,
                "can't be read: the system refuses {refused} of memory (`ulimit -v`)"
            ),
            Self::Limit => formatter
                .write_str("can't be opened: this process may open no more files (`ulimit -n`)"),
            Self::Failed(kind) => write!(formatter, "can't be read: {kind}"),
        }
    }
}

impl NoFile {
    /// What to do about it, where no more is known than that a file was named.
    pub fn advice(self) -> &'static str {
        match self {
            Self::Missing => "check the spelling of the path",
            Self::Denied => "give this process's user the right to read it",
            Self::Other("a pipe") => {
                "write what the pipe brings into a file first, and name that (the shell's `<(…)` is a pipe, too)"
            }
            Self::Other("a folder") => "name a file in it",
            Self::Other(_) => "name a regular file",
            Self::Outside => "name the file itself, or put a copy into the folder",
            Self::TooLarge(_) => "check that it is the file that was meant",
            Self::Memory(_) => {
                "raise the limit of memory (`ulimit -v`; in a service LimitAS, MemoryMax)"
            }
            Self::Limit => "raise the limit of open files (`ulimit -n`; in a service LimitNOFILE)",
            Self::Failed(_) => "check the disk or the share that it is on",
        }
    }

    /// What an error of the system says of a path.
    pub fn of(error: &std::io::Error) -> Self {
        let errno = error.raw_os_error().map(Errno::from_raw_os_error);
        match (errno, error.kind()) {
            // A link, where none is followed.
            (Some(Errno::LOOP), _) => Self::Other("a link"),
            // A socket, or a device without a driver.
            (Some(Errno::NXIO | Errno::NODEV), _) => Self::Other("a device"),
            (Some(Errno::MFILE | Errno::NFILE), _) => Self::Limit,
            (_, ErrorKind::NotFound | ErrorKind::NotADirectory) => Self::Missing,
            (_, ErrorKind::PermissionDenied) => Self::Denied,
            // Without waiting there is nothing to be had: no file is like that.
            (_, ErrorKind::WouldBlock) => Self::Other("something that would have to be waited for"),
            (_, kind) => Self::Failed(kind),
        }
    }
}

/// Opens a regular file. Never waits: what is no regular file is looked at and left alone, and where it
/// changes in the very moment it is opened without blocking and given back.
///
/// # Errors
/// [`NoFile`]
pub fn open(path: &Path, links: Links, access: Access) -> Result<Opened, NoFile> {
    let looked = match links {
        Links::Follow => fs::metadata(path),
        Links::Refuse => fs::symlink_metadata(path),
    };
    // Before it is opened: opening alone has an effect on some devices.
    match looked {
        Ok(metadata) => regular(&metadata)?,
        Err(error) if error.kind() == ErrorKind::NotFound && access != Access::Read => {}
        // Links in a circle.
        Err(error) if error.raw_os_error() == Some(Errno::LOOP.raw_os_error()) => {
            return Err(NoFile::Failed(error.kind()));
        }
        Err(error) => return Err(NoFile::of(&error)),
    }
    let mut flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    if links == Links::Refuse {
        flags |= OFlags::NOFOLLOW;
    }
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(flags.bits().cast_signed());
    match access {
        Access::Read => &mut options,
        Access::Append => options.append(true).create(true).mode(0o600),
        Access::Lock => options.write(true).create(true).truncate(false).mode(0o600),
    };
    let file = options.open(path).map_err(|error| NoFile::of(&error))?;
    let metadata = file.metadata().map_err(|error| NoFile::of(&error))?;
    regular(&metadata)?;
    if is_made_up(&file) {
        return Err(NoFile::Other("made up by the kernel"));
    }
    Ok(Opened { file, metadata })
}

/// Reads a regular file of at most so many bytes.
///
/// # Errors
/// [`NoFile`]
pub fn read(path: &Path, most: usize, links: Links) -> Result<Content, NoFile> {
    open(path, links, Access::Read)?.read(most)
}

/// Where a file that was found in a folder really stands; links lead no further than into that folder, for
/// who gave the folder gave no more.
///
/// # Errors
/// [`NoFile::Outside`] where it leads out, or [`NoFile`] where it leads to nothing.
pub fn within(folder: &Path, path: &Path) -> Result<PathBuf, NoFile> {
    let real = |path: &Path| fs::canonicalize(path).map_err(|error| NoFile::of(&error));
    let found = real(path)?;
    match found.starts_with(real(folder)?) {
        true => Ok(found),
        false => Err(NoFile::Outside),
    }
}

impl Opened {
    /// All of it, which are at most so many bytes.
    ///
    /// # Errors
    /// [`NoFile`]
    pub fn read(self, most: usize) -> Result<Content, NoFile> {
        let Self { file, metadata } = self;
        if metadata.len() > most as u64 {
            return Err(NoFile::TooLarge(most));
        }
        let size = usize::try_from(metadata.len()).unwrap_or(most);
        // One byte more shows the end.
        let mut bytes = Vec::new();
        memory::room(&mut bytes, size + 1).map_err(NoFile::Memory)?;
        // It may grow while it is read.
        file.take(most as u64 + 1)
            .read_to_end(&mut bytes)
            .map_err(|error| NoFile::of(&error))?;
        if bytes.len() > most {
            return Err(NoFile::TooLarge(most));
        }
        Ok(Content { bytes, metadata })
    }
}

/// Whether it is a regular file, as far as the system says so without opening it.
///
/// # Errors
/// [`NoFile::Other`]
pub fn regular(metadata: &Metadata) -> Result<(), NoFile> {
    let kind = metadata.file_type();
    Err(NoFile::Other(if kind.is_file() {
        return Ok(());
    } else if kind.is_dir() {
        "a folder"
    } else if kind.is_symlink() {
        "a link"
    } else if kind.is_fifo() {
        "a pipe"
    } else if kind.is_socket() {
        "a socket"
    } else {
        "a device"
    }))
}

/// Whether the kernel makes the content up as it is read (`/proc/kmsg`, `/sys/kernel/debug`): it calls such
/// files regular, and of size 0, and some never end.
#[cfg(target_os = "linux")]
fn is_made_up(file: &File) -> bool {
    // Magic numbers of proc, sysfs, debugfs and tracefs (linux/magic.h).
    const MADE_UP: [u64; 4] = [0x9fa0, 0x6265_6572, 0x6462_6720, 0x7472_6163];
    // The type's width differs from machine to machine.
    rustix::fs::fstatfs(file).is_ok_and(|about| MADE_UP.contains(&(about.f_type as u64)))
}

#[cfg(not(target_os = "linux"))]
fn is_made_up(_: &File) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::scratch::Scratch;
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    fn told(path: &Path, links: Links) -> String {
        match read(path, 8, links) {
            Ok(content) => format!("{} bytes", content.bytes.len()),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn only_a_regular_file_within_its_size_is_read() {
        let dir = Scratch::new();
        fs::write(dir.at("eight"), "12345678").unwrap();
        fs::write(dir.at("nine"), "123456789").unwrap();
        fs::write(dir.at("empty"), "").unwrap();
        symlink("eight", dir.at("link")).unwrap();
        symlink("/dev/zero", dir.at("zero")).unwrap();
        symlink("circle", dir.at("circle")).unwrap();
        symlink("nowhere", dir.at("broken")).unwrap();
        let fifo = dir.at("fifo");
        let made = std::process::Command::new("mkfifo").arg(&fifo).status();
        assert!(made.unwrap().success());
        let _socket = UnixListener::bind(dir.at("socket")).unwrap();
        symlink(&fifo, dir.at("to-fifo")).unwrap();
        for (name, followed, refused) in [
            ("eight", "8 bytes", "8 bytes"),
            ("nine", "is larger than 0 KiB", "is larger than 0 KiB"),
            ("empty", "0 bytes", "0 bytes"),
            (
                "",
                "is a folder, not a regular file",
                "is a folder, not a regular file",
            ),
            (
                "fifo",
                "is a pipe, not a regular file",
                "is a pipe, not a regular file",
            ),
            (
                "socket",
                "is a socket, not a regular file",
                "is a socket, not a regular file",
            ),
            ("none", "does not exist", "does not exist"),
            ("eight/none", "does not exist", "does not exist"),
            ("link", "8 bytes", "is a link, not a regular file"),
            (
                "zero",
                "is a device, not a regular file",
                "is a link, not a regular file",
            ),
            (
                "to-fifo",
                "is a pipe, not a regular file",
                "is a link, not a regular file",
            ),
            ("broken", "does not exist", "is a link, not a regular file"),
        ] {
            assert_eq!(told(&dir.at(name), Links::Follow), followed, "{name}");
            assert_eq!(told(&dir.at(name), Links::Refuse), refused, "{name}");
        }
        let circle = told(&dir.at("circle"), Links::Follow);
        assert!(circle.starts_with("can't be read: "), "{circle}");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn what_the_kernel_makes_up_is_no_file() {
        for path in [
            "/proc/self/status",
            "/proc/kmsg",
            "/sys/kernel/uevent_seqnum",
        ] {
            if matches!(
                read(Path::new(path), 8, Links::Follow),
                Err(NoFile::Missing | NoFile::Denied)
            ) {
                // Not on every machine, not for every user.
                assert_ne!(path, "/proc/self/status");
                continue;
            }
            let told = told(Path::new(path), Links::Follow);
            assert_eq!(
                told, "is made up by the kernel, not a regular file",
                "{path}"
            );
        }
        assert_eq!(
            told(Path::new("/dev/null"), Links::Follow),
            "is a device, not a regular file"
        );
    }

    #[test]
    fn sizes_are_told_in_their_unit() {
        assert_eq!(
            NoFile::TooLarge(64 << 10).to_string(),
            "is larger than 64 KiB"
        );
        assert_eq!(
            NoFile::TooLarge(4 << 20).to_string(),
            "is larger than 4 MiB"
        );
    }
}
