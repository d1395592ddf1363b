//! Wall clock and chance: the two inputs that pure code takes as arguments.

use std::time::{SystemTime, UNIX_EPOCH};

use uuid::Uuid;

/// Milliseconds since the Unix epoch by this machine's clock; for display and token times, never for order.
pub fn wall_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |elapsed| u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX))
}

/// A number in `0..bound`, or 0 when the system has no randomness to give: it only spreads things in time.
pub fn chance(bound: u64) -> u64 {
    if bound == 0 { 0 } else { getrandom::u64().unwrap_or(0) % bound }
}

/// Random bytes for a secret.
///
/// # Errors
/// When the system has none: then no secret may be made.
pub fn secret<const N: usize>() -> Result<[u8; N], getrandom::Error> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)?;
    Ok(bytes)
}

/// A new command id.
pub fn command_id() -> Uuid {
    Uuid::now_v7()
}
