//! Accounts: what others see of one, whom one blocks, the way back in without a password, and what one takes along.

use std::path::Path;

use anyhow::ensure;
use quorate_cluster::wait_until;
use quorate_proto::ids::ConversationId;

use crate::hands::row;
use crate::window::{PAGE_WAIT, PASSWORD, Window};

/// What Ben sets in place of the password that he has lost.
const NEW_PASSWORD: &str = "a horse that swims";
/// What Ben says of himself.
const STATUS: &str = "At sea until Friday";
/// What Eva writes, and how.
const OFFER: &str = "Cheap boats, only today!";
const REASON: &str = "She sends this to everybody.";
/// What Ben had begun to write.
const DRAFT: &str = "Half a thought";

/// What was reported, and why.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) text: &'static str,
    pub(super) reason: &'static str,
}

async fn open_account(window: &Window) -> anyhow::Result<()> {
    window.press("[data-testid=account]").await?;
    window.wait_for("profile").await
}

async fn save_profile(ben: &Window, status: &str) -> anyhow::Result<()> {
    ben.fill("[data-testid=profile] input[name=display_name]", "Benjamin Reed").await?;
    ben.fill(status, STATUS).await?;
    ben.press("[data-testid=profile] button[type=submit]").await?;
    ben.wait_text("[data-testid=profile] .done", "Saved.").await
}

/// A display name and a status, which the other sees on the card.
pub(super) async fn known(ana: &Window, ben: &Window, direct: ConversationId) -> anyhow::Result<()> {
    open_account(ben).await?;
    let status = "[data-testid=profile] input[name=status]";
    wait_until("ben's profile to be saved as he wrote it", PAGE_WAIT, || async {
        // The status of before is read when the form opens, and may come after what is typed.
        save_profile(ben, status).await.map_err(|error| format!("{error:#}"))?;
        let stands = ben.value(status).await.map_err(|error| format!("{error:#}"))?;
        if stands == STATUS { Ok(()) } else { Err(format!("there stands {stands:?}")) }
    })
    .await?;
    ben.look("27-account").await?;
    ben.close_dialog().await?;
    ben.wait_text("[data-testid=me]", "Benjamin Reed").await?;
    ben.open_row(direct).await?;
    ben.tell("It is me.").await?;

    ana.open_row(direct).await?;
    ana.wait_sent(&["It is me."]).await?;
    ana.press("[data-testid=message][data-author=ben] [data-testid=author]").await?;
    ana.wait_text("[data-testid=status]", STATUS).await?;
    ana.look("28-person").await?;
    ana.close_dialog().await?;
    // Read anew, everything has the new name.
    ana.reload().await?;
    ana.wait_text("[data-testid=conversation-title]", "Benjamin Reed").await?;
    ana.wait_text("[data-testid=author]", "Benjamin Reed").await
}

/// A stranger's message is reported, and she is blocked: nothing of hers comes any more, and nothing goes to her.
pub(super) async fn blocked(ben: &Window, eva: &Window) -> anyhow::Result<Report> {
    eva.start_conversation("ben").await?;
    let offer = eva.tell(OFFER).await?;
    let direct = eva.conversation().await?;
    ben.wait_attribute(&row(direct), "data-unread", Some("1")).await?;
    ben.open_row(direct).await?;
    ben.wait_sent(&[OFFER]).await?;
    ben.menu(offer, "Report…").await?;
    ben.fill("dialog[open] textarea[name=reason]", REASON).await?;
    ben.picture("29-report").await?;
    ben.press("dialog[open] form button[type=submit]").await?;
    ben.dismiss("Reported.").await?;

    ben.press("[data-testid=message][data-author=eva] [data-testid=author]").await?;
    // Whether she is blocked is known with the rest of what the card says.
    ben.wait_text("dialog[open] .facts", "Here since").await?;
    ben.wait_text("[data-testid=block]", "Block").await?;
    ben.press("[data-testid=block]").await?;
    ben.wait_text("[data-testid=block]", "Unblock").await?;
    ben.close_dialog().await?;
    ben.wait_for("closed").await?;
    ben.look("30-blocked").await?;
    eva.say("Why do you not answer?").await?;
    eva.wait_count("[data-testid=message][data-state=failed]", 1).await?;
    eva.wait_text("[data-testid=message][data-state=failed] .failure", "blocked").await?;
    eva.picture("30-refused").await?;
    ensure!(!ben.shows("Why do you not answer").await?, "who is blocked is heard");
    open_account(ben).await?;
    ben.wait_text("[data-testid=blocked]", "@eva").await?;
    ben.close_dialog().await?;
    Ok(Report { text: OFFER, reason: REASON })
}

