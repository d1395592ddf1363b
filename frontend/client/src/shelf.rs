//! Pictures that a page holds: each fetched once, a few at a time, kept while it is shown, a bounded number kept after that.
//!
//! Owns: which are asked for and in which order, who shows them, and in which order those that nobody shows are let go. Must not
//! know: what a place is (a page keeps a signal there) or how bytes are fetched.

use uuid::Uuid;

use crate::view::Portrait;

/// Pictures asked for at a time.
pub const ASKED_MAX: usize = 3;
/// While more than this are wanted they are asked for slowly: a server allows a user 200 calls in a burst, all kinds together.
pub const CROWD: usize = 60;
/// Pictures kept that nothing shows: a few screens of a list. One takes some 20 KB.
pub const IDLE_MAX: usize = 64;
/// A picture that was not to be had is asked for again after this, ms.
pub const AGAIN_MS: u64 = 60_000;

/// What is to be fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asking {
    /// The picture.
    pub portrait: Portrait,
    /// Many are wanted: a pause belongs to each.
    pub slowly: bool,
    /// Of two askings for one picture only the later one's answer counts.
    number: u64,
}

#[derive(Debug)]
enum State {
    /// It is to be asked for.
    Wanted,
    /// It is on its way, by the asking of this number.
    Asked(u64),
    /// Its address in the page.
    Here(String),
    /// It was not to be had; asked again then.
    Lost { until_ms: u64 },
}

#[derive(Debug)]
struct Kept<P> {
    portrait: Portrait,
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
    /// Somebody shows a picture. Its place, made by `new` for one that is not known; [`Self::ask`] says what is to be fetched.
    pub fn take(&mut self, portrait: Portrait, now_ms: u64, new: impl FnOnce() -> P) -> P {
        if let Some(kept) = self.kept.iter_mut().find(|kept| kept.portrait.file == portrait.file) {
            kept.uses += 1;
            if matches!(kept.state, State::Lost { until_ms } if until_ms <= now_ms) {
                kept.state = State::Wanted;
            }
            return kept.place.clone();
        }
        let place = new();
        self.kept.push(Kept { portrait, place: place.clone(), state: State::Wanted, uses: 1, let_go: 0 });
        place
    }

    /// What is to be fetched now, if there is room; the caller says by [`Self::arrived`] what came of it.
    pub fn ask(&mut self) -> Option<Asking> {
        if self.kept.iter().filter(|kept| matches!(kept.state, State::Asked(_))).count() >= ASKED_MAX {
            return None;
        }
        let is_wanted = |kept: &&mut Kept<P>| kept.uses > 0 && matches!(kept.state, State::Wanted);
        let mut wanted = self.kept.iter_mut().filter(is_wanted);
        let first = wanted.next()?;
        self.turn += 1;
        first.state = State::Asked(self.turn);
        Some(Asking { portrait: first.portrait, number: self.turn, slowly: wanted.count() >= CROWD })
    }

    /// What was not to be had may be now: all that is shown of it is wanted again.
    pub fn again(&mut self) {
        for kept in self.kept.iter_mut().filter(|kept| matches!(kept.state, State::Lost { .. })) {
            kept.state = State::Wanted;
        }
    }

    /// What a fetch brought: an address in the page, or nothing. The place to be told, and addresses to be revoked.
    pub fn arrived(
        &mut self,
        asking: Asking,
        address: Option<String>,
        now_ms: u64,
    ) -> (Option<P>, Vec<String>) {
        let asked =
            |kept: &&mut Kept<P>| matches!(kept.state, State::Asked(number) if number == asking.number);
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
        if let Some(kept) = self.kept.iter_mut().find(|kept| kept.portrait.file == file) {
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
                let is_idle = |kept: &Kept<P>| kept.uses == 0 && !matches!(kept.state, State::Asked(_));
                self.kept.iter().enumerate().filter(move |(_, kept)| is_idle(kept))
            };
            if idle().count() <= IDLE_MAX {
                return gone;
            }
            let Some((at, _)) = idle().min_by_key(|(_, kept)| kept.let_go) else { return gone };
            gone.extend(address(self.kept.remove(at)));
        }
    }
}

