//! Who may do what: every command of a gateway, asked by everybody, in each kind of conversation. What is written here is what is
//! allowed; a new action has no row and does not compile. The rows of what people do in a chat are in the modules below.

mod bots;
mod groups;
mod messages;
mod people;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use prost::Message as _;
use quorate_proto::rpc;

use super::records::{File, ROLE_GROUP_ADMIN, ROLE_MEMBER, ROLE_OWNER};
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
    /// Who was a member of the group and was banned. Of a direct conversation: an outsider.
    Banned,
    /// A member; the other one of the direct conversation.
    Member,
    /// An admin of the group. Of a direct conversation: an outsider.
    GroupAdmin,
    /// Who made the conversation.
    Owner,
}

const EVERYBODY: [Who; 10] = [
    Who::Nobody,
    Who::Ended,
    Who::Impostor,
    Who::Admin,
    Who::Outsider,
    Who::Former,
    Who::Banned,
    Who::Member,
    Who::GroupAdmin,
    Who::Owner,
];

/// Outcomes, in the order of [`EVERYBODY`].
type Row = [&'static str; 10];

/// It is done.
const D: &str = "done";
/// Refusals.
const U: &str = "unauthenticated";
const N: &str = "not_found";
const F: &str = "forbidden";
const I: &str = "invalid";
const C: &str = "conflict";
/// No gateway can ask for it: the leader proposes it by itself or for an operator.
const L: &str = "leader";

/// Needs no session: who may ask is decided by what she knows.
const OPEN: Row = [D; 10];
/// Of everybody who is signed in, for herself.
const OWN: Row = [U, U, U, D, D, D, D, D, D, D];
/// Of the two of a direct conversation; for others it does not exist.
const BOTH: Row = [U, U, U, N, N, N, N, D, N, D];
/// Of members only; for others the group does not exist.
const MEMBERS: Row = [U, U, U, N, N, N, N, D, D, D];
/// Of a group's owner and admins.
const MANAGERS: Row = [U, U, U, N, N, N, N, F, D, D];
/// Of a group's owner.
const OWNERS: Row = [U, U, U, N, N, N, N, F, F, D];
/// Of a group's owner and admins, and of the admins of the site.
const ALL_MANAGERS: Row = [U, U, U, D, N, N, N, F, D, D];
/// What cannot be done in a direct conversation, by the two who know of it.
const FIXED: Row = [U, U, U, N, N, N, N, I, N, I];
/// Of nobody.
const NOBODYS: Row = [U, U, U, N, N, N, N, N, N, N];
const INTERNAL: Row = [L; 10];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Room {
    Direct,
    Group,
    /// A group that anybody can find and join.
    Public,
}

/// People, and a direct conversation of owner and member, or a group.
#[derive(Clone)]
struct Scene {
    world: World,
    owner: u64,
    member: u64,
    /// Another member of the group.
    mate: u64,
    outsider: u64,
    former: u64,
    banned: u64,
    group_admin: u64,
    admin: u64,
    /// In no conversation.
    other: u64,
    room: u64,
    is_direct: bool,
    /// Open: of the member's message.
    report: u64,
    /// The owner's, with a webhook and a token; in no conversation.
    bot: u64,
}

const ENDED: u128 = 900;

fn id(number: u128) -> Bytes {
    Bytes::copy_from_slice(&number.to_be_bytes())
}

fn hash(of: &str) -> Bytes {
    Bytes::copy_from_slice(blake3::hash(of.as_bytes()).as_bytes())
}

/// The member's image.
fn picture() -> Bytes {
    id(76)
}

/// An image with a thumbnail, as it is stored: commits of content need voters.
fn put_picture(world: &mut World, owner: u64) {
    let file = File {
        owner,
        media_type: "image/png".into(),
        thumbnail: hash("thumbnail"),
        thumbnail_size: 9,
        ..File::default()
    };
    let key = Key::new(Space::File, &picture());
    world.state.insert(key, file.encode_to_vec().into());
}

/// Of the group's invite.
fn invite_code() -> Bytes {
    hash("invite").slice(..16)
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
        let [owner, member, mate, outsider, former, banned, group_admin, admin, other] =
            ["owner", "member", "mate", "outsider", "former", "banned", "group-admin", "admin", "other"]
                .map(|name| world.user(name));
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
            Room::Group | Room::Public => {
                let create = rpc::CreateGroup {
                    title: "team".into(),
                    member_ids: vec![member, mate, former, banned, group_admin],
                    public: kind == Room::Public,
                    ..Default::default()
                };
                conversation_of(&world.act(owner, Action::CreateGroup(create)))
            }
        };
        let commit = rpc::CommitFile {
            file_id: id(78),
            name: "file".into(),
            media_type: "text/plain".into(),
            ..rpc::CommitFile::default()
        };
        accepted(&world.act(member, Action::CommitFile(commit)));
        put_picture(&mut world, member);
        // The message that is edited.
        accepted(&world.send(member, room, "by the member"));
        if kind != Room::Direct {
            accepted(&world.send(former, room, "by her who leaves"));
            let remove = rpc::RemoveMember { conversation_id: room, user_id: former };
            accepted(&world.act(owner, Action::RemoveMember(remove)));
            let ban = rpc::Ban { conversation_id: room, user_id: banned, on: true };
            accepted(&world.act(owner, Action::Ban(ban)));
            let invite =
                rpc::MakeInvite { conversation_id: room, code_hash: invite_code(), ttl_ms: 0, uses_max: 0 };
            accepted(&world.act(owner, Action::MakeInvite(invite)));
            let raise =
                rpc::SetMemberRole { conversation_id: room, user_id: group_admin, role: ROLE_GROUP_ADMIN };
            accepted(&world.act(owner, Action::SetMemberRole(raise)));
        }
        let report = rpc::Report { conversation_id: room, sequence: 1, reason: "rude".into() };
        accepted(&world.act(owner, Action::Report(report)));
        let reset = rpc::OfferReset { user_id: other, secret_hash: hash("reset") };
        accepted(&world.act(admin, Action::OfferReset(reset)));
        let bot = bots::furnish(&mut world, owner);
        let is_direct = kind == Room::Direct;
        Self {
            world,
            owner,
            member,
            mate,
            outsider,
            former,
            banned,
            group_admin,
            admin,
            other,
            room,
            is_direct,
            report: 1,
            bot,
        }
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
            Who::Banned => own(self.banned),
            Who::GroupAdmin => own(self.group_admin),
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
    public: Row,
}

