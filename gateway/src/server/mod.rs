//! The door: accepts connections, speaks HTTP/1.1 through an own hyper loop, hands sockets to sessions, and closes in
//! order.
//!
//! Owns listeners, time-outs and the order of the drain. Must not know what a frame or a REST call means.
//!
//! ```text
//!  accept ──▶ hyper ──┬── GET /ws ──▶ upgrade ──▶ session
//!                     └── the rest ──▶ body (bounded) ──▶ warp
//! ```

mod drain;
mod guard;
mod http;
mod origin;
mod strangers;
mod upgrade;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use quorate_tls::EdgeCertificate;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

pub use drain::{DrainPhase, Signals, signals};
pub use origin::OriginPolicy;
pub use strangers::Stranger;

use crate::context::Gateway;
use crate::metrics::Metrics;
use crate::rest;
use guard::{Guarded, Streaming};
use strangers::Strangers;

/// A request's header is complete within this, or the connection is closed; also how long an idle one is kept.
const HEADER_WAIT: Duration = Duration::from_secs(5);
/// Bytes of a request's header and what arrived behind it: twice what [`http::Routes`] takes of a header, so that a longer
/// one is answered in our words.
const READ_BUFFER_BYTES_MAX: usize = 2 * http::HEADER_BYTES_MAX;
/// A TLS handshake is complete within this, or the connection is closed.
const HANDSHAKE_WAIT: Duration = Duration::from_secs(5);
/// Connections that are no socket yet, above the sockets of the configuration.
const SPARE_CONNECTIONS: usize = 1_024;
/// After a failed accept (out of file descriptors) the loop waits this long instead of spinning.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves until the drain is over.
pub(crate) async fn serve(
    gateway: Arc<Gateway>,
    listener: TcpListener,
    drain: watch::Sender<DrainPhase>,
    certificate: Option<EdgeCertificate>,
    mut signals: Signals,
) -> anyhow::Result<()> {
    let config = &gateway.config;
    let strangers = Strangers::new(config.strangers_per_address_max, &config.trusted_balancers);
    let door = Arc::new(Door {
        routes: http::Routes::new(Arc::clone(&gateway), Arc::clone(&strangers)),
        strangers,
        certificate,
    });
    let places = Arc::new(Semaphore::new(gateway.config.sockets_max.saturating_add(SPARE_CONNECTIONS)));
    let tasks = TaskTracker::new();
    // Owns the listener: dropping it refuses what comes later.
    let inner = tasks.clone();
    let mut accepting = Box::pin(async move {
        loop {
            // A place first: beyond the bound, connections wait in the kernel's own bounded queue.
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            let (stream, peer) = match listener.accept().await {
                Ok(connection) => connection,
                Err(error) => {
                    tracing::warn!(%error, "accept failed");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let (door, tasks) = (Arc::clone(&door), inner.clone());
            inner.spawn(async move {
                door.connection(stream, peer, tasks).await;
                drop(place);
            });
        }
    });
    // The order in which a gateway ends, in one place:
    tokio::select! {
        () = &mut accepting => {}
        () = signals.first() => {}
    }
    let ending = async {
        tracing::info!("ending: not ready from now on");
        // 1. Not ready; connections are taken until the balancer must have noticed: whoever is asked to move before that
        //    might be sent back here.
        drain.send_replace(DrainPhase::Leaving);
        let grace = Duration::from_millis(gateway.config.drain_grace_ms);
        tokio::select! {
            () = &mut accepting => {}
            () = tokio::time::sleep(grace) => {}
        }
        // 2. Nothing new.
        drop(accepting);
        // 3. Sessions move within the spread. 4. Commands under way are finished, sockets closed.
        drain::finish(&gateway, &drain, &tasks).await;
    };
    tokio::select! {
        () = ending => tracing::info!("ended"),
        () = signals.second() => tracing::warn!("ended at once on a second signal"),
    }
    Ok(())
}

/// What every connection passes.
struct Door {
    routes: http::Routes,
    strangers: Arc<Strangers>,
    /// Without one the door speaks plain HTTP: for loopback, and for a balancer that ends TLS.
    certificate: Option<EdgeCertificate>,
}

impl Door {
    async fn connection(&self, stream: TcpStream, peer: SocketAddr, tasks: TaskTracker) {
        let Ok(stranger) = self.strangers.connected(peer.ip()) else {
            tracing::debug!(%peer, "too many connections of this address that did not say who they are");
            return self.refused("strangers");
        };
        // An ack must not wait for the next one to fill a packet.
        let _ = stream.set_nodelay(true);
        let Some(certificate) = &self.certificate else {
            return self.http(stream, peer, stranger, tasks).await;
        };
        // No bound of its own: one that is held while the peer is waited for could be taken up by the silent. A stranger's
        // place and the bound of connections hold here too.
        match timeout(HANDSHAKE_WAIT, certificate.accept(stream)).await {
            Ok(Ok(stream)) => self.http(stream, peer, stranger, tasks).await,
            Ok(Err(error)) => {
                tracing::debug!(%peer, %error, "a TLS handshake failed");
                self.refused("handshake_failed");
            }
            Err(_) => {
                tracing::debug!(%peer, "no TLS handshake in time");
                self.refused("handshake_slow");
            }
        }
    }

    /// Counted, not logged: a line for each would fill a disk at a stranger's will.
    fn refused(&self, reason: &str) {
        Metrics::count(&self.routes.gateway.metrics.refused_connections, reason);
    }

    async fn http<S>(&self, stream: S, peer: SocketAddr, stranger: Option<Stranger>, tasks: TaskTracker)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        // The place goes on with the socket if there comes to be one.
        let stranger = Arc::new(Mutex::new(stranger));
        let streaming = Streaming::default();
        let guarded =
            Guarded::new(stream, self.routes.strict_transport.clone()).unless(Arc::clone(&streaming));
        let service = hyper::service::service_fn(|request| {
            let (stranger, streaming) = (Arc::clone(&stranger), Arc::clone(&streaming));
            let tasks = &tasks;
            async move {
                let response = self.routes.answer(request, peer.ip(), &stranger, tasks).await?;
                let is_streamed = response.extensions().get::<rest::Streamed>().is_some();
                streaming.store(is_streamed, Ordering::Relaxed);
                Ok::<_, Infallible>(response)
            }
        });
        let served = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_WAIT)
            .max_buf_size(READ_BUFFER_BYTES_MAX)
            .serve_connection(TokioIo::new(guarded), service)
            .with_upgrades()
            .await;
        if let Err(error) = served {
            tracing::debug!(%error, "a connection ended");
        }
    }
}
