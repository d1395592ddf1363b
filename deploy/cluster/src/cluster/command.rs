//! How each process is started.

use std::process::Command;

use quorate_tls::Role;

use super::Cluster;
use crate::config::{GATEWAY_TOML, HAPROXY_CFG, REPLICA_TOML, replica_toml_of};
use crate::error::{Error, Result};
use crate::spec::{Balancer, Host};
use crate::state::Member;

impl Cluster {
    pub(super) fn command(&self, member: &Member) -> Result<Command> {
        let binaries = &self.blank.binaries;
        let mut command = match member {
            Member::Replica(id) => {
                let mut command = match self.host(member).and_then(|host| host.through.split_first()) {
                    Some((program, arguments)) => {
                        let mut command = Command::new(program);
                        command.args(arguments).arg(&binaries.replica);
                        command
                    }
                    None => Command::new(&binaries.replica),
                };
                let own = self.layout.config(&replica_toml_of(*id));
                command.arg("run").arg("--id").arg(id.to_string());
                if own.exists() {
                    command.arg("--config").arg(own);
                } else {
                    command.arg("--config").arg(self.layout.config(REPLICA_TOML));
                    command.arg("--data-dir").arg(self.layout.replica(*id));
                }
                command.arg("--listen").arg(self.replica_grpc(*id)?.to_string());
                if let Some(http) = self.roster().http(self.plan, *id) {
                    command.arg("--http-listen").arg(http.to_string());
                }
                if let Some(authority) = self.authority()? {
                    let files = authority.files(&member.to_string(), Role::Replica)?;
                    command.arg("--tls-cert-file").arg(files.cert_file);
                    command.arg("--tls-key-file").arg(files.key_file);
                }
                // The first membership forms the cluster, whoever came later joins it.
                if *id > self.identity.replicas {
                    command.arg("--join");
                }
                command
            }
            Member::Gateway(name) => {
                let mut command = Command::new(&binaries.gateway);
                command.arg("run").arg("--config").arg(self.layout.config(GATEWAY_TOML));
                command.arg("--name").arg(name);
                command.arg("--listen").arg(self.gateway_address(name)?.to_string());
                command
            }
            Member::Balancer => match &self.blank.balancer {
                Balancer::HaProxy(program) => {
                    let mut command = Command::new(program);
                    command.arg("-db").arg("-f").arg(self.layout.config(HAPROXY_CFG));
                    command
                }
                Balancer::None => return Err(Error::Usage("this cluster has no balancer".to_owned())),
            },
        };
        command.envs(&self.blank.environment);
        Ok(command)
    }

    /// Where a member runs that has a network of its own.
    pub(super) fn host(&self, member: &Member) -> Option<&Host> {
        match member {
            Member::Replica(id) => self.identity.hosts.get(id),
            Member::Gateway(_) | Member::Balancer => None,
        }
    }
}
