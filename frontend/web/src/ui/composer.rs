//! Where messages are written. Never disabled: what cannot be sent now waits.

use leptos::html;
use leptos::prelude::*;
use quorate_client::proto::frame::User;
use quorate_client::proto::ids::ConversationId;
use quorate_client::proto::limits::TEXT_BYTES_MAX;
use quorate_client::view::{
    ListRow, Portrait, Sign, byte_of_utf16, called, candidates, complete, naming, portrait_of, quote,
    room_link, rooms, utf16_of_byte,
};
use quorate_client::{Deed, Input};
use web_sys::{HtmlElement, HtmlTextAreaElement, KeyboardEvent};

use super::avatar::Avatar;
use super::bots::Badge;
use super::emoji_picker::EmojiPicker;
use super::icons::{Glyph, Icon};
use super::suggest::Suggest;
use super::tray::{Clip, Tray, pasted};
use crate::context::{App, Editing, Sheet};
use crate::follow::{follow, memo};
use crate::words::{t, tf, tn};

/// The counter appears when this many bytes are left.
const COUNTER_BYTES: usize = 1_000;

/// What a name that is being typed may mean.
#[derive(Debug, Clone)]
struct Offer {
    name: String,
    about: String,
    portrait: Option<Portrait>,
    bot: bool,
    /// What the text gets.
    put: String,
}

impl Offer {
    fn person(user: &User) -> Self {
        let put = format!("@{}", user.name);
        let (name, portrait) = (called(user).to_owned(), portrait_of(user));
        Self { name, about: put.clone(), portrait, bot: user.bot, put }
    }

    fn room(row: &ListRow) -> Self {
        let about = super::chat::members(row.member_count);
        let put = room_link(row.id, &row.name);
        Self { name: format!("#{}", row.name), about, portrait: row.portrait, bot: false, put }
    }
}

/// Where the caret is, in bytes.
fn caret(area: &HtmlTextAreaElement, text: &str) -> usize {
    let units = area.selection_start().ok().flatten().unwrap_or(0);
    byte_of_utf16(text, units as usize)
}

/// Another text, with the caret at this byte.
fn put(area: &HtmlTextAreaElement, text: &str, caret: usize) {
    area.set_value(text);
    let units = u32::try_from(utf16_of_byte(text, caret)).unwrap_or(0);
    // Fails on no text area.
    let _ = area.set_selection_range(units, units);
    let _ = area.focus();
}

