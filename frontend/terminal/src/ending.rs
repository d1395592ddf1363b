//! Signals that end this program: SIGINT, SIGTERM and SIGHUP, each with the exit code that a shell knows it by.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::timeout;

use crate::failure::{Failure, Result};

/// At the end: for an exchange of tokens that is under way, and for sockets to close in order.
pub const SETTLE_WAIT: Duration = Duration::from_secs(3);

/// See the module.
#[derive(Debug)]
pub struct Ending {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
}

impl Ending {
    /// The exit code of Ctrl-C, also where the terminal gives it as a key.
    pub const INTERRUPTED: u8 = 130;
    /// The exit code when the terminal is gone.
    pub const HUNG_UP: u8 = 129;

    /// Listens from now on.
    ///
    /// # Errors
    /// When signals cannot be listened for.
    pub fn listen() -> Result<Self> {
        let listen = |kind| {
            signal(kind).map_err(|error| Failure::refused(format!("Cannot listen for signals: {error}.")))
        };
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            hang_up: listen(SignalKind::hangup())?,
        })
    }

    /// Waits for one: the exit code.
    pub async fn wait(&mut self) -> u8 {
        tokio::select! {
            _ = self.interrupt.recv() => Self::INTERRUPTED,
            _ = self.terminate.recv() => 143,
            _ = self.hang_up.recv() => Self::HUNG_UP,
        }
    }

    /// Waits for something that may be given up at any moment, or for a signal: then its exit code.
    ///
    /// # Errors
    /// The exit code.
    pub async fn or<T>(&mut self, work: impl Future<Output = T>) -> std::result::Result<T, u8> {
        tokio::select! {
            biased;
            code = self.wait() => Err(code),
            done = work => Ok(done),
        }
    }

    /// The same with a call that changes who is signed in. It is given a moment to come to its end, since its answer may be the only
    /// key to the session.
    ///
    /// # Errors
    /// The exit code.
    pub async fn or_settled<T>(&mut self, call: impl Future<Output = T>) -> std::result::Result<T, u8> {
        let mut call = pin!(call);
        let code = match self.or(&mut call).await {
            Ok(done) => return Ok(done),
            Err(code) => code,
        };
        // Whatever came of it: who sent the signal waits for no answer.
        let _ = timeout(SETTLE_WAIT, call).await;
        Err(code)
    }
}
