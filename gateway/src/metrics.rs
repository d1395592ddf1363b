//! Every metric of a gateway, declared here and nowhere else, named `quorate_gateway_<noun>_<unit>`.
//!
//! Owns names and help texts. Must not know who counts.

use std::fmt;
use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

/// The label of a counter that counts by kind.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Kind {
    /// One word.
    pub kind: String,
}

/// The counters, shared by reference.
pub struct Metrics {
    registry: Registry,
    /// Authenticated sessions.
    pub sessions: Gauge,
    /// Open sockets, those without `hello` included.
    pub sockets: Gauge,
    /// Frames from clients.
    pub frames_received: Counter,
    /// Frames to clients.
    pub frames_sent: Counter,
    /// Closes by the server, by close code.
    pub closes: Family<Kind, Counter>,
    /// Commands by outcome: applied, replayed, rejected, overloaded, unavailable.
    pub submits: Family<Kind, Counter>,
    /// From a command's arrival at the leader client to its outcome.
    pub submit_seconds: Histogram,
    /// Streams to a leader opened.
    pub leader_switches: Counter,
    /// Feeds opened.
    pub feed_switches: Counter,
    /// Durable events received from the feed.
    pub feed_events: Counter,
    /// Events handed to sessions.
    pub deliveries: Counter,
    /// Events read to fill what lay between two feeds.
    pub filled_events: Counter,
    /// Log index up to which every event was handed out.
    pub delivered_index: Gauge<u64, AtomicU64>,
    /// Topics on the feed.
    pub topics: Gauge,
    /// Sessions let go because they did not take what was theirs.
    pub outbox_overflows: Counter,
    /// Reads by result: ok, behind, unreachable, rejected.
    pub reads: Family<Kind, Counter>,
    /// Passwords hashed.
    pub password_hashes: Counter,
    /// HTTP answers by status class, such as `2xx`.
    pub http_answers: Family<Kind, Counter>,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Default for Metrics {
    fn default() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("quorate_gateway"),
            sessions: Gauge::default(),
            sockets: Gauge::default(),
            frames_received: Counter::default(),
            frames_sent: Counter::default(),
            closes: Family::default(),
            submits: Family::default(),
            // 0.5 ms to 16 s: an ack in a quiet cluster to the end of the submit wait.
            submit_seconds: Histogram::new(exponential_buckets(0.0005, 2.0, 16)),
            leader_switches: Counter::default(),
            feed_switches: Counter::default(),
            feed_events: Counter::default(),
            deliveries: Counter::default(),
            filled_events: Counter::default(),
            delivered_index: Gauge::default(),
            topics: Gauge::default(),
            outbox_overflows: Counter::default(),
            reads: Family::default(),
            password_hashes: Counter::default(),
            http_answers: Family::default(),
        };
        metrics.register();
        metrics
    }
}

impl Metrics {
    fn register(&mut self) {
        let r = &mut self.registry;
        r.register("sessions", "Authenticated sessions", self.sessions.clone());
        r.register("sockets", "Open sockets", self.sockets.clone());
        r.register("frames_received", "Frames from clients", self.frames_received.clone());
        r.register("frames_sent", "Frames to clients", self.frames_sent.clone());
        r.register("closes", "Closes by the server, by close code", self.closes.clone());
        r.register("submits", "Commands by outcome", self.submits.clone());
        r.register("submit_seconds", "From arrival to outcome of a command", self.submit_seconds.clone());
        r.register("leader_switches", "Streams to a leader opened", self.leader_switches.clone());
        r.register("feed_switches", "Feeds opened", self.feed_switches.clone());
        r.register("feed_events", "Durable events received", self.feed_events.clone());
        r.register("deliveries", "Events handed to sessions", self.deliveries.clone());
        r.register("filled_events", "Events read to fill between two feeds", self.filled_events.clone());
        r.register(
            "delivered_index",
            "Log index up to which all was handed out",
            self.delivered_index.clone(),
        );
        r.register("topics", "Topics on the feed", self.topics.clone());
        r.register("outbox_overflows", "Sessions let go as slow consumers", self.outbox_overflows.clone());
        r.register("reads", "Reads by result", self.reads.clone());
        r.register("password_hashes", "Passwords hashed", self.password_hashes.clone());
        r.register("http_answers", "HTTP answers by status class", self.http_answers.clone());
    }

    /// Counts one of a kind.
    pub fn count(family: &Family<Kind, Counter>, kind: &str) {
        family.get_or_create(&Kind { kind: kind.to_owned() }).inc();
    }

    /// Everything in the OpenMetrics text format.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail; an encoder error would leave the text cut short, which the scraper reports.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_has_the_prefix() {
        let metrics = Metrics::default();
        Metrics::count(&metrics.submits, "applied");
        let text = metrics.text();
        assert!(text.contains("quorate_gateway_submits_total{kind=\"applied\"} 1"), "{text}");
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            assert!(line.starts_with("quorate_gateway_"), "{line}");
        }
    }
}
