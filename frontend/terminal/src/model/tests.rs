//! Keys at the model: what comes of them.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use quorate_client::Input;
use quorate_client::view::ListRow;

use super::*;

fn row(id: u64, name: &str) -> ListRow {
    ListRow {
        id,
        name: name.to_owned(),
        portrait: None,
        group: false,
        bot: false,
        member_count: 2,
        preview: String::new(),
        time: 1,
        unread: 0,
        pending: false,
        failed: false,
        mentions: 0,
        marked: false,
        muted: false,
        favourite: false,
        folded: false,
        draft: false,
        presence: None,
    }
}

fn list() -> Vec<ListRow> {
    vec![row(1, "Ana"), row(2, "Bob"), row(3, "Team")]
}

fn press(model: &mut Model, code: KeyCode, modifiers: KeyModifiers) -> Vec<Act> {
    let list = list();
    let known = Known { list: &list, has_failed: false, unsent: 0 };
    pressed(model, known, KeyEvent::new(code, modifiers))
}

fn write(model: &mut Model, text: &str) {
    for c in text.chars() {
        press(model, KeyCode::Char(c), KeyModifiers::NONE);
    }
}

fn inside() -> Model {
    Model { stage: Stage::Inside, ..Model::default() }
}

fn in_conversation() -> Model {
    let mut model = inside();
    model.go_to(2, None, None);
    model
}

#[test]
fn enter_sends_and_alt_enter_is_a_new_line() {
    let mut model = in_conversation();
    write(&mut model, "hi");
    assert!(matches!(
        press(&mut model, KeyCode::Enter, KeyModifiers::ALT)[..],
        [Act::Feed(Input::Typing(2)), Act::Feed(Input::Draft(2, _))]
    ));
    write(&mut model, "you");
    press(&mut model, KeyCode::Char('j'), KeyModifiers::CONTROL);
    let acts = press(&mut model, KeyCode::Enter, KeyModifiers::NONE);
    assert!(matches!(&acts[..], [Act::Send { conversation: 2, text }] if text == "hi\nyou\n"), "{acts:?}");
    assert_eq!(model.composer.text(), "hi\nyou\n", "kept until the rules have taken it");
    model.composer.take();
    write(&mut model, "  ");
    assert!(press(&mut model, KeyCode::Enter, KeyModifiers::NONE).is_empty(), "nothing is no message");
}

#[test]
fn a_question_mark_is_help_until_something_is_written() {
    let mut model = in_conversation();
    write(&mut model, "?");
    assert_eq!(model.dialog, Some(Dialog::Help));
    write(&mut model, "?");
    assert_eq!((model.dialog.clone(), model.composer.text()), (None, "?"), "pressed again it is meant");
    write(&mut model, "?");
    assert_eq!((model.dialog.clone(), model.composer.text()), (None, "??"));
    model.pane = Pane::List;
    write(&mut model, "?");
    assert_eq!(model.dialog, Some(Dialog::Help));
}

#[test]
fn conversations_are_switched_by_keys() {
    let mut model = inside();
    press(&mut model, KeyCode::Down, KeyModifiers::NONE);
    press(&mut model, KeyCode::Down, KeyModifiers::NONE);
    assert_eq!(model.cursor, Some(2));
    assert!(matches!(press(&mut model, KeyCode::Enter, KeyModifiers::NONE)[..], [Act::Open(2)]));
    let mut model = in_conversation();
    assert!(matches!(press(&mut model, KeyCode::Down, KeyModifiers::ALT)[..], [Act::Open(3)]));
    assert!(matches!(press(&mut model, KeyCode::Up, KeyModifiers::ALT)[..], [Act::Open(1)]));
    model.open = Some(3);
    assert!(press(&mut model, KeyCode::Down, KeyModifiers::ALT).is_empty(), "the last");

    press(&mut model, KeyCode::Char('k'), KeyModifiers::CONTROL);
    write(&mut model, "b");
    assert!(matches!(press(&mut model, KeyCode::Enter, KeyModifiers::NONE)[..], [Act::Open(2)]));
    press(&mut model, KeyCode::Esc, KeyModifiers::NONE);
    assert_eq!(model.dialog, None);
}

#[test]
fn somebody_is_named_with_or_without_the_sign() {
    let mut model = inside();
    press(&mut model, KeyCode::Char('n'), KeyModifiers::CONTROL);
    assert!(press(&mut model, KeyCode::Enter, KeyModifiers::NONE).is_empty());
    write(&mut model, "@Bob ");
    let acts = press(&mut model, KeyCode::Enter, KeyModifiers::NONE);
    assert!(matches!(&acts[..], [Act::Start(name)] if name == "bob"), "{acts:?}");
}

#[test]
fn the_door_asks_for_both_and_forgets_a_wrong_password() {
    let mut model = Model { stage: Stage::Door(Door::default()), ..Model::default() };
    write(&mut model, "ana");
    assert!(press(&mut model, KeyCode::Enter, KeyModifiers::NONE).is_empty());
    write(&mut model, "wrong horse");
    press(&mut model, KeyCode::F(2), KeyModifiers::NONE);
    let acts = press(&mut model, KeyCode::Enter, KeyModifiers::NONE);
    let [Act::SignIn { name, password, new: true }] = &acts[..] else { panic!("{acts:?}") };
    assert_eq!((name.as_str(), password.as_str()), ("ana", "wrong horse"));
    assert!(press(&mut model, KeyCode::Enter, KeyModifiers::NONE).is_empty(), "one at a time");
    let Stage::Door(door) = &mut model.stage else { panic!("at the door") };
    door.refused("No.".to_owned());
    assert!(door.password.is_empty() && door.name.text() == "ana" && !door.busy);
}

#[test]
fn leaving_is_possible_from_everywhere() {
    for stage in [Stage::Starting(String::new()), Stage::Door(Door::default()), Stage::Inside] {
        let mut model = Model { stage, dialog: Some(Dialog::Help), ..Model::default() };
        let acts = press(&mut model, KeyCode::Char('c'), KeyModifiers::CONTROL);
        assert!(matches!(acts[..], [Act::Quit]));
    }
}

#[test]
fn a_paste_goes_where_the_keys_go() {
    let mut model = in_conversation();
    model.pane = Pane::List;
    assert_eq!(model.pasted("two\nlines\u{1b}[0m").len(), 2);
    assert_eq!((model.composer.text(), model.pane), ("two\nlines", Pane::Composer));
    let mut model = Model { stage: Stage::Door(Door::default()), ..Model::default() };
    assert!(model.pasted("ana\n").is_empty());
    assert!(matches!(&model.stage, Stage::Door(door) if door.name.text() == "ana"));
}
