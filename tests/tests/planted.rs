//! The checks are alive: each planted bug is found by a kind of violation that fits it, and the same runs without it pass.
//!
//! The bugs are listed in `replica/src/planted.rs`, the kinds in `tests/simulation/src/violation.rs` and in the oracle. The
//! bugs are looked for by `quorate-simulate`, whose disks and networks do what no machine does on request: each in three
//! ranges of seeds, and in each range it must be found, so that no seed finds it by accident. The program is built with
//! features that the product is built without.
//!
//! Long form: `QUORATE_PLANTED_SEEDS` seeds in each range (12).

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use quorate_tests::skip;
use tokio::process::Command;

/// Seeds of a range in which a bug must show itself.
const SEEDS: u64 = 12;
/// Where the ranges begin.
const RANGES_FROM: [u64; 3] = [1, 1_001, 2_001];
/// No bug may take longer, all its ranges together, for every 12 seeds of a range.
const BUG_WAIT: Duration = Duration::from_secs(60);
/// Seeds that are run twice.
const REPLAYED_SEEDS: u64 = 10;

fn program(name: &str) -> Option<PathBuf> {
    let own = std::env::current_exe().ok()?;
    let found = own.parent()?.parent()?.join(name);
    found.is_file().then_some(found)
}

fn seeds() -> u64 {
    std::env::var("QUORATE_PLANTED_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(SEEDS)
}

/// What a simulation said.
struct Said {
    passed: bool,
    text: String,
}

impl Said {
    /// In how many seeds each kind of violation was found.
    fn kinds(&self) -> BTreeMap<&str, u64> {
        let line = |line: &'_ str| -> Option<(usize, u64)> {
            let (kind, rest) = line.strip_prefix("found ")?.split_once(" in ")?;
            Some((kind.len(), rest.strip_suffix(" seeds")?.parse().ok()?))
        };
        let parsed = |text| line(text).map(|(length, count)| (&text["found ".len()..][..length], count));
        self.text.lines().filter_map(parsed).collect()
    }
}

/// Runs seeds, each `times` times. `None`: the program is not built.
async fn simulate(bug: Option<&str>, from: u64, count: u64, times: u32) -> anyhow::Result<Option<Said>> {
    let Some(program) = program("quorate-simulate") else {
        skip::skip("planted bugs in the simulation", "quorate-simulate is not built");
        return Ok(None);
    };
    let mut command = Command::new(program);
    command.arg("--seeds").arg(format!("{from}..{}", from + count - 1));
    command.arg("--times").arg(times.to_string()).kill_on_drop(true);
    match bug {
        Some(bug) => command.env("QUORATE_PLANTED_BUG", bug),
        None => command.env_remove("QUORATE_PLANTED_BUG"),
    };
    let wait = BUG_WAIT * u32::try_from(count.div_ceil(SEEDS))?;
    let output = tokio::time::timeout(wait, command.output()).await.context("it did not end in time")??;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let ended = output.status.code();
    ensure!(matches!(ended, Some(0 | 1)), "the simulation failed ({}):\n{text}", output.status);
    Ok(Some(Said { passed: ended == Some(0), text }))
}

/// Looks for a bug; one of `kinds` must be found in each range, so that it is found for the right reason.
async fn is_found(bug: &str, kinds: &[&str]) -> anyhow::Result<()> {
    is_found_within(seeds(), bug, kinds).await
}

async fn is_found_within(seeds: u64, bug: &str, kinds: &[&str]) -> anyhow::Result<()> {
    let began = Instant::now();
    for from in RANGES_FROM {
        let Some(said) = simulate(Some(bug), from, seeds, 1).await? else { return Ok(()) };
        let text = &said.text;
        ensure!(text.contains(&format!("bug {bug} on purpose")), "the bug was not planted:\n{text}");
        let found = said.kinds();
        let fitting = kinds.iter().any(|kind| found.contains_key(kind));
        ensure!(!said.passed && fitting, "{bug} was found for none of the reasons {kinds:?}:\n{text}");
        println!("{bug}: seeds from {from}: {found:?}");
    }
    let (took, wait) = (began.elapsed(), BUG_WAIT * u32::try_from(seeds.div_ceil(SEEDS))?);
    println!("{bug}: found in {} ranges, {:.1} s", RANGES_FROM.len(), took.as_secs_f64());
    ensure!(took <= wait, "{bug}: {took:?} are too many");
    Ok(())
}

#[tokio::test]
async fn no_bug_is_found_where_none_is_planted() -> anyhow::Result<()> {
    for from in RANGES_FROM {
        let Some(said) = simulate(None, from, seeds(), 1).await? else { return Ok(()) };
        ensure!(said.passed, "{}", said.text);
    }
    Ok(())
}

#[tokio::test]
async fn a_seed_runs_alike_twice() -> anyhow::Result<()> {
    let Some(said) = simulate(None, 1, REPLAYED_SEEDS, 2).await? else { return Ok(()) };
    ensure!(said.passed, "{}", said.text);
    Ok(())
}

#[tokio::test]
async fn acknowledging_before_the_sync_is_found() -> anyhow::Result<()> {
    is_found("ack_before_fsync", &["Lost", "Differ", "EndedOld"]).await
}

#[tokio::test]
async fn forgetting_a_vote_is_found() -> anyhow::Result<()> {
    // Shows itself in one seed of six: the power must go between a vote and the next sync.
    is_found_within(seeds() * 5 / 2, "vote_not_synced", &["TermBack"]).await
}

#[tokio::test]
async fn answering_without_a_quorum_is_found() -> anyhow::Result<()> {
    is_found("skip_quorum", &["Lost", "Differ", "SamePlace"]).await
}

#[tokio::test]
async fn forgetting_command_ids_is_found() -> anyhow::Result<()> {
    is_found("drop_dedup", &["Doubled", "Replay"]).await
}

#[tokio::test]
async fn a_stale_read_is_found() -> anyhow::Result<()> {
    is_found("stale_read", &["StaleRead"]).await
}

#[tokio::test]
async fn resuming_one_event_too_late_is_found() -> anyhow::Result<()> {
    is_found("resume_off_by_one", &["VersionGap"]).await
}

#[tokio::test]
async fn applying_twice_is_found() -> anyhow::Result<()> {
    is_found("apply_twice", &["Differ", "EndedWrong"]).await
}

#[tokio::test]
async fn a_feed_that_skips_is_found() -> anyhow::Result<()> {
    is_found("feed_skips", &["VersionGap"]).await
}

#[tokio::test]
async fn a_hash_that_does_not_look_is_found() -> anyhow::Result<()> {
    is_found("hash_ignores_field", &["Disagree", "Altered", "EndedWrong"]).await
}

#[tokio::test]
async fn a_snapshot_that_lacks_something_is_found() -> anyhow::Result<()> {
    is_found("snapshot_misses_key", &["EndedWrong", "Differ"]).await
}
