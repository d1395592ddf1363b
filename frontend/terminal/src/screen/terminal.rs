//! The terminal itself: taken on the way in, given back on every way out, a panic included.

use std::io::{self, IsTerminal as _, Stdout, stdin, stdout};
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

use crossterm::cursor::Show;
use crossterm::event::{
    DisableBracketedPaste, DisableFocusChange, EnableBracketedPaste, EnableFocusChange,
    KeyboardEnhancementFlags, PopKeyboardEnhancementFlags, PushKeyboardEnhancementFlags,
};
use crossterm::execute;
use crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
    supports_keyboard_enhancement,
};
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;

use super::app::App;
use crate::failure::{Failure, Result};

/// The exit code of a panic, as Rust has it.
const PANICKED: i32 = 101;

static TAKEN: AtomicBool = AtomicBool::new(false);
static ENHANCED: AtomicBool = AtomicBool::new(false);
static HOOK: Once = Once::new();

/// See the module. Dropping it gives the terminal back.
#[derive(Debug)]
pub(super) struct Screen {
    terminal: Terminal<CrosstermBackend<Stdout>>,
}

impl Screen {
    /// Takes the terminal.
    pub(super) fn open() -> Result<Self> {
        if !stdin().is_terminal() || !stdout().is_terminal() {
            return Err(Failure::usage(
                "The full screen needs a terminal. In a script use --send, --tail or --list: see `quorate --help`.",
            ));
        }
        HOOK.call_once(|| {
            let before = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |info| {
                let taken = TAKEN.load(Ordering::SeqCst);
                give_back();
                before(info);
                if taken {
                    // A task that panicked would leave the rest drawing over the shell.
                    std::process::exit(PANICKED);
                }
            }));
        });
        TAKEN.store(true, Ordering::SeqCst);
        let screen = take().and_then(|()| Terminal::new(CrosstermBackend::new(stdout())));
        match screen {
            Ok(terminal) => Ok(Self { terminal }),
            Err(error) => {
                give_back();
                Err(unusable(&error))
            }
        }
    }

    /// Draws what is to be seen.
    pub(super) fn draw(&mut self, app: &mut App<'_>) -> Result<()> {
        self.terminal.draw(|frame| app.draw(frame)).map(|_| ()).map_err(|error| unusable(&error))
    }

    /// The window has another size: what was drawn counts no more.
    pub(super) fn forget(&mut self) {
        // One that cannot be cleared cannot be drawn to, which says so.
        let _ = self.terminal.clear();
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

fn unusable(error: &io::Error) -> Failure {
    Failure::refused(format!("This terminal cannot be used: {error}. Check TERM, or use --tail and --send."))
}

fn take() -> io::Result<()> {
    enable_raw_mode()?;
    execute!(stdout(), EnterAlternateScreen, EnableBracketedPaste, EnableFocusChange)?;
    // Where the terminal can, Shift+Enter is told from Enter.
    if supports_keyboard_enhancement().unwrap_or(false) {
        let flags = KeyboardEnhancementFlags::DISAMBIGUATE_ESCAPE_CODES;
        execute!(stdout(), PushKeyboardEnhancementFlags(flags))?;
        ENHANCED.store(true, Ordering::SeqCst);
    }
    Ok(())
}

/// Gives it back, once; a terminal that is gone needs nothing.
fn give_back() {
    if TAKEN.swap(false, Ordering::SeqCst) {
        if ENHANCED.swap(false, Ordering::SeqCst) {
            let _ = execute!(stdout(), PopKeyboardEnhancementFlags);
        }
        let _ = execute!(stdout(), DisableFocusChange, DisableBracketedPaste, LeaveAlternateScreen, Show);
        let _ = disable_raw_mode();
    }
}
