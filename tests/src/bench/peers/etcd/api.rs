//! The few calls of etcd's gRPC interface that are needed, with the numbers of its published API; other fields are not read.

use std::time::Duration;

use anyhow::Context as _;
use prost::Message;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic_prost::ProstCodec;

/// Connecting on loopback.
const CONNECT_WAIT: Duration = Duration::from_secs(5);

/// `etcdserverpb.PutRequest`.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct PutRequest {
    /// The key.
    #[prost(bytes = "vec", tag = "1")]
    pub key: Vec<u8>,
    /// The value.
    #[prost(bytes = "vec", tag = "2")]
    pub value: Vec<u8>,
}

/// `etcdserverpb.PutResponse`, of which nothing is read.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct PutResponse {}

/// `etcdserverpb.StatusRequest`.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct StatusRequest {}

/// `etcdserverpb.ResponseHeader`.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct ResponseHeader {
    /// Who answers.
    #[prost(uint64, tag = "2")]
    pub member_id: u64,
}

/// `etcdserverpb.StatusResponse`.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct StatusResponse {
    /// Who answers.
    #[prost(message, optional, tag = "1")]
    pub header: Option<ResponseHeader>,
    /// Who leads; 0 when nobody does.
    #[prost(uint64, tag = "4")]
    pub leader: u64,
    /// The index of its log up to which it has applied.
    #[prost(uint64, tag = "7")]
    pub raft_applied_index: u64,
}

/// A channel to a member; connects when it is first used.
///
/// # Errors
/// When the address is none.
pub fn channel(to: std::net::SocketAddr) -> anyhow::Result<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{to}"))?;
    Ok(endpoint.connect_timeout(CONNECT_WAIT).tcp_nodelay(true).connect_lazy())
}

async fn call<Q, A>(channel: Channel, path: &'static str, question: Q) -> anyhow::Result<A>
where
    Q: Message + Send + Sync + 'static,
    A: Message + Default + Send + Sync + 'static,
{
    let mut grpc = Grpc::new(channel);
    grpc.ready().await.context("no connection")?;
    let codec = ProstCodec::<Q, A>::default();
    let answer = grpc.unary(tonic::Request::new(question), PathAndQuery::from_static(path), codec).await;
    Ok(answer.map_err(|status| anyhow::anyhow!("{:?}: {}", status.code(), status.message()))?.into_inner())
}

/// Writes one pair; it is on a majority of disks when this returns.
///
/// # Errors
/// When it is refused or nobody answers.
pub async fn put(channel: Channel, request: PutRequest) -> anyhow::Result<()> {
    call::<_, PutResponse>(channel, "/etcdserverpb.KV/Put", request).await.map(|_| ())
}

/// What a member says of itself.
///
/// # Errors
/// When it does not answer.
pub async fn status(channel: Channel) -> anyhow::Result<StatusResponse> {
    call(channel, "/etcdserverpb.Maintenance/Status", StatusRequest {}).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_put_has_the_bytes_of_the_published_api() {
        let put = PutRequest { key: b"k".to_vec(), value: b"vv".to_vec() };
        assert_eq!(put.encode_to_vec(), [0x0a, 1, b'k', 0x12, 2, b'v', b'v']);
    }

    #[test]
    fn a_status_is_read_among_fields_that_are_not() {
        // header {cluster_id 1, member_id 7, raft_term 3}, version "3", dbSize 9, leader 7, raftIndex 5, raftTerm 3, applied 4.
        let bytes =
            [0x0a, 6, 0x08, 1, 0x10, 7, 0x20, 3, 0x12, 1, b'3', 0x18, 9, 0x20, 7, 0x28, 5, 0x30, 3, 0x38, 4];
        let status = StatusResponse::decode(&bytes[..]).unwrap();
        assert_eq!(status.header.map(|header| header.member_id), Some(7));
        assert_eq!((status.leader, status.raft_applied_index), (7, 4));
    }
}
