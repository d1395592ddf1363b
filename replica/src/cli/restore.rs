//! `replica restore`: the data directory of one replica of a new cluster, from a backup.

use std::path::PathBuf;

use clap::Args;
use quorate_replica::config::{Flags, Settings};
use quorate_replica::restore::restore;

use super::{Failed, hex};

/// Run it once for each replica under [[replicas]], always with the same file, then start them all as usual. The new
/// cluster id must differ from the backup's: clients then fetch everything anew.
#[derive(Debug, Args)]
pub(super) struct Restore {
    /// The backup
    #[arg(long)]
    from: PathBuf,
    /// As for `replica run`: --config, --cluster, --id, --data-dir, …
    #[command(flatten)]
    flags: Flags,
}

impl Restore {
    /// Does it.
    pub(super) fn run(self) -> Result<(), Failed> {
        let settings = Settings::load(&self.flags).map_err(Failed::Usage)?;
        let restored = restore(&self.from, &settings).map_err(Failed::Usage)?;
        println!(
            "restored cluster {} at index {}, hash {}, as replica {} of cluster {} in {}",
            restored.from_cluster,
            restored.index,
            hex(&restored.hash),
            settings.id,
            settings.cluster,
            settings.data_dir.display()
        );
        print!("{}", restored.report);
        println!("all sign-ins are ended; signing keys are made anew by the first leader");
        Ok(())
    }
}
