//! What users read of messages, over a state as the machine makes it: what is hers alone, and nothing that she may not see.

use quorate_proto::rpc::command::Action;
use quorate_proto::rpc::{
    self, ConversationQuery, MentionsQuery, Message, PinsQuery, ReactionsQuery, RevisionsQuery, SavedQuery,
    ScheduledQuery, event,
};

use super::people_tests::Replica;
use super::*;
use crate::machine::tests::{World, accepted, conversation_of};

fn messages(answer: Answer) -> (Vec<(u64, Message)>, u64) {
    let Answer::Messages(found) = answer else { panic!("no messages: {answer:?}") };
    let messages = found.messages.into_iter().map(|event| match event.kind {
        Some(event::Kind::Message(message)) => (event.topic.expect("a topic").id, message),
        other => panic!("no message: {other:?}"),
    });
    (messages.collect(), found.next)
}

fn places(answer: Answer) -> Vec<(u64, u64)> {
    messages(answer).0.into_iter().map(|(id, message)| (id, message.sequence)).collect()
}

fn act(world: &mut World, by: u64, action: Action) {
    accepted(&world.act(by, action));
}

/// Three people, a group of them, and a message of the first that names the second.
fn scene() -> (World, [u64; 3], u64) {
    let mut world = World::new();
    let people = ["ana", "bob", "eve"].map(|name| world.user(name));
    let create =
        rpc::CreateGroup { title: "team".into(), member_ids: people[1..].to_vec(), ..Default::default() };
    let room = conversation_of(&world.act(people[0], Action::CreateGroup(create)));
    accepted(&world.send(people[0], room, "hello @bob"));
    (world, people, room)
}

#[test]
fn a_summary_says_what_is_unread_hidden_and_begun() {
    let (mut world, [ana, bob, _], id) = scene();
    accepted(&world.send(ana, id, "and more"));
    act(&mut world, bob, Action::HideMessages(rpc::HideMessages { conversation_id: id, first: 2, last: 2 }));
    let text = "dear ana".to_owned();
    act(&mut world, bob, Action::SetDraft(rpc::SetDraft { conversation_id: id, text, reply_to: 1 }));
    let replica = Replica::new(&world);
    let ask = |user| {
        let one =
            replica.ask(user, Query::Conversation(ConversationQuery { conversation_id: id, marks: false }));
        let Answer::Conversation(one) = one else { panic!("no summary: {one:?}") };
        let open = replica.ask(user, Query::Open(OpenQuery { after_index: Some(0), events_max: 99 }));
        let Answer::Open(open) = open else { panic!("not opened: {open:?}") };
        assert_eq!(open.conversations, std::slice::from_ref(&one), "alike in both");
        (one, open.events)
    };
    let (summary, events) = ask(bob);
    assert_eq!((summary.unread, summary.mentions, summary.hidden.len()), (2, 1, 1));
    assert_eq!(summary.draft.map(|draft| (draft.text, draft.reply_to)), Some(("dear ana".into(), 1)));
    let Some(event::Kind::Message(last)) = summary.last_message.and_then(|last| last.kind) else {
        panic!("no preview")
    };
    assert!(last.hidden && last.text.is_empty(), "the preview is blanked, too");
    assert!(!format!("{events:?}").contains("and more"), "and what she missed");
    let (summary, events) = ask(ana);
    assert_eq!((summary.unread, summary.mentions, summary.hidden.len()), (0, 0, 0));
    assert!(summary.draft.is_none() && format!("{events:?}").contains("and more"));
    let history =
        replica.ask(bob, Query::History(HistoryQuery { conversation_id: id, ..Default::default() }));
    let Answer::History(history) = history else { panic!("no history: {history:?}") };
    let texts: Vec<_> = history
        .messages
        .into_iter()
        .map(|event| match event.kind {
            Some(event::Kind::Message(message)) => (message.text, message.hidden),
            other => panic!("no message: {other:?}"),
        })
        .collect();
    assert_eq!(texts, [("hello @bob".to_owned(), false), (String::new(), true)]);
}

#[test]
fn earlier_texts_are_read_by_members_until_the_message_is_taken_back() {
    let (mut world, [ana, bob, _], id) = scene();
    let out = world.user("out");
    for n in 1..=3 {
        let text = format!("text {n}");
        let edit = rpc::Edit { conversation_id: id, sequence: 1, text, if_revision: None };
        act(&mut world, ana, Action::Edit(edit));
    }
    let query = Query::Revisions(RevisionsQuery { conversation_id: id, sequence: 1 });
    let texts = |world: &World, user| {
        let Answer::Revisions(found) = Replica::new(world).ask(user, query.clone()) else { panic!("none") };
        found.revisions.into_iter().map(|it| (it.revision, it.text)).collect::<Vec<_>>()
    };
    let all = [(0, "hello @bob"), (1, "text 1"), (2, "text 2"), (3, "text 3")];
    assert_eq!(texts(&world, bob), all.map(|(revision, text)| (revision, text.to_owned())));
    assert_eq!(Replica::new(&world).refused(out, query.clone()), "not_found");
    act(
        &mut world,
        ana,
        Action::DeleteMessages(rpc::DeleteMessages { conversation_id: id, first: 1, last: 1 }),
    );
    assert!(texts(&world, ana).is_empty() && texts(&world, bob).is_empty(), "not even for who wrote it");
}

