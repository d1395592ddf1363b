//! `deploy/up --demo` as a person has it: the real runner, its links, its control, its probe.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use quorate_cluster::http::Call;
use quorate_cluster::process::{self, Bond, ProcessId, Send};
use quorate_cluster::{Binaries, PortRange, wait_until};
use quorate_proto::rest::{
    AdminUsers, Conversations, Demo, DemoEntry, Fault, NewFault, NewProbe, ProbeReport, ProcessState,
    SessionGrant,
};
use serde::de::DeserializeOwned;
use tempfile::TempDir;

/// A cluster starts, and the demo is filled, within this on two busy cores.
const START_WAIT: Duration = Duration::from_secs(180);
/// A single call; a fault waits for a process to be gone.
const CALL_WAIT: Duration = Duration::from_secs(20);
/// An election, a gateway that comes back, and some seconds of the probe.
const PROBE_WAIT: Duration = Duration::from_secs(60);
/// An orderly end of everything.
const STOP_WAIT: Duration = Duration::from_secs(90);

/// The runner in its terminal; ended with this value, and with it all that it started.
struct Terminal {
    dir: PathBuf,
    log: PathBuf,
    runner: PathBuf,
    child: Child,
    id: ProcessId,
}

impl Terminal {
    async fn open(dir: &Path, port: u16, number: u32) -> anyhow::Result<Self> {
        let runner = Binaries::beside_this_program()?.replica.with_file_name("quorate-cluster");
        ensure!(runner.is_file(), "{} is not built", runner.display());
        let log = dir.join(format!("terminal-{number}.log"));
        let data = dir.join("data");
        let mut command = Command::new(&runner);
        command.args(["up", "--demo", "--port", &port.to_string(), "--data-dir"]).arg(&data);
        let (child, id) = process::spawn(command, &log, Bond::Tied)?;
        let terminal = Self { dir: data, log, runner, child, id };
        wait_until("the demo's links", START_WAIT, || async {
            let said = fs::read_to_string(&terminal.log).unwrap_or_default();
            if terminal.id.is_gone() {
                return Ok(Err(anyhow::anyhow!("the runner ended: {said}")));
            }
            if said.contains("desk#/demo") { Ok(Ok(())) } else { Err(said) }
        })
        .await??;
        Ok(terminal)
    }

    /// The codes behind the links that it has printed, in order.
    fn codes(&self) -> anyhow::Result<Vec<String>> {
        let said = fs::read_to_string(&self.log)?;
        let codes: Vec<String> = said
            .split_whitespace()
            .filter_map(|word| Some(word.split_once("/demo#")?.1.to_owned()))
            .collect();
        ensure!(codes.len() == 2, "not two links: {said}");
        Ok(codes)
    }

    async fn close(mut self) -> anyhow::Result<()> {
        self.id.send(Send::Terminate)?;
        wait_until("the runner to end", STOP_WAIT, || async {
            if self.id.is_gone() { Ok(()) } else { Err("it runs".to_owned()) }
        })
        .await?;
        let status = self.child.wait()?;
        ensure!(status.success(), "the runner ended with {status}: {}", process::last_log_line(&self.log));
        Ok(())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if self.id.is_gone() {
            return;
        }
        process::kill_tree(self.id);
        let _ = self.child.wait();
        // What it had started lives on in groups of its own.
        let down = Command::new(&self.runner)
            .arg("down")
            .arg("--data-dir")
            .arg(&self.dir)
            .stdin(Stdio::null())
            .output();
        if let Err(error) = down {
            eprintln!("cannot end the cluster in {}: {error}", self.dir.display());
        }
    }
}

/// Somebody who came by a link.
struct Visitor {
    front: SocketAddr,
    grant: SessionGrant,
}

async fn enter(front: SocketAddr, code: &str) -> anyhow::Result<Result<Visitor, u16>> {
    let entry = DemoEntry { code: code.to_owned() };
    let call = Call::new("POST", "/api/v1/demo/entries").json(&entry).deadline(CALL_WAIT);
    let answer = call.send(front).await?;
    if answer.status() != 201 {
        return Ok(Err(answer.status().as_u16()));
    }
    ensure!(answer.headers().contains_key("set-cookie"), "no cookie: a browser would not stay signed in");
    Ok(Ok(Visitor { front, grant: serde_json::from_slice(answer.body())? }))
}

