//! Configuration: one TOML file for all replicas, flags and environment over it, checked before anything starts.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::Args;
use quorate_tls::{Credentials, Files, Role};
use serde::{Deserialize, Serialize};

use crate::machine;

/// Where the kernel says which boot this is.
const BOOT_ID_FILE: &str = "/proc/sys/kernel/random/boot_id";
/// Default free space below which writes are refused: four files of the log, or one snapshot of a middling state.
const STORAGE_RESERVE_BYTES: u64 = 256 * 1024 * 1024;
/// Default growth of the log between two snapshots: some hundred thousand messages, read again in seconds.
const SNAPSHOT_LOG_BYTES: u64 = 256 * 1024 * 1024;
/// Default number of entries kept behind a snapshot: one or two seconds of full load.
const LOG_ENTRIES_KEPT: u64 = 10_000;
/// More threads than any machine has cores are a slip of the keyboard.
const WORKER_THREADS_MAX: usize = 1_024;
/// Default interval of a leader's heartbeats.
const HEARTBEAT_INTERVAL_MS: u64 = 60;
/// Default bounds of the random wait before an election. openraft waits out the leader's lease (the upper bound) first, then
/// a random time within them: measured here, a killed leader is replaced after 0.53–0.71 s with 200–350, 0.86–1.06 s with
/// 300–600; with 200–350 an election was seen under 1,024 writers and a build on the same two cores.
const ELECTION_TIMEOUT_MIN_MS: u64 = 250;
const ELECTION_TIMEOUT_MAX_MS: u64 = 400;

/// Flags and environment variables of `replica run`. Each overrides the file's key of the same name.
#[derive(Debug, Clone, Default, Args)]
pub struct Flags {
    /// Configuration file (TOML)
    #[arg(long, env = "QUORATE_REPLICA_CONFIG")]
    pub config: Option<PathBuf>,
    /// This replica's id, one of those listed under [[replicas]]
    #[arg(long, env = "QUORATE_REPLICA_ID")]
    pub id: Option<u64>,
    /// Cluster id: every process of one cluster has the same
    #[arg(long, env = "QUORATE_REPLICA_CLUSTER")]
    pub cluster: Option<String>,
    /// Directory for everything this replica keeps
    #[arg(long, env = "QUORATE_REPLICA_DATA_DIR")]
    pub data_dir: Option<PathBuf>,
    /// gRPC address to listen on; default: this replica's own under [[replicas]]
    #[arg(long, env = "QUORATE_REPLICA_LISTEN")]
    pub listen: Option<SocketAddr>,
    /// HTTP address for /healthz, /readyz and /metrics; default: none
    #[arg(long, env = "QUORATE_REPLICA_HTTP_LISTEN")]
    pub http_listen: Option<SocketAddr>,
    /// File with at least 32 random bytes, the same on every replica
    #[arg(long, env = "QUORATE_REPLICA_CLUSTER_SECRET_FILE")]
    pub cluster_secret_file: Option<PathBuf>,
    /// Join a running cluster: form none, wait until `replica member add` adds this replica
    #[arg(long, env = "QUORATE_REPLICA_JOIN")]
    pub join: bool,
    /// Highest machine version to support; default: the highest that this program knows. Lower it to run as the version before
    #[arg(long, env = "QUORATE_REPLICA_MACHINE_VERSION_MAX")]
    pub machine_version_max: Option<u32>,
    /// Certificates and key of this replica; over the keys of [tls]
    #[command(flatten)]
    pub tls: TlsFlags,
    /// Print the effective configuration and exit
    #[arg(long)]
    pub print_config: bool,
    /// Log as JSON, one object a line
    #[arg(long, env = "QUORATE_REPLICA_JSON_LOGS")]
    pub json_logs: bool,
}

/// The table `[tls]`, and the flags over it: all three files, or none for plain gRPC on loopback.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsFlags {
    /// Authority of every certificate in this cluster (PEM)
    #[arg(long = "tls-ca-file", env = "QUORATE_REPLICA_TLS_CA_FILE")]
    ca_file: Option<PathBuf>,
    /// This process's certificate (PEM): DNS name replica.quorate, or operator.quorate for an operator's commands
    #[arg(long = "tls-cert-file", env = "QUORATE_REPLICA_TLS_CERT_FILE")]
    cert_file: Option<PathBuf>,
    /// The private key of that certificate (PEM)
    #[arg(long = "tls-key-file", env = "QUORATE_REPLICA_TLS_KEY_FILE")]
    key_file: Option<PathBuf>,
}

