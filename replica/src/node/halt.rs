//! Why a replica must stop although consensus would go on, or in clearer words than consensus has.

use std::fmt::Display;
use std::sync::Arc;

use tokio::sync::watch;

/// The first reason counts. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Halt(Arc<watch::Sender<Option<String>>>);

impl Halt {
    /// The replica must stop.
    pub fn because(&self, reason: impl Display) {
        self.0.send_if_modified(|known| {
            let is_first = known.is_none();
            known.get_or_insert_with(|| reason.to_string());
            is_first
        });
    }

    /// Why, if it must.
    pub fn reason(&self) -> Option<String> {
        self.0.borrow().clone()
    }

    /// Completes when it must.
    pub async fn reached(&self) -> String {
        let mut told = self.0.subscribe();
        loop {
            if let Some(reason) = told.borrow_and_update().clone() {
                return reason;
            }
            if told.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}
