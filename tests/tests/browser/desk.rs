//! The desk: the cluster as an admin sees it while its leader is killed, comes back, and hands over, and where the time of messages goes;
//! at every width, in both themes.
//!
//! Pictures are kept in `target/screenshots/desk`.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};
use quorate_cluster::process::Send;
use quorate_cluster::{Cluster, Member, wait_until};
use quorate_tests::browser::Driver;

use crate::window::{PAGE_WAIT, VIEWS, Window};
use crate::{leader, start};

/// The whole test; a browser that hangs must not hang the run.
const TEST_WAIT: Duration = Duration::from_secs(300);
/// The page looks so often before what it shows is looked at again.
const LOOKS: u64 = 3;

const REPLICA: &str = "[data-testid=replica]";
const CLUSTER: &str = "[data-testid=cluster]";
const CHANGE: &str = "[data-testid=change]";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_admin_sees_the_leader_die_another_take_over_and_five_again() -> anyhow::Result<()> {
    let (test, shots) = start("desk").await?;
    let test = test.upgraded().await?;
    let result = match tokio::time::timeout(TEST_WAIT, window(&test.cluster, &shots)).await {
        Ok(result) => result,
        Err(_) => Err(anyhow::anyhow!("the test took longer than {TEST_WAIT:?}")),
    };
    test.finish(result).await
}

async fn window(cluster: &Cluster, shots: &Path) -> anyhow::Result<()> {
    let driver = Driver::start(cluster.plan().spare(0), &shots.join("chromedriver.log")).await?;
    let ana = Window::open(&driver, cluster.front(), "ana", shots).await?;
    if let Err(error) = story(cluster, &ana).await {
        return Err(error.context(ana.evidence().await));
    }
    ana.close().await
}

fn replica(id: u16) -> String {
    format!("{REPLICA}[data-id=\"{id}\"]")
}

fn film(term: u64) -> String {
    format!("[data-testid=film][data-term=\"{term}\"]")
}

