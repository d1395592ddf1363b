//! Frames that a session is to write, in pieces of one flush each. Pure.
//!
//! Each piece has its own time to be taken, so that only a reader who stands still is let go, and not one who is sent
//! much at once.

use std::collections::VecDeque;

use tokio_tungstenite::tungstenite::Utf8Bytes;

/// Frames written with one flush: what waits beyond them waits in the outbox, where it may be let go.
pub(super) const FLUSH_FRAMES_MAX: usize = 64;
/// The same in bytes, but for the frame that passes it: with 10 s for each, 7 KB/s are fast enough.
pub(super) const FLUSH_BYTES_MAX: usize = 64 << 10;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Out {
    frames: VecDeque<Utf8Bytes>,
    bytes: usize,
}

impl Out {
    pub(super) fn push(&mut self, frame: Utf8Bytes) {
        self.bytes += frame.len();
        self.frames.push_back(frame);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// How many frames and bytes one flush has room for.
    pub(super) fn room(&self) -> (usize, usize) {
        let (frames, bytes) = (self.frames.len(), self.bytes);
        (FLUSH_FRAMES_MAX.saturating_sub(frames), FLUSH_BYTES_MAX.saturating_sub(bytes))
    }

    /// Frames for one flush.
    pub(super) fn piece(&mut self) -> Vec<Utf8Bytes> {
        let mut piece = Vec::new();
        let mut bytes = 0;
        while piece.len() < FLUSH_FRAMES_MAX && bytes < FLUSH_BYTES_MAX {
            let Some(frame) = self.frames.pop_front() else { break };
            bytes += frame.len();
            piece.push(frame);
        }
        self.bytes -= bytes;
        piece
    }

    /// What is left.
    pub(super) fn into_frames(self) -> VecDeque<Utf8Bytes> {
        self.frames
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Frames were counted and bytes were not: a flush was half a megabyte of long messages, or a whole resume of 16,
    /// and a reader who took it as fast as her line could was closed because it was not done in ten seconds.
    #[test]
    fn a_flush_is_at_most_so_many_frames_and_bytes() {
        let mut out = Out::default();
        (0..1_000).for_each(|_| out.push("x".repeat(8_000).into()));
        assert_eq!(out.room(), (0, 0), "nothing is added to what one flush cannot take");
        let mut frames = 0;
        while !out.is_empty() {
            let piece = out.piece();
            let bytes: usize = piece.iter().map(|frame| frame.len()).sum();
            assert!(bytes < FLUSH_BYTES_MAX + 8_000, "{bytes} bytes in one flush");
            frames += piece.len();
        }
        assert_eq!((frames, out.room()), (1_000, (FLUSH_FRAMES_MAX, FLUSH_BYTES_MAX)));
        (0..100).for_each(|_| out.push("x".into()));
        assert_eq!(out.piece().len(), FLUSH_FRAMES_MAX);
        assert_eq!(out.into_frames().len(), 36);
    }
}
