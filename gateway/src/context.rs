//! What every part of a running gateway shares: handles and configuration, nothing else.

use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use quorate_tls::Credentials;
use tokio::sync::watch;

use crate::auth::{Accounts, TokenVerifier};
use crate::config::Config;
use crate::hub::Hub;
use crate::leader::LeaderClient;
use crate::metrics::Metrics;
use crate::reads::Reader;
use crate::replicas::Replicas;
use crate::rest::{Addresses, Calls};
use crate::server::DrainPhase;
use crate::session::admission::Admission;
use crate::session::users::Users;

/// One running gateway.
#[derive(Debug)]
pub struct Gateway {
    /// What it was told.
    pub config: Config,
    /// Its counters.
    pub metrics: Arc<Metrics>,
    /// The replicas it knows.
    pub replicas: Arc<Replicas>,
    /// Reads.
    pub reader: Reader,
    /// Commands.
    pub leader: LeaderClient,
    /// Events.
    pub hub: Hub,
    /// Access tokens.
    pub tokens: TokenVerifier,
    /// Sign-up and sign-in.
    pub accounts: Accounts,
    /// Sockets per user.
    pub users: Arc<Users>,
    /// Calls per user.
    pub calls: Calls,
    /// Sign-ups, sign-ins and the like per address.
    pub addresses: Addresses,
    /// How many sessions begin at a time.
    pub admission: Mutex<Admission>,
    /// When it was started.
    pub started: Instant,
    /// Sockets in all.
    pub sockets: AtomicUsize,
    /// Requests that are being answered.
    pub calls_open: AtomicUsize,
    /// Whether it is about to end.
    pub drain: watch::Receiver<DrainPhase>,
}

impl Gateway {
    /// Starts everything behind the door.
    ///
    /// # Errors
    /// When an address cannot be used.
    pub fn start(
        config: Config,
        credentials: Option<Credentials>,
        drain: watch::Receiver<DrainPhase>,
    ) -> anyhow::Result<Arc<Self>> {
        let metrics = Arc::new(Metrics::default());
        // Gateways spread over the replicas by name.
        let hash = blake3::hash(config.name.as_bytes());
        let first = usize::from(hash.as_bytes()[0]);
        let replicas =
            Arc::new(Replicas::new(&config.cluster, &config.replicas, first, credentials.clone())?);
        if let Some(credentials) = credentials {
            tokio::spawn(async move { credentials.keep_current().await });
        }
        tokio::spawn(Replicas::keep_current(Arc::downgrade(&replicas)));
        let reader = Reader::new(Arc::clone(&replicas), Arc::clone(&metrics));
        let (leader_seen, feed_leader) = watch::channel(0);
        let leader = LeaderClient::start(
            Arc::clone(&replicas),
            Arc::clone(&metrics),
            feed_leader,
            config.trace_one_in,
        );
        let hub = Hub::start(
            &config.name,
            Arc::clone(&replicas),
            reader.clone(),
            Arc::clone(&metrics),
            leader_seen,
        );
        let tokens = TokenVerifier::new(&config.cluster, reader.clone());
        let accounts =
            Accounts::new(reader.clone(), leader.clone(), config.argon2_concurrency, Arc::clone(&metrics));
        let calls = Calls::new(&config.limits);
        let addresses = Addresses::new(config.account_calls_per_minute);
        let users = Users::new(&config.limits, config.sockets_per_user_max);
        let gateway = Arc::new(Self {
            metrics,
            replicas,
            reader,
            leader,
            hub,
            tokens,
            accounts,
            users,
            calls,
            addresses,
            admission: Mutex::new(Admission::new(config.sessions_per_second)),
            started: Instant::now(),
            sockets: AtomicUsize::new(0),
            calls_open: AtomicUsize::new(0),
            drain,
            config,
        });
        tokio::spawn(TokenVerifier::keep_current(Arc::downgrade(&gateway)));
        Ok(gateway)
    }
}
