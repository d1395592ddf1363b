//! What one comes back to: search, drafts, what is sent or remembered later, counts, how one has a conversation, suggestions.

use std::time::Duration;

use anyhow::ensure;
use quorate_cluster::wait_until;
use quorate_proto::ids::ConversationId;

use super::messages::Told;
use super::provider::{Provider, SUGGESTED};
use crate::hands::{message, row};
use crate::window::{PAGE_WAIT, Window};

/// More lines than a screen has.
const LINES: usize = 24;
/// What is scheduled is due this far ahead: longer than it takes to press the button.
const AHEAD: Duration = Duration::from_secs(15);
/// Said in the group alone.
const ELSEWHERE: &str = "This brings it back.";

/// A phrase, and what somebody said: a hit leads to its message, however far up it is.
pub(super) async fn found(ana: &Window, ben: &Window, told: Told) -> anyhow::Result<()> {
    ben.open_row(told.group).await?;
    let lines: Vec<String> = (1..=LINES).map(|line| format!("Log of the harbour, line {line}.")).collect();
    for line in &lines {
        ben.say(line).await?;
    }
    ana.open_row(told.group).await?;
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    ana.wait_sent(&lines).await?;
    let is_in_view = in_view(told.asked);

    ana.press("[data-testid=search]").await?;
    let hit = |sequence| format!("[data-testid=search-hit][data-sequence=\"{sequence}\"]");
    search(ana, "\"could you look\" in:harbour", &hit(told.asked)).await?;
    ana.wait_text("[data-testid=search-hit] mark", "could").await?;
    search(ana, "from:ben past", &hit(told.answered)).await?;
    ensure!(ana.count("[data-testid=search-hit]").await? == 1, "ana finds more than ben's answer");
    ana.look("11-search").await?;
    search(ana, "from:ben \"line 24\"", "[data-testid=search-hit]").await?;
    ana.wait_text("[data-testid=search-hit]", "line 24").await?;
    ana.press("[data-testid=search-hit] .found-message").await?;
    ana.wait_read("the question above the screen", &is_in_view, &false).await?;

    search(ana, "\"tide tables\" from:ana in:harbour", &hit(told.asked)).await?;
    ana.press(&format!("{} .found-message", hit(told.asked))).await?;
    ana.wait_read("the message found on the screen", &is_in_view, &true).await?;
    ana.wait_count(&format!("{}:focus", message(told.asked)), 1).await?;
    ana.picture("12-found").await?;
    ana.close_panel().await
}

/// Whether a message is on the screen, as a script.
fn in_view(sequence: u64) -> String {
    format!(
        "const m = document.querySelector('[data-testid=message][data-sequence=\"{sequence}\"]');
        const t = document.querySelector('[data-testid=timeline]').getBoundingClientRect();
        const r = m?.getBoundingClientRect(); return !!r && r.top >= t.top && r.bottom <= t.bottom"
    )
}

/// Asks until the index has come that far.
async fn search(window: &Window, words: &str, hit: &str) -> anyhow::Result<()> {
    let answered = "return !document.querySelector('[data-testid=panel]').textContent.includes('Searching…')";
    let begun = std::time::Instant::now();
    loop {
        window.enter("[data-testid=search-box]", words).await?;
        window.wait_read("an answer to the search", answered, &true).await?;
        if window.count(hit).await? == 1 {
            return Ok(());
        }
        ensure!(begun.elapsed() < PAGE_WAIT, "{} does not find {hit} by {words}", window.name);
    }
}

/// A draft that survives a reload; a message sent later, another taken back; a reminder.
pub(super) async fn later(
    ana: &Window,
    ben: &Window,
    told: Told,
    direct: ConversationId,
) -> anyhow::Result<()> {
    ana.compose("Not finished").await?;
    ana.reload().await?;
    ana.wait_for("composer").await?;
    ana.wait_value("[data-testid=composer]", "Not finished").await?;
    ana.open_row(direct).await?;
    ana.wait_text(&row(told.group), "Draft: Not finished").await?;
    ana.picture("13-draft").await?;
    ana.open_row(told.group).await?;
    ana.wait_value("[data-testid=composer]", "Not finished").await?;
    ana.clear_composer().await?;

    // Sent by the cluster, when its time has come.
    ana.compose("The tide turns now.").await?;
    ana.press("[data-testid=send-later]").await?;
    ana.look("14-send-later").await?;
    ana.set_moment(AHEAD).await?;
    ana.press("[data-testid=schedule]").await?;
    ana.no_dialog().await?;
    ana.wait_text("[data-testid=scheduled]", "The tide turns now.").await?;
    ana.wait_value("[data-testid=composer]", "").await?;
    ana.picture("14-scheduled").await?;
    for window in [ana, ben] {
        window.wait_sent(&["The tide turns now."]).await?;
    }
    ana.wait_count("[data-testid=scheduled]", 0).await?;

    // Listed, and taken back.
    ana.compose("Nobody shall read this.").await?;
    ana.press("[data-testid=send-later]").await?;
    ana.press("dialog[open] .choices button").await?;
    ana.wait_text("[data-testid=scheduled]", "Nobody shall read this.").await?;
    ana.wait_text("[data-testid=scheduled]", "To Harbour").await?;
    ana.press_words("[data-testid=scheduled] button", "Cancel").await?;
    ana.wait_count("[data-testid=scheduled]", 0).await?;
    ana.close_panel().await?;

    // To herself alone, and it leads to the message.
    ana.menu(told.answered, "Remind me…").await?;
    ana.fill("dialog[open] input[maxlength='500']", "cast off").await?;
    ana.set_moment(AHEAD).await?;
    ana.picture("15-remind-me").await?;
    ana.press("[data-testid=schedule]").await?;
    ana.dismiss("You will be reminded.").await?;
    ana.open_row(direct).await?;
    ana.wait_text(".toast", "Reminder: cast off").await?;
    ana.picture("15-reminder").await?;
    ana.press_words(".toast button", "Show").await?;
    ana.wait_text("[data-testid=conversation-title]", "Harbour").await?;
    ana.wait_read("the message of the reminder", &in_view(told.answered), &true).await?;
    ensure!(!ben.shows("cast off").await?, "ben reads ana's note to herself");
    Ok(())
}

