//! Files through a gateway, kept by a majority; and what messages notice of it.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use quorate_cluster::http::Call;
use tokio::task::JoinSet;
use uuid::Uuid;

use super::{PLAIN, Row, times};
use crate::bench::record::{Figure, System};
use crate::bench::shape::open_loop;
use crate::bench::stage::Stage;
use crate::bench::table::number;

/// A call with a whole file.
const CALL_WAIT: Duration = Duration::from_mins(5);
/// Writers beside the uploads, and how much they write.
const WRITERS: usize = 16;
const WRITES_PER_SECOND: u64 = 200;

/// How fast.
pub const ROW: Row = Row {
    name: "files",
    what: "a file of 100 MB up through one gateway, durable on a majority, and down through another",
    systems: &[System::Quorate],
    run: |stage| Box::pin(run(stage)),
    ..PLAIN
};

/// What messages notice.
pub const BESIDE: Row = Row {
    name: "files-beside",
    what: "latency of durable writes at fixed times, 200 a second, while files go up without pause",
    systems: &[System::Quorate],
    run: |stage| Box::pin(beside(stage)),
    ..PLAIN
};

/// Bytes that no two chunks have in common (xorshift64).
fn noise(count: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let mut bytes = Vec::with_capacity(count + 8);
    while bytes.len() < count {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(count);
    bytes
}

async fn up(at: SocketAddr, token: &str, data: Vec<u8>) -> anyhow::Result<(Uuid, Duration)> {
    let id = Uuid::new_v4();
    let call = Call::new("PUT", format!("/api/v1/files/{id}/content?name=bench.bin"))
        .header("authorization", format!("Bearer {token}"))
        .header("idempotency-key", Uuid::now_v7().to_string())
        .bytes(data)
        .deadline(CALL_WAIT);
    let began = Instant::now();
    let answer = call.send(at).await?;
    let text = String::from_utf8_lossy(answer.body());
    ensure!(answer.status() == 201, "an upload was refused: {} {text}", answer.status());
    Ok((id, began.elapsed()))
}

async fn run(stage: Stage<'_>) -> anyhow::Result<Vec<Figure>> {
    let Stage { scale, subject } = stage;
    let quorate = subject.quorate()?;
    let (one, other) = quorate.two_doors()?;
    let token = quorate.people(1).await?.first().context("a person")?.access_token.clone();
    let megabytes = scale.file_bytes as f64 / 1e6;
    let case = format!("{} MB", number(megabytes));
    let data = noise(scale.file_bytes, Uuid::new_v4().as_u64_pair().0);
    let (id, took_up) = up(one, &token, data.clone()).await?;
    let call =
        Call::get(format!("/api/v1/files/{id}/content")).header("authorization", format!("Bearer {token}"));
    let began = Instant::now();
    let answer = call.deadline(CALL_WAIT).send(other).await?;
    let took_down = began.elapsed();
    ensure!(answer.status() == 200 && answer.body()[..] == data[..], "other bytes came down");
    Ok(vec![
        Figure::more(&case, "up", "MB/s", megabytes / took_up.as_secs_f64()),
        Figure::more(&case, "down", "MB/s", megabytes / took_down.as_secs_f64()),
    ])
}

async fn beside(stage: Stage<'_>) -> anyhow::Result<Vec<Figure>> {
    let Stage { scale, subject } = stage;
    let (size, length) = (scale.file_bytes / 4, scale.length);
    let writers = subject.writers(WRITERS, scale.bytes).await?;
    let quorate = subject.quorate()?;
    let (one, _) = quorate.two_doors()?;
    // Each a file in turn: a person may keep 2 GiB.
    let people = quorate.people(WRITERS).await?.to_vec();
    let mut uploads = JoinSet::new();
    uploads.spawn(async move {
        for (seed, person) in (1..).zip(people.iter().cycle()) {
            up(one, &person.access_token, noise(size, seed * 0x9e37_79b9)).await?;
        }
        anyhow::Ok(())
    });
    let answers = open_loop(writers, WRITES_PER_SECOND, length, &|| subject.cpu()).await?;
    if let Some(ended) = uploads.try_join_next() {
        ended?.context("the uploads beside the writes")?;
    }
    Ok(times(&format!("{WRITES_PER_SECOND} writes/s"), &answers.latencies))
}
