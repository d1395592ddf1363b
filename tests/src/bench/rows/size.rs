//! What a history takes: memory of each that keeps it, and room on its disk.

use std::time::Duration;

use super::{PLAIN, Row};
use crate::bench::process::{folder_bytes, resident_bytes};
use crate::bench::record::{Figure, System};
use crate::bench::shape::fill;
use crate::bench::stage::{Stage, Subject};
use crate::bench::table::number;

/// Writers that fill it.
const FILLERS: usize = 256;
/// Bytes of a message.
const TEXT_BYTES: usize = 100;
/// The part of the messages that the peers are measured with.
const PART_ONE_IN: u64 = 10;
/// It is written down, indexed and, at Quorate, compacted when nothing has changed for two looks, or after so many.
const LOOKS_MAX: usize = 24;
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// See the module.
pub const ROW: Row = Row {
    name: "size",
    what: "whole memory of each of five processes, and disk for each message of 100 bytes; Quorate compacts (a snapshot each 32 MiB of log), peers as by default",
    is_alone: true,
    needs_hands: true,
    keys: &[("snapshot_log_bytes", 32 << 20)],
    runs_max: 1,
    run: |stage| Box::pin(run(stage)),
    ..PLAIN
};

/// Bytes on the disks of all.
fn disk(subject: &Subject) -> anyhow::Result<Vec<u64>> {
    subject.folders()?.iter().map(|folder| folder_bytes(folder)).collect()
}

/// The same once nothing changes any more, or after the last look.
async fn rest(subject: &Subject) -> anyhow::Result<Vec<u64>> {
    let mut last = disk(subject)?;
    for _ in 0..LOOKS_MAX {
        tokio::time::sleep(LOOK_EVERY).await;
        let now = disk(subject)?;
        if now == last {
            break;
        }
        last = now;
    }
    Ok(last)
}

async fn run(stage: Stage<'_>) -> anyhow::Result<Vec<Figure>> {
    let Stage { scale, subject } = stage;
    // Everybody keeps a part; who can be filled in the time that there is keeps all.
    let part = scale.messages / PART_ONE_IN;
    let counts = if subject.system() == System::Quorate { vec![part, scale.messages] } else { vec![part] };
    let before = disk(subject)?;
    let mut figures = Vec::new();
    let mut written = 0;
    for count in counts {
        fill(subject.writers(FILLERS, TEXT_BYTES).await?, count - written).await?;
        written = count;
        let at_rest = rest(subject).await?;
        let case = format!("{} messages", number(count as f64));
        for (bytes, before) in at_rest.iter().zip(&before) {
            let each = bytes.saturating_sub(*before) as f64 / count as f64;
            figures.push(Figure::less(&case, "disk, each message", "bytes", each));
        }
        for pid in subject.keepers()? {
            let memory = resident_bytes(pid)? as f64 / f64::from(1 << 20);
            figures.push(Figure::less(&case, "memory", "MiB", memory));
        }
    }
    Ok(figures)
}
