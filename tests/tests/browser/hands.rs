//! What a person does with pointer and keys in a window, and what she reads there: by selector, by message, by conversation.

use std::time::Duration;

use anyhow::{Context, ensure};
use fantoccini::Locator;
use fantoccini::actions::{InputSource, MouseActions, PointerAction};
use fantoccini::elements::Element;
use quorate_cluster::wait_until;
use quorate_proto::ids::{ConversationId, Sequence};
use quorate_tests::browser;
use serde_json::Value;

use crate::window::{ENTER, PAGE_WAIT, Window};

/// Shift, which is held until [`RELEASE`], as WebDriver writes them.
const SHIFT: &str = "\u{E008}";
const RELEASE: &str = "\u{E000}";
/// The pointer rests this far from the left edge of what it points at.
const EDGE_PX: f64 = 12.0;

/// The selector of a message of the open conversation.
pub fn message(sequence: Sequence) -> String {
    format!("[data-testid=message][data-sequence=\"{sequence}\"]")
}

/// The selector of a line in the list.
pub fn row(conversation: ConversationId) -> String {
    format!("[data-testid=conversation-row][data-conversation=\"{conversation}\"]")
}

/// A text as a script writes it.
fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

impl Window {
    // ---- what a person does ----

    /// Clicks the first of what a selector finds. What is drawn anew meanwhile, or still lies under something else, is tried
    /// again: a click that failed has not happened.
    pub async fn press(&self, css: &str) -> anyhow::Result<()> {
        browser::press(&self.client, self.name, css).await
    }

    /// Clicks that of what a selector finds which says these words.
    pub async fn press_words(&self, css: &str, words: &str) -> anyhow::Result<()> {
        let reason = format!("{} to click {words:?} among {css}", self.name);
        wait_until(&reason, PAGE_WAIT, || self.click_words(css, words)).await?;
        Ok(())
    }

    /// One try of that.
    async fn click_words(&self, css: &str, words: &str) -> Result<(), String> {
        let found = self.client.find_all(Locator::Css(css)).await.map_err(|error| error.to_string())?;
        let mut others = Vec::new();
        for element in found {
            let said = element.text().await.map_err(|error| error.to_string())?;
            if said.trim() == words {
                return element.click().await.map_err(|error| error.to_string());
            }
            others.push(said);
        }
        Err(format!("there are {others:?}"))
    }

    /// Puts a text into a field in place of what stood there. A field that is drawn anew meanwhile is filled again.
    pub async fn fill(&self, css: &str, text: &str) -> anyhow::Result<()> {
        browser::fill(&self.client, self.name, css, text).await
    }

    /// The same, and Enter.
    pub async fn enter(&self, css: &str, text: &str) -> anyhow::Result<()> {
        self.fill(css, text).await?;
        self.keys(css, ENTER).await
    }

    /// Types into a field. Keys for a field that is gone were not typed: they go to the one that stands there then.
    pub async fn keys(&self, css: &str, keys: &str) -> anyhow::Result<()> {
        wait_until(&format!("{} to type into {css}", self.name), PAGE_WAIT, || async {
            let field = self.client.find(Locator::Css(css)).await.map_err(|error| error.to_string())?;
            field.send_keys(keys).await.map_err(|error| error.to_string())
        })
        .await?;
        Ok(())
    }

    /// Chooses what a select offers under this value.
    pub async fn select(&self, css: &str, value: &str) -> anyhow::Result<()> {
        wait_until(&format!("{} to choose {value} of {css}", self.name), PAGE_WAIT, || async {
            let field = self.client.find(Locator::Css(css)).await.map_err(|error| error.to_string())?;
            field.select_by_value(value).await.map_err(|error| error.to_string())
        })
        .await?;
        Ok(())
    }

