//! What a cluster shall be: how many of each, which ports, which programs.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::ports::{GATEWAYS_MAX, REPLICAS_MAX};
use crate::process::{Bond, find_program};

/// Where the programs are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Binaries {
    /// The `replica` program.
    pub replica: PathBuf,
    /// The `gateway` program.
    pub gateway: PathBuf,
}

impl Binaries {
    /// The programs that cargo built beside this one; a test program lies one folder deeper.
    ///
    /// # Errors
    /// [`Error::Usage`] when they are not there.
    pub fn beside_this_program() -> Result<Self> {
        let own = std::env::current_exe()
            .map_err(|error| Error::Failed(format!("cannot find this program's own folder: {error}")))?;
        let dir = own.parent().unwrap_or(&own);
        let dir = if dir.ends_with("deps") { dir.parent().unwrap_or(dir) } else { dir };
        Self::in_folder(dir)
    }

    /// The programs in a folder.
    ///
    /// # Errors
    /// [`Error::Usage`] when they are not there.
    pub fn in_folder(dir: &Path) -> Result<Self> {
        let found = Self { replica: dir.join("replica"), gateway: dir.join("gateway") };
        for program in [&found.replica, &found.gateway] {
            if !program.is_file() {
                return Err(Error::Usage(format!(
                    "{} is not there: build it with `cargo build --release`",
                    program.display()
                )));
            }
        }
        Ok(found)
    }
}

/// Whether a balancer stands in front of the gateways.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Balancer {
    /// None: clients connect to a gateway.
    None,
    /// This HAProxy program.
    HaProxy(PathBuf),
}

impl Balancer {
    /// HAProxy if it is installed.
    pub fn if_installed() -> Self {
        find_program("haproxy").map_or(Self::None, Self::HaProxy)
    }
}

/// Where the ports come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ports {
    /// From this one upwards; the balancer has the first.
    From(u16),
    /// Whatever is free.
    Free,
}

/// Where a replica runs that has a network of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// Its address, reached from everywhere.
    pub address: IpAddr,
    /// The program, with its arguments, that becomes the replica there: for instance `nsenter --net=… --`.
    pub through: Vec<String>,
}

/// A cluster to be.
#[derive(Debug, Clone)]
pub struct Spec {
    /// Voters, 1 to 9. `None`: as many as the data directory has, 5 in a new one.
    pub replicas: Option<u16>,
    /// Gateways, 1 to 19.
    pub gateways: u16,
    /// Ports of a new data directory; one that was used keeps its ports.
    pub ports: Option<Ports>,
    /// Everything the cluster keeps.
    pub data_dir: PathBuf,
    /// The programs.
    pub binaries: Binaries,
    /// The built page.
    pub page_dir: Option<PathBuf>,
    /// In front of the gateways.
    pub balancer: Balancer,
    /// Keys laid over the gateways' configuration, for instance `limits`.
    pub gateway_keys: toml::Table,
    /// Keys laid over the replicas' configuration, for instance timers.
    pub replica_keys: toml::Table,
    /// Keys laid over one replica's configuration, for instance a `data_dir` on a disk of its own.
    pub replica_keys_of: BTreeMap<u16, toml::Table>,
    /// Whether processes know each other by certificates, made under the data directory. One that has them keeps them.
    pub tls: bool,
    /// Whether browsers come by TLS, to the balancer and to each gateway. A data directory that has certificates for it
    /// keeps them.
    pub edge_tls: bool,
    /// Replicas that run elsewhere than in this program's network, by id: their addresses need certificates.
    pub hosts: BTreeMap<u16, Host>,
    /// Whether it is a demo: then everything is on loopback.
    pub demo: bool,
    /// Environment of all processes, for instance `RUST_LOG`.
    pub environment: BTreeMap<String, String>,
    /// Whether the processes may outlive this program.
    pub bond: Bond,
}

