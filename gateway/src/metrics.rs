//! Every metric of a gateway, declared here and nowhere else, named `quorate_gateway_<noun>_<unit>`.
//!
//! Owns names and help texts. Must not know who counts.

mod latency;

use std::fmt;
use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

pub use latency::{Latency, WINDOW};

use crate::session::outbox::Losses;

/// The label of a counter that counts by kind.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Kind {
    /// One word.
    pub kind: String,
}

/// The label of a part of a command's way.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Stage {
    /// One word.
    pub stage: &'static str,
}

/// Where the time of a command goes, part by part.
#[derive(Debug, Clone)]
pub struct Stages {
    /// Behind earlier commands of its session, into the same conversation.
    pub lane: Latency,
    /// Until it was first sent to a replica.
    pub queue: Latency,
    /// From its first to its last sending: for a leader that was lost. Only of those sent more than once.
    pub retry: Latency,
    /// From its last sending to its outcome.
    pub leader: Latency,
    /// Of that, in the replica: log, majority, apply.
    pub replica: Latency,
    /// Of that, the rest: the way there and back, and the waiting at both ends of it.
    pub network: Latency,
    /// From its outcome to the flush that carried its ack.
    pub reply: Latency,
}

type StageFamily = Family<Stage, Latency>;

impl Stages {
    fn of(family: &StageFamily) -> Self {
        let of = |stage| family.get_or_create(&Stage { stage }).clone();
        Self {
            lane: of("lane"),
            queue: of("queue"),
            retry: of("retry"),
            leader: of("leader"),
            replica: of("replica"),
            network: of("network"),
            reply: of("reply"),
        }
    }
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
    /// The same and what lies around it, part by part.
    pub submit_stages: Stages,
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
    /// What was let go for readers that did not take what was theirs, by kind: signal, merged (a signal replaced by a
    /// newer one), room (became a gap), event (in a gap), session.
    pub let_go: Family<Kind, Counter>,
    /// Signals handed to sessions.
    pub signals: Counter,
    /// Conversations whose signals a session wants.
    pub watched_conversations: Gauge,
    /// Users who are present through this gateway.
    pub present_users: Gauge,
    /// Sessions told to come later, because too many came at once.
    pub sessions_postponed: Counter,
    /// Sessions that went on from a position.
    pub sessions_resumed: Counter,
    /// From `hello` to `welcome`.
    pub open_seconds: Histogram,
    /// From the hub's taking an event to the flush that ended with it, for one session each.
    pub delivery_seconds: Latency,
    /// Reads by result: ok, behind, unreachable, rejected.
    pub reads: Family<Kind, Counter>,
    /// Passwords hashed.
    pub password_hashes: Counter,
    /// HTTP answers by status class, such as `2xx`.
    pub http_answers: Family<Kind, Counter>,
    /// Connections refused before any request, by reason.
    pub refused_connections: Family<Kind, Counter>,
    /// Whether this gateway tells outgoing webhooks.
    pub hooks_lease: Gauge,
    /// Items that outgoing webhooks took.
    pub hooks_told: Counter,
    /// Tries that failed.
    pub hooks_failed: Counter,
    /// Items that were told no more.
    pub hooks_given_up: Counter,
    /// From an item's beginning to wait, by log time, to its being taken.
    pub hook_wait_seconds: Histogram,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Default for Metrics {
    fn default() -> Self {
        let stages = StageFamily::default();
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
            submit_stages: Stages::of(&stages),
            leader_switches: Counter::default(),
            feed_switches: Counter::default(),
            feed_events: Counter::default(),
            deliveries: Counter::default(),
            filled_events: Counter::default(),
            delivered_index: Gauge::default(),
            topics: Gauge::default(),
            let_go: Family::default(),
            signals: Counter::default(),
            watched_conversations: Gauge::default(),
            present_users: Gauge::default(),
            sessions_postponed: Counter::default(),
            sessions_resumed: Counter::default(),
            open_seconds: Histogram::new(exponential_buckets(0.0005, 2.0, 16)),
            delivery_seconds: Latency::default(),
            reads: Family::default(),
            password_hashes: Counter::default(),
            http_answers: Family::default(),
            refused_connections: Family::default(),
            hooks_lease: Gauge::default(),
            hooks_told: Counter::default(),
            hooks_failed: Counter::default(),
            hooks_given_up: Counter::default(),
            // 10 ms to 12 h: a server that is there to one that was away for a night.
            hook_wait_seconds: Histogram::new(exponential_buckets(0.01, 4.0, 12)),
        };
        metrics.register(stages);
        metrics
    }
}

