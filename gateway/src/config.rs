//! The configuration: one TOML file, checked as a whole before anything starts.
//!
//! Owns every setting with its default and the sentence that a wrong one earns. Must not know the command line.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use quorate_proto::limits::{
    FRAME_BYTES_MAX, HELLO_WAIT_MS, PING_INTERVAL_MS, PONG_WAIT_MS, SOCKETS_PER_USER_MAX, SessionLimits,
};
use quorate_tls::{Credentials, EdgeCertificate, Files, Role};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::network::Network;
use crate::{hooks, suggest};

/// Default of [`Config::sockets_max`]: at some 20 KiB a session this is about 400 MiB.
const SOCKETS_MAX: usize = 20_000;
/// Default of [`Config::drain_grace_ms`]: two health checks of a balancer that asks every second.
const DRAIN_GRACE_MS: u64 = 2_000;
/// Default of [`Config::drain_spread_ms`]: a thousand sessions move at one a millisecond.
const DRAIN_SPREAD_MS: u64 = 1_000;

/// Default of [`Config::strict_transport_seconds`]: two years, as Mozilla's guidelines have it.
const STRICT_TRANSPORT_SECONDS: u64 = 63_072_000;
/// Default of [`Config::strangers_per_address_max`]: more than a browser's six connections for each of forty people.
const STRANGERS_PER_ADDRESS_MAX: usize = 256;
/// Default of [`Config::account_calls_per_minute`]: some five hundred people behind one address, each of whose pages refreshes
/// every ten minutes; over three gateways all day and night it adds less than a fifth of the sign-ups that replicas remember.
const ACCOUNT_CALLS_PER_MINUTE: u32 = 60;
/// Default of [`Config::sessions_per_second`]: 2,000 sessions of a gateway that is gone are back on two others within 4 s,
/// and a core has half of its time left for those that are there.
const SESSIONS_PER_SECOND: u32 = 250;

