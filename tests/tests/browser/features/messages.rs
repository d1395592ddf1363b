//! Messages, and what is done to them: written with Markdown, answered to, reacted to, edited, deleted, pinned, saved, handed on.

use anyhow::ensure;
use quorate_proto::ids::{ConversationId, Sequence};

use crate::hands::{message, row};
use crate::window::{ENTER, Window};

/// What Ana asks Ben, once it is edited.
const ASKED: &str = "@ben, could you look at the tide tables? Thanks!";
const ASKED_FIRST: &str = "@ben, could you look at the tide tables?";

/// Where they talk, and about what.
#[derive(Debug, Clone, Copy)]
pub(super) struct Told {
    pub(super) group: ConversationId,
    /// Ana's question to Ben.
    pub(super) asked: Sequence,
    /// Ben's answer.
    pub(super) answered: Sequence,
}

/// A group; Markdown as elements and never as markup; a mention that is counted and listed; an answer with its quote.
pub(super) async fn written(ana: &Window, ben: &Window) -> anyhow::Result<Told> {
    let group = ana.make_group("Harbour", &["ben"]).await?;
    let line = row(group);
    ben.wait_count(&line, 1).await?;
    let markdown = "**Boats** and `tide` <b>no markup</b> <img src=x onerror=alert(1)>\n- one\n- two";
    ana.compose(&format!("{markdown}{ENTER}")).await?;
    ana.wait_text("[data-testid=message][data-state=sent] .text strong", "Boats").await?;
    let asked = ana.tell(ASKED_FIRST).await?;
    ana.picture("01-markdown").await?;

    // Ben is elsewhere: his list counts, and the mentions lead there.
    ben.wait_attribute(&line, "data-unread", Some("2")).await?;
    ben.wait_attribute(&line, "data-mentions", Some("1")).await?;
    ben.wait_text("[data-testid=mentions] .badge", "1").await?;
    ben.look("02-mentioned").await?;
    ben.press("[data-testid=mentions]").await?;
    ben.wait_text("[data-testid=panel-message]", ASKED_FIRST).await?;
    ben.picture("03-mentions").await?;
    ben.press("[data-testid=panel-message] .found-message").await?;
    ben.wait_text("[data-testid=conversation-title]", "Harbour").await?;
    ben.wait_attribute(&line, "data-mentions", Some("0")).await?;
    ben.close_panel().await?;
    // It is the newest: there is nothing further to go to.
    ben.wait_count("[data-testid=jump]", 0).await?;
    for window in [ana, ben] {
        drawn(window).await?;
    }
    ben.wait_text(&format!("{}.named .mention.own", message(asked)), "@ben").await?;

    ben.tool(asked, "reply").await?;
    ben.wait_text("[data-testid=reply-bar]", "tide tables").await?;
    let answered = ben.tell("They say half past six.").await?;
    ana.wait_text(&format!("{} [data-testid=quote]", message(answered)), "could you look").await?;
    ana.wait_text(&format!("{} [data-testid=quote] b", message(answered)), "Ana").await?;
    ana.look("04-quote").await?;
    Ok(Told { group, asked, answered })
}

/// The first message as elements, with what looks like markup as text.
async fn drawn(window: &Window) -> anyhow::Result<()> {
    let script = "const t = document.querySelector('[data-testid=message] .text');
        const all = q => [...t.querySelectorAll(q)].map(e => e.textContent);
        return [all('strong'), all('code'), all('ul > li'), all('b, img, script'),
            t.textContent.includes('<b>no markup</b> <img src=x onerror=alert(1)>') ? ['as text'] : []]";
    let wanted = [vec!["Boats"], vec!["tide"], vec!["one", "two"], vec![], vec!["as text"]];
    let wanted: Vec<Vec<String>> =
        wanted.iter().map(|found| found.iter().map(|text| (*text).to_owned()).collect()).collect();
    window.wait_read("the Markdown as elements", script, &wanted).await
}

