//! Sessions that do nothing: what each takes of its gateway's memory. NATS: connections over WebSocket with one subscription each.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use quorate_cluster::Member;
use quorate_proto::rest::SessionGrant;
use tokio::task::JoinSet;

use super::{PLAIN, Row};
use crate::bench::listen::{Door, Heard};
use crate::bench::process::resident_bytes;
use crate::bench::record::{Figure, System};
use crate::bench::stage::{Stage, Subject};
use crate::bench::table::number;
use crate::load;

/// Members of each group.
const GROUP_MEMBERS: usize = 10;
/// People at most.
const PEOPLE_MAX: usize = 200;
/// Before memory is looked at.
const SETTLE: Duration = Duration::from_secs(2);

/// See the module.
pub const ROW: Row = Row {
    name: "idle",
    what: "memory of a session that is signed in, subscribed and idle, on one gateway, and that none of them ends",
    systems: &[System::Quorate, System::Nats],
    is_alone: true,
    needs_hands: true,
    runs_max: 1,
    run: |stage| Box::pin(run(stage)),
    ..PLAIN
};

async fn run(stage: Stage<'_>) -> anyhow::Result<Vec<Figure>> {
    let Stage { scale, subject } = stage;
    // The peers' memory is looked at once: nothing is asked of how it goes on.
    let goes_on = subject.system() == System::Quorate;
    let (door, pid) = door(subject, scale.idle).await?;
    // What the first sessions bring with them is not counted against the others.
    drop(door.open_many(PEOPLE_MAX.min(scale.idle)).await?);
    tokio::time::sleep(SETTLE).await;
    let before = resident_bytes(pid)?;
    let begun = Instant::now();
    let sockets = door.open_many(scale.idle).await?;
    let opened = begun.elapsed();
    tokio::time::sleep(SETTLE).await;
    let open = resident_bytes(pid)?;
    let each = |bytes: u64| bytes.saturating_sub(before) as f64 / scale.idle as f64 / 1024.0;
    let case = format!("{} sessions", number(scale.idle as f64));
    let mut figures = vec![
        Figure::less(&case, "memory of each", "KiB", each(open)),
        Figure::more(&case, "opened", "1/s", scale.idle as f64 / opened.as_secs_f64()),
    ];
    if goes_on {
        let heard = Arc::new(Heard::default());
        let mut tasks = JoinSet::new();
        for socket in sockets {
            tasks.spawn(socket.listen(Arc::clone(&heard)));
        }
        tokio::select! {
            () = tokio::time::sleep(scale.idle_length) => {}
            Some(ended) = tasks.join_next() => bail!("a session ended: {ended:?}"),
        }
        let after = format!("{case}, {} s later", scale.idle_length.as_secs());
        figures.push(Figure::less(after, "memory of each", "KiB", each(resident_bytes(pid)?)));
    }
    Ok(figures)
}

/// Where the sessions are opened, and the process that holds them.
async fn door(subject: &mut Subject, count: usize) -> anyhow::Result<(Door, u32)> {
    match subject {
        Subject::Quorate(quorate) => {
            let (door, elsewhere) = quorate.two_doors()?;
            let people = quorate.people(count.clamp(GROUP_MEMBERS, PEOPLE_MAX)).await?;
            let tokens: Vec<String> = people.iter().map(|grant| grant.access_token.clone()).collect();
            for (number, members) in people.chunks(GROUP_MEMBERS).enumerate() {
                let members: Vec<&SessionGrant> = members.iter().collect();
                load::make_group(elsewhere, &format!("idle {number}"), &members).await?;
            }
            let cluster = &quorate.own()?.cluster;
            let name = cluster.gateways().first().context("a gateway")?.clone();
            let (_, pid) = cluster.activity(&Member::Gateway(name))?;
            Ok((Door::Quorate(door, Arc::new(tokens)), pid.context("the gateway is not running")?))
        }
        Subject::Nats(nats) => {
            let pid = nats.pids().first().copied().context("no server runs")?;
            Ok((Door::Nats(nats.socket_address(0), |place| format!("idle.{}", place % 20)), pid))
        }
        Subject::Etcd(_) => bail!("etcd has no sessions"),
    }
}
