//! TLS for loopback: an authority of the simulator's own and a certificate for 127.0.0.1, ::1 and localhost,
//! made anew at each start.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

/// What a server needs to speak TLS, and what a client needs to believe it.
pub(crate) struct Identity {
    pub config: Arc<ServerConfig>,
    /// The authority's certificate (PEM).
    pub ca_pem: String,
}

/// Makes an identity.
pub(crate) fn identity() -> std::io::Result<Identity> {
    let authority_key = KeyPair::generate().map_err(std::io::Error::other)?;
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    authority
        .distinguished_name
        .push(DnType::CommonName, "osquery-simulator authority");
    let authority_certificate = authority
        .self_signed(&authority_key)
        .map_err(std::io::Error::other)?;
    let issuer = Issuer::new(authority, authority_key);

    let key = KeyPair::generate().map_err(std::io::Error::other)?;
    let names = ["127.0.0.1", "::1", "localhost"].map(str::to_owned);
    let mut leaf = CertificateParams::new(names.to_vec()).map_err(std::io::Error::other)?;
    leaf.distinguished_name
        .push(DnType::CommonName, "osquery-simulator");
    leaf.use_authority_key_identifier_extension = true;
    let certificate = leaf
        .signed_by(&key, &issuer)
        .map_err(std::io::Error::other)?;

    let chain: Vec<CertificateDer<'static>> = vec![certificate.into()];
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(std::io::Error::other)?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(std::io::Error::other)?;
    Ok(Identity {
        config: Arc::new(config),
        ca_pem: authority_certificate.pem(),
    })
}
