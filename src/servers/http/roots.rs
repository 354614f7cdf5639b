//! Whose certificates this machine trusts: the system's, or those that `SSL_CERT_FILE` and `SSL_CERT_DIR`
//! name (as for OpenSSL). What the variables name is read here, since it may be no file at all.

use std::ffi::OsString;
use std::path::Path;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::cause;
use super::tls::{CA_FILE_BYTES, unusable};
use crate::regular_file::{self, Links, NoFile};
use crate::servers::BackendError;

/// Files of a folder that are read at most: an operating system has 150 authorities, each under two names.
const MOST_FILES: usize = 4_096;

/// The roots of this machine, as its environment says.
///
/// # Errors
/// [`BackendError::Setup`] where a variable names what is no file or folder of certificates, or this
/// process may not open enough files.
pub(super) fn of_system() -> Result<Vec<CertificateDer<'static>>, BackendError> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let (file, folders) = (set("SSL_CERT_FILE"), set("SSL_CERT_DIR"));
    if file.is_some() || folders.is_some() {
        return of_variables(file, folders);
    }
    let found = rustls_native_certs::load_native_certs();
    if found.certs.is_empty() {
        let limits = found.errors.iter().filter_map(|error| match &error.kind {
            rustls_native_certs::ErrorKind::Io { inner, .. } => inner.raw_os_error(),
            _ => None,
        });
        let mut limits = limits
            .map(rustix::io::Errno::from_raw_os_error)
            .filter_map(cause::limit);
        if let Some(limit) = limits.next() {
            return Err(no_more(&format!(
                "this machine's root certificates can't be read: {limit}"
            )));
        }
    }
    Ok(found.certs)
}

fn of_variables(
    file: Option<OsString>,
    folders: Option<OsString>,
) -> Result<Vec<CertificateDer<'static>>, BackendError> {
    let mut found = Vec::new();
    let bad = |variable: &str, path: &Path, what: &str| {
        unusable(
            format!("{} in the variable {variable} can't be used: it {what}", path.display()),
            Some("SSL_CERT_FILE names a PEM file of root certificates, SSL_CERT_DIR folders of such files; unset both for the system's own".into()),
        )
    };
    if let Some(path) = file.as_deref().map(Path::new) {
        match regular_file::read(path, CA_FILE_BYTES, Links::Follow) {
            Ok(content) => found.extend(certificates(&content.bytes)),
            // As OpenSSL has it: the other variable may name what there is.
            Err(NoFile::Missing) if folders.is_some() => {}
            Err(NoFile::Limit) => {
                return Err(no_more(&format!("{} {}", path.display(), NoFile::Limit)));
            }
            Err(error) => return Err(bad("SSL_CERT_FILE", path, &error.to_string())),
        }
    }
    for folder in folders.iter().flat_map(std::env::split_paths) {
        if folder.as_os_str().is_empty() {
            continue;
        }
        let entries = match std::fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => {
                let what = format!("can't be read: {}", error.kind());
                return Err(bad("SSL_CERT_DIR", &folder, &what));
            }
        };
        for entry in entries.take(MOST_FILES).flatten() {
            // Links of which some lead nowhere, folders: what is no file holds no certificate.
            match regular_file::read(&entry.path(), CA_FILE_BYTES, Links::Follow) {
                Ok(content) => found.extend(certificates(&content.bytes)),
                Err(NoFile::Limit) => {
                    return Err(no_more(&format!("{} {}", folder.display(), NoFile::Limit)));
                }
                Err(_) => {}
            }
        }
    }
    found.sort_unstable_by(|one, other| one.as_ref().cmp(other.as_ref()));
    found.dedup();
    Ok(found)
}

/// The certificates of a PEM file; what is none is passed over, as the system's loader does.
fn certificates(pem: &[u8]) -> impl Iterator<Item = CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(pem)
        .flatten()
        .collect::<Vec<_>>()
        .into_iter()
}

fn no_more(message: &str) -> BackendError {
    unusable(
        message.to_owned(),
        Some("raise the limit of open files (`ulimit -n`; in a service LimitNOFILE)".into()),
    )
}
