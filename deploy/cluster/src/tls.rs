//! The certificates of a local cluster: its own authority, one certificate a process, one for the operator.
//!
//! Made once, under `<data-dir>/tls`, keys readable by their owner alone. A cluster that has them uses them at every start.
//! The authority's key lies beside them, so that a newcomer gets a certificate too: fine on one machine, and the reason why
//! a cluster over several has its certificates made elsewhere.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use quorate_tls::{Files, Role};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

use crate::error::{Attempt, Result};
use crate::layout::write_atomically;

/// Certificates of a cluster on one machine end with their data directory; nobody is there to renew them.
const YEARS: i32 = 10;
const SECONDS_PER_YEAR: u64 = 31_556_952;

/// The gateways' certificate for browsers.
const EDGE: &str = "edge";
/// The balancer's certificate for browsers, its key in the same file: HAProxy wants it so.
const BALANCER: &str = "balancer";
/// How browsers call this machine.
const LOCAL_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// Where the certificates that browsers see are.
#[derive(Debug, Clone)]
pub struct Edge {
    /// Whom to trust.
    pub ca_file: PathBuf,
    /// The gateways'.
    pub gateway_cert_file: PathBuf,
    /// The key of that.
    pub gateway_key_file: PathBuf,
    /// The balancer's, with its key.
    pub balancer_file: PathBuf,
}

/// An authority in a folder: `ca.pem`, `ca.key`, and what it issued.
#[derive(Debug, Clone)]
pub struct Authority {
    dir: PathBuf,
}

/// When a certificate is valid, in whole years.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// From the first day of this year.
    pub from_year: i32,
    /// To the first day of this year.
    pub to_year: i32,
}

impl Validity {
    /// From last year on: clocks differ.
    ///
    /// # Panics
    /// Never: no clock shows a year beyond `i32`.
    pub fn usual() -> Self {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let year = 1970 + i32::try_from(since.as_secs() / SECONDS_PER_YEAR).expect("years fit");
        Self { from_year: year - 1, to_year: year + YEARS }
    }
}

impl Authority {
    /// The authority in a folder, made if there is none.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn open(dir: impl Into<PathBuf>) -> Result<Self> {
        let own = Self { dir: dir.into() };
        if own.ca_file().exists() {
            return Ok(own);
        }
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&own.dir);
        made.attempt(|| format!("create {}", own.dir.display()))?;
        let key = KeyPair::generate().attempt(|| "make a key".to_owned())?;
        let certificate = authority_params().self_signed(&key).attempt(|| "sign a certificate".to_owned())?;
        write_atomically(&own.ca_key(), key.serialize_pem().as_bytes())?;
        write_atomically(&own.ca_file(), certificate.pem().as_bytes())?;
        Ok(own)
    }

    /// The authority's certificate.
    pub fn ca_file(&self) -> PathBuf {
        self.dir.join("ca.pem")
    }

    fn ca_key(&self) -> PathBuf {
        self.dir.join("ca.key")
    }

    /// The files of a process, issued if there are none.
    ///
    /// # Errors
    /// When the folder cannot be written or the authority's key not be read.
    pub fn files(&self, process: &str, role: Role) -> Result<Files> {
        let files = self.places(process);
        if !files.cert_file.exists() {
            self.issue(process, &[role.name()], Validity::usual())?;
        }
        Ok(files)
    }

    /// The certificate that gateways show to browsers, and one in a single file with its key for the balancer; issued if
    /// there are none. Both are for this machine's own names.
    ///
    /// # Errors
    /// As [`Self::files`].
    pub fn edge(&self) -> Result<Edge> {
        let (edge, balancer) = (self.places(EDGE), self.places(BALANCER));
        if !edge.cert_file.exists() {
            let files = self.issue(BALANCER, &LOCAL_NAMES, Validity::usual())?;
            let read = |path: &Path| fs::read(path).attempt(|| format!("read {}", path.display()));
            let both = [read(&files.cert_file)?, read(&files.key_file)?].concat();
            write_atomically(&files.cert_file, &both)?;
            self.issue(EDGE, &LOCAL_NAMES, Validity::usual())?;
        }
        Ok(Edge {
            ca_file: edge.ca_file,
            gateway_cert_file: edge.cert_file,
            gateway_key_file: edge.key_file,
            balancer_file: balancer.cert_file,
        })
    }

    /// Where the files of a process are.
    pub fn places(&self, process: &str) -> Files {
        Files {
            ca_file: self.ca_file(),
            cert_file: self.dir.join(format!("{process}.pem")),
            key_file: self.dir.join(format!("{process}.key")),
        }
    }

    /// Issues a certificate with these DNS names, over the one that was there.
    ///
    /// # Errors
    /// As [`Self::files`].
    pub fn issue(&self, process: &str, names: &[&str], validity: Validity) -> Result<Files> {
        let text =
            fs::read_to_string(self.ca_key()).attempt(|| format!("read {}", self.ca_key().display()))?;
        let authority_key =
            KeyPair::from_pem(&text).attempt(|| format!("use {}", self.ca_key().display()))?;
        let issuer = Issuer::new(authority_params(), authority_key);
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).attempt(|| "name a certificate".to_owned())?;
        params.distinguished_name.push(DnType::CommonName, process);
        params.not_before = date_time_ymd(validity.from_year, 1, 1);
        params.not_after = date_time_ymd(validity.to_year, 1, 1);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        // Replicas both call and are called.
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate().attempt(|| "make a key".to_owned())?;
        let certificate = params.signed_by(&key, &issuer).attempt(|| "sign a certificate".to_owned())?;
        let files = self.places(process);
        // The key first: a certificate that is there has its key.
        write_atomically(&files.key_file, key.serialize_pem().as_bytes())?;
        write_atomically(&files.cert_file, certificate.pem().as_bytes())?;
        Ok(files)
    }
}

