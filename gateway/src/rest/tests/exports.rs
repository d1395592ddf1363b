//! What admins export of what others said.

use std::sync::Mutex;

use quorate_proto::rpc::outcome;
use uuid::Uuid;

use super::bots::with_tokens;
use super::*;
use crate::auth::ApiToken;

const ONE: &str = "/api/v1/admin/export/conversations/3";
const ALL: &str = "/api/v1/admin/export/messages";

/// How far each conversation of the tests goes.
const LAST: u64 = 250;

/// An admin's page: of every tenth number nothing is left, and a page has 30 messages at most.
fn page(id: u64, after: u64) -> rpc::HistoryResult {
    let left: Vec<u64> = (after + 1..=LAST).filter(|sequence| sequence % 10 != 0).take(30).collect();
    let next = left.last().map_or(LAST, |last| if last % 10 == 9 { last + 1 } else { *last });
    let direct = id == 4;
    rpc::HistoryResult {
        messages: left.into_iter().map(message).collect(),
        more_after: next < LAST,
        next: if next < LAST { next } else { 0 },
        conversation: Some(rpc::ChannelInfo {
            conversation_id: id,
            title: if direct { String::new() } else { "<i>News".into() },
            kind: if direct { 1 } else { 2 },
            pair: if direct { vec![person(7).unwrap(), person(8).unwrap()] } else { Vec::new() },
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// What a replica with two groups and a direct conversation between them tells an admin. Of conversation 5 it knows nothing any more.
fn archive(asked: &ReadRequest) -> Option<Found> {
    Some(match asked.query.as_ref()? {
        Query::History(query) if query.as_admin && query.conversation_id != 5 => {
            let Some(rpc::history_query::From::After(after)) = query.from else { return None };
            Found::History(page(query.conversation_id, after))
        }
        Query::AdminConversations(query) => {
            // One a page, and a page without any.
            let ids: &[u64] = if query.direct { &[3, 4, 5, 6] } else { &[3, 5, 6] };
            let next = query.after_id + 1;
            let here = ids.iter().filter(|id| **id == next);
            let channel = |id: &u64| rpc::ChannelInfo { conversation_id: *id, kind: 2, ..Default::default() };
            Found::AdminConversations(rpc::ChannelsResult {
                channels: here.map(channel).collect(),
                more: next < 6,
                next,
            })
        }
        _ => return None,
    })
}

fn recorded(site: &Site) -> Vec<rpc::RecordExport> {
    let of = |command: Command| match command.action {
        Some(Action::RecordExport(record)) => record,
        other => panic!("something else was proposed: {other:?}"),
    };
    site.commands().into_iter().map(of).collect()
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

#[tokio::test]
async fn an_admin_is_given_every_message_that_is_left_and_that_is_recorded() {
    let site = site(archive).await;
    let (status, text) = site.call(&Method::GET, ONE, None).await;
    assert_eq!(status, 200, "{text}");
    let told = lines(&text);
    assert_eq!(
        (&told[0]["type"], &told[0]["conversation"]["title"]),
        (&json!("conversation"), &json!("<i>News"))
    );
    let wanted: Vec<u64> = (1..=LAST).filter(|sequence| sequence % 10 != 0).collect();
    let sequences: Vec<u64> =
        told[1..told.len() - 1].iter().map(|line| line["sequence"].as_u64().unwrap()).collect();
    assert_eq!(sequences, wanted);
    assert_eq!(told.last(), Some(&json!({"type": "end", "messages": wanted.len()})));
    assert_eq!(recorded(&site), [rpc::RecordExport { conversation_id: 3, direct: false }]);

    let (status, text) = site.call(&Method::GET, &format!("{ONE}?format=html"), None).await;
    assert_eq!((status, text.matches("<article").count()), (200, wanted.len()));
    assert!(text.contains("&lt;i&gt;News") && text.ends_with("</html>\n"), "{text}");
    let direct = "/api/v1/admin/export/conversations/4?format=html";
    let (status, text) = site.call(&Method::GET, direct, None).await;
    assert!(status == 200 && text.contains("<h1>user7, user8</h1>"), "{text}");
    assert_eq!(recorded(&site)[2], rpc::RecordExport { conversation_id: 4, direct: true });
}

#[tokio::test]
async fn an_export_of_all_has_a_head_for_each_conversation_and_one_end() {
    let site = site(archive).await;
    for (path, ids, direct) in
        [(ALL.to_owned(), &[3_u64, 6][..], false), (format!("{ALL}?direct=true"), &[3, 4, 6], true)]
    {
        let (status, text) = site.call(&Method::GET, &path, None).await;
        assert_eq!(status, 200, "{text}");
        let told = lines(&text);
        let heads: Vec<u64> = told
            .iter()
            .filter(|line| line["type"] == "conversation")
            .map(|line| line["conversation"]["conversation"].as_u64().unwrap())
            .collect();
        assert_eq!(heads, ids, "what has gone meanwhile is left out");
        assert_eq!(told.last(), Some(&json!({"type": "end", "messages": ids.len() * 225})));
        assert_eq!(told.iter().filter(|line| line["type"] == "end").count(), 1);
        let record = rpc::RecordExport { conversation_id: 0, direct };
        assert_eq!(recorded(&site).last(), Some(&record));
    }
    let pair = &lines(&site.call(&Method::GET, &format!("{ALL}?direct=true"), None).await.1)[226];
    assert_eq!(pair["conversation"]["pair"][1]["name"], "user8", "{pair}");
    assert_eq!(recorded(&site).len(), 3);
}

#[tokio::test]
async fn nothing_is_given_before_the_audit_log_has_it() {
    // What was read, in the order of what came: a page of messages only behind the entry.
    let read = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&read);
    let site = site(move |asked| {
        if let Some(Query::History(query)) = asked.query.as_ref() {
            heard.lock().unwrap().push((query.limit, asked.min_index));
        }
        archive(asked)
    })
    .await;
    let refused = |code: &str| {
        let code = code.to_owned();
        move |_: &Command| {
            let rejected = rpc::Rejected { code: code.clone(), message: "no".into(), revision: None };
            Some(outcome::Result::Rejected(rejected))
        }
    };
    for (code, wanted) in [("forbidden", 403), ("unsupported", 400)] {
        site.fake.set(|state| state.decides = Box::new(refused(code)));
        for path in [ONE, ALL] {
            let (status, answer) = site.call(&Method::GET, path, None).await;
            assert_eq!(status, wanted, "{path}: {answer}");
            assert!(!answer.contains("<b>"), "{answer}");
        }
    }
    assert!(read.lock().unwrap().iter().all(|(limit, _)| *limit == 1), "looked at, and not given");
    site.fake.set(|state| state.decides = Box::new(|_| None));
    read.lock().unwrap().clear();
    let before = recorded(&site).len() as u64;
    assert_eq!(site.call(&Method::GET, ONE, None).await.0, 200);
    let read = read.lock().unwrap().clone();
    assert_eq!(read[0].0, 1);
    assert!(read[1..].iter().all(|(_, min_index)| *min_index > before), "not older than the entry: {read:?}");
}

#[tokio::test]
async fn an_export_that_is_repeated_is_recorded_again_whatever_its_key() {
    let site = site(archive).await;
    for _ in 0..2 {
        assert_eq!(site.call(&Method::GET, ONE, None).await.0, 200);
    }
    let ids: BTreeSet<Bytes> = site.commands().into_iter().map(|command| command.command_id).collect();
    assert_eq!(ids.len(), 2, "no repeat of one another for the replicas");
    assert!(!ids.contains(Uuid::from_u128(5).as_bytes().as_slice()), "not the key of these calls");
}

#[tokio::test]
async fn what_gives_nothing_records_nothing() {
    let site = site(archive).await;
    for path in [ONE, ALL, &format!("{ONE}?format=html")] {
        assert_eq!(site.call(&Method::HEAD, path, None).await, (200, String::new()), "{path}");
    }
    let (status, _) = site.call(&Method::GET, "/api/v1/admin/export/conversations/5", None).await;
    assert_eq!(status, 404);
    for path in [format!("{ONE}?format=pdf"), format!("{ALL}?direct=7"), format!("{ALL}?all=true")] {
        assert_eq!(site.call(&Method::GET, &path, None).await.0, 400, "{path}");
    }
    let other = site.gateway.exports.enter(7).expect("a place");
    for path in [ONE, ALL] {
        assert_eq!(site.call(&Method::GET, path, None).await.0, 429, "{path}");
    }
    drop(other);
    assert!(recorded(&site).is_empty());

    let refuses = |_: &ReadRequest| {
        let message = "direct conversations are not exported here".into();
        Some(Found::Rejected(rpc::Rejected { code: "forbidden".into(), message, revision: None }))
    };
    let site = self::site(move |asked| match asked.query.as_ref()? {
        Query::History(_) | Query::AdminConversations(_) => refuses(asked),
        _ => None,
    })
    .await;
    for path in [ONE, ALL, &format!("{ALL}?direct=true")] {
        for method in [Method::GET, Method::HEAD] {
            let (status, answer) = site.call(&method, path, None).await;
            assert_eq!(status, 403, "{method} {path}: {answer}");
        }
    }
    assert!(recorded(&site).is_empty());
}

#[tokio::test]
async fn no_token_of_a_program_exports_what_others_said() {
    let token = ApiToken::new(Uuid::from_u128(1), [6; 32]);
    let (mut site, _) = with_tokens(vec![(token.clone(), 7, 0)]).await;
    site.token = token.text();
    for path in [ONE, ALL] {
        let (status, answer) = site.call(&Method::GET, path, None).await;
        assert!(status == 403 && answer.contains("token"), "{path}: {answer}");
    }
    assert!(recorded(&site).is_empty());
}

#[tokio::test]
async fn a_page_that_leads_nowhere_is_not_taken_for_the_end() {
    let site = site(|asked| match archive(asked) {
        Some(Found::History(found)) if found.more_after => {
            Some(Found::History(rpc::HistoryResult { next: 30, ..found }))
        }
        other => other,
    })
    .await;
    let mut request = hyper::Request::builder()
        .uri(ONE)
        .header("authorization", format!("Bearer {}", site.token))
        .body(Full::new(Bytes::new()))
        .expect("a request");
    request.extensions_mut().insert(Sent { client: Client(None), stream: None });
    let Ok(response) = warp::service(site.rest.clone()).call(request).await;
    let body = tokio::time::timeout(Duration::from_secs(20), response.into_body().collect()).await;
    assert!(body.expect("in time").is_err(), "the transfer must end as a broken one");
}
