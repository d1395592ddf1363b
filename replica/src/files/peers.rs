//! Chunks to and from the other replicas, over connections of their own: neither votes nor messages wait behind them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use quorate_proto::rpc::chunks_client::ChunksClient;
use quorate_proto::rpc::{FetchRequest, MissingRequest, StoreRequest};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tonic::Status;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;

use super::chunks::Hash;
use super::uploads::FileId;
use crate::node::{Identity, MESSAGE_BYTES_MAX};

/// Chunks on their way to one replica: one that is slow or gone holds up no more than these.
const STORES_AHEAD: usize = 8;
/// Longest time for one chunk to be kept elsewhere, the wait for its turn included.
const STORE_WAIT: Duration = Duration::from_secs(8);
/// Longest wait for a chunk of another replica's.
const FETCH_WAIT: Duration = Duration::from_secs(4);
/// Longest wait for another replica to look through all its chunks.
const MISSING_WAIT: Duration = Duration::from_secs(60);

type Client = ChunksClient<InterceptedService<Channel, Identity>>;

#[derive(Debug, Clone)]
struct Peer {
    address: String,
    channel: Channel,
    turns: Arc<Semaphore>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Peers {
    own: Identity,
    known: Mutex<BTreeMap<u64, Peer>>,
}

impl Peers {
    pub(super) fn new(own: Identity) -> Self {
        Self { own, known: Mutex::default() }
    }

    fn peer(&self, id: u64, address: &str) -> Result<(Client, Arc<Semaphore>), Status> {
        let mut known = self.known.lock().expect("no holder of this lock panics");
        let peer = match known.get(&id) {
            Some(peer) if peer.address == address => peer.clone(),
            _ => {
                let channel =
                    self.own.channel(address).map_err(|error| Status::unavailable(error.to_string()))?;
                let turns = Arc::new(Semaphore::new(STORES_AHEAD));
                let peer = Peer { address: address.to_owned(), channel, turns };
                known.insert(id, peer.clone());
                peer
            }
        };
        let client = ChunksClient::with_interceptor(peer.channel, self.own.to(id))
            .max_decoding_message_size(MESSAGE_BYTES_MAX);
        Ok((client, peer.turns))
    }

    /// Lets another replica keep a part of an upload.
    #[allow(clippy::too_many_arguments, reason = "what a part is, and where it goes")]
    pub(super) async fn store(
        &self,
        peer: u64,
        address: &str,
        user_id: u64,
        id: FileId,
        number: u32,
        hash: Hash,
        data: Bytes,
    ) -> Result<(), Status> {
        let (mut client, turns) = self.peer(peer, address)?;
        let request = StoreRequest {
            user_id,
            file_id: Bytes::copy_from_slice(&id),
            number,
            hash: Bytes::copy_from_slice(&hash),
            data,
        };
        let stored = async {
            let _turn = turns.acquire().await.map_err(|_| Status::unavailable("this replica stops"))?;
            client.store(request).await.map(drop)
        };
        timeout(STORE_WAIT, stored).await.map_err(|_| Status::unavailable("it took too long"))?
    }

    /// A chunk of another replica's, if it answers and has it.
    pub(super) async fn fetch(&self, peer: u64, address: &str, hash: Hash) -> Option<Bytes> {
        let (mut client, _) = self.peer(peer, address).ok()?;
        let request = FetchRequest { hash: Bytes::copy_from_slice(&hash) };
        Some(timeout(FETCH_WAIT, client.fetch(request)).await.ok()?.ok()?.into_inner().data)
    }

    /// How many chunks another replica lacks at an index.
    pub(super) async fn missing(&self, peer: u64, address: &str, min_index: u64) -> Result<u64, Status> {
        let (mut client, _) = self.peer(peer, address)?;
        let asked = timeout(MISSING_WAIT, client.missing(MissingRequest { min_index }));
        let answer = asked.await.map_err(|_| Status::unavailable("it took too long"))??;
        Ok(answer.into_inner().chunks)
    }
}
