//! Search over real processes: found soon and at every gateway, never by who may not see it, also after a leader's death and
//! after a replica's index was lost.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use hyper::body::Bytes;
use quorate_cluster::http::Call;
use quorate_cluster::{Member, wait_until};
use quorate_proto::frame::EventKind;
use quorate_proto::rest::{SearchPage, SessionGrant};
use quorate_proto::rpc::chat_client::ChatClient;
use quorate_proto::rpc::{ReadRequest, SearchQuery, SearchResult, read_request, read_response};
use quorate_tests::client::rest;
use quorate_tests::harness::TestCluster;
use quorate_tests::load::make_group;
use quorate_tests::scene::{WAIT, caught_up, leader, states_agree};
use quorate_tls::Role;
use serde_json::{Value, json};
use uuid::Uuid;

/// A call may wait for an election.
const CALL_WAIT: Duration = Duration::from_secs(20);
/// What is promised: a message is found this long after its ack.
const FOUND_WAIT: Duration = Duration::from_secs(2);
/// Messages by which that is judged, each at every gateway.
const MEASURED: usize = 8;
/// How often it is measured at most: the index is written behind everything else, and the machine may have other work for a while.
const MEASURES_MAX: usize = 3;
/// Messages that a rebuilt index must have.
const MANY: usize = 300;

#[tokio::test(flavor = "multi_thread")]
async fn members_find_messages_soon_and_everywhere_whatever_dies() -> anyhow::Result<()> {
    let test = TestCluster::start("search").await?;
    let result = story(&test).await;
    test.finish(result).await
}

/// Everybody's way in.
fn gateways(test: &TestCluster) -> anyhow::Result<Vec<SocketAddr>> {
    test.cluster.gateways().iter().map(|name| Ok(test.cluster.gateway_address(name)?)).collect()
}

/// A read, made again where the answer is that it may succeed later.
async fn get(at: SocketAddr, who: &SessionGrant, path: &str) -> anyhow::Result<(u16, Bytes)> {
    let what = format!("an answer to {path}");
    let read = wait_until(&what, WAIT, || async {
        let call = Call::get(path).header("authorization", format!("Bearer {}", who.access_token));
        let answer = call.deadline(CALL_WAIT).send(at).await.map_err(|error| error.to_string())?;
        match answer.status().as_u16() {
            503 => Err(String::from_utf8_lossy(answer.body()).into_owned()),
            status => Ok((status, answer.body().clone())),
        }
    });
    Ok(read.await?)
}

/// A write under one key until it is decided, by whichever gateway; the index at which it stands.
async fn write(
    test: &TestCluster,
    who: &SessionGrant,
    method: &'static str,
    path: &str,
    body: Value,
) -> anyhow::Result<u64> {
    let key = Uuid::now_v7().to_string();
    let ways = gateways(test)?;
    let mut tries = 0;
    wait_until(&format!("{method} {path}"), WAIT, || {
        let at = ways[tries % ways.len()];
        tries += 1;
        let call = Call::new(method, path).header("authorization", format!("Bearer {}", who.access_token));
        let call = call.header("idempotency-key", key.clone()).json(&body).deadline(CALL_WAIT);
        async move {
            let answer = call.send(at).await.map_err(|error| error.to_string())?;
            let text = String::from_utf8_lossy(answer.body()).into_owned();
            let written: Value = serde_json::from_str(&text).map_err(|_| text.clone())?;
            match written["index"].as_u64() {
                Some(index) if answer.status().is_success() => Ok(index),
                _ => Err(text),
            }
        }
    })
    .await
    .map_err(Into::into)
}

fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// Texts found at a gateway, the newest first; `index` must be searched.
async fn find(at: SocketAddr, who: &SessionGrant, query: &str, index: u64) -> anyhow::Result<Vec<String>> {
    let path = format!("/api/v1/search?q={}&limit=50&min_index={index}", encoded(query));
    let what = format!("an answer to {query}");
    let found = wait_until(&what, WAIT, || async {
        let (status, body) = get(at, who, &path).await.map_err(|error| error.to_string())?;
        match status {
            200 => serde_json::from_slice::<SearchPage>(&body).map_err(|error| error.to_string()).and_then(
                |page| {
                    // Time ran out on a machine that stood still: it says so, and is asked again.
                    if page.incomplete { Err(format!("{page:?}")) } else { Ok(page) }
                },
            ),
            _ => Err(format!("{status} {}", String::from_utf8_lossy(&body))),
        }
    });
    let page = found.await?;
    ensure!(page.indexed_through >= index, "{page:?}");
    texts(&page)
}