/// Public groups differ in who comes in only.
fn wish(what: &'static str, action: Action, direct: Row, group: Row) -> Wish {
    Wish { what, action, direct, group, public: group }
}

/// What does not depend on the conversation.
fn anywhere(what: &'static str, action: Action, row: Row) -> Vec<Wish> {
    vec![wish(what, action, row, row)]
}

/// The table. No wildcard: every action has its row.
fn wishes(scene: &Scene, by: u64, kind: &Action) -> Vec<Wish> {
    let room = scene.room;
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
                wish("refresh with a guess", Action::RefreshSession(guess), [U; 10], [U; 10]),
            ]
        }
        Action::CountAttempt(_) => {
            let count = rpc::CountAttempt { user_id: scene.member, ..rpc::CountAttempt::default() };
            let row = [D, U, U, D, D, D, D, D, D, D];
            anywhere("try a password", Action::CountAttempt(count), row)
        }
        Action::EndSession(_) => {
            let end = |session_id| Action::EndSession(rpc::EndSession { session_id });
            let members = [U, U, U, N, N, N, N, D, N, N];
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
            let guessed = [U, U, U, F, F, F, F, F, F, F];
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
            let create = rpc::CreateGroup {
                title: "mine".into(),
                member_ids: vec![scene.other],
                ..Default::default()
            };
            anywhere("make a group", Action::CreateGroup(create), OWN)
        }
        Action::AddMember(_) => {
            let add = |user_id| Action::AddMember(rpc::AddMember { conversation_id: room, user_id });
            vec![
                wish("add somebody", add(scene.other), FIXED, ALL_MANAGERS),
                wish("add oneself", add(by), FIXED, ALL_MANAGERS),
            ]
        }
        Action::RemoveMember(_) => {
            let remove = |user_id| Action::RemoveMember(rpc::RemoveMember { conversation_id: room, user_id });
            let somebody = if scene.is_direct { scene.member } else { scene.mate };
            vec![
                wish("remove somebody", remove(somebody), FIXED, ALL_MANAGERS),
                wish("leave", remove(by), FIXED, MEMBERS),
            ]
        }
        Action::Send(_) => vec![wish("send", send(room, "hello"), BOTH, MEMBERS)],
        Action::MarkRead(_) => {
            let mark = rpc::MarkRead { conversation_id: room, sequence: 1 };
            vec![wish("mark as read", Action::MarkRead(mark), BOTH, MEMBERS)]
        }
        Action::Edit(_) => {
            let edit = |sequence| {
                let text = "edited".into();
                Action::Edit(rpc::Edit { conversation_id: room, sequence, text, if_revision: None })
            };
            let writers = [U, U, U, N, N, N, N, D, F, F];
            let of_two = [U, U, U, N, N, N, N, D, N, F];
            let mut wishes = vec![wish("edit the member's message", edit(1), of_two, writers)];
            if !scene.is_direct {
                let nobodys = [U, U, U, N, N, N, N, F, F, F];
                wishes.push(wish("edit a message of her who was removed", edit(2), nobodys, nobodys));
            }
            wishes
        }
        Action::CommitFile(_) => {
            // An empty one: whose it is counts here, what it must consist of is told in the tests of files.
            let commit = rpc::CommitFile {
                file_id: id(77),
                name: "file".into(),
                media_type: "text/plain".into(),
                ..rpc::CommitFile::default()
            };
            anywhere("commit a file", Action::CommitFile(commit), OWN)
        }
        Action::DeleteFile(_) => {
            let delete = |file_id| Action::DeleteFile(rpc::DeleteFile { file_id });
            let members = [U, U, U, N, N, N, N, D, N, N];
            vec![
                wish("delete the member's file", delete(id(78)), members, members),
                wish("delete a file that is not there", delete(id(79)), NOBODYS, NOBODYS),
            ]
        }
        Action::AddSigningKey(add) => anywhere("add a key", Action::AddSigningKey(add.clone()), INTERNAL),
        Action::RemoveSigningKey(remove) => {
            anywhere("remove a key", Action::RemoveSigningKey(remove.clone()), INTERNAL)
        }
        Action::SetMachineVersion(set) => {
            anywhere("raise the version", Action::SetMachineVersion(*set), INTERNAL)
        }
        Action::OfferAdmin(offer) => anywhere("offer", Action::OfferAdmin(offer.clone()), INTERNAL),
        // By whom the leader proposes it is the caller of its own service: see `cluster_tests`.
        Action::RecordClusterChange(record) => {
            anywhere("record a change of the cluster", Action::RecordClusterChange(record.clone()), INTERNAL)
        }
        Action::DeleteMessages(_)
        | Action::HideMessages(_)
        | Action::React(_)
        | Action::Pin(_)
        | Action::SaveMessage(_)
        | Action::SetDraft(_)
        | Action::Schedule(_)
        | Action::CancelScheduled(_) => messages::wishes(scene, by, kind),
        Action::ChangeConversation(_)
        | Action::SetMemberRole(_)
        | Action::Ban(_)
        | Action::Join(_)
        | Action::MakeInvite(_)
        | Action::EndInvite(_)
        | Action::Prefer(_) => groups::wishes(scene, by, kind),
        Action::SetProfile(_)
        | Action::DeleteUser(_)
        | Action::Block(_)
        | Action::Report(_)
        | Action::ResolveReport(_)
        | Action::SetUserState(_)
        | Action::OfferReset(_)
        | Action::ResetPassword(_)
        | Action::SetRecoveryCodes(_)
        | Action::RecordExport(_)
        | Action::RecordSeen(_) => people::wishes(scene, by, kind),
        Action::CreateBot(_)
        | Action::MakeToken(_)
        | Action::EndToken(_)
        | Action::SetHook(_)
        | Action::LeaseHooks(_)
        | Action::SettleHook(_) => bots::wishes(scene, by, kind),
    }
}

/// One of every action that a command can have, found by decoding each field number.
pub(super) fn every_action() -> Vec<Action> {
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
    for room in [Room::Direct, Room::Group, Room::Public] {
        let scene = Scene::new(room);
        for kind in &kinds {
            for (place, who) in EVERYBODY.into_iter().enumerate() {
                let (by, _) = scene.asks_as(who);
                for Wish { what, action, direct, group, public } in wishes(&scene, by, kind) {
                    let expected = match room {
                        Room::Direct => direct[place],
                        Room::Group => group[place],
                        Room::Public => public[place],
                    };
                    // Each in a world of its own: what was done before must not matter.
                    let came = scene.clone().ask(who, action);
                    cells += 1;
                    if came != expected {
                        wrong.push(format!("{who:?} in a {room:?}, {what}: {came}, not {expected}"));
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {cells}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(cells > 1_000, "{cells} cells");
}
