//! What people, strangers and broken programs get: the answers that `protocol.md` and the house rules name, from the
//! real binaries. The gateway's own tests have every frame; here are the replica, the runner, and the way through the
//! balancer.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use quorate_cluster::{Binaries, Member, PortRange};
use quorate_proto::CLUSTER_METADATA;
use quorate_proto::frame::{Body, Request};
use quorate_proto::limits::FRAME_BYTES_MAX;
use quorate_proto::rpc::admin_client::AdminClient;
use quorate_proto::rpc::chat_client::ChatClient;
use quorate_proto::rpc::raft_client::RaftClient;
use quorate_proto::rpc::{KeysQuery, ReadRequest, StatusRequest, VoteRequest, read_request};
use quorate_tests::client::rest;
use quorate_tests::client::{Farewell, Received, Socket};
use quorate_tests::harness::TestCluster;
use tempfile::TempDir;
use tokio_tungstenite::tungstenite::Message;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request as Call};

/// A program that refuses does so at once; two busy cores are slow.
const REFUSAL_WAIT: Duration = Duration::from_secs(20);
/// Any answer of a served cluster.
const ANSWER_WAIT: Duration = Duration::from_secs(15);
/// A replica that is started again.
const START_WAIT: Duration = Duration::from_secs(60);

/// Runs a program that must refuse: exit code 2 and one line on stderr, which is returned.
fn refusal(program: &Path, arguments: &[&str]) -> anyhow::Result<String> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let begun = Instant::now();
    while child.try_wait()?.is_none() {
        if begun.elapsed() > REFUSAL_WAIT {
            child.kill()?;
            child.wait()?;
            bail!("{arguments:?} was not refused within {REFUSAL_WAIT:?}");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let output = child.wait_with_output()?;
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.code() == Some(2), "{arguments:?} ended with {}: {errors}", output.status);
    // Lines of the log begin with a time; what is meant for the person does not.
    let said: Vec<&str> = errors.lines().filter(|line| !line.starts_with("20")).collect();
    ensure!(said.len() == 1, "{arguments:?} said not one line but {said:#?}");
    Ok(said[0].to_owned())
}

fn expect(line: &str, words: &[&str]) -> anyhow::Result<()> {
    for word in words {
        ensure!(line.contains(word), "{line:?} does not say {word:?}");
    }
    Ok(())
}

/// A configuration for one replica in a folder of its own.
struct Folder {
    dir: TempDir,
}

