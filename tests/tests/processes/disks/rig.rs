//! A cluster whose replicas have a disk each that can lose power, fail and fill up, and a boot id each.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use futures_util::future::try_join_all;
use quorate_cluster::{Member, Spec, wait_until};
use quorate_faultfs::{Cut, CutReport, Error, FaultDisk};
use quorate_tests::harness::TestCluster;
use quorate_tests::scene::{self, Scene, WAIT, caught_up};
use quorate_tests::skip;
use tempfile::TempDir;
use tokio::sync::{Mutex, MutexGuard};
use toml::Table;

/// One message per person in this time: about 250 a second in all.
pub const PACE: Duration = Duration::from_millis(80);
/// Acks that each phase must see, or the run proves nothing.
pub const ACKS_PER_PHASE: usize = 200;
/// Replicas of every cluster here.
pub const REPLICAS: u16 = 5;

/// One cluster at a time: two of them on two cores would test the scheduler.
static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

/// Waits until no other cluster of these tests runs.
pub async fn turn() -> MutexGuard<'static, ()> {
    ONE_AT_A_TIME.lock().await
}

/// A number from the environment: how often the long form does what the short form does a few times.
pub fn count(variable: &str, short: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(short)
}

/// See the module. Fields end in order: first the processes, then their disks.
pub struct Rig {
    pub test: TestCluster,
    pub disks: BTreeMap<u16, FaultDisk>,
    boots: TempDir,
    boot: std::sync::atomic::AtomicU64,
    _turn: MutexGuard<'static, ()>,
}

/// How a process ended.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    /// The last line it wrote.
    pub line: String,
}

impl Ended {
    /// Fails unless it refused or stopped with one line that says this.
    pub fn check(&self, code: i32, says: &str) -> anyhow::Result<()> {
        let told = self.code == Some(code) && self.line.contains(says);
        ensure!(
            told,
            "exit code {code} and a line with {says:?} expected, not {:?}: {}",
            self.code,
            self.line
        );
        Ok(())
    }
}

fn boot_id_file(boots: &Path, id: u16) -> PathBuf {
    boots.join(format!("replica-{id}"))
}

impl Rig {
    /// Five replicas on disks of their own, three gateways; `None` where the machine cannot mount them.
    pub async fn start(name: &str, keys: impl Fn(u16) -> Table) -> anyhow::Result<Option<Self>> {
        let turn = turn().await;
        let target = std::env::current_exe()?;
        let folder = target.ancestors().nth(2).context("a test lies in target/…/deps")?;
        let program = folder.join("quorate-faultfs");
        ensure!(program.is_file(), "{} is not there: build it with `cargo build`", program.display());
        let boots = tempfile::Builder::new().prefix("quorate-boots-").tempdir()?;
        let mut disks = BTreeMap::new();
        let mut own_keys = BTreeMap::new();
        for id in 1..=REPLICAS {
            let disk = match FaultDisk::mount(&program) {
                Ok(disk) => disk,
                Err(Error::Unavailable(why)) => {
                    skip::skip(name, &why);
                    return Ok(None);
                }
                Err(error) => return Err(error.into()),
            };
            std::fs::write(boot_id_file(boots.path(), id), "boot 0")?;
            let mut table = keys(id);
            table.insert("data_dir".into(), disk.path().join("data").display().to_string().into());
            let boot_id_file = boot_id_file(boots.path(), id).display().to_string();
            table.insert("boot_id_file".into(), boot_id_file.into());
            own_keys.insert(id, table);
            disks.insert(id, disk);
        }
        let change = |spec: Spec| Spec { replicas: Some(REPLICAS), replica_keys_of: own_keys, ..spec };
        let test = TestCluster::start_with(name, change).await?;
        Ok(Some(Self { test, disks, boots, boot: 0.into(), _turn: turn }))
    }

    /// Passes a result on; a failure keeps what is on the disks as well.
    pub async fn finish(self, result: anyhow::Result<()>) -> anyhow::Result<()> {
        let Self { test, disks, boots: _boots, boot: _, _turn } = self;
        let result = match result {
            Ok(()) => Ok(()),
            Err(error) => {
                let kept = tempfile::Builder::new().prefix("quorate-disks-").tempdir()?.keep();
                for (id, disk) in &disks {
                    // The processes may run on; a copy that is a little uneven is better than none.
                    let _ = copy_tree(&disk.path(), &kept.join(format!("replica-{id}")));
                }
                Err(error.context(format!("the disks' contents are in {}", kept.display())))
            }
        };
        let result = test.finish(result).await;
        drop(disks);
        result
    }

    pub fn disk(&self, id: u16) -> &FaultDisk {
        &self.disks[&id]
    }

    /// Where a replica keeps everything.
    pub fn data_dir(&self, id: u16) -> PathBuf {
        self.disk(id).path().join("data")
    }

    /// `kill -9`, all at the same moment.
    pub async fn kill(&self, ids: &[u16]) -> anyhow::Result<()> {
        let members: Vec<Member> = ids.iter().map(|id| Member::Replica(*id)).collect();
        try_join_all(members.iter().map(|member| self.test.cluster.kill(member))).await?;
        Ok(())
    }

    /// Starts a replica and returns at once.
    pub fn start_replica(&self, id: u16) -> anyhow::Result<()> {
        self.test.cluster.start_member(&Member::Replica(id))?;
        Ok(())
    }

