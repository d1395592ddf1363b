//! What a history takes: memory of each that keeps it, and room on its disk.

use std::time::Duration;

use super::{PLAIN, Row};
use crate::bench::process::{folder_bytes, resident_bytes};
use crate::bench::record::Figure;
use crate::bench::shape::fill;
use crate::bench::stage::{Stage, Subject};
use crate::bench::table::number;

/// Writers that fill it.
const FILLERS: usize = 256;
/// Bytes of a message.
const TEXT_BYTES: usize = 100;
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

async fn run(stage: Stage<'_>) -> anyhow::Result<Vec<Figure>> {
    let Stage { scale, subject } = stage;
    let before = disk(subject)?;
    fill(subject.writers(FILLERS, TEXT_BYTES).await?, scale.messages).await?;
    let mut last = disk(subject)?;
    for _ in 0..LOOKS_MAX {
        tokio::time::sleep(LOOK_EVERY).await;
        let now = disk(subject)?;
        if now == last {
            break;
        }
        last = now;
    }
    let case = format!("{} messages", number(scale.messages as f64));
    let mut figures = Vec::new();
    for (bytes, before) in last.iter().zip(before) {
        let each = bytes.saturating_sub(before) as f64 / scale.messages as f64;
        figures.push(Figure::less(&case, "disk, each message", "bytes", each));
    }
    for pid in subject.keepers()? {
        figures.push(Figure::less(&case, "memory", "MiB", resident_bytes(pid)? as f64 / f64::from(1 << 20)));
    }
    Ok(figures)
}
