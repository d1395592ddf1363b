//! Exports as JSON Lines: one object a line, each with a `type`, the last one `end`.

use quorate_proto::frame::{ConversationSummary, Event, ScheduledItem, User};
use quorate_proto::rest::{AdminUser, AuditEntry, Channel, ReportInfo, SessionInfo, Sessions, UserProfile};
use quorate_proto::rpc::{self, read_request, read_response};
use serde::Serialize;

use super::admin::Whole;
use super::{Broken, Export, line, unexpected};
use crate::convert;

/// Media type.
pub(super) const MEDIA: &str = "application/x-ndjson";
/// Saved or mentioning messages in one page of the reads.
const PAGE: u32 = 100;

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Line<'a> {
    Profile(&'a UserProfile),
    Session(&'a SessionInfo),
    Conversation { conversation: Head<'a> },
    Message(&'a Event),
    Saved(&'a Event),
    Mention(&'a Event),
    Scheduled(&'a ScheduledItem),
    Blocked { user: &'a User },
    End { messages: u64 },
    User(&'a AdminUser),
    Group(&'a Channel),
    Report(&'a ReportInfo),
    Audit(&'a AuditEntry),
}

/// What the messages that follow are of, as its member or as an admin sees it.
#[derive(Serialize)]
#[serde(untagged)]
enum Head<'a> {
    Member(&'a ConversationSummary),
    Admin(&'a Whole),
}

/// The line before a conversation's messages, for an admin.
pub(super) fn head(whole: &Whole) -> String {
    line(&Line::Conversation { conversation: Head::Admin(whole) })
}

/// A message.
pub(super) fn message(event: &Event, text: &mut String) {
    text.push_str(&line(&Line::Message(event)));
}

/// The last line, with the number of messages before it.
pub(super) fn end(messages: u64) -> String {
    line(&Line::End { messages })
}

/// A conversation and its messages; how many.
pub(super) async fn conversation(export: &Export, summary: &ConversationSummary) -> Result<u64, Broken> {
    export.write(line(&Line::Conversation { conversation: Head::Member(summary) })).await?;
    export.messages(summary.id, message).await
}

/// Everything of the caller's.
pub(super) async fn account(export: &Export, sessions: Sessions) -> Result<(), Broken> {
    let asked = rpc::UserQuery { user_id: export.identity.user_id, name: String::new() };
    let response = export.read(read_request::Query::User(asked)).await?;
    let Some(read_response::Result::User(found)) = response.result else { return Err(unexpected()) };
    export.write(line(&Line::Profile(&convert::user_profile(found, true, response.as_of_index)))).await?;
    export.write(sessions.sessions.iter().map(|session| line(&Line::Session(session))).collect()).await?;

    let asked = rpc::OpenQuery { after_index: None, events_max: 0 };
    let response = export.read(read_request::Query::Open(asked)).await?;
    let Some(read_response::Result::Open(found)) = response.result else { return Err(unexpected()) };
    let mut messages = 0;
    for summary in found.conversations {
        match conversation(export, &convert::summary(summary)).await {
            Ok(count) => messages += count,
            // She has been removed from it since.
            Err(Broken::Read(error)) if !error.temporary => {}
            Err(error) => return Err(error),
        }
    }
    let saved = |before| read_request::Query::Saved(rpc::SavedQuery { before, limit: PAGE });
    list(export, saved, |event| line(&Line::Saved(event))).await?;
    let mentions = |before| read_request::Query::Mentions(rpc::MentionsQuery { before, limit: PAGE });
    list(export, mentions, |event| line(&Line::Mention(event))).await?;

    let response = export.read(read_request::Query::Scheduled(rpc::ScheduledQuery {})).await?;
    let Some(read_response::Result::Scheduled(found)) = response.result else { return Err(unexpected()) };
    let items = convert::scheduled(found, response.as_of_index).items;
    export.write(items.iter().map(|item| line(&Line::Scheduled(item))).collect()).await?;
    let response = export.read(read_request::Query::Blocked(rpc::BlockedQuery {})).await?;
    let Some(read_response::Result::Blocked(found)) = response.result else { return Err(unexpected()) };
    let users: Vec<User> = found.users.into_iter().map(|user| convert::user(Some(user))).collect();
    export.write(users.iter().map(|user| line(&Line::Blocked { user })).collect()).await?;
    export.write(end(messages)).await
}

/// What admins can list.
pub(super) async fn site(export: &Export) -> Result<(), Broken> {
    let mut after = String::new();
    loop {
        let asked = rpc::AdminUsersQuery { after: after.clone(), limit: PAGE, ..Default::default() };
        let response = export.read(read_request::Query::AdminUsers(asked)).await?;
        let Some(read_response::Result::AdminUsers(found)) = response.result else {
            return Err(unexpected());
        };
        let page = convert::admin_users(found, response.as_of_index);
        export.write(page.users.iter().map(|user| line(&Line::User(user))).collect()).await?;
        // Forwards, here and below: no answer of a replica makes this a ring.
        match page.next {
            Some(next) if next > after => after = next,
            _ => break,
        }
    }
    let mut after_id = 0;
    loop {
        let asked = rpc::AdminConversationsQuery { after_id, limit: PAGE, ..Default::default() };
        let response = export.read(read_request::Query::AdminConversations(asked)).await?;
        let Some(read_response::Result::AdminConversations(found)) = response.result else {
            return Err(unexpected());
        };
        let page = convert::channels(found, response.as_of_index);
        export.write(page.channels.iter().map(|group| line(&Line::Group(group))).collect()).await?;
        match page.next {
            Some(next) if next > after_id => after_id = next,
            _ => break,
        }
    }
    let mut before_id = 0;
    loop {
        let asked = rpc::ReportsQuery { all: true, before_id, limit: PAGE };
        let response = export.read(read_request::Query::Reports(asked)).await?;
        let Some(read_response::Result::Reports(found)) = response.result else { return Err(unexpected()) };
        let page = convert::reports(found, response.as_of_index);
        export.write(page.reports.iter().map(|report| line(&Line::Report(report))).collect()).await?;
        match page.reports.last() {
            Some(last) if page.more && (before_id == 0 || last.id < before_id) => before_id = last.id,
            _ => break,
        }
    }
    let mut before = 0;
    loop {
        let response =
            export.read(read_request::Query::Audit(rpc::AuditQuery { before, limit: PAGE })).await?;
        let Some(read_response::Result::Audit(found)) = response.result else { return Err(unexpected()) };
        let page = convert::audit(found, response.as_of_index);
        export.write(page.entries.iter().map(|entry| line(&Line::Audit(entry))).collect()).await?;
        match page.next {
            Some(next) if before == 0 || next < before => before = next,
            _ => break,
        }
    }
    export.write(end(0)).await
}

/// A list of messages that is read backwards.
async fn list(
    export: &Export,
    asked: impl Fn(u64) -> read_request::Query,
    write: impl Fn(&Event) -> String,
) -> Result<(), Broken> {
    let mut before = 0;
    loop {
        let response = export.read(asked(before)).await?;
        let Some(read_response::Result::Messages(found)) = response.result else { return Err(unexpected()) };
        let next = found.next;
        let page = convert::messages(found, response.as_of_index);
        export.write(page.messages.iter().map(&write).collect()).await?;
        // Backwards: no answer of a replica makes this a ring.
        if next == 0 || (before != 0 && next >= before) {
            return Ok(());
        }
        before = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_its_type_and_holds_no_other_line() {
        let summary = ConversationSummary { title: "a\nb".into(), ..Default::default() };
        let text = line(&Line::Conversation { conversation: Head::Member(&summary) });
        assert_eq!(text.matches('\n').count(), 1, "{text}");
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&json["type"], &json["conversation"]["title"]), (&"conversation".into(), &"a\nb".into()));
        assert_eq!(end(3), "{\"type\":\"end\",\"messages\":3}\n");
    }
}
