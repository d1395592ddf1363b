//! Certificates between processes: who is refused and how, and a cluster that serves over them while they are replaced.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use quorate_cluster::tls::{Authority, Validity};
use quorate_cluster::{Balancer, Member, wait_until};
use quorate_proto::rpc::admin_client::AdminClient;
use quorate_proto::rpc::chat_client::ChatClient;
use quorate_proto::rpc::cluster_client::ClusterClient;
use quorate_proto::rpc::operator_client::OperatorClient;
use quorate_proto::rpc::raft_client::RaftClient;
use quorate_proto::rpc::{
    ClusterChangeRequest, KeysQuery, ReadRequest, RemoveRequest, StatusRequest, VoteRequest, read_request,
};
use quorate_tests::harness::{TestCluster, read};
use quorate_tests::scene::{
    Scene, WAIT, acks_since, caught_up, judge, leader, read_finals, set_the_scene, states_agree,
};
use quorate_tls::{Files, Role};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio_rustls::TlsConnector;
use tonic::Code;
use tonic::transport::Endpoint;

/// A second cluster beside would only make both slower.
static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

/// Certificates are replaced so often, until it disturbs nobody: a machine that stands still may cost the leader just then.
const REPLACED_MAX: usize = 3;
/// What a process says when it has new certificates.
const READ_AGAIN: &str = "certificates were read again";
/// A replica says something, or closes, within this.
const ANSWER_WAIT: Duration = Duration::from_secs(10);
/// What every HTTP/2 client says first, with empty settings: a server that accepts it answers with its own.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// How a replica took a caller.
#[derive(Debug, PartialEq, Eq)]
enum Taken {
    /// It speaks HTTP/2, and showed this certificate.
    In(Vec<u8>),
    /// It ended the connection; in words.
    Refused(String),
}

/// Connects as somebody who trusts the authority and shows `own`, whatever that is.
async fn call(address: SocketAddr, authority: &Authority, own: Option<&Files>) -> anyhow::Result<Taken> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(authority.ca_file())? {
        roots.add(certificate?)?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots);
    let mut config = match own {
        Some(files) => {
            let chain: Result<Vec<_>, _> = CertificateDer::pem_file_iter(&files.cert_file)?.collect();
            config.with_client_auth_cert(chain?, PrivateKeyDer::from_pem_file(&files.key_file)?)?
        }
        None => config.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    let exchange = async {
        let stream = TcpStream::connect(address).await?;
        let name = ServerName::try_from(Role::Replica.name()).map_err(std::io::Error::other)?;
        let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
        stream.write_all(PREFACE).await?;
        let mut answer = [0; 9];
        stream.read_exact(&mut answer).await?;
        let shown = stream.get_ref().1.peer_certificates().unwrap_or_default();
        std::io::Result::Ok(shown.first().map(|certificate| certificate.to_vec()).unwrap_or_default())
    };
    let answer = tokio::time::timeout(ANSWER_WAIT, exchange).await.context("neither in nor refused")?;
    Ok(answer.map_or_else(|error| Taken::Refused(error.to_string()), Taken::In))
}

