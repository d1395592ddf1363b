//! Which processes run: kept in the data directory, so that `deploy/replica`, `deploy/down` and the runner itself agree.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::layout::{Identity, Layout, write_atomically};
use crate::ports::PortPlan;
use crate::process::ProcessId;
use crate::roster::Roster;
use crate::spec::{Balancer, Binaries, gateway_name};

/// One process of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Member {
    /// A replica by its id, from 1.
    Replica(u16),
    /// A gateway by its name.
    Gateway(String),
    /// The balancer.
    Balancer,
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Member::Replica(id) => write!(f, "replica-{id}"),
            Member::Gateway(name) => write!(f, "gateway-{name}"),
            Member::Balancer => write!(f, "balancer"),
        }
    }
}

impl FromStr for Member {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        if text == "balancer" {
            return Ok(Member::Balancer);
        }
        if let Some(id) = text.strip_prefix("replica-").and_then(|id| id.parse().ok()) {
            return Ok(Member::Replica(id));
        }
        match text.strip_prefix("gateway-") {
            Some(name) if !name.is_empty() => Ok(Member::Gateway(name.to_owned())),
            _ => Err(format!("{text:?} is no process of a cluster")),
        }
    }
}

/// A process that was started and not ended by us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessRow {
    /// Which.
    pub member: Member,
    /// Its number and start time.
    pub process: ProcessId,
}

/// `runner.json`: all that is needed to start, signal and find the processes again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunnerState {
    pub(crate) gateways: u16,
    pub(crate) binaries: Binaries,
    pub(crate) balancer: Balancer,
    pub(crate) page_dir: Option<PathBuf>,
    pub(crate) environment: BTreeMap<String, String>,
    processes: BTreeMap<String, ProcessId>,
}

impl RunnerState {
    pub(crate) fn new(
        gateways: u16,
        binaries: Binaries,
        balancer: Balancer,
        page_dir: Option<PathBuf>,
        environment: BTreeMap<String, String>,
    ) -> Self {
        Self { gateways, binaries, balancer, page_dir, environment, processes: BTreeMap::new() }
    }

    /// Reads the state; `None` when no cluster was started here since the last orderly end.
    pub(crate) fn load(layout: &Layout) -> Result<Option<Self>> {
        let path = layout.runner_json();
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::Usage(format!("cannot read {}: {error}", path.display()))),
        };
        let state = serde_json::from_str(&text);
        state.map(Some).map_err(|error| Error::Failed(format!("{} is damaged: {error}", path.display())))
    }

    /// The processes, those that ended by themselves included.
    pub fn processes(&self) -> Vec<ProcessRow> {
        let row = |(name, process): (&String, &ProcessId)| {
            Some(ProcessRow { member: name.parse().ok()?, process: *process })
        };
        self.processes.iter().filter_map(row).collect()
    }

    /// The process of a member, unless it is gone.
    pub fn alive(&self, member: &Member) -> Option<ProcessId> {
        self.processes.get(&member.to_string()).copied().filter(|process| !process.is_gone())
    }

    pub(crate) fn set(&mut self, member: &Member, process: Option<ProcessId>) {
        match process {
            Some(process) => self.processes.insert(member.to_string(), process),
            None => self.processes.remove(&member.to_string()),
        };
    }

    /// Every member there should be, in the order in which they start.
    pub fn members(&self, replicas: impl Iterator<Item = u16>) -> Vec<Member> {
        let mut members: Vec<Member> = replicas.map(Member::Replica).collect();
        members.extend((0..self.gateways).map(|place| Member::Gateway(gateway_name(place))));
        if self.balancer != Balancer::None {
            members.push(Member::Balancer);
        }
        members
    }

    /// Writes `runner.json` and `cluster.json`, or removes both when nothing runs any more.
    pub(crate) fn save(&self, layout: &Layout, identity: &Identity) -> Result<()> {
        let text = serde_json::to_vec_pretty(self).expect("plain fields serialize");
        write_atomically(&layout.runner_json(), &text)?;
        let roster = Roster::load(layout, identity)?;
        let value = self.cluster_json(layout, identity, &roster);
        let text = serde_json::to_vec_pretty(&value).expect("a JSON value serializes");
        write_atomically(&layout.cluster_json(), &text)
    }

    fn cluster_json(&self, layout: &Layout, identity: &Identity, roster: &Roster) -> Value {
        let plan = PortPlan { first: identity.port };
        let rows = self.members(roster.ids()).into_iter().filter_map(|member| {
            let process = self.alive(&member)?;
            let text = |address: SocketAddr| address.to_string();
            let log = layout.log(&member.to_string());
            let (role, id, grpc, http) = match &member {
                Member::Replica(id) => {
                    ("replica", json!(id), Some(text(roster.grpc(plan, *id)?)), text(roster.http(plan, *id)?))
                }
                Member::Gateway(name) => {
                    let place = crate::spec::gateway_place(name, self.gateways)?;
                    ("gateway", json!(name), None, text(plan.gateway(place)))
                }
                Member::Balancer => ("balancer", json!("balancer"), None, text(plan.balancer())),
            };
            let mut row = json!({ "role": role, "id": id, "pid": process.pid, "http": http, "log": log });
            if let Some(grpc) = grpc {
                row["grpc"] = json!(grpc);
            }
            Some(row)
        });
        json!({ "processes": rows.collect::<Vec<Value>>() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back() {
        for member in [Member::Replica(3), Member::Gateway("a".into()), Member::Balancer] {
            assert_eq!(member.to_string().parse::<Member>().unwrap(), member);
        }
        assert!("gateway-".parse::<Member>().is_err() && "replica-x".parse::<Member>().is_err());
    }

    #[test]
    fn cluster_json_lists_what_runs_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path());
        let identity = Identity { cluster: "c".into(), replicas: 2, port: 8080, hosts: BTreeMap::new() };
        let binaries = Binaries { replica: "r".into(), gateway: "g".into() };
        let mut state = RunnerState::new(1, binaries, Balancer::None, None, BTreeMap::new());
        let own = ProcessId::now(std::process::id()).unwrap();
        state.set(&Member::Replica(1), Some(own));
        state.set(&Member::Replica(2), Some(ProcessId { start_ticks: own.start_ticks + 1, ..own }));
        state.set(&Member::Gateway("a".into()), Some(own));
        state.save(&layout, &identity).unwrap();
        let text = std::fs::read_to_string(layout.cluster_json()).unwrap();
        let value: Value = serde_json::from_str(&text).unwrap();
        let rows = value["processes"].as_array().unwrap();
        assert_eq!(rows.len(), 2, "{text}");
        assert_eq!(rows[0]["grpc"], "127.0.0.1:8101");
        assert_eq!((rows[0]["id"].as_u64(), rows[1]["id"].as_str()), (Some(1), Some("a")));
        assert_eq!(rows[1]["http"], "127.0.0.1:8081");
        assert_eq!(RunnerState::load(&layout).unwrap(), Some(state));
    }
}