/// What a gateway is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The cluster's id.
    pub cluster: String,
    /// This gateway's name.
    pub name: String,
    /// Address for HTTP and WebSocket.
    pub listen: SocketAddr,
    /// Exact allow-list of Origins; empty: only the Origin whose host and port are the request's own Host.
    pub origins: Vec<String>,
    /// Folder with the built page; without it `/` says how to build one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub page_dir: Option<PathBuf>,
    /// gRPC addresses of the replicas.
    pub replicas: Vec<String>,
    /// Marks the refresh cookie `Secure`.
    pub secure_cookies: bool,
    /// Password hashes computed at the same time; each takes 19 MiB and a core.
    pub argon2_concurrency: usize,
    /// After SIGTERM: accept for this long while `/readyz` says no, ms.
    pub drain_grace_ms: u64,
    /// After that: `drain` frames ask sessions to move within this span, ms.
    pub drain_spread_ms: u64,
    /// A socket says `hello` within this, ms.
    pub hello_wait_ms: u64,
    /// Interval of pings, ms.
    pub ping_interval_ms: u64,
    /// A ping is answered within this, ms.
    pub pong_wait_ms: u64,
    /// Sockets of this gateway; more are told `bye 4105`.
    pub sockets_max: usize,
    /// Sockets of one user on this gateway; 0 for no limit.
    pub sockets_per_user_max: usize,
    /// Connections of one address that have not said who they are: no request yet, or a socket without `hello`; 0 for no
    /// limit. An office behind one address signs in by and by, and what is signed in does not count.
    pub strangers_per_address_max: usize,
    /// Sign-ups, sign-ins, refreshes and changes of a password from one address in a minute, all at once if need be; 0 for no
    /// limit. What comes from a trusted balancer's own machine or network is not limited.
    pub account_calls_per_minute: u32,
    /// Balancers whose `X-Forwarded-For` is believed: addresses, or networks such as `10.0.0.0/8` where a balancer's address is not
    /// known beforehand. A connection from one of them that names nobody is not limited.
    pub trusted_balancers: Vec<Network>,
    /// One line in the log for each HTTP answer: method, route, status, ms, bytes, user id. Probes are left out.
    pub access_log: bool,
    /// This gateway's certificate (PEM, intermediate ones after it); with it the gateway speaks TLS and nothing else.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_certificate_file: Option<PathBuf>,
    /// The private key of that certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_key_file: Option<PathBuf>,
    /// Where browsers come by TLS they are told to ask for nothing else of this host and what is below it, for so long, s;
    /// 0: they are not told.
    pub strict_transport_seconds: u64,
    /// For conformance tests, on loopback only: `/debug/echo` gives back messages up to this long. 0: there is no such route.
    pub debug_echo_bytes_max: usize,
    /// For a demo, on loopback only: the file that says how to reach the runner of the processes. With it admins may hurt them at
    /// `/api/v1/admin/demo`, and the links that the runner prints sign people in at `/demo`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub demo_control_file: Option<PathBuf>,
    /// Sessions that begin in a second, twice as many at once; more are told `bye 4105` and when to come. 0 for no limit.
    pub sessions_per_second: u32,
    /// One command in this many is traced through gateway, leader and followers (spans in the logs); 0 for none.
    pub trace_one_in: u64,
    /// What clients must keep to.
    pub limits: SessionLimits,
    /// Suggestions of replies: who makes them.
    pub suggestions: suggest::Settings,
    /// Webhooks: where they may lead.
    #[serde(skip_serializing_if = "is_default")]
    pub hooks: hooks::Settings,
    /// Certificates toward the replicas (`ca_file`, `cert_file`, `key_file`; PEM); without them those are on loopback.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<Files>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            cluster: String::new(),
            name: String::new(),
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8101),
            origins: Vec::new(),
            page_dir: None,
            replicas: Vec::new(),
            secure_cookies: false,
            argon2_concurrency: 2,
            drain_grace_ms: DRAIN_GRACE_MS,
            drain_spread_ms: DRAIN_SPREAD_MS,
            hello_wait_ms: HELLO_WAIT_MS,
            ping_interval_ms: PING_INTERVAL_MS,
            pong_wait_ms: PONG_WAIT_MS,
            sockets_max: SOCKETS_MAX,
            sockets_per_user_max: SOCKETS_PER_USER_MAX,
            strangers_per_address_max: STRANGERS_PER_ADDRESS_MAX,
            account_calls_per_minute: ACCOUNT_CALLS_PER_MINUTE,
            trusted_balancers: Network::LOOPBACK.to_vec(),
            access_log: true,
            tls_certificate_file: None,
            tls_key_file: None,
            strict_transport_seconds: STRICT_TRANSPORT_SECONDS,
            debug_echo_bytes_max: 0,
            demo_control_file: None,
            sessions_per_second: SESSIONS_PER_SECOND,
            trace_one_in: 0,
            limits: SessionLimits::default(),
            suggestions: suggest::Settings::default(),
            hooks: hooks::Settings::default(),
            tls: None,
        }
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// What is wrong with a configuration, in one line that says what to do.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {path}: {error}; name a readable file with --config")]
    Read {
        /// Which file.
        path: String,
        /// What the system said.
        error: std::io::Error,
    },
    /// The file is not of the expected form.
    #[error("the configuration {path} is wrong: {what}")]
    Parse {
        /// Which file.
        path: String,
        /// What and where.
        what: String,
    },
    /// A setting is missing, impossible, or contradicts another.
    #[error("{0}")]
    Setting(String),
}

