//! Stored records keep their bytes: what one build has written every later one reads, and writes alike, or replicas would differ.
//!
//! Every field of every record that is not in the golden records beside the tests of groups, messages and bots.

use bytes::Bytes;
use prost::Message;
use quorate_proto::rpc;

use super::records::*;

/// Records and the bytes that stand for them, in hex; all that differ are told at once.
#[derive(Default)]
struct Golden {
    wrong: Vec<String>,
    count: usize,
}

impl Golden {
    fn is<R: Message + Default + PartialEq + std::fmt::Debug>(&mut self, record: &R, hex: &str) {
        self.count += 1;
        let bytes = record.encode_to_vec();
        let written: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        if written != hex || R::decode(bytes.as_slice()).as_ref() != Ok(record) {
            self.wrong.push(format!("{written} of {record:?}"));
        }
    }

    fn finish(self, count: usize) {
        assert!(self.wrong.is_empty(), "{} differ:\n{}", self.wrong.len(), self.wrong.join("\n"));
        assert_eq!(self.count, count);
    }
}

fn bytes(of: u8) -> Bytes {
    Bytes::from(vec![of, of])
}

#[test]
fn records_of_users_and_sessions_keep_their_bytes() {
    let mut golden = Golden::default();
    let counters = Counters { users: 1, conversations: 2, admins: 3, reports: 4, audit: 5, hooks: 6 };
    golden.is(&counters, "08011002180350045805a00106");
    golden.is(&DedupQueue { head: 1, tail: 2, oldest_ms: 3 }, "080110021803");
    let last_reset = Some(LastReset { secret_hash: bytes(1), command_id: bytes(2) });
    let user = User {
        name: "n".into(),
        display_name: "d".into(),
        password_phc: "p".into(),
        created_ms: 1,
        role: 2,
        status: "s".into(),
        deleted_ms: 3,
        disabled_ms: 4,
        reset_hash: bytes(5),
        reset_ends_ms: 6,
        recovery_hashes: vec![bytes(7), bytes(8)],
        scheduled: 9,
        scheduled_last: 10,
        saved: 11,
        mentions_last: 12,
        blocked: 13,
        conversations: 14,
        open_reports: 15,
        last_reset,
        owner_id: 16,
        avatar: bytes(17),
    };
    golden.is(&user, "0a016e1201641a017020012802520173580360046a02050570067a0207077a02080880010988010a90010b98010ca0010da8010eb0010fba01080a02010112020202c00110ca01021111");
    let attempts = Attempts { count: 1, last_ms: 2, command_id: bytes(3) };
    golden.is(&attempts, "080110021a020303");
    golden.is(&AdminOffer { secret_hash: bytes(1), ends_ms: 2 }, "0a0201011002");
    golden.is(&Me { version: 1, last_index: 2 }, "08011002");
    let session = Session {
        user_id: 1,
        refresh_hash: bytes(2),
        device: "d".into(),
        created_ms: 3,
        ended_ms: 4,
        family_hash: bytes(5),
        previous_hash: bytes(6),
        salt: bytes(7),
        refreshed_ms: 8,
        attempts: Some(attempts),
        older_hash: bytes(9),
        older_replaced_ms: 10,
        scopes: 11,
        ends_ms: 12,
        only_conversation: 13,
    };
    golden.is(
        &session,
        "0801120202021a016420032804320205053a0206064202070748085208080110021a0203035a020909600a680b700c780d",
    );
    golden.is(&Seen { seen_ms: 60_000 }, "08e0d403");
    let report = Report {
        by: 1,
        created_ms: 2,
        reason: "r".into(),
        conversation_id: 3,
        sequence: 4,
        resolved_ms: 5,
        resolved_by: 6,
        resolution: "d".into(),
        revision: 7,
    };
    golden.is(&report, "080110021a017220032804300538064201644807");
    let entry = AuditEntry {
        index: 1,
        log_time_ms: 2,
        by: 3,
        action: 4,
        subject: 5,
        conversation_id: 6,
        detail: "d".into(),
    };
    golden.is(&entry, "0801100218032004280530063a0164");
    let key =
        SigningKey { kid: "k".into(), public_key: bytes(1), wrapped_private_key: bytes(2), created_ms: 3 };
    golden.is(&key, "0a016b120201011a0202022003");
    golden.finish(11);
}

