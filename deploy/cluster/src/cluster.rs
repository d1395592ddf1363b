//! The cluster itself: starts its processes, waits until they serve, ends them in order.
//!
//! Everything that outlives a call is in the data directory, so that several programs may drive one cluster. What this
//! program started it also reaps, and ends when the value is dropped, unless it was detached.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use quorate_tls::{Credentials, Role};
use rustls::ClientConfig;

use crate::config::{self, GATEWAY_TOML, HAPROXY_CFG, REPLICA_TOML, replica_toml_of};
use crate::error::{Attempt, Error, Result};
use crate::http::Call;
use crate::layout::{Identity, Layout};
use crate::ports::{PortPlan, PortRange, check_free};
use crate::process::{self, Activity, Bond, ProcessId, Send};
use crate::roster::Roster;
use crate::spec::{Balancer, Host, Ports, Spec, gateway_place};
use crate::state::{Member, RunnerState};
use crate::tls::{Authority, has_certificates, has_edge, trusting};
use crate::wait::wait_until;

/// Replicas of a new cluster when nothing else was asked: two of them may die.
const REPLICAS: u16 = 5;
/// The balancer's port when nothing else was asked.
const PORT: u16 = 8080;
/// An orderly end takes at most this long, then the process is killed: a gateway moves its sessions for some seconds.
const STOP_WAIT: Duration = Duration::from_secs(30);
/// A killed process is gone within this.
const KILL_WAIT: Duration = Duration::from_secs(10);
/// A started process answers within this, replaying its log included.
pub(crate) const START_WAIT: Duration = Duration::from_secs(60);

/// A cluster on this machine.
#[derive(Debug)]
pub struct Cluster {
    pub(crate) layout: Layout,
    pub(crate) identity: Identity,
    plan: PortPlan,
    /// What `runner.json` says when nothing runs yet.
    blank: RunnerState,
    children: Mutex<BTreeMap<Member, Child>>,
    end_on_drop: AtomicBool,
    bond: Bond,
    _range: Option<PortRange>,
}

impl Cluster {
    /// Prepares a cluster: folders, identity, configuration files. Starts nothing.
    ///
    /// # Errors
    /// [`Error::Usage`] when one runs there already, the directory is for another number of replicas or other ports,
    /// or a port is taken.
    pub fn prepare(spec: &Spec) -> Result<Self> {
        spec.check()?;
        let dir = std::path::absolute(&spec.data_dir).attempt(|| "find the current folder".to_owned())?;
        let layout = Layout::new(dir);
        layout.prepare()?;
        let _guard = layout.lock()?;
        if let Some(state) = RunnerState::load(&layout)?
            && let Some(row) = state.processes().iter().find(|row| !row.process.is_gone())
        {
            return Err(Error::Usage(format!(
                "a cluster runs in {dir} already ({member}, pid {pid}): stop it with `deploy/down --data-dir {dir}`, or \
                 use another --data-dir and --port",
                dir = layout.dir().display(),
                member = row.member,
                pid = row.process.pid
            )));
        }
        let (identity, range) = identity(spec, &layout)?;
        let plan = PortPlan::new(identity.port)?;
        let blank = RunnerState::new(
            spec.gateways,
            spec.binaries.clone(),
            spec.balancer.clone(),
            spec.page_dir.clone(),
            spec.environment.clone(),
        );
        let cluster = Self {
            layout,
            identity,
            plan,
            blank,
            children: Mutex::default(),
            end_on_drop: AtomicBool::new(true),
            bond: spec.bond,
            _range: range,
        };
        let members = cluster.members();
        let here = members.iter().filter(|member| cluster.host(member).is_none());
        let addresses: Vec<_> = here.flat_map(|member| cluster.addresses(member)).collect();
        check_free(&addresses)?;
        if spec.tls {
            Authority::open(cluster.layout.tls())?;
        }
        if spec.edge_tls {
            Authority::open(cluster.layout.tls())?.edge()?;
        }
        config::write_all(spec, &cluster.layout, &cluster.identity)?;
        Ok(cluster)
    }