impl TlsFlags {
    /// The credentials that flags and file together name; the flags win.
    ///
    /// # Errors
    /// One line: one of the three is missing, or see [`Credentials::load`].
    pub fn over(self, file: Option<Self>, roles: &'static [Role]) -> Result<Option<Credentials>, String> {
        let file = file.unwrap_or_default();
        let (ca, cert) = (self.ca_file.or(file.ca_file), self.cert_file.or(file.cert_file));
        let files = match (ca, cert, self.key_file.or(file.key_file)) {
            (None, None, None) => return Ok(None),
            (Some(ca_file), Some(cert_file), Some(key_file)) => Files { ca_file, cert_file, key_file },
            _ => return Err("[tls] needs ca_file, cert_file and key_file, or none of them".to_owned()),
        };
        Credentials::load(&files, roles).map(Some).map_err(|error| error.to_string())
    }
}

/// How signing keys follow each other. The same for all replicas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyTimes {
    /// How long a key signs.
    pub period_ms: u64,
    /// How long it is published before: gateways read the keys more often than that.
    pub publish_ms: u64,
    /// How long it is kept after: longer than an access token lives.
    pub keep_ms: u64,
}

impl Default for KeyTimes {
    fn default() -> Self {
        Self { period_ms: 24 * 3_600_000, publish_ms: 15 * 60_000, keep_ms: 20 * 60_000 }
    }
}

/// The table `[signing_keys]`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeySeconds {
    period_s: Option<u64>,
    publish_s: Option<u64>,
    keep_s: Option<u64>,
}

impl KeySeconds {
    fn of(times: KeyTimes) -> Self {
        let seconds = |ms: u64| Some(ms / 1_000);
        let KeyTimes { period_ms, publish_ms, keep_ms } = times;
        Self { period_s: seconds(period_ms), publish_s: seconds(publish_ms), keep_s: seconds(keep_ms) }
    }

    fn times(self) -> KeyTimes {
        let default = KeyTimes::default();
        let ms = |seconds: Option<u64>, ms| seconds.map_or(ms, |seconds| seconds.saturating_mul(1_000));
        KeyTimes {
            period_ms: ms(self.period_s, default.period_ms),
            publish_ms: ms(self.publish_s, default.publish_ms),
            keep_ms: ms(self.keep_s, default.keep_ms),
        }
    }
}

/// One replica of the first membership.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Replica {
    /// From 1; never reused for another disk.
    pub id: u64,
    /// host:port that the others and the gateways call.
    pub address: String,
}

/// The file.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileConfig {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data_dir: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    listen: Option<SocketAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    http_listen: Option<SocketAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster_secret_file: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    boot_id_file: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    clock_offset_ms: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    storage_reserve_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    snapshot_log_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    log_entries_kept: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    heartbeat_interval_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    election_timeout_min_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    election_timeout_max_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    worker_threads: Option<usize>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    join: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    machine_version_max: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    export_direct: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signing_keys: Option<KeySeconds>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls: Option<TlsFlags>,
    #[serde(default)]
    replicas: Vec<Replica>,
}