    /// Chooses what is done to a member of the open group; it is done once [`Self::confirm_act`] says so.
    pub async fn choose_act(&self, member: &str, value: &str) -> anyhow::Result<()> {
        let confirm = format!("{member} [data-testid=confirm-act]");
        wait_until(&format!("{} to choose {value} for {member}", self.name), PAGE_WAIT, || async {
            let acts = format!("{member} [data-testid=member-acts]");
            let field = self.client.find(Locator::Css(&acts)).await.map_err(|error| error.to_string())?;
            field.select_by_value(value).await.map_err(|error| error.to_string())?;
            self.client.find(Locator::Css(&confirm)).await.map(drop).map_err(|error| error.to_string())
        })
        .await?;
        Ok(())
    }

    /// Does it. The list is read again whenever somebody comes, goes or changes, and forgets then what was chosen in it: so it is
    /// chosen again until the click was made.
    pub async fn confirm_act(&self, member: &str, value: &str) -> anyhow::Result<()> {
        let confirm = format!("{member} [data-testid=confirm-act]");
        wait_until(&format!("{} to confirm {value} for {member}", self.name), PAGE_WAIT, || async {
            self.choose_act(member, value).await.map_err(|error| format!("{error:#}"))?;
            let found = self.client.find(Locator::Css(&confirm)).await.map_err(|error| error.to_string())?;
            found.click().await.map_err(|error| error.to_string())
        })
        .await?;
        Ok(())
    }

    /// Types without sending; a line break is Shift and Enter.
    pub async fn compose(&self, text: &str) -> anyhow::Result<()> {
        let keys = text.replace('\n', &format!("{SHIFT}{ENTER}{RELEASE}"));
        self.keys("[data-testid=composer]", &keys).await
    }

    /// Says something and waits for its tick; its place in the conversation.
    pub async fn tell(&self, text: &str) -> anyhow::Result<Sequence> {
        self.say(text).await?;
        self.wait_sent(&[text]).await?;
        let told = self.messages().await?.into_iter().find(|shown| shown.text == text);
        told.and_then(|shown| shown.sequence).with_context(|| format!("{text} has no sequence"))
    }

    /// Opens a conversation from the list.
    pub async fn open_row(&self, conversation: ConversationId) -> anyhow::Result<()> {
        self.press(&row(conversation)).await?;
        // The address changes before what is drawn does: words must not go to the conversation before.
        self.wait_attribute(&row(conversation), "aria-current", Some("true")).await?;
        self.wait_for("composer").await
    }

    /// The conversation that is open.
    pub async fn conversation(&self) -> anyhow::Result<ConversationId> {
        let script = "return Number(location.hash.split('/')[2] ?? 0)";
        let wanted = |id: f64| id >= 1.0;
        Ok(wait_until(&format!("{} to be in a conversation", self.name), PAGE_WAIT, || async {
            let id: f64 = self.read(script).await.map_err(|error| format!("{error:#}"))?;
            if wanted(id) { Ok(id as ConversationId) } else { Err("none is open".to_owned()) }
        })
        .await?)
    }

    /// Makes a group by the dialog and stays in it.
    pub async fn make_group(&self, title: &str, with: &[&str]) -> anyhow::Result<ConversationId> {
        self.press("[data-testid=new-conversation]").await?;
        for name in with {
            self.wait_for("people").await?;
            self.fill("[data-testid=people]", name).await?;
            self.press(&format!("[data-testid=person][data-name={name}]")).await?;
        }
        if with.len() < 2 {
            self.press("[data-testid=make-group]").await?;
        }
        self.wait_for("group-title").await?;
        self.fill("[data-testid=group-title]", title).await?;
        self.picture("group-dialog").await?;
        self.press("[data-testid=start-conversation]").await?;
        self.wait_text("[data-testid=conversation-title]", title).await?;
        self.conversation().await
    }

    /// Goes to an address of the page without loading it anew, as a followed link in the page does.
    pub async fn visit(&self, address: &str) -> anyhow::Result<()> {
        self.client.goto(address).await.with_context(|| format!("{} goes to {address}", self.name))
    }

