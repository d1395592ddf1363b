//! Two real browser windows on two gateways, while replicas and a gateway are killed.
//!
//! Screenshots of every step are kept in `target/screenshots`, on success too: somebody should look at them.

mod accessibility;
mod axe;
mod desk;
mod features;
mod files;
mod hands;
mod language;
mod offline;
mod timeline;
mod window;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use quorate_cluster::{Cluster, Member, Spec, wait_until};
use quorate_tests::browser::{Driver, page_dir};
use quorate_tests::harness::{TestCluster, target_dir};
use window::{PAGE_WAIT, Shown, Window};

/// The whole test; a browser that hangs must not hang the run.
const TEST_WAIT: Duration = Duration::from_secs(420);
/// Reloads until the balancer gives the second window another gateway than the first.
const RELOADS_MAX: u32 = 6;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_windows_on_two_gateways_talk_on_while_processes_are_killed() -> anyhow::Result<()> {
    let (test, shots) = start("browser").await?;
    let result = match tokio::time::timeout(TEST_WAIT, windows(&test.cluster, &shots)).await {
        Ok(result) => result,
        Err(_) => Err(anyhow::anyhow!("the test took longer than {TEST_WAIT:?}")),
    };
    test.finish(result).await
}

/// A cluster that serves the page, and a folder for pictures.
async fn start(name: &str) -> anyhow::Result<(TestCluster, PathBuf)> {
    start_with(name, |spec| spec).await
}

/// The same, with changes to the specification.
async fn start_with(name: &str, change: impl FnOnce(Spec) -> Spec) -> anyhow::Result<(TestCluster, PathBuf)> {
    let page = page_dir()?;
    let shots = target_dir().join("screenshots").join(name);
    // Pictures of a former run would be taken for this one's.
    let _ = std::fs::remove_dir_all(&shots);
    std::fs::create_dir_all(&shots)?;
    let test = TestCluster::start_with(&name.replace('/', "-"), |mut spec| {
        spec.page_dir = Some(page);
        change(spec)
    })
    .await?;
    ensure!(test.cluster.has_balancer(), "this test needs HAProxy");
    Ok((test, shots))
}

async fn windows(cluster: &Cluster, shots: &Path) -> anyhow::Result<()> {
    let driver = Driver::start(cluster.plan().spare(0), &shots.join("chromedriver.log")).await?;
    let ana = Window::open(&driver, cluster.front(), "ana", shots).await?;
    let ben = Window::open(&driver, cluster.front(), "ben", shots).await?;
    if let Err(error) = story(cluster, &ana, &ben).await {
        return Err(error.context(ana.evidence().await).context(ben.evidence().await));
    }
    ana.close().await?;
    ben.close().await
}

async fn story(cluster: &Cluster, ana: &Window, ben: &Window) -> anyhow::Result<()> {
    ana.wait_for("sign-up").await?;
    ana.shoot("01-sign-up").await?;
    ana.sign_up().await?;
    ben.sign_up().await?;
    ana.shoot("02-nobody-yet").await?;

    // They talk, both ways, each through another gateway.
    ana.start_conversation("ben").await?;
    ana.say("Hello Ben, this is Ana.").await?;
    ben.open_conversation().await?;
    on_two_gateways(ana, ben).await?;
    ben.wait_sent(&["Hello Ben, this is Ana."]).await?;
    ben.say("Hi! I read you on another gateway: https://example.org/quorum").await?;
    for (window, text) in
        [(ana, "Then let us pull some plugs."), (ben, "Go on, I am holding on to my chair.")]
    {
        window.say(text).await?;
    }
    let mut said = vec![
        "Hello Ben, this is Ana.",
        "Hi! I read you on another gateway: https://example.org/quorum",
        "Then let us pull some plugs.",
        "Go on, I am holding on to my chair.",
    ];
    both_see(ana, ben, &said).await?;
    ana.shoot("03-talking").await?;
    ben.shoot("03-talking").await?;
    the_moment_is_shown(ana, ben).await?;
    for window in [ana, ben] {
        if let Some(wide) = window.phone_overflow().await? {
            bail!("{}: {wide}", window.name);
        }
    }

    // The leader dies, and a follower with it; no socket closes.
    let sockets = (ana.sockets().await?, ben.sockets().await?);
    let (leader, term) = leader(cluster).await?;
    let follower = (1..=cluster.replicas()).find(|id| *id != leader).context("there are five")?;
    cluster.kill(&Member::Replica(leader)).await?;
    ana.say("The leader is dead. Does this arrive?").await?;
    cluster.kill(&Member::Replica(follower)).await?;
    ben.say("It does. Two of five are gone.").await?;
    said.extend(["The leader is dead. Does this arrive?", "It does. Two of five are gone."]);
    both_see(ana, ben, &said).await?;
    let (next, next_term) = self::leader(cluster).await?;
    ensure!(next != leader && next_term > term, "replica {next} leads in term {next_term} after {term}");
    ana.shoot("04-two-replicas-dead").await?;

    // A third dies: no majority. The page says so, keeps what is written, and sends it once when a majority is back.
    cluster.kill(&Member::Replica(next)).await?;
    ana.wait_banner(Some("No majority")).await?;
    ana.say("Written while nobody could keep it.").await?;
    wait_until("the message to be pending", PAGE_WAIT, || async {
        let messages = ana.messages().await.map_err(|error| format!("{error:#}"))?;
        let last =
            messages.last().filter(|last| last.text.starts_with("Written while") && last.state == "pending");
        last.map(|_| ()).ok_or_else(|| format!("{messages:?}"))
    })
    .await?;
    ana.shoot("05-no-majority").await?;
    for id in [leader, follower, next] {
        cluster.start_member(&Member::Replica(id))?;
    }
    said.push("Written while nobody could keep it.");
    both_see(ana, ben, &said).await?;
    ana.wait_banner(None).await?;
    let sockets_now = (ana.sockets().await?, ben.sockets().await?);
    ensure!(
        sockets == sockets_now,
        "sockets were closed because replicas died: {sockets:?}, now {sockets_now:?}"
    );
    ana.shoot("06-all-replicas-back").await?;

    // Ana's gateway dies. Ben goes on writing; Ana resumes elsewhere with nothing missing.
    let home = ana.gateway().await?;
    cluster.kill(&Member::Gateway(home.clone())).await?;
    ben.say("Your gateway is gone, isn't it?").await?;
    ana.say("Gone, and I am still here.").await?;
    said.extend(["Your gateway is gone, isn't it?", "Gone, and I am still here."]);
    both_see(ana, ben, &said).await?;
    wait_until("ana to be on another gateway", PAGE_WAIT, || async {
        let now = ana.gateway().await.map_err(|error| format!("{error:#}"))?;
        if !now.is_empty() && now != home { Ok(()) } else { Err(format!("she is on {now}")) }
    })
    .await?;
    ana.wait_banner(None).await?;
    ana.shoot("07-resumed-elsewhere").await?;
    ben.shoot("07-resumed-elsewhere").await?;

    // A reload signs in by the cookie and shows the same.
    let before = ana.messages().await?;
    ana.reload().await?;
    ana.wait_for("new-conversation").await?;
    ana.open_conversation().await?;
    ana.wait_sent(&said).await?;
    ensure!(ana.messages().await? == before, "the timeline changed with a reload");
    ana.shoot("08-after-reload").await
}