/// The effective configuration.
#[derive(Debug, Clone)]
pub struct Settings {
    /// This replica.
    pub id: u64,
    /// Cluster id.
    pub cluster: String,
    /// Everything it keeps.
    pub data_dir: PathBuf,
    /// gRPC.
    pub listen: SocketAddr,
    /// Plain HTTP, if any.
    pub http_listen: Option<SocketAddr>,
    /// The secret that wraps signing keys.
    pub cluster_secret_file: PathBuf,
    /// The kernel's boot id.
    pub boot_id_file: PathBuf,
    /// Added to this machine's clock: for tests of wrong clocks.
    pub clock_offset_ms: i64,
    /// Writes are refused while a disk has less free space than this.
    pub storage_reserve_bytes: u64,
    /// A snapshot is taken when the log has grown by this much since the last, or by the last one's size if that is more.
    pub snapshot_log_bytes: u64,
    /// Entries kept behind a snapshot for followers that are a little late.
    pub log_entries_kept: u64,
    /// Interval of a leader's heartbeats.
    pub heartbeat_interval_ms: u64,
    /// Shortest wait before an election.
    pub election_timeout_min_ms: u64,
    /// Longest wait before an election.
    pub election_timeout_max_ms: u64,
    /// Threads that serve; `None` for as many as there are cores. What writes log, checkpoint and search index has its own.
    pub worker_threads: Option<usize>,
    /// Whether this replica waits to be added to a running cluster.
    pub join: bool,
    /// Highest machine version that this replica supports.
    pub machine_version_max: u32,
    /// Whether admins may export direct conversations. The same for all replicas.
    pub export_direct: bool,
    /// How signing keys follow each other.
    pub key_times: KeyTimes,
    /// What this replica proves itself with, if anything.
    pub tls: Option<Credentials>,
    /// The first membership: id → address. A replica that joins asks these for the cluster.
    pub replicas: BTreeMap<u64, String>,
}

impl Settings {
    /// Reads the file, lays flags over it and checks the whole.
    ///
    /// # Errors
    /// One line that says what is wrong and what to do.
    pub fn load(flags: &Flags) -> Result<Self, String> {
        let file = match &flags.config {
            Some(path) => read_file(path)?,
            None => FileConfig::default(),
        };
        let need = |what: &str| format!("{what} is not set: give it as a flag or in the configuration file");
        let id = flags.id.or(file.id).ok_or_else(|| need("--id"))?;
        let cluster = flags.cluster.clone().or(file.cluster).ok_or_else(|| need("--cluster"))?;
        let data_dir = flags.data_dir.clone().or(file.data_dir).ok_or_else(|| need("--data-dir"))?;
        let secret = flags.cluster_secret_file.clone().or(file.cluster_secret_file);
        let mut replicas = BTreeMap::new();
        for replica in file.replicas {
            if replicas.insert(replica.id, replica.address).is_some() {
                return Err(format!("[[replicas]] lists id {} twice: every replica has its own", replica.id));
            }
        }
        let join = flags.join || file.join;
        let own = replicas.get(&id);
        if own.is_none() && !join {
            return Err(format!(
                "replica {id} is not listed under [[replicas]]: use one of {:?}, or --join to add it to a running cluster",
                replicas.keys()
            ));
        }
        let listen = match (flags.listen.or(file.listen), own) {
            (Some(listen), _) => listen,
            (None, None) => return Err(need("--listen")),
            (None, Some(own)) => own.parse().map_err(|_| {
                format!("address {own:?} of replica {id} is no ip:port to listen on: set --listen as well")
            })?,
        };
        let settings = Self {
            id,
            cluster,
            data_dir,
            listen,
            http_listen: flags.http_listen.or(file.http_listen),
            cluster_secret_file: secret.ok_or_else(|| need("--cluster-secret-file"))?,
            boot_id_file: file.boot_id_file.unwrap_or_else(|| BOOT_ID_FILE.into()),
            clock_offset_ms: file.clock_offset_ms.unwrap_or(0),
            storage_reserve_bytes: file.storage_reserve_bytes.unwrap_or(STORAGE_RESERVE_BYTES),
            snapshot_log_bytes: file.snapshot_log_bytes.unwrap_or(SNAPSHOT_LOG_BYTES),
            log_entries_kept: file.log_entries_kept.unwrap_or(LOG_ENTRIES_KEPT),
            heartbeat_interval_ms: file.heartbeat_interval_ms.unwrap_or(HEARTBEAT_INTERVAL_MS),
            election_timeout_min_ms: file.election_timeout_min_ms.unwrap_or(ELECTION_TIMEOUT_MIN_MS),
            election_timeout_max_ms: file.election_timeout_max_ms.unwrap_or(ELECTION_TIMEOUT_MAX_MS),
            worker_threads: file.worker_threads,
            join,
            machine_version_max: flags
                .machine_version_max
                .or(file.machine_version_max)
                .unwrap_or(machine::VERSION_MAX),
            export_direct: file.export_direct.unwrap_or(false),
            key_times: file.signing_keys.unwrap_or_default().times(),
            tls: flags.tls.clone().over(file.tls, &[Role::Replica])?,
            replicas,
        };
        settings.check()?;
        Ok(settings)
    }

