//! Sessions by the hundred, and what they tell each other of the moment: signals across gateways, storms, slow readers,
//! and a restart of everything that nobody notices.
//!
//! Short by default, so that every change runs them; the long forms are the same tests with larger numbers:
//! `QUORATE_STORM_SESSIONS=2000`, `QUORATE_SLOW_READERS=50`, `QUORATE_SLOW_SECONDS=60`, `QUORATE_RESTART_ROUNDS=5`.

mod ear;
mod rolling;
mod signals;
mod slow;
mod storm;

use tokio::sync::Mutex;

/// A second cluster beside a measured one would falsify both: one test at a time.
static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());
