//! Webhooks: told at least once, in order, whichever process dies; and one that is posted to.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use quorate_cluster::{Member, wait_until};
use quorate_proto::rest::SessionGrant;
use quorate_tests::client::rest;
use quorate_tests::harness::TestCluster;
use quorate_tests::load::make_group;
use quorate_tests::scene::{WAIT, caught_up, leader, states_agree};
use serde_json::{Value, json};
use uuid::Uuid;

use super::receiver::{Receiver, Told};
use super::{call, cluster, gateways, nothing_broke, robin, token, write};

/// Messages that the bot is to be told.
const MESSAGES: usize = 200;
/// After so many the leader is killed, after so many the gateway that tells.
const KILLS: (usize, usize) = (60, 130);
/// A lease of 15 s, and two looks.
const TAKEN_OVER_WAIT: Duration = Duration::from_secs(60);
/// A look, and what two cores under load add: less than a lease lasts.
const HANDED_OVER_WAIT: Duration = Duration::from_secs(10);
/// Times that a lease is handed over: a gateway that ends has a moment to give it back, which one that stands still may miss.
const TRIES: usize = 3;
/// Numbers of messages that are changed in the end. What is taken back before it was told is never told.
const CHANGED: [usize; 2] = [0, 2];
/// Longer than a holder takes to look and tell.
const QUIET: Duration = Duration::from_secs(3);

#[tokio::test(flavor = "multi_thread")]
async fn a_bot_is_told_of_everything_whoever_dies() -> anyhow::Result<()> {
    let test = cluster("bots-told").await?;
    // Each fortieth telling is refused once: it is told again under its id.
    let receiver = Receiver::start(|number| number % 40 == 7).await?;
    let result = told_whoever_dies(&test, &receiver).await;
    test.finish(result).await
}

/// The gateway that holds the lease.
async fn holder(test: &TestCluster) -> anyhow::Result<String> {
    Ok(wait_until("a gateway that tells webhooks", TAKEN_OVER_WAIT, || async {
        for name in test.cluster.gateways() {
            let at = test.cluster.gateway_address(&name).map_err(|error| error.to_string())?;
            let said = rest::metrics(at).await.unwrap_or_default();
            if said.lines().any(|line| line == "quorate_gateway_hooks_lease 1") {
                return Ok(name);
            }
        }
        Err("nobody has the lease".to_owned())
    })
    .await?)
}

