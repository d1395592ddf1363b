//! Messages that are chosen, to do one thing with all of them.

use leptos::prelude::*;
use quorate_client::proto::ids::Sequence;
use quorate_client::selection::SELECTED_MAX;

use super::App;
use crate::words::tf;

impl App {
    /// A message of the open conversation is chosen, or no longer; with `range` all from the one touched last.
    pub(crate) fn select(self, sequence: Sequence, range: bool) {
        let fits = self.selecting.try_update(|selecting| {
            let Some(selection) = selecting else { return true };
            if range { selection.extend(sequence, &self.selectable()) } else { selection.toggle(sequence) }
        });
        if fits == Some(false) {
            self.tell(&tf("At most {} messages can be chosen at a time.", &[&SELECTED_MAX]));
        }
    }

    /// Messages that can be chosen, as they are shown.
    fn selectable(self) -> Vec<Sequence> {
        self.rows.with_untracked(|rows| rows.selectable().map(|row| row.message.sequence).collect())
    }

    /// What was chosen and is gone meanwhile is not chosen any more.
    pub(super) fn refresh_selection(self) {
        let Some(had) = self.selecting.get_untracked() else { return };
        let mut shown = self.selectable();
        shown.sort_unstable();
        let mut kept = had.clone();
        kept.keep(|sequence| shown.binary_search(&sequence).is_ok());
        if kept != had {
            self.selecting.set(Some(kept));
        }
    }
}
