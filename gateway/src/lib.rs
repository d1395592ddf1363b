//! A gateway: browsers' sessions in front of the replica tier.
//!
//! Owns sockets, queues with bounds, and caches that it could lose; never the only copy of anything. Knows the replicas
//! only through the contract in `quorate-proto`.
//!
//! ```text
//!  server ──▶ session ──▶ command ──▶ leader ──Submit──▶ the leader
//!    │           ▲  └──── reads ─────Read─────────────▶ any replica
//!    └─▶ rest    └──outbox── hub ◀────Feed───────────── any replica
//! ```

mod auth;
pub mod cli;
mod clock;
mod cluster;
mod command;
pub mod config;
mod context;
mod convert;
mod demo;
mod files;
mod hooks;
mod hub;
mod leader;
mod metrics;
mod network;
mod reads;
mod replicas;
mod rest;
pub mod server;
mod session;
mod suggest;
#[cfg(test)]
mod testing;

use tokio::net::TcpListener;
use tokio::sync::watch;

use config::Config;
use context::Gateway;
use server::{DrainPhase, Signals};

/// Runs a gateway on a bound listener until the first signal and the orderly end after it.
///
/// # Errors
/// When a part cannot start.
pub async fn run(config: Config, listener: TcpListener, signals: Signals) -> anyhow::Result<()> {
    let (drain, phase) = watch::channel(DrainPhase::Serving);
    let credentials = config.credentials()?;
    let certificate = config.certificate()?;
    let gateway = Gateway::start(config, credentials, phase)?;
    let address = listener.local_addr()?;
    let name = &gateway.config.name;
    // The one line that others wait for, on stdout as in the log.
    let scheme = if certificate.is_some() { "https" } else { "http" };
    println!("gateway {name} listening on {scheme}://{address}");
    tracing::info!("gateway {name} listening on {scheme}://{address}");
    if let Some(certificate) = certificate.clone() {
        tokio::spawn(async move { certificate.keep_current().await });
    }
    server::serve(gateway, listener, drain, certificate, signals).await
}
