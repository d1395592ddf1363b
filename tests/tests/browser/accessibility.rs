//! Whether everybody can use the page: axe at every screen, and what axe cannot see: where the focus goes, twice the size, right to
//! left.

use std::path::Path;
use std::time::Duration;

use anyhow::ensure;
use quorate_cluster::{Cluster, wait_until};
use quorate_proto::ids::Sequence;
use quorate_tests::browser::Driver;
use quorate_tests::skip::skip;

use crate::axe::Axe;
use crate::start;
use crate::window::{PAGE_WAIT, Window};

/// The whole test; a browser that hangs must not hang the run.
const TEST_WAIT: Duration = Duration::from_secs(480);
/// Something of everything that a text can be.
const RICH: &str = "**Three** of _five_ is `enough`:\n- replica 1\n- replica 4\n> and the leader?\n```\na line of code that is far too long for the width of a telephone, so that it has to be scrolled to be read\n```\nHello @ben, see https://example.org/quorum";
/// "Three of five are enough", from right to left.
const ARABIC: &str = "ثلاثة من خمسة تكفي";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everybody_can_use_every_screen() -> anyhow::Result<()> {
    let Some(script) = Axe::path() else {
        skip("accessibility", "axe-core is not there: tests/axe fetches it");
        return Ok(());
    };
    let (test, shots) = start("accessibility").await?;
    let test = test.upgraded().await?;
    let mut axe = Axe::read(script)?;
    let result = match tokio::time::timeout(TEST_WAIT, windows(&test.cluster, &shots, &mut axe)).await {
        Ok(result) => result,
        Err(_) => Err(anyhow::anyhow!("the test took longer than {TEST_WAIT:?}")),
    };
    // What axe found is told even where the tour broke off.
    let verdict = axe.verdict();
    test.finish(match (result, verdict) {
        (Err(error), Err(found)) => Err(error.context(found)),
        (result, verdict) => result.and(verdict),
    })
    .await
}

async fn windows(cluster: &Cluster, shots: &Path, axe: &mut Axe) -> anyhow::Result<()> {
    let driver = Driver::start(cluster.plan().spare(0), &shots.join("chromedriver.log")).await?;
    let ben = Window::open(&driver, cluster.front(), "ben", shots).await?;
    let ana = Window::open(&driver, cluster.front(), "ana", shots).await?;
    if let Err(error) = tour(cluster, &ana, &ben, axe).await {
        return Err(error.context(ana.evidence().await));
    }
    ana.close().await?;
    ben.close().await
}

async fn tour(cluster: &Cluster, ana: &Window, ben: &Window, axe: &mut Axe) -> anyhow::Result<()> {
    ben.sign_up().await?;
    door(ana, axe).await?;
    ana.sign_up().await?;
    ana.wait_for("new-conversation").await?;
    axe.look(ana, "nothing-yet").await?;
    let rich = conversation(ana, axe).await?;
    parts(ana, axe).await?;
    dialogs(ana, rich, axe).await?;
    focus_comes_back(ana).await?;
    twice_the_size(ana).await?;
    from_right_to_left(ana).await?;
    group(ana, axe).await?;
    desk(cluster, ana, axe).await?;
    design(cluster, ana, axe).await
}

async fn door(ana: &Window, axe: &mut Axe) -> anyhow::Result<()> {
    ana.wait_for("sign-up").await?;
    axe.look(ana, "sign-up").await?;
    ana.press_words(".swap button", "Sign in").await?;
    ana.wait_for("sign-in").await?;
    ana.press("[data-testid=sign-in] button[type=submit]").await?;
    ana.wait_words("[data-testid=sign-in] .error").await?;
    axe.look(ana, "sign-in").await?;
    ana.press("[data-testid=lost-password]").await?;
    ana.wait_for("reset-password").await?;
    axe.look(ana, "reset-password").await?;
    ana.press_words(".swap button", "Back to sign in").await?;
    ana.press_words(".swap button", "Create an account").await
}

/// A conversation with something of everything in it; the message that has it.
async fn conversation(ana: &Window, axe: &mut Axe) -> anyhow::Result<Sequence> {
    ana.press("[data-testid=new-conversation]").await?;
    ana.wait_for("person").await?;
    axe.look(ana, "new-conversation").await?;
    ana.close_dialog().await?;
    ana.start_conversation("ben").await?;
    axe.look(ana, "beginning").await?;
    ana.compose(RICH).await?;
    ana.keys("[data-testid=composer]", crate::window::ENTER).await?;
    ana.wait_count("[data-testid=message][data-state=sent] .code", 1).await?;
    let rich = 1;
    ana.tell(ARABIC).await?;
    let gone = ana.tell("This goes again.").await?;
    ana.tool(rich, "react").await?;
    ana.wait_for("emoji-picker").await?;
    axe.look(ana, "emoji-picker").await?;
    ana.press(".quick-emoji button").await?;
    ana.wait_for("reaction").await?;
    ana.menu(gone, "Delete for everyone…").await?;
    ana.wait_for("confirm-delete").await?;
    axe.look(ana, "delete").await?;
    ana.press("[data-testid=confirm-delete]").await?;
    ana.wait_for("tombstone").await?;
    ana.tool(rich, "message-more").await?;
    ana.wait_for("message-menu").await?;
    axe.look(ana, "message-menu").await?;
    ana.menu(rich, "Reply").await?;
    ana.wait_for("reply-bar").await?;
    ana.keys("[data-testid=composer]", "@b").await?;
    ana.wait_for("mention-offers").await?;
    axe.look(ana, "conversation").await?;
    ana.clear_composer().await?;
    Ok(rich)
}