fn texts(page: &SearchPage) -> anyhow::Result<Vec<String>> {
    let text = |hit: &quorate_proto::rest::SearchHit| match &hit.message.kind {
        EventKind::Message(message) => Ok(message.text.clone()),
        other => bail!("no message: {other:?}"),
    };
    page.hits.iter().map(text).collect()
}

/// What one replica's own index and state answer.
async fn find_at_replica(
    test: &TestCluster,
    id: u16,
    who: &SessionGrant,
    query: &str,
    index: u64,
) -> anyhow::Result<SearchResult> {
    let search =
        SearchQuery { query: query.to_owned(), min_indexed: index, limit: 50, ..SearchQuery::default() };
    let session = Uuid::parse_str(&who.session)?;
    Ok(wait_until(&format!("replica {id} to answer {query}"), WAIT, || async {
        let mut client = ChatClient::new(test.channel(id, Role::Gateway).map_err(|error| error.to_string())?);
        let request = ReadRequest {
            user_id: who.user.id,
            session_id: session.as_bytes().to_vec().into(),
            query: Some(read_request::Query::Search(search.clone())),
            ..ReadRequest::default()
        };
        let request = test.call(request).map_err(|error| error.to_string())?;
        match client.read(request).await.map_err(|status| status.to_string())?.into_inner().result {
            Some(read_response::Result::Search(found)) if !found.incomplete => Ok(found),
            other => Err(format!("{other:?}")),
        }
    })
    .await?)
}

async fn story(test: &TestCluster) -> anyhow::Result<()> {
    let ways = gateways(test)?;
    let (ana, bob, eve) = (
        rest::sign_up(ways[0], "ana").await?,
        rest::sign_up(ways[ways.len() - 1], "bob").await?,
        rest::sign_up(ways[0], "eve").await?,
    );
    let room = make_group(ways[0], "Release team", &[&ana, &bob]).await?;
    let messages = format!("/api/v1/conversations/{room}/messages");
    let members = format!("/api/v1/conversations/{room}/members");
    let measured = soon_and_everywhere(test, &ana, &bob, &messages).await?;

    // Words, phrases and letters of scripts without spaces; who is no member finds nothing.
    write(
        test,
        &ana,
        "POST",
        &messages,
        json!({"text": "The ROLLING restart is at https://example.org/plan"}),
    )
    .await?;
    let index = write(test, &bob, "POST", &messages, json!({"text": "私は東京都に住む、 rolling"})).await?;
    for at in &ways {
        for (query, count) in [
            ("rolling", 2),
            ("restart rolling", 1),
            ("\"rolling restart\"", 1),
            ("\"restart rolling\"", 0),
            ("roll* in:\"release team\" from:bob", 1),
            ("has:link example", 1),
            ("東京", 1),
            ("京都", 1),
            ("東都", 0),
            ("都", 1),
        ] {
            let found = find(*at, &bob, query, index).await?;
            ensure!(found.len() == count, "{query}: {found:?}");
            ensure!(find(*at, &eve, "rolling", index).await?.is_empty(), "eve is no member");
        }
        let (status, body) = get(*at, &bob, "/api/v1/search?q=has%3Acake").await?;
        let problem = String::from_utf8_lossy(&body);
        ensure!(status == 422 && problem.contains("has:link"), "{status} {problem}");
        let elsewhere = format!("/api/v1/search?q=rolling&in={room}");
        let (status, body) = get(*at, &eve, &elsewhere).await?;
        ensure!(status == 404, "{status} {}", String::from_utf8_lossy(&body));
    }

    // An edit moves a message from one word to another; who comes later sees what comes later.
    write(test, &ana, "POST", &messages, json!({"text": "draughty"})).await?;
    let sequence = measured + 3;
    write(test, &ana, "PUT", &format!("{messages}/{sequence}"), json!({"text": "polished"})).await?;
    write(test, &ana, "POST", &members, json!({"user": "eve"})).await?;
    let index = write(test, &ana, "POST", &messages, json!({"text": "polished for eve"})).await?;
    for at in &ways {
        ensure!(find(*at, &bob, "draughty", index).await?.is_empty(), "the text before is found");
        ensure!(
            find(*at, &bob, "polished", index).await? == ["polished for eve", "polished"],
            "not by the new one"
        );
        ensure!(find(*at, &eve, "polished", index).await? == ["polished for eve"], "eve came later");
    }
    test.recorder.mark("found by members, and by what is there now");

    // The leader dies; its index is lost while it is down.
    let (victim, _) = leader(test).await?;
    test.cluster.kill(&Member::Replica(victim)).await?;
    test.recorder.mark(format!("killed replica {victim}, the leader"));
    let mut index = 0;
    for at in 0..MANY {
        let text = if at % 100 == 0 { format!("needle {at}") } else { format!("straw {at}") };
        index = write(test, &ana, "POST", &messages, json!({ "text": text })).await?;
    }
    for at in &ways {
        let found = find(*at, &eve, "needle", index).await?;
        ensure!(found == ["needle 200", "needle 100", "needle 0"], "after the leader's death: {found:?}");
    }
    let folder = test.cluster.layout().replica(victim).join("search");
    ensure!(folder.join("meta.json").is_file(), "no index in {}", folder.display());
    std::fs::remove_dir_all(&folder)?;
    test.cluster.start_member(&Member::Replica(victim))?;
    caught_up(test, victim).await?;
    for (query, count) in [("needle", 3), ("polished", 2), ("draughty", 0), ("\"straw 299\"", 1), ("東京", 1)]
    {
        let found = find_at_replica(test, victim, &bob, query, index).await?;
        ensure!(found.hits.len() == count, "{query} at the rebuilt replica {victim}: {found:?}");
    }
    ensure!(folder.join("meta.json").is_file(), "the index was not written again");

    // Another is killed with its index: it goes on from there.
    let other = (1..=test.cluster.replicas()).find(|id| *id != victim).context("more than one replica")?;
    test.cluster.kill(&Member::Replica(other)).await?;
    let removed = format!("{members}/bob");
    write(test, &ana, "DELETE", &removed, json!({})).await?;
    let index = write(test, &ana, "POST", &messages, json!({"text": "needle without bob"})).await?;
    test.cluster.start_member(&Member::Replica(other))?;
    caught_up(test, other).await?;
    for id in 1..=test.cluster.replicas() {
        let found = find_at_replica(test, id, &eve, "needle", index).await?;
        ensure!(found.hits.len() == 4 && found.indexed_through >= index, "replica {id}: {found:?}");
        let found = find_at_replica(test, id, &bob, "needle", index).await?;
        ensure!(found.hits.is_empty(), "bob was removed and finds at replica {id}: {found:?}");
    }
    states_agree(test).await
}

