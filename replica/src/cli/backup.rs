//! `replica backup`: the whole state of a running cluster at one index, as a file.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use quorate_proto::rpc::backup_chunk::Part;
use quorate_proto::rpc::{BackupHeader, BackupRequest};
use quorate_replica::store::backup;
use quorate_replica::verify;

use super::operator::{Operator, Where};
use super::{Failed, hex};

/// Longest silence while a backup is made; building the snapshot is part of the first.
const CHUNK_WAIT: Duration = Duration::from_secs(310);
/// Bytes in one message: a chunk and its frame.
const MESSAGE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The file is whole when it has its name: written aside, read again from end to end, synced, renamed.
#[derive(Debug, Args)]
pub(super) struct Backup {
    /// The file to write, or a folder, where it is named by cluster, index and hash
    #[arg(long)]
    to: PathBuf,
    #[command(flatten)]
    place: Where,
}

impl Backup {
    /// Does it.
    pub(super) async fn run(self) -> Result<(), Failed> {
        let operator = Operator::new(&self.place)?;
        let mut missing = String::new();
        for contact in operator.contacts() {
            match self.fetch(&operator, contact).await {
                Ok(()) => return Ok(()),
                Err(Failed::Usage(line)) => return Err(Failed::Usage(line)),
                Err(Failed::Failed(line)) => missing = format!("{contact}: {line}"),
            }
        }
        Err(Failed::Failed(format!("no replica gave a backup: {missing}")))
    }

    async fn fetch(&self, operator: &Operator, contact: &str) -> Result<(), Failed> {
        let client = operator.client(contact).map_err(Failed::Usage)?;
        let mut client = client.max_decoding_message_size(MESSAGE_BYTES_MAX);
        let silent = |_| Failed::Failed("no answer".to_owned());
        let said = |status: tonic::Status| Failed::Failed(status.message().to_owned());
        let asked = tokio::time::timeout(CHUNK_WAIT, client.backup(BackupRequest {})).await;
        let mut chunks = asked.map_err(silent)?.map_err(said)?.into_inner();
        let mut next = async || -> Result<Option<Part>, Failed> {
            let chunk =
                tokio::time::timeout(CHUNK_WAIT, chunks.message()).await.map_err(silent)?.map_err(said)?;
            Ok(chunk.and_then(|chunk| chunk.part))
        };
        let Some(Part::Header(header)) = next().await? else {
            return Err(Failed::Failed("the backup does not begin with its header".to_owned()));
        };
        let path = file_name(&self.to, &header);
        let aside = path.with_extension("partial");
        let cannot =
            |error: std::io::Error| Failed::Usage(format!("cannot write {}: {error}", aside.display()));
        let mut file = File::create(&aside).map_err(cannot)?;
        let mut received = 0_u64;
        while let Some(part) = next().await? {
            let Part::Data(data) = part else {
                return Err(Failed::Failed("the backup has two headers".to_owned()));
            };
            received += data.len() as u64;
            file.write_all(&data).map_err(cannot)?;
        }
        if received != header.bytes_total {
            let line = format!("the backup ended after {received} of {} bytes", header.bytes_total);
            return Err(Failed::Failed(line));
        }
        file.sync_all().map_err(cannot)?;
        let report = backup::pairs(&aside).and_then(verify::check);
        let report =
            report.map_err(|error| Failed::Failed(format!("the backup does not read back: {error}")))?;
        if !report.is_whole() {
            return Err(Failed::Failed(format!("the state contradicts itself:\n{report}")));
        }
        fs::rename(&aside, &path).map_err(cannot)?;
        if let Some(dir) = path.parent() {
            let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
            File::open(dir).and_then(|dir| dir.sync_all()).map_err(cannot)?;
        }
        let id = header.log_id.unwrap_or_default();
        println!(
            "wrote {}: index {}, term {}, hash {}",
            path.display(),
            id.index,
            id.term,
            hex(&header.hash)
        );
        print!("{report}");
        Ok(())
    }
}

/// The file, or a name in the folder that says of what it is.
fn file_name(to: &Path, header: &BackupHeader) -> PathBuf {
    if !to.is_dir() {
        return to.to_owned();
    }
    let index = header.log_id.unwrap_or_default().index;
    let hash = hex(&header.hash);
    to.join(format!("{}-{index}-{}.backup", header.cluster, hash.get(..16).unwrap_or(&hash)))
}
