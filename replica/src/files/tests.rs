//! The rule of majorities, and which uploads count.

use futures_util::StreamExt as _;
use prost::Message as _;
use quorate_proto::limits::UPLOADS_PER_USER_MAX;
use quorate_proto::rpc::command::Action;
use quorate_proto::rpc::files_server::Files as _;
use quorate_proto::rpc::{self, Command, PutRequest};
use tempfile::TempDir;
use tonic::{Code, Request};
use uuid::Uuid;

use super::committed::Places;
use super::uploads::Refused;
use super::*;
use crate::config::{KeyTimes, Settings};
use crate::machine::tests::{World, accepted, session_of};
use crate::machine::{Tables as _, VERSION_FILES, VERSION_MAX};
use crate::metrics::Metrics;

#[test]
fn a_majority_is_one_of_each_set() {
    let set = |ids: &[u64]| ids.iter().copied().collect::<BTreeSet<u64>>();
    assert!(!is_majority(&[], &set(&[1, 2, 3])), "nobody votes");
    assert!(is_majority(&[set(&[1, 2, 3])], &set(&[1, 2, 9])));
    assert!(!is_majority(&[set(&[1, 2, 3])], &set(&[1, 8, 9])));
    assert!(!is_majority(&[set(&[1, 2, 3, 4])], &set(&[1, 2])), "half is none");
    let joint = [set(&[1, 2, 3]), set(&[3, 4, 5])];
    assert!(!is_majority(&joint, &set(&[1, 2, 3])));
    assert!(is_majority(&joint, &set(&[1, 3, 4])));
}

/// Uploads beside a machine's state.
struct Rig {
    world: World,
    ann: u64,
    bob: u64,
    uploads: Uploads,
    dir: TempDir,
}

impl Rig {
    fn new() -> Self {
        let mut world = World::new();
        let (ann, bob) = (world.user("ann"), world.user("bob"));
        let dir = tempfile::tempdir().expect("a folder");
        let uploads = Uploads::open(dir.path()).expect("opens");
        Self { world, ann, bob, uploads, dir }
    }

    fn moment(&self) -> Moment {
        let next_place = self.world.state.file_queue().expect("reads").tail;
        Moment { log_time_ms: self.world.now, next_place }
    }

    /// A part of Ann's comes to the disk that was let in at this moment.
    fn kept(&self, id: u128, number: u32, moment: Moment) {
        let part = Part { hash: [7; 32], size: 5, received_ms: moment.log_time_ms };
        self.uploads.add(self.ann, &id.to_be_bytes(), number, part, moment.next_place).expect("noted");
    }

    fn act(&mut self, user: u64, action: Action) {
        self.world.now += 1;
        accepted(&self.world.act(user, action));
    }

    /// The file is of no bytes, so that no majority has to have them.
    fn commit(&mut self, user: u64, id: u128) {
        let commit = rpc::CommitFile {
            file_id: Bytes::copy_from_slice(&id.to_be_bytes()),
            name: "a.bin".to_owned(),
            media_type: "application/octet-stream".to_owned(),
            ..rpc::CommitFile::default()
        };
        self.act(user, Action::CommitFile(commit));
    }

    fn commit_and_delete(&mut self, id: u128) {
        self.commit(self.ann, id);
        let file_id = Bytes::copy_from_slice(&id.to_be_bytes());
        self.act(self.ann, Action::DeleteFile(rpc::DeleteFile { file_id }));
    }

    /// What Ann still uploads, once it was looked for what was committed.
    fn left(&self) -> Vec<u128> {
        let places = |from| Places::read(&self.world.state, from);
        self.uploads.forget_committed(self.ann, places).expect("reads");
        let mut left: Vec<u128> =
            self.uploads.all().into_iter().map(|(id, _)| u128::from_be_bytes(id)).collect();
        left.sort_unstable();
        left
    }
}

#[test]
fn an_upload_counts_until_its_file_is_committed_whatever_becomes_of_that() {
    let mut rig = Rig::new();
    for id in 1..=4 {
        rig.kept(id, 0, rig.moment());
    }
    let early = rig.moment();
    rig.commit(rig.ann, 1);
    rig.commit_and_delete(2);
    rig.commit_and_delete(3);
    rig.kept(3, 1, rig.moment());
    assert_eq!(rig.left(), [3, 4], "3 is another file by now, of which a part has come");
    assert_eq!(rig.uploads.check(rig.bob, &2_u128.to_be_bytes(), 1), Ok(()), "and nobody's any more");
    assert_eq!(rig.uploads.check(rig.bob, &3_u128.to_be_bytes(), 1), Err(Refused::NotYours));

    // A slow disk: the part was let in before the commit, and all of that was looked at before it is noted.
    rig.kept(2, 0, early);
    assert_eq!(rig.left(), [3, 4]);
    rig.commit_and_delete(3);
    assert_eq!(rig.left(), [4]);

    // More is committed than is read at a time, and none of it was looked at when the replica ends.
    for id in 1_000..1_600 {
        rig.commit(rig.bob, id);
    }
    for id in 5..=6 {
        rig.kept(id, 0, rig.moment());
        rig.commit_and_delete(id);
    }
    rig.kept(6, 0, rig.moment());
    rig.uploads = Uploads::open(rig.dir.path()).expect("opens");
    assert_eq!(rig.left(), [4, 6]);
    rig.commit_and_delete(6);
    rig.commit(rig.ann, 4);
    assert!(rig.left().is_empty());
}

/// Who uploads at a replica that runs.
const ANN: u64 = 1;

