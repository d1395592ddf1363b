//! The page in another language: chosen on this device, there after a reload and without a network, and given back.
//!
//! Pictures of every step are kept in `target/screenshots/language`.

use std::path::Path;
use std::time::Duration;

use anyhow::ensure;
use fantoccini::Locator;
use quorate_cluster::{Cluster, Member};
use quorate_tests::browser::Driver;

use crate::start;
use crate::window::Window;

/// The test; a browser that hangs must not hang the run.
const TEST_WAIT: Duration = Duration::from_secs(240);
const SAID: &str = "Guten Morgen!";
/// What a person reads on a button.
const LABEL: &str = "return document.querySelector('[data-testid=new-conversation]')?.ariaLabel ?? ''";
const LANGUAGE: &str = "return document.documentElement.lang";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_speaks_the_language_that_was_chosen() -> anyhow::Result<()> {
    let (test, shots) = start("language").await?;
    let result = match tokio::time::timeout(TEST_WAIT, windows(&test.cluster, &shots)).await {
        Ok(result) => result,
        Err(_) => Err(anyhow::anyhow!("the test took longer than {TEST_WAIT:?}")),
    };
    test.finish(result).await
}

async fn windows(cluster: &Cluster, shots: &Path) -> anyhow::Result<()> {
    let driver = Driver::start(cluster.plan().spare(0), &shots.join("chromedriver.log")).await?;
    let ben = Window::open(&driver, cluster.front(), "ben", shots).await?;
    let ana = Window::open(&driver, cluster.front(), "ana", shots).await?;
    if let Err(error) = story(cluster, &ana, &ben).await {
        return Err(error.context(ana.evidence().await));
    }
    ana.close().await?;
    ben.close().await
}

async fn story(cluster: &Cluster, ana: &Window, ben: &Window) -> anyhow::Result<()> {
    ben.sign_up().await?;
    ana.sign_up().await?;
    says(ana, "en", "New conversation").await?;
    choose(ana, "de").await?;
    says(ana, "de", "Neue Unterhaltung").await?;
    ana.wait_text(".find-button", "Unterhaltung finden").await?;
    ana.start_conversation("ben").await?;
    let asks = "return document.querySelector('[data-testid=composer]').placeholder";
    ana.wait_read("the composer in German", asks, &"Nachricht an Ben".to_owned()).await?;

    ana.say(SAID).await?;
    ana.wait_sent(&[SAID]).await?;
    ana.wait_text(".day", "Heute").await?;
    ana.reload().await?;
    says(ana, "de", "Neue Unterhaltung").await?;
    ana.wait_sent(&[SAID]).await?;
    ana.shoot("01-german").await?;
    let overflow = ana.phone_overflow().await?;
    ensure!(overflow.is_none(), "{overflow:?}");

    without_a_network(cluster, ana).await?;
    choose(ana, "en").await?;
    says(ana, "en", "New conversation").await
}

/// In Account, as a person does it.
async fn choose(window: &Window, language: &str) -> anyhow::Result<()> {
    window.press("[data-testid=account]").await?;
    window.wait_for("language").await?;
    window.client.find(Locator::Css("[data-testid=language]")).await?.select_by_value(language).await?;
    window.press("[data-testid=apply-language]").await?;
    window.wait_count("[data-testid=account-dialog][open]", 0).await
}

async fn says(window: &Window, language: &str, label: &str) -> anyhow::Result<()> {
    window.wait_read("its language", LANGUAGE, &language.to_owned()).await?;
    window.wait_read("its words", LABEL, &label.to_owned()).await
}

/// The worker keeps the words as well.
async fn without_a_network(cluster: &Cluster, ana: &Window) -> anyhow::Result<()> {
    let is_active = "return navigator.serviceWorker.ready.then(found => found.active.state)";
    ana.wait_read("the worker at work", is_active, &"activated".to_owned()).await?;
    let is_kept = format!("return quorate.kept().then(texts => texts.some(text => text.includes({SAID:?})))");
    ana.wait_read("the message kept", &is_kept, &true).await?;
    cluster.kill(&Member::Balancer).await?;
    ana.reload().await?;
    says(ana, "de", "Neue Unterhaltung").await?;
    ana.wait_sent(&[SAID]).await?;
    ana.picture("02-without-a-network").await?;
    cluster.start_member(&Member::Balancer)?;
    ana.wait_banner(None).await
}