    fn check(&self) -> Result<(), String> {
        if self.id == 0 || self.replicas.contains_key(&0) {
            return Err("replica ids begin at 1".to_owned());
        }
        if self.cluster.is_empty() || !self.cluster.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("the cluster id must be printable ASCII without spaces".to_owned());
        }
        if self.tls.is_none() && !self.listen.ip().is_loopback() {
            return Err(format!(
                "gRPC without certificates listens on loopback only, and {} is not: use 127.0.0.1, or give [tls]",
                self.listen
            ));
        }
        for (id, address) in &self.replicas {
            let port = address.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
            if port.is_none_or(|port| port == 0) {
                return Err(format!("address {address:?} of replica {id} is no host:port"));
            }
        }
        if !(1..=machine::VERSION_MAX).contains(&self.machine_version_max) {
            return Err(format!(
                "machine_version_max {} is none that this program knows: give 1 to {}",
                self.machine_version_max,
                machine::VERSION_MAX
            ));
        }
        if self.worker_threads.is_some_and(|threads| !(1..=WORKER_THREADS_MAX).contains(&threads)) {
            return Err(format!(
                "worker_threads is 1 to {WORKER_THREADS_MAX}: leave it out for as many as there are cores"
            ));
        }
        let KeyTimes { period_ms, publish_ms, keep_ms } = self.key_times;
        if publish_ms == 0 || keep_ms == 0 || publish_ms >= period_ms {
            return Err(format!(
                "[signing_keys] contradicts itself: publish_s {} and keep_s {} are above 0, and publish_s is below period_s {}",
                publish_ms / 1_000,
                keep_ms / 1_000,
                period_ms / 1_000
            ));
        }
        let mut addresses: Vec<&String> = self.replicas.values().collect();
        addresses.sort();
        if let Some(pair) = addresses.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(format!(
                "[[replicas]] lists the address {:?} twice: every replica has its own",
                pair[0]
            ));
        }
        let (min, max) = (self.election_timeout_min_ms, self.election_timeout_max_ms);
        if self.heartbeat_interval_ms == 0 || min >= max || self.heartbeat_interval_ms * 2 > min {
            return Err(format!(
                "the timers contradict each other: heartbeat_interval_ms {} must be at most half of \
                 election_timeout_min_ms {min}, which must be below election_timeout_max_ms {max}",
                self.heartbeat_interval_ms
            ));
        }
        Ok(())
    }

    /// What must be alike in replicas that form a cluster together: the first membership, and that they form one.
    pub fn digest(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&[u8::from(self.join)]);
        for (id, address) in &self.replicas {
            hasher.update(format!("{id} {address}\n").as_bytes());
        }
        hasher.finalize().to_hex()[..16].to_owned()
    }

    /// The effective configuration as a file.
    ///
    /// # Errors
    /// When a path is no UTF-8.
    pub fn to_toml(&self) -> Result<String, String> {
        let replicas = self.replicas.iter();
        let file = FileConfig {
            id: Some(self.id),
            cluster: Some(self.cluster.clone()),
            data_dir: Some(self.data_dir.clone()),
            listen: Some(self.listen),
            http_listen: self.http_listen,
            cluster_secret_file: Some(self.cluster_secret_file.clone()),
            boot_id_file: Some(self.boot_id_file.clone()),
            clock_offset_ms: Some(self.clock_offset_ms).filter(|offset| *offset != 0),
            storage_reserve_bytes: Some(self.storage_reserve_bytes),
            snapshot_log_bytes: Some(self.snapshot_log_bytes),
            log_entries_kept: Some(self.log_entries_kept),
            heartbeat_interval_ms: Some(self.heartbeat_interval_ms),
            election_timeout_min_ms: Some(self.election_timeout_min_ms),
            election_timeout_max_ms: Some(self.election_timeout_max_ms),
            worker_threads: self.worker_threads,
            join: self.join,
            machine_version_max: Some(self.machine_version_max),
            export_direct: Some(self.export_direct),
            signing_keys: Some(self.key_times)
                .filter(|times| *times != KeyTimes::default())
                .map(KeySeconds::of),
            tls: self.tls.as_ref().map(|tls| {
                let Files { ca_file, cert_file, key_file } = tls.files().clone();
                TlsFlags { ca_file: Some(ca_file), cert_file: Some(cert_file), key_file: Some(key_file) }
            }),
            replicas: replicas.map(|(id, address)| Replica { id: *id, address: address.clone() }).collect(),
        };
        toml::to_string(&file).map_err(|error| format!("cannot print the configuration: {error}"))
    }
}

