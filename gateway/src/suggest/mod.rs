//! Suggestions of short replies to the newest message of a conversation, by one of three providers.
//!
//! Off the path of messages: a call of its own, bounded in time and number. The embedded provider needs no network and sends
//! nothing anywhere. The others speak HTTP to a server that the operators chose, and are given only messages of members who
//! agreed to that in this conversation; who asks must have agreed too. Nothing here is stored or logged.

mod classify;
mod embedded;
mod external;
mod settings;

use std::sync::Arc;

use quorate_proto::error::{ErrorCode, WireError};
use quorate_proto::rpc;
use tokio::sync::Semaphore;

use classify::Classifier;
use external::External;

pub use settings::{Provider, Settings};

/// Suggestions given at most.
pub(crate) const SUGGESTIONS_MAX: usize = 3;
/// Longest suggestion, in characters: what is longer is no short reply.
const SUGGESTION_CHARS_MAX: usize = 160;
/// Newest lines that a provider elsewhere is given.
const EXTERNAL_LINES_MAX: usize = 12;
/// Calls to a provider elsewhere at the same time; more are answered by the embedded one.
const EXTERNAL_CALLS_MAX: usize = 4;

/// A message as a provider sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    /// Who wrote it, by display name.
    pub(crate) from: String,
    /// The one who asks for suggestions did.
    pub(crate) mine: bool,
    /// What.
    pub(crate) text: String,
}

/// Suggestions, and who made them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Suggestions {
    /// At most [`SUGGESTIONS_MAX`], the best first.
    pub(crate) texts: Vec<String>,
    /// `embedded`, `gemini` or `openai`.
    pub(crate) provider: &'static str,
}

/// The configured provider.
#[derive(Debug)]
pub(crate) struct Suggester {
    classifier: Arc<Classifier>,
    external: Option<External>,
    places: Semaphore,
    on: bool,
}

impl Suggester {
    /// As configured.
    ///
    /// # Errors
    /// When the provider's key cannot be read or its HTTP client cannot be made.
    pub(crate) fn new(settings: &Settings) -> anyhow::Result<Self> {
        Ok(Self {
            classifier: Arc::new(Classifier::learn()),
            external: External::new(settings)?,
            places: Semaphore::new(EXTERNAL_CALLS_MAX),
            on: settings.provider != Provider::Off,
        })
    }

    /// The provider elsewhere to which messages of those who agree are sent; `None`: nothing leaves this process.
    pub(crate) fn sends_to(&self) -> Option<&'static str> {
        self.external.as_ref().map(External::name)
    }

    /// Replies to the newest message. What the provider elsewhere cannot say in time, or may not be asked, the embedded one says.
    ///
    /// # Errors
    /// `unsupported` where suggestions are switched off.
    pub(crate) async fn suggest(
        &self,
        me: u64,
        context: &rpc::SuggestionsResult,
    ) -> Result<Suggestions, WireError> {
        if !self.on {
            return Err(WireError::new(
                ErrorCode::Unsupported,
                "suggestions are switched off on this server",
            ));
        }
        if let Some(external) = &self.external
            && let Some(shared) = shared(me, context)
            && let Ok(_place) = self.places.try_acquire()
        {
            match external.ask(&shared).await {
                Ok(texts) if !texts.is_empty() => {
                    return Ok(Suggestions { texts: tidy(texts), provider: external.name() });
                }
                Ok(_) => tracing::debug!("the provider of suggestions had none"),
                Err(error) => tracing::warn!(%error, provider = external.name(), "no suggestions"),
            }
        }
        let lines: Vec<Line> =
            context.messages.iter().filter_map(|event| line(me, event)).map(|(_, line)| line).collect();
        Ok(Suggestions { texts: tidy(embedded::suggest(&self.classifier, &lines)), provider: "embedded" })
    }
}

/// What a provider elsewhere may be given: nothing unless the caller and the author of the newest message agreed, and then only what
/// those wrote who did.
fn shared(me: u64, context: &rpc::SuggestionsResult) -> Option<Vec<Line>> {
    let agreed = |user: u64| context.consenting_user_ids.contains(&user);
    // What was handed on is another's words as well.
    let is_own = |event: &&rpc::Event| match &event.kind {
        Some(rpc::event::Kind::Message(message)) => message
            .forwarded
            .as_ref()
            .is_none_or(|forwarded| forwarded.from.as_ref().is_some_and(|author| agreed(author.id))),
        _ => true,
    };
    context.messages.last().filter(is_own)?;
    let lines: Vec<(u64, Line)> =
        context.messages.iter().filter(is_own).filter_map(|event| line(me, event)).collect();
    let (author, newest) = lines.last()?;
    if newest.mine || !agreed(me) || !agreed(*author) {
        return None;
    }
    let mut given: Vec<Line> =
        lines.into_iter().filter(|(author, _)| agreed(*author)).map(|(_, line)| line).collect();
    Some(given.split_off(given.len().saturating_sub(EXTERNAL_LINES_MAX)))
}