#[test]
fn records_of_conversations_and_their_messages_keep_their_bytes() {
    let mut golden = Golden::default();
    let conversation = Conversation {
        kind: 2,
        title: "t".into(),
        version: 1,
        sequence: 2,
        last_index: 3,
        member_count: 4,
        created_ms: 5,
        avatar: bytes(6),
        ..Conversation::default()
    };
    golden.is(&conversation, "080212017418012002280330043805a202020606");
    let preferences = rpc::Preferences {
        muted_until_ms: 1,
        favourite: true,
        archived: true,
        unread_from: 2,
        no_receipts: true,
        suggestions: true,
    };
    let member = Member {
        role: 1,
        base_version: 2,
        base_sequence: 3,
        read_sequence: 4,
        left_version: 5,
        left_sequence: 6,
        preferences: Some(preferences),
        ..Member::default()
    };
    golden.is(&member, "0801100218032004280530065a0c080110011801200228013001");
    let message = StoredMessage {
        version: 1,
        index: 2,
        log_time_ms: 3,
        from: 4,
        client_message_id: bytes(5),
        text: "t".into(),
        reply_to: 6,
        revision: 7,
        edited_index: 8,
        edited_ms: 9,
        attachments: vec![bytes(10), bytes(11)],
        ..StoredMessage::default()
    };
    golden.is(&message, "08011002180320042a0205053201743806400748085009a206020a0aa206020b0b");
    golden.is(&Revision { text: "t".into(), index: 1, log_time_ms: 2 }, "0a017410011802");
    let result = Some(rpc::outcome::Result::Done(rpc::Done {}));
    let outcome = rpc::Outcome { index: 1, term: 2, log_time_ms: 3, replay: false, result };
    golden.is(&Dedup { fingerprint: bytes(1), outcome: Some(outcome) }, "0a02010112080801100218035a00");
    golden.is(&DedupExpiry { log_time_ms: 1, user_id: 2, command_id: bytes(3) }, "080110021a020303");
    golden.finish(6);
}

#[test]
fn records_of_files_keep_their_bytes() {
    let mut golden = Golden::default();
    let file = File {
        owner: 1,
        name: "n".into(),
        media_type: "image/png".into(),
        size: 2,
        width: 3,
        height: 4,
        thumbnail: bytes(5),
        thumbnail_size: 6,
        hash: bytes(7),
        created_ms: 8,
        references: 9,
        unreferenced_ms: 10,
    };
    golden.is(&file, "080112016e1a09696d6167652f706e672002280330043a02050540064a02070750085809600a");
    golden.is(&FileChunks { hashes: bytes(1) }, "0a020101");
    golden.is(&FileUse { bytes: 1, files: 2 }, "08011002");
    golden.is(&FileExpiry { log_time_ms: 1, file_id: bytes(2) }, "080112020202");
    golden.finish(4);
}

