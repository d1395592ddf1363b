//! The same work on top of one and of ten times as much: cost grows with the work, not with what is stored.

use std::sync::Arc;
use std::time::{Duration, Instant};

use quorate_cluster::http::Call;
use quorate_proto::rest::SessionGrant;
use tokio::task::JoinSet;

use anyhow::{Context as _, ensure};

use super::{PLAIN, Row};
use crate::bench::clock::Latencies;
use crate::bench::data_set::{DataSet, both};
use crate::bench::listen::{Door, Heard};
use crate::bench::record::{Figure, System};
use crate::bench::shape::{one_by_one, open_loop};
use crate::bench::stage::Stage;
use crate::bench::table::number;
use crate::bench::thin::Thin;
use crate::load;

/// After a data set was written: what was written last is being checkpointed and indexed.
const SETTLE: Duration = Duration::from_secs(5);
/// Its history is this part of what the other rows have: it is written by people who read it all.
const HISTORY_ONE_IN: u64 = 2;
/// How often each thing is done for its figure.
const REPEATS: u64 = 200;
/// Writers beside sessions, and how much they write.
const WRITERS: usize = 16;
const WRITES_PER_SECOND: u64 = 200;

/// Messages.
pub const HISTORY: Row = Row {
    name: "growth-history",
    what: "sends, pages, lists and searches of 500 people in 200 groups, on top of a twentieth of the messages and of half",
    systems: &[System::Quorate],
    is_alone: true,
    runs_max: 1,
    run: |stage| Box::pin(history(stage)),
    ..PLAIN
};

/// Conversations.
pub const CONVERSATIONS: Row = Row {
    name: "growth-conversations",
    what: "sends, opening a session and the list, of somebody in few conversations and in ten times as many",
    systems: &[System::Quorate],
    is_alone: true,
    runs_max: 1,
    run: |stage| Box::pin(conversations(stage)),
    ..PLAIN
};

/// Sessions.
pub const SESSIONS: Row = Row {
    name: "growth-sessions",
    what: "durable writes at fixed times, 200 a second, beside few idle sessions and ten times as many",
    systems: &[System::Quorate],
    is_alone: true,
    runs_max: 1,
    run: |stage| Box::pin(sessions(stage)),
    ..PLAIN
};

async fn history(stage: Stage<'_>) -> anyhow::Result<Vec<Figure>> {
    let Stage { scale, subject } = stage;
    let quorate = subject.quorate()?;
    let mut set = DataSet::new(quorate.front(), &format!("{}g", quorate.tag())).await?;
    let mut figures = Vec::new();
    let all = scale.messages / HISTORY_ONE_IN;
    for messages in [all / 10, all] {
        set.fill(messages).await?;
        tokio::time::sleep(SETTLE).await;
        figures.extend(set.figures().await?);
    }
    Ok(figures)
}

async fn conversations(stage: Stage<'_>) -> anyhow::Result<Vec<Figure>> {
    let Stage { scale, subject } = stage;
    let mut figures = Vec::new();
    let mut made = 0;
    for count in scale.conversations {
        let mut writers = subject.writers(1, scale.bytes).await?;
        let quorate = subject.quorate()?;
        let front = quorate.front();
        // The writer's own conversation is one of them.
        let people: Vec<SessionGrant> = quorate.people(2).await?.to_vec();
        let members: Vec<&SessionGrant> = people.iter().collect();
        made += 1;
        while made < count {
            load::make_group(front, &format!("group {made}"), &members).await?;
            made += 1;
        }
        tokio::time::sleep(SETTLE).await;
        let case = format!("{} conversations", number(count as f64));
        let writer = writers.first_mut().context("a writer")?;
        figures.extend(both(&format!("{case}: send"), &one_by_one(writer, REPEATS).await?));
        let token = &people[0].access_token;
        let (mut opened, mut listed) = (Latencies::default(), Latencies::default());
        for _ in 0..REPEATS {
            let began = Instant::now();
            drop(Thin::open(front, token).await?);
            opened.record(began.elapsed());
            let call = Call::get("/api/v1/conversations").header("authorization", format!("Bearer {token}"));
            let began = Instant::now();
            let answer = call.send(front).await?;
            listed.record(began.elapsed());
            ensure!(answer.status() == 200, "the list: {}", answer.status());
        }
        figures.extend(both(&format!("{case}: open a session"), &opened));
        figures.extend(both(&format!("{case}: list"), &listed));
    }
    Ok(figures)
}

async fn sessions(stage: Stage<'_>) -> anyhow::Result<Vec<Figure>> {
    let Stage { scale, subject } = stage;
    let heard = Arc::new(Heard::default());
    let mut figures = Vec::new();
    let mut idle = JoinSet::new();
    for count in scale.sessions {
        let quorate = subject.quorate()?;
        let people = quorate.people(WRITERS + 20).await?;
        let tokens = people[WRITERS..].iter().map(|grant| grant.access_token.clone()).collect();
        let door = Door::Quorate(quorate.front(), Arc::new(tokens));
        for socket in door.open_many(count - idle.len()).await? {
            idle.spawn(socket.listen(Arc::clone(&heard)));
        }
        let writers = subject.writers(WRITERS, scale.bytes).await?;
        let answers = open_loop(writers, WRITES_PER_SECOND, scale.length, &|| subject.cpu()).await?;
        if let Some(ended) = idle.try_join_next() {
            ended?.context("an idle session ended")?;
        }
        let case = format!("{} idle sessions", number(count as f64));
        figures.extend(both(&format!("{case}: send"), &answers.latencies));
    }
    Ok(figures)
}
