//! The demo: processes that may be hurt, and the probe that tells what of it anybody notices. Served only by gateways that
//! were started for it; elsewhere these addresses answer 404. What the runner and the gateways say to each other is the same.

use serde::{Deserialize, Serialize};

/// `GET /api/v1/admin/demo`: what the runner knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Demo {
    /// Replicas by id, gateways by name, the balancer if there is one.
    pub processes: Vec<DemoProcess>,
    /// The replica that a majority follows, as its process is called; absent while there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leader: Option<String>,
    /// What cannot be done on this machine, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unavailable: Vec<UnavailableFault>,
    /// What the probe has counted.
    pub probe: ProbeReport,
}

/// A process of the runner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct DemoProcess {
    /// `replica-3`, `gateway-b` or `balancer`: what a fault names as its target.
    pub name: String,
    /// What it is.
    pub kind: ProcessKind,
    /// How it is.
    pub state: ProcessState,
    /// Its process id, while there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
}

/// What a process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ProcessKind {
    /// Keeps the truth.
    Replica,
    /// Holds the browsers' sockets.
    Gateway,
    /// Stands in front of the gateways.
    Balancer,
}

/// How a process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ProcessState {
    /// It runs; one that was just started may not serve yet.
    Running,
    /// Stopped where it stands (SIGSTOP): its sockets stay open and nothing answers.
    Paused,
    /// It runs, and nothing reaches it or leaves it.
    Cut,
    /// There is no such process.
    Stopped,
}

/// What can be done to a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// `kill -9`.
    Kill,
    /// As if its machine hung.
    Pause,
    /// As if its cable were pulled.
    Cut,
    /// Ends a pause or a cut.
    Heal,
    /// Starts it again after a kill. The answer does not wait until it serves.
    Start,
}

/// A fault that cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct UnavailableFault {
    /// Which.
    pub fault: Fault,
    /// Why, in words for a person.
    pub reason: String,
}

/// `POST /api/v1/admin/demo/faults`: answered with [`Demo`] as it is afterwards.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct NewFault {
    /// What to do.
    pub fault: Fault,
    /// A process by its name, or `leader` for the replica that leads now.
    pub target: String,
}

/// `POST /api/v1/admin/demo/probe`: answered with [`Demo`] as it is afterwards.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct NewProbe {
    /// True: begins to send, all counters at zero. False: sends nothing new; what is under way is still counted.
    pub run: bool,
}

/// What the probe counts: a writer sends a numbered message ten times a second, whatever became of the ones before, and a
/// reader at another gateway reads them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ProbeReport {
    /// It sends.
    pub running: bool,
    /// Everything that was acknowledged has been compared with the conversation's history since the last message. Only then
    /// is `lost` final.
    pub settled: bool,
    /// Messages given to the writer's client.
    pub sent: u64,
    /// Messages of which the writer was told that a majority has them: by the acknowledgement or by the event.
    pub acknowledged: u64,
    /// Messages that the reader has.
    pub read: u64,
    /// Acknowledged, and not there: where the acknowledgement says it stands is another message, or nothing once all was read.
    pub lost: u64,
    /// Read more than once.
    pub doubled: u64,
    /// Read after one with a higher number.
    pub reordered: u64,
    /// For how long messages have been waiting and none was acknowledged, ms; 0 when none waits.
    pub write_gap_ms: u64,
    /// The longest such time, ms.
    pub write_gap_max_ms: u64,
    /// The gateway at which the writer is; empty between two sockets.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub writer_at: String,
    /// The gateway at which the reader is; empty between two sockets.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reader_at: String,
}

/// `POST /api/v1/demo/entries`: the code of a link that the runner printed. Good once, for some minutes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct DemoEntry {
    /// From the link's fragment.
    pub code: String,
}

/// How a gateway reaches the runner: the file that `demo_control_file` names, readable by its owner alone and written anew at
/// each start of the runner. Its `Debug` shows no token.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DemoControl {
    /// Where the runner listens; on loopback.
    pub address: std::net::SocketAddr,
    /// What it is shown as `Authorization: Bearer`.
    pub token: String,
}

impl std::fmt::Debug for DemoControl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DemoControl").field("address", &self.address).finish_non_exhaustive()
    }
}