/// Each sees that the other is there and has read, and Ana sees Ben type until he stops.
async fn the_moment_is_shown(ana: &Window, ben: &Window) -> anyhow::Result<()> {
    let until = async |window: &Window, what: &str, wanted: fn(&(String, String, String)) -> bool| {
        wait_until(&format!("{} to see {what}", window.name), PAGE_WAIT, || async {
            let moment = window.moment().await.map_err(|error| format!("{error:#}"))?;
            if wanted(&moment) { Ok(()) } else { Err(format!("{moment:?}")) }
        })
        .await
    };
    for window in [ana, ben] {
        until(window, "the other there, and her message read", |(_, presence, reach)| {
            presence == "active" && reach == "read"
        })
        .await?;
    }
    wait_until("ana to see ben type", PAGE_WAIT, || async {
        // What is said of typing may be lost, and is said again while it goes on.
        ben.type_letter().await.map_err(|error| format!("{error:#}"))?;
        let (typing, ..) = ana.moment().await.map_err(|error| format!("{error:#}"))?;
        if typing.contains("Ben is typing") { Ok(()) } else { Err(format!("she sees {typing:?}")) }
    })
    .await?;
    ana.shoot("03-ben-is-typing").await?;
    ben.clear_composer().await?;
    until(ana, "nobody type", |(typing, ..)| typing.is_empty()).await?;
    Ok(())
}

/// The balancer gives a new socket to the gateway with the fewest, so this is the first try's usual outcome.
async fn on_two_gateways(ana: &Window, ben: &Window) -> anyhow::Result<()> {
    for _ in 0..RELOADS_MAX {
        if seated(ana).await? != seated(ben).await? {
            return Ok(());
        }
        ben.reload().await?;
        ben.wait_for("new-conversation").await?;
        ben.open_conversation().await?;
    }
    bail!("both windows are on the same gateway after {RELOADS_MAX} reloads")
}

/// The gateway of a window's session, once it has one.
async fn seated(window: &Window) -> anyhow::Result<String> {
    Ok(wait_until(&format!("{} to be at a gateway", window.name), PAGE_WAIT, || async {
        let gateway = window.gateway().await.map_err(|error| format!("{error:#}"))?;
        if gateway.is_empty() { Err("at none".to_owned()) } else { Ok(gateway) }
    })
    .await?)
}

/// Both windows show all of it, each once, in the same order, numbered from 1 without a gap.
async fn both_see(ana: &Window, ben: &Window, said: &[&str]) -> anyhow::Result<()> {
    ana.wait_sent(said).await?;
    ben.wait_sent(said).await?;
    let numbered = |messages: Vec<Shown>| -> Vec<(Option<u64>, String, String)> {
        messages.into_iter().map(|m| (m.sequence, m.author, m.text)).collect()
    };
    let (hers, his) = (numbered(ana.messages().await?), numbered(ben.messages().await?));
    ensure!(hers == his, "the windows differ: {hers:#?} and {his:#?}");
    let dense: Vec<Option<u64>> = (1..).take(said.len()).map(Some).collect();
    let sequences: Vec<Option<u64>> = hers.iter().map(|(sequence, _, _)| *sequence).collect();
    ensure!(sequences == dense, "the sequences are {sequences:?}");
    Ok(())
}

async fn leader(cluster: &Cluster) -> anyhow::Result<(u16, u64)> {
    Ok(wait_until("a leader", PAGE_WAIT, || cluster.leader()).await?)
}
