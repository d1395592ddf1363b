//! One process's certificate, key and authority: read, checked, and read again when the files change.

use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};

use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use serde::{Deserialize, Serialize};

use crate::reload::{self, Reload, Stamp, stamp};
use crate::role::Role;

/// HTTP/2, which gRPC is, and nothing else.
const PROTOCOL: &[u8] = b"h2";
/// Both ends are of this cluster: nobody needs anything older.
const VERSIONS: &[&rustls::SupportedProtocolVersion] = &[&rustls::version::TLS13];

/// Where a process finds what it proves itself with: the table `[tls]` of a configuration. PEM all three.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Files {
    /// The authority, or several while one follows another, that every certificate must come from.
    pub ca_file: PathBuf,
    /// This process's certificate, intermediate ones after it.
    pub cert_file: PathBuf,
    /// The private key of that certificate.
    pub key_file: PathBuf,
}

/// What is wrong with certificate files: one line that says what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TlsError(String);

pub(crate) fn wrong(text: String) -> TlsError {
    TlsError(text)
}

/// The certificate and key in force. Clones share them, and see them replaced.
#[derive(Debug, Clone)]
pub struct Credentials(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    files: Files,
    roles: &'static [Role],
    loaded: RwLock<Loaded>,
}

#[derive(Debug, Clone)]
struct Loaded {
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
    stamp: Stamp,
}

const NOT_POISONED: &str = "no holder of this lock panics";

impl Credentials {
    /// Reads and checks the files of a process that has one of these roles.
    ///
    /// # Errors
    /// A file cannot be read or is no PEM, the key is another certificate's, the certificate has expired, was not issued
    /// by the authority, or does not carry the role's name.
    pub fn load(files: &Files, roles: &'static [Role]) -> Result<Self, TlsError> {
        let loaded = read(files, roles)?;
        Ok(Self(Arc::new(Shared { files: files.clone(), roles, loaded: RwLock::new(loaded) })))
    }

    /// Reads the files again whenever they change, as long as somebody holds the credentials. New connections use the new
    /// ones; those that are open live on. Files that are wrong are reported and the old ones stay in force.
    pub async fn keep_current(&self) {
        reload::keep_current(Arc::downgrade(&self.0)).await;
    }

    /// Where they come from.
    pub fn files(&self) -> &Files {
        &self.0.files
    }

    pub(crate) fn server(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.0.loaded.read().expect(NOT_POISONED).server)
    }

    pub(crate) fn client(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.0.loaded.read().expect(NOT_POISONED).client)
    }
}

impl Reload for Shared {
    fn look(&self) -> Result<bool, TlsError> {
        if written(&self.files) == self.loaded.read().expect(NOT_POISONED).stamp {
            return Ok(false);
        }
        let loaded = read(&self.files, self.roles)?;
        *self.loaded.write().expect(NOT_POISONED) = loaded;
        Ok(true)
    }
}

fn written(files: &Files) -> Stamp {
    stamp(&[&files.ca_file, &files.cert_file, &files.key_file])
}

pub(crate) fn certificates(path: &Path, what: &str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let shown = path.display();
    let text = std::fs::read(path)
        .map_err(|error| wrong(format!("cannot read {what} {shown}: {error}; name a readable PEM file")))?;
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    match read {
        Ok(found) if !found.is_empty() => Ok(found),
        _ => Err(wrong(format!(
            "{what} {shown} holds no certificate in PEM: give one that begins with -----BEGIN"
        ))),
    }
}

pub(crate) fn key(path: &Path, what: &str) -> Result<PrivateKeyDer<'static>, TlsError> {
    let shown = path.display();
    let text = std::fs::read(path)
        .map_err(|error| wrong(format!("cannot read {what} {shown}: {error}; name a readable PEM file")))?;
    PrivateKeyDer::from_pem_slice(&text)
        .map_err(|_| wrong(format!("{what} {shown} holds no private key in PEM: give the certificate's own")))
}

