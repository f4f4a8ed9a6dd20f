//! Which certificates are believed: the machine's own, those that Node was told of, and Mozilla's where
//! the machine has none.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use crate::error::{Code, Error, Result};

/// A TLS client configuration.
pub(super) fn config() -> Result<ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.map_err(|error| Error::new(Code::DownloadFailed, format!("TLS cannot be set up: {error}.")))?;
    Ok(config.with_root_certificates(roots()).with_no_client_auth())
}

fn roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    // SSL_CERT_FILE and SSL_CERT_DIR are honoured there. What cannot be read is skipped, as OpenSSL does.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    // Comes on top of the others, as in Node.
    let extra = std::env::var_os("NODE_EXTRA_CA_CERTS").filter(|path| !path.is_empty()).map(PathBuf::from);
    if let Some(extra) = extra
        && let Ok(found) = CertificateDer::pem_file_iter(extra)
    {
        roots.add_parsable_certificates(found.flatten());
    }
    roots
}
