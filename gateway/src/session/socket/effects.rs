//! Carries out what the protocol decides.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use quorate_proto::error::{ErrorCode, WireError};
use quorate_proto::frame::Body;
use quorate_proto::rpc::{self, signal};
use tokio::io::{AsyncRead, AsyncWrite};

use super::Session;
use crate::auth::Identity;
use crate::clock::wall_ms;
use crate::context::Gateway;
use crate::convert::{conversation_topic, encode, said_presence};
use crate::session::effect::{Effect, Lane, Query, Task};
use crate::session::farewell::End;
use crate::session::jobs::{self, Done};
use crate::session::opening::{self, Held};
use crate::session::out::{FLUSH_BYTES_MAX, FLUSH_FRAMES_MAX};

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    pub(super) fn effects(&mut self, effects: Vec<Effect>) -> Result<(), End> {
        effects.into_iter().try_for_each(|effect| self.effect(effect))
    }

    pub(super) fn effect(&mut self, effect: Effect) -> Result<(), End> {
        let gateway = Arc::clone(&self.gateway);
        match effect {
            Effect::Write(frame) => self.out.push(encode(&frame)),
            Effect::Close(farewell) => return Err(End::Bye(farewell)),
            Effect::Open { id, hello } => {
                let Some(outbox) = self.outbox.take() else { return Err(End::Gone) };
                self.greeted = Some(Instant::now());
                let opening = opening::open(gateway, id, hello, outbox, self.client);
                self.jobs.push(Box::pin(async move { Done::Opened(opening.await) }));
            }
            Effect::Ping { n } => self.ping(n)?,
            Effect::Watch(conversation) => self.watch(conversation, true),
            Effect::Unwatch(conversation) => self.watch(conversation, false),
            _ => {
                // The protocol gives these only to a live session.
                let Some(live) = &self.live else { return Err(End::Gone) };
                let identity = live.identity.clone();
                let seen = self.delivery.seen();
                match effect {
                    Effect::Submit { lane, task, asked_ms } => {
                        let waited_ms = self.now_ms().saturating_sub(asked_ms);
                        let waited = Duration::from_millis(waited_ms);
                        gateway.metrics.submit_stages.lane.observe(waited.as_secs_f64());
                        self.submit(gateway, identity, seen, lane, *task)?;
                    }
                    Effect::MarkRead { conversation, sequence } => {
                        self.jobs.push(jobs::mark_read(gateway, identity, conversation, sequence));
                    }
                    Effect::Read { id, query } => {
                        if let Query::Open { conversation, signals: true } = query
                            && self.delivery.has(conversation_topic(conversation))
                        {
                            self.watch(conversation, true);
                        }
                        let watching = self.watching.clone();
                        let first = async move {
                            if let Some(watching) = watching {
                                watching.await;
                            }
                        };
                        self.jobs.push(jobs::read(gateway, identity, seen, id, query, first));
                    }
                    Effect::Renew { id, token } => {
                        self.jobs.push(jobs::renew(gateway, identity, id, token, self.client));
                    }
                    Effect::Recheck => {
                        if let Some(Held(token)) = live.token.clone() {
                            self.jobs.push(jobs::recheck(gateway, identity, token));
                        }
                    }
                    Effect::Typing(conversation) => {
                        let kind = signal::Kind::Typing(rpc::Typing {});
                        live.subscriber.say(said(&identity, conversation, kind));
                    }
                    Effect::Delivered { conversation, sequence } => {
                        let receipt = rpc::Receipt { read: 0, delivered: sequence };
                        let kind = signal::Kind::Receipt(receipt);
                        let telling = live.subscriber.tell(said(&identity, conversation, kind));
                        self.jobs.push(jobs::tell(telling));
                    }
                    Effect::Presence(state) => {
                        if let Some(state) = said_presence(state) {
                            let telling = live.subscriber.presence(identity.user_id, state);
                            self.jobs.push(jobs::tell(telling));
                        }
                    }
                    Effect::Write(_)
                    | Effect::Close(_)
                    | Effect::Open { .. }
                    | Effect::Ping { .. }
                    | Effect::Watch(_)
                    | Effect::Unwatch(_) => {}
                }
            }
        }
        Ok(())
    }

    fn submit(
        &mut self,
        gateway: Arc<Gateway>,
        identity: Identity,
        seen: u64,
        lane: Lane,
        task: Task,
    ) -> Result<(), End> {
        if self.finish_until.is_some() {
            let error = WireError::new(ErrorCode::Unavailable, "this gateway is ending: resume elsewhere");
            let effects = self.protocol.settled(lane, Err(error));
            return self.effects(effects);
        }
        self.jobs.push(jobs::submit(gateway, identity, seen, lane, task));
        Ok(())
    }

    /// Tells the hub whether a conversation's signals are wanted, after what it was told before: a conversation opened
    /// and closed in one message would otherwise stay watched.
    pub(super) fn watch(&mut self, conversation: u64, watches: bool) {
        let Some(live) = &self.live else { return };
        let before = self.watching.take();
        let telling = live.subscriber.watch(conversation, watches);
        let telling = async move {
            if let Some(before) = before {
                before.await;
            }
            telling.await;
        };
        let telling = telling.boxed().shared();
        self.jobs.push(jobs::tell(telling.clone()));
        self.watching = Some(telling);
    }

    /// Brings the position up to date before it is told: first read how far the hub is, then empty the inbox.
    fn ping(&mut self, n: u64) -> Result<(), End> {
        let index = self.gateway.hub.state().delivered_index();
        while let Some(taken) = self.inbox.try_recv(FLUSH_FRAMES_MAX, FLUSH_BYTES_MAX) {
            self.taken(taken)?;
        }
        self.delivery.reached(index);
        let log_time = self.gateway.hub.state().log_time_ms();
        self.push(Body::Ping { n, index: self.delivery.position(), log_time, time: wall_ms() });
        Ok(())
    }
}

/// A signal on its way up, vouched for by the session.
fn said(identity: &Identity, conversation_id: u64, kind: signal::Kind) -> rpc::Signal {
    let user = Some(rpc::UserRef { id: identity.user_id, ..rpc::UserRef::default() });
    let session_id = bytes::Bytes::copy_from_slice(identity.session.as_bytes());
    rpc::Signal { conversation_id, user, session_id, kind: Some(kind) }
}