/// What stands at the side.
async fn parts(ana: &Window, axe: &mut Axe) -> anyhow::Result<()> {
    ana.open_details().await?;
    axe.look(ana, "details").await?;
    ana.close_details().await?;
    for panel in ["search", "mentions", "saved-list", "scheduled-list"] {
        ana.press(&format!("[data-testid={panel}]")).await?;
        ana.wait_for("panel").await?;
        axe.look(ana, panel).await?;
        ana.close_panel().await?;
    }
    Ok(())
}

/// What lies over the page.
async fn dialogs(ana: &Window, rich: Sequence, axe: &mut Axe) -> anyhow::Result<()> {
    for (button, name) in [
        ("[data-testid=channels]", "channels"),
        ("[data-testid=account]", "account"),
        (".find-button", "switcher"),
        ("[data-testid=message] [data-testid=author]", "person"),
    ] {
        ana.press(button).await?;
        ana.wait_count("dialog[open]", 1).await?;
        axe.look(ana, name).await?;
        ana.keys("dialog[open] :is(input, button)", "\u{E00C}").await?;
        ana.no_dialog().await?;
    }
    for (words, name) in [("Forward…", "forward"), ("Remind me…", "remind")] {
        ana.menu(rich, words).await?;
        ana.wait_for("sheet").await?;
        axe.look(ana, name).await?;
        ana.close_dialog().await?;
    }
    ana.compose("Good morning!").await?;
    ana.press("[data-testid=send-later]").await?;
    ana.wait_for("sheet").await?;
    axe.look(ana, "send-later").await?;
    ana.close_dialog().await?;
    ana.clear_composer().await
}

/// Who closes something is back where she opened it; F6 leads through the parts and round.
async fn focus_comes_back(ana: &Window) -> anyhow::Result<()> {
    let focused = "return document.activeElement?.dataset?.testid ?? document.activeElement?.tagName";
    for (opener, part, close) in [
        ("details-toggle", "details", "[aria-label='Close details']"),
        ("saved-list", "panel", "[aria-label='Close panel']"),
        ("account", "account-dialog", "[aria-label=Close]"),
        ("channels", "sheet", "[aria-label=Close]"),
    ] {
        ana.press(&format!("[data-testid={opener}]")).await?;
        ana.wait_for(part).await?;
        ana.press(&format!("[data-testid={part}] {close}")).await?;
        ana.wait_read(&format!("the focus on {opener} again"), focused, &opener.to_owned()).await?;
    }
    ana.press("[data-testid=composer]").await?;
    let region = "return document.activeElement.closest('[data-region]')?.className ?? 'none'";
    let mut seen = Vec::new();
    let mut at: String = ana.read(region).await?;
    for _ in 0..4 {
        ana.keys("[data-region] :focus, [data-region]:focus", "\u{E036}").await?;
        at = wait_until("F6 to lead to another part", PAGE_WAIT, || async {
            let now: String = ana.read(region).await.map_err(|error| format!("{error:#}"))?;
            if now == at { Err(format!("it is {now}")) } else { Ok(now) }
        })
        .await?;
        seen.push(at.clone());
    }
    seen.sort();
    ensure!(seen == ["chat-head", "composer", "side", "timeline"], "F6 leads to {seen:?}");
    Ok(())
}

/// At twice the size all of it is there, and nobody scrolls sideways.
async fn twice_the_size(ana: &Window) -> anyhow::Result<()> {
    let width = "return innerWidth";
    let before: u64 = ana.read(width).await?;
    ana.zoom(2).await?;
    // Judged any sooner, the page would be judged as it was.
    ana.wait_read("the window half as wide", width, &(before / 2)).await?;
    ana.wait_for("composer").await?;
    let fits = "const w = document.documentElement; const box = document.querySelector('[data-testid=composer]').getBoundingClientRect();
        return w.scrollWidth <= w.clientWidth && box.bottom <= innerHeight && box.width > 100";
    ana.wait_read("everything in a window of half the size, with room to write", fits, &true).await?;
    ana.picture("twice-the-size").await?;
    ana.zoom(1).await?;
    ana.wait_read("the window as wide as before", width, &before).await
}