#[test]
fn events_keep_their_bytes() {
    let mut golden = Golden::default();
    let scheduled = rpc::MeScheduled {
        item: Some(rpc::ScheduledItem {
            id: 1,
            conversation_id: 2,
            text: String::new(),
            reply_to: 3,
            due_ms: 4,
            remind_of: 5,
        }),
        state: rpc::me_scheduled::State::Failed.into(),
        why: "w".into(),
        sequence: 6,
    };
    let conversation = ConversationEvent {
        title: "t".into(),
        by: 1,
        topic: "o".into(),
        public: true,
        announcement: true,
        retention_ms: 2,
        avatar: bytes(3),
    };
    let preferences = Some(rpc::Preferences { favourite: true, ..Default::default() });
    let kinds = [
        (EventKind::Message(1), "080110021801"),
        (
            EventKind::Member(MemberEvent { user_id: 1, joined: true, by: 2, banned: true }),
            "0801100222080801100118025001",
        ),
        (EventKind::Conversation(conversation), "080110022a120a0174100152016f58016001680272020303"),
        (EventKind::MeAdded(rpc::MeAdded { conversation_id: 1, base_version: 2 }), "08011002320408011002"),
        (EventKind::MeRemoved(1), "080110023801"),
        (EventKind::MeRead(rpc::MeRead { conversation_id: 1, sequence: 2 }), "08011002420408011002"),
        (EventKind::MeSessionEnded(bytes(1)), "080110024a020101"),
        (EventKind::Edited(EditedEvent { sequence: 1, revision: 2, by: 3 }), "080110025206080110021803"),
        (EventKind::Deleted(DeletedEvent { sequences: vec![1, 300], by: 2 }), "08011002a201070a0301ac021002"),
        (
            EventKind::Reaction(ReactionEvent { sequence: 1, emoji: "x".into(), user_id: 2, on: true }),
            "08011002aa0109080112017818022001",
        ),
        (EventKind::Pin(PinEvent { sequence: 1, on: true, by: 2 }), "08011002b20106080110011802"),
        (EventKind::Role(RoleEvent { user_id: 1, role: 2, by: 3 }), "08011002ba0106080110021803"),
        (
            EventKind::MePreferred(rpc::MePreferred { conversation_id: 1, preferences }),
            "08011002f20106080112021001",
        ),
        (
            EventKind::MeHidden(rpc::MeHidden { conversation_id: 1, first: 2, last: 3 }),
            "08011002fa0106080110021803",
        ),
        (
            EventKind::MeSaved(rpc::MeSaved { conversation_id: 1, sequence: 2, on: true }),
            "08011002820206080110021801",
        ),
        (EventKind::MeDraft(1), "08011002880201"),
        (EventKind::MeScheduled(scheduled), "080110029202130a0a0801100220032804300510041a01772006"),
        (EventKind::MeProfile(true), "08011002980201"),
        (EventKind::MeBlocked(BlockedEvent { user_id: 1, on: true }), "08011002a2020408011001"),
    ];
    let count = kinds.len();
    for (kind, hex) in kinds {
        golden.is(&Event { index: 1, log_time_ms: 2, kind: Some(kind) }, hex);
    }
    golden.finish(count);
}

#[test]
fn commands_and_entries_of_the_log_keep_their_bytes() {
    let mut golden = Golden::default();
    let send = rpc::Send {
        conversation_id: 5,
        text: "t".into(),
        reply_to: 6,
        forward: Some(rpc::MessageRef { conversation_id: 1, sequence: 2 }),
        attachments: vec![rpc::AttachFile { file_id: bytes(7), ..Default::default() }],
    };
    let command = rpc::Command {
        user_id: 1,
        session_id: bytes(2),
        command_id: bytes(3),
        first_sent_ms: 4,
        action: Some(rpc::command::Action::Send(send)),
    };
    golden.is(&command, "0801120202021a0203032004f2011408051201741806520408011002a206040a020707");
    let log_id = Some(rpc::LogId { term: 1, node_id: 2, index: 3 });
    let proposal = rpc::Proposal { log_time_ms: 4, command: bytes(5), traceparent: String::new() };
    let payload = Some(rpc::entry::Payload::Proposal(proposal));
    golden.is(&rpc::Entry { log_id, payload }, "0a060801100218031a06080412020505");
    let payload = Some(rpc::entry::Payload::Blank(rpc::Blank {}));
    golden.is(&rpc::Entry { log_id, payload }, "0a060801100218031200");
    golden.finish(3);
}
