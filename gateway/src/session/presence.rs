//! How present the user says to be: told at most once in a while, of several the last. Pure.

use quorate_proto::frame::PresenceState;

/// A change of presence goes on its way at most once in this time, ms; of several the last. Each is told to everybody
/// who shares a conversation, so that one client could otherwise keep all gateways busy.
const PRESENCE_INTERVAL_MS: u64 = 1_000;

/// See the module.
#[derive(Debug, Default)]
pub struct Presence {
    /// What others were told, and when.
    told: Option<(PresenceState, u64)>,
    /// What they are told next.
    waiting: Option<PresenceState>,
}

impl Presence {
    /// Takes a state: what is to be told now.
    pub fn offer(&mut self, now_ms: u64, state: PresenceState) -> Option<PresenceState> {
        self.waiting = self.told.is_none_or(|(told, _)| told != state).then_some(state);
        self.due(now_ms)
    }

    /// When [`Self::due`] has something.
    pub fn wake_at_ms(&self) -> Option<u64> {
        self.waiting?;
        Some(self.told.map_or(0, |(_, at_ms)| at_ms + PRESENCE_INTERVAL_MS))
    }

    /// What has waited long enough.
    pub fn due(&mut self, now_ms: u64) -> Option<PresenceState> {
        let state = self
            .waiting
            .take_if(|_| self.told.is_none_or(|(_, at_ms)| at_ms + PRESENCE_INTERVAL_MS <= now_ms))?;
        self.told = Some((state, now_ms));
        Some(state)
    }
}
