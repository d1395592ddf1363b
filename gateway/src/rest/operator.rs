//! What balancers and operators ask: `/healthz`, `/readyz`, `/statusz`, `/metrics`.

use std::time::Instant;

use hyper::StatusCode;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use quorate_proto::error::{ErrorCode, WireError};
use serde_json::json;
use warp::reply::Response;

use super::{Answer, Call, json as reply};
use crate::server::DrainPhase;

/// What a probe is told to wait, ms.
const READY_RETRY_MS: u64 = 1_000;

/// The process lives: nothing else is asked.
pub(super) async fn health(_: Call) -> Answer {
    Ok(reply(StatusCode::OK, &json!({"status": "ok"})))
}

pub(super) async fn ready(call: Call) -> Answer {
    let gateway = &call.gateway;
    let reason = if *gateway.drain.borrow() != DrainPhase::Serving {
        "draining"
    } else if !gateway.hub.state().is_live() {
        "no feed from any replica"
    } else {
        return Ok(reply(StatusCode::OK, &json!({"ready": true})));
    };
    Err(WireError::new(ErrorCode::Unavailable, reason).retry_after(READY_RETRY_MS).into())
}

pub(super) async fn status(call: Call) -> Answer {
    let gateway = &call.gateway;
    let hub = gateway.hub.state();
    let write = gateway.leader.write().borrow().frame(Instant::now());
    let leader = gateway.replicas.leader().map(|at| gateway.replicas.address(at).to_string());
    let body = json!({
        "name": gateway.config.name,
        "cluster": gateway.config.cluster,
        "version": env!("CARGO_PKG_VERSION"),
        "sessions": gateway.metrics.sessions.get(),
        "sockets": gateway.metrics.sockets.get(),
        "feed_replica": hub.is_live().then(|| gateway.replicas.address(hub.replica()).to_string()),
        "applied_index": hub.delivered_index(),
        "leader": leader,
        "leader_id": write.leader,
        "write": write.write,
        "write_since_ms": write.since_ms,
        "draining": *gateway.drain.borrow() != DrainPhase::Serving,
    });
    Ok(reply(StatusCode::OK, &body))
}

pub(super) async fn metrics(call: Call) -> Answer {
    let mut response = Response::new(call.gateway.metrics.text().into());
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8"),
    );
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}
