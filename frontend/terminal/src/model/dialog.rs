//! What lies over everything else, one thing at a time.

use quorate_client::proto::ids::ConversationId;
use quorate_client::view::{ListRow, matches_query};

use super::Editor;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dialog {
    /// All keys.
    Help,
    /// What is known of the connection.
    Details,
    /// To another conversation by a part of its name.
    Switch(Switch),
    /// A direct conversation with somebody: her user name, and why it did not work.
    Start(Editor, Option<String>),
    /// Whether to sign out, although so much is not sent.
    SignOut(usize),
}

/// To another conversation by a part of its name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Switch {
    /// What was typed.
    pub query: Editor,
    /// Which of those that fit, from the top.
    pub at: usize,
}

impl Switch {
    /// Those that fit, as the list orders them.
    pub fn found<'a>(&self, list: &'a [ListRow]) -> Vec<&'a ListRow> {
        list.iter().filter(|row| matches_query(row, self.query.text())).collect()
    }

    /// The one that Enter opens.
    pub fn chosen(&self, list: &[ListRow]) -> Option<ConversationId> {
        self.found(list).get(self.at).map(|row| row.id)
    }

    /// One up (`-1`) or down (`1`), to the ends and no further.
    pub fn step(&mut self, by: isize, list: &[ListRow]) {
        let last = self.found(list).len().saturating_sub(1);
        self.at = self.at.saturating_add_signed(by).min(last);
    }
}
