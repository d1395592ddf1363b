//! Bots, the tokens of programs, and webhooks in both directions.
//!
//! Secrets are drawn here, told once and kept nowhere. Whose bot is whose is decided by the replicas.

use futures_util::FutureExt as _;
use hyper::{Method, StatusCode};
use quorate_proto::error::{ErrorCode, WireError};
use quorate_proto::frame::{SendMessage, User};
use quorate_proto::ids::ClientMessageId;
use quorate_proto::rest::{
    BotRow, Bots, HookMessage, HookRow, HookTarget, MadeBot, MadeToken, NewBot, NewToken, Scope, TokenRow,
    Tokens, Written,
};
use quorate_proto::rpc::{self, ReadRequest, TokenScope, command, outcome, read_request, read_response};
use quorate_proto::text;
use uuid::Uuid;

use super::problem::{Failure, nothing_here};
use super::reads::{FreshnessQuery, ask, something_else};
use super::route::{Access, READ, Route};
use super::sessions::nothing;
use super::writes::{writer, written};
use super::{Answer, Call, json};
use crate::auth::{self, ApiToken, Identity};
use crate::clock;
use crate::command::{by, read_error, submit_error};
use crate::convert;
use crate::hooks::shown_secret;
use crate::reads::request;
use crate::session::check::check_send;
use crate::session::effect::Task;
use crate::session::jobs::commit;

/// Longest life of a token that ends, in days: ten years.
const TOKEN_DAYS_MAX: u32 = 3_650;
/// A day, ms.
const DAY_MS: u64 = 24 * 3_600 * 1_000;
/// Where incoming webhooks are; the token follows.
const HOOKS: &str = "/api/v1/hooks/";

/// What a change of bots and tokens may be refused with: a name that is taken on top of the rest.
const BOT: &[ErrorCode] = &[
    ErrorCode::Invalid,
    ErrorCode::Forbidden,
    ErrorCode::NotFound,
    ErrorCode::NameTaken,
    ErrorCode::IdConflict,
    ErrorCode::Conflict,
    ErrorCode::Expired,
    ErrorCode::TooLarge,
    ErrorCode::Unsupported,
    ErrorCode::Overloaded,
];
/// What an incoming webhook may be refused with.
const HOOK: &[ErrorCode] = &[
    ErrorCode::Invalid,
    ErrorCode::Forbidden,
    ErrorCode::NotFound,
    ErrorCode::IdConflict,
    ErrorCode::Expired,
    ErrorCode::TooLarge,
    ErrorCode::Unsupported,
    ErrorCode::RateLimited,
    ErrorCode::Overloaded,
    ErrorCode::Unavailable,
    ErrorCode::Internal,
];

/// Rows of the table.
pub(super) fn rows() -> Vec<Route> {
    let (get, post, put, delete) = (Method::GET, Method::POST, Method::PUT, Method::DELETE);
    let (ok, created) = (StatusCode::OK, StatusCode::CREATED);
    let write = |method: Method, path, summary, handler| {
        Route::new(method, path, summary, handler).access(Access::Bearer).writes().errors(BOT)
    };
    const HOOK_OF: &str = "/api/v1/bots/{name}/hook";
    let made = "The token, which is shown this once";
    vec![
        Route::new(get.clone(), "/api/v1/bots", "The caller's bots", by!(list))
            .access(Access::Bearer)
            .query::<FreshnessQuery>()
            .gives::<Bots>(ok, "With their tokens and webhooks")
            .errors(READ),
        write(post.clone(), "/api/v1/bots", "Make a bot", by!(create))
            .body::<NewBot>()
            .gives::<MadeBot>(created, "The user that it is"),
        write(delete.clone(), "/api/v1/bots/{name}", "Delete a bot", by!(remove))
            .gives_nothing("It is deleted for good, its tokens and its webhook with it"),
        write(post.clone(), "/api/v1/bots/{name}/tokens", "Make a token of a bot", by!(make_bot_token))
            .body::<NewToken>()
            .gives::<MadeToken>(created, made),
        write(
            delete.clone(),
            "/api/v1/bots/{name}/tokens/{token}",
            "End a token of a bot",
            by!(end_bot_token),
        )
        .gives_nothing("It is good for nothing any more; its sockets are closed"),
        write(put, HOOK_OF, "Where a bot is told of what others say", by!(set_hook))
            .body::<HookTarget>()
            .gives::<HookRow>(ok, "With the key of the signatures"),
        write(delete.clone(), HOOK_OF, "Tell a bot nothing any more", by!(drop_hook))
            .gives_nothing("What waited is dropped"),
        Route::new(get, "/api/v1/tokens", "The caller's own tokens", by!(tokens))
            .access(Access::Bearer)
            .query::<FreshnessQuery>()
            .gives::<Tokens>(ok, "Those that have not ended")
            .errors(READ),
        write(post.clone(), "/api/v1/tokens", "Make a token for one's own programs", by!(make_token))
            .body::<NewToken>()
            .gives::<MadeToken>(created, made),
        write(delete, "/api/v1/tokens/{token}", "End a token of one's own", by!(end_token))
            .gives_nothing("It is good for nothing any more; its sockets are closed"),
        Route::new(post, "/api/v1/hooks/{token}", "Send a message by an incoming webhook", by!(incoming))
            .body::<HookMessage>()
            .writes()
            .gives::<Written>(created, "Committed")
            .errors(HOOK),
    ]
}