    /// The cluster that another program started in a data directory. Dropping this value ends nothing.
    ///
    /// # Errors
    /// [`Error::Usage`] when none was.
    pub fn attach(data_dir: &Path) -> Result<Self> {
        let none = || {
            Error::Usage(format!(
                "no cluster runs in {dir}: start one with `deploy/up --data-dir {dir}`",
                dir = data_dir.display()
            ))
        };
        let dir = std::path::absolute(data_dir).attempt(|| "find the current folder".to_owned())?;
        let layout = Layout::new(dir);
        let identity = layout.identity()?.ok_or_else(none)?;
        let state = RunnerState::load(&layout)?.ok_or_else(none)?;
        Ok(Self {
            plan: PortPlan::new(identity.port)?,
            layout,
            identity,
            blank: state,
            children: Mutex::default(),
            end_on_drop: AtomicBool::new(false),
            bond: Bond::Free,
            _range: None,
        })
    }

    /// Starts everything and waits until it serves; the balancer comes last, so that nobody meets a closed door.
    ///
    /// # Errors
    /// [`Error::Usage`] with a process's own line when that ended with exit code 2, [`Error::Failed`] otherwise.
    pub async fn start(&self) -> Result<()> {
        self.blank.save(&self.layout, &self.identity)?;
        for member in self.members() {
            if member != Member::Balancer {
                self.start_member(&member)?;
            }
        }
        self.wait_serving(START_WAIT).await?;
        if self.blank.balancer != Balancer::None {
            self.start_member(&Member::Balancer)?;
            let member = Member::Balancer;
            self.wait_ready(&member, START_WAIT).await?;
        }
        Ok(())
    }

    /// Starts one process and returns at once.
    ///
    /// # Errors
    /// [`Error::Usage`] when it runs or there is none of that name.
    pub fn start_member(&self, member: &Member) -> Result<ProcessId> {
        self.check_member(member)?;
        let _guard = self.layout.lock()?;
        let mut state = self.state()?;
        if let Some(process) = state.alive(member) {
            return Err(Error::Usage(format!("{member} runs already, pid {}", process.pid)));
        }
        let (child, process) = process::spawn(self.command(member)?, &self.log(member), self.bond)?;
        self.children().insert(member.clone(), child);
        state.set(member, Some(process));
        state.save(&self.layout, &self.identity)?;
        Ok(process)
    }

    /// Signals one process and returns at once.
    ///
    /// # Errors
    /// [`Error::Usage`] when it does not run.
    pub fn signal(&self, member: &Member, what: Send) -> Result<ProcessId> {
        self.check_member(member)?;
        let process = self.state()?.alive(member);
        let process = process.ok_or_else(|| Error::Usage(format!("{member} does not run")))?;
        process.send(what)?;
        Ok(process)
    }

    /// Ends one process as `kill -9` does and waits until it is gone.
    ///
    /// # Errors
    /// See [`Self::signal`].
    pub async fn kill(&self, member: &Member) -> Result<()> {
        let process = self.signal(member, Send::Kill)?;
        self.wait_gone(member, process, KILL_WAIT).await?;
        self.forget(member)
    }

    /// Asks one process to end (SIGTERM) and waits until it is gone.
    ///
    /// # Errors
    /// See [`Self::signal`]; [`Error::Failed`] when it takes longer than 30 s, and then it is killed.
    pub async fn stop(&self, member: &Member) -> Result<()> {
        let process = self.signal(member, Send::Terminate)?;
        // A paused process would never see it.
        process.send(Send::Resume)?;
        let ended = self.wait_gone(member, process, STOP_WAIT).await;
        if ended.is_err() {
            process.send(Send::Kill)?;
            self.wait_gone(member, process, KILL_WAIT).await?;
        }
        self.forget(member)?;
        ended
    }

