//! Suggestions of replies.

use hyper::StatusCode;
use quorate_proto::rest;
use quorate_proto::rpc::{SuggestionsQuery, read_request, read_response};

use super::json;
use super::reads::{ask, something_else};
use super::route::{Answer, Call};

/// Nothing is changed, but it is a POST: it costs, and nobody should be able to have it asked for by a link.
pub(super) async fn suggest(call: Call) -> Answer {
    let identity = call.identity().await?;
    call.check_origin()?;
    let asked = read_request::Query::Suggestions(SuggestionsQuery { conversation_id: call.number(0)? });
    let response = ask(&call, &identity, None, asked).await?;
    let Some(read_response::Result::Suggestions(context)) = response.result else {
        return Err(something_else());
    };
    let suggester = &call.gateway.suggester;
    let found = suggester.suggest(identity.user_id, &context).await?;
    let body = rest::Suggestions {
        suggestions: found.texts,
        provider: found.provider.to_owned(),
        sends_to: suggester.sends_to().unwrap_or_default().to_owned(),
        agreed: context.consenting_user_ids.contains(&identity.user_id),
        as_of_index: response.as_of_index,
    };
    Ok(json(StatusCode::OK, &body))
}
