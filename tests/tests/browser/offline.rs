//! The page without a network: what was kept is there, what is written waits and is sent once, by another window if need be, also if the
//! one that has it sleeps; a newer build is offered and taken; a worker that is not wanted any more goes.
//!
//! No network means here that nothing listens where the page came from. Pictures of every step are kept in `target/screenshots/offline`.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};
use quorate_cluster::{Cluster, Member, wait_until};
use quorate_proto::ids::ConversationId;
use quorate_tests::browser::Driver;

use crate::start_with;
use crate::window::{PAGE_WAIT, Window};

/// The test; a browser that hangs must not hang the run.
const TEST_WAIT: Duration = Duration::from_secs(420);
/// Said while everything is well.
const SAID: [&str; 3] =
    ["Are you on the train?", "Yes, and here comes the tunnel.", "See you on the other side."];
const IN_THE_TUNNEL: &str = "It is dark in here.";
const LEFT_BEHIND: &str = "Written in a window that is closed.";
const SLEPT_OVER: &str = "Written in a window that sleeps.";
const AWAKE: &str = "Good morning.";
/// What waits on this device, by the windows that are to send it.
const SENDERS: &str = "return Object.keys(localStorage).filter(key => key.startsWith('quorate.outbox.'))
    .map(key => JSON.parse(localStorage[key]).window)";
/// A build that nobody made.
const OTHER_BUILD: &str = "0123456789abcdef";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_network_people_read_on_and_what_they_write_is_sent_once() -> anyhow::Result<()> {
    let pages = tempfile::tempdir()?;
    let page = pages.path().join("page");
    let (test, shots) = start_with("offline", |mut spec| {
        // A copy: the build that is served changes in the middle of the test.
        if let Some(built) = &spec.page_dir {
            copy(built, &page).expect("the page can be copied");
        }
        spec.page_dir = Some(page.clone());
        spec
    })
    .await?;
    let result = match tokio::time::timeout(TEST_WAIT, windows(&test.cluster, &shots, &page)).await {
        Ok(result) => result,
        Err(_) => Err(anyhow::anyhow!("the test took longer than {TEST_WAIT:?}")),
    };
    test.finish(result).await
}

fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in from.read_dir()? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

async fn windows(cluster: &Cluster, shots: &Path, page: &Path) -> anyhow::Result<()> {
    let driver = Driver::start(cluster.plan().spare(0), &shots.join("chromedriver.log")).await?;
    let ana = Window::open(&driver, cluster.front(), "ana", shots).await?;
    let ben = Window::open(&driver, cluster.front(), "ben", shots).await?;
    if let Err(error) = story(cluster, &ana, &ben, page).await {
        return Err(error.context(ana.evidence().await).context(ben.evidence().await));
    }
    ana.close().await?;
    ben.close().await
}

async fn story(cluster: &Cluster, ana: &Window, ben: &Window, page: &Path) -> anyhow::Result<()> {
    ana.sign_up().await?;
    ben.sign_up().await?;
    ana.start_conversation("ben").await?;
    for text in SAID {
        ana.say(text).await?;
    }
    ana.wait_sent(&SAID).await?;
    let direct = ana.conversation().await?;
    ben.open_conversation().await?;
    ben.wait_sent(&SAID).await?;
    ready(ana, SAID[2]).await?;

    read_and_written_without_a_network(cluster, ana, ben).await?;
    left_by_a_window_that_is_gone(cluster, ana, ben, direct).await?;
    left_by_a_window_that_sleeps(cluster, ana, ben, direct).await?;
    renewed(ana, page).await?;
    without_a_worker(ana, page).await?;
    forgotten(ana).await
}

/// The page can be loaded without a network, and the message is kept.
async fn ready(window: &Window, text: &str) -> anyhow::Result<()> {
    let is_active = "return navigator.serviceWorker.ready.then(found => found.active.state)";
    window.wait_read("the worker at work", is_active, &"activated".to_owned()).await?;
    let is_kept = format!("return quorate.kept().then(texts => texts.some(text => text.includes({text:?})))");
    window.wait_read(&format!("{text:?} kept"), &is_kept, &true).await
}

async fn read_and_written_without_a_network(
    cluster: &Cluster,
    ana: &Window,
    ben: &Window,
) -> anyhow::Result<()> {
    cluster.kill(&Member::Balancer).await?;
    ana.reload().await?;
    ana.open_conversation().await?;
    ana.wait_sent(&SAID).await?;
    ana.wait_banner(Some("Shown as of")).await?;
    ana.shoot("01-without-a-network").await?;

    // What is written waits, through another load as well, and its writer sees that it does.
    ana.say(IN_THE_TUNNEL).await?;
    wait_state(ana, IN_THE_TUNNEL, "pending").await?;
    ana.reload().await?;
    ana.open_conversation().await?;
    ana.wait_sent(&SAID).await?;
    wait_state(ana, IN_THE_TUNNEL, "pending").await?;
    ana.shoot("02-written-without-a-network").await?;

    network_again(cluster, [ana, ben]).await?;
    for window in [ana, ben] {
        window.wait_sent(&[SAID[0], SAID[1], SAID[2], IN_THE_TUNNEL]).await?;
        window.wait_banner(None).await?;
        ensure!(window.messages().await?.len() == 4, "there are others: {:?}", window.messages().await?);
    }
    ana.picture("03-out-of-the-tunnel").await
}