fn line(me: u64, event: &rpc::Event) -> Option<(u64, Line)> {
    let Some(rpc::event::Kind::Message(message)) = &event.kind else { return None };
    if message.deleted || message.hidden || message.text.trim().is_empty() {
        return None;
    }
    let from = message.from.clone().unwrap_or_default();
    Some((from.id, Line { mine: from.id == me, from: from.display_name, text: message.text.clone() }))
}

/// One line each, none twice, none too long.
fn tidy(texts: Vec<String>) -> Vec<String> {
    let mut tidy: Vec<String> = Vec::new();
    for text in texts {
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let fits = !text.is_empty()
            && text.chars().count() <= SUGGESTION_CHARS_MAX
            && !text.chars().any(char::is_control);
        if fits && tidy.len() < SUGGESTIONS_MAX && !tidy.contains(&text) {
            tidy.push(text);
        }
    }
    tidy
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(from: u64, text: &str) -> rpc::Event {
        let author = rpc::UserRef { id: from, display_name: format!("user {from}"), ..Default::default() };
        let message = rpc::Message { from: Some(author), text: text.into(), ..Default::default() };
        rpc::Event { kind: Some(rpc::event::Kind::Message(message)), ..Default::default() }
    }

    fn context(consenting: &[u64], messages: Vec<rpc::Event>) -> rpc::SuggestionsResult {
        rpc::SuggestionsResult { messages, consenting_user_ids: consenting.to_vec() }
    }

    #[test]
    fn only_what_those_wrote_who_agreed_is_shared() {
        let messages = || vec![message(1, "mine"), message(3, "secret"), message(2, "are you coming?")];
        let shared_with = |consenting: &[u64]| {
            shared(1, &context(consenting, messages()))
                .map(|lines| lines.into_iter().map(|line| line.text).collect::<Vec<_>>())
        };
        assert_eq!(shared_with(&[1, 2]), Some(vec!["mine".into(), "are you coming?".into()]));
        assert_eq!(shared_with(&[1]), None, "the author did not agree");
        assert_eq!(shared_with(&[2, 3]), None, "the caller did not agree");
        assert_eq!(shared_with(&[]), None);
    }

    #[test]
    fn what_was_handed_on_needs_its_author_to_agree() {
        let handed_on = |author: u64| {
            let mut event = message(2, "secret");
            if let Some(rpc::event::Kind::Message(message)) = &mut event.kind {
                let from = Some(rpc::UserRef { id: author, ..Default::default() });
                message.forwarded = Some(rpc::Forwarded { from, log_time_ms: 1 });
            }
            event
        };
        assert_eq!(shared(1, &context(&[1, 2], vec![handed_on(3)])), None);
        assert!(shared(1, &context(&[1, 2, 3], vec![handed_on(3)])).is_some());
        let lines = shared(1, &context(&[1, 2], vec![handed_on(3), message(2, "are you coming?")]));
        assert_eq!(lines.map(|lines| lines.len()), Some(1));
    }

    #[test]
    fn what_was_taken_back_is_shown_to_no_provider() {
        let mut gone = message(2, "");
        if let Some(rpc::event::Kind::Message(message)) = &mut gone.kind {
            message.deleted = true;
        }
        assert_eq!(shared(1, &context(&[1, 2], vec![gone])), None);
    }

    #[tokio::test]
    async fn the_embedded_provider_answers_and_can_be_switched_off() {
        let context = context(&[], vec![message(2, "thank you so much!")]);
        let suggester = Suggester::new(&Settings::default()).unwrap();
        let found = suggester.suggest(1, &context).await.unwrap();
        assert_eq!((found.provider, found.texts.len()), ("embedded", 3));
        let off = Suggester::new(&Settings { provider: Provider::Off, ..Settings::default() }).unwrap();
        assert_eq!(off.suggest(1, &context).await.unwrap_err().code, ErrorCode::Unsupported);
    }

    #[test]
    fn suggestions_are_single_lines_within_bounds() {
        let given = vec![
            "a\n b".into(),
            String::new(),
            "a b".into(),
            "x".repeat(200),
            "c".into(),
            "d".into(),
            "e".into(),
        ];
        assert_eq!(tidy(given), ["a b", "c", "d"]);
    }
}