/// See the module. A draft is kept per conversation.
#[component]
pub(crate) fn Composer(id: ConversationId) -> impl IntoView {
    let app = App::of_context();
    let input = NodeRef::<html::Textarea>::new();
    let bytes = RwSignal::new(0_usize);
    let offered = RwSignal::new(Vec::<Offer>::new());
    let chosen = RwSignal::new(None::<usize>);
    let picking = RwSignal::new(false);
    let draft = move || app.with(|client| client.draft(id).cloned()).unwrap_or_default();
    let keep = move |text: &str| {
        bytes.set(text.len());
        // An edit is no draft: the message has a text already.
        if app.editing.with_untracked(Option::is_none) {
            app.draft(id, text);
        }
    };
    let offer = move |area: &HtmlTextAreaElement| {
        let text = area.value();
        let group =
            app.heading.with_untracked(|heading| heading.as_ref().is_some_and(|heading| heading.group));
        let found = naming(&text, caret(area, &text));
        // `#3` may be just that: of groups none is chosen before a key says which, so that Enter sends.
        let person = found.as_ref().is_some_and(|naming| naming.sign == Sign::Person);
        let found = found.map(|naming| match naming.sign {
            Sign::Person => app.with(|client| {
                let members = client.conversation(id).map(|conversation| conversation.members.as_slice());
                let found = candidates(members.unwrap_or_default(), &naming.typed, app.my_id(), group);
                found.iter().map(Offer::person).collect::<Vec<_>>()
            }),
            Sign::Room => app
                .list
                .with_untracked(|list| rooms(list, &naming.typed).into_iter().map(Offer::room).collect()),
        });
        chosen.set(person.then_some(0));
        offered.set(found.unwrap_or_default());
    };
    let take = move |offer: &Offer| {
        let Some(area) = input.get_untracked() else { return };
        let text = area.value();
        let at = caret(&area, &text);
        if let Some(naming) = naming(&text, at) {
            let (text, at) = complete(&text, &naming, at, &offer.put);
            put(&area, &text, at);
            keep(&text);
            grow(&area);
        }
        offered.set(Vec::new());
    };
    let pick = Callback::new(move |emoji: &'static str| {
        picking.set(false);
        let Some(area) = input.get_untracked() else { return };
        let text = area.value();
        let at = caret(&area, &text);
        let (head, tail) = text.split_at(at);
        let text = format!("{head}{emoji}{tail}");
        put(&area, &text, at + emoji.len());
        keep(&text);
    });
    let suggested = Callback::new(move |text: String| {
        let Some(area) = input.get_untracked() else { return };
        let had = area.value();
        let text = if had.trim().is_empty() { text } else { format!("{} {text}", had.trim_end()) };
        put(&area, &text, text.len());
        keep(&text);
        grow(&area);
    });
    let close = Callback::new(move |()| {
        picking.set(false);
        if let Some(area) = input.get_untracked() {
            let _ = area.focus();
        }
    });
    // The bars above the box go, and the box has what belongs there without them.
    let leave_bars = move || {
        let was_editing = app.editing.with_untracked(Option::is_some);
        app.editing.set(None);
        app.replying.set(None);
        if was_editing && let Some(area) = input.get_untracked() {
            let draft = draft();
            area.set_value(&draft.text);
            app.replying.set(draft.reply_to);
            bytes.set(draft.text.len());
            grow(&area);
        } else if let Some(area) = input.get_untracked() {
            keep(&area.value());
        }
    };
    let has_files = memo(move || app.tray.with(|tray| !tray.rows.is_empty()));
    let send = move || {
        let Some(area) = input.get_untracked() else { return };
        let text = area.value();
        let text = text.trim_end().to_owned();
        let shows_files = app.editing.with_untracked(Option::is_none) && has_files.get_untracked();
        if text.trim().is_empty() && !shows_files {
            return;
        }
        if let Some(editing) = app.editing.get_untracked() {
            if text.len() > TEXT_BYTES_MAX {
                return app.warn(t("The message is too long."));
            }
            if text != editing.text
                || app.with(|client| client.commands().refused(id, editing.sequence).is_some())
            {
                let (sequence, if_revision) = (editing.sequence, Some(editing.revision));
                app.fire(Deed::Edit { conversation: id, sequence, text, if_revision });
            }
            leave_bars();
        } else if app.send(text) {
            app.replying.set(None);
            area.set_value("");
            keep("");
            grow(&area);
        }
        offered.set(Vec::new());
        let _ = area.focus();
    };
    let edit_last = move || {
        let last = app.with(|client| {
            let message = client.conversation(id)?.last_own()?;
            let (sequence, revision) = (message.sequence, message.revision);
            Some(Editing { sequence, revision, text: message.text.clone() })
        });
        if last.is_some() {
            app.replying.set(None);
            app.editing.set(last);
        }
    };
    let pressed = move |event: KeyboardEvent| {
        // While an input method composes, keys belong to it.
        if event.is_composing() {
            return;
        }
        let count = offered.with_untracked(Vec::len);
        let empty = input.get_untracked().is_none_or(|area| area.value().is_empty());
        match event.key().as_str() {
            "ArrowDown" if count > 0 => chosen.update(|at| *at = Some(at.map_or(0, |at| (at + 1) % count))),
            "ArrowUp" if count > 0 => chosen.update(|at| *at = Some((at.unwrap_or(0) + count - 1) % count)),
            key @ ("Enter" | "Tab")
                if count > 0 && !event.shift_key() && (key == "Tab" || chosen.get_untracked().is_some()) =>
            {
                let at = chosen.get_untracked().unwrap_or(0);
                let offer = offered.with_untracked(|offered| offered.get(at).cloned());
                if let Some(offer) = offer {
                    take(&offer);
                }
            }
            "Escape" if count > 0 => offered.set(Vec::new()),
            "Escape" if picking.get_untracked() => picking.set(false),
            "Escape"
                if app.editing.with_untracked(Option::is_some) || app.replying.get_untracked().is_some() =>
            {
                leave_bars();
            }
            "Enter" if !event.shift_key() => send(),
            "ArrowUp" if empty && !event.alt_key() => edit_last(),
            _ => return,
        }
        event.prevent_default();
        event.stop_propagation();
    };
    // With a pointer and keys at hand, one may type at once; on a phone the keyboard would cover the page.
    let fine = window().match_media("(pointer: fine)").ok().flatten().is_some_and(|query| query.matches());
    // What another device wrote comes in where nothing was typed here.
    let drafted = memo(move || app.times_redrafted(id));
    Effect::new(move |before: Option<u32>| {
        let drafted = drafted.get();
        if let Some(area) = input.get() {
            let draft = draft();
            if before != Some(drafted) && app.editing.with_untracked(Option::is_none) {
                app.replying.set(draft.reply_to);
                area.set_value(&draft.text);
                bytes.set(draft.text.len());
                grow(&area);
            }
            if before.is_none() && fine {
                let _ = area.focus();
            }
        }
        drafted
    });
    follow(move || {
        let Some(editing) = app.editing.get() else { return };
        if let Some(area) = input.get_untracked() {
            put(&area, &editing.text, editing.text.len());
            bytes.set(editing.text.len());
            grow(&area);
        }
    });
    Effect::new(move |before: Option<Option<u64>>| {
        let replying = app.replying.get();
        // Who goes elsewhere leaves the draft as it is.
        let here = app.focused.get_untracked() == Some(id);
        if here
            && before.is_some_and(|before| before != replying)
            && let Some(area) = input.get_untracked()
        {
            keep(&area.value());
        }
        replying
    });
    let label = move || {
        app.heading.with(|heading| {
            heading
                .as_ref()
                .map_or_else(|| t("Message").to_owned(), |heading| tf("Message {}", &[&heading.name]))
        })
    };
    let typing = move || {
        app.heading.with(|heading| {
            heading.as_ref().and_then(|heading| heading.typing.as_ref()).map(|line| format!("{line} …"))
        })
    };
    let closed =
        memo(move || app.heading.with(|heading| heading.as_ref().and_then(|heading| heading.closed)));
    let left = move || TEXT_BYTES_MAX as i64 - bytes.get() as i64;
    let later = move |_| {
        let text = input.get_untracked().map(|area| area.value()).unwrap_or_default();
        if text.trim().is_empty() {
            return app.tell(t("Write the message first, then choose when it is sent."));
        }
        if has_files.get_untracked() {
            return app
                .tell(t("A message with files cannot be sent later. Send it now, or take the files out."));
        }
        app.sheet.set(Some(Sheet::Later(id, text.trim_end().to_owned(), app.replying.get_untracked())));
    };
    view! {
        <div class="composer" data-region>
            {move || closed.get().map(|why| view! { <p class="closed" role="status" data-testid="closed">{why}</p> })}
            {move || closed.get().is_none().then(|| view! { <Suggest id take=suggested/> })}
            <Bar id leave=Callback::new(move |()| leave_bars())/>
            {move || (!offered.with(Vec::is_empty)).then(|| view! {
                <div class="offers" id="offers" role="listbox" aria-label=t("Suggested names") data-testid="mention-offers">
                    {offered.get().into_iter().enumerate().map(|(at, offer)| {
                        let Offer { name, about, portrait, bot, .. } = offer.clone();
                        view! {
                            <button
                                type="button"
                                class="pick"
                                role="option"
                                id=format!("offer-{at}")
                                aria-selected=move || (chosen.get() == Some(at)).to_string()
                                on:pointerdown=move |event| { event.prevent_default(); take(&offer); }
                            >
                                <Avatar name=name.trim_start_matches('#').to_owned() portrait size="small"/>
                                <span>{name}{bot.then(|| view! { <Badge/> })}<small>{about}</small></span>
                            </button>
                        }
                    }).collect_view()}
                </div>
            })}
            {move || picking.get().then(|| view! { <div class="composer-emoji"><EmojiPicker pick close/></div> })}
            <Tray/>
            <form on:submit=move |event| { event.prevent_default(); send(); }>
                <Clip id/>
                <textarea
                    node_ref=input
                    rows="1"
                    data-testid="composer"
                    data-region-focus
                    aria-label=label
                    aria-autocomplete="list"
                    aria-controls=move || (!offered.with(Vec::is_empty)).then_some("offers")
                    aria-activedescendant=move || chosen.get().filter(|_| !offered.with(Vec::is_empty)).map(|at| format!("offer-{at}"))
                    placeholder=label
                    enterkeyhint="send"
                    on:keydown=pressed
                    on:paste=move |event| pasted(app, id, &event)
                    on:blur=move |_| offered.set(Vec::new())
                    on:input=move |_| {
                        if let Some(area) = input.get_untracked() {
                            keep(&area.value());
                            grow(&area);
                            offer(&area);
                            if !area.value().trim().is_empty() {
                                app.input(Input::Typing(id));
                            }
                        }
                    }
                ></textarea>
                <button type="button" class="icon-button" aria-label=t("Emoji") title=t("Emoji") data-testid="composer-emoji" on:click=move |_| picking.update(|open| *open = !*open)>
                    <Glyph icon=Icon::Smile/>
                </button>
                <button type="button" class="icon-button" aria-label=t("Send later") title=t("Send later") data-testid="send-later" on:click=later>
                    <Glyph icon=Icon::Later/>
                </button>
                <button type="submit" class="icon-button send" class:idle=move || bytes.get() == 0 && !has_files.get() aria-label=t("Send") title=t("Send (Enter)")>
                    <Glyph icon=Icon::Send/>
                </button>
            </form>
            <div class="foot">
                <span class="typing" data-testid="typing" role="status" aria-live="polite">{typing}</span>
                <span class="hint">{move || (bytes.get() > 0).then_some(t("Enter sends, Shift+Enter starts a new line"))}</span>
                {move || (left() < COUNTER_BYTES as i64).then(|| {
                    let over = left() < 0;
                    let bytes = left().unsigned_abs();
                    let text = if over { tn(bytes, "{} byte too long", "{} bytes too long") } else { tn(bytes, "{} byte left", "{} bytes left") };
                    view! { <span class:over=over aria-live="polite">{text}</span> }
                })}
            </div>
        </div>
    }
}

