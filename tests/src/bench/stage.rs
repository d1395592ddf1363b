//! The system that is measured just now, whichever it is.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail};
use quorate_cluster::process::Send;
use quorate_cluster::wait_until;

use super::options::Scale;
use super::peers::{etcd, nats};
use super::quorate::{self, CONVERSATIONS_MAX, Quorate};
use super::record::System;
use super::shape::Write;

/// In a failover, an answer of a peer that has not come within this is asked for again: soon, because a gap may be longer by as
/// much.
const FAILOVER_PATIENCE: Duration = Duration::from_millis(250);
/// A leader that all follow.
const LEADER_WAIT: Duration = Duration::from_mins(1);

/// What a row gets.
#[derive(Debug)]
pub struct Stage<'a> {
    /// How much of everything.
    pub scale: &'a Scale,
    /// What is measured.
    pub subject: &'a mut Subject,
}

/// A running system.
#[derive(Debug)]
pub enum Subject {
    /// This project.
    Quorate(Box<Quorate>),
    /// NATS.
    Nats(nats::Nats),
    /// etcd.
    Etcd(etcd::Etcd),
}

/// A writer of any system.
#[derive(Debug)]
pub enum Writer {
    /// Of this project.
    Quorate(quorate::Sender),
    /// Of NATS.
    Nats(nats::client::Writer),
    /// Of etcd.
    Etcd(etcd::Writer),
}

impl Write for Writer {
    async fn write(&mut self) -> anyhow::Result<()> {
        match self {
            Self::Quorate(writer) => writer.write().await,
            Self::Nats(writer) => writer.write().await,
            Self::Etcd(writer) => writer.write().await,
        }
    }
}

impl Subject {
    /// Which it is.
    pub fn system(&self) -> System {
        match self {
            Self::Quorate(_) => System::Quorate,
            Self::Nats(_) => System::Nats,
            Self::Etcd(_) => System::Etcd,
        }
    }

    /// This project, for rows that nobody else has.
    ///
    /// # Errors
    /// When it is something else.
    pub fn quorate(&mut self) -> anyhow::Result<&mut Quorate> {
        match self {
            Self::Quorate(quorate) => Ok(quorate),
            _ => bail!("this row is Quorate's alone"),
        }
    }

    /// So many writers of texts or values of so many bytes, ready to write.
    ///
    /// # Errors
    /// When one cannot come in.
    pub async fn writers(&mut self, count: usize, bytes: usize) -> anyhow::Result<Vec<Writer>> {
        Ok(match self {
            Self::Quorate(it) => it.writers(count, bytes).await?.into_iter().map(Writer::Quorate).collect(),
            Self::Nats(it) => {
                let subjects = count.min(CONVERSATIONS_MAX);
                it.writers(count, subjects, bytes).await?.into_iter().map(Writer::Nats).collect()
            }
            Self::Etcd(it) => it.writers(count, bytes).await?.into_iter().map(Writer::Etcd).collect(),
        })
    }

    /// The same for a failover: nobody depends on one server of the peers, and everybody asks again soon.
    ///
    /// # Errors
    /// When one cannot come in.
    pub async fn restless_writers(&mut self, count: usize, bytes: usize) -> anyhow::Result<Vec<Writer>> {
        let soon = FAILOVER_PATIENCE;
        Ok(match self {
            Self::Quorate(it) => it.writers(count, bytes).await?.into_iter().map(Writer::Quorate).collect(),
            Self::Nats(it) => {
                it.restless_writers(count, bytes, soon).await?.into_iter().map(Writer::Nats).collect()
            }
            Self::Etcd(it) => {
                it.restless_writers(count, bytes, soon)?.into_iter().map(Writer::Etcd).collect()
            }
        })
    }

    /// Processor seconds so far, by part.
    ///
    /// # Errors
    /// When they cannot be seen.
    pub fn cpu(&self) -> anyhow::Result<BTreeMap<&'static str, f64>> {
        let servers = |pids: Vec<u32>| super::process::cpu_seconds(&[("servers", pids)]);
        match self {
            Self::Quorate(it) => it.cpu(),
            Self::Nats(it) => servers(it.pids()),
            Self::Etcd(it) => servers(it.pids()),
        }
    }

    /// The processes that keep the data.
    ///
    /// # Errors
    /// When they are elsewhere.
    pub fn keepers(&self) -> anyhow::Result<Vec<u32>> {
        match self {
            Self::Quorate(it) => it.replica_pids(),
            Self::Nats(it) => Ok(it.pids()),
            Self::Etcd(it) => Ok(it.pids()),
        }
    }

    /// The folders in which they keep it.
    ///
    /// # Errors
    /// When they are elsewhere.
    pub fn folders(&self) -> anyhow::Result<Vec<PathBuf>> {
        match self {
            Self::Quorate(it) => it.folders(),
            Self::Nats(it) => Ok(it.folders()),
            Self::Etcd(it) => Ok(it.folders()),
        }
    }

    /// Who leads: a place, which means something to [`Self::end`] and [`Self::start_again`] only.
    ///
    /// # Errors
    /// When nobody does for long.
    pub async fn leader(&self) -> anyhow::Result<usize> {
        let told = |told: anyhow::Result<usize>| told.map_err(|error| format!("{error:#}"));
        Ok(match self {
            Self::Quorate(it) => usize::from(it.leader().await?),
            Self::Nats(it) => {
                wait_until("a leader of NATS", LEADER_WAIT, || async { told(it.leader().await) }).await?
            }
            Self::Etcd(it) => {
                wait_until("a leader of etcd", LEADER_WAIT, || async { told(it.leader().await) }).await?
            }
        })
    }

    /// Ends one that keeps the data, at once or in order.
    ///
    /// # Errors
    /// When it does not end.
    pub async fn end(&mut self, place: usize, how: Send) -> anyhow::Result<()> {
        match self {
            Self::Quorate(it) => it.end(u16::try_from(place).context("an id")?, how).await,
            Self::Nats(it) => it.end(place, how).await,
            Self::Etcd(it) => it.end(place, how).await,
        }
    }

    /// Starts it again and waits until it has what the others have.
    ///
    /// # Errors
    /// When it does not in time.
    pub async fn start_again(&mut self, place: usize) -> anyhow::Result<()> {
        match self {
            Self::Quorate(it) => it.start_again(u16::try_from(place).context("an id")?).await.map(|_| ()),
            Self::Nats(it) => it.start_again(place).await,
            Self::Etcd(it) => it.start_again(place).await,
        }
    }

    /// Ends it all; after a failure of Quorate's the evidence is kept.
    ///
    /// # Errors
    /// The error that was passed in.
    pub async fn finish(self, result: anyhow::Result<()>) -> anyhow::Result<()> {
        match self {
            Self::Quorate(it) => it.finish(result).await,
            Self::Nats(_) | Self::Etcd(_) => result,
        }
    }
}