/// What is written from right to left runs so, and a page that does has everything on its other side.
async fn from_right_to_left(ana: &Window) -> anyhow::Result<()> {
    let direction = "const text = [...document.querySelectorAll('.message .text')].find((it) => it.textContent.startsWith('ثلاثة'));
        return text && getComputedStyle(text).direction";
    ana.wait_read("the Arabic text from right to left", direction, &Some("rtl".to_owned())).await?;
    let mirrored: bool = ana
        .read("document.documentElement.dir = 'rtl';
            const side = document.querySelector('.side').getBoundingClientRect(), w = document.documentElement;
            return side.right === innerWidth && w.scrollWidth <= w.clientWidth")
        .await?;
    ana.picture("right-to-left").await?;
    let _: Option<String> = ana.read("document.documentElement.dir = 'ltr'; return null").await?;
    ensure!(mirrored, "from right to left the sidebar is not on the right, or something hangs out");
    Ok(())
}

async fn group(ana: &Window, axe: &mut Axe) -> anyhow::Result<()> {
    ana.make_group("Night shift", &[]).await?;
    let pinned = ana.tell("Who watches until the morning?").await?;
    ana.menu(pinned, "Pin").await?;
    ana.press("[data-testid=pins]").await?;
    ana.wait_for("panel-message").await?;
    axe.look(ana, "pins").await?;
    ana.close_panel().await?;
    ana.open_details().await?;
    ana.wait_for("member").await?;
    axe.look(ana, "group-details").await?;
    for (button, name) in [("invite", "make-invite"), ("add-somebody", "add-somebody")] {
        ana.press(&format!("[data-testid={button}]")).await?;
        ana.wait_for("sheet").await?;
        axe.look(ana, name).await?;
        ana.close_dialog().await?;
    }
    ana.close_details().await
}

/// Every tab of the desk, whichever there are.
async fn desk(cluster: &Cluster, ana: &Window, axe: &mut Axe) -> anyhow::Result<()> {
    let secret = cluster.operate(&["admin", "offer", "--first"]).await?.trim().to_owned();
    ana.press("[data-testid=account]").await?;
    ana.fill("[data-testid=admin-secret]", &secret).await?;
    ana.press("[data-testid=admin] button[type=submit]").await?;
    ana.wait_text("[data-testid=admin] .done", "You are an admin now.").await?;
    ana.close_dialog().await?;
    ana.visit(&format!("http://{}/desk", cluster.front())).await?;
    ana.wait_for("administration").await?;
    let tabs: Vec<String> = ana
        .read("return [...document.querySelectorAll('.tabs a:not([hidden])')].map((tab) => tab.getAttribute('href'))")
        .await?;
    ensure!(tabs.len() >= 4, "the desk's tabs are {tabs:?}");
    for tab in tabs {
        ana.press(&format!(".tabs a[href='{tab}']")).await?;
        ana.wait_count(&format!(".tabs a[href='{tab}'][aria-current=page]"), 1).await?;
        axe.look(ana, &format!("desk{}", tab.replace("#/", "-"))).await?;
    }
    Ok(())
}

/// Every component in every state, in either density.
async fn design(cluster: &Cluster, ana: &Window, axe: &mut Axe) -> anyhow::Result<()> {
    ana.visit(&format!("http://{}/design", cluster.front())).await?;
    ana.wait_for("design").await?;
    let shown: u64 = ana
        .read("const all = [...document.querySelectorAll('[data-testid=show]')]; all.forEach((button) => button.click()); return all.length")
        .await?;
    ensure!(shown >= 8, "only {shown} are shown on demand");
    // Of what is scrolled out of sight axe sees no colours: here nothing is.
    let unrolled: bool = ana
        .read(
            "for (const it of [document.documentElement, document.body, document.querySelector('.design')]) it.style.height = 'auto';
            for (const it of [document.body, document.querySelector('.design-body')]) it.style.overflow = 'visible';
            return document.documentElement.scrollHeight > 4000",
        )
        .await?;
    ensure!(unrolled, "/design is not as long as it should be");
    axe.look(ana, "design").await?;
    ana.press("[data-testid=compact]").await?;
    ana.wait_read(
        "the page compact",
        "return document.documentElement.dataset.density ?? ''",
        &"compact".to_owned(),
    )
    .await?;
    axe.look(ana, "design-compact").await?;
    if let Some(wide) = ana.phone_overflow().await? {
        anyhow::bail!("/design: {wide}");
    }
    // The choice outlives the page, before its program runs.
    ana.reload().await?;
    ana.wait_read(
        "the page compact again",
        "return document.documentElement.dataset.density ?? ''",
        &"compact".to_owned(),
    )
    .await
}
