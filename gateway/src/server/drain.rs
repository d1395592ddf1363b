//! The phases of an orderly end, and the signals that begin it.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::task::TaskTracker;

use crate::context::Gateway;

/// After the spread sessions get this long to have opened their second socket.
const MOVE_WAIT: Duration = Duration::from_millis(2_000);
/// After that, what is left gets this long to finish its commands and close.
const END_WAIT: Duration = Duration::from_millis(8_000);
/// How often it is looked whether all have gone.
const POLL: Duration = Duration::from_millis(20);

/// Where a gateway is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DrainPhase {
    /// Takes everything.
    Serving,
    /// Not ready, but takes what the balancer still sends.
    Leaving,
    /// Takes no connection; sessions are asked to move.
    Draining,
    /// Sessions finish what is under way and close.
    Ending,
}

/// SIGTERM and SIGINT; or, in tests, a channel.
#[derive(Debug)]
pub enum Signals {
    /// The process's.
    Process {
        /// SIGTERM.
        terminate: Signal,
        /// SIGINT.
        interrupt: Signal,
    },
    /// Each `true` is one signal.
    Test(watch::Receiver<u32>),
}

/// The process's signals.
///
/// # Errors
/// When handlers cannot be installed.
pub fn signals() -> std::io::Result<Signals> {
    Ok(Signals::Process {
        terminate: signal(SignalKind::terminate())?,
        interrupt: signal(SignalKind::interrupt())?,
    })
}

impl Signals {
    async fn next(&mut self, count: u32) {
        match self {
            Signals::Process { terminate, interrupt } => {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
            }
            Signals::Test(counted) => {
                if counted.wait_for(|seen| *seen >= count).await.is_err() {
                    std::future::pending().await
                }
            }
        }
    }

    /// Begin to end.
    pub(super) async fn first(&mut self) {
        self.next(1).await;
    }

    /// End at once.
    pub(super) async fn second(&mut self) {
        self.next(2).await;
    }
}

/// The last steps: sessions are asked to move, what is left finishes its commands and closes.
pub(super) async fn finish(gateway: &Gateway, drain: &watch::Sender<DrainPhase>, tasks: &TaskTracker) {
    drain.send_replace(DrainPhase::Draining);
    let sockets = || gateway.sockets.load(Ordering::Relaxed);
    let calls = || gateway.calls_open.load(Ordering::Relaxed);
    let until = Instant::now() + Duration::from_millis(gateway.config.drain_spread_ms) + MOVE_WAIT;
    while sockets() > 0 && Instant::now() < until {
        sleep(POLL).await;
    }
    tracing::info!(sockets = sockets(), "closing what is left");
    drain.send_replace(DrainPhase::Ending);
    tasks.close();
    // Keep-alive connections without a request end with the process.
    if timeout(END_WAIT, async {
        while sockets() > 0 || calls() > 0 || gateway.hooks.is_held() {
            sleep(POLL).await;
        }
    })
    .await
    .is_err()
    {
        tracing::warn!(sockets = sockets(), calls = calls(), "sockets or requests left behind");
    }
}
