//! Certificates: read, and turned into what the listeners and the links want.
//!
//! One certificate serves both sides of a node. With `--tls-ca` the other side must show one, too:
//! peers always, and clients as well.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, anyhow};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::TlsAcceptor;

use crate::config::Config;
use crate::transport::PeerTls;

/// What encrypts.
pub(crate) struct Tls {
    pub(crate) clients: TlsAcceptor,
    pub(crate) peers: PeerTls,
}

/// Reads the certificates that the configuration names, if it does.
pub(crate) fn load(config: &Config) -> anyhow::Result<Option<Tls>> {
    let (Some(cert), Some(key)) = (&config.security.tls_cert, &config.security.tls_key) else {
        return Ok(None);
    };
    let Some(ca) = &config.security.tls_ca else {
        return Err(anyhow!(
            "--tls-cert needs --tls-ca: peers must be able to tell each other's certificates"
        ));
    };
    let mut roots = RootCertStore::empty();
    for authority in certificates(ca)? {
        roots
            .add(authority)
            .with_context(|| format!("{} is no authority", ca.display()))?;
    }
    let roots = Arc::new(roots);
    let chain = certificates(cert)?;
    let key = || {
        PrivateKeyDer::from_pem_file(key).with_context(|| format!("cannot read {}", key.display()))
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&provider))
            .build()?;
    let server = Arc::new(
        ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain.clone(), key()?)
            .context("the certificate and the key do not fit")?,
    );
    let client = Arc::new(
        ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key()?)
            .context("the certificate and the key do not fit")?,
    );
    let name = ServerName::try_from(config.security.tls_name.clone())
        .map_err(|_| anyhow!("--tls-name {:?} is no host name", config.security.tls_name))?;
    let peers = PeerTls {
        server: Arc::clone(&server),
        client,
        name,
    };
    let mut clients = ServerConfig::clone(&server);
    clients.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Some(Tls {
        clients: TlsAcceptor::from(Arc::new(clients)),
        peers,
    }))
}

fn certificates(path: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let read = || CertificateDer::pem_file_iter(path)?.collect::<Result<Vec<_>, _>>();
    let found = read().with_context(|| format!("cannot read {}", path.display()))?;
    if found.is_empty() {
        return Err(anyhow!("{} holds no certificate", path.display()));
    }
    Ok(found)
}