/// A second window of the same browser is closed while something waits in it: the first shows it at once, and sends it in its stead.
async fn left_by_a_window_that_is_gone(
    cluster: &Cluster,
    ana: &Window,
    ben: &Window,
    direct: ConversationId,
) -> anyhow::Result<()> {
    ready(ana, IN_THE_TUNNEL).await?;
    let address: String = ana.read("return location.origin").await?;
    let first = ana.client.window().await?;
    cluster.kill(&Member::Balancer).await?;
    let second = ana.client.new_window(true).await?.handle;
    ana.client.switch_to_window(second).await?;
    ana.visit(&format!("{address}/#/c/{direct}")).await?;
    ana.wait_for("composer").await?;
    ana.say(LEFT_BEHIND).await?;
    wait_state(ana, LEFT_BEHIND, "pending").await?;

    ana.client.switch_to_window(first.clone()).await?;
    wait_state(ana, LEFT_BEHIND, "pending").await?;
    ana.picture("04-waits-in-the-other-window").await?;
    let windows = ana.client.windows().await?;
    let second = windows.into_iter().find(|window| *window != first).context("there is a second window")?;
    ana.client.switch_to_window(second).await?;
    close(ana).await?;
    ana.client.switch_to_window(first).await?;

    network_again(cluster, [ana, ben]).await?;
    for window in [ana, ben] {
        window.wait_sent(&[IN_THE_TUNNEL, LEFT_BEHIND]).await?;
        ensure!(window.messages().await?.len() == 5, "there are others: {:?}", window.messages().await?);
    }
    ana.wait_read("nothing left in the outbox", SENDERS, &Vec::<String>::new()).await
}

/// A window is suspended while something waits in it: another sends it. The first, awake again, shows it once, as sent, and goes on.
async fn left_by_a_window_that_sleeps(
    cluster: &Cluster,
    ana: &Window,
    ben: &Window,
    direct: ConversationId,
) -> anyhow::Result<()> {
    ready(ana, LEFT_BEHIND).await?;
    let address: String = ana.read("return location.origin").await?;
    let first = ana.client.window().await?;
    cluster.kill(&Member::Balancer).await?;
    ana.say(SLEPT_OVER).await?;
    wait_state(ana, SLEPT_OVER, "pending").await?;
    stored_and_shown_again(ana).await?;

    let second = ana.client.new_window(true).await?.handle;
    ana.client.switch_to_window(second.clone()).await?;
    ana.visit(&format!("{address}/#/c/{direct}")).await?;
    ana.wait_for("composer").await?;
    wait_state(ana, SLEPT_OVER, "pending").await?;
    ana.client.switch_to_window(first.clone()).await?;
    ana.suspend(true).await?;
    ana.client.switch_to_window(second.clone()).await?;
    network_again(cluster, [ana, ben]).await?;
    for window in [ana, ben] {
        window.wait_sent(&[LEFT_BEHIND, SLEPT_OVER]).await?;
    }
    ana.wait_read("nothing left in the outbox", SENDERS, &Vec::<String>::new()).await?;
    ana.picture("05-sent-for-a-window-that-sleeps").await?;
    close(ana).await?;

    ana.client.switch_to_window(first).await?;
    ana.suspend(false).await?;
    look_again(ana).await?;
    ana.wait_sent(&[LEFT_BEHIND, SLEPT_OVER]).await?;
    ana.say(AWAKE).await?;
    for window in [ana, ben] {
        window.wait_sent(&[SLEPT_OVER, AWAKE]).await?;
        ensure!(window.messages().await?.len() == 7, "there are others: {:?}", window.messages().await?);
    }
    ana.wait_read("nothing left in the outbox", SENDERS, &Vec::<String>::new()).await
}

/// A browser puts a page away whole and brings it back: what waits in it is its own again, under another name.
async fn stored_and_shown_again(window: &Window) -> anyhow::Result<()> {
    let before: Vec<String> = window.read(SENDERS).await?;
    ensure!(before.len() == 1 && !before[0].is_empty(), "the windows that send are {before:?}");
    window
        .read::<()>(
            "for (const kind of ['pagehide', 'pageshow']) dispatchEvent(new PageTransitionEvent(kind, { persisted: true }));
            return null",
        )
        .await?;
    wait_until("the window to take its message back", PAGE_WAIT, || async {
        let now: Vec<String> = window.read(SENDERS).await.map_err(|error| format!("{error:#}"))?;
        if now.len() == 1 && now != before { Ok(()) } else { Err(format!("after {before:?} it is {now:?}")) }
    })
    .await?;
    wait_state(window, SLEPT_OVER, "pending").await
}

