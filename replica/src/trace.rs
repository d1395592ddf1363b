//! Spans of traced commands: the same trace id in gateway, leader and followers, each stage with its own span.
//!
//! A span is logged when it closes, with how long it took. Few commands are traced (the gateway chooses), so nothing here
//! is on the path of the others but a look at an empty string.

use quorate_proto::trace::TraceContext;
use tracing::Span;
use uuid::Uuid;

/// Where a traced command is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// At the leader, from its arrival to its answer.
    Propose,
    /// At a follower, when the entry arrived.
    Append,
    /// At any replica, when the entry is applied.
    Apply,
}

/// A new span of a trace, and the context to send on.
fn child(parent: &TraceContext) -> TraceContext {
    let (half, _) = Uuid::new_v4().as_u64_pair();
    TraceContext { trace_id: parent.trace_id, span_id: half.max(1) }
}

/// Opens a span for one stage of a traced command; `None` for one that is not traced. The second value is what to send on.
pub fn open(stage: Stage, traceparent: &str, index: Option<u64>) -> Option<(Span, String)> {
    if traceparent.is_empty() {
        return None;
    }
    let parent = TraceContext::parse(traceparent)?;
    let own = child(&parent);
    let (trace_id, parent_id) = (format!("{:032x}", parent.trace_id), format!("{:016x}", parent.span_id));
    let span_id = format!("{:016x}", own.span_id);
    let span = match stage {
        Stage::Propose => tracing::info_span!("propose", trace_id, span_id, parent_id, index),
        Stage::Append => tracing::info_span!("append", trace_id, span_id, parent_id, index),
        Stage::Apply => tracing::info_span!("apply", trace_id, span_id, parent_id, index),
    };
    Some((span, own.to_string()))
}