fn address<P>(kept: Kept<P>) -> Option<String> {
    match kept.state {
        State::Here(address) => Some(address),
        State::Wanted | State::Asked(_) | State::Lost { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::Whose;

    fn id(n: usize) -> Uuid {
        Uuid::from_u128(n as u128)
    }

    fn of(n: usize) -> Portrait {
        Portrait { file: id(n), of: Whose::User(1) }
    }

    fn show(shelf: &mut Shelf<usize>, n: usize) -> usize {
        shelf.take(of(n), 0, || n)
    }

    /// The number of the one to be fetched next.
    fn next(shelf: &mut Shelf<usize>) -> Option<(usize, Asking)> {
        shelf.ask().map(|asking| (asking.portrait.file.as_u128() as usize, asking))
    }

    fn fetch(shelf: &mut Shelf<usize>, address: Option<&str>, now_ms: u64) -> usize {
        let (n, asking) = next(shelf).expect("one is wanted");
        shelf.arrived(asking, address.map(ToOwned::to_owned), now_ms);
        n
    }

    #[test]
    fn a_picture_is_fetched_once_for_all_who_show_it() {
        let mut shelf = Shelf::default();
        assert_eq!(shelf.take(of(1), 0, || 10), 10);
        let (_, asking) = next(&mut shelf).expect("it is wanted");
        assert_eq!(shelf.take(of(1), 0, || 11), 10, "the place is the same");
        assert_eq!(next(&mut shelf), None, "it is on its way");
        assert_eq!(shelf.arrived(asking, Some("blob:1".into()), 0), (Some(10), vec![]));
        assert_eq!((shelf.take(of(1), 0, || 12), next(&mut shelf)), (10, None));
        for _ in 0..3 {
            assert!(shelf.release(id(1)).is_empty(), "it stays for whoever comes back");
        }
        assert_eq!((shelf.take(of(1), 0, || 13), next(&mut shelf)), (10, None));
    }

    #[test]
    fn a_few_are_asked_for_at_a_time_in_order_and_slowly_while_many_are_wanted() {
        let mut shelf = Shelf::default();
        let count = ASKED_MAX + CROWD;
        for n in 0..count {
            show(&mut shelf, n);
        }
        let asked: Vec<(usize, Asking)> = std::iter::from_fn(|| next(&mut shelf)).collect();
        assert_eq!(asked.iter().map(|(n, _)| *n).collect::<Vec<_>>(), (0..ASKED_MAX).collect::<Vec<_>>());
        assert!(asked.iter().all(|(_, asking)| asking.slowly));
        // One is there, one is on its way but for nobody, one is for nobody before it was asked for.
        shelf.arrived(asked[0].1, Some("0".into()), 0);
        shelf.release(id(1));
        shelf.release(id(ASKED_MAX));
        let (n, asking) = next(&mut shelf).expect("there is room for one more");
        assert_eq!((n, asking.slowly), (ASKED_MAX + 1, false));
        assert_eq!(next(&mut shelf), None);
    }

    #[test]
    fn what_nobody_shows_goes_oldest_first_and_what_is_shown_stays() {
        let mut shelf = Shelf::default();
        let count = IDLE_MAX + 2;
        for n in 0..count {
            show(&mut shelf, n);
            assert_eq!(fetch(&mut shelf, Some(&n.to_string()), 0), n);
        }
        // The first is on the screen.
        let mut gone = Vec::new();
        for n in 1..count {
            gone.extend(shelf.release(id(n)));
        }
        assert_eq!(gone, ["1"]);
        assert_eq!(shelf.release(id(0)), ["2"]);
        show(&mut shelf, 0);
        show(&mut shelf, 1);
        assert_eq!(fetch(&mut shelf, None, 0), 1, "it is fetched anew, and the other one is there");
    }

    #[test]
    fn what_was_not_to_be_had_is_asked_for_again_after_a_while_or_when_the_connection_is_back() {
        let mut shelf = Shelf::default();
        show(&mut shelf, 1);
        fetch(&mut shelf, None, 1_000);
        shelf.take(of(1), 1_000 + AGAIN_MS - 1, || 0);
        assert_eq!(next(&mut shelf), None);
        shelf.take(of(1), 1_000 + AGAIN_MS, || 0);
        assert_eq!(fetch(&mut shelf, None, 2_000 + AGAIN_MS), 1);
        shelf.again();
        assert_eq!(fetch(&mut shelf, Some("blob:1"), 2_001 + AGAIN_MS), 1, "it is shown");
        shelf.again();
        assert_eq!(next(&mut shelf), None, "it is there");
        show(&mut shelf, 2);
        fetch(&mut shelf, None, 0);
        shelf.release(id(2));
        shelf.again();
        assert_eq!(next(&mut shelf), None, "nobody shows it");
    }

    #[test]
    fn signing_out_leaves_nothing_and_late_answers_are_revoked() {
        let mut shelf = Shelf::default();
        show(&mut shelf, 1);
        fetch(&mut shelf, Some("blob:1"), 0);
        show(&mut shelf, 2);
        let (_, old) = next(&mut shelf).expect("it is wanted");
        assert_eq!(shelf.clear(), ["blob:1"]);
        assert_eq!(shelf.arrived(old, Some("blob:2".into()), 0), (None, vec!["blob:2".to_owned()]));
        assert!(shelf.release(id(1)).is_empty());
        // Whoever signs in then asks for it anew: the answer to the former asking is not taken for it.
        show(&mut shelf, 2);
        let (_, new) = next(&mut shelf).expect("it is wanted again");
        assert_eq!(shelf.arrived(old, Some("blob:3".into()), 0), (None, vec!["blob:3".to_owned()]));
        assert_eq!(shelf.arrived(new, Some("blob:4".into()), 0), (Some(2), vec![]));
    }
}
