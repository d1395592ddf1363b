//! Who may do what: every command of a gateway, asked by everybody, in each kind of conversation. What is written here is what is
//! allowed; a new action has no row and does not compile.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use prost::Message as _;
use quorate_proto::rpc;

use super::tests::{World, accepted, conversation_of, send, session_of};
use super::*;
use crate::store::{Key, Space};

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    /// Without an account.
    Nobody,
    /// The owner, through a session that was ended.
    Ended,
    /// Somebody else who says that she is the owner.
    Impostor,
    /// An admin of the site, who is no member.
    Admin,
    /// A user who is no member and never was.
    Outsider,
    /// Who was a member of the group, wrote, and was removed. Nobody leaves a direct conversation: there an outsider.
    Former,
    /// A member; the other one of the direct conversation.
    Member,
    /// Who made the conversation.
    Owner,
}

const EVERYBODY: [Who; 8] =
    [Who::Nobody, Who::Ended, Who::Impostor, Who::Admin, Who::Outsider, Who::Former, Who::Member, Who::Owner];

/// Outcomes, in the order of [`EVERYBODY`].
type Row = [&'static str; 8];

/// It is done.
const D: &str = "done";
/// Refusals.
const U: &str = "unauthenticated";
const N: &str = "not_found";
const F: &str = "forbidden";
const I: &str = "invalid";
/// No gateway can ask for it: the leader proposes it by itself or for an operator.
const L: &str = "leader";

/// Needs no session: who may ask is decided by what she knows.
const OPEN: Row = [D, D, D, D, D, D, D, D];
/// Of everybody who is signed in, for herself.
const OWN: Row = [U, U, U, D, D, D, D, D];
/// Of members only; for others the conversation does not exist.
const MEMBERS: Row = [U, U, U, N, N, N, D, D];
/// Members are not added to or taken from a direct conversation.
const FIXED: Row = [U, U, U, N, N, N, I, I];
const INTERNAL: Row = [L; 8];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Room {
    Direct,
    Group,
}

/// People, a direct conversation of owner and member, and a group.
struct Scene {
    world: World,
    owner: u64,
    member: u64,
    /// Another member of the group.
    mate: u64,
    outsider: u64,
    former: u64,
    admin: u64,
    /// In no conversation.
    other: u64,
    room: u64,
    is_direct: bool,
}

const ENDED: u128 = 900;

fn id(number: u128) -> Bytes {
    Bytes::copy_from_slice(&number.to_be_bytes())
}

fn hash(of: &str) -> Bytes {
    Bytes::copy_from_slice(blake3::hash(of.as_bytes()).as_bytes())
}

fn session(user_id: u64, session_id: Bytes) -> Action {
    Action::CreateSession(rpc::CreateSession {
        user_id,
        session_id,
        refresh_hash: hash("r"),
        family_hash: hash("f"),
        ..rpc::CreateSession::default()
    })
}

impl Scene {
    fn new(kind: Room) -> Self {
        let mut world = World::new();
        let [owner, member, mate, outsider, former, admin, other] =
            ["owner", "member", "mate", "outsider", "former", "admin", "other"].map(|name| world.user(name));
        accepted(&world.act(0, session(owner, id(ENDED))));
        accepted(&world.act(owner, Action::EndSession(rpc::EndSession { session_id: id(ENDED) })));
        let offer = |secret: &str| {
            Action::OfferAdmin(rpc::OfferAdmin { secret_hash: hash(secret), only_first: false })
        };
        accepted(&world.act(0, offer("first")));
        accepted(&world.act(admin, Action::ClaimAdmin(rpc::ClaimAdmin { secret_hash: hash("first") })));
        accepted(&world.act(0, offer("offered")));
        let room = match kind {
            Room::Direct => world.direct(owner, member),
            Room::Group => {
                let create =
                    rpc::CreateGroup { title: "team".into(), member_ids: vec![member, mate, former] };
                conversation_of(&world.act(owner, Action::CreateGroup(create)))
            }
        };
        // The message that is edited.
        accepted(&world.send(member, room, "by the member"));
        if kind == Room::Group {
            accepted(&world.send(former, room, "by her who leaves"));
            let remove = rpc::RemoveMember { conversation_id: room, user_id: former };
            accepted(&world.act(owner, Action::RemoveMember(remove)));
        }
        let is_direct = kind == Room::Direct;
        Self { world, owner, member, mate, outsider, former, admin, other, room, is_direct }
    }

    /// The user id and the session with which somebody asks.
    fn asks_as(&self, who: Who) -> (u64, Bytes) {
        let own = |user: u64| (user, session_of(user));
        match who {
            Who::Nobody => (0, Bytes::new()),
            Who::Ended => (self.owner, id(ENDED)),
            Who::Impostor => (self.owner, session_of(self.outsider)),
            Who::Admin => own(self.admin),
            Who::Outsider => own(self.outsider),
            Who::Former => own(self.former),
            Who::Member => own(self.member),
            Who::Owner => own(self.owner),
        }
    }

    /// Everything but what is remembered of command ids.
    fn kept(&self) -> BTreeMap<Key, Bytes> {
        let memory = [Space::Dedup, Space::DedupExpiry, Space::DedupCount].map(|space| space as u8);
        let queue = Key::one(Space::Counters, 1);
        let kept = |key: &Key| !memory.contains(&key.space()) && *key != queue;
        let pairs = self.world.state.iter().filter(|(key, _)| kept(key));
        pairs.map(|(key, value)| (*key, value.clone())).collect()
    }

    /// Asks, and tells what came of it.
    fn ask(&mut self, who: Who, action: Action) -> String {
        let (user_id, session_id) = self.asks_as(who);
        let command = Command { user_id, session_id, ..self.world.command(0, action) };
        if is_internal(&command) {
            return L.to_owned();
        }
        let before = self.kept();
        let (outcome, events) = self.world.apply(&command);
        match outcome.result {
            Some(outcome::Result::Rejected(rejected)) => {
                assert!(events.is_empty() && self.kept() == before, "a refusal changes nothing: {command:?}");
                rejected.code
            }
            _ => D.to_owned(),
        }
    }
}

/// One thing that somebody may want, and what comes of it.
struct Wish {
    what: &'static str,
    action: Action,
    direct: Row,
    group: Row,
}

fn wish(what: &'static str, action: Action, direct: Row, group: Row) -> Wish {
    Wish { what, action, direct, group }
}

/// The table. No wildcard: every action has its row.
fn wishes(scene: &Scene, by: u64, kind: &Action) -> Vec<Wish> {
    let room = scene.room;
    let anywhere = |what, action, row| vec![wish(what, action, row, row)];
    match kind {
        Action::CreateUser(_) => {
            let create = rpc::CreateUser {
                name: "new".into(),
                display_name: "New".into(),
                password_phc: "$argon2id$".into(),
            };
            anywhere("sign up", Action::CreateUser(create), OPEN)
        }
        Action::CreateSession(_) => {
            anywhere("begin a session whose password a gateway has seen", session(scene.other, id(901)), OPEN)
        }
        Action::RefreshSession(_) => {
            let refresh = rpc::RefreshSession {
                session_id: session_of(scene.member),
                family_hash: hash("f"),
                refresh_hash: vec![1; 32].into(),
                salt: hash("salt"),
                next_hash: hash("next"),
            };
            let guess = rpc::RefreshSession { refresh_hash: hash("guess"), ..refresh.clone() };
            vec![
                wish("refresh with the secret", Action::RefreshSession(refresh), OPEN, OPEN),
                wish("refresh with a guess", Action::RefreshSession(guess), [U; 8], [U; 8]),
            ]
        }
        Action::CountAttempt(_) => {
            let count = rpc::CountAttempt { user_id: scene.member, ..rpc::CountAttempt::default() };
            let row = [D, U, U, D, D, D, D, D];
            anywhere("try a password", Action::CountAttempt(count), row)
        }
        Action::EndSession(_) => {
            let end = |session_id| Action::EndSession(rpc::EndSession { session_id });
            let members = [U, U, U, N, N, N, D, N];
            vec![
                wish("end the member's session", end(session_of(scene.member)), members, members),
                wish("end one's own session", end(session_of(by)), OWN, OWN),
            ]
        }
        Action::EndOtherSessions(_) => {
            anywhere("end one's other sessions", Action::EndOtherSessions(rpc::EndOtherSessions {}), OWN)
        }
        Action::SetPassword(_) => {
            let set = rpc::SetPassword {
                password_phc: "$another$".into(),
                replaces: hash("$argon2id$").slice(..16),
            };
            anywhere("set one's password", Action::SetPassword(set), OWN)
        }
        Action::ClaimAdmin(_) => {
            let claim = |secret| Action::ClaimAdmin(rpc::ClaimAdmin { secret_hash: hash(secret) });
            let guessed = [U, U, U, F, F, F, F, F];
            vec![
                wish("become an admin with the secret", claim("offered"), OWN, OWN),
                wish("become an admin with a guess", claim("guess"), guessed, guessed),
            ]
        }
        Action::CreateDirect(_) => {
            let create = rpc::CreateDirect { peer_id: scene.other };
            anywhere("write to somebody", Action::CreateDirect(create), OWN)
        }
        Action::CreateGroup(_) => {
            let create = rpc::CreateGroup { title: "mine".into(), member_ids: vec![scene.other] };
            anywhere("make a group", Action::CreateGroup(create), OWN)
        }
        Action::AddMember(_) => {
            let add = |user_id| Action::AddMember(rpc::AddMember { conversation_id: room, user_id });
            let owners = [U, U, U, N, N, N, F, D];
            vec![
                wish("add somebody", add(scene.other), FIXED, owners),
                wish("add oneself", add(by), FIXED, owners),
            ]
        }
        Action::RemoveMember(_) => {
            let remove = |user_id| Action::RemoveMember(rpc::RemoveMember { conversation_id: room, user_id });
            let somebody = if scene.is_direct { scene.member } else { scene.mate };
            vec![
                wish("remove somebody", remove(somebody), FIXED, [U, U, U, N, N, N, F, D]),
                wish("leave", remove(by), FIXED, MEMBERS),
            ]
        }
        Action::Send(_) => anywhere("send", send(room, "hello"), MEMBERS),
        Action::MarkRead(_) => {
            let mark = rpc::MarkRead { conversation_id: room, sequence: 1 };
            anywhere("mark as read", Action::MarkRead(mark), MEMBERS)
        }
        Action::Edit(_) => {
            let edit = |sequence| {
                let text = "edited".into();
                Action::Edit(rpc::Edit { conversation_id: room, sequence, text, if_revision: None })
            };
            let writers = [U, U, U, N, N, N, D, F];
            let mut wishes = vec![wish("edit the member's message", edit(1), writers, writers)];
            if !scene.is_direct {
                let nobodys = [U, U, U, N, N, N, F, F];
                wishes.push(wish("edit a message of her who was removed", edit(2), nobodys, nobodys));
            }
            wishes
        }
        Action::AddSigningKey(add) => anywhere("add a key", Action::AddSigningKey(add.clone()), INTERNAL),
        Action::RemoveSigningKey(remove) => {
            anywhere("remove a key", Action::RemoveSigningKey(remove.clone()), INTERNAL)
        }
        Action::SetMachineVersion(set) => {
            anywhere("raise the version", Action::SetMachineVersion(*set), INTERNAL)
        }
        Action::OfferAdmin(offer) => anywhere("offer", Action::OfferAdmin(offer.clone()), INTERNAL),
    }
}

/// One of every action that a command can have, found by decoding each field number.
fn every_action() -> Vec<Action> {
    let empty = |number: u32| {
        let mut bytes = Vec::new();
        prost::encoding::encode_key(number, prost::encoding::WireType::LengthDelimited, &mut bytes);
        bytes.push(0);
        Command::decode(bytes.as_slice()).ok()?.action
    };
    // The numbers below are those of the command's other fields.
    (5..1_000).filter_map(empty).collect()
}

#[test]
fn everybody_may_do_what_the_table_says_and_nothing_else() {
    let kinds = every_action();
    let names: BTreeSet<String> = kinds
        .iter()
        .map(|kind| format!("{kind:?}").split('(').next().unwrap_or_default().to_owned())
        .collect();
    assert!(names.len() == kinds.len() && names.len() >= 18, "{names:?}");
    let (mut cells, mut wrong) = (0, Vec::new());
    for kind in &kinds {
        for room in [Room::Direct, Room::Group] {
            for (place, who) in EVERYBODY.into_iter().enumerate() {
                let scene = Scene::new(room);
                let (by, _) = scene.asks_as(who);
                for Wish { what, action, direct, group } in wishes(&scene, by, kind) {
                    let expected = if room == Room::Direct { direct[place] } else { group[place] };
                    // Each in a world of its own: what was done before must not matter.
                    let came = Scene::new(room).ask(who, action);
                    cells += 1;
                    if came != expected {
                        wrong.push(format!("{who:?} in a {room:?}, {what}: {came}, not {expected}"));
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {cells}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(cells > 300, "{cells} cells");
}
