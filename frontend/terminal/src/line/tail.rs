//! `--tail`: messages as they come, each once and none left out, whatever happens to the connection in between.

use std::collections::BTreeMap;

use quorate_client::Input;
use quorate_client::banner::Banner;
use quorate_client::conversation::Conversation;
use quorate_client::proto::ids::{ConversationId, Sequence};
use quorate_client::timeline::{Entry, Loading};
use quorate_client::view::{called, rooms_as_words, said};
use serde_json::json;
use tokio::time::Instant;

use super::list::person;
use super::{Named, check, find, print, print_json, ready};
use crate::cli::Order;
use crate::driver::{Driver, News};
use crate::failure::{Failure, Result};
use crate::{banner_words, clean, clock};

/// Of a conversation that appears while this runs, at most so many messages are new to its reader.
const NEW_MAX: u64 = 1_000;

/// How far each conversation is printed.
struct Follow {
    only: Option<ConversationId>,
    printed: BTreeMap<ConversationId, Sequence>,
    json: bool,
    /// What was said of the connection last.
    said: String,
}

/// Prints until nobody reads, or the session ends.
pub(super) async fn run(driver: &mut Driver, order: &Order, only: Option<&str>, last: u64) -> Result<()> {
    ready(driver, Instant::now() + order.wait).await?;
    let only = match only {
        None => None,
        Some(what) => match find(&driver.client, what)? {
            Named::Found(id) => Some(id),
            Named::With(user) => {
                return Err(Failure::usage(format!(
                    "There is no conversation with @{user} yet. --send starts one."
                )));
            }
        },
    };
    let mut follow = Follow { only, printed: BTreeMap::new(), json: order.json, said: String::new() };
    for conversation in driver.client.conversations() {
        follow.printed.insert(conversation.id, conversation.sequence.saturating_sub(last));
    }
    loop {
        if !follow.connection(driver)? || !follow.advance(driver)? {
            return Ok(());
        }
        if let News::Effects(effects) = driver.next().await {
            check(driver, &effects)?;
        }
    }
}

impl Follow {
    /// Prints what has come; false when nobody reads any more. What is missing is asked for.
    fn advance(&mut self, driver: &mut Driver) -> Result<bool> {
        let mut wanted = None;
        let mut older = Vec::new();
        for conversation in driver.client.conversations() {
            let id = conversation.id;
            if self.only.is_some_and(|only| only != id) {
                continue;
            }
            let fresh = || conversation.sequence.saturating_sub(conversation.unread.min(NEW_MAX));
            let printed = *self.printed.entry(id).or_insert_with(fresh);
            if conversation.sequence <= printed {
                continue;
            }
            let timeline = &conversation.timeline;
            let reaches = timeline.first().is_some_and(|first| first <= printed + 1);
            // Older ones are not to be had, or not any more: what is here is all there is.
            let ends = timeline.loaded
                && (!timeline.more_before
                    || timeline.is_full()
                    || matches!(timeline.loading, Loading::Refused(_)));
            if reaches || ends {
                let me = driver.client.me().map_or(0, |user| user.id);
                let new = timeline.run().filter(|(sequence, _)| **sequence > printed);
                for (sequence, entry) in new {
                    self.printed.insert(id, *sequence);
                    if !self.message(conversation, me, *sequence, entry)? {
                        return Ok(false);
                    }
                }
            } else if timeline.loaded {
                older.push(id);
            } else {
                wanted.get_or_insert(id);
            }
        }
        for id in older {
            driver.input(Input::LoadOlder(id));
        }
        // The newest page comes to whoever looks; one conversation at a time.
        if let Some(id) = wanted
            && driver.client.focused() != Some(id)
        {
            driver.input(Input::Focus(Some(id)));
        }
        Ok(true)
    }

    fn message(
        &self,
        conversation: &Conversation,
        me: u64,
        sequence: Sequence,
        entry: &Entry,
    ) -> Result<bool> {
        let message = &entry.message;
        if message.deleted || message.hidden || conversation.is_hidden(sequence) {
            return Ok(true);
        }
        let name = conversation.name(me);
        if self.json {
            let files = message.attachments.iter().map(|file| {
                json!({ "file": file.file, "name": file.name, "media_type": file.media_type, "size": file.size })
            });
            return print_json(&json!({
                "type": "message",
                "conversation": conversation.id,
                "name": name,
                "sequence": sequence,
                "time": entry.time,
                "from": person(&message.from),
                "own": message.from.id == me,
                "mentions_you": message.mentions_all || message.mentions.contains(&me),
                "text": message.text,
                "files": files.collect::<Vec<_>>(),
                "client_message_id": message.client_message_id.to_string(),
            }));
        }
        let place = if self.only.is_some() { String::new() } else { format!("[{}] ", clean::line(&name)) };
        // As it was written: a script, or somebody who reads one, may want the markup.
        let text = if message.text.trim().is_empty() { said(message) } else { rooms_as_words(&message.text) };
        let text = clean::text(&text).replace('\n', "\n      ");
        print(&format!("{} {place}{}: {text}", clock::hours(entry.time), clean::line(called(&message.from))))
    }

    /// Says once what has changed of the connection; false when nobody reads any more.
    fn connection(&mut self, driver: &mut Driver) -> Result<bool> {
        let now_ms = driver.clock.now_ms();
        let banner = driver.client.banner(now_ms);
        let state = match &banner {
            // Trouble of less than a second is not worth a line.
            None if !driver.client.is_live() => return Ok(true),
            None => "live",
            Some(Banner::Connecting) => "connecting",
            Some(Banner::Reconnecting { .. }) => "reconnecting",
            Some(Banner::Offline) => "offline",
            Some(Banner::Electing) => "electing",
            Some(Banner::NoQuorum) => "no_quorum",
            Some(Banner::Stopped { .. }) => "stopped",
        };
        let gateway = driver.client.details().gateway;
        let said = format!("{state} {gateway}");
        if said == self.said {
            return Ok(true);
        }
        let is_first = std::mem::replace(&mut self.said, said).is_empty();
        if self.json {
            return print_json(&json!({ "type": "connection", "state": state, "gateway": gateway }));
        }
        if !is_first {
            let words = banner.map_or_else(
                || format!("Connected to gateway {}", clean::line(&gateway)),
                |banner| banner_words(&banner, now_ms),
            );
            eprintln!("-- {words}");
        }
        Ok(true)
    }
}