/// A reaction put and taken back, an edit with the text before, a deletion for all and one for oneself.
pub(super) async fn changed(ana: &Window, ben: &Window, told: Told) -> anyhow::Result<()> {
    ana.tool(told.answered, "react").await?;
    ana.wait_for("emoji-picker").await?;
    ana.picture("05-emoji").await?;
    ana.enter(&format!("{} [data-testid=emoji-picker] input", message(told.answered)), "tada").await?;
    let chip = format!("{} [data-testid=reaction][data-emoji=\"🎉\"]", message(told.answered));
    for window in [ana, ben] {
        window.wait_attribute(&chip, "data-count", Some("1")).await?;
    }
    ben.wait_attribute(&chip, "aria-pressed", Some("false")).await?;
    ben.picture("05-reaction").await?;
    ana.press(&chip).await?;
    for window in [ana, ben] {
        window.wait_count(&chip, 0).await?;
    }

    ana.menu(told.asked, "Edit").await?;
    ana.wait_for("edit-bar").await?;
    ana.wait_value("[data-testid=composer]", ASKED_FIRST).await?;
    ana.compose(&format!(" Thanks!{ENTER}")).await?;
    let edited = format!("{} [data-testid=edited]", message(told.asked));
    for window in [ana, ben] {
        window.wait_text(&format!("{} .text", message(told.asked)), ASKED).await?;
        window.wait_count(&edited, 1).await?;
    }
    ben.press(&edited).await?;
    ben.wait_count("[data-testid=revisions] li", 2).await?;
    ben.wait_text("[data-testid=revisions] li:last-child", "As it was sent").await?;
    ben.wait_text("[data-testid=revisions] li:last-child .text", ASKED_FIRST).await?;
    ben.picture("06-earlier-texts").await?;
    ben.close_dialog().await?;

    let mistake = ana.tell("That was a slip of the hand.").await?;
    ben.wait_sent(&["That was a slip of the hand."]).await?;
    ana.menu(mistake, "Delete for everyone…").await?;
    ana.picture("07-delete-for-everyone").await?;
    ana.press("[data-testid=confirm-delete]").await?;
    for window in [ana, ben] {
        window
            .wait_count(&format!("{}[data-deleted=true] [data-testid=tombstone]", message(mistake)), 1)
            .await?;
        ensure!(!window.shows("a slip of the hand").await?, "{} still shows what was deleted", window.name);
    }
    ben.picture("07-tombstone").await?;

    let unwanted = ben.tell("Ana will have read enough of this.").await?;
    ana.wait_sent(&["Ana will have read enough of this."]).await?;
    ana.menu(unwanted, "Delete for me…").await?;
    ana.press("[data-testid=confirm-delete]").await?;
    ana.wait_count(&message(unwanted), 0).await?;
    ana.reload().await?;
    ana.wait_count(&message(told.asked), 1).await?;
    ana.wait_count(&message(unwanted), 0).await?;
    ben.wait_sent(&["Ana will have read enough of this."]).await
}

/// A pin that both find, something saved that one finds, and a message that is handed on.
pub(super) async fn kept(
    ana: &Window,
    ben: &Window,
    told: Told,
    direct: ConversationId,
) -> anyhow::Result<()> {
    let found = format!("[data-testid=panel-message][data-sequence=\"{}\"]", told.asked);
    ana.menu(told.asked, "Pin").await?;
    ben.wait_text("[data-testid=pins]", "1 pinned message").await?;
    for window in [ana, ben] {
        window.wait_count(&format!("{} [data-testid=pinned]", message(told.asked)), 1).await?;
    }
    ben.press("[data-testid=pins]").await?;
    ben.wait_text(&found, ASKED).await?;
    ben.look("08-pins").await?;
    ben.close_panel().await?;

    ben.menu(told.asked, "Save").await?;
    ben.press("[data-testid=saved-list]").await?;
    ben.wait_text(&found, ASKED).await?;
    ben.wait_text(&found, "in Harbour").await?;
    ben.picture("09-saved").await?;
    ben.close_panel().await?;
    ana.press("[data-testid=saved-list]").await?;
    ana.wait_text("[data-testid=panel]", "Nothing is saved.").await?;
    ana.close_panel().await?;

    ben.menu(told.asked, "Forward…").await?;
    ben.picture("10-forward-to").await?;
    ben.press(&format!("[data-testid=forward-to][data-conversation=\"{direct}\"]")).await?;
    ben.wait_text("[data-testid=conversation-title]", "Ana").await?;
    ana.open_row(direct).await?;
    for window in [ana, ben] {
        window
            .wait_text(
                "[data-testid=message][data-author=ben][data-state=sent] .forwarded",
                "Forwarded from Ana",
            )
            .await?;
        window.wait_text("[data-testid=message][data-author=ben] .text", ASKED).await?;
    }
    ana.picture("10-forwarded").await
}
