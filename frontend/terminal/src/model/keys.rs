//! What each key does, and where.

use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use quorate_client::{Draft, Input};

use super::{Act, Dialog, Door, Editor, Known, Model, Pane, Stage, Switch};

/// A key was pressed.
pub fn pressed(model: &mut Model, known: Known<'_>, key: KeyEvent) -> Vec<Act> {
    if key.kind == KeyEventKind::Release {
        return Vec::new();
    }
    model.note = None;
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    if control && matches!(key.code, KeyCode::Char('c' | 'q')) {
        return vec![Act::Quit];
    }
    match &mut model.stage {
        Stage::Starting(_) => Vec::new(),
        Stage::Door(door) => at_the_door(door, key),
        Stage::Inside if model.dialog.is_some() => in_dialog(model, known, key),
        Stage::Inside => inside(model, known, key),
    }
}

fn at_the_door(door: &mut Door, key: KeyEvent) -> Vec<Act> {
    if door.busy {
        return Vec::new();
    }
    match key.code {
        KeyCode::Enter => {
            let new = door.new;
            return door
                .submit()
                .map(|(name, password)| Act::SignIn { name, password, new })
                .into_iter()
                .collect();
        }
        KeyCode::Tab | KeyCode::BackTab | KeyCode::Up | KeyCode::Down => door.turn(),
        KeyCode::F(2) => {
            door.new = !door.new;
            door.error = None;
        }
        KeyCode::Esc => return vec![Act::Quit],
        _ => {
            edit(door.editor(), key);
        }
    }
    Vec::new()
}

fn in_dialog(model: &mut Model, known: Known<'_>, key: KeyEvent) -> Vec<Act> {
    if key.code == KeyCode::Esc {
        model.dialog = None;
        return Vec::new();
    }
    let Some(dialog) = &mut model.dialog else { return Vec::new() };
    match dialog {
        Dialog::Help | Dialog::Details => {
            // Who pressed `?` to write one presses it again.
            let wanted =
                key.code == KeyCode::Char('?') && *dialog == Dialog::Help && model.pane == Pane::Composer;
            model.dialog = None;
            if wanted && model.open.is_some() {
                model.composer.insert("?");
                return written(model);
            }
        }
        Dialog::Switch(switch) => match key.code {
            KeyCode::Up | KeyCode::BackTab => switch.step(-1, known.list),
            KeyCode::Down | KeyCode::Tab => switch.step(1, known.list),
            KeyCode::Enter => return switch.chosen(known.list).map(Act::Open).into_iter().collect(),
            _ => {
                if edit(&mut switch.query, key) {
                    switch.at = 0;
                }
            }
        },
        Dialog::Start(name, error) => match key.code {
            KeyCode::Enter => {
                let name = name.text().trim().trim_start_matches('@').to_lowercase();
                if !name.is_empty() && model.asked.is_none() {
                    *error = None;
                    return vec![Act::Start(name)];
                }
            }
            _ => {
                edit(name, key);
            }
        },
        Dialog::SignOut(_) => {
            model.dialog = None;
            if matches!(key.code, KeyCode::Char('y' | 'Y')) {
                return vec![Act::SignOut];
            }
        }
    }
    Vec::new()
}

fn inside(model: &mut Model, known: Known<'_>, key: KeyEvent) -> Vec<Act> {
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    let alt = key.modifiers.contains(KeyModifiers::ALT);
    match key.code {
        KeyCode::F(1) => model.dialog = Some(Dialog::Help),
        KeyCode::Char('?') if model.pane == Pane::List || model.composer.is_empty() => {
            model.dialog = Some(Dialog::Help);
        }
        KeyCode::Char('k') if control => model.dialog = Some(Dialog::Switch(Switch::default())),
        KeyCode::Char('n') if control => model.dialog = Some(Dialog::Start(Editor::default(), None)),
        KeyCode::Char('g') if control => {
            model.dialog = Some(Dialog::Details);
            return vec![Act::Feed(Input::Measure)];
        }
        KeyCode::Char('o') if control => model.dialog = Some(Dialog::SignOut(known.unsent)),
        KeyCode::Char('r') if control => return vec![Act::TryAgain],
        KeyCode::Char('x') if control && known.has_failed => return vec![Act::DropFailed],
        KeyCode::Up if alt => return open(Model::beside(known.list, model.open, -1)),
        KeyCode::Down if alt => return open(Model::beside(known.list, model.open, 1)),
        KeyCode::PageUp => return vec![Act::ScrollPages(-1)],
        KeyCode::PageDown => return vec![Act::ScrollPages(1)],
        KeyCode::Home if control => return vec![Act::ScrollEnd { newest: false }],
        KeyCode::End if control => return vec![Act::ScrollEnd { newest: true }],
        KeyCode::Tab | KeyCode::BackTab => {
            let to_list = model.pane == Pane::Composer || model.open.is_none();
            model.pane = if to_list { Pane::List } else { Pane::Composer };
            model.cursor = model.open.or(model.cursor);
        }
        _ if model.pane == Pane::List => return in_list(model, known, key),
        _ => return in_composer(model, key),
    }
    Vec::new()
}

