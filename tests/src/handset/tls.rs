//! The virtual internet's TLS: one self-signed certificate for all hosts, trusted by the apps.
//!
//! The handshake and its verification are real; only the authority is ours.

use std::sync::Arc;

use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
};

use super::{Error, Result, places::Host};

/// Certificate and key of the hosts.
pub struct Authority {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").finish_non_exhaustive()
    }
}

impl Authority {
    /// A fresh one, valid for the names of all hosts.
    pub fn new(hosts: &[Host]) -> Result<Self> {
        let names: Vec<String> = hosts.iter().map(|host| host.name.to_owned()).collect();
        let made = rcgen::generate_simple_self_signed(names)
            .map_err(|error| Error::Unexpected(format!("making a certificate: {error}")))?;
        Ok(Self {
            certificate: made.cert.der().to_vec(),
            key: made.signing_key.serialize_der(),
        })
    }

    /// The certificate that apps must trust (DER).
    pub fn certificate(&self) -> &[u8] {
        &self.certificate
    }

    /// What a host needs to accept connections.
    pub fn server(&self) -> Result<Arc<ServerConfig>> {
        let chain = vec![CertificateDer::from(self.certificate.clone())];
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(self.key.clone()));
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
            .map_err(|error| Error::Unexpected(format!("setting up a TLS host: {error}")))?;
        Ok(Arc::new(config))
    }
}

/// What an app needs to connect to hosts whose certificate is `trusted` (DER).
pub fn client(trusted: &[u8]) -> Result<Arc<ClientConfig>> {
    let unusable = |error| Error::Unexpected(format!("setting up a TLS client: {error}"));
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from(trusted.to_vec()))
        .map_err(unusable)?;
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(unusable)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}
