//! Signals over a state in memory.

use quorate_proto::rpc::command::Action;
use quorate_proto::rpc::{Block, LeaseEntry, LogId, MakeToken};

use super::*;
use crate::machine::tests::{World, accepted, session_of};
use crate::store::{Applied, Before, Writes};

const MS: u64 = 9_000;

struct Scene {
    signals: Signals,
    ring: broadcast::Receiver<Arc<Down>>,
    _dir: tempfile::TempDir,
}

/// A replica with this state.
fn scene(world: World) -> Scene {
    let dir = tempfile::tempdir().expect("a folder");
    let boot = dir.path().join("boot_id");
    std::fs::write(&boot, "boot").expect("a file");
    let store = Store::open(dir.path(), &boot).expect("opens");
    let writes: Writes = world.state.into_iter().map(|(key, value)| (key, Some(value))).collect();
    let log_id = Some(LogId { term: 1, node_id: 1, index: world.index });
    let mut state = store.apply();
    let sum = state.sum_after(&writes, &Before::new()).expect("reads");
    state.commit(writes, sum, Applied { log_id, ..Applied::default() });
    drop(state);
    let signals = Signals::new(Arc::new(store), Metrics::default());
    let ring = signals.subscribe();
    Scene { signals, ring, _dir: dir }
}

fn lease(number: u64, full: bool, users: &[u64], state: State) -> Lease {
    let entries = users.iter().map(|user| LeaseEntry { user_id: *user, state: state.into() }).collect();
    Lease {
        gateway: "a".into(),
        started_ms: 1,
        number,
        full,
        entries,
        ttl_ms: u32::try_from(MS).unwrap(),
        sessions: None,
    }
}

impl Scene {
    /// What was told since it was asked last.
    fn told(&mut self) -> Vec<(u64, State, Vec<u64>)> {
        let mut told = Vec::new();
        while let Ok(down) = self.ring.try_recv() {
            if let Down::Presence { user_id, state, rooms } = &*down {
                told.push((*user_id, *state, rooms.clone()));
            }
        }
        told
    }
}

/// A feed that waited until thousands of changes were placed was silent for so long that its gateway left it.
#[tokio::test]
async fn changes_of_presence_are_told_in_turns_and_nobody_waits_for_them() {
    let mut world = World::new();
    let ana = world.user("ana");
    let others: Vec<u64> = (0..100).map(|n| world.user(&format!("u{n}"))).collect();
    let rooms: Vec<u64> = others.iter().map(|other| world.direct(ana, *other)).collect();
    let mut scene = scene(world);
    scene.signals.watch(rooms.iter().copied().chain(1_000_000..1_020_000), true);
    scene.signals.lease(lease(1, true, &others, State::Active));
    assert_eq!(scene.told(), [], "the feed goes on at once");
    // What changes again before its turn is told as it is then.
    scene.signals.lease(lease(2, false, &others[..1], State::Idle));
    scene.signals.tell_changes();
    let first = scene.told();
    assert_eq!(first.len(), CHANGES_PER_TURN);
    assert_eq!(first[0], (others[0], State::Idle, vec![rooms[0]]));
    scene.signals.tell_changes();
    assert_eq!(scene.told().len(), others.len() - CHANGES_PER_TURN);
    scene.signals.tell_changes();
    assert_eq!(scene.told(), [], "each once");
    assert!(scene.signals.inner().changed.is_empty());
}

/// A mark that came between the reading of a room and its being watched, or that was dropped, was never told again.
#[tokio::test]
async fn a_watched_room_is_told_marks_as_well_as_presence() {
    let mut world = World::new();
    let (ana, ben) = (world.user("ana"), world.user("ben"));
    let room = world.direct(ana, ben);
    world.send(ana, room, "one");
    let scene = scene(world);
    let mark = Signal { user: by_id(ben), ..has_come(room, ben, 1) };
    scene.signals.take(mark.clone());
    let told = scene.signals.presence_in(room).expect("reads");
    assert!(told.contains(&mark), "{told:?}");
    assert_eq!(
        told.iter().filter(|signal| matches!(signal.kind, Some(signal::Kind::Presence(_)))).count(),
        2
    );
}

/// Whom she had blocked went on seeing when she was there, wrote and had read.
#[tokio::test]
async fn two_of_whom_one_has_blocked_the_other_are_told_nothing_of_each_other() {
    let mut world = World::new();
    let (ana, ben) = (world.user("ana"), world.user("ben"));
    let room = world.direct(ana, ben);
    accepted(&world.send(ana, room, "one"));
    accepted(&world.send(ben, room, "two"));
    let says = |user_id, kind| Signal {
        conversation_id: room,
        user: by_id(user_id),
        session_id: session_of(user_id),
        kind: Some(kind),
    };
    let typing = |user_id| says(user_id, signal::Kind::Typing(Typing {}));
    let delivered = |user_id| says(user_id, signal::Kind::Receipt(Receipt { read: 0, delivered: 2 }));
    let block = |on| Action::Block(Block { user_id: ben, on });

    for blocked in [false, true] {
        if blocked {
            accepted(&world.act(ana, block(true)));
        }
        let mut scene = scene(World { state: world.state.clone(), index: world.index, ..World::new() });
        let signals = &scene.signals;
        signals.watch([room].into_iter(), true);
        signals.lease(lease(1, true, &[ana, ben], State::Active));
        signals.tell_changes();
        for user in [ana, ben] {
            assert_eq!(signals.admitted(typing(user)).expect("reads").is_none(), blocked);
            assert_eq!(signals.admitted(delivered(user)).expect("reads").is_none(), blocked);
            assert_eq!(signals.tells_read(room, user), !blocked);
            assert_eq!(signals.rooms_of(user).expect("reads").is_empty(), blocked);
        }
        let marks = signals.marks(&signals.store.read(), room).expect("reads");
        assert_eq!(marks.len(), 2);
        assert!(marks.iter().all(|mark| mark.receipt.is_none() == blocked), "{marks:?}");
        let state = if blocked { State::Unknown } else { State::Active };
        assert!(marks.iter().all(|mark| mark.presence() == state), "what was told is taken back: {marks:?}");
        assert_eq!(signals.direct_of(ben, ana), Some(room));
        assert_eq!(scene.told().is_empty(), blocked);
    }
}

#[tokio::test]
async fn a_token_says_that_somebody_is_typing_only_where_it_may_send() {
    let mut world = World::new();
    let (ana, ben) = (world.user("ana"), world.user("ben"));
    let room = world.direct(ana, ben);
    for scopes in 1..=scopes::ALL {
        let session_id = session_of(100 + u64::from(scopes));
        let (secret_hash, label) = (vec![1; 32].into(), "ci".to_owned());
        let make = MakeToken { user_id: ana, session_id, secret_hash, label, scopes, ..MakeToken::default() };
        accepted(&world.act(ana, Action::MakeToken(make)));
    }
    let scene = scene(world);
    let is_admitted = |session_id| {
        let kind = Some(signal::Kind::Typing(Typing {}));
        let signal = Signal { conversation_id: room, user: by_id(ana), session_id, kind };
        scene.signals.admitted(signal).expect("reads").is_some()
    };
    for scopes in 1..=scopes::ALL {
        let may = is_admitted(session_of(100 + u64::from(scopes)));
        assert_eq!(may, scopes & scopes::SEND != 0, "{scopes}");
    }
    assert!(is_admitted(session_of(ana)) && !is_admitted(session_of(ben)));
}
