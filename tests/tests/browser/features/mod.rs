//! What people do in a chat, through the page alone: each does it in her window, and the others see it in theirs, on other
//! gateways, while a leader dies.
//!
//! Pictures of every step are kept in `target/screenshots/features`.

mod accounts;
mod admins;
mod attention;
mod groups;
mod messages;
mod provider;
mod reading;

use std::future::Future;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use quorate_cluster::{Cluster, Member};
use quorate_proto::ids::ConversationId;
use quorate_tests::browser::Driver;

use crate::window::{PAGE_WAIT, Window};
use crate::{leader, on_two_gateways, start_with};
use provider::Provider;

/// Each test; a browser that hangs must not hang the run.
const TEST_WAIT: Duration = Duration::from_secs(480);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_people_do_in_a_chat() -> anyhow::Result<()> {
    let provider = Provider::start().await?;
    let settings = provider.settings();
    let (test, shots) = start_with("features/chat", |mut spec| {
        spec.gateway_keys.insert("suggestions".to_owned(), settings.into());
        spec
    })
    .await?;
    let test = test.upgraded().await?;
    let result = within(chat(&test.cluster, &shots, &provider)).await;
    test.finish(result).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_people_do_with_groups_and_accounts() -> anyhow::Result<()> {
    let (test, shots) = start_with("features/people", |spec| spec).await?;
    let test = test.upgraded().await?;
    let result = within(people(&test.cluster, &shots)).await;
    test.finish(result).await
}

async fn within(story: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    tokio::time::timeout(TEST_WAIT, story)
        .await
        .unwrap_or_else(|_| Err(anyhow::anyhow!("the test took longer than {TEST_WAIT:?}")))
}

/// Messages and what is done to them: two people, a direct conversation and a group.
async fn chat(cluster: &Cluster, shots: &Path, provider: &Provider) -> anyhow::Result<()> {
    let driver = Driver::start(cluster.plan().spare(0), &shots.join("chromedriver.log")).await?;
    let ana = Window::open(&driver, cluster.front(), "ana", shots).await?;
    let ben = Window::open(&driver, cluster.front(), "ben", shots).await?;
    if let Err(error) = chat_of(cluster, &ana, &ben, provider).await {
        return Err(error.context(ana.evidence().await).context(ben.evidence().await));
    }
    ana.close().await?;
    ben.close().await
}

async fn chat_of(cluster: &Cluster, ana: &Window, ben: &Window, provider: &Provider) -> anyhow::Result<()> {
    let direct = acquainted(ana, ben).await?;
    let told = messages::written(ana, ben).await?;
    messages::changed(ana, ben, told).await?;
    without_its_leader(cluster, messages::kept(ana, ben, told, direct)).await?;
    reading::found(ana, ben, told).await?;
    reading::later(ana, ben, told, direct).await?;
    reading::counted(ana, ben, told, direct).await?;
    reading::suggested(ana, ben, direct, provider).await?;
    attention::called(ana, ben, told, direct).await?;
    attention::keys(ana, ben, told).await
}

/// Groups, accounts and the admins' part: three people, and one of them once more on a device of its own.
async fn people(cluster: &Cluster, shots: &Path) -> anyhow::Result<()> {
    let driver = Driver::start(cluster.plan().spare(0), &shots.join("chromedriver.log")).await?;
    let ana = Window::open(&driver, cluster.front(), "ana", shots).await?;
    let ben = Window::open(&driver, cluster.front(), "ben", shots).await?;
    let eva = Window::open(&driver, cluster.front(), "eva", shots).await?;
    // The first time there, and one of many.
    let fresh = Window::open(&driver, cluster.front(), "ben-again", shots).await?;
    if let Err(error) = people_of(cluster, &ana, &ben, &eva, &fresh).await {
        let mut error = error;
        for window in [&ana, &ben, &eva, &fresh] {
            error = error.context(window.evidence().await);
        }
        return Err(error);
    }
    for window in [ana, ben, eva, fresh] {
        window.close().await?;
    }
    Ok(())
}

async fn people_of(
    cluster: &Cluster,
    ana: &Window,
    ben: &Window,
    eva: &Window,
    fresh: &Window,
) -> anyhow::Result<()> {
    eva.sign_up().await?;
    ben.wait_for("sign-up").await?;
    let direct = acquainted(ana, ben).await?;
    let group = groups::entered(ana, ben, eva).await?;
    without_its_leader(cluster, groups::left(ana, ben, eva, group)).await?;
    accounts::known(ana, ben, direct).await?;
    let report = accounts::blocked(ben, eva).await?;
    accounts::left(eva).await?;
    accounts::recovered(ben, fresh, direct).await?;
    let folder = tempfile::tempdir()?;
    accounts::exported(fresh, folder.path()).await?;
    admins::at_work(cluster, ana, eva, &report).await
}

/// Two accounts, and a conversation of the two that is open in both windows, each at another gateway.
async fn acquainted(ana: &Window, ben: &Window) -> anyhow::Result<ConversationId> {
    ana.sign_up().await?;
    ben.sign_up().await?;
    ana.start_conversation("ben").await?;
    ana.tell("Good morning, Ben.").await?;
    ben.open_conversation().await?;
    on_two_gateways(ana, ben).await?;
    ben.wait_sent(&["Good morning, Ben."]).await?;
    ana.conversation().await
}

/// Kills the leader while `during` goes on, and starts it again.
async fn without_its_leader<T>(
    cluster: &Cluster,
    during: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<T> {
    let (victim, _) = leader(cluster).await?;
    cluster.kill(&Member::Replica(victim)).await?;
    let done = during.await;
    cluster.start_member(&Member::Replica(victim))?;
    cluster.wait_ready(&Member::Replica(victim), PAGE_WAIT).await?;
    done.with_context(|| format!("while replica {victim}, which led, was dead"))
}
