//! What is committed rides with the next entries, where some come soon.
//!
//! openraft tells a follower of each commit at once, with a request of its own where there are no entries to send. Nobody at the
//! leader waits for that. Two requests that are ready together leave in one write and wake the follower once, and so come the answers.

use std::collections::VecDeque;
use std::time::Duration;

use futures_util::{Stream, StreamExt as _};
use openraft::raft::AppendEntriesRequest;

use super::types::Types;

/// Longest time for which a follower is not told of what is committed while there is nothing else to tell; what a timer adds to it is up
/// to a millisecond. Reads there that wait for that index, and what is pushed from there, come so much later where little is written.
const COMMIT_WAIT: Duration = Duration::from_millis(1);

/// The same requests in the same order; one without entries waits a moment for the next, and both go together. None is left out:
/// each has its answer.
pub(super) fn held<S>(requests: S) -> impl Stream<Item = AppendEntriesRequest<Types>>
where
    S: Stream<Item = AppendEntriesRequest<Types>> + Unpin,
{
    let begin = (requests.fuse(), VecDeque::new());
    futures_util::stream::unfold(begin, |(mut requests, mut ready)| async move {
        if ready.is_empty() {
            let request = requests.next().await?;
            let is_commit = request.entries.is_empty();
            ready.push_back(request);
            if is_commit && let Ok(Some(next)) = tokio::time::timeout(COMMIT_WAIT, requests.next()).await {
                ready.push_back(next);
            }
        }
        ready.pop_front().map(|request| (request, (requests, ready)))
    })
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use openraft::EntryPayload;
    use openraft::entry::RaftEntry as _;
    use tokio::sync::mpsc;
    use tokio_stream::wrappers::ReceiverStream;

    use super::*;
    use crate::node::types::{Entry, LogId, Vote};

    /// Without an entry, or with one.
    fn request(commit: u64, has_entry: bool) -> AppendEntriesRequest<Types> {
        let id = |index| LogId::new(Vote::new_committed(1, 1).leader_id, index);
        let entries =
            has_entry.then(|| Entry::new(id(commit + 1), EntryPayload::Blank)).into_iter().collect();
        let leader_commit = Some(id(commit));
        AppendEntriesRequest { vote: Vote::new_committed(1, 1), prev_log_id: None, entries, leader_commit }
    }

    fn commit_of(request: Option<AppendEntriesRequest<Types>>) -> Option<u64> {
        Some(request?.leader_commit?.index())
    }

    #[tokio::test]
    async fn a_commit_goes_with_the_next_entries_or_after_a_moment_and_none_is_lost() {
        let (send, requests) = mpsc::channel(8);
        let mut held = std::pin::pin!(held(ReceiverStream::new(requests)));
        let mut ready = async || held.next().now_or_never().flatten().and_then(|next| commit_of(Some(next)));
        // Entries wait for nothing.
        send.send(request(1, true)).await.expect("room");
        assert_eq!(ready().await, Some(1));
        // A commit waits for entries that follow, and goes before them.
        send.send(request(2, false)).await.expect("room");
        assert_eq!(ready().await, None);
        send.send(request(3, true)).await.expect("room");
        assert_eq!(ready().await, Some(2));
        assert_eq!(ready().await, Some(3));
        // Where nothing follows, it goes by itself, and also where that is the end.
        let began = std::time::Instant::now();
        send.send(request(4, false)).await.expect("room");
        assert_eq!(commit_of(held.next().await), Some(4));
        assert!(began.elapsed() >= COMMIT_WAIT, "{:?}", began.elapsed());
        send.send(request(5, false)).await.expect("room");
        drop(send);
        assert_eq!(commit_of(held.next().await), Some(5));
        assert_eq!(commit_of(held.next().await), None);
    }
}
