//! What the person at the terminal is doing: where she stands, what she has typed, what she asked for. Pure: keys come in,
//! acts come out; the rules' own state stays in the [`Client`](quorate_client::Client).

mod dialog;
mod door;
mod editor;
mod keys;
mod scroll;
#[cfg(test)]
mod tests;

pub use dialog::{Dialog, Switch};
pub use door::{Door, Field};
pub use editor::Editor;
pub use keys::pressed;
pub use scroll::{Place, Scroll};

use quorate_client::proto::ids::{ClientMessageId, ConversationId, Sequence};
use quorate_client::view::ListRow;
use quorate_client::{Draft, Input};

/// Where the person stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stage {
    /// Asking whether a former session goes on; in words what hinders it.
    Starting(String),
    /// Nobody is signed in.
    Door(Door),
    /// Signed in.
    Inside,
}

/// What the keys go to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Pane {
    /// The list of conversations.
    #[default]
    List,
    /// The text that is being written.
    Composer,
}

/// What is to be done, in the order given.
#[derive(Debug, Clone)]
pub enum Act {
    /// Feed the rules.
    Feed(Input),
    /// Send what stands in the composer.
    Send {
        /// Where to.
        conversation: ConversationId,
        /// As typed.
        text: String,
    },
    /// Sign in, or up where `new` says so.
    SignIn {
        /// The user name.
        name: String,
        /// As typed.
        password: String,
        /// Make the account first.
        new: bool,
    },
    /// End the session everywhere.
    SignOut,
    /// Open a conversation.
    Open(ConversationId),
    /// Start a direct conversation with this user.
    Start(String),
    /// Move the timeline by so many lines, up if negative.
    Scroll(isize),
    /// The same by whole pages.
    ScrollPages(isize),
    /// To the oldest message that is here, or to the newest.
    ScrollEnd {
        /// The newest.
        newest: bool,
    },
    /// Try again what was refused or waits in the open conversation, and the connection.
    TryAgain,
    /// Delete what was refused in the open conversation.
    DropFailed,
    /// Leave.
    Quit,
}

/// See the module.
#[derive(Debug, Clone)]
pub struct Model {
    /// Where the person stands.
    pub stage: Stage,
    /// What the keys go to.
    pub pane: Pane,
    /// What lies over everything else.
    pub dialog: Option<Dialog>,
    /// The conversation in front of the reader.
    pub open: Option<ConversationId>,
    /// The line of the list that the keys are at.
    pub cursor: Option<ConversationId>,
    /// What is being written.
    pub composer: Editor,
    /// Where in the timeline the reader is.
    pub scroll: Scroll,
    /// The read mark when the open conversation was opened: where "new" begins.
    pub new_after: Option<Sequence>,
    /// A line for the person, until the next key.
    pub note: Option<String>,
    /// The command whose answer is waited for.
    pub asked: Option<ClientMessageId>,
    /// Whether the terminal is in front, as far as it says.
    pub in_front: bool,
}

impl Default for Model {
    fn default() -> Self {
        Self {
            stage: Stage::Starting(String::new()),
            pane: Pane::default(),
            dialog: None,
            open: None,
            cursor: None,
            composer: Editor::default(),
            scroll: Scroll::default(),
            new_after: None,
            note: None,
            asked: None,
            in_front: true,
        }
    }
}

/// What a key may need to know of the rules' state.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    /// The list as it is shown.
    pub list: &'a [ListRow],
    /// Something in the open conversation was refused, or waits for a word of its writer.
    pub has_failed: bool,
    /// What is written and not committed, everywhere.
    pub unsent: usize,
}

impl Model {
    /// A conversation comes in front of the reader.
    pub fn go_to(&mut self, id: ConversationId, new_after: Option<Sequence>, draft: Option<&Draft>) {
        self.open = Some(id);
        self.cursor = Some(id);
        self.new_after = new_after;
        self.scroll = Scroll::Newest;
        self.pane = Pane::Composer;
        self.dialog = None;
        self.take_draft(draft);
    }

    /// What stands in the composer is another text: another conversation's, or what another device wrote.
    pub fn take_draft(&mut self, draft: Option<&Draft>) {
        self.composer = Editor::with(draft.map_or("", |draft| draft.text.as_str()));
    }

    /// Nobody is signed in any more; in words why, if there is a reason.
    pub fn leave(&mut self, why: Option<String>) {
        let in_front = self.in_front;
        *self =
            Self { stage: Stage::Door(Door { error: why, ..Door::default() }), in_front, ..Self::default() };
    }

    /// The conversation above (`-1`) or below (`1`) this one in the list.
    fn beside(list: &[ListRow], at: Option<ConversationId>, by: isize) -> Option<ConversationId> {
        let place = list.iter().position(|row| Some(row.id) == at);
        let to = match place {
            Some(place) => place.checked_add_signed(by)?,
            None => 0,
        };
        list.get(to).map(|row| row.id)
    }
}
