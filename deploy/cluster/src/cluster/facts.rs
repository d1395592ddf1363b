//! What there is to know of a cluster: who belongs to it, where each is, and what they trust.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use quorate_tls::{Credentials, Role};
use rustls::ClientConfig;

use super::Cluster;
use crate::error::{Error, Result};
use crate::layout::Layout;
use crate::ports::PortPlan;
use crate::roster::Roster;
use crate::spec::{Balancer, gateway_name, gateway_place};
use crate::state::{Member, RunnerState};
use crate::tls::{Authority, has_certificates, has_edge, trusting};

impl Cluster {
    /// The cluster's id.
    pub fn id(&self) -> &str {
        &self.identity.cluster
    }

    /// Number of replicas.
    pub fn replicas(&self) -> u16 {
        u16::try_from(self.replica_ids().len()).unwrap_or(u16::MAX)
    }

    /// Ids of the replicas, in order: the first membership, and what was added and removed since.
    pub fn replica_ids(&self) -> Vec<u16> {
        self.roster().ids().collect()
    }

    /// gRPC address of a replica.
    ///
    /// # Errors
    /// [`Error::Usage`] when there is none of that id.
    pub fn replica_grpc(&self, id: u16) -> Result<SocketAddr> {
        let address = self.roster().grpc(self.plan, id);
        address.ok_or_else(|| Error::Usage(format!("there is no replica-{id}")))
    }

    /// What the data directory says; a file that cannot be read counts as none, for whoever writes it says so.
    pub(super) fn roster(&self) -> Roster {
        Roster::load(&self.layout, &self.identity).unwrap_or_else(|_| Roster::first(&self.identity))
    }

    /// Names of the gateways.
    pub fn gateways(&self) -> Vec<String> {
        (0..self.blank.gateways).map(gateway_name).collect()
    }

    /// Whether a balancer belongs to it.
    pub fn has_balancer(&self) -> bool {
        self.blank.balancer != Balancer::None
    }

    /// Paths.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Ports.
    pub fn plan(&self) -> PortPlan {
        self.plan
    }

    /// Where people connect: the balancer, or the first gateway.
    pub fn front(&self) -> SocketAddr {
        if self.has_balancer() { self.plan.balancer() } else { self.plan.gateway(0) }
    }

    /// HTTP address of a gateway.
    ///
    /// # Errors
    /// [`Error::Usage`] when there is none of that name.
    pub fn gateway_address(&self, name: &str) -> Result<SocketAddr> {
        self.check_member(&Member::Gateway(name.to_owned()))?;
        let place = gateway_place(name, self.blank.gateways).expect("the check above found it");
        Ok(self.plan.gateway(place))
    }

    /// The log of a process.
    pub fn log(&self, member: &Member) -> PathBuf {
        self.layout.log(&member.to_string())
    }

    pub(crate) fn state(&self) -> Result<RunnerState> {
        Ok(RunnerState::load(&self.layout)?.unwrap_or_else(|| self.blank.clone()))
    }

    /// Every process that there should be.
    pub(crate) fn members(&self) -> Vec<Member> {
        self.blank.members(self.roster().ids())
    }

    pub(super) fn check_member(&self, member: &Member) -> Result<()> {
        let members = self.members();
        if members.contains(member) {
            return Ok(());
        }
        let names: Vec<String> = members.iter().map(Member::to_string).collect();
        Err(Error::Usage(format!("there is no {member}; there are {}", names.join(", "))))
    }

    /// The authority, if this cluster has certificates.
    ///
    /// # Errors
    /// When its folder cannot be used.
    pub fn authority(&self) -> Result<Option<Authority>> {
        let dir = self.layout.tls();
        if has_certificates(&dir) { Authority::open(dir).map(Some) } else { Ok(None) }
    }

    /// Whether browsers come by TLS.
    pub fn has_edge_tls(&self) -> bool {
        has_edge(&self.layout.tls())
    }

    /// What a client of the gateways trusts, if browsers come by TLS.
    ///
    /// # Errors
    /// When the authority's certificate cannot be read.
    pub fn edge_trust(&self) -> Result<Option<Arc<ClientConfig>>> {
        let dir = self.layout.tls();
        if !has_edge(&dir) {
            return Ok(None);
        }
        trusting(&Authority::open(dir)?.ca_file()).map(Some)
    }

    /// What whoever holds the data directory asks the replicas with: an operator's certificate, if there are any.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn credentials(&self) -> Result<Option<Credentials>> {
        let Some(authority) = self.authority()? else { return Ok(None) };
        let files = authority.files("operator", Role::Operator)?;
        let loaded = Credentials::load(&files, &[Role::Operator]);
        loaded.map(Some).map_err(|error| Error::Usage(error.to_string()))
    }

    pub(super) fn addresses(&self, member: &Member) -> Vec<(String, SocketAddr)> {
        let name = member.to_string();
        match member {
            Member::Replica(id) => {
                let roster = self.roster();
                let both = [roster.grpc(self.plan, *id), roster.http(self.plan, *id)];
                both.into_iter().flatten().map(|address| (name.clone(), address)).collect()
            }
            Member::Gateway(gateway) => {
                let place = gateway_place(gateway, self.blank.gateways);
                place.map(|place| (name, self.plan.gateway(place))).into_iter().collect()
            }
            Member::Balancer => vec![(name, self.plan.balancer())],
        }
    }
}
