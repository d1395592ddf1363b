//! A cluster for one test: temporary data directory, free ports, everything ended at the end, evidence kept on failure.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use quorate_cluster::process::Bond;
use quorate_cluster::{Binaries, Cluster, Member, Ports, Spec, wait_until};
use quorate_proto::rpc::StatusResponse;
use quorate_tls::{Credentials, Role};
use tempfile::TempDir;
use tonic::transport::{Channel, Endpoint};

use crate::bench::process::resident_bytes;
use crate::history::Recorder;

/// Folder under the target folder where a failed test leaves what it saw.
const FAILURES: &str = "failures";

/// A replica on the same machine answers a connect in this time, also when both cores are busy.
const CONNECT_WAIT: Duration = Duration::from_secs(2);

/// The version rises by one entry a step.
const UPGRADE_WAIT: Duration = Duration::from_secs(60);

/// A cluster that ends with this value.
#[derive(Debug)]
pub struct TestCluster {
    /// The cluster.
    pub cluster: Cluster,
    /// What happened.
    pub recorder: Recorder,
    name: String,
    dir: Option<TempDir>,
}

impl TestCluster {
    /// Five replicas, three gateways and the balancer, without limits on how fast anybody may send.
    ///
    /// # Errors
    /// When the programs are not built, no ports are free, or a process fails.
    pub async fn start(name: &str) -> anyhow::Result<Self> {
        Self::start_with(name, |spec| spec).await
    }

    /// The same, with changes to the specification.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn start_with(name: &str, change: impl FnOnce(Spec) -> Spec) -> anyhow::Result<Self> {
        Self::prepare_with(name, change)?.serve().await
    }

    /// Folders, ports and configuration of a cluster that is not started yet: for what must be there before.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn prepare_with(name: &str, change: impl FnOnce(Spec) -> Spec) -> anyhow::Result<Self> {
        Self::prepare_of(name, Binaries::beside_this_program()?, change)
    }

    /// The same of certain programs.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn prepare_of(
        name: &str,
        programs: Binaries,
        change: impl FnOnce(Spec) -> Spec,
    ) -> anyhow::Result<Self> {
        let dir = tempfile::Builder::new().prefix("quorate-test-").tempdir()?;
        let mut spec = Spec::new(dir.path().join("data"), programs)
            .limit("sends_per_window_max", 0)
            .limit("frames_per_second", 0);
        // Nor on how many sessions begin at a time.
        spec.gateway_keys.insert("sessions_per_second".to_owned(), 0.into());
        spec.ports = Some(Ports::Free);
        // A test run that is itself killed leaves nothing behind.
        spec.bond = Bond::Tied;
        let cluster = Cluster::prepare(&change(spec))?;
        Ok(Self { cluster, recorder: Recorder::default(), name: name.to_owned(), dir: Some(dir) })
    }

    /// Starts what was prepared.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn serve(self) -> anyhow::Result<Self> {
        if let Err(error) = self.cluster.start().await {
            return Err(self.keep(anyhow::Error::new(error).context("the cluster did not start")));
        }
        self.recorder.mark("the cluster serves");
        Ok(self)
    }

    /// Waits until the replicas have agreed on their newest rules: a new cluster raises its machine version step by step.
    ///
    /// # Errors
    /// When they do not in time.
    pub async fn upgraded(self) -> anyhow::Result<Self> {
        let upgraded = wait_until("the newest machine version everywhere", UPGRADE_WAIT, || async {
            let statuses = self.cluster.replica_statuses(0).await;
            let is_newest = |status: &Result<StatusResponse, String>| {
                status.as_ref().is_ok_and(|status| status.machine_version == status.machine_version_max)
            };
            if statuses.iter().all(is_newest) { Ok(()) } else { Err(format!("{statuses:?}")) }
        })
        .await;
        match upgraded {
            Ok(()) => Ok(self),
            Err(error) => Err(self.keep(error.into())),
        }
    }

    /// Resident memory of a process of the cluster, bytes.
    ///
    /// # Errors
    /// When it is not running.
    pub fn resident_bytes(&self, member: &Member) -> anyhow::Result<u64> {
        let (_, pid) = self.cluster.activity(member)?;
        resident_bytes(pid.with_context(|| format!("{member} is not running"))?)
    }

    /// A connection to a replica, as a process of this role has it where the cluster has certificates.
    ///
    /// # Errors
    /// When there is no such replica, or the certificate cannot be made.
    pub fn channel(&self, id: u16, role: Role) -> anyhow::Result<Channel> {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.cluster.replica_grpc(id)?))?;
        let credentials = match self.cluster.authority()? {
            Some(authority) => {
                let name = role.name().split('.').next().unwrap_or_default();
                let files = authority.files(&format!("test-{name}"), role)?;
                Some(Credentials::load(&files, &Role::ALL)?)
            }
            None => None,
        };
        Ok(quorate_tls::channel(&endpoint.connect_timeout(CONNECT_WAIT), credentials))
    }

    /// A call as replicas take it: it names the cluster.
    ///
    /// # Errors
    /// When the cluster's id is no ASCII.
    pub fn call<T>(&self, message: T) -> anyhow::Result<tonic::Request<T>> {
        let mut call = tonic::Request::new(message);
        call.metadata_mut().insert(quorate_proto::CLUSTER_METADATA, self.cluster.id().parse()?);
        Ok(call)
    }

    /// Passes a result on; a failure keeps logs, data and history and says where.
    ///
    /// # Errors
    /// The error that was passed in, with the places added.
    pub async fn finish(self, result: anyhow::Result<()>) -> anyhow::Result<()> {
        match result {
            Ok(()) => Ok(()),
            Err(error) => Err(self.keep(error)),
        }
    }

    fn keep(mut self, error: anyhow::Error) -> anyhow::Error {
        let history = self.recorder.save(&target_dir().join(FAILURES), &self.name);
        let history = history.map_or_else(|error| error.to_string(), |path| path.display().to_string());
        let data = self.dir.take().map(TempDir::keep).unwrap_or_default();
        error.context(format!("{}: raw history in {history}, logs and data in {}", self.name, data.display()))
    }
}

impl Drop for TestCluster {
    fn drop(&mut self) {
        // After a panic the evidence is wanted as well; the cluster itself ends with its own drop.
        if std::thread::panicking()
            && let Some(dir) = self.dir.take()
        {
            eprintln!("{}: logs and data in {}", self.name, dir.keep().display());
        }
    }
}

/// Cargo's target folder, found from where this program lies.
pub fn target_dir() -> PathBuf {
    let own = std::env::current_exe().unwrap_or_default();
    own.ancestors().find(|dir| dir.ends_with("target")).unwrap_or(Path::new("target")).to_owned()
}

/// Reads a text file, with its name in the error.
///
/// # Errors
/// When it cannot be read.
pub fn read(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

/// A number from the environment, for the long forms of tests.
///
/// # Panics
/// When the variable is set to something else: a long form that silently ran short would prove nothing.
pub fn number(variable: &str, default: usize) -> usize {
    match std::env::var(variable) {
        Err(_) => default,
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{variable} is a number, not {text:?}")),
    }
}
