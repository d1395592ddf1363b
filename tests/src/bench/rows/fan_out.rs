//! One room with many listeners on one gateway: messages that a majority keeps, told to everybody. NATS: core NATS over WebSocket,
//! which keeps nothing.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use tokio::task::JoinSet;

use super::{PLAIN, Row};
use crate::bench::clock::Schedule;
use crate::bench::listen::{Door, Heard, Speaker, TEXT_BYTES};
use crate::bench::peers::nats::client::Connection;
use crate::bench::record::{Figure, System};
use crate::bench::stage::{Stage, Subject};
use crate::bench::table::number;
use crate::bench::thin::Thin;
use crate::load;

/// Sessions that speak.
const SPEAKERS: usize = 40;
/// People whose sessions listen and speak.
const PEOPLE: usize = 20;
/// Before a figure is taken, and for what is on its way behind it.
const SETTLE: Duration = Duration::from_secs(2);
/// The room at NATS; not of the stream.
const ROOM: &str = "room";

/// See the module.
pub const ROW: Row = Row {
    name: "fan-out",
    what: "messages of 100 bytes into one room, to every socket in it on one gateway; NATS keeps none of them",
    systems: &[System::Quorate, System::Nats],
    run: |stage| Box::pin(run(stage)),
    ..PLAIN
};

async fn run(stage: Stage<'_>) -> anyhow::Result<Vec<Figure>> {
    let Stage { scale, subject } = stage;
    let (door, speakers) = doors(subject).await?;
    let heard = Arc::new(Heard::default());
    let mut listening = JoinSet::new();
    for listener in door.open_many(scale.listeners).await? {
        listening.spawn(listener.listen(Arc::clone(&heard)));
    }
    let mut figures = Vec::new();
    for rate in &scale.room_rates {
        heard.take_all();
        let begins = Instant::now() + Duration::from_millis(500);
        let ends = begins + SETTLE + scale.length;
        let mut speaking = JoinSet::new();
        for place in 0..SPEAKERS {
            let speaker = speakers.open(place).await?;
            speaking.spawn(speaker.speak(Schedule::new(begins, ends, *rate, place, SPEAKERS)));
        }
        tokio::time::sleep_until((begins + SETTLE).into()).await;
        heard.begin();
        let measured = Instant::now();
        tokio::time::sleep_until(ends.into()).await;
        let took = measured.elapsed().as_secs_f64();
        let (count, times) = heard.end();
        let mut said = 0;
        while let Some(done) = speaking.join_next().await {
            said += done??;
        }
        tokio::time::sleep(SETTLE).await;
        if let Some(ended) = listening.try_join_next() {
            bail!("a listener ended: {:?}", ended?);
        }
        let case = format!(
            "{} sockets, {} messages/s of {TEXT_BYTES} bytes",
            number(scale.listeners as f64),
            number(*rate as f64)
        );
        let wanted = said as f64 * scale.listeners as f64;
        figures.push(Figure::more(&case, "deliveries", "1/s", count as f64 / took));
        figures.extend(super::times(&case, &times));
        figures.push(Figure::more(
            &case,
            "arrived in the end",
            "%",
            heard.take_all() as f64 * 100.0 / wanted,
        ));
    }
    Ok(figures)
}

/// Who speaks, and where.
enum Speakers {
    Quorate { at: std::net::SocketAddr, tokens: Arc<Vec<String>>, room: u64 },
    Nats(std::net::SocketAddr),
}

impl Speakers {
    async fn open(&self, place: usize) -> anyhow::Result<Speaker> {
        Ok(match self {
            Self::Quorate { at, tokens, room } => {
                Speaker::Quorate(Thin::open(*at, &tokens[place % tokens.len()]).await?, *room)
            }
            Self::Nats(at) => Speaker::Nats(Connection::open(*at).await?, ROOM.to_owned()),
        })
    }
}

async fn doors(subject: &mut Subject) -> anyhow::Result<(Door, Speakers)> {
    match subject {
        Subject::Quorate(quorate) => {
            let (front, (door, elsewhere)) = (quorate.front(), quorate.two_doors()?);
            let people = quorate.people(PEOPLE).await?;
            let members: Vec<_> = people.iter().collect();
            let room = load::make_group(front, "fan-out", &members).await.context("the room")?;
            let tokens = Arc::new(people.iter().map(|grant| grant.access_token.clone()).collect::<Vec<_>>());
            let speakers = Speakers::Quorate { at: elsewhere, tokens: Arc::clone(&tokens), room };
            Ok((Door::Quorate(door, tokens), speakers))
        }
        // Speakers and listeners at one server: the shortest way there is.
        Subject::Nats(nats) => {
            Ok((Door::Nats(nats.socket_address(0), |_| ROOM.to_owned()), Speakers::Nats(nats.address(0))))
        }
        Subject::Etcd(_) => bail!("etcd tells no sockets"),
    }
}
