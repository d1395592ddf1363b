//! The checks are alive: each planted bug is found, and the same runs without it pass.
//!
//! The bugs are listed in `replica/src/planted.rs`. Most are looked for by `quorate-simulate`, whose disks and networks do
//! what no machine does on request; real processes (`replica-planted`) show that the checks of the multi-process tests are
//! alive as well. Both programs are built with a feature that the product is built without:
//!
//! ```text
//!   cargo build … --features quorate-simulation/run --bin quorate-simulate
//!   cargo build … --features quorate-replica/planted-bugs --bin replica-planted
//! ```
//!
//! Long form: `QUORATE_PLANTED_SEEDS` seeds at most for each bug, and for the runs without one (60).

use std::path::PathBuf;
use std::process::Output;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use quorate_cluster::Member;
use quorate_tests::harness::TestCluster;
use quorate_tests::{scene, skip};
use tokio::process::Command;

/// Seeds in which a bug must show itself.
const SEEDS: u64 = 60;
/// No bug may take longer.
const BUG_WAIT: Duration = Duration::from_secs(60);
/// A run of real processes, which waits in vain when a bug is there.
const CLUSTER_WAIT: Duration = Duration::from_secs(75);

fn program(name: &str) -> Option<PathBuf> {
    let own = std::env::current_exe().ok()?;
    let found = own.parent()?.parent()?.join(name);
    found.is_file().then_some(found)
}

fn seeds() -> u64 {
    std::env::var("QUORATE_PLANTED_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(SEEDS)
}

async fn simulate(bug: Option<&str>) -> anyhow::Result<Option<Output>> {
    let Some(program) = program("quorate-simulate") else {
        skip::skip("planted bugs in the simulation", "quorate-simulate is not built");
        return Ok(None);
    };
    let mut command = Command::new(program);
    command.arg("--seeds").arg(format!("1..{}", seeds())).arg("--first").kill_on_drop(true);
    match bug {
        Some(bug) => command.env("QUORATE_PLANTED_BUG", bug),
        None => command.env_remove("QUORATE_PLANTED_BUG"),
    };
    let wait = BUG_WAIT * u32::try_from(seeds().div_ceil(SEEDS))?;
    let output = tokio::time::timeout(wait, command.output()).await.context("not found in time")??;
    Ok(Some(output))
}

/// Looks for a bug; one of `signs` must be among what is said, so that it is found for the right reason.
async fn is_found(bug: &str, signs: &[&str]) -> anyhow::Result<()> {
    let Some(output) = simulate(Some(bug)).await? else { return Ok(()) };
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(said.contains(&format!("bug {bug} on purpose")), "the bug was not planted:\n{said}");
    ensure!(output.status.code() == Some(1), "{bug} was not found ({}):\n{said}", output.status);
    let sign = signs.iter().find(|sign| said.contains(**sign));
    let sign = sign.with_context(|| format!("{bug} was found for none of the reasons {signs:?}:\n{said}"))?;
    let seed = said.lines().find(|line| line.contains("VIOLATIONS")).unwrap_or_default();
    println!("{bug}: found by {sign:?}: {seed}");
    Ok(())
}

#[tokio::test]
async fn no_bug_is_found_where_none_is_planted() -> anyhow::Result<()> {
    let Some(output) = simulate(None).await? else { return Ok(()) };
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "{}:\n{said}", output.status);
    println!("{}", said.lines().rev().take(3).collect::<Vec<_>>().join("\n"));
    Ok(())
}

#[tokio::test]
async fn acknowledging_before_the_sync_is_found() -> anyhow::Result<()> {
    is_found("ack_before_fsync", &["Lost", "differ at index", "Moved", "ended by itself", "Doubled"]).await
}

#[tokio::test]
async fn forgetting_a_vote_is_found() -> anyhow::Result<()> {
    is_found("vote_not_synced", &["both led in term", "ended by itself", "differ at index"]).await
}

#[tokio::test]
async fn answering_without_a_quorum_is_found() -> anyhow::Result<()> {
    is_found("skip_quorum", &["Lost", "differ at index", "refused", "ended by itself", "knows less"]).await
}