impl Visitor {
    async fn call(&self, call: Call) -> anyhow::Result<(u16, Vec<u8>)> {
        let token = format!("Bearer {}", self.grant.access_token);
        let answer = call.header("authorization", token).deadline(CALL_WAIT).send(self.front).await?;
        Ok((answer.status().as_u16(), answer.body().to_vec()))
    }

    /// The same person by another way in.
    fn at(&self, front: SocketAddr) -> Self {
        Self { front, grant: self.grant.clone() }
    }

    async fn read<T: DeserializeOwned>(&self, call: Call) -> anyhow::Result<T> {
        let (status, body) = self.call(call).await?;
        ensure!(status == 200, "{status}: {}", String::from_utf8_lossy(&body));
        serde_json::from_slice(&body).with_context(|| String::from_utf8_lossy(&body).into_owned())
    }

    async fn demo(&self) -> anyhow::Result<Demo> {
        self.read(Call::get("/api/v1/admin/demo")).await
    }

    async fn fault(&self, fault: Fault, target: &str) -> anyhow::Result<Demo> {
        let asked = NewFault { fault, target: target.to_owned() };
        self.read(Call::new("POST", "/api/v1/admin/demo/faults").json(&asked)).await
    }

    async fn probe(&self, run: bool) -> anyhow::Result<Demo> {
        self.read(Call::new("POST", "/api/v1/admin/demo/probe").json(&NewProbe { run })).await
    }

    /// Waits until the probe has counted something.
    async fn counted(&self, what: &str, is: impl Fn(&ProbeReport) -> bool) -> anyhow::Result<ProbeReport> {
        let is = &is;
        let report = wait_until(what, PROBE_WAIT, || async move {
            let demo = self.demo().await.map_err(|error| format!("{error:#}"))?;
            if is(&demo.probe) { Ok(demo.probe) } else { Err(format!("{:?}", demo.probe)) }
        });
        Ok(report.await?)
    }