/// Gateways serve another build: an open page says so, and one click later it is that one.
async fn renewed(ana: &Window, page: &Path) -> anyhow::Result<()> {
    let build = "return document.querySelector('meta[name=quorate-build]').content";
    let was: String = ana.read(build).await?;
    ensure!(ana.count("[data-testid=update]").await? == 0, "nothing is new yet");
    for name in ["index.html", "worker.js"] {
        let path = page.join(name);
        let text = std::fs::read_to_string(&path)?;
        ensure!(text.contains(&was), "{name} does not name its build {was}");
        // Without the compressed ones the plain one is served.
        for suffix in ["br", "gz"] {
            std::fs::remove_file(page.join(format!("{name}.{suffix}")))?;
        }
        std::fs::write(&path, text.replace(&was, OTHER_BUILD))?;
    }
    // Browsers take a look for the same as one that is under way, and that one may have read the old file.
    wait_until("a newer build to be found", PAGE_WAIT, || async {
        look_again(ana).await.map_err(|error| format!("{error:#}"))?;
        tokio::time::sleep(Duration::from_millis(500)).await;
        match ana.count("[data-testid=update]").await.map_err(|error| format!("{error:#}"))? {
            0 => Err("there is none".to_owned()),
            _ => Ok(()),
        }
    })
    .await?;
    ana.wait_text("[data-testid=update]", "A new version is ready.").await?;
    ana.shoot("06-a-new-version").await?;
    ana.press("[data-testid=update] button").await?;
    ana.wait_read("the page of the new build", build, &OTHER_BUILD.to_owned()).await?;
    ana.wait_for("new-conversation").await?;
    let kept = "return caches.keys().then(names => names.join())";
    ana.wait_read("the new build's files alone", kept, &format!("quorate-{OTHER_BUILD}")).await?;
    ensure!(ana.count("[data-testid=update]").await? == 0, "the new version is not offered to itself");
    ana.wait_sent(&[LEFT_BEHIND]).await
}

/// Gateways have no worker any more: the page lets go of the one it had, and of what that one stored.
async fn without_a_worker(ana: &Window, page: &Path) -> anyhow::Result<()> {
    std::fs::remove_file(page.join("worker.js"))?;
    look_again(ana).await?;
    let left = "return navigator.serviceWorker.getRegistrations().then(async found =>
        found.length + (await caches.keys()).length)";
    ana.wait_read("no worker left", left, &0).await?;
    ana.reload().await?;
    ana.wait_for("new-conversation").await
}

/// Who signs out leaves nothing to read behind.
async fn forgotten(ana: &Window) -> anyhow::Result<()> {
    ready_to_forget(ana).await?;
    ana.press("[data-testid=sign-out]").await?;
    ana.wait_for("sign-in").await?;
    let count = "return quorate.kept().then(texts => texts.length)";
    ana.wait_read("nothing kept", count, &0).await?;
    ana.picture("07-forgotten").await
}

async fn ready_to_forget(ana: &Window) -> anyhow::Result<()> {
    let count = "return quorate.kept().then(texts => texts.length > 1)";
    ana.wait_read("something kept", count, &true).await
}

/// Something listens where the page came from, and both devices notice: by itself a page may try again as late as after half a minute.
async fn network_again(cluster: &Cluster, windows: [&Window; 2]) -> anyhow::Result<()> {
    cluster.start_member(&Member::Balancer)?;
    cluster.wait_ready(&Member::Balancer, PAGE_WAIT).await?;
    for window in windows {
        look_again(window).await?;
    }
    Ok(())
}

/// What a device does when its network is back; the page tries again at once, and looks for a newer build.
async fn look_again(window: &Window) -> anyhow::Result<()> {
    window.read("dispatchEvent(new Event('online')); return null").await
}

/// Closes the window that is driven once its look for a newer build is over. Where a window goes in the midst of one, Chromium (seen in 156) may
/// never end it: whatever the other windows ask of the worker's registration then waits behind it.
async fn close(window: &Window) -> anyhow::Result<()> {
    let looked = "return navigator.serviceWorker.getRegistration().then(found => found?.update()).then(() => null, () => null)";
    window.read::<()>(looked).await?;
    Ok(window.client.close_window().await?)
}

async fn wait_state(window: &Window, text: &str, state: &str) -> anyhow::Result<()> {
    let reason = format!("{} to see {text:?} once, {state}", window.name);
    wait_until(&reason, PAGE_WAIT, || async {
        let messages = window.messages().await.map_err(|error| format!("{error:#}"))?;
        let found: Vec<_> = messages.iter().filter(|message| message.text == text).collect();
        match found.as_slice() {
            [one] if one.state == state => Ok(()),
            _ => Err(format!("the timeline is {messages:#?}")),
        }
    })
    .await?;
    Ok(())
}
