//! Rot: bits that flip and files that are cut off on one or two stopped replicas.
//!
//! Whatever is done to its files, a replica either refuses to start (or stops) with a line, or it serves what the others
//! serve. A refused one gets its file back and returns, so that the next round begins whole.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use quorate_cluster::{Member, wait_until};
use quorate_faultfs::Chance;
use quorate_tests::scene::{self, Scene, WAIT, set_the_scene};
use tempfile::TempDir;
use toml::Table;

use super::rig::{ACKS_PER_PHASE, Ended, PACE, REPLICAS, Rig, copy_tree, count};

/// Sessions are told apart by tokens that last fifteen minutes: after so many rounds a new cluster takes over.
const ROUNDS_PER_CLUSTER: u64 = 25;

/// What was done to one file.
struct Rot {
    /// A copy of the whole directory from before: a start that is refused may have mended what it took for a tear.
    whole: TempDir,
    what: String,
}

/// How rounds ended.
#[derive(Default)]
struct Ends {
    rotten: usize,
    ended: usize,
    refused: usize,
    served: usize,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_bit_or_a_cut_off_file_is_never_served() -> anyhow::Result<()> {
    let seeds = count("QUORATE_ROT_SEEDS", 12);
    let first = count("QUORATE_ROT_FIRST_SEED", 0);
    let mut ends = Ends::default();
    let mut seed = first;
    while seed < first + seeds {
        let last = (seed + ROUNDS_PER_CLUSTER).min(first + seeds);
        let Some(rig) = Rig::start("rot", |_| Table::new()).await? else { return Ok(()) };
        let result = rounds(&rig, seed..last, &mut ends).await;
        seed = *result.as_ref().unwrap_or(&last);
        rig.finish(result.map(drop)).await?;
    }
    println!(
        "{seeds} seeds: {} files damaged, {} refused, {} noticed while running, {} rebuilt or harmless in the end",
        ends.rotten, ends.refused, ends.ended, ends.served
    );
    ensure!(ends.rotten >= usize::try_from(seeds)?, "too few files were damaged");
    ensure!(ends.refused > 0, "nothing was ever refused: was anything that matters damaged?");
    Ok(())
}

/// Runs seeds on one cluster, until they are done or so many replicas are lost that the next two would stop it. Returns the
/// seed that comes next.
async fn rounds(rig: &Rig, seeds: std::ops::Range<u64>, ends: &mut Ends) -> anyhow::Result<u64> {
    let scene = set_the_scene(&rig.test).await?;
    scene.talk_at(PACE).await;
    let (mut next, begun) = (seeds.start, seeds.start);
    let mut lost = BTreeSet::new();
    while next < seeds.end && lost.is_empty() {
        rig.acks(ACKS_PER_PHASE / 2, &format!("before seed {next}")).await?;
        round(rig, &scene, next, ends, &mut lost).await.with_context(|| format!("seed {next}"))?;
        next += 1;
    }
    let rounds = usize::try_from(next - begun)?;
    rig.judge_without(scene, ACKS_PER_PHASE / 2 * rounds, &lost).await?;
    Ok(next)
}

async fn round(
    rig: &Rig,
    scene: &Scene,
    seed: u64,
    ends: &mut Ends,
    lost: &mut BTreeSet<u16>,
) -> anyhow::Result<()> {
    let mut chance = Chance::new(seed);
    let mut victims: Vec<u16> = (1..=REPLICAS).collect();
    while victims.len() > 1 + usize::from(chance.coin()) {
        victims.remove(chance.below(victims.len()));
    }
    for id in &victims {
        let member = Member::Replica(*id);
        if chance.coin() {
            rig.kill(&[*id]).await?;
        } else {
            rig.test.cluster.stop(&member).await?;
        }
    }
    let mut damage = BTreeMap::new();
    for id in &victims {
        let rot = spoil(&rig.data_dir(*id), &mut chance)?;
        rig.test.recorder.mark(format!("seed {seed}: replica {id}: {}", rot.what));
        ends.rotten += 1;
        damage.insert(*id, rot);
    }
    rig.acks(ACKS_PER_PHASE / 4, "while they are down").await?;
    for (id, rot) in damage {
        rig.start_replica(id)?;
        let mut ended =
            served(rig, scene, id).await.with_context(|| format!("replica {id}, {}", rot.what))?;
        // What is noticed while it runs ends it, and its line says to start it again: it rebuilds what was damaged.
        while let Some(ending) = ended.take_if(|ended| ended.line.contains("start this replica again")) {
            check_refusal(&ending, &rot)?;
            rig.test.recorder.mark(format!("replica {id} ended: {}", ending.line));
            ends.ended += 1;
            ensure!(ends.ended <= ends.rotten, "starting again does not help: {ending:?}");
            rig.start_replica(id)?;
            let what = || format!("replica {id}, started again, {}", rot.what);
            ended = served(rig, scene, id).await.with_context(what)?;
        }
        let Some(ended) = ended else {
            rig.test.recorder.mark(format!("replica {id} serves what the others serve"));
            ends.served += 1;
            continue;
        };
        check_refusal(&ended, &rot)?;
        rig.test.recorder.mark(format!("replica {id} refused: {}", ended.line));
        ends.refused += 1;
        if ended.line.contains("is older than what") || ended.line.contains("not to be used any more") {
            // The others know of a start that the copy from before does not: it may never come back under this id.
            lost.insert(id);
            continue;
        }
        fs::remove_dir_all(rig.data_dir(id))?;
        copy_tree(rot.whole.path(), &rig.data_dir(id))?;
        rig.start_replica(id)?;
        rig.back(id).await.with_context(|| format!("replica {id} with its file back, {}", rot.what))?;
    }
    Ok(())
}

/// Waits until the replica is back and compares all it serves with the leader; `Some` when it ended instead.
async fn served(rig: &Rig, scene: &Scene, id: u16) -> anyhow::Result<Option<Ended>> {
    if let Some(ended) = rig.back_or_ended(id).await? {
        return Ok(Some(ended));
    }
    let expected = wait_until("a leader to say what there is", WAIT, || async {
        let (leading, _) = rig.test.cluster.leader().await?;
        let pages = scene::replica_pages(&rig.test, leading, &scene.conversations, "").await;
        pages.map_err(|error| format!("{error:#}"))
    })
    .await?;
    if let Some(ended) = rig.back_or_ended(id).await? {
        return Ok(Some(ended));
    }
    // It may notice the damage as it reads; then it must end.
    let what = format!("replica {id} to say what it has, or to end");
    let found = wait_until(&what, WAIT, || async {
        match scene::replica_pages(&rig.test, id, &scene.conversations, "").await {
            Ok(found) => Ok(Ok(found)),
            Err(error) => rig.ended(id).map(Err).ok_or_else(|| format!("its reads fail: {error:#}")),
        }
    });
    let found = match found.await? {
        Ok(found) => found,
        Err(ended) => return Ok(Some(ended)),
    };
    for (expected, found) in expected.iter().zip(&found) {
        let room = expected.conversation;
        ensure!(
            found.rows.len() >= expected.rows.len(),
            "room {room}: it serves {} of {} messages",
            found.rows.len(),
            expected.rows.len()
        );
        for (one, other) in expected.rows.iter().zip(&found.rows) {
            ensure!(one == other, "room {room}: it serves {other:?} where the leader has {one:?}");
        }
    }
    Ok(None)
}

fn check_refusal(ended: &Ended, rot: &Rot) -> anyhow::Result<()> {
    let what = &rot.what;
    ensure!(matches!(ended.code, Some(1 | 2)), "{what}: it did not refuse but ended with {ended:?}");
    ensure!(
        !ended.line.contains("panicked") && !ended.line.is_empty(),
        "{what}: no line but {:?}",
        ended.line
    );
    Ok(())
}

/// Flips a bit of one file, or cuts it off.
fn spoil(data: &Path, chance: &mut Chance) -> anyhow::Result<Rot> {
    let mut files = Vec::new();
    list(data, &mut files)?;
    files.sort();
    // The big ones first: what is in them matters most. One time in eight any file.
    let kinds: [&str; 8] = ["log/", "log/", "log/", "log/", "state/", "state/", "state/", ""];
    let kind = kinds[chance.below(kinds.len())];
    let whole = tempfile::tempdir()?;
    copy_tree(data, whole.path())?;
    let name = |path: &PathBuf| path.strip_prefix(data).unwrap_or(path).display().to_string();
    let some: Vec<&PathBuf> = files.iter().filter(|path| name(path).starts_with(kind)).collect();
    ensure!(!some.is_empty(), "no file {kind}* among {files:?}");
    let path = some[chance.below(some.len())];
    let before = fs::read(path)?;
    let mut after = before.clone();
    let what = if chance.below(4) == 0 {
        let length = chance.below(before.len());
        after.truncate(length);
        format!("{} cut off at {length} of {} bytes", name(path), before.len())
    } else {
        let (place, bit) = (chance.below(before.len()), chance.below(8));
        after[place] ^= 1 << bit;
        format!("{} bit {bit} of byte {place} of {} flipped", name(path), before.len())
    };
    fs::write(path, &after)?;
    fs::File::open(path)?.sync_all()?;
    Ok(Rot { whole, what })
}

/// Every file that has content.
fn list(dir: &Path, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            list(&path, files)?;
        } else if fs::metadata(&path)?.len() > 0 {
            files.push(path);
        }
    }
    Ok(())
}