/// Eva's refused message waits for her: signing out asks what is to become of it.
pub(super) async fn left(eva: &Window) -> anyhow::Result<()> {
    let waits = "return Object.keys(localStorage).filter(key => key.startsWith('quorate.outbox.')).length";
    eva.press("[data-testid=sign-out]").await?;
    eva.wait_text("[data-testid=unsent]", "1 message of yours is not sent yet.").await?;
    eva.look("30-sign-out").await?;
    eva.press("[data-testid=stay]").await?;
    eva.no_dialog().await?;
    eva.wait_for("composer").await?;
    for (choice, kept) in [("leave-keeping", 1_u64), ("leave-wiping", 0)] {
        eva.press("[data-testid=sign-out]").await?;
        eva.press(&format!("[data-testid={choice}]")).await?;
        eva.wait_for("sign-in").await?;
        eva.wait_read("what waits in this browser", waits, &kept).await?;
        sign_in(eva, "eva", PASSWORD).await?;
        eva.wait_for("new-conversation").await?;
    }
    Ok(())
}

/// Recovery codes are shown once; with one of them a fresh window sets another password, and the old window is out.
pub(super) async fn recovered(ben: &Window, fresh: &Window, direct: ConversationId) -> anyhow::Result<()> {
    open_account(ben).await?;
    ben.fill("[data-testid=recovery-codes] input", PASSWORD).await?;
    ben.press("[data-testid=recovery-codes] button[type=submit]").await?;
    ben.wait_text("[data-testid=recovery-codes] .done", "in force").await?;
    let codes: String = ben.wait_words("[data-testid=recovery-codes] .codes").await?;
    let codes: Vec<&str> = codes.lines().collect();
    ensure!(codes.len() >= 2 && codes.iter().all(|code| code.len() >= 22), "{} codes", codes.len());
    ben.look("31-recovery-codes").await?;
    ben.close_dialog().await?;
    open_account(ben).await?;
    ben.wait_for("recovery-codes").await?;
    ensure!(!ben.shows(codes[0]).await?, "codes are shown again");
    ben.close_dialog().await?;
    ben.open_row(direct).await?;
    ben.compose(DRAFT).await?;
    // Drafts are told every few seconds, and nothing on the page says when: its own note of them does.
    let is_told = format!(
        "return Object.keys(localStorage).filter(key => key.startsWith('quorate.draft.'))
            .some(key => {{ const d = JSON.parse(localStorage[key]); return d.told && JSON.stringify(d).includes('{DRAFT}') }})"
    );
    ben.wait_read("the draft told to the cluster", &is_told, &true).await?;

    reset(fresh, codes[0]).await?;
    fresh.wait_text("[data-testid=sign-in] .hint", "Your password is set.").await?;
    // The old window is out; there the code is of no use any more.
    ben.wait_for("sign-in").await?;
    reset(ben, codes[0]).await?;
    ben.wait_words("[data-testid=reset-password] .error").await?;
    ben.look("32-used-code").await?;
    sign_in(fresh, "ben", PASSWORD).await?;
    fresh.wait_words("[data-testid=sign-in] .error").await?;
    sign_in(fresh, "ben", NEW_PASSWORD).await?;
    fresh.wait_for("new-conversation").await?;

    // What he had begun on the other device is here.
    fresh.open_row(direct).await?;
    fresh.wait_sent(&["It is me."]).await?;
    fresh.wait_value("[data-testid=composer]", DRAFT).await?;
    fresh.picture("33-back").await
}

/// Goes from the door, whichever side it shows, to the form for a lost password, and sends it.
async fn reset(window: &Window, code: &str) -> anyhow::Result<()> {
    if window.count("[data-testid=sign-up]").await? == 1 {
        window.press_words("[data-testid=sign-up] .link-button", "Sign in").await?;
    }
    window.press("[data-testid=lost-password]").await?;
    for (field, text) in [("name", "ben"), ("secret", code), ("password", NEW_PASSWORD)] {
        window.fill(&format!("[data-testid=reset-password] input[name={field}]"), text).await?;
    }
    window.picture("32-lost-password").await?;
    window.press("[data-testid=reset-password] button[type=submit]").await
}

/// Fills the form of the door and sends it.
pub(super) async fn sign_in(window: &Window, name: &str, password: &str) -> anyhow::Result<()> {
    for (field, text) in [("name", name), ("password", password)] {
        window.fill(&format!("[data-testid=sign-in] input[name={field}]"), text).await?;
    }
    window.press("[data-testid=sign-in] button[type=submit]").await
}

/// The whole account as a file.
pub(super) async fn exported(window: &Window, folder: &Path) -> anyhow::Result<()> {
    window.download_to(folder).await?;
    open_account(window).await?;
    window.press("[data-testid=export-account]").await?;
    let path = folder.join("quorate-account.jsonl");
    let text = wait_until("the export to be kept", PAGE_WAIT, || async {
        // The browser gives it this name when it is whole.
        std::fs::read_to_string(&path).map_err(|error| error.to_string())
    })
    .await?;
    window.close_dialog().await?;
    for line in text.lines() {
        let read: serde_json::Result<serde_json::Value> = serde_json::from_str(line);
        ensure!(read.is_ok_and(|line| line.is_object()), "the export has a line {line:?}");
    }
    for wanted in ["Good morning, Ben.", "It is me.", OFFER, "Benjamin Reed", STATUS] {
        ensure!(text.contains(wanted), "the export lacks {wanted:?}");
    }
    for foreign in ["Nobody is left to hear this.", "Why do you not answer"] {
        ensure!(!text.contains(foreign), "the export has {foreign:?}, which he never saw");
    }
    Ok(())
}
