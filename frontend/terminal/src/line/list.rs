//! `--list`: the conversations, the newest on top.

use quorate_client::proto::frame::{ConversationKind, User};
use quorate_client::view::{self, called};
use serde_json::{Value, json};
use tokio::time::Instant;
use unicode_width::UnicodeWidthStr;

use super::{print, print_json, ready};
use crate::clean;
use crate::cli::Order;
use crate::driver::Driver;
use crate::failure::Result;

/// Prints them.
pub(super) async fn run(driver: &mut Driver, order: &Order) -> Result<()> {
    ready(driver, Instant::now() + order.wait).await?;
    let rows = view::list(&driver.client);
    // Numbers and names stand one below the other.
    let number = rows.iter().map(|row| row.id.to_string().len()).max().unwrap_or(0);
    let name = rows.iter().map(|row| clean::line(&row.name).width()).max().unwrap_or(0).min(30);
    for row in rows {
        let goes_on = if order.json {
            let Some(conversation) = driver.client.conversation(row.id) else { continue };
            let last = conversation.preview.as_ref().filter(|last| !last.gone).map(|last| {
                json!({
                    "sequence": last.sequence, "from": person(&last.from), "text": last.text, "time": last.time,
                })
            });
            print_json(&json!({
                "type": "conversation",
                "conversation": row.id,
                "name": row.name,
                "kind": if conversation.kind == ConversationKind::Group { "group" } else { "direct" },
                "members": row.member_count,
                "unread": row.unread,
                "mentions": row.mentions,
                "muted": row.muted,
                "last_message": last,
            }))?
        } else {
            let called = clean::line(&row.name);
            let blanks = " ".repeat(name.saturating_sub(called.width()));
            let unread = match (row.unread, row.mentions) {
                (0, _) => String::new(),
                (unread, 0) => format!("{unread} unread"),
                (unread, mentions) => format!("{unread} unread, {mentions} to you"),
            };
            let line =
                format!("{:>number$}  {called}{blanks}  {unread:<20}  {}", row.id, clean::line(&row.preview));
            print(line.trim_end())?
        };
        if !goes_on {
            return Ok(());
        }
    }
    Ok(())
}

/// Somebody, for a script.
pub(super) fn person(user: &User) -> Value {
    json!({ "id": user.id, "name": user.name, "display_name": called(user), "bot": user.bot })
}
