//! Backups: a snapshot file whose header also says which cluster it is of. Every snapshot reader reads it.
//!
//! Owns the label and how a file is given one. Protobuf makes the label an addition to the header: whoever does not know it
//! passes over it.

use std::fs::{self, File};
use std::io::{Read, Seek as _, SeekFrom};
use std::path::Path;

use bytes::Bytes;
use prost::Message as _;

use super::snapshot::{self, SnapshotFile};
use super::{Applied, StoreError};

/// What a backup's header says beside what every snapshot's says. Numbers are apart from those of [`Applied`].
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Label {
    /// The cluster it is of; empty in a snapshot that is no backup.
    #[prost(string, tag = "41")]
    pub cluster: String,
}

/// The header of a snapshot or backup. Its blocks are not read.
///
/// # Errors
/// When it is neither, or cannot be read.
pub fn header(path: &Path) -> Result<(Applied, Label), StoreError> {
    let (raw, _) = snapshot::raw_header(path)?;
    let damaged = |_| StoreError::damaged(&format!("snapshot {}: its header cannot be read", path.display()));
    Ok((Applied::decode(raw.clone()).map_err(damaged)?, Label::decode(raw).map_err(damaged)?))
}

/// Every stored pair of a snapshot or backup, as it is in the checkpoint: neighbours packed into runs, in order of keys. Each
/// block's checksum is verified when it is reached; a file that is not whole ends with an error.
///
/// # Errors
/// When the file cannot be opened.
pub fn pairs(
    path: &Path,
) -> Result<impl Iterator<Item = Result<(Bytes, Bytes), StoreError>> + use<>, StoreError> {
    let (applied, _) = header(path)?;
    snapshot::read_pairs(&SnapshotFile { path: path.to_owned(), applied })
}

/// A snapshot's bytes as a backup of a cluster: labelled header first, then the rest as it is.
///
/// # Errors
/// When the file cannot be read.
pub fn open_labelled(
    file: &SnapshotFile,
    cluster: &str,
) -> Result<(u64, impl Read + Send + use<>), StoreError> {
    // Opened once: a newer snapshot may take its name away meanwhile, not its bytes.
    let mut rest = File::open(&file.path).map_err(StoreError::io("opening a snapshot"))?;
    let (raw, end) = snapshot::raw_header_of(&mut rest, &file.path)?;
    let mut labelled = raw.to_vec();
    labelled.extend(Label { cluster: cluster.to_owned() }.encode_to_vec());
    let begin = snapshot::encode_begin(&labelled);
    let length = rest.metadata().map_err(StoreError::io("opening a snapshot"))?.len();
    rest.seek(SeekFrom::Start(end)).map_err(StoreError::io("reading a snapshot"))?;
    let total = begin.len() as u64 + length.saturating_sub(end);
    Ok((total, std::io::Cursor::new(begin).chain(rest)))
}

/// Makes a data directory whose state begins with these pairs: its first start takes them as its snapshot.
///
/// # Errors
/// When the directory has something in it already, or cannot be written.
pub fn begin_with(
    data_dir: &Path,
    applied: &Applied,
    pairs: impl Iterator<Item = Result<(Bytes, Bytes), StoreError>>,
) -> Result<(), StoreError> {
    let snapshots = data_dir.join("snapshots");
    fs::create_dir_all(&snapshots).map_err(StoreError::io("creating the data directory"))?;
    snapshot::write(&snapshots, applied, pairs).map(|_| ())
}