/// The cluster id, the replicas' addresses and the certificates of a configuration file, for commands to a running cluster.
///
/// # Errors
/// One line that says what is wrong and what to do.
pub fn cluster_of(path: &Path) -> Result<(String, Vec<String>, Option<TlsFlags>), String> {
    let file = read_file(path)?;
    let name = path.display();
    let cluster =
        file.cluster.ok_or_else(|| format!("configuration {name} names no cluster: add --cluster"))?;
    Ok((cluster, file.replicas.into_iter().map(|replica| replica.address).collect(), file.tls))
}

fn read_file(path: &Path) -> Result<FileConfig, String> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("cannot read configuration {}: {error}", path.display()))?;
    toml::from_str(&text).map_err(|error| {
        let line = error.span().map_or(1, |span| text[..span.start.min(text.len())].lines().count().max(1));
        format!("configuration {}, line {line}: {}", path.display(), error.message().replace('\n', " "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<Settings, String> {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("replica.toml");
        std::fs::write(&path, text).expect("a file");
        Settings::load(&Flags { config: Some(path), ..Flags::default() })
    }

    const GOOD: &str = "id = 1\ncluster = \"c\"\ndata_dir = \"d\"\ncluster_secret_file = \"s\"\n\
        [[replicas]]\nid = 1\naddress = \"127.0.0.1:7101\"\n[[replicas]]\nid = 2\naddress = \"127.0.0.1:7102\"\n";

    #[test]
    fn a_good_file_prints_as_itself() {
        let settings = load(GOOD).expect("good");
        assert_eq!(settings.listen, "127.0.0.1:7101".parse().expect("an address"));
        let again = load(&settings.to_toml().expect("prints")).expect("good");
        assert_eq!(again.to_toml(), settings.to_toml());
    }

    #[test]
    fn direct_conversations_are_exported_only_where_the_file_says_so() {
        assert!(!load(GOOD).expect("good").export_direct);
        assert!(load(GOOD).expect("good").to_toml().expect("prints").contains("export_direct = false\n"));
        let settings = load(&format!("export_direct = true\n{GOOD}")).expect("good");
        assert!(settings.export_direct);
        assert!(load(&settings.to_toml().expect("prints")).expect("good").export_direct);
    }

    #[test]
    fn mistakes_are_one_line_that_says_what_to_do() {
        let cases = [
            (GOOD.replace("data_dir", "data_dri"), "data_dri"),
            (GOOD.replace("id = 1\ncluster", "id = 7\ncluster"), "not listed"),
            (GOOD.replace("id = 2", "id = 1"), "twice"),
            (GOOD.replace("127.0.0.1:7102", "nowhere"), "no host:port"),
            (GOOD.replace("127.0.0.1:7102", "127.0.0.1:7101"), "twice"),
            (GOOD.replace("127.0.0.1:7101", "10.0.0.1:7101"), "loopback"),
            (GOOD.replace("id = 1\ncluster", "id = 7\njoin = true\ncluster"), "--listen is not set"),
            (format!("heartbeat_interval_ms = 400\n{GOOD}"), "timers contradict"),
            (GOOD.replace("cluster = \"c\"\n", ""), "--cluster is not set"),
            (format!("machine_version_max = 99\n{GOOD}"), "machine_version_max 99"),
            (format!("worker_threads = 0\n{GOOD}"), "worker_threads is 1 to"),
            (format!("signing_keys = {{ period_s = 9, publish_s = 9 }}\n{GOOD}"), "publish_s is below"),
            ("][".to_owned(), "line 1"),
        ];
        for (text, expected) in cases {
            let error = load(&text).expect_err(expected);
            assert!(error.contains(expected) && !error.contains('\n'), "{error}");
        }
    }
}