#[tokio::test]
async fn forgetting_command_ids_is_found() -> anyhow::Result<()> {
    is_found("drop_dedup", &["Doubled", "a replay was answered otherwise"]).await
}

#[tokio::test]
async fn a_stale_read_is_found() -> anyhow::Result<()> {
    is_found("stale_read", &["a stale linearizable read", "a linearizable read knows nothing"]).await
}

#[tokio::test]
async fn resuming_one_event_too_late_is_found() -> anyhow::Result<()> {
    is_found("resume_off_by_one", &["VersionGap"]).await
}

#[tokio::test]
async fn applying_twice_is_found() -> anyhow::Result<()> {
    is_found("apply_twice", &["differ at index", "ended by itself"]).await
}

#[tokio::test]
async fn a_feed_that_skips_is_found() -> anyhow::Result<()> {
    is_found("feed_skips", &["VersionGap"]).await
}

#[tokio::test]
async fn a_hash_that_does_not_look_is_found() -> anyhow::Result<()> {
    is_found("hash_ignores_field", &["Disagree", "Altered", "ended by itself"]).await
}

#[tokio::test]
async fn a_snapshot_that_lacks_something_is_found() -> anyhow::Result<()> {
    is_found(
        "snapshot_misses_key",
        &[
            "differ at index",
            "Lost",
            "Gap",
            "ended by itself",
            "refused",
            "knows less",
            "has no room",
            "not within",
        ],
    )
    .await
}

/// Real processes: people talk, the leader is killed and comes back, everybody is asked at the end.
async fn cluster_run(test: &TestCluster) -> anyhow::Result<()> {
    let scene = scene::set_the_scene(test).await?;
    let began = test.recorder.now();
    scene.talk().await;
    scene::acks_since(test, began, "in calm").await?;
    for round in 1..=2 {
        let (victim, _) = scene::leader(test).await?;
        test.cluster.kill(&Member::Replica(victim)).await?;
        let killed = test.recorder.mark(format!("killed the leader, replica {victim}, round {round}"));
        scene::acks_since(test, killed, "after the kill").await?;
        test.cluster.start_member(&Member::Replica(victim))?;
        scene::caught_up(test, victim).await?;
    }
    scene.settle().await?;
    scene::states_agree(test).await?;
    let users: Vec<String> = scene.grants.iter().map(|grant| grant.user.name.clone()).collect();
    let (_, _, rooms) = scene.leave().await?;
    scene::read_finals(test, &users, &rooms, "at the end").await?;
    scene::judge(test)
}

async fn cluster_with(bug: Option<&str>) -> anyhow::Result<Option<anyhow::Result<()>>> {
    let Some(replica) = program("replica-planted") else {
        skip::skip("planted bugs in real processes", "replica-planted is not built");
        return Ok(None);
    };
    let name = format!("planted-{}", bug.unwrap_or("none"));
    let test = TestCluster::start_with(&name, |mut spec| {
        spec.binaries.replica = replica;
        if let Some(bug) = bug {
            spec.environment.insert("QUORATE_PLANTED_BUG".to_owned(), bug.to_owned());
        }
        spec
    })
    .await?;
    let result = tokio::time::timeout(CLUSTER_WAIT, cluster_run(&test)).await;
    // A planted bug leaves no evidence behind: it was expected.
    Ok(Some(result.unwrap_or_else(|_| Err(anyhow::anyhow!("the run did not end in {CLUSTER_WAIT:?}")))))
}

#[tokio::test(flavor = "multi_thread")]
async fn real_processes_without_a_bug_pass_and_with_one_they_do_not() -> anyhow::Result<()> {
    let Some(clean) = cluster_with(None).await? else { return Ok(()) };
    clean.context("no bug was planted, and yet")?;
    for bug in ["drop_dedup", "apply_twice"] {
        let Some(result) = cluster_with(Some(bug)).await? else { return Ok(()) };
        let found = result.err().with_context(|| format!("{bug} was not found in real processes"))?;
        println!("{bug}: {found:#}");
    }
    Ok(())
}
