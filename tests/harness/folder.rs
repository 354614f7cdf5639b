//! A folder for one test, gone at its end.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

/// A folder of its own that others can't write to.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("outside-{}-{count}", std::process::id()));
        fs::create_dir(&path).expect("a new folder");
        let folder = Self(path);
        folder.mode("", 0o755);
        folder
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// What has this name in it; without one, the folder.
    pub fn at(&self, name: &str) -> PathBuf {
        if name.is_empty() {
            return self.0.clone();
        }
        self.0.join(name)
    }

    /// [`Folder::at`], as an argument or a line of YAML has it.
    pub fn name(&self, name: &str) -> String {
        self.at(name).display().to_string()
    }

    pub fn mode(&self, name: &str, mode: u32) {
        fs::set_permissions(self.at(name), fs::Permissions::from_mode(mode)).expect("a mode");
    }

    pub fn folder(&self, name: &str) -> PathBuf {
        fs::create_dir(self.at(name)).expect("a folder");
        self.mode(name, 0o755);
        self.at(name)
    }

    /// A file that only its owner can write to, with the folders on the way to it.
    pub fn file(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.at(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, text).expect("a file");
        self.mode(name, 0o600);
        self.at(name)
    }

    pub fn policy(&self, text: &str) -> PathBuf {
        self.file("policy.yaml", text)
    }

    pub fn text(&self, name: &str) -> String {
        fs::read_to_string(self.at(name)).expect("a text file")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).expect("the folder can be removed");
    }
}