/// A replica alone, which leads soon, with a machine that has files.
async fn alone(dir: &Path) -> Arc<Node> {
    let boot_id_file = dir.join("boot");
    std::fs::write(&boot_id_file, "boot").expect("a file");
    // Nobody else is there to call it.
    let listen = std::net::SocketAddr::from(([127, 0, 0, 1], 9));
    let settings = Settings {
        id: 1,
        cluster: "files".to_owned(),
        data_dir: dir.to_owned(),
        listen,
        http_listen: None,
        cluster_secret_file: dir.join("secret"),
        boot_id_file,
        clock_offset_ms: 0,
        storage_reserve_bytes: 0,
        snapshot_log_bytes: 256 * 1024 * 1024,
        log_entries_kept: 10_000,
        heartbeat_interval_ms: 100,
        election_timeout_min_ms: 500,
        election_timeout_max_ms: 1_000,
        worker_threads: None,
        join: false,
        machine_version_max: VERSION_MAX,
        export_direct: false,
        key_times: KeyTimes::default(),
        tls: None,
        replicas: [(1, listen.to_string())].into(),
    };
    let node = Arc::new(Node::start(&settings, Metrics::default()).await.expect("starts"));
    node.watch_peers(&settings).expect("a good cluster id");
    node.form(&settings.replicas).await.expect("forms");
    for _ in 0..3_000 {
        if node.store().read().applied().machine_version >= VERSION_FILES {
            return node;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("waited 60 s in vain: a machine that has files");
}

/// Has a command done. Its id makes another try no second time.
async fn act(node: &Node, user_id: u64, action: Action) {
    let session_id = if user_id == 0 { Bytes::new() } else { session_of(user_id) };
    let command_id = Bytes::copy_from_slice(Uuid::new_v4().as_bytes());
    let command = Command { user_id, session_id, command_id, first_sent_ms: 0, action: Some(action) };
    let command = Bytes::from(command.encode_to_vec());
    for _ in 0..3_000 {
        if let Ok(outcomes) = node.propose(vec![command.clone()]).await {
            let said: Vec<_> = outcomes.collect().await;
            if let Some(Ok(outcome)) = said.first() {
                return accepted(outcome);
            }
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("waited 60 s in vain for the replica to accept");
}

fn id(number: u8) -> Bytes {
    Bytes::from(vec![number; 16])
}

/// Ann sends a file's only chunk; its hash.
async fn put(service: &FilesService, number: u8) -> Result<Bytes, Status> {
    let asked = PutRequest {
        user_id: ANN,
        session_id: session_of(ANN),
        min_index: 0,
        file_id: id(number),
        number: 0,
        data: Bytes::from(vec![number; 100]),
    };
    Ok(service.put(Request::new(asked)).await?.into_inner().hash)
}

async fn commit_and_delete(node: &Node, number: u8, hash: Bytes) {
    let received_ms = node.store().read().applied().log_time_ms;
    let commit = rpc::CommitFile {
        file_id: id(number),
        name: "a.bin".to_owned(),
        media_type: "application/octet-stream".to_owned(),
        size: 100,
        chunks: hash,
        receipts: vec![rpc::ChunkReceipts { replica_id: 1, held: Bytes::from_static(&[1]) }],
        received_ms,
        ..rpc::CommitFile::default()
    };
    act(node, ANN, Action::CommitFile(commit)).await;
    act(node, ANN, Action::DeleteFile(rpc::DeleteFile { file_id: id(number) })).await;
}

/// Files that were committed and deleted before anybody looked counted as uploads for 12 h: after 32 of them a user could send
/// nothing more.
#[tokio::test(flavor = "multi_thread")]
async fn files_that_are_deleted_at_once_leave_room_for_the_next() {
    let dir = tempfile::tempdir().expect("a folder");
    let node = alone(dir.path()).await;
    let open = || {
        let own = Identity::new("files", 1).expect("ASCII");
        FilesService::new(Files::open(Arc::clone(&node), dir.path(), own).expect("opens"))
    };
    let service = open();
    let user = rpc::CreateUser {
        name: "ann".to_owned(),
        display_name: "Ann".to_owned(),
        password_phc: "$argon2id$".to_owned(),
    };
    act(&node, 0, Action::CreateUser(user)).await;
    let session = rpc::CreateSession {
        user_id: ANN,
        session_id: session_of(ANN),
        refresh_hash: Bytes::from_static(&[1; 32]),
        ..rpc::CreateSession::default()
    };
    act(&node, 0, Action::CreateSession(session)).await;

    let max = u8::try_from(UPLOADS_PER_USER_MAX).expect("few");
    for number in 1..=max + 1 {
        let hash = put(&service, number).await.expect("nothing is under way");
        commit_and_delete(&node, number, hash).await;
    }

    // What is not committed is bounded as ever, also after a start.
    let first = put(&service, 101).await.expect("nothing is under way");
    for number in 102..=100 + max {
        put(&service, number).await.expect("there is room");
    }
    let refused = put(&service, 200).await.expect_err("as many as there may be are under way");
    assert_eq!(refused.code(), Code::OutOfRange, "{refused}");
    commit_and_delete(&node, 101, first).await;
    drop(service);
    let service = open();
    put(&service, 200).await.expect("one was committed");
    let refused = put(&service, 201).await.expect_err("as many as there may be are under way");
    assert_eq!(refused.code(), Code::OutOfRange, "{refused}");
    drop(service);
    node.stop().await.expect("stops");
}