fn open(id: Option<u64>) -> Vec<Act> {
    id.map(Act::Open).into_iter().collect()
}

fn in_list(model: &mut Model, known: Known<'_>, key: KeyEvent) -> Vec<Act> {
    let mut step = |by| {
        if let Some(to) = Model::beside(known.list, model.cursor, by) {
            model.cursor = Some(to);
        }
    };
    match key.code {
        KeyCode::Up | KeyCode::Char('k') => step(-1),
        KeyCode::Down | KeyCode::Char('j') => step(1),
        KeyCode::Home => model.cursor = known.list.first().map(|row| row.id),
        KeyCode::End => model.cursor = known.list.last().map(|row| row.id),
        KeyCode::Enter | KeyCode::Right => {
            return open(model.cursor.or_else(|| known.list.first().map(|row| row.id)));
        }
        KeyCode::Esc if model.open.is_some() => model.pane = Pane::Composer,
        _ => {}
    }
    Vec::new()
}

fn in_composer(model: &mut Model, key: KeyEvent) -> Vec<Act> {
    let Some(conversation) = model.open else { return Vec::new() };
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    match key.code {
        // A new line: Alt+Enter everywhere, Shift+Enter where the terminal tells it apart, Ctrl+J where it knows neither.
        KeyCode::Enter if key.modifiers.intersects(KeyModifiers::ALT | KeyModifiers::SHIFT) => {
            model.composer.insert("\n");
            return written(model);
        }
        KeyCode::Char('j') if control => {
            model.composer.insert("\n");
            return written(model);
        }
        KeyCode::Enter => {
            if model.composer.text().trim().is_empty() {
                return Vec::new();
            }
            return vec![Act::Send { conversation, text: model.composer.text().to_owned() }];
        }
        KeyCode::Esc => return vec![Act::ScrollEnd { newest: true }],
        KeyCode::Up => {
            if !model.composer.up() {
                return vec![Act::Scroll(-1)];
            }
        }
        KeyCode::Down => {
            if !model.composer.down() {
                return vec![Act::Scroll(1)];
            }
        }
        _ => {
            if edit(&mut model.composer, key) {
                return written(model);
            }
        }
    }
    Vec::new()
}

/// Something was written in the composer: it is a draft, and the others may see that she types.
pub(super) fn written(model: &Model) -> Vec<Act> {
    let Some(conversation) = model.open else { return Vec::new() };
    let text = model.composer.text().to_owned();
    let mut acts = Vec::new();
    if !text.is_empty() {
        acts.push(Act::Feed(Input::Typing(conversation)));
    }
    acts.push(Act::Feed(Input::Draft(conversation, Draft { text, reply_to: None })));
    acts
}

impl Model {
    /// A text was pasted.
    pub fn pasted(&mut self, text: &str) -> Vec<Act> {
        self.note = None;
        match (&mut self.stage, &mut self.dialog) {
            // A line that was copied ends with its end, which is no part of a password.
            (Stage::Door(door), _) if !door.busy => {
                door.editor().insert(&crate::clean::line(text.trim_end_matches(['\n', '\r'])));
            }
            (Stage::Inside, Some(Dialog::Switch(Switch { query: to, .. }) | Dialog::Start(to, _))) => {
                to.insert(&crate::clean::line(text));
            }
            (Stage::Inside, None) if self.open.is_some() => {
                self.pane = Pane::Composer;
                self.composer.insert(text);
                return written(self);
            }
            _ => {}
        }
        Vec::new()
    }
}

/// What a key does to a text; whether it changed.
fn edit(editor: &mut Editor, key: KeyEvent) -> bool {
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    let alt = key.modifiers.contains(KeyModifiers::ALT);
    let before = editor.text().len();
    match key.code {
        KeyCode::Char('a') if control => editor.home(),
        KeyCode::Char('e') if control => editor.end(),
        KeyCode::Char('w') if control => editor.delete_word(),
        KeyCode::Char('u') if control => editor.delete_line(),
        KeyCode::Char('b') if alt => editor.word_left(),
        KeyCode::Char('f') if alt => editor.word_right(),
        KeyCode::Char(c) if !control && !alt => editor.insert(c.encode_utf8(&mut [0; 4])),
        KeyCode::Backspace if alt || control => editor.delete_word(),
        KeyCode::Backspace => editor.backspace(),
        KeyCode::Delete => editor.delete(),
        KeyCode::Left if control || alt => editor.word_left(),
        KeyCode::Right if control || alt => editor.word_right(),
        KeyCode::Left => editor.left(),
        KeyCode::Right => editor.right(),
        KeyCode::Home => editor.home(),
        KeyCode::End => editor.end(),
        _ => {}
    }
    // Each of these adds or removes.
    editor.text().len() != before
}