impl Metrics {
    fn register(&mut self, stages: StageFamily) {
        let r = &mut self.registry;
        r.register("sessions", "Authenticated sessions", self.sessions.clone());
        r.register("sockets", "Open sockets", self.sockets.clone());
        r.register("frames_received", "Frames from clients", self.frames_received.clone());
        r.register("frames_sent", "Frames to clients", self.frames_sent.clone());
        r.register("closes", "Closes by the server, by close code", self.closes.clone());
        r.register("submits", "Commands by outcome", self.submits.clone());
        r.register("submit_seconds", "From arrival to outcome of a command", self.submit_seconds.clone());
        r.register("submit_stage_seconds", "Parts of a command's way, by stage", stages);
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
        r.register("let_go", "What was let go for slow readers, by kind", self.let_go.clone());
        r.register("signals", "Signals handed to sessions", self.signals.clone());
        let help = "Conversations whose signals a session wants";
        r.register("watched_conversations", help, self.watched_conversations.clone());
        r.register("present_users", "Users present through this gateway", self.present_users.clone());
        let help = "Sessions told to come later because too many came at once";
        r.register("sessions_postponed", help, self.sessions_postponed.clone());
        r.register(
            "sessions_resumed",
            "Sessions that went on from a position",
            self.sessions_resumed.clone(),
        );
        r.register("open_seconds", "From hello to welcome", self.open_seconds.clone());
        let help = "From the hub's taking an event to the flush that ended with it";
        r.register("delivery_seconds", help, self.delivery_seconds.clone());
        r.register("reads", "Reads by result", self.reads.clone());
        r.register("password_hashes", "Passwords hashed", self.password_hashes.clone());
        r.register("http_answers", "HTTP answers by status class", self.http_answers.clone());
        let refused = self.refused_connections.clone();
        r.register("refused_connections", "Connections refused before any request, by reason", refused);
        r.register("hooks_lease", "Whether this gateway tells outgoing webhooks", self.hooks_lease.clone());
        r.register("hooks_told", "Items that outgoing webhooks took", self.hooks_told.clone());
        r.register("hooks_failed", "Tries to tell outgoing webhooks that failed", self.hooks_failed.clone());
        r.register("hooks_given_up", "Items of outgoing webhooks given up", self.hooks_given_up.clone());
        let help = "From an item's beginning to wait to its being taken";
        r.register("hook_wait_seconds", help, self.hook_wait_seconds.clone());
    }

    /// Counts one of a kind.
    pub fn count(family: &Family<Kind, Counter>, kind: &str) {
        family.get_or_create(&Kind { kind: kind.to_owned() }).inc();
    }

    /// Counts what an outbox let go.
    pub fn lost(&self, losses: Losses) {
        if losses == Losses::default() {
            return;
        }
        let kinds = [
            ("signal", losses.signals),
            ("merged", losses.merged),
            ("room", losses.rooms),
            ("event", losses.events),
        ];
        for (kind, count) in kinds.into_iter().filter(|(_, count)| *count > 0) {
            self.let_go.get_or_create(&Kind { kind: kind.to_owned() }).inc_by(count);
        }
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
        for stage in ["lane", "queue", "retry", "leader", "replica", "network", "reply"] {
            let line = format!("quorate_gateway_submit_stage_seconds_count{{stage=\"{stage}\"}} 0");
            assert!(text.contains(&line), "{text}");
        }
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            assert!(line.starts_with("quorate_gateway_"), "{line}");
        }
    }
}
