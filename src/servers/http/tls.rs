//! TLS settings: whose certificates are trusted. One configuration serves HTTP and the websocket.

use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use super::roots;
use crate::regular_file::{self, Links};
use crate::servers::BackendError;
use crate::step::model::Server;

/// A file of roots that is larger is no file of roots: the system's have 300 KiB.
pub(super) const CA_FILE_BYTES: usize = 4 * 1024 * 1024;

/// The configuration for the step's server: the system's roots and `ca_file`, or no check at all.
///
/// # Errors
/// [`BackendError::Setup`] where no root can be had or `ca_file` can't be used.
pub fn client_config(server: &Server) -> Result<ClientConfig, BackendError> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(format!("TLS can't be set up: {error}"), None))?;
    let mut roots = RootCertStore::empty();
    // Loading the system's roots takes milliseconds: only where they are used.
    let verified = server.verify_tls && server.base_url.scheme() == "https";
    if verified {
        roots.add_parsable_certificates(roots::of_system()?);
    }
    if let Some(path) = &server.ca_file {
        for certificate in read_ca_file(path)? {
            roots.add(certificate).map_err(|_| {
                bad_ca_file(path, "it holds a certificate that can't be an authority's")
            })?;
        }
    }
    if verified && roots.is_empty() {
        return Err(unusable(
            "this machine has no root certificates to check the server's certificate with".into(),
            Some("install the system's certificates (often the package `ca-certificates`), or name a PEM file in `ca_file`".into()),
        ));
    }
    Ok(if server.verify_tls {
        builder.with_root_certificates(roots).with_no_client_auth()
    } else {
        builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Unverified(provider)))
            .with_no_client_auth()
    })
}

const NAME_THE_AUTHORITY: &str = "name the authority that signed the server's certificate in `ca_file`; only for a test server set `verify_tls: false`";

/// A TLS error in the user's words, and what to do about it.
pub(super) fn words(error: &rustls::Error) -> (String, &'static str) {
    use rustls::{CertificateError, Error};
    let (what, hint) = match error {
        Error::InvalidCertificate(certificate) => match certificate {
            CertificateError::UnknownIssuer => (
                "the server's certificate is signed by an unknown authority",
                NAME_THE_AUTHORITY,
            ),
            // An authority of the same name with another key: one that was made anew.
            CertificateError::BadSignature => (
                "the server's certificate is not signed by the trusted authority of that name",
                "the authority was replaced, or somebody poses as the server: if it was replaced, put its new certificate into `ca_file`",
            ),
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => (
                "the server's certificate has expired",
                "renew the server's certificate, or check this machine's clock",
            ),
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => (
                "the server's certificate is not valid yet",
                "check this machine's clock",
            ),
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                (
                    "the server's certificate is for another name than that in `base_url`",
                    "write a name into `base_url` that the server's certificate holds",
                )
            }
            CertificateError::Revoked => (
                "the server's certificate is revoked",
                "the server needs a new certificate",
            ),
            _ => (
                "the server's certificate is not acceptable",
                NAME_THE_AUTHORITY,
            ),
        },
        Error::InvalidMessage(_) => (
            "the server does not speak TLS",
            "check the port in `base_url`, and whether the address begins with http://",
        ),
        other => {
            return (
                other.to_string(),
                "the server and this program share no version or cipher of TLS 1.2 and 1.3, or a proxy is between them",
            );
        }
    };
    (what.into(), hint)
}

fn read_ca_file(path: &Path) -> Result<Vec<CertificateDer<'static>>, BackendError> {
    let unusable = |what: &str| bad_ca_file(path, what);
    let content = regular_file::read(path, CA_FILE_BYTES, Links::Follow)
        .map_err(|error| unusable(&format!("it {error}")))?;
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(&content.bytes)
        .collect::<Result<_, _>>()
        .map_err(|_| unusable("it is not a PEM file of certificates"))?;
    if certificates.is_empty() {
        return Err(unusable("it holds no certificate in PEM form"));
    }
    Ok(certificates)
}

fn bad_ca_file(path: &Path, what: &str) -> BackendError {
    unusable(
        format!("`ca_file` {} can't be used: {what}", path.display()),
        Some("`ca_file` names a PEM file with the certificate of the authority that signed the server's".into()),
    )
}

pub(super) fn unusable(message: String, hint: Option<String>) -> BackendError {
    BackendError::Setup { message, hint }
}

/// `verify_tls: false`: any certificate passes; signatures of the handshake are still checked.
#[derive(Debug)]
struct Unverified(Arc<CryptoProvider>);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