async fn told_whoever_dies(test: &TestCluster, receiver: &Receiver) -> anyhow::Result<()> {
    let ways = gateways(test)?;
    let (ana, bob) = (rest::sign_up(ways[0], "ana").await?, rest::sign_up(ways[1], "bob").await?);
    let room = make_group(ways[0], "Builds", &[&ana, &bob]).await?;
    let bot = robin(test, &ana, room).await?;
    let hook = Some(json!({"url": receiver.url}));
    let (status, refused) =
        call(ways[0], Some(&bob.access_token), "PUT", "/api/v1/bots/robin/hook", None, hook.as_ref()).await?;
    ensure!(status == 404, "bob has no bot: {status} {refused}");
    let set = write(test, &ana.access_token, "PUT", "/api/v1/bots/robin/hook", hook).await?;
    receiver.learn(set["secret"].as_str().context("a secret")?);
    let messages = format!("/api/v1/conversations/{room}/messages");
    let (mut version_before, mut killed, mut killed_gateway) = (0, 0, String::new());
    for number in 0..MESSAGES {
        if number == KILLS.0 {
            holder(test).await?;
            (killed, _) = leader(test).await?;
            test.cluster.kill(&Member::Replica(killed)).await?;
        }
        if number == KILLS.1 {
            // Somebody has been told something, or nothing is taken over; what is changed in the end above all.
            wait_until("something told", WAIT, || async {
                let texts: BTreeSet<String> =
                    taken(receiver).iter().map(|told| told.text().to_owned()).collect();
                let is_told = |number: &usize| texts.contains(&format!("message {number}"));
                if CHANGED.iter().all(is_told) { Ok(()) } else { Err(format!("so far {texts:?}")) }
            })
            .await?;
            killed_gateway = holder(test).await?;
            test.cluster.kill(&Member::Gateway(killed_gateway.clone())).await?;
        }
        let who = if number % 2 == 0 { &ana } else { &bob };
        let text = Some(json!({"text": format!("message {number}")}));
        let sent = write(test, &who.access_token, "POST", &messages, text).await?;
        let version = sent["version"].as_u64().context("a version")?;
        ensure!(version > version_before, "{sent}");
        version_before = version;
    }
    changes_are_told(test, receiver, &ana, &messages).await?;
    wait_until("everything told", TAKEN_OVER_WAIT, || async {
        let texts: BTreeSet<String> = taken(receiver).iter().map(|told| told.text().to_owned()).collect();
        let missing = (0..MESSAGES).filter(|number| !texts.contains(&format!("message {number}"))).count();
        if missing == 0 { Ok(()) } else { Err(format!("{missing} are missing")) }
    })
    .await?;
    let told = receiver.told();
    in_order_and_by_the_rules(&told, bot)?;
    ensure!(told.iter().any(|told| !told.taken), "the receiver never refused anything");

    // What waits is nothing, and what was given up is nothing.
    let living = living_gateway(test).await?;
    wait_until("everything settled", WAIT, || async {
        let (_, bots) = call(living, Some(&ana.access_token), "GET", "/api/v1/bots", None, None)
            .await
            .map_err(|error| error.to_string())?;
        let hook = &bots["bots"][0]["hook"];
        if hook["waiting"] == 0 && hook["given_up"] == 0 { Ok(()) } else { Err(bots.to_string()) }
    })
    .await?;

    // Not a word any more to who was sent away.
    let away = format!("/api/v1/conversations/{room}/members/robin");
    write(test, &ana.access_token, "DELETE", &away, None).await?;
    let count = receiver.told().len();
    for number in 0..5 {
        let text = Some(json!({"text": format!("without robin {number}")}));
        write(test, &ana.access_token, "POST", &messages, text).await?;
    }
    tokio::time::sleep(QUIET).await;
    let later = receiver.told();
    ensure!(later[count..].iter().all(|told| !told.text().starts_with("without")), "{:?}", &later[count..]);
    test.cluster.start_member(&Member::Replica(killed))?;
    caught_up(test, killed).await?;
    let mut away = killed_gateway;
    let mut took = Duration::MAX;
    for _ in 0..TRIES {
        let (stopped, wait) = handed_over(test, &away).await?;
        (away, took) = (stopped, took.min(wait));
        if took < HANDED_OVER_WAIT {
            break;
        }
    }
    ensure!(took < HANDED_OVER_WAIT, "handed over after {took:?} at best");
    states_agree(test).await?;
    nothing_broke(test)
}

/// A gateway that is stopped gives the lease back to another, which is started before: nobody waits for its end. Who was stopped, and
/// how long it took.
async fn handed_over(test: &TestCluster, other: &str) -> anyhow::Result<(String, Duration)> {
    let other = Member::Gateway(other.to_owned());
    test.cluster.start_member(&other)?;
    test.cluster.wait_ready(&other, WAIT).await?;
    let stopped = holder(test).await?;
    test.cluster.stop(&Member::Gateway(stopped.clone())).await?;
    let begun = Instant::now();
    let next = holder(test).await?;
    let took = begun.elapsed();
    ensure!(next != stopped, "{next} holds it although it was stopped");
    println!("handed over {took:?} after the end of who told before");
    Ok((stopped, took))
}

async fn living_gateway(test: &TestCluster) -> anyhow::Result<std::net::SocketAddr> {
    for at in gateways(test)? {
        if call(at, None, "GET", "/readyz", None, None).await.is_ok() {
            return Ok(at);
        }
    }
    bail!("no gateway answers")
}

fn taken(receiver: &Receiver) -> Vec<Told> {
    receiver.told().into_iter().filter(|told| told.taken).collect()
}

/// An edit and a deletion, of two of the first messages.
async fn changes_are_told(
    test: &TestCluster,
    receiver: &Receiver,
    ana: &SessionGrant,
    messages: &str,
) -> anyhow::Result<()> {
    // The room holds nothing else: a message's sequence is one more than its number.
    let [edited, deleted] = CHANGED.map(|number| format!("{messages}/{}", number + 1));
    let text = Some(json!({"text": format!("message {}, mended", CHANGED[0])}));
    write(test, &ana.access_token, "PUT", &edited, text).await?;
    write(test, &ana.access_token, "DELETE", &deleted, None).await?;
    wait_until("changes told", TAKEN_OVER_WAIT, || async {
        let kinds: BTreeSet<String> =
            taken(receiver).iter().map(|told| told.body["type"].to_string()).collect();
        let wanted = ["\"message.created\"", "\"message.deleted\"", "\"message.edited\""];
        if wanted.iter().all(|kind| kinds.contains(*kind)) { Ok(()) } else { Err(format!("{kinds:?}")) }
    })
    .await?;
    Ok(())
}

