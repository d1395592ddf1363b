//! The certificate that browsers see: TLS 1.2 and 1.3, nobody asked for one of theirs.

use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};

use rustls::ServerConfig;
use rustls::pki_types::UnixTime;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::credentials::{TlsError, certificates, key, wrong};
use crate::reload::{Reload, Stamp, keep_current, stamp};

/// A WebSocket begins with HTTP/1.1; over HTTP/2 it would need an extension that few servers have.
const PROTOCOL: &[u8] = b"http/1.1";
/// Mozilla's intermediate profile: rustls has none of what that leaves out, neither older versions nor ciphers without
/// forward secrecy.
const VERSIONS: &[&rustls::SupportedProtocolVersion] = &[&rustls::version::TLS13, &rustls::version::TLS12];

/// A certificate and its key in force. Clones share them, and see them replaced.
#[derive(Debug, Clone)]
pub struct EdgeCertificate(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    certificate_file: PathBuf,
    key_file: PathBuf,
    loaded: RwLock<Loaded>,
}

#[derive(Debug, Clone)]
struct Loaded {
    server: Arc<ServerConfig>,
    stamp: Stamp,
}

const NOT_POISONED: &str = "no holder of this lock panics";

impl EdgeCertificate {
    /// Reads and checks a certificate (intermediate ones after it) and its key, both PEM.
    ///
    /// # Errors
    /// A file cannot be read or is no PEM, the key is another certificate's, or the certificate has expired.
    pub fn load(certificate_file: &Path, key_file: &Path) -> Result<Self, TlsError> {
        let loaded = read(certificate_file, key_file)?;
        let (certificate_file, key_file) = (certificate_file.to_owned(), key_file.to_owned());
        Ok(Self(Arc::new(Shared { certificate_file, key_file, loaded: RwLock::new(loaded) })))
    }

    /// Reads the files again whenever they change, as long as somebody holds the certificate. New connections see the new
    /// one; those that are open live on. Files that are wrong are reported and the old ones stay in force.
    pub async fn keep_current(self) {
        let shared = Arc::downgrade(&self.0);
        drop(self);
        keep_current(shared).await;
    }

    /// The server's part of a handshake.
    ///
    /// # Errors
    /// When the other end speaks no TLS, or none that is spoken here.
    pub async fn accept<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
    ) -> std::io::Result<TlsStream<S>> {
        let server = Arc::clone(&self.0.loaded.read().expect(NOT_POISONED).server);
        TlsAcceptor::from(server).accept(stream).await
    }
}

impl Reload for Shared {
    fn look(&self) -> Result<bool, TlsError> {
        if stamp(&[&self.certificate_file, &self.key_file]) == self.loaded.read().expect(NOT_POISONED).stamp {
            return Ok(false);
        }
        let loaded = read(&self.certificate_file, &self.key_file)?;
        *self.loaded.write().expect(NOT_POISONED) = loaded;
        Ok(true)
    }
}

fn read(certificate_file: &Path, key_file: &Path) -> Result<Loaded, TlsError> {
    // Taken first: what changes while it is read is read once more.
    let stamp = stamp(&[certificate_file, key_file]);
    let chain = certificates(certificate_file, "tls_certificate_file")?;
    let private = key(key_file, "tls_key_file")?;
    let shown = certificate_file.display();
    let own = chain.first().expect("a file without certificates was refused");
    check_times(own).map_err(|what| wrong(format!("the certificate in {shown} {what}")))?;
    let misfit = |error: rustls::Error| {
        wrong(format!(
            "tls_key_file {} does not fit tls_certificate_file {shown} ({error}): give the key that the certificate was \
             made for",
            key_file.display()
        ))
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut server = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(VERSIONS)
        .map_err(misfit)?
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .map_err(misfit)?;
    server.alpn_protocols = vec![PROTOCOL.to_vec()];
    Ok(Loaded { server: Arc::new(server), stamp })
}

/// Whether a certificate is of this time. Who issued it is for browsers to judge: it is verified as if it were its own
/// authority, for the times alone.
fn check_times(certificate: &rustls::pki_types::CertificateDer<'_>) -> Result<(), String> {
    let Ok(parsed) = webpki::EndEntityCert::try_from(certificate) else {
        return Err("cannot be read: give a certificate of version 3 in PEM".to_owned());
    };
    let algorithms = rustls::crypto::ring::default_provider().signature_verification_algorithms;
    let usage = webpki::KeyUsage::server_auth();
    let judged = parsed.verify_for_usage(algorithms.all, &[], &[], UnixTime::now(), usage, None, None);
    match judged {
        Err(webpki::Error::CertExpired { .. }) => Err("has expired: get a new one".to_owned()),
        Err(webpki::Error::CertNotValidYet { .. }) => {
            Err("is not valid yet: is this machine's clock right?".to_owned())
        }
        _ => Ok(()),
    }
}