    /// Ends everything in order: balancer, gateways, replicas. Goes on when one resists; what was killed is reported.
    ///
    /// # Errors
    /// [`Error::Failed`] naming those that had to be killed.
    pub async fn shut_down(&self) -> Result<()> {
        let state = self.state()?;
        let tier = |member: &Member| match member {
            Member::Balancer => 0,
            Member::Gateway(_) => 1,
            Member::Replica(_) => 2,
        };
        let mut failures = Vec::new();
        for now in 0..=2 {
            let running = state
                .processes()
                .into_iter()
                .filter(|row| tier(&row.member) == now && !row.process.is_gone());
            let rows: Vec<_> = running.collect();
            for row in &rows {
                row.process.send(Send::Terminate)?;
                row.process.send(Send::Resume)?;
            }
            for row in &rows {
                if self.wait_gone(&row.member, row.process, STOP_WAIT).await.is_err() {
                    failures.push(row.member.to_string());
                    row.process.send(Send::Kill)?;
                    self.wait_gone(&row.member, row.process, KILL_WAIT).await?;
                }
            }
        }
        self.reap();
        for path in [self.layout.cluster_json(), self.layout.runner_json()] {
            std::fs::remove_file(&path).attempt(|| format!("remove {}", path.display()))?;
        }
        if failures.is_empty() {
            Ok(())
        } else {
            Err(Error::Failed(format!(
                "killed after {STOP_WAIT:?} without an orderly end: {}",
                failures.join(", ")
            )))
        }
    }