/// Each event has one id and each id one event, signatures fit, and what was told first came first.
fn in_order_and_by_the_rules(told: &[Told], bot: u64) -> anyhow::Result<()> {
    let mut ids: BTreeMap<u64, &str> = BTreeMap::new();
    let mut newest = 0;
    for one in told {
        if let Some(fault) = &one.fault {
            bail!("{fault}");
        }
        ensure!(one.body["data"]["bot"]["id"] == bot, "{}", one.body);
        let version = one.version();
        match ids.get(&version) {
            Some(id) => ensure!(*id == one.id, "{version} has the ids {id} and {}", one.id),
            None => {
                ensure!(version > newest, "{version} was told first after {newest}");
                newest = version;
                ids.insert(version, &one.id);
            }
        }
    }
    let different: BTreeSet<&str> = ids.values().copied().collect();
    ensure!(different.len() == ids.len(), "two events have one id");
    let again = told.len() - ids.len();
    let first = told.first().context("nothing was told")?.at;
    println!("{} events told, {again} of them again, in {:?}", ids.len(), first.elapsed());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_knows_the_address_says_something_once() -> anyhow::Result<()> {
    let test = cluster("bots-incoming").await?;
    let result = incoming(&test).await;
    test.finish(result).await
}

async fn incoming(test: &TestCluster) -> anyhow::Result<()> {
    let ways = gateways(test)?;
    let (ana, bob) = (rest::sign_up(ways[0], "ana").await?, rest::sign_up(ways[1], "bob").await?);
    let room = make_group(ways[0], "Builds", &[&ana, &bob]).await?;
    robin(test, &ana, room).await?;
    let asked = json!({"label": "builds", "scopes": ["send"], "conversation": room});
    let (secret, id) = token(test, &ana, asked).await?;
    let path = format!("/api/v1/hooks/{secret}");
    let key = Uuid::now_v7();
    let body = json!({"text": "build 5 is green"});
    let mut sequences = BTreeSet::new();
    // The same key at both gateways, with the leader killed between.
    let (killed, _) = leader(test).await?;
    for round in 0..3 {
        if round == 1 {
            test.cluster.kill(&Member::Replica(killed)).await?;
        }
        for at in &ways {
            let sent = wait_until("a message by the webhook", WAIT, || async {
                match call(*at, None, "POST", &path, Some(key), Some(&body)).await {
                    Ok((201, ack)) => Ok(ack),
                    Ok((503, answer)) => Err(answer.to_string()),
                    other => Err(format!("{other:?}")),
                }
            })
            .await?;
            sequences.insert(sent["sequence"].as_u64().context("a sequence")?);
        }
    }
    ensure!(sequences.len() == 1, "{sequences:?}");
    let page = rest::whole_history(ways[0], &bob.access_token, room, "bob").await?;
    let said = page.rows.iter().filter(|row| row.text == "build 5 is green").count();
    ensure!(said == 1, "said {said} times");

    // Good for nothing else, and what is wrong is told alike.
    for (method, path, body) in [
        ("GET", "/api/v1/conversations".to_owned(), None),
        ("GET", format!("/api/v1/conversations/{room}/messages"), None),
        ("GET", "/api/v1/me".to_owned(), None),
        ("POST", "/api/v1/tokens".to_owned(), Some(json!({"label": "x", "scopes": ["read"]}))),
    ] {
        let (status, answer) = call(ways[0], Some(&secret), method, &path, None, body.as_ref()).await?;
        ensure!(status == 403, "{method} {path}: {status} {answer}");
    }
    let forged = format!("{}AAAA", &path[..path.len() - 4]);
    let (status, unknown) = call(ways[0], None, "POST", &forged, None, Some(&body)).await?;
    ensure!(status == 404, "{status} {unknown}");
    let ended = format!("/api/v1/bots/robin/tokens/{id}");
    write(test, &ana.access_token, "DELETE", &ended, None).await?;
    for at in &ways {
        let (status, answer): (u16, Value) = call(*at, None, "POST", &path, None, Some(&body)).await?;
        ensure!(status == 404 && answer == unknown, "{status} {answer}, not {unknown}");
    }
    test.cluster.start_member(&Member::Replica(killed))?;
    caught_up(test, killed).await?;
    states_agree(test).await?;
    nothing_broke(test)
}