    /// Puts the pointer on something.
    async fn point_at(&self, css: &str) -> anyhow::Result<()> {
        let script =
            format!("document.querySelector({})?.scrollIntoView({{ block: 'nearest' }})", quoted(css));
        self.client.execute(&script, Vec::new()).await?;
        let element = self.found(css).await?;
        // At its beginning, where nothing ever floats above it.
        let (_, _, width, _) = element.rectangle().await?;
        let x = EDGE_PX - (width / 2.0).floor();
        let to = PointerAction::MoveToElement { element, duration: None, x, y: 0.0 };
        self.client.perform_actions(MouseActions::new("mouse".to_owned()).then(to)).await?;
        Ok(())
    }

    /// Points at a message and clicks one of the buttons that appear beside it.
    pub async fn tool(&self, sequence: Sequence, testid: &str) -> anyhow::Result<()> {
        let message = message(sequence);
        let button = format!("{message} [data-testid={testid}]");
        let reason = format!("{} to find {testid} beside message {sequence}", self.name);
        wait_until(&reason, PAGE_WAIT, || async {
            // From elsewhere, so that the pointer enters the message even where it rested there before.
            self.point_at(".chat-head .title").await.map_err(|error| format!("{error:#}"))?;
            self.point_at(&message).await.map_err(|error| format!("{error:#}"))?;
            let found = self.client.find(Locator::Css(&button)).await.map_err(|error| error.to_string())?;
            found.click().await.map_err(|error| error.to_string())
        })
        .await?;
        Ok(())
    }

    /// Chooses a line of a message's menu, which is opened again when it was closed: a timeline that scrolls takes the message from
    /// under the pointer.
    pub async fn menu(&self, sequence: Sequence, words: &str) -> anyhow::Result<()> {
        let items = format!("{} [role=menuitem]", message(sequence));
        let reason = format!("{} to choose {words:?} for message {sequence}", self.name);
        wait_until(&reason, PAGE_WAIT, || async {
            if self.count(&items).await.map_err(|error| format!("{error:#}"))? == 0 {
                self.tool(sequence, "message-more").await.map_err(|error| format!("{error:#}"))?;
            }
            self.click_words(&items, words).await
        })
        .await?;
        Ok(())
    }

    /// Opens the details drawer.
    pub async fn open_details(&self) -> anyhow::Result<()> {
        self.press("[data-testid=details-toggle][aria-expanded=false]").await?;
        self.wait_for("details").await
    }

    pub async fn close_details(&self) -> anyhow::Result<()> {
        self.press("[data-testid=details] [aria-label='Close details']").await?;
        self.wait_count("[data-testid=details]", 0).await
    }

    pub async fn close_panel(&self) -> anyhow::Result<()> {
        self.press("[data-testid=panel] [aria-label='Close panel']").await?;
        self.wait_count("[data-testid=panel]", 0).await
    }

    /// Closes the dialog that is open.
    pub async fn close_dialog(&self) -> anyhow::Result<()> {
        self.press("dialog[open] [aria-label=Close]").await?;
        self.no_dialog().await
    }

    pub async fn no_dialog(&self) -> anyhow::Result<()> {
        self.wait_count("dialog[open]", 0).await
    }

    /// Waits for a toast with these words and dismisses it, unless it goes by itself before.
    pub async fn dismiss(&self, words: &str) -> anyhow::Result<()> {
        self.wait_text(".toast", words).await?;
        wait_until(&format!("{} to be rid of the toast", self.name), PAGE_WAIT, || async {
            if self.count(".toast").await.map_err(|error| format!("{error:#}"))? == 0 {
                return Ok(());
            }
            self.click_words(".toast button", "Dismiss").await?;
            Err("it is still there".to_owned())
        })
        .await?;
        Ok(())
    }

    /// Chooses a moment this far ahead in the open dialog's field; a person would choose whole minutes and wait longer.
    pub async fn set_moment(&self, ahead: Duration) -> anyhow::Result<()> {
        self.wait_for("at").await?;
        let script = format!(
            "const d = new Date(Date.now() + {}); const p = n => String(n).padStart(2, '0');
            const at = document.querySelector('[data-testid=at]');
            at.value = `${{d.getFullYear()}}-${{p(d.getMonth() + 1)}}-${{p(d.getDate())}}T${{p(d.getHours())}}:${{p(d.getMinutes())}}:${{p(d.getSeconds())}}`;
            return at.value",
            ahead.as_millis()
        );
        let taken: String = self.read(&script).await?;
        ensure!(!taken.is_empty(), "{}: the field takes no seconds", self.name);
        Ok(())
    }

