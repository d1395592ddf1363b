//! The cluster itself: starts its processes, waits until they serve, ends them in order.
//!
//! Everything that outlives a call is in the data directory, so that several programs may drive one cluster. What this
//! program started it also reaps, and ends when the value is dropped, unless it was detached.

mod command;
mod facts;
mod members;
mod waiting;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Child;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::config;
use crate::error::{Attempt, Error, Result};
use crate::layout::{Identity, Layout};
use crate::ports::{PortPlan, PortRange, check_free};
use crate::process::{self, Bond, ProcessId, Send};
use crate::spec::{Balancer, Ports, Spec};
use crate::state::{Member, RunnerState};
use crate::tls::Authority;

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
        spec.check_demo(&identity.hosts)?;
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