/// What the text in the box is: an answer, or another text for a message.
#[component]
fn Bar(id: ConversationId, leave: Callback<()>) -> impl IntoView {
    let app = App::of_context();
    move || {
        let editing = app.editing.with(|editing| editing.as_ref().map(|editing| editing.sequence));
        let (words, sequence, testid) = match (editing, app.replying.get()) {
            (Some(sequence), _) => (t("Editing"), sequence, "edit-bar"),
            (None, Some(sequence)) => (t("Replying to"), sequence, "reply-bar"),
            (None, None) => return ().into_any(),
        };
        // The quote is read again when rows change: the message may come in later, or go.
        app.rows.track();
        let quote =
            app.with(|client| client.conversation(id).map(|held| quote(held, sequence))).unwrap_or_default();
        view! {
            <div class="composer-bar" data-testid=testid>
                <span class="what">{words}" "<b>{if editing.is_some() { String::new() } else { quote.author }}</b></span>
                <span class="of">{quote.text}</span>
                <button type="button" class="icon-button" aria-label=t("Cancel") title=t("Cancel (Esc)") on:click=move |_| leave.run(())>
                    <Glyph icon=Icon::Close size=16/>
                </button>
            </div>
        }
        .into_any()
    }
}

/// As high as its text, up to what the style sheet allows.
pub(crate) fn grow(area: &HtmlTextAreaElement) {
    let style = AsRef::<HtmlElement>::as_ref(area).style();
    let _ = style.set_property("height", "auto");
    let _ = style.set_property("height", &format!("{}px", area.scroll_height()));
}