fn read(files: &Files, roles: &[Role]) -> Result<Loaded, TlsError> {
    // Taken first: what changes while it is read is read once more.
    let stamp = written(files);
    let authorities = certificates(&files.ca_file, "ca_file")?;
    let chain = certificates(&files.cert_file, "cert_file")?;
    let private = key(&files.key_file, "key_file")?;
    check(files, roles, &authorities, &chain)?;

    let mut roots = RootCertStore::empty();
    for authority in authorities {
        roots.add(authority).map_err(|error| {
            wrong(format!("ca_file {} holds no usable authority: {error}", files.ca_file.display()))
        })?;
    }
    let roots = Arc::new(roots);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&provider))
        .build()
        .map_err(|error| wrong(format!("ca_file {}: {error}", files.ca_file.display())))?;
    let misfit = |error: rustls::Error| {
        wrong(format!(
            "key_file {} does not fit cert_file {} ({error}): give the key that the certificate was made for",
            files.key_file.display(),
            files.cert_file.display()
        ))
    };
    let mut server = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(VERSIONS)
        .map_err(misfit)?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain.clone(), private.clone_key())
        .map_err(misfit)?;
    server.alpn_protocols = vec![PROTOCOL.to_vec()];
    // Every connection shows its certificate anew, so that a replaced authority is in force for all new ones.
    server.session_storage = Arc::new(NoServerSessionStorage {});
    server.send_tls13_tickets = 0;
    let mut client = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(VERSIONS)
        .map_err(misfit)?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, private)
        .map_err(misfit)?;
    client.alpn_protocols = vec![PROTOCOL.to_vec()];
    client.resumption = Resumption::disabled();
    Ok(Loaded { server: Arc::new(server), client: Arc::new(client), stamp })
}

/// The checks that the other side would make, made here, where somebody can mend what is wrong.
fn check(
    files: &Files,
    roles: &[Role],
    authorities: &[CertificateDer<'_>],
    chain: &[CertificateDer<'_>],
) -> Result<(), TlsError> {
    let shown = files.cert_file.display();
    let (own, between) = chain.split_first().expect("a file without certificates was refused");
    let bad = |error: webpki::Error| {
        wrong(format!("cert_file {shown} holds a certificate that cannot be read: {error}"))
    };
    let parsed = webpki::EndEntityCert::try_from(own).map_err(bad)?;
    let anchors: Result<Vec<_>, _> = authorities.iter().map(webpki::anchor_from_trusted_cert).collect();
    let anchors = anchors.map_err(|error| {
        wrong(format!("ca_file {} holds no usable authority: {error}", files.ca_file.display()))
    })?;
    let algorithms = rustls::crypto::ring::default_provider().signature_verification_algorithms;
    let usage = webpki::KeyUsage::client_auth();
    let verified =
        parsed.verify_for_usage(algorithms.all, &anchors, between, UnixTime::now(), usage, None, None);
    match verified {
        Ok(_) => {}
        Err(webpki::Error::CertExpired { .. }) => {
            return Err(wrong(format!(
                "the certificate in {shown} (or its authority's) has expired: issue a new one"
            )));
        }
        Err(webpki::Error::CertNotValidYet { .. }) => {
            return Err(wrong(format!(
                "the certificate in {shown} is not valid yet: is this machine's clock right?"
            )));
        }
        // The second where another authority has the same name.
        Err(webpki::Error::UnknownIssuer | webpki::Error::InvalidSignatureForPublicKey) => {
            return Err(wrong(format!(
                "the certificate in {shown} was not issued by the authority in {}: use certificates of one authority",
                files.ca_file.display()
            )));
        }
        Err(error) => return Err(bad(error)),
    }
    let carried = Role::of(own);
    if !carried.iter().any(|role| roles.contains(role)) {
        let names = |roles: &[Role]| roles.iter().map(|role| role.name()).collect::<Vec<_>>().join(" or ");
        return Err(wrong(format!(
            "the certificate in {shown} does not carry the name {} that this process needs (it has {}): issue one with \
             that DNS name",
            names(roles),
            if carried.is_empty() { "no role".to_owned() } else { names(&carried) }
        )));
    }
    Ok(())
}
