//! The configuration files that the processes read, generated under `<data-dir>/config` at every start.
//!
//! Owns what goes into them. Must not know how the processes are run; addresses come from the port plan.

use std::path::Path;

use quorate_tls::Role;
use serde::Serialize;
use toml::{Table, Value};

use crate::error::{Attempt, Result};
use crate::layout::{Identity, Layout, write_atomically};
use crate::ports::PortPlan;
use crate::roster::Roster;
use crate::spec::{Spec, gateway_name};
use crate::tls::{Authority, has_certificates, has_edge};

/// Read by every replica; what differs is given by flags.
pub(crate) const REPLICA_TOML: &str = "replica.toml";
/// Read by one replica instead, when the specification has keys for it alone. Names the data directory as well.
pub(crate) fn replica_toml_of(id: u16) -> String {
    format!("replica-{id}.toml")
}
/// Read by every gateway; what differs is given by flags.
pub(crate) const GATEWAY_TOML: &str = "gateway.toml";
/// Read by the balancer.
pub(crate) const HAPROXY_CFG: &str = "haproxy.cfg";

/// The one for nginx stands beside it in the repository.
const HAPROXY_TEMPLATE: &str = include_str!("../../haproxy/haproxy.cfg.tmpl");

#[derive(Serialize)]
struct ReplicaPlace {
    id: u16,
    address: String,
}

/// Writes all of them.
pub(crate) fn write_all(spec: &Spec, layout: &Layout, identity: &Identity) -> Result<()> {
    let write = |name: &str, text: &str| write_atomically(&layout.config(name), text.as_bytes());
    write(REPLICA_TOML, &finish(replica(layout, identity)?, &spec.replica_keys)?)?;
    for id in 1..=identity.replicas {
        let own = layout.config(&replica_toml_of(id));
        match spec.replica_keys_of.get(&id) {
            Some(keys) => write_atomically(&own, replica_of(spec, layout, identity, id, keys)?.as_bytes())?,
            // One of an earlier start must not stay in force.
            None if own.exists() => {
                std::fs::remove_file(&own).attempt(|| format!("remove {}", own.display()))?;
            }
            None => {}
        }
    }
    write(GATEWAY_TOML, &gateway(spec, layout, identity)?)?;
    write(HAPROXY_CFG, &haproxy(spec, layout, PortPlan { first: identity.port })?)
}

fn replica_of(spec: &Spec, layout: &Layout, identity: &Identity, id: u16, keys: &Table) -> Result<String> {
    let mut table = replica(layout, identity)?;
    table.insert("data_dir".into(), path(&layout.replica(id)));
    table.extend(spec.replica_keys.clone());
    finish(table, keys)
}

fn replica(layout: &Layout, identity: &Identity) -> Result<Table> {
    let plan = PortPlan { first: identity.port };
    let roster = Roster::load(layout, identity)?;
    let place = |id| Some(ReplicaPlace { id, address: roster.grpc(plan, id)?.to_string() });
    let replicas: Vec<ReplicaPlace> = roster.ids().filter_map(place).collect();
    let mut table = Table::new();
    table.insert("worker_threads".into(), worker_threads(roster.ids().count()).into());
    table.insert("cluster".into(), identity.cluster.clone().into());
    table.insert("cluster_secret_file".into(), path(&layout.secret()));
    // Replicas show their own certificates, named by flags; the operator's commands read this file as well.
    if has_certificates(&layout.tls()) {
        let files = Authority::open(layout.tls())?.files("operator", Role::Operator)?;
        table.insert("tls".into(), Value::try_from(files).attempt(|| "write the files down".into())?);
    }
    table.insert("replicas".into(), Value::try_from(replicas).attempt(|| "write the replicas down".into())?);
    Ok(table)
}

/// Threads of each of so many replicas that share this machine. With two each on two cores, a message is answered a fifth later:
/// threads of one process wake each other more often than they work side by side.
fn worker_threads(replicas: usize) -> i64 {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    i64::try_from((cores / replicas.max(1)).max(1)).unwrap_or(1)
}

