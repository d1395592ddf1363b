//! The plain HTTP side: `/healthz` (the process lives), `/readyz` (it follows or leads), `/metrics`.

use std::sync::Arc;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use warp::Filter as _;
use warp::http::StatusCode;

use crate::node::Node;

/// A replica that heard nothing from a leader for this long is not ready.
const CONTACT_MS_MAX: u64 = 2_000;

const CONTENT_TYPE: &str = "content-type";
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Serves until stopped.
pub async fn serve(listener: TcpListener, node: Arc<Node>, stop: CancellationToken) {
    let health = warp::path!("healthz").map(|| "ok\n".to_owned());
    let ready_node = node.clone();
    let ready = warp::path!("readyz").map(move || {
        let contact = ready_node.leader_contact_ms();
        if contact <= CONTACT_MS_MAX {
            warp::reply::with_status("ready\n".to_owned(), StatusCode::OK)
        } else {
            let text = format!("no contact with a leader for {contact} ms\n");
            warp::reply::with_status(text, StatusCode::SERVICE_UNAVAILABLE)
        }
    });
    let metrics = warp::path!("metrics").map(move || {
        let (log, checkpoint) = (node.log_bytes(), node.store().checkpoint_bytes());
        node.measure_log();
        let text = node.metrics().render(&node.status(0), log, checkpoint, node.store().overlay_bytes());
        warp::reply::with_header(text, CONTENT_TYPE, OPENMETRICS)
    });
    let routes = warp::get().and(health.or(ready).or(metrics));
    warp::serve(routes).incoming(listener).graceful(stop.cancelled_owned()).run().await;
}
