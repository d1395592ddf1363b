//! What stands in the log's files: protobuf messages, each behind its length.

use std::io::{self, Read, Write};

use bytes::Bytes;
use prost::Message as _;
use quorate_proto::rpc;
use raft_log::codeq::{Decode, Encode};

use crate::node::types::{LogId, Vote, log_id_from_wire, log_id_to_wire, vote_from_wire, vote_to_wire};

/// Longest record believed when reading: far above any entry, far below what a damaged length could claim.
const RECORD_BYTES_MAX: usize = 8 * 1024 * 1024;

/// A protobuf message as a record: length, how far the log had been synced before, then bytes. The log adds the checksum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// All bytes of the log before this place were on disk when this record was written.
    pub synced_before: u64,
    pub(in crate::node) message: Bytes,
}

/// A log id as a record, ordered as Raft orders it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogIdRecord(pub(in crate::node) LogId);

/// A vote as a record.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd)]
pub struct VoteRecord(pub(in crate::node) Vote);

#[cfg(feature = "simulation")]
impl Record {
    pub(crate) fn bytes(&self) -> usize {
        self.message.len()
    }
}

#[cfg(feature = "simulation")]
impl LogIdRecord {
    pub(crate) fn index(&self) -> u64 {
        self.0.index()
    }
}

fn encode_bytes<W: Write>(bytes: &[u8], writer: &mut W) -> io::Result<usize> {
    let length = u32::try_from(bytes.len()).map_err(|_| io::Error::other("a record is longer than 4 GiB"))?;
    writer.write_all(&length.to_be_bytes())?;
    writer.write_all(bytes)?;
    Ok(4 + bytes.len())
}

fn decode_bytes<R: Read>(reader: &mut R) -> io::Result<Bytes> {
    let mut head = [0; 4];
    reader.read_exact(&mut head)?;
    let length = u32::from_be_bytes(head) as usize;
    if length > RECORD_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a record's length cannot be true"));
    }
    let mut content = vec![0; length];
    reader.read_exact(&mut content)?;
    Ok(Bytes::from(content))
}

pub(super) fn invalid(error: impl std::error::Error + Send + Sync + 'static) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

impl Encode for Record {
    fn encode<W: Write>(&self, mut writer: W) -> io::Result<usize> {
        writer.write_all(&self.synced_before.to_be_bytes())?;
        Ok(8 + encode_bytes(&self.message, &mut writer)?)
    }
}

impl Decode for Record {
    fn decode<R: Read>(mut reader: R) -> io::Result<Self> {
        let mut synced_before = [0; 8];
        reader.read_exact(&mut synced_before)?;
        let synced_before = u64::from_be_bytes(synced_before);
        Ok(Self { synced_before, message: decode_bytes(&mut reader)? })
    }
}

impl Encode for LogIdRecord {
    fn encode<W: Write>(&self, mut writer: W) -> io::Result<usize> {
        encode_bytes(&log_id_to_wire(&self.0).encode_to_vec(), &mut writer)
    }
}

impl Decode for LogIdRecord {
    fn decode<R: Read>(mut reader: R) -> io::Result<Self> {
        let wire = rpc::LogId::decode(decode_bytes(&mut reader)?).map_err(invalid)?;
        Ok(Self(log_id_from_wire(&wire)))
    }
}

impl Encode for VoteRecord {
    fn encode<W: Write>(&self, mut writer: W) -> io::Result<usize> {
        encode_bytes(&vote_to_wire(&self.0).encode_to_vec(), &mut writer)
    }
}

impl Decode for VoteRecord {
    fn decode<R: Read>(mut reader: R) -> io::Result<Self> {
        let wire = rpc::Vote::decode(decode_bytes(&mut reader)?).map_err(invalid)?;
        vote_from_wire(Some(wire)).map(Self).map_err(invalid)
    }
}
