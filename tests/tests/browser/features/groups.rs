//! A group and its members: topic, roles, a link that lets somebody in, a ban, and leaving.

use anyhow::ensure;
use quorate_proto::ids::ConversationId;

use crate::hands::row;
use crate::window::Window;

fn member(name: &str) -> String {
    format!("[data-testid=member][data-name={name}]")
}

/// The owner writes a topic and makes an admin, whose link lets a third in.
pub(super) async fn entered(ana: &Window, ben: &Window, eva: &Window) -> anyhow::Result<ConversationId> {
    let group = ana.make_group("Crew", &["ben"]).await?;
    ben.wait_count(&row(group), 1).await?;
    ben.open_row(group).await?;
    ana.open_details().await?;
    ana.fill("[data-testid=group-form] input[name=topic]", "Boats and tides").await?;
    ana.press("[data-testid=group-form] button[type=submit]").await?;
    for window in [ana, ben] {
        window.wait_text(".chat-head .title", "Boats and tides").await?;
    }

    ben.open_details().await?;
    ben.wait_text("[data-testid=details]", "Boats and tides").await?;
    ensure!(ben.count("[data-testid=group-form]").await? == 0, "a member is offered to change the group");
    ana.choose_act(&member("ben"), "admin").await?;
    ana.picture("21-make-admin").await?;
    ana.confirm_act(&member("ben"), "admin").await?;
    ana.wait_attribute(&member("ben"), "data-role", Some("admin")).await?;
    ben.wait_for("group-form").await?;
    ana.look("22-group").await?;

    ben.press("[data-testid=invite]").await?;
    ben.press("[data-testid=make-invite]").await?;
    ben.wait_for("invite-link").await?;
    ben.look("23-invite-link").await?;
    let link = ben.value("[data-testid=invite-link]").await?;
    ben.press_words("dialog[open] button", "Copy link").await?;
    ben.dismiss("Link copied.").await?;
    ben.wait_text("[data-testid=invite-line]", "0 used").await?;
    eva.visit(&link).await?;
    eva.wait_text("[data-testid=invite-preview]", "Crew").await?;
    eva.look("24-invited").await?;
    eva.press("dialog[open] [data-testid=join]").await?;
    eva.no_dialog().await?;
    eva.wait_text("[data-testid=conversation-title]", "Crew").await?;
    eva.tell("Thank you for the link.").await?;
    for window in [ana, ben] {
        window.wait_sent(&["Thank you for the link."]).await?;
        window.wait_text(".notice", "Eva").await?;
        window.wait_count(&member("eva"), 1).await?;
    }

    // What is not for everybody's eyes is taken out by an admin.
    ensure!(
        ben.count(&format!("{} [data-testid=member-acts]", member("ana"))).await? == 0,
        "an admin over the owner"
    );
    ana.confirm_act(&member("eva"), "ban").await?;
    ana.wait_text("[data-testid=ban-line]", "@eva").await?;
    eva.wait_for("foreign").await?;
    eva.wait_count(&row(group), 0).await?;
    ana.tell("Eva hears nothing of this.").await?;
    ben.wait_sent(&["Eva hears nothing of this."]).await?;
    ensure!(!eva.shows("Eva hears nothing").await?, "who was banned hears on");
    eva.look("25-banned").await?;
    // The same link leads nowhere for her.
    eva.visit(&link).await?;
    eva.wait_text("dialog[open] .error", "You are banned from this group.").await?;
    eva.picture("25-banned-link").await?;
    eva.close_dialog().await?;
    Ok(group)
}

/// One leaves, while the cluster has lost its leader.
pub(super) async fn left(
    ana: &Window,
    ben: &Window,
    eva: &Window,
    group: ConversationId,
) -> anyhow::Result<()> {
    ben.press("[data-testid=leave]").await?;
    ben.picture("26-leave").await?;
    ben.press("[data-testid=confirm-leave]").await?;
    ben.wait_count(&row(group), 0).await?;
    ben.wait_count("[data-testid=details]", 0).await?;
    ana.wait_count(&member("ben"), 0).await?;
    ana.wait_count("[data-testid=member]", 1).await?;
    ana.tell("Nobody is left to hear this.").await?;
    ana.close_details().await?;
    for window in [ben, eva] {
        ensure!(!window.shows("Nobody is left").await?, "{} hears a group she left", window.name);
    }
    Ok(())
}