/// The same every time: what is issued names its issuer by this.
fn authority_params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "Quorate local authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    let usual = Validity::usual();
    params.not_before = date_time_ymd(usual.from_year, 1, 1);
    params.not_after = date_time_ymd(usual.to_year, 1, 1);
    params
}

/// Whether a cluster has certificates.
pub(crate) fn has_certificates(dir: &Path) -> bool {
    dir.join("ca.pem").exists()
}

/// Whether browsers come to a cluster by TLS.
pub(crate) fn has_edge(dir: &Path) -> bool {
    dir.join(format!("{EDGE}.pem")).exists()
}

/// A client's side of TLS that trusts one authority: for health checks and tests.
///
/// # Errors
/// When the file cannot be read or holds none.
pub fn trusting(ca_file: &Path) -> Result<Arc<ClientConfig>> {
    let what = || format!("use {}", ca_file.display());
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(ca_file).attempt(what)? {
        roots.add(certificate.attempt(what)?).attempt(what)?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    Ok(Arc::new(config.attempt(what)?.with_root_certificates(roots).with_no_client_auth()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use quorate_tls::Credentials;

    use super::*;

    #[test]
    fn issued_certificates_are_accepted_and_their_keys_are_the_owners_alone() {
        let dir = tempfile::tempdir().unwrap();
        let authority = Authority::open(dir.path()).unwrap();
        let files = authority.files("replica-1", Role::Replica).unwrap();
        Credentials::load(&files, &[Role::Replica]).unwrap();
        // A second look at the same folder issues with the same authority.
        let again = Authority::open(dir.path()).unwrap();
        Credentials::load(&again.files("gateway", Role::Gateway).unwrap(), &[Role::Gateway]).unwrap();
        for entry in fs::read_dir(dir.path()).unwrap() {
            assert_eq!(entry.unwrap().metadata().unwrap().permissions().mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn what_is_wrong_with_certificate_files_is_one_line_that_says_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let authority = Authority::open(dir.path().join("own")).unwrap();
        let good = authority.files("replica-1", Role::Replica).unwrap();
        let other = Authority::open(dir.path().join("other")).unwrap();
        let strange = other.files("replica-1", Role::Replica).unwrap();
        let text = dir.path().join("text");
        fs::write(&text, "not PEM").unwrap();
        let old = Validity { from_year: 2019, to_year: 2020 };
        let future = Validity { from_year: 2200, to_year: 2201 };
        let cases = [
            (Files { ca_file: dir.path().join("none"), ..good.clone() }, "cannot read ca_file"),
            (Files { cert_file: dir.path().join("none"), ..good.clone() }, "cannot read cert_file"),
            (Files { key_file: dir.path().join("none"), ..good.clone() }, "cannot read key_file"),
            (Files { cert_file: text.clone(), ..good.clone() }, "no certificate in PEM"),
            (Files { key_file: text, ..good.clone() }, "no private key in PEM"),
            (Files { key_file: strange.key_file.clone(), ..good.clone() }, "does not fit"),
            (Files { ca_file: good.ca_file.clone(), ..strange }, "not issued by the authority"),
            (authority.issue("old", &[Role::Replica.name()], old).unwrap(), "has expired"),
            (authority.issue("future", &[Role::Replica.name()], future).unwrap(), "not valid yet"),
            (authority.files("gateway", Role::Gateway).unwrap(), "does not carry the name replica.quorate"),
        ];
        for (files, expected) in cases {
            let error = Credentials::load(&files, &[Role::Replica]).unwrap_err().to_string();
            assert!(error.contains(expected) && !error.contains('\n'), "{expected}: {error}");
        }
    }
}