impl Config {
    /// Reads a file; the result is not yet checked.
    ///
    /// # Errors
    /// [`ConfigError::Read`] or [`ConfigError::Parse`].
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let shown = path.display().to_string();
        let text = std::fs::read_to_string(path)
            .map_err(|error| ConfigError::Read { path: shown.clone(), error })?;
        Self::parse(&text).map_err(|what| ConfigError::Parse { path: shown, what })
    }

    fn parse(text: &str) -> Result<Self, String> {
        let on_one_line = |error: toml::de::Error| {
            let line = error
                .span()
                .map(|span| 1 + text.bytes().take(span.start).filter(|byte| *byte == b'\n').count());
            let message = error.message().replace('\n', " ");
            match line {
                Some(line) => format!("line {line}: {message}"),
                None => message,
            }
        };
        // The shared type of the limits ignores what it does not know, as frames must; a file may not.
        let table: toml::Table = toml::from_str(text).map_err(on_one_line)?;
        let known = toml::Table::try_from(SessionLimits::default()).map_err(|error| error.to_string())?;
        if let Some(toml::Value::Table(limits)) = table.get("limits")
            && let Some(key) = limits.keys().find(|key| !known.contains_key(key.as_str()))
        {
            let names: Vec<&str> = known.keys().map(String::as_str).collect();
            return Err(format!("[limits] has no key `{key}`; it has {}", names.join(", ")));
        }
        toml::from_str(text).map_err(on_one_line)
    }

    /// The configuration as a file would say it.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("a Config holds only what TOML can say")
    }

    /// What this gateway proves itself with toward the replicas, if anything.
    ///
    /// # Errors
    /// [`ConfigError::Setting`] when the files are wrong.
    pub fn credentials(&self) -> Result<Option<Credentials>, ConfigError> {
        let load = |files| Credentials::load(files, &[Role::Gateway]);
        self.tls.as_ref().map(load).transpose().map_err(|error| ConfigError::Setting(error.to_string()))
    }

    /// What this gateway shows to browsers, if it ends TLS itself.
    ///
    /// # Errors
    /// [`ConfigError::Setting`] when the files are wrong or one of them is missing.
    pub fn certificate(&self) -> Result<Option<EdgeCertificate>, ConfigError> {
        match (&self.tls_certificate_file, &self.tls_key_file) {
            (None, None) => Ok(None),
            (Some(certificate), Some(key)) => EdgeCertificate::load(certificate, key)
                .map(Some)
                .map_err(|error| ConfigError::Setting(error.to_string())),
            _ => Err(ConfigError::Setting(
                "tls_certificate_file and tls_key_file belong together: give both or none".into(),
            )),
        }
    }

    /// Whether browsers come by TLS, ended here or before.
    pub fn is_secure(&self) -> bool {
        self.secure_cookies || self.tls_certificate_file.is_some()
    }

    /// Checks every setting.
    ///
    /// # Errors
    /// The first one that is wrong.
    pub fn check(&self) -> Result<(), ConfigError> {
        let fail = |text: String| Err(ConfigError::Setting(text));
        if self.cluster.trim().is_empty() {
            return fail("no cluster id; set `cluster` in the configuration or --cluster".into());
        }
        if !self.cluster.bytes().all(|byte| byte.is_ascii_graphic()) {
            return fail(format!("the cluster id {:?} may hold only visible ASCII", self.cluster));
        }
        if self.name.trim().is_empty() {
            return fail("no name; set `name` in the configuration or --name".into());
        }
        if self.replicas.is_empty() {
            return fail("no replicas; set `replicas = [\"127.0.0.1:7101\", …]` or --replica".into());
        }
        for (at, address) in self.replicas.iter().enumerate() {
            check_replica(address, self.tls.is_some()).map_err(ConfigError::Setting)?;
            if self.replicas[..at].contains(address) {
                return fail(format!("the replica {address} is listed twice; list each once"));
            }
        }
        for origin in &self.origins {
            check_origin(origin).map_err(ConfigError::Setting)?;
        }
        // Everybody would write the address that is counted, and nobody would be.
        if let Some(network) = self.trusted_balancers.iter().find(|network| network.is_everything()) {
            return fail(format!(
                "trusted_balancers holds {network}, which is every address: name the network of the balancers alone"
            ));
        }
        if let Some(dir) = &self.page_dir
            && !dir.is_dir()
        {
            return fail(format!(
                "page_dir {} is no folder; build the page first or leave it out",
                dir.display()
            ));
        }
        if !(1..=64).contains(&self.argon2_concurrency) {
            return fail(format!("argon2_concurrency is 1 to 64, not {}", self.argon2_concurrency));
        }
        if self.hello_wait_ms == 0 || self.ping_interval_ms == 0 || self.pong_wait_ms == 0 {
            return fail("hello_wait_ms, ping_interval_ms and pong_wait_ms must be above 0".into());
        }
        if self.pong_wait_ms > self.ping_interval_ms {
            return fail(format!(
                "pong_wait_ms ({}) is above ping_interval_ms ({}): a ping would follow an unanswered one; lower it",
                self.pong_wait_ms, self.ping_interval_ms
            ));
        }
        if self.debug_echo_bytes_max > 0 && !self.listen.ip().is_loopback() {
            return fail(format!(
                "debug_echo_bytes_max is for tests on loopback and {} is not: leave it out",
                self.listen
            ));
        }
        if self.demo_control_file.is_some() && !self.listen.ip().is_loopback() {
            return fail(format!(
                "demo_control_file lets admins kill processes of this machine and {} is not loopback: leave it out",
                self.listen
            ));
        }
        if self.sockets_max == 0 {
            return fail("sockets_max must be above 0".into());
        }
        let limits = &self.limits;
        if !(1_024..=16 * FRAME_BYTES_MAX).contains(&limits.frame_bytes_max) {
            return fail(format!(
                "limits.frame_bytes_max is 1024 to 1048576, not {}",
                limits.frame_bytes_max
            ));
        }
        if limits.text_bytes_max == 0 || limits.text_bytes_max >= limits.frame_bytes_max {
            return fail(format!(
                "limits.text_bytes_max ({}) must be above 0 and fit into limits.frame_bytes_max ({})",
                limits.text_bytes_max, limits.frame_bytes_max
            ));
        }
        if limits.history_messages_max == 0 || limits.since_events_max == 0 {
            return fail("limits.history_messages_max and limits.since_events_max must be above 0".into());
        }
        if limits.sends_per_window_max > 0 && limits.sends_window_ms == 0 {
            return fail("limits.sends_window_ms must be above 0 when sends_per_window_max is".into());
        }
        if limits.frames_per_second > 0 && limits.frames_burst == 0 {
            return fail("limits.frames_burst must be above 0 when frames_per_second is".into());
        }
        self.suggestions.check().map_err(ConfigError::Setting)?;
        self.hooks.check().map_err(ConfigError::Setting)?;
        self.certificate()?;
        check_bounds(limits).map_err(ConfigError::Setting)?;
        self.credentials().map(|_| ())
    }
}