    /// Everything that the seeding makes, in numbers: users, and title and newest message of each conversation.
    async fn inventory(&self) -> anyhow::Result<(usize, Vec<(String, u64, u64)>)> {
        // A replica may lag, and all of it was there before she signed in.
        let index = self.grant.index;
        let users = Call::get(format!("/api/v1/admin/users?limit=100&min_index={index}"));
        let users: AdminUsers = self.read(users).await?;
        let list: Conversations =
            self.read(Call::get(format!("/api/v1/conversations?min_index={index}"))).await?;
        let rooms = list.conversations.iter().map(|each| (each.title.clone(), each.id, each.sequence));
        Ok((users.users.len(), rooms.collect()))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_demo_is_filled_once_its_links_work_once_and_its_probe_sees_nothing_of_a_dead_leader()
-> anyhow::Result<()> {
    let dir = tempfile::Builder::new().prefix("quorate-test-").tempdir()?;
    let result = demo(dir.path()).await;
    match result {
        Ok(()) => Ok(()),
        Err(error) => Err(error.context(format!("logs and data in {}", TempDir::keep(dir).display()))),
    }
}

async fn demo(dir: &Path) -> anyhow::Result<()> {
    let range = PortRange::find()?;
    let front = range.plan().balancer();
    let terminal = Terminal::open(dir, front.port(), 1).await?;
    // Without a balancer the first gateway is the front.
    let is_balanced = process::find_program("haproxy").is_some();
    let front = if is_balanced { front } else { range.plan().gateway(0) };
    let codes = terminal.codes()?;
    let mut visitors = Vec::new();
    for code in &codes {
        let Ok(visitor) = enter(front, code).await? else { bail!("a new link was refused") };
        visitors.push(visitor);
        let again = enter(front, code).await?.err();
        ensure!(again == Some(404), "a link that was used signs in again, or says {again:?}");
    }
    let [ada, ben] = visitors.as_slice() else { bail!("not two visitors") };
    ensure!(ada.grant.admin && !ben.grant.admin, "the first is the admin: {:?} {:?}", ada.grant, ben.grant);
    for file in ["demo.json", "demo-control.json"] {
        let mode = fs::metadata(terminal.dir.join(file))?.permissions().mode() & 0o777;
        ensure!(mode == 0o600, "{file} has the mode {mode:o}");
    }
    let seeded = ada.inventory().await?;
    ensure!(seeded.0 >= 10 && seeded.1.len() >= 6, "too little to look lived in: {seeded:?}");
    refusals(ada, ben).await?;
    faults(ada, (!is_balanced).then(|| range.plan().gateway(1))).await?;
    terminal.close().await?;

    let terminal = Terminal::open(dir, range.plan().balancer().port(), 2).await?;
    let old = enter(front, &codes[0]).await?.err();
    ensure!(old == Some(404), "a link of the former start: {old:?}");
    let Ok(ada) = enter(front, &terminal.codes()?[0]).await? else { bail!("a new link was refused") };
    let again = ada.inventory().await?;
    ensure!(again == seeded, "the second start changed what the first had made: {seeded:?}, then {again:?}");
    terminal.close().await
}

/// What is asked wrongly, or by somebody who may not.
async fn refusals(ada: &Visitor, ben: &Visitor) -> anyhow::Result<()> {
    let fault = |target: &str, fault| NewFault { fault, target: target.to_owned() };
    let post = |body: &NewFault| Call::new("POST", "/api/v1/admin/demo/faults").json(body);
    let (status, _) = ben.call(post(&fault("leader", Fault::Kill))).await?;
    ensure!(status == 403, "somebody who is no admin is told {status}");
    let (status, _) = ben.call(Call::get("/api/v1/admin/demo")).await?;
    ensure!(status == 403, "somebody who is no admin sees the demo: {status}");
    let (status, body) = ada.call(post(&fault("replica-99", Fault::Kill))).await?;
    let says = String::from_utf8_lossy(&body).into_owned();
    ensure!(status == 404 && says.contains("replica-1"), "an unknown target: {status} {says}");
    let (status, body) = ada.call(post(&fault("replica-1", Fault::Heal))).await?;
    let says = String::from_utf8_lossy(&body).into_owned();
    ensure!(status == 422 && says.contains("nothing to heal"), "nothing is wrong with it: {status} {says}");
    let demo = ada.demo().await?;
    for unavailable in &demo.unavailable {
        let (status, _) = ada.call(post(&fault("replica-1", unavailable.fault))).await?;
        ensure!(status == 422 && !unavailable.reason.is_empty(), "{unavailable:?}: {status}");
    }
    ensure!(demo.processes.iter().all(|each| each.state == ProcessState::Running), "{demo:?}");
    Ok(())
}

/// `second`: the way in when the first gateway is killed, where no balancer finds one.
async fn faults(ada: &Visitor, second: Option<SocketAddr>) -> anyhow::Result<()> {
    ada.probe(true).await?;
    let calm = ada.counted("the probe to be under way", |probe| probe.acknowledged >= 20).await?;
    let leader = wait_until("somebody to lead", PROBE_WAIT, || async {
        let demo = ada.demo().await.map_err(|error| format!("{error:#}"))?;
        demo.leader.ok_or_else(|| "nobody does".to_owned())
    })
    .await?;
    let after = ada.fault(Fault::Kill, &leader).await?;
    let down: Vec<&str> = after
        .processes
        .iter()
        .filter(|each| each.state == ProcessState::Stopped)
        .map(|each| each.name.as_str())
        .collect();
    ensure!(down == [leader.as_str()], "{leader} led, and {down:?} is down");
    let more = calm.acknowledged + 30;
    ada.counted("writes after the leader's death", |probe| probe.acknowledged >= more).await?;
    ada.fault(Fault::Start, &leader).await?;
    // The gateway at which the writer is: she must go on through another.
    let at = ada.counted("the writer to be somewhere", |probe| !probe.writer_at.is_empty()).await?;
    let gateway = format!("gateway-{}", at.writer_at);
    ada.fault(Fault::Kill, &gateway).await?;
    // Without a balancer she came in by gateway a.
    let ada = &ada.at(second.filter(|_| at.writer_at == "a").unwrap_or(ada.front));
    let more = at.acknowledged + 30;
    ada.counted("writes after the gateway's death", |probe| {
        probe.acknowledged >= more && probe.writer_at != at.writer_at
    })
    .await?;
    ada.fault(Fault::Start, &gateway).await?;
    ada.probe(false).await?;
    let end = ada.counted("all that was acknowledged to be compared", |probe| probe.settled).await?;
    println!("the probe over a dead leader and a dead gateway: {end:?}");
    ensure!((end.lost, end.doubled, end.reordered) == (0, 0, 0), "{end:?}");
    ensure!(end.sent == end.acknowledged && end.acknowledged == end.read, "not everything arrived: {end:?}");
    Ok(())
}