// ---- what there is ----

fn token_row(token: rpc::TokenInfo) -> TokenRow {
    let scopes = [
        (TokenScope::Read, Scope::Read),
        (TokenScope::Send, Scope::Send),
        (TokenScope::Manage, Scope::Manage),
    ];
    let has = |(bit, scope): (TokenScope, Scope)| (token.scopes & bit as u32 != 0).then_some(scope);
    TokenRow {
        id: convert::session(&token.session_id),
        label: token.label,
        scopes: scopes.into_iter().filter_map(has).collect(),
        created: token.created_ms,
        ends: convert::some(token.ends_ms),
        conversation: convert::some(token.conversation_id),
    }
}

fn bot_row(bot: rpc::BotInfo) -> BotRow {
    let hook = (!bot.hook_url.is_empty()).then(|| HookRow {
        url: bot.hook_url,
        mentions_only: bot.mentions_only,
        secret: shown_secret(&bot.hook_secret),
        waiting: bot.waiting,
        given_up: bot.given_up,
        last_error: Some(bot.last_error).filter(|error| !error.is_empty()),
        last_error_at: convert::some(bot.last_error_ms),
    });
    BotRow {
        user: convert::user(bot.user),
        created: bot.created_ms,
        tokens: bot.tokens.into_iter().map(token_row).collect(),
        hook,
    }
}

async fn list(call: Call) -> Answer {
    let identity = call.identity().await?;
    let FreshnessQuery { min_index } = call.query()?;
    let response = ask(&call, &identity, min_index, read_request::Query::Bots(rpc::BotsQuery {})).await?;
    let Some(read_response::Result::Bots(found)) = response.result else { return Err(something_else()) };
    let bots = found.bots.into_iter().map(bot_row).collect();
    Ok(json(StatusCode::OK, &Bots { bots, as_of_index: response.as_of_index }))
}

async fn tokens(call: Call) -> Answer {
    let identity = call.identity().await?;
    let FreshnessQuery { min_index } = call.query()?;
    let response = ask(&call, &identity, min_index, read_request::Query::Tokens(rpc::TokensQuery {})).await?;
    let Some(read_response::Result::Tokens(found)) = response.result else { return Err(something_else()) };
    let tokens = found.tokens.into_iter().map(token_row).collect();
    Ok(json(StatusCode::OK, &Tokens { tokens, as_of_index: response.as_of_index }))
}

/// The bot that the route's first place names. Of the newest state: it may have been made a moment ago through another gateway.
async fn own_bot(call: &Call, identity: &Identity, min_index: u64) -> Result<rpc::BotInfo, Failure> {
    let missing = || Failure::from(WireError::new(ErrorCode::NotFound, "you have no bot of this name"));
    let name = text::canonical_name(&call.text(0)?).map_err(|_| missing())?;
    let query = read_request::Query::Bots(rpc::BotsQuery {});
    let near = request(min_index, identity.user_id, identity.session.as_bytes(), query);
    let asked = ReadRequest { linearizable: true, ..near };
    let response = call.gateway.reader.read(asked).await.map_err(read_error)?;
    let Some(read_response::Result::Bots(found)) = response.result else { return Err(something_else()) };
    let is_it = |bot: &rpc::BotInfo| bot.user.as_ref().is_some_and(|user| user.name == name);
    found.bots.into_iter().find(is_it).ok_or_else(missing)
}

