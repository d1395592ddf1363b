//! The lease of the gateway that tells webhooks: taken, renewed, and given back.
//!
//! The replicas decide who holds it, and let nobody else settle anything. Here it counts from when it was asked for, which is before it
//! was given: whoever does not hear of a renewal stops before another can begin.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use quorate_proto::rpc::{Command, LeaseHooks, command, outcome};
use tokio::time::sleep;

use super::pace::LEASE_MS;
use crate::clock;
use crate::leader::{LeaderClient, SubmitError};

/// How often it is renewed: two may be lost.
const RENEW_INTERVAL: Duration = Duration::from_secs(5);
/// Between two tries to renew it.
const RENEW_PAUSE: Duration = Duration::from_millis(500);
/// One try.
const RENEW_WAIT: Duration = Duration::from_secs(3);
/// Time to give it back: if that is too short, it ends by itself.
const GIVE_BACK_WAIT: Duration = Duration::from_millis(1_500);

/// See the module.
#[derive(Debug)]
pub(super) struct Lease {
    leader: LeaderClient,
    holder: [u8; 16],
    until: Mutex<Instant>,
    /// The newest index that its holder has caused.
    index: AtomicU64,
    ending: AtomicBool,
}

/// What the replicas said.
enum Said {
    Yes(u64),
    No,
    Unknown,
}

async fn ask(leader: &LeaderClient, holder: &[u8; 16], lasts_ms: u32, wait: Duration) -> Said {
    let command = Command {
        command_id: clock::command_id().as_bytes().to_vec().into(),
        action: Some(command::Action::LeaseHooks(LeaseHooks {
            holder: Bytes::copy_from_slice(holder),
            lasts_ms,
        })),
        ..Command::default()
    };
    match leader.submit_within(&command, wait).await {
        Ok(outcome) if matches!(outcome.result, Some(outcome::Result::Rejected(_))) => Said::No,
        Ok(outcome) => Said::Yes(outcome.index),
        // Not all replicas know of webhooks yet.
        Err(SubmitError::Malformed) => Said::No,
        Err(SubmitError::Overloaded | SubmitError::Unavailable) => Said::Unknown,
    }
}

impl Lease {
    /// Asks for it once. Perhaps it is given and nobody hears of it: then it is seen at the next look.
    pub(super) async fn take(leader: LeaderClient, holder: [u8; 16]) -> Option<Arc<Self>> {
        let until = Instant::now() + Duration::from_millis(u64::from(LEASE_MS));
        let Said::Yes(index) = ask(&leader, &holder, LEASE_MS, RENEW_WAIT).await else { return None };
        let (index, until) = (AtomicU64::new(index), Mutex::new(until));
        Some(Arc::new(Self { leader, holder, until, index, ending: AtomicBool::new(false) }))
    }

    /// Renews it for as long as it can be.
    pub(super) async fn renew(self: Arc<Self>) {
        loop {
            sleep(RENEW_INTERVAL).await;
            loop {
                if !self.holds() {
                    return;
                }
                let until = Instant::now() + Duration::from_millis(u64::from(LEASE_MS));
                match ask(&self.leader, &self.holder, LEASE_MS, RENEW_WAIT).await {
                    Said::Yes(index) => {
                        self.saw(index);
                        self.set_until(until);
                        break;
                    }
                    Said::No => {
                        self.set_until(Instant::now());
                        return;
                    }
                    Said::Unknown => sleep(RENEW_PAUSE).await,
                }
            }
        }
    }

    fn until(&self) -> Instant {
        *self.until.lock().expect("no holder of this lock panics")
    }

    fn set_until(&self, until: Instant) {
        *self.until.lock().expect("no holder of this lock panics") = until;
    }

    /// Whether it is surely held.
    pub(super) fn holds(&self) -> bool {
        Instant::now() < self.until()
    }

    /// By which name the replicas know the holder.
    pub(super) fn holder(&self) -> &[u8; 16] {
        &self.holder
    }

    /// What is read must be at least as new as what the holder has caused.
    pub(super) fn index(&self) -> u64 {
        self.index.load(Ordering::Relaxed)
    }

    /// The holder has caused an entry.
    pub(super) fn saw(&self, index: u64) {
        self.index.fetch_max(index, Ordering::Relaxed);
    }

    /// Nothing more is to be told.
    pub(super) fn ends(&self) {
        self.ending.store(true, Ordering::Relaxed);
    }

    /// Whether nothing more is to be told.
    pub(super) fn is_ending(&self) -> bool {
        self.ending.load(Ordering::Relaxed)
    }

    /// So that others need not wait for its end.
    pub(super) async fn give_back(&self) {
        if self.holds() {
            ask(&self.leader, &self.holder, 0, GIVE_BACK_WAIT).await;
        }
    }
}
