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
mod http;
mod origin;
mod upgrade;

use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio_util::task::TaskTracker;

pub use drain::{DrainPhase, Signals, signals};
pub use origin::OriginPolicy;

use crate::context::Gateway;

/// A request's header is complete within this, or the connection is closed; also how long an idle one is kept.
const HEADER_WAIT: Duration = Duration::from_secs(5);
/// Bytes of a request's header.
const HEADER_BYTES_MAX: usize = 16 * 1024;
/// Connections that are no socket yet, above the sockets of the configuration.
const SPARE_CONNECTIONS: usize = 1_024;
/// After a failed accept (out of file descriptors) the loop waits this long instead of spinning.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves until the drain is over.
pub(crate) async fn serve(
    gateway: Arc<Gateway>,
    listener: TcpListener,
    drain: watch::Sender<DrainPhase>,
    mut signals: Signals,
) -> anyhow::Result<()> {
    let routes = http::Routes::new(Arc::clone(&gateway));
    let places = Arc::new(Semaphore::new(gateway.config.sockets_max.saturating_add(SPARE_CONNECTIONS)));
    let tasks = TaskTracker::new();
    // Owns the listener: dropping it refuses what comes later.
    let inner = tasks.clone();
    let mut accepting = Box::pin(async move {
        loop {
            // A place first: beyond the bound, connections wait in the kernel's own bounded queue.
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            let stream = match listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "accept failed");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let (routes, tasks) = (routes.clone(), inner.clone());
            inner.spawn(async move {
                connection(routes, stream, tasks).await;
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

async fn connection(routes: http::Routes, stream: TcpStream, tasks: TaskTracker) {
    // An ack must not wait for the next one to fill a packet.
    let _ = stream.set_nodelay(true);
    let service = hyper::service::service_fn(move |request| {
        let (routes, tasks) = (routes.clone(), tasks.clone());
        async move { routes.answer(request, &tasks).await }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_WAIT)
        .max_buf_size(HEADER_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades()
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "a connection ended");
    }
}
