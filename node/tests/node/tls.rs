//! The API and the peer links over TLS, both sides showing a certificate.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::cluster::{Cluster, eventually};

/// An authority, and one certificate that nodes and clients share.
struct Certificates {
    authority: CertifiedIssuer<'static, KeyPair>,
    certificate: rcgen::Certificate,
    key: KeyPair,
}

impl Certificates {
    fn new() -> Certificates {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["ordeal-node".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &authority).unwrap();
        Certificates {
            authority,
            certificate,
            key,
        }
    }

    fn client(&self, shows_certificate: bool) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.as_ref().der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        if shows_certificate {
            let chain = vec![CertificateDer::from(self.certificate.der().to_vec())];
            let key = PrivateKeyDer::try_from(self.key.serialize_der()).unwrap();
            config.with_client_auth_cert(chain, key).unwrap()
        } else {
            config.with_no_client_auth()
        }
    }
}

/// One request over TLS; nothing if the other side hangs up.
async fn ask(address: &str, client: &ClientConfig, request: &str) -> Option<String> {
    let connector = TlsConnector::from(Arc::new(client.clone()));
    let tcp = TcpStream::connect(address).await.ok()?;
    let name = ServerName::try_from("ordeal-node").unwrap();
    let mut stream = connector.connect(name, tcp).await.ok()?;
    let text = format!("{request} HTTP/1.1\r\nhost: n\r\nconnection: close\r\n\r\n");
    stream.write_all(text.as_bytes()).await.ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.ok()?;
    Some(String::from_utf8_lossy(&answer).into_owned()).filter(|answer| !answer.is_empty())
}

#[tokio::test]
async fn a_cluster_with_certificates_talks_to_nobody_without_one() {
    let certificates = Certificates::new();
    let dir = tempfile::TempDir::new().unwrap();
    let file = |name: &str, text: String| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let cert = file("cert.pem", certificates.certificate.pem());
    let key = file("key.pem", certificates.key.serialize_pem());
    let ca = file("ca.pem", certificates.authority.as_ref().pem());
    let cluster = Cluster::launched(
        3,
        &["--tls-cert", &cert, "--tls-key", &key, "--tls-ca", &ca],
    );
    let known = certificates.client(true);
    for id in 1..=3 {
        let address = cluster.node(id).http.clone();
        eventually("the node is ready", async || {
            let answer = ask(&address, &known, "GET /ready").await?;
            answer.starts_with("HTTP/1.1 200").then_some(())
        })
        .await;
    }
    let address = &cluster.node(1).http;
    assert_eq!(
        ask(address, &certificates.client(false), "GET /ready").await,
        None
    );
    let stranger = Certificates::new();
    assert_eq!(
        ask(address, &stranger.client(true), "GET /ready").await,
        None
    );
    let mut modern = known.clone();
    modern.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let connector = TlsConnector::from(Arc::new(modern));
    let tcp = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("ordeal-node").unwrap();
    let stream = connector.connect(name, tcp).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    // Plain HTTP finds no ear, neither at the API nor at the peer link.
    for address in [address, &cluster.node(1).peer] {
        let mut plain = TcpStream::connect(address).await.unwrap();
        plain
            .write_all(b"GET /ready HTTP/1.1\r\nhost: n\r\n\r\n")
            .await
            .unwrap();
        let mut answer = Vec::new();
        let _ = plain.read_to_end(&mut answer).await;
        assert!(
            !answer.starts_with(b"HTTP"),
            "{}",
            String::from_utf8_lossy(&answer)
        );
    }
}
