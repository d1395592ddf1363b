//! Files that are read again whenever they change, by one loop for every kind of certificate.

use std::path::Path;
use std::sync::Weak;
use std::time::{Duration, SystemTime};

use crate::credentials::TlsError;

/// How often the files are looked at. A certificate is replaced days before it ends, so seconds do not matter.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// When each file was last written.
pub(crate) type Stamp = Vec<Option<SystemTime>>;

/// When these were last written.
pub(crate) fn stamp(files: &[&Path]) -> Stamp {
    let written = |path: &&Path| std::fs::metadata(path).and_then(|data| data.modified()).ok();
    files.iter().map(written).collect()
}

/// Something made of files.
pub(crate) trait Reload: Send + Sync + 'static {
    /// Whether the files changed and what was made of them is in force now.
    fn look(&self) -> Result<bool, TlsError>;
}

/// Looks as long as somebody holds it. Files that are wrong are reported once and the old ones stay in force.
pub(crate) async fn keep_current<T: Reload>(shared: Weak<T>) {
    let mut looks = tokio::time::interval(LOOK_INTERVAL);
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut reported = None;
    loop {
        looks.tick().await;
        let Some(shared) = Weak::upgrade(&shared) else { return };
        let looked = tokio::task::spawn_blocking(move || shared.look());
        match looked.await {
            Ok(Ok(true)) => {
                tracing::info!("certificates were read again");
                reported = None;
            }
            Ok(Ok(false)) => reported = None,
            Ok(Err(error)) if reported.as_ref() != Some(&error) => {
                tracing::error!(%error, "the new certificates are not used, the old ones stay");
                reported = Some(error);
            }
            Ok(Err(_)) | Err(_) => {}
        }
    }
}
