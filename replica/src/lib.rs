//! A replica of Quorate: one of (usually five) processes that agree on everything said.
//!
//! ```text
//!   gateways ──▶ service ──▶ node (consensus) ──▶ machine (pure) ──▶ store ──▶ log and checkpoint on disk
//!                   ▲                                  │
//!                   └───────────── feed ◀──────────────┘ events
//! ```

mod cell;
pub mod config;
mod failure;
pub mod feed;
pub mod files;
mod formation;
#[cfg(feature = "simulation")]
pub use formation::run as form_cluster;
pub mod identity;
pub mod machine;
pub mod metrics;
pub mod node;
pub mod planted;
mod removal;
pub mod restore;
pub mod search;
pub mod service;
pub mod signals;
#[cfg(feature = "simulation")]
pub mod simulation;
pub mod store;
mod trace;
pub mod verify;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use quorate_proto::rpc::admin_server::AdminServer;
use quorate_proto::rpc::chat_server::ChatServer;
use quorate_proto::rpc::chunks_server::ChunksServer;
use quorate_proto::rpc::cluster_server::ClusterServer;
use quorate_proto::rpc::files_server::FilesServer;
use quorate_proto::rpc::operator_server::OperatorServer;
use quorate_proto::rpc::raft_server::RaftServer;
use quorate_proto::rpc::relay_server::RelayServer;
use quorate_tls::Role;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Server;

use config::Settings;
use files::{ChunksService, Files, FilesService};
use metrics::Metrics;
use node::{Ending, Identity, MESSAGE_BYTES_MAX, Node};
use search::Search;
use service::admin::AdminService;
use service::chat::ChatService;
use service::cluster::ClusterService;
use service::operator::OperatorService;
use service::token::Signer;
use service::{ClusterGuard, http};
use signals::relay::{self, RelayService};
use store::Store;

/// How long open streams may take to end when the replica stops.
const STOP_WAIT: Duration = Duration::from_millis(500);

/// Why a replica ended.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Something the operator can mend; one line.
    #[error("{0}")]
    Usage(String),
    /// The replica failed.
    #[error("{0}")]
    Failed(String),
}

async fn bind(address: SocketAddr, what: &str) -> Result<TcpListener, RunError> {
    TcpListener::bind(address).await.map_err(|error| {
        RunError::Usage(format!(
            "cannot listen on {address} for {what}: {error}. Is another process using the port?"
        ))
    })
}

/// Runs a replica until `stop`, or until it fails.
///
/// # Errors
/// [`RunError::Usage`] for what the operator can mend, [`RunError::Failed`] when consensus or storage stopped.
pub async fn run(settings: Settings, stop: CancellationToken) -> Result<(), RunError> {
    let _lock =
        identity::claim(&settings.data_dir, &settings.cluster, settings.id).map_err(RunError::Usage)?;
    let signer = Signer::new(&settings.cluster, &settings.cluster_secret_file, settings.key_times);
    let signer = Arc::new(signer.map_err(RunError::Usage)?);
    let grpc = bind(settings.listen, "gRPC").await?;
    let plain = match settings.http_listen {
        Some(address) => Some(bind(address, "HTTP").await?),
        None => None,
    };
    let node = Node::start(&settings, Metrics::default()).await;
    let node = Arc::new(node.map_err(|error| RunError::Usage(error.to_string()))?);
    tracing::info!(id = settings.id, cluster = settings.cluster, listen = %settings.listen, "replica started");

    let own = Identity::new(&settings.cluster, settings.id)
        .map_err(|_| RunError::Usage("the cluster id must be printable ASCII".to_owned()))?
        .with(settings.tls.clone());
    let files = Files::open(node.clone(), &settings.data_dir, own.clone()).map_err(|error| {
        RunError::Usage(format!("cannot open {}: {error}", settings.data_dir.join("files").display()))
    })?;
    let search = Search::new(node.store().clone(), &settings.cluster, node.metrics().clone());
    let searching = CancellationToken::new();
    let indexing = tokio::spawn(search.clone().run(
        settings.data_dir.clone(),
        node.publisher().clone(),
        searching.clone(),
    ));
    let serving = CancellationToken::new();
    if let Some(listener) = plain {
        tokio::spawn(http::serve(listener, node.clone(), serving.clone()));
    }
    let services = Services { node: node.clone(), signer: signer.clone(), files: files.clone(), search };
    let server = tokio::spawn(serve_grpc(grpc, services, settings.clone(), serving.clone()));
    let repair = tokio::spawn(Files::look_after(Arc::downgrade(&files)));
    let certificates = settings.tls.clone();
    let certificates = tokio::spawn(async move {
        if let Some(certificates) = certificates {
            certificates.keep_current().await;
        }
    });
    let formation = tokio::spawn(formation::run(node.clone(), settings.clone(), own.clone()));
    let finishing = tokio::spawn({
        let node = node.clone();
        async move { node.finish_changes().await }
    });
    let roomy = tokio::spawn({
        let node = node.clone();
        async move { node.leave_low_disk().await }
    });
    let keys = tokio::spawn(signer.keep_keys(node.clone()));
    let leases = tokio::spawn(node.signals().clone().keep());
    let relaying = tokio::spawn(relay::run(Arc::downgrade(&node), own.clone()));
    let telling = tokio::spawn(relay::tell_kept(Arc::downgrade(&node)));
    node.watch_peers(&settings).map_err(|error| RunError::Usage(error.to_string()))?;

    let result = tokio::select! {
        () = stop.cancelled() => Ok(()),
        ending = node.failed() => Err(match ending {
            Ending::Refused(line) => RunError::Usage(line),
            Ending::Failed(reason) => RunError::Failed(format!("this replica stops: {reason}")),
        }),
        line = removal::noticed(&node, &settings, &own) => Err(RunError::Usage(line)),
    };
    formation.abort();
    finishing.abort();
    roomy.abort();
    keys.abort();
    leases.abort();
    relaying.abort();
    telling.abort();
    certificates.abort();
    searching.cancel();
    repair.abort();
    drop(files);
    if matches!(result, Err(RunError::Failed(_))) {
        let _ = tokio::time::timeout(STOP_WAIT, indexing).await;
        return leave_disk_alone(node, result);
    }
    // Leadership moves while peers can still be answered; then the doors close.
    let stopped = node.stop().await.map_err(|error| RunError::Failed(error.to_string()));
    if stopped.is_err() {
        return leave_disk_alone(node, result.and(stopped));
    }
    serving.cancel();
    if tokio::time::timeout(STOP_WAIT, server).await.is_err() {
        tracing::debug!("open streams were cut");
    }
    // What it has not committed is read from the state by the next start.
    if tokio::time::timeout(STOP_WAIT, indexing).await.is_err() {
        tracing::debug!("the search index was left as it was");
    }
    tracing::info!(id = settings.id, "replica stopped");
    result.and(stopped)
}