    /// Cuts the power of replicas that are dead: what they did not sync is gone, and the machine has booted anew.
    pub fn cut(&self, ids: &[u16], how: Cut) -> anyhow::Result<CutReport> {
        let mut all = CutReport::default();
        let boot = self.boot.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1;
        for id in ids {
            // Each disk makes its own choices.
            let how = match how {
                Cut::Drop => Cut::Drop,
                Cut::KeepPrefix(seed) => Cut::KeepPrefix(seed * 10 + u64::from(*id)),
                Cut::Torn(seed) => Cut::Torn(seed * 10 + u64::from(*id)),
                Cut::Scattered(seed) => Cut::Scattered(seed * 10 + u64::from(*id)),
            };
            let report = self.disk(*id).cut(how)?;
            all.dropped_bytes += report.dropped_bytes;
            all.dropped_names += report.dropped_names;
            all.open_files += report.open_files;
            std::fs::write(boot_id_file(self.boots.path(), *id), format!("boot {boot}"))?;
        }
        Ok(all)
    }

    /// A power cut of some replicas: killed, cut, started again.
    pub async fn power_cut(&self, ids: &[u16], how: Cut) -> anyhow::Result<CutReport> {
        self.kill(ids).await?;
        let report = self.cut(ids, how)?;
        let names = ids.iter().map(u16::to_string).collect::<Vec<_>>().join(", ");
        self.test.recorder.mark(format!(
            "power cut of {names} ({how:?}): {} bytes and {} names gone",
            report.dropped_bytes, report.dropped_names
        ));
        for id in ids {
            self.start_replica(*id)?;
        }
        Ok(report)
    }

    /// Waits for acks from now on.
    pub async fn acks(&self, count: usize, what: &str) -> anyhow::Result<()> {
        let since = self.test.recorder.now();
        // A long form asks for more in one phase than a minute brings.
        let wait = WAIT + Duration::from_millis(10) * u32::try_from(count)?;
        wait_until(&format!("{count} acks {what}"), wait, || async {
            let acks = self.test.recorder.acks_between(since, u64::MAX);
            if acks >= count { Ok(()) } else { Err(format!("{acks} so far")) }
        })
        .await?;
        Ok(())
    }

    /// Waits until the replica's process has ended of its own accord.
    pub async fn wait_ended(&self, id: u16, what: &str) -> anyhow::Result<Ended> {
        Ok(wait_until(&format!("replica {id} to end, {what}"), WAIT, || async {
            self.ended(id).ok_or_else(|| "it runs".to_owned())
        })
        .await?)
    }

    /// How a replica's process ended, if it did since it was last asked.
    pub fn ended(&self, id: u16) -> Option<Ended> {
        let member = Member::Replica(id);
        let (_, text) = self.test.cluster.ended().into_iter().find(|(ended, _)| *ended == member)?;
        // "replica-1 ended with exit status: 2: the last line"
        let rest = text.split_once("ended with ")?.1;
        let (status, line) = rest.split_once(": ")?;
        let (code, line) = match line.split_once(": ") {
            Some((code, line)) if status == "exit status" => (code.parse().ok(), line),
            _ => (None, line),
        };
        Some(Ended { code, line: line.to_owned() })
    }

    /// Waits until a started replica has caught up, or has ended instead.
    pub async fn back_or_ended(&self, id: u16) -> anyhow::Result<Option<Ended>> {
        let target = wait_until("a leader that says what is committed", WAIT, || async {
            let (leading, _) = self.test.cluster.leader().await?;
            Ok(self.test.cluster.replica_status(leading, 0).await?.commit_index)
        })
        .await?;
        Ok(wait_until(&format!("replica {id} to apply {target} or to end"), WAIT, || async {
            if let Some(ended) = self.ended(id) {
                return Ok(Some(ended));
            }
            let applied = self.test.cluster.replica_status(id, 0).await?.applied_index;
            if applied >= target { Ok(None) } else { Err(format!("it has applied {applied}")) }
        })
        .await?)
    }

    /// The same where only one end is right.
    pub async fn back(&self, id: u16) -> anyhow::Result<()> {
        match self.back_or_ended(id).await? {
            None => Ok(()),
            Some(ended) => bail!("replica {id} should be back, and ended with {ended:?}"),
        }
    }

    /// Ends the load, then: everybody has everything, all replicas are in one state, every replica and gateway serves
    /// exactly what was acknowledged.
    pub async fn judge(&self, scene: Scene, least: usize) -> anyhow::Result<()> {
        self.judge_without(scene, least, &BTreeSet::new()).await
    }

    /// The same where some replicas were refused for good: they would be replaced under new ids.
    pub async fn judge_without(
        &self,
        scene: Scene,
        least: usize,
        lost: &BTreeSet<u16>,
    ) -> anyhow::Result<()> {
        scene.settle().await?;
        let present = || (1..=REPLICAS).filter(|id| !lost.contains(id));
        for id in present() {
            caught_up(&self.test, id).await?;
        }
        if lost.is_empty() {
            scene::states_agree(&self.test).await?;
        }
        let users: Vec<String> = scene.grants.iter().map(|grant| grant.user.name.clone()).collect();
        let (_, _, rooms) = scene.leave().await?;
        for id in present() {
            scene::read_replica(&self.test, id, &rooms, "at the end").await?;
        }
        scene::read_finals(&self.test, &users, &rooms, "at the end").await?;
        scene::judge(&self.test)?;
        let acks = self.test.recorder.acks_between(0, u64::MAX);
        ensure!(acks >= least, "only {acks} acknowledgements: the run proves nothing");
        self.test.recorder.mark(format!("{acks} acknowledgements, 0 lost, 0 doubled, 0 out of order"));
        Ok(())
    }
}

/// Copies files and folders.
pub fn copy_tree(from: &Path, to: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_tree(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), &target)?;
        }
    }
    Ok(())
}
