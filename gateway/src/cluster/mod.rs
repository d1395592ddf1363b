//! The cluster as admins see and change it through this gateway.
//!
//! Owns whom it asks, for how long, and what the answers come to. Must not know HTTP. Who is an admin is decided by the replicas:
//! before anything is told by a read of theirs, before anything is changed by a command that they apply.
//!
//! ```text
//!  rest ── look ──▶ every replica: Admin.Status ──▶ view, films
//!       └─ change ─▶ the leader: Cluster.Change
//!  leader, hub ── first answer, first push ──▶ marks
//! ```

mod change;
mod films;
mod marks;
mod view;

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use quorate_proto::rpc::{StatusRequest, StatusResponse};

pub use change::change;
pub use films::failovers;
pub use marks::Marks;
pub use view::{Own, kind_of, view};

use crate::replicas::Replicas;

/// A replica that answers within this is there.
const ANSWER_WAIT: Duration = Duration::from_secs(1);
/// For the second question, to those that have just answered.
const HASH_WAIT: Duration = Duration::from_millis(500);

/// What one replica answered, or that it did not.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Its place in the list.
    pub at: usize,
    /// host:port.
    pub address: Arc<str>,
    /// Its id, if anybody has told it.
    pub id: Option<u64>,
    /// What it said of itself.
    pub status: Option<StatusResponse>,
    /// From the question to the answer.
    pub round_trip: Duration,
    /// When it was asked.
    pub asked: Instant,
}

/// Asks every replica how it is.
pub async fn answers(replicas: &Replicas) -> Vec<Answer> {
    ask(replicas, replicas.order(0), StatusRequest { hash_index: 0, details: true }).await
}

/// The same, and then asks for its hash at an index that all who answered have.
pub async fn look(replicas: &Replicas) -> Vec<Answer> {
    let mut answers = answers(replicas).await;
    let applied = || answers.iter().filter_map(|answer| Some(answer.status.as_ref()?.applied_index));
    let (Some(common), Some(newest)) = (applied().min(), applied().max()) else { return answers };
    if common == newest {
        return answers;
    }
    let places = answers.iter().filter(|answer| answer.status.is_some()).map(|answer| answer.at).collect();
    let again = ask(replicas, places, StatusRequest { hash_index: common, details: false });
    let again = tokio::time::timeout(HASH_WAIT, again).await.unwrap_or_default();
    for answer in &mut answers {
        let Some(status) = &mut answer.status else { continue };
        let hash = again.iter().filter(|other| other.at == answer.at).find_map(|other| {
            let status = other.status.as_ref()?;
            (status.hash_index == common).then(|| status.hash.clone())
        });
        // Without an answer there is no hash to compare, and one of another index would not be.
        (status.hash, status.hash_index) = (hash.unwrap_or_default(), common);
    }
    answers
}

async fn ask(replicas: &Replicas, places: Vec<usize>, request: StatusRequest) -> Vec<Answer> {
    let asked = places.into_iter().map(|at| async move {
        let asked = Instant::now();
        let status = replicas.status_within(at, request, ANSWER_WAIT).await;
        Answer {
            at,
            address: replicas.address(at),
            id: replicas.id_of(at),
            status,
            round_trip: asked.elapsed(),
            asked,
        }
    });
    join_all(asked).await
}