/// Each message is found at every gateway soon after its ack. Judged by the median: one stall of a disk says nothing. How many
/// messages it took.
async fn soon_and_everywhere(
    test: &TestCluster,
    ana: &SessionGrant,
    bob: &SessionGrant,
    messages: &str,
) -> anyhow::Result<usize> {
    for measure in 0..MEASURES_MAX {
        let first = measure * MEASURED;
        let median = found_after(test, ana, bob, messages, first).await?;
        if median <= FOUND_WAIT {
            return Ok(first + MEASURED);
        }
        test.recorder.mark(format!("found only after {median:.0?}"));
    }
    bail!("messages were found only after more than {FOUND_WAIT:?}, {MEASURES_MAX} times")
}

/// The median of how long it takes until a message is found at every gateway; the first word has this number.
async fn found_after(
    test: &TestCluster,
    ana: &SessionGrant,
    bob: &SessionGrant,
    messages: &str,
    first: usize,
) -> anyhow::Result<Duration> {
    let ways = gateways(test)?;
    let mut took = Vec::new();
    for at in first..first + MEASURED {
        let word = format!("needle{at}x");
        let index = write(test, ana, "POST", messages, json!({ "text": format!("measured {word}") })).await?;
        let acked = Instant::now();
        for way in &ways {
            // Without an index to wait for: by itself.
            wait_until(&format!("{word} to be found"), WAIT, || async {
                match find(*way, bob, &word, 0).await {
                    Ok(found) if found.len() == 1 => Ok(()),
                    other => Err(format!("{other:?}, written at {index}")),
                }
            })
            .await?;
        }
        took.push(acked.elapsed());
    }
    took.sort();
    let (median, longest) = (took[took.len() / 2], took[took.len() - 1]);
    test.recorder
        .mark(format!("found at every gateway after {median:.0?} (median), {longest:.0?} (longest)"));
    println!("found at every gateway after {median:.0?} (median), {longest:.0?} (longest)");
    Ok(median)
}
