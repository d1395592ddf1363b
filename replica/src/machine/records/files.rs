//! What belongs to files.

use bytes::Bytes;
use prost::Message;

/// A committed file. Its chunks are in records of their own, which do not change.
#[derive(Clone, PartialEq, Message)]
pub struct File {
    /// Who uploaded it, and in whose quota it counts.
    #[prost(uint64, tag = "1")]
    pub owner: u64,
    /// A plain name.
    #[prost(string, tag = "2")]
    pub name: String,
    /// By its content.
    #[prost(string, tag = "3")]
    pub media_type: String,
    /// Bytes.
    #[prost(uint64, tag = "4")]
    pub size: u64,
    /// Pixels; 0 where it is no image.
    #[prost(uint32, tag = "5")]
    pub width: u32,
    /// Pixels; 0 where it is no image.
    #[prost(uint32, tag = "6")]
    pub height: u32,
    /// BLAKE3 of the thumbnail; empty without one.
    #[prost(bytes = "bytes", tag = "7")]
    pub thumbnail: Bytes,
    /// Bytes of the thumbnail.
    #[prost(uint32, tag = "8")]
    pub thumbnail_size: u32,
    /// BLAKE3 over the hashes of the chunks.
    #[prost(bytes = "bytes", tag = "9")]
    pub hash: Bytes,
    /// Log time of the commit, ms.
    #[prost(uint64, tag = "10")]
    pub created_ms: u64,
    /// How many messages show it, and how many users and groups have it as their avatar.
    #[prost(uint64, tag = "11")]
    pub references: u64,
    /// Log time since when none does, ms; 0 while one does.
    #[prost(uint64, tag = "12")]
    pub unreferenced_ms: u64,
}

/// Some of a file's chunks.
#[derive(Clone, PartialEq, Message)]
pub struct FileChunks {
    /// BLAKE3 of each, 32 bytes, one after the other.
    #[prost(bytes = "bytes", tag = "1")]
    pub hashes: Bytes,
}

/// What a user's files take.
#[derive(Clone, PartialEq, Message)]
pub struct FileUse {
    /// Of their contents.
    #[prost(uint64, tag = "1")]
    pub bytes: u64,
    /// How many.
    #[prost(uint64, tag = "2")]
    pub files: u64,
}

/// One place in the queue of files that no message shows.
#[derive(Clone, PartialEq, Message)]
pub struct FileExpiry {
    /// Log time since when, ms.
    #[prost(uint64, tag = "1")]
    pub log_time_ms: u64,
    /// 16 bytes.
    #[prost(bytes = "bytes", tag = "2")]
    pub file_id: Bytes,
}
