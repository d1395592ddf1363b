//! What the index is built from and answers are judged by: the state, looked at briefly.

use std::fmt::Debug;

use crate::machine::Tables;
use crate::store::{Reader, Store};

/// A state that others change meanwhile.
pub trait Source: Debug + Send + Sync + 'static {
    /// One consistent look.
    type Look<'a>: Tables;

    /// Looks; the one who applies waits until the look is dropped.
    fn look(&self) -> Self::Look<'_>;

    /// The last applied log index that a look has.
    fn applied(look: &Self::Look<'_>) -> u64;
}

impl Source for Store {
    type Look<'a> = Reader<'a>;

    fn look(&self) -> Reader<'_> {
        self.read()
    }

    fn applied(look: &Reader<'_>) -> u64 {
        look.applied().index().unwrap_or(0)
    }
}