async fn story(cluster: &Cluster, ana: &Window) -> anyhow::Result<()> {
    become_admin(cluster, ana).await?;
    ana.make_group("Night shift", &[]).await?;
    for text in ["Who watches until the morning?", "I do.", "Then good night."] {
        ana.tell(text).await?;
    }
    ana.visit(&format!("http://{}/desk#/cluster", cluster.front())).await?;
    // First: what was written counts for a minute.
    the_time_is_shown_stage_by_stage(ana).await?;
    whole(cluster, ana).await?;
    // All gateways tell which replica feeds them, and a line is drawn for each.
    ana.wait_count(".feeds path", cluster.gateways().len() as u64).await?;
    ensure!(ana.count(".tabs a:not([hidden])").await? == 5, "a cluster without a demo shows one");
    ana.look("01-five").await?;
    the_focus_stays(cluster, ana).await?;

    let (victim, term) = leader(cluster).await?;
    cluster.kill(&Member::Replica(victim)).await?;
    ana.wait_text("[data-testid=quorum]", "4 of 5 answer; writes need 3.").await?;
    ana.wait_attribute(&replica(victim), "data-role", Some("silent")).await?;
    ana.wait_text(&replica(victim), "No answer").await?;
    let (next, next_term) = leader(cluster).await?;
    ensure!(next != victim && next_term > term, "replica {next} leads in term {next_term} after {term}");
    ana.wait_attribute(&replica(next), "data-role", Some("leader")).await?;
    ana.wait_count(&format!("{REPLICA}[data-role=leader]"), 1).await?;
    on_film(ana, next_term, &format!("Replica {victim} was lost, replica {next} took over")).await?;
    ana.look("02-leader-killed").await?;

    cluster.start_member(&Member::Replica(victim))?;
    whole(cluster, ana).await?;
    ana.look("03-five-again").await?;

    // Leadership goes to a replica that was there all the time.
    let heir = (1..=cluster.replicas()).find(|id| *id != victim && *id != next).context("there are five")?;
    ana.press_words(&format!("{} .acts button", replica(heir)), "Let lead…").await?;
    ana.wait_text("#change-title", &format!("Let replica {heir} lead?")).await?;
    ana.look("04-let-lead").await?;
    ana.press("[data-testid=confirm-change]").await?;
    ana.wait_text("[data-testid=change-result]", &format!("Replica {heir} leads")).await?;
    ana.close_dialog().await?;
    ana.wait_attribute(&replica(heir), "data-role", Some("leader")).await?;
    let (_, heir_term) = leader(cluster).await?;
    ana.wait_text(&film(heir_term), &format!("Replica {next} handed over to replica {heir}")).await?;

    // What is refused is refused in the server's words: this id is taken.
    ana.press("[data-testid=add-replica]").await?;
    ana.fill("[data-testid=new-id]", "1").await?;
    ana.fill("[data-testid=new-address]", "127.0.0.1:1").await?;
    ana.press("[data-testid=confirm-change]").await?;
    ana.wait_words(&format!("{CHANGE} .error")).await?;
    ana.look("05-refused").await?;
    ana.close_dialog().await?;
    whole(cluster, ana).await?;

    // Gateways that stand still: what is shown stays, and its age is said.
    let gateways: Vec<Member> = cluster.gateways().into_iter().map(Member::Gateway).collect();
    for gateway in &gateways {
        cluster.signal(gateway, Send::Pause)?;
    }
    ana.wait_attribute(CLUSTER, "data-old", Some("true")).await?;
    ana.wait_text("[data-testid=age]", "old.").await?;
    ana.wait_text("[data-testid=stages-age]", "old.").await?;
    ana.wait_count(REPLICA, 5).await?;
    ana.look("06-old").await?;
    for gateway in &gateways {
        cluster.signal(gateway, Send::Resume)?;
    }
    ana.wait_attribute(CLUSTER, "data-old", None).await?;
    whole(cluster, ana).await
}

/// By the operator's secret, as everybody becomes one.
async fn become_admin(cluster: &Cluster, ana: &Window) -> anyhow::Result<()> {
    ana.sign_up().await?;
    let secret = cluster.operate(&["admin", "offer", "--first"]).await?.trim().to_owned();
    ana.press("[data-testid=account]").await?;
    ana.fill("[data-testid=admin-secret]", &secret).await?;
    ana.press("[data-testid=admin] button[type=submit]").await?;
    ana.wait_text("[data-testid=admin] .done", "You are an admin now.").await?;
    ana.close_dialog().await
}

/// Five replicas answer, and the one that leads is shown as the leader, alone.
async fn whole(cluster: &Cluster, ana: &Window) -> anyhow::Result<()> {
    ana.wait_text("[data-testid=quorum]", "5 of 5 answer; writes need 3.").await?;
    ana.wait_count(REPLICA, 5).await?;
    ana.wait_count(&format!("{REPLICA}[data-role=leader]"), 1).await?;
    ana.wait_count(&format!("{REPLICA}[data-role=follower]"), 4).await?;
    let (leader, term) = leader(cluster).await?;
    ana.wait_attribute(&replica(leader), "data-role", Some("leader")).await?;
    ana.wait_text("[data-testid=leader]", &format!("Replica {leader} leads in term {term}.")).await
}