impl Folder {
    fn new() -> anyhow::Result<Self> {
        let folder = Self { dir: tempfile::tempdir()? };
        fs::write(folder.path("secret"), [7u8; 32])?;
        Ok(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// Writes a configuration and answers the arguments that use it.
    fn config(&self, more: &str, replicas: &str) -> anyhow::Result<[String; 5]> {
        let secret = self.text("secret");
        let data = self.text("data");
        let text = format!(
            "cluster = \"c\"\ncluster_secret_file = \"{secret}\"\ndata_dir = \"{data}\"\n{more}\n{replicas}\n"
        );
        fs::write(self.path("replica.toml"), text)?;
        Ok(["run".into(), "--config".into(), self.text("replica.toml"), "--id".into(), "1".into()])
    }
}

const ONE: &str = "[[replicas]]\nid = 1\naddress = \"127.0.0.1:1\"";

#[test]
fn a_replica_says_a_users_mistake_in_one_line_with_exit_code_2() -> anyhow::Result<()> {
    let replica = Binaries::beside_this_program()?.replica;
    let folder = Folder::new()?;
    let refused = |more: &str, replicas: &str| -> anyhow::Result<String> {
        let arguments = folder.config(more, replicas)?;
        refusal(&replica, &arguments.each_ref().map(String::as_str))
    };

    expect(&refusal(&replica, &["run", "--colour"])?, &["--colour"])?;
    expect(&refusal(&replica, &["dance"])?, &["dance"])?;
    let missing = folder.text("missing.toml");
    expect(&refusal(&replica, &["run", "--config", &missing, "--id", "1"])?, &[&missing])?;
    expect(&refused("colour = 1", ONE)?, &["colour", "replica.toml"])?;
    expect(&refused("cluster = \"d\"", ONE)?, &["replica.toml"])?;
    expect(&refused("", "[[replicas]]\nid = 2\naddress = \"127.0.0.1:1\"")?, &["replica 1", "[[replicas]]"])?;
    expect(&refused("", &format!("{ONE}\n{ONE}"))?, &["twice"])?;
    expect(
        &refused("election_timeout_min_ms = 600\nelection_timeout_max_ms = 300", ONE)?,
        &["election_timeout"],
    )?;
    expect(&refused("", "[[replicas]]\nid = 1\naddress = \"10.1.2.3:7101\"")?, &["10.1.2.3", "loopback"])?;
    fs::write(folder.path("secret"), "short")?;
    expect(&refused("", ONE)?, &["32"])?;
    Ok(())
}

#[test]
fn a_replica_names_the_port_that_is_taken() -> anyhow::Result<()> {
    let replica = Binaries::beside_this_program()?.replica;
    let folder = Folder::new()?;
    let taken = TcpListener::bind("127.0.0.1:0")?;
    let address = taken.local_addr()?.to_string();
    let arguments = folder.config("", &format!("[[replicas]]\nid = 1\naddress = \"{address}\""))?;
    expect(&refusal(&replica, &arguments.each_ref().map(String::as_str))?, &[&address])
}

#[test]
fn the_runner_says_a_users_mistake_in_one_line_with_exit_code_2() -> anyhow::Result<()> {
    let runner = Binaries::beside_this_program()?.replica.with_file_name("quorate-cluster");
    ensure!(runner.is_file(), "{} is not built", runner.display());
    let folder = Folder::new()?;
    let data = folder.text("cluster");
    expect(&refusal(&runner, &["up", "--colour"])?, &["--colour"])?;
    expect(&refusal(&runner, &["up", "--replicas", "0", "--data-dir", &data])?, &["--replicas"])?;
    expect(&refusal(&runner, &["up", "--port", "65535", "--data-dir", &data])?, &["--port"])?;
    expect(&refusal(&runner, &["down", "--data-dir", &data])?, &[&data, "deploy/up"])?;
    fs::write(folder.path("file"), "x")?;
    expect(&refusal(&runner, &["up", "--data-dir", &folder.text("file/data")])?, &["--data-dir"])?;
    // From a block that is free otherwise: the first port found taken is the one that is named.
    let block = PortRange::find()?;
    let _taken = TcpListener::bind(block.plan().balancer())?;
    let port = block.plan().balancer().port().to_string();
    let other = folder.text("other");
    expect(&refusal(&runner, &["up", "--port", &port, "--data-dir", &other])?, &[&port, "--port"])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_and_broken_clients_get_their_answer_and_the_cluster_serves_on() -> anyhow::Result<()> {
    let test = TestCluster::start_with("bad-input", |mut spec| {
        spec.replicas = Some(3);
        spec.gateways = 2;
        spec
    })
    .await?;
    let result = strangers(&test).await;
    test.finish(result).await
}

async fn strangers(test: &TestCluster) -> anyhow::Result<()> {
    let cluster = &test.cluster;
    let front = cluster.front();
    let origin = format!("http://{front}");
    let grant = rest::sign_up(front, "ana").await?;

    // Through the balancer, as browsers come.
    let ending = after_hello(front, &grant.access_token, Message::text("{\"type\":")).await?;
    expect_code(&ending, 4400).context("a malformed frame")?;
    let ending = first(front, Message::text(r#"{"type":"since","id":1,"pairs":[]}"#)).await?;
    expect_code(&ending, 4400).context("a frame before hello")?;
    let ending =
        after_hello(front, &grant.access_token, Message::text("x".repeat(FRAME_BYTES_MAX + 1))).await?;
    ensure!(matches!(ending.code, Some(1009 | 4413)), "an oversize frame: {ending:?}");
    for (what, token) in bad_tokens(&grant.access_token) {
        let hello = serde_json::json!({ "type": "hello", "id": 1, "token": token }).to_string();
        expect_code(&first(front, Message::text(hello)).await?, 4401).context(what)?;
    }
    for foreign in ["https://evil.example", "null", &format!("{origin}.evil.example"), &format!("{origin}0")]
    {
        let refused = Socket::open(front, Some(foreign)).await.err().map(|error| format!("{error:#}"));
        let refused = refused.with_context(|| format!("{foreign} was let in"))?;
        ensure!(refused.contains("403"), "{foreign}: {refused}");
    }
    let mut unknown = Socket::open(front, Some(&origin)).await?;
    unknown.hello(&grant.access_token, None).await?;
    unknown.raw(Message::text(r#"{"type":"dance","id":7}"#)).await?;
    let answer = tokio::time::timeout(ANSWER_WAIT, unknown.answer(7)).await??;
    ensure!(matches!(&answer, Body::Error { error } if error.code.word() == "unsupported"), "{answer:?}");

    // gRPC from another cluster, or from nobody's.
    for id in 1..=cluster.replicas() {
        for stranger in [Some("another-cluster"), None] {
            refused_by(cluster.plan().replica_grpc(id), stranger).await?;
        }
    }

    // All that left no mark: the same socket still works, and so does the cluster.
    let id = unknown.request(Request::Since { pairs: Vec::new(), limit: 0 }).await?;
    let answer = tokio::time::timeout(ANSWER_WAIT, unknown.answer(id)).await??;
    ensure!(matches!(answer, Body::Since { .. }), "{answer:?}");
    rest::sign_up(front, "ben").await?;

    wrong_data_directories(test).await
}

/// A replica whose directory belongs to another node or cluster, or is in use, does not start.
async fn wrong_data_directories(test: &TestCluster) -> anyhow::Result<()> {
    let cluster = &test.cluster;
    let replica = Binaries::beside_this_program()?.replica;
    let config = cluster.layout().config("replica.toml").display().to_string();
    let data = cluster.layout().replica(3).display().to_string();
    let spare = cluster.plan().spare(1).to_string();
    let arguments = [
        "run",
        "--config",
        &config,
        "--id",
        "3",
        "--data-dir",
        &data,
        "--listen",
        &spare,
        "--http-listen",
        &spare,
    ];
    expect(&refusal(&replica, &arguments)?, &[&data, "in use"])?;
    cluster.stop(&Member::Replica(3)).await?;
    expect(
        &refusal(&replica, &["run", "--config", &config, "--id", "2", "--data-dir", &data])?,
        &["replica 3"],
    )?;
    let other = ["run", "--config", &config, "--id", "3", "--data-dir", &data, "--cluster", "another"];
    expect(&refusal(&replica, &other)?, &["cluster"])?;
    cluster.start_member(&Member::Replica(3))?;
    cluster.wait_ready(&Member::Replica(3), START_WAIT).await.context("its own directory is still good")
}

/// Tokens that must not open anything: no token, one cut short, one with another signature, one signed by nobody.
fn bad_tokens(good: &str) -> Vec<(&'static str, String)> {
    let mut parts = good.split('.');
    let (head, claims, signature) = (
        parts.next().unwrap_or_default(),
        parts.next().unwrap_or_default(),
        parts.next().unwrap_or_default(),
    );
    let turned: String = signature.chars().rev().collect();
    // {"alg":"none","typ":"JWT"}
    let none = "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0";
    vec![
        ("an empty token", String::new()),
        ("no token at all", "let me in".to_owned()),
        ("a token cut short", format!("{head}.{claims}")),
        ("a token with another signature", format!("{head}.{claims}.{turned}")),
        ("a token that claims to need no signature", format!("{none}.{claims}.")),
    ]
}

/// Opens a socket, says one thing and waits for the end.
async fn first(front: SocketAddr, message: Message) -> anyhow::Result<Farewell> {
    let mut socket = Socket::open(front, None).await?;
    socket.raw(message).await?;
    ending(socket).await
}

/// The same after a proper hello.
async fn after_hello(front: SocketAddr, token: &str, message: Message) -> anyhow::Result<Farewell> {
    let mut socket = Socket::open(front, None).await?;
    socket.hello(token, None).await?;
    // The server may close while a large frame is still on its way.
    let _ = socket.raw(message).await;
    ending(socket).await
}

/// How the socket ended. A `bye` says the code as well, for those whose proxy eats close codes.
async fn ending(mut socket: Socket) -> anyhow::Result<Farewell> {
    let wait = async {
        let mut said = None;
        loop {
            match socket.next().await {
                Received::Frame(frame) => {
                    if let Body::Bye { code, reason, .. } = frame.body {
                        said = Some(Farewell { code: Some(code), reason });
                    }
                }
                Received::Closed(closed) => {
                    if let Some(said) = said {
                        ensure!(
                            closed.code.is_none() || closed.code == said.code,
                            "bye {said:?} but closed {closed:?}"
                        );
                        return Ok(said);
                    }
                    return Ok(closed);
                }
            }
        }
    };
    tokio::time::timeout(ANSWER_WAIT, wait).await.context("the socket stayed open")?
}

fn expect_code(ending: &Farewell, code: u16) -> anyhow::Result<()> {
    ensure!(ending.code == Some(code), "closed with {ending:?} instead of {code}");
    ensure!(!ending.reason.is_empty(), "closed without a reason");
    Ok(())
}

/// Every service refuses a caller of another cluster with FAILED_PRECONDITION.
async fn refused_by(replica: SocketAddr, stranger: Option<&'static str>) -> anyhow::Result<()> {
    let channel: Channel =
        Endpoint::from_shared(format!("http://{replica}"))?.timeout(ANSWER_WAIT).connect().await?;
    let read = ReadRequest { query: Some(read_request::Query::Keys(KeysQuery {})), ..ReadRequest::default() };
    let answers = [
        (
            "Admin.Status",
            AdminClient::new(channel.clone()).status(named(StatusRequest::default(), stranger)).await.err(),
        ),
        ("Chat.Read", ChatClient::new(channel.clone()).read(named(read, stranger)).await.err()),
        (
            "Raft.Vote",
            RaftClient::new(channel.clone()).vote(named(VoteRequest::default(), stranger)).await.err(),
        ),
    ];
    for (what, refusal) in answers {
        let refusal = refusal.with_context(|| format!("{what} answered {stranger:?}"))?;
        ensure!(refusal.code() == Code::FailedPrecondition, "{what} answered {stranger:?} with {refusal:?}");
    }
    Ok(())
}

fn named<T>(message: T, cluster: Option<&'static str>) -> Call<T> {
    let mut call = Call::new(message);
    if let Some(cluster) = cluster {
        call.metadata_mut()
            .insert(CLUSTER_METADATA, cluster.parse().expect("plain ASCII is a metadata value"));
    }
    call
}
