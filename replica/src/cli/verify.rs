//! `replica verify`: reads everything there is and says whether it is whole. Changes nothing.

use std::path::{Path, PathBuf};

use clap::Args;
use quorate_replica::identity;
use quorate_replica::node::read_log;
use quorate_replica::store::{Applied, StoppedCheckpoint, Store, backup, sum};
use quorate_replica::verify::{Report, check};

use super::{Failed, hex};

/// Every checksum is verified, and what can be derived is counted again.
#[derive(Debug, Args)]
pub(super) struct Verify {
    /// A backup, a snapshot, or the data directory of a stopped replica
    path: PathBuf,
    /// Where the kernel says which boot this is; a checkpoint of another boot that was not closed is not believed
    #[arg(long, default_value = "/proc/sys/kernel/random/boot_id")]
    boot_id_file: PathBuf,
}

fn show(what: &str, applied: &Applied, report: &Report) {
    let id = applied.log_id.unwrap_or_default();
    println!("{what}: index {}, term {}, hash {}", id.index, id.term, hex(&applied.hash));
    print!("{report}");
}

/// The pairs must add up to what the state said of itself when it was written.
fn compare_sum(report: &mut Report, applied: &Applied, adds_up: sum::StateSum) -> Result<(), Failed> {
    let said = applied.sum().map_err(|error| Failed::Failed(error.to_string()))?;
    if said != adds_up {
        report.problem("the pairs do not add up to the sum in the header".to_owned());
    }
    Ok(())
}

fn file(path: &Path, what: &str) -> Result<bool, Failed> {
    let wrong = |error: &dyn std::fmt::Display| Failed::Failed(error.to_string());
    let (applied, label) = backup::header(path).map_err(|error| wrong(&error))?;
    let mut report = backup::pairs(path).and_then(check).map_err(|error| wrong(&error))?;
    let adds_up = backup::pairs(path).and_then(sum::of_stored_pairs).map_err(|error| wrong(&error))?;
    compare_sum(&mut report, &applied, adds_up)?;
    let of = if label.cluster.is_empty() { String::new() } else { format!(" of cluster {}", label.cluster) };
    show(&format!("{what}{of}"), &applied, &report);
    Ok(report.is_whole())
}

impl Verify {
    /// Does it.
    pub(super) fn run(self) -> Result<(), Failed> {
        if !self.path.exists() {
            return Err(Failed::Usage(format!("{} does not exist", self.path.display())));
        }
        let whole = if self.path.is_dir() { self.directory()? } else { file(&self.path, "snapshot")? };
        if whole { Ok(()) } else { Err(Failed::Failed(format!("{} is not whole", self.path.display()))) }
    }

    fn directory(&self) -> Result<bool, Failed> {
        let (_lock, owner) = identity::look(&self.path).map_err(Failed::Usage)?;
        println!("{owner}");
        let mut whole = true;
        let log = read_log(&self.path.join("log")).map_err(Failed::Failed)?;
        println!(
            "log: {} entries in {} segments, last index {}, term {}{}",
            log.entries,
            log.segments,
            log.last_index,
            log.term,
            if log.torn_tail { "; the last record is torn: the next start cuts it off" } else { "" }
        );
        for line in &log.problems {
            println!("  WRONG: {line}");
        }
        whole &= log.problems.is_empty();
        let wrong = |error: &dyn std::fmt::Display| Failed::Failed(error.to_string());
        match Store::snapshot_of(&self.path).map_err(|error| wrong(&error))? {
            Some(snapshot) => whole &= file(&snapshot.path, "snapshot")?,
            None => println!("snapshot: none yet"),
        }
        match StoppedCheckpoint::open(&self.path, &self.boot_id_file).map_err(|error| wrong(&error))? {
            Some(checkpoint) => {
                let applied = checkpoint.applied().map_err(|error| wrong(&error))?;
                let mut report = check(checkpoint.pairs()).map_err(|error| wrong(&error))?;
                let adds_up = sum::of_stored_pairs(checkpoint.pairs()).map_err(|error| wrong(&error))?;
                compare_sum(&mut report, &applied, adds_up)?;
                show("checkpoint", &applied, &report);
                whole &= report.is_whole();
            }
            None => {
                println!("checkpoint: none to be believed; the next start rebuilds it from snapshot and log")
            }
        }
        Ok(whole)
    }
}