fn gateway(spec: &Spec, layout: &Layout, identity: &Identity) -> Result<String> {
    let plan = PortPlan { first: identity.port };
    let roster = Roster::load(layout, identity)?;
    let addresses = roster.ids().filter_map(|id| roster.grpc(plan, id));
    let replicas: Vec<Value> = addresses.map(|address| address.to_string().into()).collect();
    let is_secure = has_edge(&layout.tls());
    let scheme = if is_secure { "https" } else { "http" };
    let origins: Vec<Value> = origins(scheme, plan, spec.gateways).into_iter().map(Value::from).collect();
    let mut table = Table::new();
    table.insert("cluster".into(), identity.cluster.clone().into());
    table.insert("origins".into(), origins.into());
    table.insert("replicas".into(), replicas.into());
    if has_certificates(&layout.tls()) {
        let files = Authority::open(layout.tls())?.files("gateway", Role::Gateway)?;
        table.insert("tls".into(), Value::try_from(files).attempt(|| "write the files down".into())?);
    }
    if is_secure {
        let edge = Authority::open(layout.tls())?.edge()?;
        table.insert("tls_certificate_file".into(), path(&edge.gateway_cert_file));
        table.insert("tls_key_file".into(), path(&edge.gateway_key_file));
        // A browser that was told so once would ask for TLS of every program on localhost, on every port.
        table.insert("strict_transport_seconds".into(), 0.into());
    }
    if let Some(page_dir) = &spec.page_dir {
        table.insert("page_dir".into(), path(page_dir));
    }
    finish(table, &spec.gateway_keys)
}

/// Where a browser may come from: the balancer and each gateway, by address and by name.
fn origins(scheme: &str, plan: PortPlan, gateways: u16) -> Vec<String> {
    std::iter::once(plan.balancer())
        .chain((0..gateways).map(|place| plan.gateway(place)))
        .map(|address| address.port())
        .flat_map(|port| [format!("{scheme}://127.0.0.1:{port}"), format!("{scheme}://localhost:{port}")])
        .collect()
}

fn path(path: &Path) -> Value {
    path.display().to_string().into()
}

/// The generated keys with those of the specification laid over them.
fn finish(mut table: Table, over: &Table) -> Result<String> {
    table.extend(over.clone());
    toml::to_string(&table).attempt(|| "write a configuration as TOML".to_owned())
}

