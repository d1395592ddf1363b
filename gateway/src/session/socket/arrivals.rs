//! What comes to a session: from the hub, and from its own jobs.

use std::sync::Arc;
use std::time::Instant;

use quorate_proto::error::CloseCode;
use quorate_proto::frame::{Body, ConversationSummary, EventKind};
use quorate_proto::rpc::TokenScope;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{Live, Session, internal};
use crate::auth::Identity;
use crate::clock::wall_ms;
use crate::convert::{conversation_topic, encode, me_topic};
use crate::hub::SignalItem;
use crate::server::DrainPhase;
use crate::session::delivery::Step;
use crate::session::effect::Farewell;
use crate::session::farewell::End;
use crate::session::jobs::{self, Done};
use crate::session::opening::Opened;
use crate::session::outbox::Taken;

/// A program's token is looked at again at most so often, ms, and at least so often, whatever clocks say.
const RECHECK_MS_MIN: u64 = 1_000;
/// See [`RECHECK_MS_MIN`].
const RECHECK_MS_MAX: u64 = 60_000;

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    pub(super) fn taken(&mut self, taken: Taken) -> Result<(), End> {
        self.oldest = self.oldest.or(taken.born());
        let steps = self.delivery.offer(taken.events);
        self.steps(steps)?;
        let Some(live) = &self.live else { return Ok(()) };
        for signal in taken.signals {
            let (conversation, user) = signal.key.place();
            // Only of what is hers and open; and what she does herself she knows.
            if user != live.identity.user_id
                && self.delivery.has(conversation_topic(conversation))
                && self.protocol.wants(conversation)
            {
                self.out.push(signal.frame.clone());
            }
        }
        Ok(())
    }

    fn steps(&mut self, steps: Vec<Step>) -> Result<(), End> {
        for step in steps {
            match step {
                Step::Frame(text) => self.out.push(text),
                Step::Gap(text) => {
                    self.protocol.gap_told();
                    self.out.push(text);
                }
                Step::Add { event, conversation, base_version } => {
                    let Some(live) = &self.live else { return Err(End::Gone) };
                    let topic = conversation_topic(conversation);
                    self.jobs.push(jobs::add(
                        Arc::clone(&self.gateway),
                        live.identity.clone(),
                        live.subscriber.subscribe(vec![topic]),
                        event,
                        conversation,
                        base_version,
                    ));
                }
                Step::Remove(topic) => {
                    if let Some(live) = &self.live {
                        live.subscriber.unsubscribe(vec![topic]);
                    }
                    self.protocol.closed_room(topic.id);
                    self.watch(topic.id, false);
                }
                Step::Ended => {
                    if let Some(live) = &mut self.live {
                        live.subscriber.ends();
                    }
                    return Err(End::Bye(Farewell::new(CloseCode::Revoked, "this session was ended")));
                }
                Step::TooMuch => return Err(self.let_go()),
                Step::Broken(topic) => {
                    tracing::error!(?topic, "versions delivered to a session are not dense");
                    return Err(internal("events were not complete: resume"));
                }
            }
        }
        Ok(())
    }

    pub(super) fn done(&mut self, done: Done) -> Result<(), End> {
        match done {
            Done::Opened(Ok(opened)) => self.opened(*opened),
            Done::Opened(Err(farewell)) => Err(End::Bye(farewell)),
            Done::Settled(lane, result, at) => {
                if let Ok(ack) = &result {
                    self.settled.get_or_insert(at);
                    self.delivery.saw(ack.index);
                }
                let effects = self.protocol.settled(lane, result);
                self.effects(effects)
            }
            Done::Answered(frame, index, refused) => {
                self.protocol.answered();
                if let Some(conversation) = refused {
                    self.protocol.closed_room(conversation);
                    self.watch(conversation, false);
                }
                self.delivery.saw(index);
                self.out.push(encode(&frame));
                if let Body::Conversation { conversation, .. } = &frame.body {
                    self.tell_durability(conversation);
                }
                Ok(())
            }
            Done::Renewed(id, result) => {
                let ends = result.map(|fresh| {
                    let ends_ms = fresh.ends_ms;
                    // All of it: the token before may have been one that only reads.
                    if let Some(live) = &mut self.live {
                        live.identity = fresh;
                    }
                    ends_ms
                });
                let effect = self.protocol.renewed(id, ends);
                self.effect(effect)
            }
            Done::Rechecked(result) => {
                let result = result.map(|fresh| {
                    let recheck_ms = recheck_ms(&fresh);
                    if let Some(live) = &mut self.live {
                        live.identity = fresh;
                    }
                    recheck_ms
                });
                let now_ms = self.now_ms();
                self.protocol.rechecked(now_ms, result).map_or(Ok(()), |effect| self.effect(effect))
            }
            Done::Added(Ok(added)) => {
                let Some(live) = &self.live else { return Err(End::Gone) };
                let me = me_topic(live.identity.user_id);
                let conversation = added.base.map(|(topic, _)| topic.id);
                let steps = self.delivery.added(me, added);
                self.steps(steps)?;
                let opened = conversation.and_then(|conversation| self.protocol.added(conversation));
                opened.map_or(Ok(()), |effect| self.effect(effect))
            }
            Done::Added(Err(reason)) => {
                tracing::warn!(reason, "a conversation could not be added to a session");
                Err(internal("a conversation could not be read: resume"))
            }
            Done::Marked | Done::Told => Ok(()),
        }
    }

    /// How many replicas have the newest message of a conversation that was opened; of later ones the hub tells.
    fn tell_durability(&mut self, summary: &ConversationSummary) {
        let Some(event) = &summary.last_message else { return };
        let EventKind::Message(message) = &event.kind else { return };
        if event.index > 0
            && self.protocol.wants(summary.id)
            && let Some((replicas, of)) = self.gateway.hub.state().replicas_with(event.index)
        {
            self.out.push(SignalItem::durability(summary.id, message.sequence, replicas, of).frame);
        }
    }

    fn opened(&mut self, opened: Opened) -> Result<(), End> {
        let Opened {
            identity,
            token,
            ticket,
            subscriber,
            frames,
            gaps,
            resumed,
            versions,
            bases,
            position,
            seen,
        } = opened;
        frames.into_iter().for_each(|frame| self.out.push(frame));
        (0..gaps).for_each(|_| self.protocol.gap_told());
        self.gateway.metrics.sessions_resumed.inc_by(u64::from(resumed));
        if let Some(greeted) = self.greeted.take() {
            self.gateway.metrics.open_seconds.observe(greeted.elapsed().as_secs_f64());
        }
        let now_ms = self.now_ms();
        self.protocol.opened(now_ms, identity.ends_ms);
        if token.is_some() {
            self.protocol.programmed(now_ms, recheck_ms(&identity), identity.check(TokenScope::Send).err());
        }
        let session = *identity.session.as_bytes();
        self.live = Some(Live { identity, token, ticket, subscriber });
        self.stranger = None;
        self.gateway.metrics.sessions.inc();
        // `welcome` named the state of the write path; this also says who leads and since when, and what changed meanwhile.
        let status = self.write.borrow_and_update().frame(Instant::now());
        self.push(Body::Status(status));
        let steps = self.delivery.open(session, versions, bases, position, seen);
        self.steps(steps)?;
        if *self.drain.borrow() != DrainPhase::Serving {
            self.drain()?;
        }
        self.work()
    }
}

/// When a program's token is looked at again: when its access token ends.
fn recheck_ms(identity: &Identity) -> u64 {
    identity.ends_ms.saturating_sub(wall_ms()).clamp(RECHECK_MS_MIN, RECHECK_MS_MAX)
}