    /// Kills what this value started and what is left of it.
    pub fn end_children(&self) {
        for child in self.children().values_mut() {
            // A child that has ended and was not reaped yet takes the signal as well.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Lets the processes live on when this value is dropped.
    pub fn detach(&self) {
        self.end_on_drop.store(false, Ordering::Relaxed);
    }

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
    fn roster(&self) -> Roster {
        Roster::load(&self.layout, &self.identity).unwrap_or_else(|_| Roster::first(&self.identity))
    }

    /// Runs one of the operator's commands, `replica <arguments> --config <this cluster's>`, and returns what it printed.
    ///
    /// # Errors
    /// [`Error::Failed`] with its line when it does not succeed.
    pub async fn operate(&self, arguments: &[&str]) -> Result<String> {
        let mut command = tokio::process::Command::new(&self.blank.binaries.replica);
        command.args(arguments).arg("--config").arg(self.layout.config(REPLICA_TOML)).kill_on_drop(true);
        let output = command.output().await.attempt(|| "run the replica program".to_owned())?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let line = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        Err(Error::Failed(format!("{}: {line}", arguments.join(" "))))
    }

    /// Starts a further replica, which waits to be added, under an id that was never used.
    ///
    /// # Errors
    /// See [`Self::start_member`].
    pub async fn start_newcomer(&self) -> Result<u16> {
        let id = {
            let _guard = self.layout.lock()?;
            let mut roster = Roster::load(&self.layout, &self.identity)?;
            let id = roster.next_id();
            roster.enlist(id)?;
            roster.save(&self.layout)?;
            id
        };
        let member = Member::Replica(id);
        self.start_member(&member)?;
        self.wait_ready(&member, START_WAIT).await?;
        Ok(id)
    }

    /// Starts a further replica and makes it a voter; returns its id.
    ///
    /// # Errors
    /// [`Error::Failed`] with the command's line when it is refused or does not catch up.
    pub async fn add_replica(&self) -> Result<u16> {
        let id = self.start_newcomer().await?;
        let (name, address) = (id.to_string(), self.replica_grpc(id)?.to_string());
        self.operate(&["member", "add", "--id", &name, "--address", &address, "--wait"]).await?;
        self.operate(&["member", "promote", &name]).await?;
        Ok(id)
    }

    /// Removes a replica for ever and waits until its process has ended.
    ///
    /// # Errors
    /// [`Error::Failed`] with the command's line when it is refused.
    pub async fn remove_replica(&self, id: u16) -> Result<()> {
        self.operate(&["member", "remove", &id.to_string()]).await?;
        self.dismiss(id).await
    }

    /// Replaces a replica, dead or alive, by a new one; returns the new one's id.
    ///
    /// # Errors
    /// As [`Self::add_replica`].
    pub async fn replace_replica(&self, old: u16) -> Result<u16> {
        let id = self.start_newcomer().await?;
        let (name, address) = (id.to_string(), self.replica_grpc(id)?.to_string());
        self.operate(&["member", "replace", &old.to_string(), "--by", &name, "--address", &address]).await?;
        self.dismiss(old).await?;
        Ok(id)
    }

    /// Takes a removed replica off the list once its process, if it ran, has ended by itself.
    ///
    /// # Errors
    /// [`Error::Failed`] when it goes on running.
    pub async fn dismiss(&self, id: u16) -> Result<()> {
        let member = Member::Replica(id);
        if let Some(process) = self.state()?.alive(&member) {
            self.wait_gone(&member, process, START_WAIT).await?;
        }
        self.forget(&member)?;
        let _guard = self.layout.lock()?;
        let mut roster = Roster::load(&self.layout, &self.identity)?;
        roster.strike(id);
        roster.save(&self.layout)
    }

    /// Names of the gateways.
    pub fn gateways(&self) -> Vec<String> {
        (0..self.blank.gateways).map(crate::spec::gateway_name).collect()
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

    fn members(&self) -> Vec<Member> {
        self.blank.members(self.roster().ids())
    }

    fn check_member(&self, member: &Member) -> Result<()> {
        let members = self.members();
        if members.contains(member) {
            return Ok(());
        }
        let names: Vec<String> = members.iter().map(Member::to_string).collect();
        Err(Error::Usage(format!("there is no {member}; there are {}", names.join(", "))))
    }

    /// Where a member runs that has a network of its own.
    fn host(&self, member: &Member) -> Option<&Host> {
        match member {
            Member::Replica(id) => self.identity.hosts.get(id),
            Member::Gateway(_) | Member::Balancer => None,
        }
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

    fn addresses(&self, member: &Member) -> Vec<(String, SocketAddr)> {
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

    fn command(&self, member: &Member) -> Result<Command> {
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

    async fn wait_gone(&self, member: &Member, process: ProcessId, deadline: Duration) -> Result<()> {
        wait_until(&format!("{member} to end"), deadline, || async {
            if process.is_gone() {
                Ok(())
            } else {
                Err(format!("pid {} is {:?}", process.pid, process.activity()))
            }
        })
        .await
    }

    fn forget(&self, member: &Member) -> Result<()> {
        if let Some(mut child) = self.children().remove(member) {
            child.wait().attempt(|| format!("reap {member}"))?;
        }
        let _guard = self.layout.lock()?;
        let mut state = self.state()?;
        if state.alive(member).is_none() {
            state.set(member, None);
        }
        state.save(&self.layout, &self.identity)
    }

    /// Takes the exit codes of children that are gone.
    fn reap(&self) {
        self.children().retain(|_, child| !matches!(child.try_wait(), Ok(Some(_))));
    }

    fn children(&self) -> MutexGuard<'_, BTreeMap<Member, Child>> {
        self.children.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if !self.end_on_drop.load(Ordering::Relaxed) {
            return;
        }
        let rows = self.state().map(|state| state.processes()).unwrap_or_default();
        for row in rows {
            // Best effort: whoever drops a cluster in the middle of a failure wants the first error, not this one.
            let _ = row.process.send(Send::Kill);
        }
        self.end_children();
        let _ = std::fs::remove_file(self.layout.cluster_json());
        let _ = std::fs::remove_file(self.layout.runner_json());
    }
}

/// What the directory is for: read, or made from the specification.
fn identity(spec: &Spec, layout: &Layout) -> Result<(Identity, Option<PortRange>)> {
    let dir = layout.dir().display();
    let Some(found) = layout.identity()? else {
        let replicas = spec.replicas.unwrap_or(REPLICAS);
        let (port, range) = match spec.ports {
            Some(Ports::From(port)) => (PortPlan::new(port)?.first, None),
            None => (PORT, None),
            Some(Ports::Free) => {
                let range = PortRange::find()?;
                (range.plan().first, Some(range))
            }
        };
        return Ok((layout.found(replicas, port, spec.hosts.clone())?, range));
    };
    if let Some(asked) = spec.replicas
        && asked != found.replicas
    {
        return Err(Error::Usage(format!(
            "{dir} holds a cluster of {} replicas, not {asked}: leave --replicas out or use another --data-dir",
            found.replicas
        )));
    }
    if let Some(Ports::From(asked)) = spec.ports
        && asked != found.port
    {
        return Err(Error::Usage(format!(
            "{dir} holds a cluster on port {}, not {asked}, and its replicas know each other by port: leave --port out \
             or use another --data-dir",
            found.port
        )));
    }
    Ok((found, None))
}