fn id_of(bot: &rpc::BotInfo) -> u64 {
    bot.user.as_ref().map_or(0, |user| user.id)
}

/// Submits a command and waits for its outcome.
async fn submit(
    call: &Call,
    identity: &Identity,
    key: ClientMessageId,
    action: command::Action,
) -> Result<rpc::Outcome, Failure> {
    if identity.read_only {
        return Err(auth::read_only().into());
    }
    let outcome = call.gateway.leader.submit(&by(identity, key, 0, action)).await.map_err(submit_error)?;
    match outcome.result {
        Some(outcome::Result::Rejected(rejected)) => Err(convert::rejected(&rejected).into()),
        _ => Ok(outcome),
    }
}

// ---- bots ----

async fn create(call: Call) -> Answer {
    let (identity, key) = writer(&call).await?;
    let NewBot { name, display_name } = call.json()?;
    let invalid = |error: text::TextError| WireError::new(ErrorCode::Invalid, error.to_string());
    let name = text::canonical_name(&name).map_err(invalid)?;
    let display_name = match display_name.as_deref().map(str::trim) {
        None | Some("") => name.clone(),
        Some(title) => text::canonical_title(title).map_err(invalid)?,
    };
    let create = rpc::CreateBot { name: name.clone(), display_name: display_name.clone() };
    let outcome = submit(&call, &identity, key, command::Action::CreateBot(create)).await?;
    let Some(outcome::Result::User(made)) = outcome.result else { return Err(something_else()) };
    let user = User { id: made.user_id, name, display_name, bot: true, ..User::default() };
    Ok(json(StatusCode::CREATED, &MadeBot { user, index: outcome.index }))
}

async fn remove(call: Call) -> Answer {
    let (identity, key) = writer(&call).await?;
    let user_id = id_of(&own_bot(&call, &identity, 0).await?);
    let delete = rpc::DeleteUser { user_id, ..rpc::DeleteUser::default() };
    submit(&call, &identity, key, command::Action::DeleteUser(delete)).await?;
    Ok(nothing())
}

// ---- tokens ----

async fn make_bot_token(call: Call) -> Answer {
    let (identity, key) = writer(&call).await?;
    let asked = call.json()?;
    let user_id = id_of(&own_bot(&call, &identity, 0).await?);
    make(&call, &identity, key, user_id, asked).await
}

async fn make_token(call: Call) -> Answer {
    let (identity, key) = writer(&call).await?;
    make(&call, &identity, key, identity.user_id, call.json()?).await
}

/// A token of the caller's or of a bot of hers. Asked again under the same key it is refused: nobody can show the first one's secret.
async fn make(
    call: &Call,
    identity: &Identity,
    key: ClientMessageId,
    user_id: u64,
    asked: NewToken,
) -> Answer {
    let NewToken { label, scopes, days, conversation } = asked;
    let invalid = |message: &str| Failure::from(WireError::new(ErrorCode::Invalid, message));
    let label = text::canonical_title(&label).map_err(|_| invalid("a label has 1 to 80 characters"))?;
    if days.is_some_and(|days| !(1..=TOKEN_DAYS_MAX).contains(&days)) {
        return Err(invalid("a token lasts 1 to 3,650 days, or until it is ended"));
    }
    let scope = |scope: &Scope| match scope {
        Scope::Read => TokenScope::Read as u32,
        Scope::Send => TokenScope::Send as u32,
        Scope::Manage => TokenScope::Manage as u32,
    };
    let scopes = scopes.iter().map(scope).fold(0, std::ops::BitOr::bitor);
    if conversation.is_some() && scopes != TokenScope::Send as u32 {
        return Err(invalid("a token for one conversation has the scope `send` and no other"));
    }
    let no_randomness = |_| WireError::new(ErrorCode::Internal, "no randomness for a secret");
    let session = Uuid::from_bytes(clock::secret::<16>().map_err(no_randomness)?);
    let token = ApiToken::new(session, clock::secret().map_err(no_randomness)?);
    let make = rpc::MakeToken {
        user_id,
        session_id: session.as_bytes().to_vec().into(),
        secret_hash: token.secret_hash().to_vec().into(),
        label,
        scopes,
        lasts_ms: u64::from(days.unwrap_or(0)) * DAY_MS,
        conversation_id: conversation.unwrap_or(0),
    };
    let outcome =
        submit(call, identity, key, command::Action::MakeToken(make)).await.map_err(shown_before)?;
    let token = token.text();
    let hook = conversation.map(|_| format!("{HOOKS}{token}"));
    Ok(json(StatusCode::CREATED, &MadeToken { token, hook, id: session.to_string(), index: outcome.index }))
}

