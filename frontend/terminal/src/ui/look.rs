//! The few styles there are. Colour never says anything alone: each has a word, a sign or a weight beside it.

use quorate_client::view::hue;
use ratatui::style::{Color, Modifier, Style};

/// Colours, or none (`NO_COLOR`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Look {
    /// No colours.
    pub plain: bool,
}

/// Of the sixteen that every terminal has and its owner has chosen; black, white and grey are for the text itself.
const HUES: [Color; 8] = [
    Color::Cyan,
    Color::Magenta,
    Color::Green,
    Color::Yellow,
    Color::Blue,
    Color::LightCyan,
    Color::LightMagenta,
    Color::LightGreen,
];

impl Look {
    /// By the environment: <https://no-color.org>.
    pub fn of_environment() -> Self {
        Self { plain: std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty()) }
    }

    fn coloured(self, colour: Color) -> Style {
        if self.plain { Style::new() } else { Style::new().fg(colour) }
    }

    /// Text.
    pub fn plain(self) -> Style {
        Style::new()
    }

    /// What is beside the point.
    pub fn faint(self) -> Style {
        // A grey of its own would vanish in some people's colours.
        Style::new().add_modifier(Modifier::DIM)
    }

    /// What stands out.
    pub fn strong(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    /// Somebody's name: the same person has the same colour.
    pub fn name(self, name: &str) -> Style {
        let at = usize::try_from(hue(name)).unwrap_or_default() % HUES.len();
        self.coloured(HUES[at]).add_modifier(Modifier::BOLD)
    }

    /// What is chosen, or where the keys are.
    pub fn chosen(self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }

    /// Unread, new, named.
    pub fn news(self) -> Style {
        self.coloured(Color::Cyan).add_modifier(Modifier::BOLD)
    }

    /// It went wrong.
    pub fn wrong(self) -> Style {
        self.coloured(Color::Red).add_modifier(Modifier::BOLD)
    }

    /// It is not as it should be, and passes.
    pub fn trouble(self) -> Style {
        self.coloured(Color::Yellow).add_modifier(Modifier::REVERSED)
    }

    /// It is as it should be.
    pub fn well(self) -> Style {
        self.coloured(Color::Green)
    }

    /// Code.
    pub fn code(self) -> Style {
        self.coloured(Color::Yellow)
    }

    /// An address.
    pub fn link(self) -> Style {
        self.coloured(Color::Blue).add_modifier(Modifier::UNDERLINED)
    }
}