async fn refused(
    address: SocketAddr,
    authority: &Authority,
    own: Option<&Files>,
    what: &str,
) -> anyhow::Result<()> {
    match call(address, authority, own).await? {
        Taken::Refused(how) => {
            println!("{what}: {how}");
            Ok(())
        }
        Taken::In(_) => bail!("{what} was let in"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn five_strangers_are_refused() -> anyhow::Result<()> {
    let _one = ONE_AT_A_TIME.lock().await;
    let test = TestCluster::start_with("strangers", |mut spec| {
        spec.tls = true;
        spec.replicas = Some(3);
        spec.gateways = 1;
        spec.balancer = Balancer::None;
        spec
    })
    .await?;
    let result = strangers(&test).await;
    test.finish(result).await
}

async fn strangers(test: &TestCluster) -> anyhow::Result<()> {
    let authority = test.cluster.authority()?.context("the cluster has certificates")?;
    let replica = test.cluster.replica_grpc(1)?;
    // The control: the same caller with a good certificate comes in.
    let good = authority.issue("good", &[Role::Operator.name()], Validity::usual())?;
    ensure!(matches!(call(replica, &authority, Some(&good)).await?, Taken::In(_)), "a good one was refused");

    refused(replica, &authority, None, "no certificate").await?;
    let old = Validity { from_year: 2019, to_year: 2020 };
    let expired = authority.issue("expired", &[Role::Replica.name()], old)?;
    refused(replica, &authority, Some(&expired), "expired").await?;
    let other = Authority::open(test.cluster.layout().tls().join("other"))?;
    let strange = other.issue("strange", &[Role::Replica.name()], Validity::usual())?;
    refused(replica, &authority, Some(&strange), "another authority's").await?;

    let plain = Endpoint::from_shared(format!("http://{replica}"))?.timeout(ANSWER_WAIT).connect_lazy();
    let answer = AdminClient::new(plain).status(test.call(StatusRequest::default())?).await;
    let refusal = answer.err().context("plaintext was answered")?;
    ensure!(refusal.code() != Code::PermissionDenied, "plaintext reached a service: {refusal:?}");

    wrong_roles(test).await
}

/// Each role calls what another one may.
async fn wrong_roles(test: &TestCluster) -> anyhow::Result<()> {
    let query = Some(read_request::Query::Keys(KeysQuery {}));
    for role in Role::ALL {
        let channel = test.channel(1, role)?;
        let keys = ReadRequest { query: query.clone(), ..ReadRequest::default() };
        let chat = ChatClient::new(channel.clone()).read(test.call(keys)?).await.err();
        let vote = test.call(VoteRequest::default())?;
        let raft = RaftClient::new(channel.clone()).vote(vote).await.err();
        let remove = test.call(RemoveRequest::default())?;
        let operator = OperatorClient::new(channel.clone()).remove(remove).await.err();
        let change = test.call(ClusterChangeRequest::default())?;
        let change = ClusterClient::new(channel.clone()).change(change).await.err();
        let status = AdminClient::new(channel).status(test.call(StatusRequest::default())?).await.err();
        let cases = [
            ("Chat.Read", chat, role == Role::Gateway),
            ("Raft.Vote", raft, role == Role::Replica),
            ("Operator.Remove", operator, role != Role::Gateway),
            ("Cluster.Change", change, role == Role::Gateway),
            ("Admin.Status", status, true),
        ];
        for (what, refusal, may) in cases {
            let denied = refusal.as_ref().is_some_and(|status| status.code() == Code::PermissionDenied);
            ensure!(denied != may, "{role} called {what}: {refusal:?}");
        }
    }
    for expected in ["refused a call", "gateway.quorate", "refused a connection"] {
        wait_until(&format!("the log to say {expected:?}"), ANSWER_WAIT, || async {
            let log = read(&test.cluster.log(&Member::Replica(1))).map_err(|error| error.to_string())?;
            if log.contains(expected) { Ok(()) } else { Err("it does not".to_owned()) }
        })
        .await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_over_tls_outlives_its_leader_and_its_certificates() -> anyhow::Result<()> {
    let _one = ONE_AT_A_TIME.lock().await;
    let test = TestCluster::start_with("tls", |mut spec| {
        spec.tls = true;
        spec
    })
    .await?;
    let result = over_tls(&test).await;
    test.finish(result).await
}

async fn over_tls(test: &TestCluster) -> anyhow::Result<()> {
    let scene = set_the_scene(test).await?;
    scene.talk().await;
    let began = test.recorder.now();
    acks_since(test, began, "in calm").await?;
    let mut tries = 1;
    while let Some(disturbed) = replace_certificates(test, &scene).await? {
        ensure!(
            tries < REPLACED_MAX,
            "each of {tries} times the write path was disturbed, at last: {disturbed}"
        );
        test.recorder.mark(format!("try {tries}: {disturbed}"));
        tries += 1;
    }
    let (victim, _) = leader(test).await?;
    test.cluster.kill(&Member::Replica(victim)).await?;
    let killed = test.recorder.mark(format!("killed the leader, {victim}"));
    acks_since(test, killed, "after the leader's end").await?;
    test.cluster.start_member(&Member::Replica(victim))?;
    caught_up(test, victim).await?;
    scene.settle().await?;
    let closes = test.recorder.history().closes.clone();
    ensure!(closes.is_empty(), "sockets closed: {closes:#?}");
    let (_, grants, rooms) = scene.leave().await?;
    let users: Vec<String> = grants.into_iter().map(|grant| grant.user.name).collect();
    read_finals(test, &users, &rooms, "at the end").await?;
    judge(test)?;
    states_agree(test).await
}

/// All processes get new certificates while everybody talks: connections live on, new ones show the new certificates. Says how the
/// write path was disturbed, if it was.
async fn replace_certificates(test: &TestCluster, scene: &Scene) -> anyhow::Result<Option<String>> {
    let pauses = |scene: &Scene| scene.people.iter().map(|person| person.tally().write_pauses).sum::<u64>();
    let before = (pauses(scene), leader(test).await?);
    let authority = test.cluster.authority()?.context("the cluster has certificates")?;
    let usual = Validity::usual();
    let mut members: Vec<Member> = test.cluster.replica_ids().into_iter().map(Member::Replica).collect();
    let replicas = members.clone();
    members.extend(test.cluster.gateways().into_iter().map(Member::Gateway));
    let readings =
        members.iter().map(|member| Ok(read(&test.cluster.log(member))?.matches(READ_AGAIN).count()));
    let readings: Vec<usize> = readings.collect::<anyhow::Result<_>>()?;
    for member in &replicas {
        authority.issue(&member.to_string(), &[Role::Replica.name()], usual)?;
    }
    authority.issue("gateway", &[Role::Gateway.name()], usual)?;
    let replaced = test.recorder.mark("replaced all certificates");
    for (member, before) in members.iter().zip(readings) {
        wait_until(&format!("{member} to read its certificate again"), WAIT, || async {
            let log = read(&test.cluster.log(member)).map_err(|error| error.to_string())?;
            let line = log.lines().last().unwrap_or_default().to_owned();
            if log.matches(READ_AGAIN).count() > before { Ok(()) } else { Err(line) }
        })
        .await?;
    }
    let operator = authority.files("operator", Role::Operator)?;
    for id in test.cluster.replica_ids() {
        let Taken::In(shown) = call(test.cluster.replica_grpc(id)?, &authority, Some(&operator)).await?
        else {
            bail!("replica {id} refuses an operator")
        };
        let new = CertificateDer::from_pem_file(authority.places(&format!("replica-{id}")).cert_file)?;
        ensure!(shown == new.to_vec(), "replica {id} still shows its old certificate");
    }
    acks_since(test, replaced, "with new certificates").await?;
    let after = (pauses(scene), leader(test).await?);
    let disturbed = format!("(pauses, (leader, term)) {before:?} became {after:?}");
    Ok((before != after).then_some(disturbed))
}
