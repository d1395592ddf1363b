//! `--send`: one message, and whether a majority keeps it.

use std::io::{IsTerminal as _, Read as _, stdin};

use quorate_client::outbox::ItemState;
use quorate_client::proto::frame::Action;
use quorate_client::proto::ids::{ClientMessageId, ConversationId, Sequence};
use quorate_client::view::sentence;
use quorate_client::{Effect, Input};
use serde_json::json;
use tokio::time::Instant;

use super::{Named, beside, check, find, next, print_json, ready};
use crate::cli::Order;
use crate::driver::{Driver, News};
use crate::failure::{Failure, Result, Why};

/// More than the servers take; what exceeds it they would refuse anyway.
const STDIN_BYTES_MAX: u64 = 64 * 1024;

/// Sends it and waits for the answer.
pub(super) async fn run(driver: &mut Driver, order: &Order, to: &str, text: &str) -> Result<()> {
    let text = if text == "-" { beside(from_stdin).await?? } else { text.to_owned() };
    let until = Instant::now() + order.wait;
    ready(driver, until).await?;
    let conversation = match find(&driver.client, to)? {
        Named::Found(id) => id,
        Named::With(user) => create(driver, user, until).await?,
    };
    let effects = driver.input(Input::Send { conversation, text, reply_to: None });
    let mut sent = None;
    for effect in &effects {
        match effect {
            Effect::Refused(None, error) => return Err(Failure::refused(sentence(&error.message))),
            Effect::Store(item) => sent = Some(item.id),
            _ => {}
        }
    }
    let id = sent.ok_or_else(|| Failure::refused("The message was not taken. Try again."))?;
    let sequence = committed(driver, conversation, id, effects, until).await?;
    if order.json {
        print_json(&json!({
            "type": "sent",
            "conversation": conversation,
            "sequence": sequence,
            "client_message_id": id.to_string(),
        }))?;
    }
    Ok(())
}

fn from_stdin() -> Result<String> {
    if stdin().is_terminal() {
        eprintln!("Write the message; Ctrl+D on an empty line sends it.");
    }
    let mut bytes = Vec::new();
    let read = stdin().lock().take(STDIN_BYTES_MAX + 1).read_to_end(&mut bytes);
    read.map_err(|error| Failure::refused(format!("Cannot read standard input: {error}.")))?;
    if bytes.len() as u64 > STDIN_BYTES_MAX {
        return Err(Failure::usage(
            "Standard input is longer than any message may be. Send it as a file in the page.",
        ));
    }
    let mut text = String::from_utf8(bytes).map_err(|_| {
        Failure::usage("Standard input is no text in UTF-8. Convert it first, with iconv for example.")
    })?;
    // The end of the last line is no part of the message.
    if text.ends_with('\n') {
        text.pop();
    }
    Ok(text)
}

/// The direct conversation with somebody, made where there is none.
async fn create(driver: &mut Driver, user: String, until: Instant) -> Result<ConversationId> {
    let id = driver.clock.moment().client_message_id();
    let mut effects = driver.input(Input::Do(id, Action::CreateDirect { user: user.clone() }));
    let mut made = None;
    loop {
        for effect in &effects {
            match effect {
                Effect::Done(done, conversation) if *done == id => made = *conversation,
                Effect::Refused(Some(refused), error) if *refused == id => {
                    return Err(Failure::refused(format!("@{user}: {}", sentence(&error.message))));
                }
                _ => {}
            }
        }
        if let Some(conversation) = made.filter(|made| driver.client.conversation(*made).is_some()) {
            return Ok(conversation);
        }
        effects = listen(driver, until).await?;
    }
}

/// Waits until a majority keeps it: its place in the conversation.
async fn committed(
    driver: &mut Driver,
    conversation: ConversationId,
    id: ClientMessageId,
    mut effects: Vec<Effect>,
    until: Instant,
) -> Result<Option<Sequence>> {
    loop {
        for effect in &effects {
            if let Effect::Acked(ack) = effect
                && ack.client_message_id == id
            {
                return Ok(ack.sequence);
            }
        }
        match driver.client.outbox().get(id).map(|item| &item.state) {
            Some(ItemState::Failed(error)) => return Err(Failure::refused(sentence(&error.message))),
            Some(_) => {}
            // Its event came first, and the socket was cut before its answer.
            None => {
                let timeline =
                    driver.client.conversation(conversation).map(|conversation| &conversation.timeline);
                let mut all = timeline.into_iter().flat_map(|timeline| timeline.run());
                let own = all.find(|(_, entry)| entry.message.client_message_id == id);
                return Ok(own.map(|(sequence, _)| *sequence));
            }
        }
        effects = match listen(driver, until).await {
            Err(error) if error.why == Why::Unreachable => return Err(late(driver, id)),
            effects => effects?,
        };
    }
}

async fn listen(driver: &mut Driver, until: Instant) -> Result<Vec<Effect>> {
    match next(driver, until).await? {
        News::Effects(effects) => {
            check(driver, &effects)?;
            Ok(effects)
        }
        _ => Ok(Vec::new()),
    }
}

/// Why it is not known to be kept when the time is over.
fn late(driver: &mut Driver, id: ClientMessageId) -> Failure {
    let now_ms = driver.clock.now_ms();
    let message = match driver.client.outbox().get(id).map(|item| &item.state) {
        Some(ItemState::Waiting { until_ms }) => format!(
            "The server wants to be left alone for {} s before it takes the message. Send it later, or give it longer \
             with --wait.",
            until_ms.saturating_sub(now_ms).div_ceil(1_000)
        ),
        _ => "No majority has confirmed the message in time: it may have been sent or not. Look before you send it again."
            .to_owned(),
    };
    Failure::new(Why::Unreachable, message)
}