/// Limits that replicas keep as well may only be lowered here; some are theirs alone.
fn check_bounds(limits: &SessionLimits) -> Result<(), String> {
    let known = SessionLimits::default();
    let lowered = [
        ("since_pairs_max", limits.since_pairs_max, known.since_pairs_max),
        ("resume_events_max", limits.resume_events_max as usize, known.resume_events_max as usize),
    ];
    for (name, set, max) in lowered {
        if !(1..=max).contains(&set) {
            return Err(format!("limits.{name} is 1 to {max}, not {set}"));
        }
    }
    let bounded = [
        ("open_rooms_max", limits.open_rooms_max, 1, 10_000),
        ("outbox_frames_max", limits.outbox_frames_max, 16, 100_000),
        ("outbox_bytes_max", limits.outbox_bytes_max, FRAME_BYTES_MAX, 64 << 20),
    ];
    for (name, set, min, max) in bounded {
        if !(min..=max).contains(&set) {
            return Err(format!("limits.{name} is {min} to {max}, not {set}"));
        }
    }
    let elsewhere = [
        (
            "presence_members_max",
            limits.presence_members_max as usize,
            known.presence_members_max as usize,
            "the replicas",
        ),
        (
            "receipt_members_max",
            limits.receipt_members_max as usize,
            known.receipt_members_max as usize,
            "the replicas",
        ),
        ("members_max", limits.members_max, known.members_max, "the replicas"),
        ("chunk_bytes", limits.chunk_bytes, known.chunk_bytes, "the replicas"),
        ("attachments_max", limits.attachments_max, known.attachments_max, "the replicas"),
        (
            "sockets_per_user_max",
            limits.sockets_per_user_max,
            known.sockets_per_user_max,
            "`sockets_per_user_max` outside of [limits]",
        ),
    ];
    if limits.files_bytes_per_user_max != known.files_bytes_per_user_max {
        return Err("limits.files_bytes_per_user_max is decided by the replicas; leave it out".to_owned());
    }
    if !(1..=known.file_bytes_max).contains(&limits.file_bytes_max) {
        let (set, max) = (limits.file_bytes_max, known.file_bytes_max);
        return Err(format!("limits.file_bytes_max is 1 to {max}, not {set}"));
    }
    for (name, set, value, who) in elsewhere {
        if set != value {
            return Err(format!("limits.{name} is decided by {who}; leave it out"));
        }
    }
    Ok(())
}

