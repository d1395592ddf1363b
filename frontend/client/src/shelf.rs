//! Pictures that a page holds: each fetched once, kept while it is shown, a bounded number kept after that.
//!
//! Owns: which are asked for, who shows them, and in which order those that nobody shows are let go. Must not know: what a
//! place is (a page keeps a signal there) or how bytes are fetched.

use uuid::Uuid;

/// Pictures kept that nothing shows: a few screens of a list. One takes some 20 KB.
pub const IDLE_MAX: usize = 64;
/// A picture that was not to be had is asked for again after this, ms.
pub const AGAIN_MS: u64 = 60_000;

#[derive(Debug)]
enum State {
    /// It is on its way.
    Asked,
    /// Its address in the page.
    Here(String),
    /// It was not to be had; asked again then.
    Lost { until_ms: u64 },
}

#[derive(Debug)]
struct Kept<P> {
    file: Uuid,
    place: P,
    state: State,
    /// How many show it.
    uses: usize,
    /// When the last of them let it go; later ones have higher numbers.
    let_go: u64,
}

/// See the module. `P` is where whoever shows a picture learns of its address.
#[derive(Debug)]
pub struct Shelf<P> {
    kept: Vec<Kept<P>>,
    turn: u64,
}

impl<P> Default for Shelf<P> {
    fn default() -> Self {
        Self { kept: Vec::new(), turn: 0 }
    }
}

impl<P: Clone> Shelf<P> {
    /// Somebody shows a picture. Its place, made by `new` for one that is not known; true: it is to be fetched, and the caller
    /// says by [`Self::arrived`] what came of it.
    pub fn take(&mut self, file: Uuid, now_ms: u64, new: impl FnOnce() -> P) -> (P, bool) {
        if let Some(kept) = self.kept.iter_mut().find(|kept| kept.file == file) {
            kept.uses += 1;
            let fetch = matches!(kept.state, State::Lost { until_ms } if until_ms <= now_ms);
            if fetch {
                kept.state = State::Asked;
            }
            return (kept.place.clone(), fetch);
        }
        let place = new();
        let kept = Kept { file, place: place.clone(), state: State::Asked, uses: 1, let_go: 0 };
        self.kept.push(kept);
        (place, true)
    }

    /// What a fetch brought: an address in the page, or nothing. The place to be told, and addresses to be revoked.
    pub fn arrived(&mut self, file: Uuid, address: Option<String>, now_ms: u64) -> (Option<P>, Vec<String>) {
        let asked = |kept: &&mut Kept<P>| kept.file == file && matches!(kept.state, State::Asked);
        let Some(kept) = self.kept.iter_mut().find(asked) else {
            // The shelf was emptied meanwhile.
            return (None, address.into_iter().collect());
        };
        kept.state = match address {
            Some(address) => State::Here(address),
            None => State::Lost { until_ms: now_ms + AGAIN_MS },
        };
        let place = kept.place.clone();
        (Some(place), self.tidy())
    }

    /// One of those who show it no longer does. Addresses to be revoked.
    pub fn release(&mut self, file: Uuid) -> Vec<String> {
        self.turn += 1;
        if let Some(kept) = self.kept.iter_mut().find(|kept| kept.file == file) {
            kept.uses = kept.uses.saturating_sub(1);
            kept.let_go = self.turn;
        }
        self.tidy()
    }

    /// Nobody is signed in any more: everything goes. Addresses to be revoked.
    pub fn clear(&mut self) -> Vec<String> {
        std::mem::take(&mut self.kept).into_iter().filter_map(address).collect()
    }

    /// Of those that nobody shows the ones let go first leave, once there are too many. What is on its way stays.
    fn tidy(&mut self) -> Vec<String> {
        let mut gone = Vec::new();
        loop {
            let idle = || {
                let is_idle = |kept: &Kept<P>| kept.uses == 0 && !matches!(kept.state, State::Asked);
                self.kept.iter().enumerate().filter(move |(_, kept)| is_idle(kept))
            };
            if idle().count() <= IDLE_MAX {
                return gone;
            }
            let Some((at, _)) = idle().min_by_key(|(_, kept)| kept.let_go) else { return gone };
            gone.extend(address(self.kept.swap_remove(at)));
        }
    }
}

fn address<P>(kept: Kept<P>) -> Option<String> {
    match kept.state {
        State::Here(address) => Some(address),
        State::Asked | State::Lost { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: usize) -> Uuid {
        Uuid::from_u128(n as u128)
    }

    fn shown(shelf: &mut Shelf<usize>, n: usize) -> bool {
        shelf.take(id(n), 0, || n).1
    }

    #[test]
    fn a_picture_is_fetched_once_for_all_who_show_it() {
        let mut shelf = Shelf::default();
        assert_eq!(shelf.take(id(1), 0, || 10), (10, true));
        assert_eq!(shelf.take(id(1), 0, || 11), (10, false), "it is on its way, and the place is the same");
        assert_eq!(shelf.arrived(id(1), Some("blob:1".into()), 0), (Some(10), vec![]));
        assert_eq!(shelf.take(id(1), 0, || 12), (10, false));
        for _ in 0..3 {
            assert!(shelf.release(id(1)).is_empty(), "it stays for whoever comes back");
        }
        assert_eq!(shelf.take(id(1), 0, || 13), (10, false));
    }

    #[test]
    fn what_nobody_shows_goes_oldest_first_and_what_is_shown_stays() {
        let mut shelf = Shelf::default();
        let count = IDLE_MAX + 2;
        for n in 0..count {
            shown(&mut shelf, n);
            shelf.arrived(id(n), Some(n.to_string()), 0);
        }
        // The first is on the screen.
        let mut gone = Vec::new();
        for n in 1..count {
            gone.extend(shelf.release(id(n)));
        }
        assert_eq!(gone, ["1"]);
        assert_eq!(shelf.release(id(0)), ["2"]);
        assert!(shown(&mut shelf, 1), "it is fetched anew");
        assert!(!shown(&mut shelf, 0));
    }

    #[test]
    fn what_was_not_to_be_had_is_asked_for_again_after_a_while() {
        let mut shelf = Shelf::default();
        shown(&mut shelf, 1);
        shelf.arrived(id(1), None, 1_000);
        assert!(!shelf.take(id(1), 1_000 + AGAIN_MS - 1, || 0).1);
        assert!(shelf.take(id(1), 1_000 + AGAIN_MS, || 0).1);
        assert!(!shelf.take(id(1), 1_000 + AGAIN_MS, || 0).1, "one asks");
    }

    #[test]
    fn signing_out_leaves_nothing_and_late_answers_are_revoked() {
        let mut shelf = Shelf::default();
        shown(&mut shelf, 1);
        shown(&mut shelf, 2);
        shelf.arrived(id(1), Some("blob:1".into()), 0);
        assert_eq!(shelf.clear(), ["blob:1"]);
        assert_eq!(shelf.arrived(id(2), Some("blob:2".into()), 0), (None, vec!["blob:2".to_owned()]));
        assert!(shelf.release(id(1)).is_empty());
        assert!(shown(&mut shelf, 1));
    }
}