impl Spec {
    /// Five replicas, three gateways and a balancer if there is one.
    pub fn new(data_dir: impl Into<PathBuf>, binaries: Binaries) -> Self {
        Self {
            replicas: None,
            gateways: 3,
            ports: None,
            data_dir: data_dir.into(),
            binaries,
            page_dir: None,
            balancer: Balancer::if_installed(),
            gateway_keys: toml::Table::new(),
            replica_keys: toml::Table::new(),
            replica_keys_of: BTreeMap::new(),
            tls: false,
            edge_tls: false,
            hosts: BTreeMap::new(),
            demo: false,
            environment: BTreeMap::new(),
            bond: Bond::Free,
        }
    }

    /// Sets one of the limits that gateways enforce, for instance `sends_per_window_max` to 0 for none.
    #[must_use]
    pub fn limit(mut self, name: &str, value: i64) -> Self {
        let limits =
            self.gateway_keys.entry("limits").or_insert_with(|| toml::Value::Table(toml::Table::new()));
        if let toml::Value::Table(limits) = limits {
            limits.insert(name.to_owned(), toml::Value::Integer(value));
        }
        self
    }

    pub(crate) fn check(&self) -> Result<()> {
        if let Some(replicas) = self.replicas
            && !(1..=REPLICAS_MAX).contains(&replicas)
        {
            return Err(Error::Usage(format!("--replicas is 1 to {REPLICAS_MAX}, not {replicas}")));
        }
        if !(1..=GATEWAYS_MAX).contains(&self.gateways) {
            return Err(Error::Usage(format!("--gateways is 1 to {GATEWAYS_MAX}, not {}", self.gateways)));
        }
        self.check_demo(&self.hosts)
    }

    /// A demo gives every admin of the page the right to kill processes: it is nobody's but this machine's.
    pub(crate) fn check_demo(&self, hosts: &BTreeMap<u16, Host>) -> Result<()> {
        let listens = self.gateway_keys.get("listen").and_then(toml::Value::as_str);
        let listens =
            listens.and_then(|address| address.parse::<SocketAddr>().ok()).map(|address| address.ip());
        let elsewhere = hosts.values().map(|host| host.address).chain(listens).find(|ip| !ip.is_loopback());
        match elsewhere {
            Some(ip) if self.demo => Err(Error::Usage(format!(
                "--demo is for loopback alone, and this cluster listens on {ip}: leave --demo out, or use another --data-dir"
            ))),
            _ => Ok(()),
        }
    }
}

/// The name of the gateway that stands at `place`: a, b, c, …
pub(crate) fn gateway_name(place: u16) -> String {
    let letter = u8::try_from(place).unwrap_or(u8::MAX).saturating_add(b'a');
    char::from(letter).to_string()
}

/// The place of a gateway by its name.
pub(crate) fn gateway_place(name: &str, gateways: u16) -> Option<u16> {
    (0..gateways).find(|place| gateway_name(*place) == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gateways_are_called_a_b_c() {
        assert_eq!((0..3).map(gateway_name).collect::<String>(), "abc");
        assert_eq!(gateway_place("c", 3), Some(2));
        assert_eq!(gateway_place("d", 3), None);
    }

    #[test]
    fn limits_are_laid_into_one_table() {
        let binaries = Binaries { replica: "r".into(), gateway: "g".into() };
        let spec = Spec::new("d", binaries).limit("sends_per_window_max", 0).limit("frames_per_second", 0);
        assert_eq!(spec.gateway_keys["limits"].as_table().map(toml::Table::len), Some(2));
        let none = Spec { replicas: Some(0), ..spec };
        assert!(none.check().is_err());
    }

    #[test]
    fn a_demo_is_refused_where_anything_is_not_on_loopback() {
        let binaries = Binaries { replica: "r".into(), gateway: "g".into() };
        let mut spec = Spec { demo: true, ..Spec::new("d", binaries) };
        assert!(spec.check().is_ok());
        spec.gateway_keys.insert("listen".to_owned(), "0.0.0.0:8101".into());
        let error = spec.check().unwrap_err().to_string();
        assert!(error.contains("--demo") && error.contains("0.0.0.0"), "{error}");
        spec.gateway_keys.clear();
        spec.hosts.insert(2, Host { address: [10, 0, 0, 2].into(), through: Vec::new() });
        assert!(spec.check().unwrap_err().to_string().contains("10.0.0.2"));
        spec.demo = false;
        assert!(spec.check().is_ok());
    }
}