/// Without certificates gRPC stays on this machine.
fn check_replica(address: &str, has_certificates: bool) -> Result<(), String> {
    let port = address.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, port)| port);
    if has_certificates && port.is_some_and(|port| port.parse::<u16>().is_ok_and(|port| port != 0)) {
        return Ok(());
    }
    let loopback = match address.parse::<SocketAddr>() {
        Ok(address) => address.ip().is_loopback() && address.port() != 0,
        Err(_) => address
            .strip_prefix("localhost:")
            .is_some_and(|port| port.parse::<u16>().is_ok_and(|port| port != 0)),
    };
    if loopback {
        return Ok(());
    }
    if address.parse::<SocketAddr>().is_ok_and(|address| address.port() != 0) {
        return Err(format!(
            "the replica {address} is not on loopback; without certificates gRPC is loopback only: give [tls]"
        ));
    }
    Err(format!("the replica {address:?} is no address; write it as 127.0.0.1:7101"))
}

fn check_origin(origin: &str) -> Result<(), String> {
    let authority = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
    let plain = authority.is_some_and(|rest| {
        !rest.is_empty()
            && rest
                .bytes()
                .all(|b| b.is_ascii_graphic() && !b.is_ascii_uppercase() && !b"/?#@*\\".contains(&b))
    });
    if plain {
        return Ok(());
    }
    Err(format!(
        "the origin {origin:?} is not of the form https://chat.example.org (lower case, no path, no wildcard)"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Config {
        Config {
            cluster: "c".into(),
            name: "a".into(),
            replicas: vec!["127.0.0.1:7101".into()],
            ..Config::default()
        }
    }

    fn line(change: impl FnOnce(&mut Config)) -> String {
        let mut config = good();
        change(&mut config);
        let line = config.check().expect_err("must be refused").to_string();
        assert!(!line.contains('\n'), "{line}");
        line
    }

    #[test]
    fn what_is_printed_reads_back_the_same() {
        let config = Config { origins: vec!["https://chat.example.org".into()], ..good() };
        assert_eq!(Config::parse(&config.to_toml()), Ok(config));
    }

    #[test]
    fn balancers_are_named_by_address_or_by_network() {
        let printed = r#"trusted_balancers = ["10.0.0.0/8", "192.0.2.7", "fd00::/8"]"#;
        let config = Config::parse(printed).unwrap();
        assert!(config.to_toml().lines().any(|line| line == printed), "{}", config.to_toml());
        assert_eq!(Config::parse(&config.to_toml()), Ok(config));
        let default = r#"trusted_balancers = ["127.0.0.1", "::1"]"#;
        assert!(good().to_toml().lines().any(|line| line == default), "{}", good().to_toml());
        for bad in ["10.0.0.0/33", "fd00::/129", "10.0.0.0/", "balancer", ""] {
            let error = Config::parse(&format!("name = \"a\"\ntrusted_balancers = [\"{bad}\"]")).unwrap_err();
            let is_clear = error.contains(&format!("{bad:?} is no network")) && error.contains("10.0.0.0/8");
            assert!(is_clear && error.contains("line 2") && !error.contains('\n'), "{error}");
        }
        for everybody in ["0.0.0.0/0", "::/0"] {
            let trusted = vec![Network::parse(everybody).unwrap()];
            let error = line(|c| c.trusted_balancers = trusted);
            assert!(error.contains("trusted_balancers") && error.contains(everybody), "{error}");
        }
    }

    #[test]
    fn unknown_keys_are_refused_with_their_line() {
        let text = "cluster = \"c\"\ncolour = 1\n";
        let error = Config::parse(text).unwrap_err();
        assert!(error.contains("line 2") && error.contains("colour"), "{error}");
        let error = Config::parse("[limits]\nsend_max = 1\n").unwrap_err();
        assert!(error.contains("send_max") && error.contains("sends_per_window_max"), "{error}");
    }

    #[test]
    fn an_unreadable_file_is_named() {
        let error = Config::read(Path::new("/nonexistent/gateway.toml")).unwrap_err().to_string();
        assert!(error.contains("/nonexistent/gateway.toml") && error.contains("--config"), "{error}");
    }

    #[test]
    fn contradictions_are_refused() {
        assert_eq!(good().check().map_err(|e| e.to_string()), Ok(()));
        assert!(line(|c| c.cluster.clear()).contains("--cluster"));
        assert!(line(|c| c.replicas.clear()).contains("--replica"));
        assert!(line(|c| c.replicas = vec!["10.0.0.1:7101".into()]).contains("loopback"));
        assert!(line(|c| c.replicas = vec!["7101".into()]).contains("127.0.0.1:7101"));
        assert!(line(|c| c.replicas = vec!["127.0.0.1:1".into(); 2]).contains("twice"));
        assert!(line(|c| c.pong_wait_ms = c.ping_interval_ms + 1).contains("pong_wait_ms"));
        assert!(line(|c| c.hooks.allow_addresses = vec!["10.0.0.0/99".into()]).contains("allow_addresses"));
        assert!(line(|c| c.tls_key_file = Some("key.pem".into())).contains("tls_certificate_file"));
        let echo_everywhere = |c: &mut Config| {
            c.debug_echo_bytes_max = 1;
            c.listen = "0.0.0.0:8101".parse().unwrap();
        };
        assert!(line(echo_everywhere).contains("loopback"));
        let demo_everywhere = |c: &mut Config| {
            c.demo_control_file = Some("control.json".into());
            c.listen = "0.0.0.0:8101".parse().unwrap();
        };
        assert!(line(demo_everywhere).contains("demo_control_file"));
        assert!(line(|c| c.limits.text_bytes_max = c.limits.frame_bytes_max).contains("text_bytes_max"));
        assert!(line(|c| c.limits.since_pairs_max = 129).contains("since_pairs_max"));
        assert!(line(|c| c.limits.outbox_frames_max = 0).contains("outbox_frames_max"));
        assert!(line(|c| c.limits.members_max = 1).contains("replicas"));
        assert!(line(|c| c.limits.sockets_per_user_max = 0).contains("outside of [limits]"));
        for origin in
            ["chat.example.org", "https://*.example.org", "https://a/b", "https://A.example.org", "null"]
        {
            assert!(line(|c| c.origins = vec![origin.into()]).contains("origin"), "{origin}");
        }
    }
}
