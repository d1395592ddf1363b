//! What the page says about the connection: the truth, after a second, in a person's words.
//!
//! Troubles shorter than a second are nobody's concern and are not shown.

use quorate_proto::frame::WriteState;

use crate::words::{t, tf};

/// A trouble is shown when it lasts this long.
pub const BANNER_DELAY_MS: u64 = 1_000;

/// What stands between the reader and sending.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Banner {
    /// A socket is being opened.
    Connecting,
    /// The next attempt is at that time, ms.
    Reconnecting {
        /// On the clock of [`Moment::now_ms`](crate::Moment).
        at_ms: u64,
    },
    /// The device has no network.
    Offline,
    /// No leader at the moment.
    Electing,
    /// Less than a majority of replicas is there.
    NoQuorum,
    /// The server refused this client; somebody must act.
    Stopped {
        /// The close code.
        code: u16,
        /// Why, in the server's words.
        reason: String,
    },
}

impl Banner {
    /// The banner in words at that time.
    pub fn text(&self, now_ms: u64) -> String {
        match self {
            Banner::Connecting => t("Connecting…").to_owned(),
            Banner::Reconnecting { at_ms } => {
                let seconds = at_ms.saturating_sub(now_ms).div_ceil(1_000);
                if seconds == 0 {
                    t("Reconnecting…").to_owned()
                } else {
                    tf("Reconnecting in {} s", &[&seconds])
                }
            }
            Banner::Offline => t("You are offline. Messages will be sent when you are back.").to_owned(),
            Banner::Electing => t("Electing a leader. Sending resumes by itself.").to_owned(),
            Banner::NoQuorum => {
                t("No majority of replicas. You can read; messages wait and will be sent.").to_owned()
            }
            Banner::Stopped { code: 4426, .. } => {
                t("This page is out of date. Reload it to go on; your unsent messages are kept.").to_owned()
            }
            Banner::Stopped { code: 4409, .. } => {
                t("Too many windows are open on this account. Close one, then try again.").to_owned()
            }
            Banner::Stopped { code, reason } => {
                tf("The server closed this session: {} ({}).", &[reason, code])
            }
        }
    }

    /// Whether "try now" makes sense.
    pub fn can_try(&self) -> bool {
        matches!(self, Banner::Reconnecting { .. } | Banner::Offline | Banner::Stopped { .. })
    }
}

/// The delay: remembers since when there has been trouble.
#[derive(Debug, Clone, Default)]
pub struct BannerDelay {
    since_ms: Option<u64>,
}

impl BannerDelay {
    /// Takes note of whether there is trouble.
    pub fn observe(&mut self, trouble: Option<&Banner>, now_ms: u64) {
        match trouble {
            None => self.since_ms = None,
            Some(_) => {
                self.since_ms.get_or_insert(now_ms);
            }
        }
    }

    /// Whether the trouble has lasted long enough to be shown. A stop is shown at once: it does not pass.
    pub fn due(&self, trouble: &Banner, now_ms: u64) -> bool {
        matches!(trouble, Banner::Stopped { .. })
            || self.since_ms.is_some_and(|since_ms| now_ms >= since_ms + BANNER_DELAY_MS)
    }

    /// When the banner next changes by itself: when it appears, then each second of a countdown.
    pub fn deadline_ms(&self, trouble: &Banner, now_ms: u64) -> Option<u64> {
        let appears_ms = self.since_ms? + BANNER_DELAY_MS;
        if now_ms < appears_ms {
            return Some(appears_ms);
        }
        match trouble {
            Banner::Reconnecting { at_ms } if *at_ms > now_ms => {
                let left_ms = at_ms - now_ms;
                Some(now_ms + left_ms - (left_ms.div_ceil(1_000) - 1) * 1_000)
            }
            _ => None,
        }
    }
}

/// The banner of a live session.
pub fn of_write(write: WriteState) -> Option<Banner> {
    match write {
        WriteState::Up => None,
        WriteState::Electing => Some(Banner::Electing),
        WriteState::NoQuorum => Some(Banner::NoQuorum),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_trouble_is_not_shown() {
        let mut delay = BannerDelay::default();
        delay.observe(Some(&Banner::Electing), 5_000);
        assert!(!delay.due(&Banner::Electing, 5_999));
        assert_eq!(delay.deadline_ms(&Banner::Electing, 5_000), Some(6_000));
        assert!(delay.due(&Banner::Electing, 6_000));
        delay.observe(None, 6_100);
        delay.observe(Some(&Banner::Electing), 6_200);
        assert!(!delay.due(&Banner::Electing, 6_300));
    }

    #[test]
    fn a_countdown_wakes_once_a_second() {
        let mut delay = BannerDelay::default();
        let trouble = Banner::Reconnecting { at_ms: 8_500 };
        delay.observe(Some(&trouble), 5_000);
        assert_eq!(trouble.text(6_000), "Reconnecting in 3 s");
        assert_eq!(delay.deadline_ms(&trouble, 6_000), Some(6_500));
        assert_eq!(trouble.text(6_500), "Reconnecting in 2 s");
        assert_eq!(delay.deadline_ms(&trouble, 6_500), Some(7_500));
        assert_eq!(delay.deadline_ms(&trouble, 8_500), None);
    }
}
