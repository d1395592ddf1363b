//! What belongs to bots: their webhooks, and who tells them.

use bytes::Bytes;
use prost::Message;

use super::{Session, User};

impl User {
    /// Whether it is a program: without a password, acting by tokens.
    pub fn is_bot(&self) -> bool {
        self.owner_id != 0
    }
}

impl Session {
    /// Whether it is no sign-in: it is never refreshed and good for some things only.
    pub fn is_token(&self) -> bool {
        self.scopes != 0
    }

    /// Whether it is good at a log time. A sign-in lasts until it is ended.
    pub fn lasts(&self, log_time_ms: u64) -> bool {
        self.ended_ms == 0 && (self.ends_ms == 0 || log_time_ms < self.ends_ms)
    }
}

/// An outgoing webhook. What waits are the numbers in `[first, next)`; those in `[erased, first)` were dropped and are still there.
#[derive(Clone, PartialEq, Message)]
pub struct Hook {
    /// Where the bot is told; empty: nowhere any more.
    #[prost(string, tag = "1")]
    pub url: String,
    /// Only messages that name the bot, and those of direct conversations.
    #[prost(bool, tag = "2")]
    pub mentions_only: bool,
    /// Rises with each new secret.
    #[prost(uint64, tag = "3")]
    pub generation: u64,
    /// The first number that was not settled.
    #[prost(uint64, tag = "4")]
    pub first: u64,
    /// The number that the next item has: never one that was used before.
    #[prost(uint64, tag = "5")]
    pub next: u64,
    /// Items before this number are erased.
    #[prost(uint64, tag = "6")]
    pub erased: u64,
    /// What was given up since the webhook was set.
    #[prost(uint64, tag = "7")]
    pub given_up: u64,
    /// Why the last of them was.
    #[prost(string, tag = "8")]
    pub last_error: String,
    /// When, log time in ms.
    #[prost(uint64, tag = "9")]
    pub last_error_ms: u64,
}

impl Hook {
    /// Whether the bot is told anything.
    pub fn is_set(&self) -> bool {
        !self.url.is_empty()
    }

    /// How many items wait.
    pub fn waiting(&self) -> u64 {
        self.next.saturating_sub(self.first)
    }
}

/// One event that a webhook is to be told.
#[derive(Clone, PartialEq, Message)]
pub struct HookEvent {
    /// Of which conversation.
    #[prost(uint64, tag = "1")]
    pub conversation_id: u64,
    /// Its version there.
    #[prost(uint64, tag = "2")]
    pub version: u64,
    /// Log time when it began to wait, ms.
    #[prost(uint64, tag = "3")]
    pub log_time_ms: u64,
}

/// The one gateway that tells webhooks.
#[derive(Clone, PartialEq, Message)]
pub struct HookLease {
    /// 16 bytes.
    #[prost(bytes = "bytes", tag = "1")]
    pub holder: Bytes,
    /// Log time from which on another may have it, ms.
    #[prost(uint64, tag = "2")]
    pub ends_ms: u64,
}