/// Ends as a kill would. What failed is not synced again: that would prove nothing, a sync that fails loses what it covered
/// and the next one succeeds without it. sled syncs when it is dropped, and panics where that fails; so it is not dropped.
fn leave_disk_alone(node: Arc<Node>, result: Result<(), RunError>) -> Result<(), RunError> {
    std::mem::forget(node);
    result
}

/// What is served.
struct Services {
    node: Arc<Node>,
    signer: Arc<Signer>,
    files: Arc<Files>,
    search: Search<Store>,
}

async fn serve_grpc(listener: TcpListener, services: Services, settings: Settings, stop: CancellationToken) {
    let Services { node, signer, files, search } = services;
    let guard = ClusterGuard::new(&settings.cluster);
    let peers = RaftServer::new(node.peer_service())
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX);
    let signals = RelayServer::new(RelayService::new(&node))
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX);
    let chat = ChatService::new(node.clone(), signer).searching(search);
    let chat = ChatServer::new(chat.exporting_direct(settings.export_direct))
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX);
    let admin = AdminServer::new(AdminService::new(node.clone(), &settings));
    let cluster = ClusterServer::new(ClusterService::new(node.clone(), Some(files.clone())));
    let operator = OperatorService::new(node, &settings.cluster).with_files(files.clone());
    let operator = OperatorServer::new(operator);
    let uploads = FilesServer::new(FilesService::new(files.clone()))
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX);
    let chunks = ChunksServer::new(ChunksService::new(files))
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX);
    let incoming = quorate_tls::incoming(listener, settings.tls.clone());
    // Whoever may call the Raft service can already decide everything, so replicas pass where operators do.
    let for_replicas = guard.clone().of_replica(settings.id).for_roles(&[Role::Replica]);
    let for_gateways = guard.clone().for_roles(&[Role::Gateway]);
    let for_operators = guard.clone().for_roles(&[Role::Operator, Role::Replica]);
    let for_all = guard.for_roles(&Role::ALL);
    let served = Server::builder()
        .http2_keepalive_interval(Some(Duration::from_millis(500)))
        .http2_keepalive_timeout(Some(Duration::from_secs(2)))
        .initial_stream_window_size(4 * 1024 * 1024)
        .initial_connection_window_size(8 * 1024 * 1024)
        .add_service(InterceptedService::new(peers, for_replicas.clone()))
        .add_service(InterceptedService::new(signals, for_replicas.clone()))
        .add_service(InterceptedService::new(chunks, for_replicas))
        .add_service(InterceptedService::new(chat, for_gateways.clone()))
        .add_service(InterceptedService::new(uploads, for_gateways.clone()))
        // Not the operators' service: what a gateway may ask for is asked by a user, whom the replicated state knows as an admin.
        .add_service(InterceptedService::new(cluster, for_gateways))
        .add_service(InterceptedService::new(admin, for_all))
        .add_service(InterceptedService::new(operator, for_operators))
        .serve_with_incoming_shutdown(incoming, stop.cancelled_owned())
        .await;
    if let Err(error) = served {
        tracing::error!(%error, "gRPC stopped");
    }
}