#[test]
fn lists_show_what_their_owner_may_see_now() {
    let (mut world, [ana, bob, eve], id) = scene();
    let other = {
        let create = rpc::CreateGroup { title: "other".into(), member_ids: vec![bob], ..Default::default() };
        conversation_of(&world.act(ana, Action::CreateGroup(create)))
    };
    for n in 0..3 {
        accepted(&world.send(ana, other, &format!("@bob {n}")));
    }
    for (conversation_id, sequence) in [(id, 1), (other, 2), (other, 3)] {
        act(&mut world, bob, Action::SaveMessage(rpc::SaveMessage { conversation_id, sequence, on: true }));
    }
    act(&mut world, ana, Action::Pin(rpc::Pin { conversation_id: other, sequence: 3, on: true }));
    act(&mut world, bob, Action::Pin(rpc::Pin { conversation_id: other, sequence: 1, on: true }));
    for user in [bob, ana] {
        let react = rpc::React { conversation_id: id, sequence: 1, emoji: "👍".into(), on: true };
        act(&mut world, user, Action::React(react));
    }
    for due_ms in [world.now + 20, world.now + 10] {
        let text = format!("at {due_ms}");
        let schedule = rpc::Schedule { conversation_id: id, text, due_ms, reply_to: 0, remind_of: 0 };
        act(&mut world, eve, Action::Schedule(schedule));
    }
    let replica = Replica::new(&world);
    let mentions = |before, limit| Query::Mentions(MentionsQuery { before, limit });
    assert_eq!(places(replica.ask(bob, mentions(0, 0))), [(other, 3), (other, 2), (other, 1), (id, 1)]);
    let (page, next) = messages(replica.ask(bob, mentions(0, 3)));
    assert_eq!((page.len(), places(replica.ask(bob, mentions(next, 3)))), (3, vec![(id, 1)]));
    assert_eq!(messages(replica.ask(bob, mentions(next, 3))).1, 0, "that was all");
    assert_eq!(places(replica.ask(ana, mentions(0, 0))), []);
    let saved = |before, limit| Query::Saved(SavedQuery { before, limit });
    assert_eq!(places(replica.ask(bob, saved(0, 0))), [(other, 3), (other, 2), (id, 1)]);
    let (_, next) = messages(replica.ask(bob, saved(0, 2)));
    assert_eq!(places(replica.ask(bob, saved(next, 2))), [(id, 1)]);
    let pins = Query::Pins(PinsQuery { conversation_id: other });
    assert_eq!(places(replica.ask(bob, pins.clone())), [(other, 1), (other, 3)], "the newest pin first");
    assert_eq!(replica.refused(eve, pins.clone()), "not_found");
    let reactions = Query::Reactions(ReactionsQuery { conversation_id: id, sequence: 1 });
    let Answer::Reactions(found) = replica.ask(eve, reactions) else { panic!("none") };
    let users: Vec<u64> = found.reactions[0].users.iter().map(|user| user.id).collect();
    assert_eq!((found.reactions.len(), users), (1, vec![bob, ana]));
    let Answer::Scheduled(found) = replica.ask(eve, Query::Scheduled(ScheduledQuery {})) else {
        panic!("none")
    };
    assert_eq!(found.items.iter().map(|item| item.id).collect::<Vec<_>>(), [2, 1], "in order of time");

    // She leaves one of the groups, and something was taken back.
    let leave = rpc::RemoveMember { conversation_id: other, user_id: bob };
    act(&mut world, bob, Action::RemoveMember(leave));
    act(
        &mut world,
        ana,
        Action::DeleteMessages(rpc::DeleteMessages { conversation_id: id, first: 1, last: 1 }),
    );
    accepted(&world.send(ana, other, "@bob you are not here"));
    let replica = Replica::new(&world);
    assert_eq!(places(replica.ask(bob, mentions(0, 0))), [], "of conversations that she is in");
    let (page, _) = messages(replica.ask(bob, saved(0, 0)));
    let kept: Vec<_> = page.iter().map(|(_, message)| (message.text.as_str(), message.deleted)).collect();
    assert_eq!(kept, [("@bob 2", false), ("@bob 1", false), ("", true)], "saved as far as she saw it");
    // She comes back, and what was before is not hers any more.
    act(&mut world, ana, Action::AddMember(rpc::AddMember { conversation_id: other, user_id: bob }));
    let replica = Replica::new(&world);
    assert_eq!(places(replica.ask(bob, saved(0, 0))), [(id, 1)]);
    assert_eq!(places(replica.ask(bob, pins)), []);
}
