//! One connection to a gateway, with TLS where the address asks for it.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::Address;
use crate::failure::{Failure, Result};

/// Bytes both ways, over TLS or not.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// See the module. Clones share what is trusted.
#[derive(Clone)]
pub struct Dial {
    /// Where to.
    pub address: Address,
    /// The authority that was named for it.
    pub ca_file: Option<PathBuf>,
    tls: Option<Arc<ClientConfig>>,
}

impl fmt::Debug for Dial {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.debug_struct("Dial").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Dial {
    /// To that address. Over TLS the authorities of `ca_file` (PEM) are trusted, or those of the machine without one.
    ///
    /// # Errors
    /// When the file cannot be read or has no certificate, or the machine has no authorities.
    pub fn new(address: Address, ca_file: Option<&Path>) -> Result<Self> {
        let tls = if address.tls { Some(Arc::new(config(ca_file)?)) } else { None };
        // It is kept with the session, for runs in other folders.
        let ca_file = ca_file.map(|path| std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf()));
        Ok(Self { address, ca_file, tls })
    }

    /// Opens a connection. The caller has the clock.
    pub(super) async fn connect(&self) -> io::Result<Box<dyn Stream>> {
        let stream = TcpStream::connect((self.address.host.as_str(), self.address.port)).await?;
        stream.set_nodelay(true)?;
        let Some(tls) = &self.tls else { return Ok(Box::new(stream)) };
        let name = ServerName::try_from(self.address.host.clone()).map_err(io::Error::other)?;
        Ok(Box::new(TlsConnector::from(Arc::clone(tls)).connect(name, stream).await?))
    }
}

fn config(ca_file: Option<&Path>) -> Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    match ca_file {
        Some(path) => {
            let unreadable = |error: &dyn fmt::Display| {
                Failure::usage(format!(
                    "--ca-file {}: {error}. Name a PEM file with the certificate of the authority.",
                    path.display()
                ))
            };
            for certificate in CertificateDer::pem_file_iter(path).map_err(|error| unreadable(&error))? {
                let certificate = certificate.map_err(|error| unreadable(&error))?;
                roots.add(certificate).map_err(|error| unreadable(&error))?;
            }
            if roots.is_empty() {
                return Err(unreadable(&"it has no certificate"));
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if roots.is_empty() {
                return Err(Failure::usage(
                    "This machine trusts no certificate authority: install its ca-certificates, or name one with \
                     --ca-file.",
                ));
            }
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Failure::refused(format!("TLS cannot be used here: {error}.")))?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_no_certificate_is_named() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("ca.pem");
        let address = Address::parse("https://chat.example.org").expect("good");
        let missing = Dial::new(address.clone(), Some(&path)).expect_err("there is none");
        assert!(missing.message.contains("ca.pem"), "{missing}");
        std::fs::write(&path, "no certificate\n").expect("written");
        let empty = Dial::new(address, Some(&path)).expect_err("it has none");
        assert!(empty.message.contains("no certificate") && empty.why.code() == 2, "{empty}");
        // Without TLS nothing is trusted, so nothing is read.
        let plain = Address::parse("http://localhost:1").expect("good");
        assert!(Dial::new(plain, Some(&path)).is_ok());
    }
}