fn haproxy(spec: &Spec, layout: &Layout, plan: PortPlan) -> Result<String> {
    let edge = match has_edge(&layout.tls()) {
        true => Some(Authority::open(layout.tls())?.edge()?),
        false => None,
    };
    let to_browsers = edge.as_ref().map_or_else(String::new, |edge| {
        format!(" ssl crt '{}' alpn http/1.1", edge.balancer_file.display())
    });
    let to_gateways = edge.as_ref().map_or_else(String::new, |edge| {
        let ca_file = edge.ca_file.display();
        format!(
            " ssl verify required ca-file '{ca_file}' sni str(localhost) check-sni localhost alpn http/1.1"
        )
    });
    let lines = |suffix: &str| -> String {
        let line = |place: u16| {
            let name = gateway_name(place);
            let address = plan.gateway(place);
            format!("    server {name} {address}{to_gateways} {}", suffix.replace("NAME", &name))
        };
        (0..spec.gateways).map(line).collect::<Vec<_>>().join("\n")
    };
    Ok(HAPROXY_TEMPLATE
        .replace("{{listen}}", &format!("{}{to_browsers}", plan.balancer()))
        .replace("{{pages}}", &lines("check"))
        .replace("{{sessions}}", &lines("track pages/NAME")))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::spec::Binaries;

    fn case() -> (Spec, Layout, Identity) {
        let binaries = Binaries { replica: "replica".into(), gateway: "gateway".into() };
        let mut spec = Spec::new("data", binaries).limit("sends_per_window_max", 0);
        spec.gateways = 2;
        spec.gateway_keys.insert("drain_grace_ms".into(), 700.into());
        (
            spec,
            Layout::new("data"),
            Identity { cluster: "c1".into(), replicas: 3, port: 9000, hosts: BTreeMap::new() },
        )
    }

    #[test]
    fn both_configurations_are_toml_with_the_specifications_keys_over_them() {
        let (spec, layout, identity) = case();
        let replica: Table = replica(&layout, &identity).unwrap();
        assert_eq!(replica["replicas"][2]["address"].as_str(), Some("127.0.0.1:9023"));
        assert_eq!(replica["cluster_secret_file"].as_str(), Some("data/cluster.secret"));
        assert!(replica["worker_threads"].as_integer().is_some_and(|threads| threads >= 1));
        let gateway: Table = toml::from_str(&gateway(&spec, &layout, &identity).unwrap()).unwrap();
        assert_eq!(gateway["drain_grace_ms"].as_integer(), Some(700));
        assert_eq!(gateway["limits"]["sends_per_window_max"].as_integer(), Some(0));
        assert_eq!(gateway["replicas"].as_array().map(Vec::len), Some(3));
        let origins = gateway["origins"].as_array().unwrap();
        assert_eq!(origins.len(), 6);
        assert!(origins.iter().any(|origin| origin.as_str() == Some("http://localhost:9002")));
    }

    #[test]
    fn one_replica_may_have_keys_and_a_disk_of_its_own() {
        let (mut spec, layout, identity) = case();
        spec.replica_keys.insert("boot_id_file".into(), "all".into());
        spec.replica_keys.insert("heartbeat_interval_ms".into(), 70.into());
        let own = Table::from_iter([("boot_id_file".to_owned(), "own".into())]);
        let text = replica_of(&spec, &layout, &identity, 2, &own).unwrap();
        let table: Table = toml::from_str(&text).unwrap();
        assert_eq!(table["boot_id_file"].as_str(), Some("own"));
        assert_eq!(table["heartbeat_interval_ms"].as_integer(), Some(70));
        assert_eq!(table["data_dir"].as_str(), Some("data/replica-2"));
        assert_eq!(table["replicas"].as_array().map(Vec::len), Some(3));
    }

    #[test]
    fn the_balancer_checks_every_gateway_once_and_leaves_no_blank_unfilled() {
        let (spec, layout, _) = case();
        let text = haproxy(&spec, &layout, PortPlan { first: 9000 }).unwrap();
        assert!(text.contains("bind 127.0.0.1:9000\n"), "{text}");
        assert!(text.contains("server b 127.0.0.1:9002 check\n"), "{text}");
        assert!(text.contains("server b 127.0.0.1:9002 track pages/b\n"), "{text}");
        assert!(!text.contains("{{"), "{text}");
    }

    #[test]
    fn with_certificates_for_browsers_everybody_speaks_tls_and_trusts_the_own_authority_alone() {
        let dir = tempfile::tempdir().unwrap();
        let (spec, _, identity) = case();
        let layout = Layout::new(dir.path());
        layout.prepare().unwrap();
        let edge = Authority::open(layout.tls()).unwrap().edge().unwrap();
        let text = haproxy(&spec, &layout, PortPlan { first: 9000 }).unwrap();
        let (balancer, ca) = (edge.balancer_file.display(), edge.ca_file.display());
        assert!(text.contains(&format!("bind 127.0.0.1:9000 ssl crt '{balancer}' ")), "{text}");
        let server = format!("server b 127.0.0.1:9002 ssl verify required ca-file '{ca}' ");
        assert_eq!(text.matches(&server).count(), 2, "{text}");
        let table: Table = toml::from_str(&gateway(&spec, &layout, &identity).unwrap()).unwrap();
        assert_eq!(table["tls_key_file"].as_str(), edge.gateway_key_file.to_str());
        assert!(table["origins"].as_array().unwrap().contains(&"https://localhost:9000".into()));
        assert!(table.get("tls").is_some(), "who has an authority uses it everywhere");
    }
}
