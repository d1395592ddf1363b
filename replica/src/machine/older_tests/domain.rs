//! What versions 4 to 7 do and store, pinned: chats with everything that each of them brought, and the way from one to the next.
//!
//! The hashes below were made by the last build that knew nothing newer than version 6, and that of version 7 by the first one that
//! knew version 8, which changed nothing of it. They hold outcomes, every key and value that was written, and every event that was told.

use std::collections::{BTreeMap, BTreeSet};

use super::super::authorization_tests::every_action;
use super::history::{History, file_id, name_of};
use super::*;

/// What a run comes to, by the machine version that it keeps.
const AS_THEN: [(u32, &str); 4] = [
    (4, "106373dcc192720e354ba8a5d07fa68801d6609d0872b14191dc543820cb738b"),
    (5, "b1e1819e2df99c1fee9615df4b616464911b0dac1d10d8653703fb318230268d"),
    (6, "c8c705fb19c537fe808d89874d4129fad4020b6eec016a0d184194a56279d611"),
    (7, "75c9591e8c725cd82d92388cbebacbe29e78f8a86d1938b047d753243ed8fb88"),
];

/// How often each action is accepted at least under each version.
const ACCEPTED_MIN: u64 = 4;
/// A run of one seed.
const COMMANDS: u64 = 900;

/// Many histories under one version, in one hash, and what was accepted in them.
fn run(version: u32) -> (String, BTreeMap<String, u64>) {
    let mut hasher = blake3::Hasher::new();
    let mut accepted: BTreeMap<String, u64> = BTreeMap::new();
    for seed in 0..16 {
        let mut history = History::new(seed, version);
        for _ in 0..COMMANDS {
            history.go_on(&mut hasher);
        }
        history.must_be_whole(seed);
        for (name, count) in history.accepted {
            *accepted.entry(name).or_default() += count;
        }
    }
    (hasher.finalize().to_hex().to_string(), accepted)
}

#[test]
fn versions_with_a_domain_do_and_store_what_they_did_and_stored() {
    let mut now = Vec::new();
    for (version, _) in AS_THEN {
        let (hash, accepted) = run(version);
        now.push((version, hash));
        // The history has in it all that the version can do but for what raises it: otherwise its hash would pin little.
        let known = every_action().into_iter().filter(|action| needed_version(action) <= version);
        let names: BTreeSet<String> = known.map(|action| name_of(&action)).collect();
        let rare: Vec<_> = names
            .iter()
            .filter(|name| *name != "SetMachineVersion")
            .map(|name| (name, accepted.get(name).copied().unwrap_or(0)))
            .filter(|(_, count)| *count < ACCEPTED_MIN)
            .collect();
        assert!(rare.is_empty(), "version {version} hardly ever did {rare:?}: {accepted:?}");
    }
    assert_eq!(now, AS_THEN.map(|(version, then)| (version, then.to_owned())));
}

impl History {
    /// One more command, of a user's newest sign-in.
    fn act(&mut self, user_id: u64, action: Action) -> Outcome {
        self.next += 1;
        let session_id = self.sessions.get(&user_id).cloned().unwrap_or_default();
        let command_id = id(1_000_000 + self.next);
        let command = Command { user_id, session_id, command_id, action: Some(action), ..Command::default() };
        let outcome = self.apply(&command, &mut blake3::Hasher::new());
        tests::accepted(&outcome);
        outcome
    }

    fn goes_on(&mut self, seed: u64) {
        for _ in 0..250 {
            self.go_on(&mut blake3::Hasher::new());
        }
        self.must_be_whole(seed);
    }
}

#[test]
fn a_state_of_version_4_rises_to_the_newest_in_order_is_whole_and_goes_on() {
    let mut done = BTreeSet::new();
    for seed in 100..108 {
        let mut history = History::new(seed, VERSION_DOMAIN);
        for version in VERSION_DOMAIN + 1..=VERSION_MAX {
            history.goes_on(seed);
            history.act(0, Action::SetMachineVersion(rpc::SetMachineVersion { version }));
            assert_eq!(history.version, version);
            history.must_be_whole(seed);
        }
        history.accepted.clear();
        history.goes_on(seed);
        done.extend(std::mem::take(&mut history.accepted).into_keys());
        let create = rpc::CreateUser {
            name: "zoe".into(),
            display_name: "Zoe".into(),
            password_phc: "$argon2id$".into(),
        };
        let made = history.act(0, Action::CreateUser(create)).result;
        let Some(outcome::Result::User(rpc::UserCreated { user_id: zoe })) = made else { panic!("{made:?}") };
        let sign_in = history.sign_in(zoe);
        history.act(0, Action::CreateSession(sign_in));
        let secret_hash = hash(77);
        let offer = rpc::OfferAdmin { secret_hash: secret_hash.clone(), only_first: false };
        history.act(0, Action::OfferAdmin(offer));
        history.act(zoe, Action::ClaimAdmin(rpc::ClaimAdmin { secret_hash }));
        let commit = rpc::CommitFile {
            file_id: file_id(200),
            name: "me.png".into(),
            media_type: "image/png".into(),
            thumbnail: hash(5),
            thumbnail_size: 9,
            receipts: [1, 2].map(|replica_id| rpc::ChunkReceipts { replica_id, held: vec![1].into() }).into(),
            received_ms: history.now,
            ..Default::default()
        };
        history.act(zoe, Action::CommitFile(commit));
        let avatar = Some(file_id(200));
        let profile = rpc::SetProfile { avatar: avatar.clone(), ..Default::default() };
        history.act(zoe, Action::SetProfile(profile));
        // A group that version 4 made, by an admin of the site.
        let change = rpc::ChangeConversation { conversation_id: 1, avatar, ..Default::default() };
        history.act(zoe, Action::ChangeConversation(change));
        history.act(zoe, Action::RecordExport(rpc::RecordExport { conversation_id: 1, direct: false }));
        history.must_be_whole(seed);
        history.goes_on(seed);
        let user = history.state.user(zoe).expect("a map").expect("there");
        assert_eq!(user.avatar, file_id(200), "seed {seed}");
    }
    // What each version brought is done with what the ones before have written.
    for name in ["Send", "React", "CommitFile", "DeleteFile", "CreateBot", "SetHook"] {
        assert!(done.contains(name), "nobody has done with {name}: {done:?}");
    }
}