/// What is unread, marked, muted, a favourite and folded away, in the list of the one who has it so.
pub(super) async fn counted(
    ana: &Window,
    ben: &Window,
    told: Told,
    direct: ConversationId,
) -> anyhow::Result<()> {
    let line = row(told.group);
    ben.open_row(direct).await?;
    for text in ["Low water at one.", "High water at seven."] {
        ana.tell(text).await?;
    }
    ben.wait_attribute(&line, "data-unread", Some("2")).await?;
    ben.wait_read("the count in the title", "return document.title.startsWith('(2) ')", &true).await?;
    ben.picture("16-unread").await?;
    ben.open_row(told.group).await?;
    ben.wait_count("[data-testid=new]", 1).await?;
    ben.wait_attribute(&line, "data-unread", Some("0")).await?;

    ben.open_details().await?;
    ben.look("17-details").await?;
    ben.press("[data-testid=mark-unread]").await?;
    ben.wait_attribute(&line, "data-marked", Some("true")).await?;
    ben.picture("17-marked").await?;
    ben.open_row(told.group).await?;
    ben.wait_attribute(&line, "data-marked", None).await?;

    // The drawer stayed open.
    ben.wait_for("details").await?;
    ben.select("[data-testid=mute]", "3600000").await?;
    ben.wait_attribute(&line, "data-muted", Some("true")).await?;
    ben.press("[data-testid=unmute]").await?;
    ben.wait_attribute(&line, "data-muted", None).await?;

    ben.press("[data-testid=favourite]").await?;
    ben.wait_count(&format!("{line} .sign[title=Favourite]"), 1).await?;
    ana.open_row(direct).await?;
    ana.tell("Newer than what the group has.").await?;
    let first =
        "return Number(document.querySelector('[data-testid=conversation-row]').dataset.conversation)";
    ben.wait_attribute(&row(direct), "data-unread", Some("1")).await?;
    ben.wait_read("the favourite on top", first, &(told.group as f64)).await?;

    ben.press("[data-testid=archive]").await?;
    ben.close_details().await?;
    ben.open_row(direct).await?;
    ben.wait_text("[data-testid=archived]", "Archived · 1").await?;
    ben.wait_count(&line, 0).await?;
    ben.picture("18-archived").await?;
    ana.open_row(told.group).await?;
    ana.tell(ELSEWHERE).await?;
    ben.wait_attribute(&line, "data-unread", Some("1")).await?;
    ben.wait_count("[data-testid=archived]", 0).await?;
    ensure!(!ana.shows("Archived ·").await?, "ana's list follows ben's preferences");
    ben.wait_text(&row(direct), "Newer than what").await
}

/// Suggestions by a provider elsewhere: nothing goes there before both have agreed, and none is sent by itself.
pub(super) async fn suggested(
    ana: &Window,
    ben: &Window,
    direct: ConversationId,
    provider: &Provider,
) -> anyhow::Result<()> {
    const QUESTION: &str = "Do you have a minute?";
    ana.open_row(direct).await?;
    ben.open_row(direct).await?;
    ben.tell(QUESTION).await?;
    ana.wait_sent(&[QUESTION]).await?;
    ana.press("[data-testid=suggest]").await?;
    ana.wait_for("suggestion").await?;
    ana.wait_text("[data-testid=suggest-consent]", "OpenAI").await?;
    ana.look("19-suggestions-before-consent").await?;
    ensure!(provider.told().is_empty(), "a provider was asked without consent: {:?}", provider.told());

    ana.press("[data-testid=agree-suggestions]").await?;
    ana.wait_for("withdraw-suggestions").await?;
    ana.press("[data-testid=suggest]").await?;
    ana.wait_for("suggestion").await?;
    ensure!(provider.told().is_empty(), "the author had not agreed: {:?}", provider.told());
    ben.open_details().await?;
    ben.press("[data-testid=suggestions]").await?;
    wait_until("the provider's suggestions", PAGE_WAIT, || async {
        // His agreement is on its way: she asks again, as she may.
        ana.press("[data-testid=suggest]:enabled").await.map_err(|error| format!("{error:#}"))?;
        ana.wait_for("suggestion").await.map_err(|error| format!("{error:#}"))?;
        let shown = ana.shows(SUGGESTED).await.map_err(|error| format!("{error:#}"))?;
        if shown { Ok(()) } else { Err("others are shown".to_owned()) }
    })
    .await?;
    let told = provider.told();
    ensure!(told.iter().all(|body| body.contains(QUESTION)), "the provider was told {told:?}");
    ensure!(!told.iter().any(|body| body.contains(ELSEWHERE)), "of another conversation: {told:?}");
    ana.picture("20-suggestions").await?;
    ana.press_words("[data-testid=suggestion]", SUGGESTED).await?;
    ana.wait_value("[data-testid=composer]", SUGGESTED).await?;
    ensure!(!ben.shows(SUGGESTED).await?, "a suggestion was sent by itself");
    ana.say("").await?;
    for window in [ana, ben] {
        window.wait_sent(&[SUGGESTED]).await?;
    }
    ben.close_details().await
}