/// Eight stages in the order of a message's way, with times of those that a gateway measured, and said by which; a phone shows all of it.
async fn the_time_is_shown_stage_by_stage(ana: &Window) -> anyhow::Result<()> {
    let way = "return [...document.querySelectorAll('[data-testid=stage]')].map(row => row.dataset.stage).join(' ')";
    let stages = "lane queue retry leader replica network reply delivery".to_owned();
    ana.wait_read("every stage", way, &stages).await?;
    // Answers come from any gateway, and one of them took what was written.
    let measured = "const row = document.querySelector('[data-stage=leader]');
        const words = (name) => row.querySelector(`[data-testid=${name}]`)?.textContent ?? '';
        return Number(words('count')) >= 1 && /^[0-9.]+ m?s$/.test(words('p50')) && /^[0-9.]+ m?s$/.test(words('p99'))
            && row.querySelectorAll('.span, .half').length === 2";
    ana.read::<()>(
        "const body = document.querySelector('.admin-body'), part = document.querySelector('[data-testid=stages]');
        body.scrollTop += part.getBoundingClientRect().top - body.getBoundingClientRect().top;
        return null",
    )
    .await?;
    ana.wait_read("how long the leader took", measured, &true).await?;
    ana.picture("01-stages").await?;
    // A gateway through which nobody wrote says so, and no 0 ms.
    let told = "return [...document.querySelectorAll('[data-testid=stage]')].every(row =>
        row.querySelectorAll('[data-testid]').length === 3 || row.textContent.includes('nothing in the last minute'))";
    ana.wait_read("a time or why there is none in each row", told, &true).await?;
    ana.wait_text("[data-testid=stages-source]", "As gateway ").await?;
    ana.view(VIEWS[1]).await?;
    let fits =
        "const body = document.querySelector('.admin-body'), table = document.querySelector('.stage-table');
        return body.scrollWidth <= body.clientWidth && table.getBoundingClientRect().right <= innerWidth
            && [...table.querySelectorAll('svg')].every(bar => bar.getBoundingClientRect().width > 100)";
    ana.wait_read("the stages on a phone, with room for their bars", fits, &true).await?;
    ana.view(VIEWS[3]).await?;
    ana.read("document.querySelector('.admin-body').scrollTop = 0; return null").await
}

/// A row that is drawn anew would drop what somebody is about to press.
async fn the_focus_stays(cluster: &Cluster, ana: &Window) -> anyhow::Result<()> {
    let (leader, _) = leader(cluster).await?;
    let held = format!("{} .acts button:last-child", replica(leader));
    let look = format!(
        "const held = document.querySelector('{held}'); held.focus(); return held === document.activeElement"
    );
    ensure!(ana.read::<bool>(&look).await?, "the button takes no focus");
    let looks = "return performance.getEntriesByType('resource')
        .filter(it => new URL(it.name).pathname === '/api/v1/admin/cluster').length";
    let before: u64 = ana.read(looks).await?;
    wait_until("the page to look again", PAGE_WAIT, || async {
        let now: u64 = ana.read(looks).await.map_err(|error| format!("{error:#}"))?;
        if now >= before + LOOKS { Ok(()) } else { Err(format!("{now} times after {before}")) }
    })
    .await?;
    let still = format!("return document.querySelector('{held}') === document.activeElement");
    ensure!(ana.read::<bool>(&still).await?, "the focus was lost when the page looked again");
    Ok(())
}

/// A failover is shown as a strip with marks, and as a table with the same ones.
async fn on_film(ana: &Window, term: u64, title: &str) -> anyhow::Result<()> {
    let film = film(term);
    ana.wait_text(&film, title).await?;
    let script = format!(
        "const film = document.querySelector('{film}'); \
         return [Number(film.dataset.marks), film.querySelectorAll('.strip circle').length, \
                 film.querySelectorAll('tbody tr').length].map(Math.round)"
    );
    // Heartbeat, suspicion, election, votes and the first commit at least; what the gateway saw comes when it has seen it.
    wait_until(&format!("a strip of term {term}"), PAGE_WAIT, || async {
        let [marks, drawn, rows]: [u64; 3] = ana.read(&script).await.map_err(|error| format!("{error:#}"))?;
        if marks >= 5 && marks == drawn && drawn == rows {
            Ok(())
        } else {
            Err(format!("{marks}, {drawn}, {rows}"))
        }
    })
    .await?;
    ana.wait_text(&format!("{film} [data-testid=film-total]"), "after the last heartbeat").await
}
