//! What calls for a person and what she calls for: notifications, the window's icon, peace; all keys, and Escape.

use anyhow::ensure;
use quorate_proto::ids::ConversationId;

use super::messages::Told;
use crate::hands::row;
use crate::window::Window;

/// Keys, as WebDriver writes them.
const ESCAPE: &str = "\u{E00C}";
const CONTROL: &str = "\u{E009}";

/// Notifications are written down in place of being shown; the browser would allow them.
const RECORD: &str = "window.notes = []; window.asked = 0; window.made = [];
    window.Notification = class {
        static permission = 'default';
        static async requestPermission() { window.asked += 1; return this.permission = 'granted'; }
        constructor(title, { body, tag }) { window.notes.push({ title, body, tag, closed: false }); window.made.push(this); }
        close() { window.notes[window.made.indexOf(this)].closed = true; }
    }; return true";
const ASKED: &str = "return window.asked";
const BODIES: &str = "return window.notes.map(note => note.body)";
const CLOSED: &str = "return window.notes.map(note => note.closed)";

const FIRST: &str = "Have you seen the tide?";
const SEEN: &str = "I saw you reading this.";
const UNNAMED: &str = "Nobody in particular.";
const NAMED: &str = "@ben, the ropes!";
const IN_PEACE: &str = "Sleep well.";

/// Ben is told of what concerns him while he looks elsewhere, and no more once he has read it.
pub(super) async fn called(
    ana: &Window,
    ben: &Window,
    told: Told,
    direct: ConversationId,
) -> anyhow::Result<()> {
    ben.open_row(direct).await?;
    ben.open_row(told.group).await?;
    ben.wait_attribute("link[rel=icon]", "data-unread", Some("0")).await?;
    ensure!(ben.read::<bool>(RECORD).await?, "nothing is written down");
    // Not asked before he wants it.
    ensure!(ben.read::<u64>(ASKED).await? == 0, "the page asks by itself");
    ben.press("[data-testid=account]").await?;
    ben.press("[data-testid=notify]").await?;
    ben.wait_read("the browser asked", ASKED, &1_u64).await?;
    ben.look("40-notifications").await?;
    ben.close_dialog().await?;

    ana.open_row(direct).await?;
    ana.tell(FIRST).await?;
    ben.wait_read("a notification", BODIES, &vec![FIRST.to_owned()]).await?;
    let icon = "const icon = document.querySelector('link[rel=icon]');
        return [icon.dataset.unread, icon.href.split(':')[0]]";
    ben.wait_read("the icon's dot", icon, &["1", "blob"].map(str::to_owned)).await?;
    // A click leads there, and what it told of is read.
    ben.read::<Option<u64>>("window.made[0].onclick()").await?;
    ben.wait_attribute(&row(direct), "aria-current", Some("true")).await?;
    ben.wait_read("it closed", CLOSED, &vec![true]).await?;
    ben.wait_read("the plain icon", icon, &["0", "http"].map(str::to_owned)).await?;

    // In front of him nothing is said; elsewhere only what names him, in a group.
    ana.tell(SEEN).await?;
    ben.wait_sent(&[SEEN]).await?;
    ana.open_row(told.group).await?;
    ana.tell(UNNAMED).await?;
    ben.wait_attribute(&row(told.group), "data-unread", Some("1")).await?;
    ana.tell(NAMED).await?;
    let said = [FIRST, NAMED].map(str::to_owned).to_vec();
    ben.wait_read("a notification of his name", BODIES, &said).await?;
    ben.open_row(told.group).await?;
    ben.wait_read("it closed as well", CLOSED, &vec![true, true]).await?;

    // Not to be disturbed: Ana sees it, and nothing is said.
    ben.press("[data-testid=account]").await?;
    ben.press("[data-testid=peace]").await?;
    ben.close_dialog().await?;
    ana.open_row(direct).await?;
    ana.wait_attribute("[data-testid=presence]", "data-presence", Some("do not disturb")).await?;
    ana.tell(IN_PEACE).await?;
    ben.wait_attribute(&row(direct), "data-unread", Some("1")).await?;
    ben.press("[data-testid=account]").await?;
    ben.press("[data-testid=peace]").await?;
    ben.close_dialog().await?;
    ana.wait_attribute("[data-testid=presence]", "data-presence", Some("active")).await?;
    // Longer than a notification waits.
    tokio::time::sleep(std::time::Duration::from_secs(4)).await;
    ensure!(ben.read::<Vec<String>>(BODIES).await? == said, "he was disturbed");
    ben.open_row(direct).await?;
    ben.wait_attribute(&row(direct), "data-unread", Some("0")).await
}

/// All keys in one dialog; Escape reads what is open and goes to its newest message.
pub(super) async fn keys(ana: &Window, ben: &Window, told: Told) -> anyhow::Result<()> {
    let composer = "[data-testid=composer]";
    ben.open_row(told.group).await?;
    ben.keys(composer, &format!("{CONTROL}/")).await?;
    ben.wait_text("dialog[open] [data-testid=keys]", "Find a conversation").await?;
    ben.look("41-keys").await?;
    ben.keys("dialog[open] button", &format!("{CONTROL}/")).await?;
    ben.no_dialog().await?;
    ben.keys("[data-testid=timeline]", "?").await?;
    ben.wait_count("dialog[open] [data-testid=keys]", 4).await?;
    ben.close_dialog().await?;
    ben.keys(composer, "?").await?;
    ben.wait_value(composer, "?").await?;
    ben.no_dialog().await?;
    ben.clear_composer().await?;

    // What stands at the side closes first.
    ben.open_details().await?;
    ben.keys("[data-testid=timeline]", ESCAPE).await?;
    ben.wait_count("[data-testid=details]", 0).await?;
    let up = "document.querySelector('[data-testid=timeline]').scrollTop = 0; return true";
    ben.read::<bool>(up).await?;
    ben.wait_for("jump").await?;
    ana.open_row(told.group).await?;
    ana.tell("Far below.").await?;
    ben.wait_attribute(&row(told.group), "data-unread", Some("1")).await?;
    ben.keys(composer, ESCAPE).await?;
    ben.wait_attribute(&row(told.group), "data-unread", Some("0")).await?;
    ben.wait_count("[data-testid=jump]", 0).await?;
    ben.wait_count("[data-testid=new]", 0).await?;
    ben.wait_count(&format!("{composer}:focus"), 1).await
}
