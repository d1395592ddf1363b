//! Waiting until processes serve, and noticing those that have ended.

use std::time::Duration;

use super::Cluster;
use crate::error::{Error, Result};
use crate::http::Call;
use crate::process::{self, Activity, ProcessId};
use crate::state::Member;
use crate::wait::wait_until;

impl Cluster {
    /// Waits until a majority follows a leader, and every gateway is ready and knows it.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn wait_serving(&self, deadline: Duration) -> Result<()> {
        // An ended process is final, so it is carried out of the wait as a value.
        let outcome = wait_until("a leader that a majority follows", deadline, || async {
            if let Err(error) = self.check_ended() {
                return Ok(Err(error));
            }
            self.leader().await.map(|_| Ok(()))
        });
        outcome.await??;
        for member in self.members() {
            if matches!(member, Member::Gateway(_)) {
                self.wait_ready(&member, deadline).await?;
            }
        }
        for name in self.gateways() {
            let address = self.gateway_address(&name)?;
            wait_until(&format!("gateway {name} to know the leader"), deadline, || async move {
                let call = Call::get("/statusz").over(self.edge_trust().map_err(|error| error.to_string())?);
                let answer = call.send(address).await.map_err(|error| error.to_string())?;
                let says: serde_json::Value =
                    serde_json::from_slice(answer.body()).map_err(|error| error.to_string())?;
                if says["write"] == "up" { Ok(()) } else { Err(format!("it says {says}")) }
            })
            .await?;
        }
        Ok(())
    }

    /// Waits until a process answers: a replica its status, a gateway or the balancer `/readyz` with 200.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn wait_ready(&self, member: &Member, deadline: Duration) -> Result<()> {
        let reason = format!("{member} to be ready");
        let ready = wait_until(&reason, deadline, || async {
            if let Err(error) = self.check_ended() {
                return Ok(Err(error));
            }
            self.is_ready(member).await.map(Ok)
        });
        ready.await?
    }

    async fn is_ready(&self, member: &Member) -> std::result::Result<(), String> {
        let http = match member {
            Member::Replica(id) => return self.replica_status(*id, 0).await.map(|_| ()),
            Member::Gateway(name) => self.gateway_address(name).map_err(|error| error.to_string())?,
            Member::Balancer => self.plan.balancer(),
        };
        let call = Call::get("/readyz").over(self.edge_trust().map_err(|error| error.to_string())?);
        let answer = call.send(http).await.map_err(|error| error.to_string())?;
        if answer.status() == 200 { Ok(()) } else { Err(format!("/readyz says {}", answer.status())) }
    }

    /// Processes of ours that ended since the last call, with a line each.
    pub fn ended(&self) -> Vec<(Member, String)> {
        let mut children = self.children();
        let mut ended = Vec::new();
        for (member, child) in children.iter_mut() {
            if let Ok(Some(status)) = child.try_wait() {
                let last = process::last_log_line(&self.log(member));
                ended.push((member.clone(), format!("{member} ended with {status}: {last}")));
            }
        }
        for (member, _) in &ended {
            children.remove(member);
        }
        ended
    }

    /// What a process is doing.
    ///
    /// # Errors
    /// When the lists of processes cannot be read.
    pub fn activity(&self, member: &Member) -> Result<(Activity, Option<u32>)> {
        let process = self.state()?.alive(member);
        Ok(process.map_or((Activity::Gone, None), |process| (process.activity(), Some(process.pid))))
    }

    /// Fails when a process of ours ended although nobody asked it to.
    fn check_ended(&self) -> Result<()> {
        let mut children = self.children();
        for (member, child) in children.iter_mut() {
            if let Ok(Some(status)) = child.try_wait() {
                let last = process::last_log_line(&self.log(member));
                return Err(match status.code() {
                    Some(2) => Error::Usage(last),
                    _ => Error::Failed(format!(
                        "{member} ended with {status}: {last} (see {})",
                        self.log(member).display()
                    )),
                });
            }
        }
        Ok(())
    }

    pub(super) async fn wait_gone(
        &self,
        member: &Member,
        process: ProcessId,
        deadline: Duration,
    ) -> Result<()> {
        wait_until(&format!("{member} to end"), deadline, || async {
            if process.is_gone() {
                Ok(())
            } else {
                Err(format!("pid {} is {:?}", process.pid, process.activity()))
            }
        })
        .await
    }
}
