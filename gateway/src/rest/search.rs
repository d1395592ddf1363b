//! Search for those without a socket: words in, a page of messages out. What may be seen is the replicas' to say.

use hyper::StatusCode;
use quorate_proto::error::{ErrorCode, WireError};
use quorate_proto::query;
use quorate_proto::rest::{Highlight, SearchHit, SearchOrder, SearchPage};
use quorate_proto::rpc::{self, SearchQuery, read_request, read_response, search_query};
use schemars::JsonSchema;
use serde::Deserialize;

use super::reads::{ask, something_else};
use super::{Answer, Call, json};
use crate::convert;

/// A cursor has some twenty characters.
const CURSOR_BYTES_MAX: usize = 64;

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SearchParameters {
    /// Words, "phrases", beginnings (roll*) and filters: from:ana in:12 in:"a title" in:@bob before:2026-01-31
    /// after:2026-01-31 has:link has:file. All words must be there; of several from: or in: one must fit.
    #[serde(default)]
    q: String,
    /// Only in this conversation.
    #[serde(rename = "in")]
    within: Option<u64>,
    /// `newest` (when absent) or `best`.
    #[serde(default)]
    order: SearchOrder,
    /// The `next` of the page before.
    #[serde(default)]
    cursor: String,
    /// At most 50; 20 when absent.
    limit: Option<u32>,
    /// Where the caller's days begin: minutes east of Greenwich; 0 when absent.
    #[serde(default)]
    utc_offset: i32,
    /// Messages up to this index must be searched.
    min_index: Option<u64>,
}

pub(super) async fn search(call: Call) -> Answer {
    let identity = call.identity().await?;
    let asked: SearchParameters = call.query()?;
    let invalid = |text: String| WireError::new(ErrorCode::Invalid, text);
    // Said here already: no replica need be asked.
    query::parse(&asked.q, asked.utc_offset).map_err(|error| invalid(error.to_string()))?;
    if asked.cursor.len() > CURSOR_BYTES_MAX {
        return Err(invalid("this cursor is not one that a search gave: begin without it".to_owned()).into());
    }
    if asked.within == Some(0) {
        return Err(
            invalid("conversations are counted from 1: leave `in` out to search all".to_owned()).into()
        );
    }
    let order = match asked.order {
        SearchOrder::Newest => search_query::Order::Newest,
        SearchOrder::Best => search_query::Order::Best,
    };
    let question = SearchQuery {
        query: asked.q,
        utc_offset_minutes: asked.utc_offset,
        conversation_id: asked.within.unwrap_or(0),
        order: order.into(),
        limit: asked.limit.unwrap_or(0),
        cursor: asked.cursor,
        min_indexed: asked.min_index.unwrap_or(0),
    };
    let response = ask(&call, &identity, asked.min_index, read_request::Query::Search(question)).await?;
    let Some(read_response::Result::Search(found)) = response.result else { return Err(something_else()) };
    let page = SearchPage {
        hits: found.hits.into_iter().filter_map(hit).collect(),
        next: Some(found.next).filter(|next| !next.is_empty()),
        indexed_through: found.indexed_through,
        incomplete: found.incomplete,
        as_of_index: response.as_of_index,
    };
    Ok(json(StatusCode::OK, &page))
}

fn hit(hit: rpc::SearchHit) -> Option<SearchHit> {
    let highlights = hit.highlights.into_iter();
    let highlights = highlights.map(|it| Highlight { begin: it.begin, end: it.end }).collect();
    Some(SearchHit { message: convert::conversation_event(hit.message?)?, highlights })
}
