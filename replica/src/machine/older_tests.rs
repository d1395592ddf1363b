//! Under a machine version before [`super::VERSION_DOMAIN`] this build does to the byte what the builds of that version did.
//!
//! The hashes below were made by the last build that knew nothing newer than version 3: five replicas are upgraded one by one, and
//! until the last of them the old and the new apply the same log.

mod domain;
mod history;

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message as _;
use quorate_proto::rpc;

use super::*;
use crate::store::Key;

/// What a run comes to, by the machine version that it begins with.
const AS_THEN: [(u32, &str); 3] = [
    (1, "467fd9a99ea5dc5b61cf7d6ceb10be331c4853a02634a84f88aa3c58bae7bd6b"),
    (2, "0bf845ff25c79c06773d25f93d9406cd8c9ccf31f49bff1503fb652a9594c405"),
    (3, "4162233ca64d7fb11049473bb661bed7185beafad18720a9c7f29e98586ecf21"),
];

/// Own copies of what other tests have: their runs may change, this one may not.
struct Dice(u64);

impl Dice {
    fn below(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

fn id(number: u64) -> Bytes {
    Bytes::copy_from_slice(&u128::from(number).to_be_bytes())
}

fn hash(of: u64) -> Bytes {
    Bytes::copy_from_slice(blake3::hash(&of.to_be_bytes()).as_bytes())
}

/// One field of an encoded message.
fn field(tag: u32, value: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    prost::encoding::encode_key(tag, prost::encoding::WireType::LengthDelimited, &mut bytes);
    prost::encoding::encode_varint(value.len() as u64, &mut bytes);
    bytes.extend_from_slice(value);
    bytes
}

fn any_action(dice: &mut Dice, next: u64) -> Action {
    let (room, user) = (1 + dice.below(8), 1 + dice.below(6));
    let person = |user_id| rpc::AddMember { conversation_id: room, user_id };
    match dice.below(22) {
        0 => Action::CreateGroup(rpc::CreateGroup {
            title: "team".into(),
            member_ids: vec![user, 1 + dice.below(6)],
            ..Default::default()
        }),
        1 | 2 => Action::AddMember(person(user)),
        3 => Action::RemoveMember(rpc::RemoveMember { conversation_id: room, user_id: user }),
        4 => Action::CreateDirect(rpc::CreateDirect { peer_id: user }),
        5 => Action::MarkRead(rpc::MarkRead { conversation_id: room, sequence: dice.below(20) }),
        6..=8 => Action::Edit(rpc::Edit {
            conversation_id: room,
            sequence: dice.below(12),
            text: format!("edited @u{user}"),
            if_revision: (dice.below(2) == 0).then(|| dice.below(3)),
        }),
        9 => Action::CreateUser(rpc::CreateUser {
            name: format!("u{}", dice.below(9)),
            display_name: "U".into(),
            password_phc: "$argon2id$".into(),
        }),
        10 => Action::CreateSession(rpc::CreateSession {
            user_id: user,
            session_id: id(1_000 + next),
            refresh_hash: hash(next),
            family_hash: hash(7),
            device: "d".into(),
            ..Default::default()
        }),
        11 => Action::EndSession(rpc::EndSession { session_id: id(1_000 + dice.below(next.max(1))) }),
        12 => Action::CountAttempt(rpc::CountAttempt { user_id: user, ..Default::default() }),
        13 => Action::SetPassword(rpc::SetPassword {
            password_phc: "$argon2id$".into(),
            replaces: Bytes::copy_from_slice(&blake3::hash(b"$argon2id$").as_bytes()[..16]),
        }),
        14 => Action::OfferAdmin(rpc::OfferAdmin { secret_hash: hash(1), only_first: false }),
        15 => Action::ClaimAdmin(rpc::ClaimAdmin { secret_hash: hash(1) }),
        _ => Action::Send(rpc::Send {
            conversation_id: room,
            text: ["hello", "hello @u1 and @all", " "][dice.below(3) as usize].into(),
            reply_to: dice.below(4),
            ..Default::default()
        }),
    }
}

/// A command as it stands in the log; one in eight is of a newer program, or has fields that only a newer one knows.
fn any_command(dice: &mut Dice, next: u64) -> Vec<u8> {
    let user_id = 1 + dice.below(6);
    let action = any_action(dice, next);
    let anonymous =
        matches!(action, Action::CreateUser(_) | Action::CreateSession(_) | Action::OfferAdmin(_));
    let mut command = Command {
        user_id: if anonymous { 0 } else { user_id },
        session_id: if anonymous { Bytes::new() } else { id(user_id) },
        // One in ten is a known id again.
        command_id: id(if dice.below(10) == 0 { dice.below(next.max(1)) } else { next }),
        first_sent_ms: 0,
        action: Some(action),
    };
    let newer = dice.below(24);
    let (tag, body) = match (newer, &command.action) {
        (0, _) => (60 + dice.below(30) as u32, Vec::new()),
        (1..=8, Some(Action::CreateGroup(create))) => {
            let mut body = create.encode_to_vec();
            body.extend(field(3, b"a topic"));
            body.extend([0x20, 1, 0x28, 1]);
            (21, body)
        }
        (1..=4, Some(Action::Send(send))) => {
            let mut body = send.encode_to_vec();
            body.extend(field(10, &[0x08, 1, 0x10, 1]));
            (30, body)
        }
        _ => return command.encode_to_vec(),
    };
    command.action = None;
    let mut bytes = command.encode_to_vec();
    bytes.extend(field(tag, &body));
    bytes
}

/// Outcomes and writes of many runs, in one hash.
fn run(version: u32) -> String {
    let mut hasher = blake3::Hasher::new();
    for seed in 0..30 {
        let mut dice = Dice(seed);
        let mut state: BTreeMap<Key, Bytes> = BTreeMap::new();
        let (mut machine_version, mut now) = (version, 1_000_000);
        for next in 0..420_u64 {
            let bytes = match next {
                0..6 => {
                    let create = rpc::CreateUser {
                        name: format!("u{next}"),
                        display_name: "U".into(),
                        password_phc: "$argon2id$".into(),
                    };
                    let action = Some(Action::CreateUser(create));
                    Command { command_id: id(10_000 + next), action, ..Command::default() }.encode_to_vec()
                }
                6..12 => {
                    let create = rpc::CreateSession {
                        user_id: next - 5,
                        session_id: id(next - 5),
                        refresh_hash: hash(next),
                        ..Default::default()
                    };
                    let action = Some(Action::CreateSession(create));
                    Command { command_id: id(10_000 + next), action, ..Command::default() }.encode_to_vec()
                }
                200 | 300 if machine_version < 3 => {
                    let set = rpc::SetMachineVersion { version: machine_version + 1 };
                    let action = Some(Action::SetMachineVersion(set));
                    Command { command_id: id(10_000 + next), action, ..Command::default() }.encode_to_vec()
                }
                _ => any_command(&mut dice, next),
            };
            now += if dice.below(40) == 0 { dice.below(40 * 3_600_000) } else { dice.below(1_000) };
            let context = Context { index: next + 1, term: 1, log_time_ms: now, machine_version };
            let command = Command::decode(bytes.as_slice()).expect("a command");
            let applied = apply(&state, context, &command).expect("a map");
            machine_version = applied.machine_version.unwrap_or(machine_version);
            hasher.update(&applied.outcome.encode_to_vec());
            for (key, value) in applied.writes {
                hasher.update(key.as_bytes());
                hasher.update(&[u8::from(value.is_some())]);
                match value {
                    Some(value) => {
                        hasher.update(&value);
                        state.insert(key, value);
                    }
                    None => {
                        state.remove(&key);
                    }
                }
            }
        }
    }
    hasher.finalize().to_hex().to_string()
}

#[test]
fn older_machine_versions_do_what_their_programs_did() {
    let now = AS_THEN.map(|(version, _)| (version, run(version)));
    assert_eq!(now, AS_THEN.map(|(version, then)| (version, then.to_owned())));
}