    // ---- what a person sees ----

    /// How many a selector finds.
    pub async fn count(&self, css: &str) -> anyhow::Result<u64> {
        self.read(&format!("return document.querySelectorAll({}).length", quoted(css))).await
    }

    pub async fn wait_count(&self, css: &str, count: u64) -> anyhow::Result<()> {
        let script = format!("return document.querySelectorAll({}).length", quoted(css));
        self.wait_read(&format!("{count} of {css}"), &script, &count).await
    }

    /// Waits until something that a selector finds has these words in it.
    pub async fn wait_text(&self, css: &str, words: &str) -> anyhow::Result<()> {
        let script =
            format!("return [...document.querySelectorAll({})].map(e => e.textContent)", quoted(css));
        wait_until(&format!("{} to read {words:?} in {css}", self.name), PAGE_WAIT, || async {
            let said: Vec<String> = self.read(&script).await.map_err(|error| format!("{error:#}"))?;
            if said.iter().any(|said| said.contains(words)) {
                Ok(())
            } else {
                Err(format!("there is {said:?}"))
            }
        })
        .await?;
        Ok(())
    }

    /// Waits until an attribute has this value; `None`: until it is not there.
    pub async fn wait_attribute(&self, css: &str, name: &str, value: Option<&str>) -> anyhow::Result<()> {
        let script = format!(
            "const e = document.querySelector({}); return e ? e.getAttribute({}) : 'nothing is there'",
            quoted(css),
            quoted(name)
        );
        self.wait_read(&format!("{name} of {css}"), &script, &value.map(ToOwned::to_owned)).await
    }

    /// What stands in a field.
    pub async fn value(&self, css: &str) -> anyhow::Result<String> {
        self.read(&format!("return document.querySelector({})?.value ?? ''", quoted(css))).await
    }

    pub async fn wait_value(&self, css: &str, value: &str) -> anyhow::Result<()> {
        let script = format!("return document.querySelector({})?.value ?? ''", quoted(css));
        self.wait_read(&format!("what stands in {css}"), &script, &value.to_owned()).await
    }

    /// Waits until a selector finds something that says anything at all, such as why something was refused.
    pub async fn wait_words(&self, css: &str) -> anyhow::Result<String> {
        let script = format!(
            "return [...document.querySelectorAll({})].map(e => e.textContent.trim()).filter(t => t).join(' ')",
            quoted(css)
        );
        Ok(wait_until(&format!("{} to read anything in {css}", self.name), PAGE_WAIT, || async {
            let said: String = self.read(&script).await.map_err(|error| format!("{error:#}"))?;
            if said.is_empty() { Err("it says nothing".to_owned()) } else { Ok(said) }
        })
        .await?)
    }

    /// Whether these words stand anywhere on the page.
    pub async fn shows(&self, words: &str) -> anyhow::Result<bool> {
        self.read(&format!("return document.body.textContent.includes({})", quoted(words))).await
    }

    /// Pictures in all views; nothing may be wider than a phone.
    pub async fn look(&self, step: &str) -> anyhow::Result<()> {
        self.shoot(step).await?;
        let wide = self.phone_overflow().await?;
        ensure!(wide.is_none(), "{} at {step}: {}", self.name, wide.unwrap_or_default());
        Ok(())
    }

    /// What a selector finds, once it is there.
    async fn found(&self, css: &str) -> anyhow::Result<Element> {
        Ok(wait_until(&format!("{} to see {css}", self.name), PAGE_WAIT, || async {
            let found = self.client.find(Locator::Css(css)).await.map_err(|error| error.to_string())?;
            match found.is_displayed().await {
                Ok(true) => Ok(found),
                other => Err(format!("it is there, displayed: {other:?}")),
            }
        })
        .await?)
    }
}
