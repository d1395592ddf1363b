//! What every part of a running gateway shares: handles and configuration, nothing else.

use std::net::IpAddr;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use quorate_proto::error::WireError;
use quorate_proto::ids::UserId;
use quorate_proto::rpc::{Command, RecordSeen, command};
use quorate_tls::Credentials;
use tokio::sync::{mpsc, watch};

use crate::auth::{Accounts, ApiToken, Identity, TokenError, TokenVerifier};
use crate::clock;
use crate::cluster::Marks;
use crate::config::Config;
use crate::demo::DemoRunner;
use crate::files::Files;
use crate::hooks::Hooks;
use crate::hub::Hub;
use crate::leader::LeaderClient;
use crate::metrics::Metrics;
use crate::reads::Reader;
use crate::replicas::Replicas;
use crate::rest::{Addresses, Calls, Exports};
use crate::server::DrainPhase;
use crate::session::admission::Admission;
use crate::session::users::Users;
use crate::suggest::Suggester;

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
    /// What it has seen of changes of leader.
    pub marks: Arc<Marks>,
    /// Access tokens.
    pub tokens: TokenVerifier,
    /// Sign-up and sign-in.
    pub accounts: Accounts,
    /// Bytes of files, up and down.
    pub files: Files,
    /// Sockets per user.
    pub users: Arc<Users>,
    /// Calls per user.
    pub calls: Calls,
    /// Sign-ups, sign-ins and the like per address.
    pub addresses: Addresses,
    /// Suggestions of replies.
    pub(crate) suggester: Suggester,
    /// Exports under way.
    pub exports: Exports,
    /// Outgoing webhooks.
    pub hooks: Hooks,
    /// The runner of a demo, where this is one.
    pub demo: Option<DemoRunner>,
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
        let marks: Arc<Marks> = Arc::default();
        let leader = LeaderClient::start(
            Arc::clone(&replicas),
            Arc::clone(&metrics),
            feed_leader,
            config.trace_one_in,
            Arc::clone(&marks),
        );
        let (seen, users_seen) = mpsc::channel(1);
        let hub = Hub::start(
            &config.name,
            Arc::clone(&replicas),
            reader.clone(),
            Arc::clone(&metrics),
            leader_seen,
            seen,
            Arc::clone(&marks),
        );
        tokio::spawn(record_seen(leader.clone(), users_seen));
        let tokens = TokenVerifier::new(&config.cluster, reader.clone());
        let accounts =
            Accounts::new(reader.clone(), leader.clone(), config.argon2_concurrency, Arc::clone(&metrics));
        let calls = Calls::new(&config.limits);
        let files = Files::new(Arc::clone(&replicas), reader.clone(), leader.clone());
        let addresses = Addresses::new(config.account_calls_per_minute);
        let users = Users::new(&config.limits, config.sockets_per_user_max);
        let hooks = Hooks::start(
            &config.cluster,
            &config.hooks,
            reader.clone(),
            leader.clone(),
            Arc::clone(&metrics),
            drain.clone(),
        )?;
        let gateway = Arc::new(Self {
            metrics,
            replicas,
            reader,
            leader,
            hub,
            marks,
            tokens,
            accounts,
            files,
            users,
            calls,
            addresses,
            suggester: Suggester::new(&config.suggestions)?,
            exports: Exports::default(),
            hooks,
            demo: DemoRunner::new(config.demo_control_file.as_deref())?,
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

    /// Who shows a token, or why it is not accepted. A program's token costs a question to the replicas: whoever has asked about
    /// too many that were refused is held back by her address, but not with one that was good.
    ///
    /// # Errors
    /// `rate_limited`, with the time to wait.
    pub async fn holder(
        &self,
        client: Option<IpAddr>,
        token: &str,
    ) -> Result<Result<Identity, TokenError>, WireError> {
        let client = client.filter(|_| ApiToken::is_meant(token));
        if let Some(address) = client
            && !self.tokens.costs_nothing(token)
        {
            self.addresses.check(address)?;
        }
        let (verified, asked) = self.tokens.verify_asking(token).await;
        let is_refused = verified.as_ref().is_err_and(|error| *error != TokenError::Unavailable);
        if let Some(address) = client
            && asked
            && is_refused
        {
            // Known by now to be wrong, and said so: the next one is held back.
            let _ = self.addresses.admit(address);
        }
        Ok(verified)
    }
}

/// Has the replicas keep when users were last seen. Best effort: what is lost is a few minutes of somebody's.
async fn record_seen(leader: LeaderClient, mut users: mpsc::Receiver<Vec<UserId>>) {
    while let Some(user_ids) = users.recv().await {
        let command = Command {
            command_id: clock::command_id().as_bytes().to_vec().into(),
            action: Some(command::Action::RecordSeen(RecordSeen { user_ids })),
            ..Command::default()
        };
        let _ = leader.submit(&command).await;
    }
}