/// The key has made something already, most likely the token that is asked for again.
fn shown_before(refused: Failure) -> Failure {
    if refused.code() != ErrorCode::IdConflict {
        return refused;
    }
    let message = "something was made under this Idempotency-Key before. If it was a token, its secret cannot be shown again: find it in \
                   the list of tokens, end it, and make another under another key";
    WireError::new(ErrorCode::IdConflict, message).into()
}

async fn end_bot_token(call: Call) -> Answer {
    let (identity, key) = writer(&call).await?;
    let user_id = id_of(&own_bot(&call, &identity, 0).await?);
    end(&call, &identity, key, user_id, 1).await
}

async fn end_token(call: Call) -> Answer {
    let (identity, key) = writer(&call).await?;
    end(&call, &identity, key, identity.user_id, 0).await
}

async fn end(call: &Call, identity: &Identity, key: ClientMessageId, user_id: u64, place: usize) -> Answer {
    let Ok(session) = call.place(place).parse::<Uuid>() else {
        return Err(WireError::new(ErrorCode::NotFound, "a token is named by its id, a UUID").into());
    };
    let end = rpc::EndToken { user_id, session_id: session.as_bytes().to_vec().into() };
    submit(call, identity, key, command::Action::EndToken(end)).await?;
    Ok(nothing())
}

// ---- webhooks ----

async fn set_hook(call: Call) -> Answer {
    let (identity, key) = writer(&call).await?;
    let HookTarget { url, mentions_only, new_secret } = call.json()?;
    let url = call.gateway.config.hooks.check_url(&url)?.to_string();
    let bot_id = id_of(&own_bot(&call, &identity, 0).await?);
    let set = rpc::SetHook { bot_id, url, mentions_only, new_secret };
    let outcome = submit(&call, &identity, key, command::Action::SetHook(set)).await?;
    let Some(hook) = bot_row(own_bot(&call, &identity, outcome.index).await?).hook else {
        return Err(WireError::new(ErrorCode::Conflict, "it was dropped meanwhile by somebody else").into());
    };
    Ok(json(StatusCode::OK, &hook))
}

async fn drop_hook(call: Call) -> Answer {
    let (identity, key) = writer(&call).await?;
    let bot_id = id_of(&own_bot(&call, &identity, 0).await?);
    let set = rpc::SetHook { bot_id, ..rpc::SetHook::default() };
    submit(&call, &identity, key, command::Action::SetHook(set)).await?;
    Ok(nothing())
}

/// A message by who knows the address alone: no page sends it, so no Origin is asked for. What is no such address, was one, or never
/// could be one, is told alike.
async fn incoming(call: Call) -> Answer {
    let Some(identity) = call.holder(call.place(0)).await?.ok().filter(|it| it.only_conversation != 0) else {
        return Err(nothing_here());
    };
    call.gateway.calls.admit_hook(identity.session)?;
    let client_message_id = ClientMessageId(call.idempotency_key()?);
    let HookMessage { text } = call.json()?;
    let message = SendMessage {
        conversation: identity.only_conversation,
        client_message_id,
        text,
        reply_to: None,
        forward: None,
        first_sent: 0,
        attachments: Vec::new(),
    };
    check_send(&message, call.gateway.config.limits.text_bytes_max)?;
    match commit(&call.gateway, &identity, 0, &Task::Send(message)).await {
        Ok(ack) => written(StatusCode::CREATED, ack),
        // It ended a moment ago.
        Err(error) if error.code == ErrorCode::Unauthenticated => Err(nothing_here()),
        Err(error) => Err(error.into()),
    }
}
