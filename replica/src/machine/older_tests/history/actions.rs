//! What the people of a chat at random do next.

use quorate_proto::limits::CHUNK_BYTES;

use super::*;

impl History {
    /// What people say in a chat, and versions before 4 did as well.
    fn said(&mut self) -> Action {
        let (conversation_id, sequence) = (self.room(), 1 + self.dice.below(8));
        match self.dice.below(8) {
            0 => Action::MarkRead(rpc::MarkRead { conversation_id, sequence }),
            1 => Action::Edit(rpc::Edit {
                conversation_id,
                sequence,
                text: "edited @u3".into(),
                if_revision: self.yes().then(|| self.dice.below(2)),
            }),
            2 => Action::Send(rpc::Send {
                conversation_id,
                forward: Some(rpc::MessageRef { conversation_id: self.room(), sequence }),
                ..Default::default()
            }),
            kind => {
                let text =
                    ["hello", "hello @u1", "@all and @u4", "see https://example.com"][kind as usize % 4];
                let mut attachments = Vec::new();
                if self.dice.below(3) == 0 {
                    let number = self.dice.below(12);
                    self.asks = Some(owner_of(number));
                    attachments.push(rpc::AttachFile { file_id: file_id(number), ..Default::default() });
                }
                let (text, reply_to) = (text.to_owned(), self.dice.below(3));
                Action::Send(rpc::Send { conversation_id, text, reply_to, attachments, forward: None })
            }
        }
    }

    fn of_messages(&mut self) -> Action {
        let (conversation_id, first) = (self.room(), 1 + self.dice.below(6));
        let (sequence, last, on) = (first, first + self.dice.below(3), self.dice.below(3) > 0);
        let kind = self.dice.below(8);
        if kind >= 6 {
            self.asks = Some(1 + self.dice.below(2));
        }
        match kind {
            0 => Action::DeleteMessages(rpc::DeleteMessages { conversation_id, first, last }),
            1 => Action::HideMessages(rpc::HideMessages { conversation_id, first, last }),
            2 => {
                let emoji = ["👍", "🎉", "👀"][self.dice.below(3) as usize].to_owned();
                Action::React(rpc::React { conversation_id, sequence, emoji, on })
            }
            3 => Action::Pin(rpc::Pin { conversation_id, sequence, on }),
            4 => Action::SaveMessage(rpc::SaveMessage { conversation_id, sequence, on }),
            5 => {
                let text = self.perhaps("I th").unwrap_or_default();
                Action::SetDraft(rpc::SetDraft { conversation_id, text, reply_to: 0 })
            }
            6 => Action::Schedule(rpc::Schedule {
                conversation_id,
                text: "later @u2".into(),
                reply_to: 0,
                due_ms: self.now + 1 + self.dice.below(200 * 3_600_000),
                remind_of: if on { 0 } else { sequence },
            }),
            _ => Action::CancelScheduled(rpc::CancelScheduled { id: 1 + self.dice.below(8) }),
        }
    }

    fn of_groups(&mut self) -> Action {
        let (conversation_id, user_id) = (self.room(), self.user());
        // Each group has one code, of its first owner's.
        let code_hash = hash(conversation_id).slice(..16);
        let kind = self.dice.below(13);
        if matches!(kind, 10 | 11) {
            self.asks = Some(1);
        }
        match kind {
            0 => Action::CreateGroup(rpc::CreateGroup {
                title: "team".into(),
                member_ids: vec![user_id, self.user()],
                topic: self.perhaps("food").unwrap_or_default(),
                public: self.yes(),
                announcement: self.dice.below(4) == 0,
            }),
            1 | 2 => Action::AddMember(rpc::AddMember { conversation_id, user_id }),
            3 => Action::RemoveMember(rpc::RemoveMember { conversation_id, user_id }),
            4 => Action::CreateDirect(rpc::CreateDirect { peer_id: user_id }),
            5 => Action::ChangeConversation(rpc::ChangeConversation {
                conversation_id,
                title: self.perhaps("another"),
                topic: self.perhaps("music"),
                public: self.yes().then(|| self.yes()),
                announcement: self.yes().then_some(false),
                retention_ms: (self.dice.below(4) == 0).then(|| 3_600_000 * (1 + self.dice.below(60))),
                ..Default::default()
            }),
            6 => {
                let role = 1 + self.dice.below(3) as u32;
                Action::SetMemberRole(rpc::SetMemberRole { conversation_id, user_id, role })
            }
            7 => Action::Ban(rpc::Ban { conversation_id, user_id, on: self.yes() }),
            8 => Action::Join(rpc::Join { conversation_id, code_hash: Bytes::new() }),
            9 => Action::Join(rpc::Join { conversation_id: 0, code_hash }),
            10 => {
                let (ttl_ms, uses_max) = (self.dice.below(2) * 3_600_000, self.dice.below(3) as u32);
                Action::MakeInvite(rpc::MakeInvite { conversation_id, code_hash, ttl_ms, uses_max })
            }
            11 => Action::EndInvite(rpc::EndInvite { conversation_id, code_hash }),
            _ => Action::Prefer(rpc::Prefer {
                conversation_id,
                muted_until_ms: self.yes().then_some(self.now + 1_000),
                favourite: self.yes().then(|| self.yes()),
                archived: self.yes().then(|| self.yes()),
                unread_from: self.yes().then_some(1),
                no_receipts: self.yes().then_some(true),
                suggestions: self.yes().then_some(true),
            }),
        }
    }

    pub(in super::super) fn sign_in(&self, user_id: u64) -> rpc::CreateSession {
        rpc::CreateSession {
            user_id,
            session_id: id(1_000 + self.next),
            refresh_hash: hash(user_id),
            family_hash: hash(7),
            device: "d".into(),
            ..Default::default()
        }
    }

    /// Of accounts and of those who administer them.
    fn of_people(&mut self) -> Action {
        let (user_id, secret) = (self.user(), self.dice.below(3));
        let password_phc = "$argon2id$".to_owned();
        let mark = Bytes::copy_from_slice(&blake3::hash(password_phc.as_bytes()).as_bytes()[..16]);
        match self.dice.below(26) {
            0 | 1 => Action::SetProfile(rpc::SetProfile {
                display_name: self.perhaps("Another"),
                status: self.perhaps("away"),
                ..Default::default()
            }),
            2 if self.dice.below(3) == 0 => {
                let user_id = user_id.max(3);
                self.asks = Some(1);
                Action::DeleteUser(rpc::DeleteUser { user_id, password_mark: mark })
            }
            2 => Action::Block(rpc::Block { user_id, on: self.yes() }),
            3..=5 => Action::Report(rpc::Report {
                conversation_id: self.room(),
                sequence: 1 + self.dice.below(6),
                reason: "rude".into(),
            }),
            6 => {
                Action::ResolveReport(rpc::ResolveReport { report_id: 1 + secret, resolution: "done".into() })
            }
            7 => Action::SetUserState(rpc::SetUserState {
                user_id: user_id.max(3),
                disabled: self.yes().then(|| self.dice.below(8) == 0),
                admin: self.yes().then(|| self.yes()),
            }),
            8 => Action::OfferReset(rpc::OfferReset { user_id: 2, secret_hash: hash(1) }),
            9 => {
                let secret_hash = hash(1);
                Action::ResetPassword(rpc::ResetPassword { user_id: 2, secret_hash, password_phc })
            }
            10 => {
                Action::SetRecoveryCodes(rpc::SetRecoveryCodes { code_hashes: vec![hash(secret), hash(9)] })
            }
            11 => Action::RecordSeen(rpc::RecordSeen { user_ids: vec![user_id, self.user()] }),
            12 => Action::CreateUser(rpc::CreateUser {
                name: format!("v{}", self.next),
                display_name: "V".into(),
                password_phc,
            }),
            13 | 14 => Action::CreateSession(self.sign_in(user_id)),
            15 => Action::CountAttempt(rpc::CountAttempt { user_id, ..Default::default() }),
            16 => Action::RefreshSession(rpc::RefreshSession {
                session_id: self.sessions.get(&user_id).cloned().unwrap_or_default(),
                family_hash: hash(7),
                refresh_hash: hash(user_id),
                salt: hash(8),
                next_hash: hash(user_id),
            }),
            17 => {
                let session_id = self.sessions.get(&user_id).cloned().unwrap_or_default();
                Action::EndSession(rpc::EndSession { session_id })
            }
            18 if self.dice.below(3) > 0 => Action::EndOtherSessions(rpc::EndOtherSessions {}),
            18 => Action::SetPassword(rpc::SetPassword { password_phc, replaces: mark }),
            19 | 20 => match self.dice.below(6) {
                0 => Action::OfferAdmin(rpc::OfferAdmin { secret_hash: hash(1), only_first: false }),
                1 => Action::ClaimAdmin(rpc::ClaimAdmin { secret_hash: hash(1) }),
                2 | 3 => Action::AddSigningKey(rpc::AddSigningKey {
                    kid: format!("k{}", self.dice.below(3)),
                    public_key: hash(2),
                    wrapped_private_key: hash(3),
                }),
                _ => Action::RemoveSigningKey(rpc::RemoveSigningKey {
                    kid: format!("k{}", self.dice.below(3)),
                }),
            },
            _ => Action::CreateSession(self.sign_in(user_id)),
        }
    }

    fn of_files(&mut self) -> Action {
        let number = self.dice.below(12);
        self.asks = Some(owner_of(number));
        if self.dice.below(4) == 0 {
            return Action::DeleteFile(rpc::DeleteFile { file_id: file_id(number) });
        }
        let (count, is_image) = (self.dice.below(70), self.yes());
        let chunks: Vec<u8> = (0..count).flat_map(|chunk| hash(chunk).to_vec()).collect();
        let replicas = if self.dice.below(6) == 0 { 1 } else { 2 };
        let held = Bytes::from_static(&[0xff; 9]);
        Action::CommitFile(rpc::CommitFile {
            file_id: file_id(number),
            name: format!("file {number}"),
            media_type: if is_image { "image/png" } else { "text/plain" }.into(),
            size: count * CHUNK_BYTES as u64,
            chunks: chunks.into(),
            thumbnail: if is_image { hash(5) } else { Bytes::new() },
            thumbnail_size: if is_image { 9 } else { 0 },
            width: u32::from(is_image),
            height: u32::from(is_image),
            receipts: (1..=replicas)
                .map(|replica_id| rpc::ChunkReceipts { replica_id, held: held.clone() })
                .collect(),
            received_ms: self.now,
        })
    }

    fn of_bots(&mut self) -> Action {
        let (bot_id, owner) = self.bot().unwrap_or((9, 1));
        let holder = id(7_000 + self.dice.below(6) / 5);
        self.asks = (self.dice.below(4) > 0).then_some(owner);
        match self.dice.below(12) {
            0 => Action::CreateBot(rpc::CreateBot {
                name: format!("b{}", self.next),
                display_name: "B".into(),
            }),
            1 | 2 => Action::MakeToken(rpc::MakeToken {
                user_id: bot_id,
                session_id: id(1_000 + self.next),
                secret_hash: hash(4),
                label: "ci".into(),
                scopes: 1 + self.dice.below(7) as u32,
                lasts_ms: self.dice.below(2) * 3_600_000,
                ..Default::default()
            }),
            // Into a group of the first ones, where much is said.
            3 if self.dice.below(3) > 0 => {
                self.asks = Some(1);
                let conversation_id = 1 + self.dice.below(GROUPS);
                Action::AddMember(rpc::AddMember { conversation_id, user_id: bot_id })
            }
            3 => {
                let session_id = self.tokens.get(&bot_id).cloned().unwrap_or_default();
                Action::EndToken(rpc::EndToken { user_id: bot_id, session_id })
            }
            4 | 5 => Action::SetHook(rpc::SetHook {
                bot_id,
                url: if self.dice.below(4) == 0 { "" } else { "https://example.com/h" }.into(),
                mentions_only: self.dice.below(3) == 0,
                new_secret: self.yes(),
            }),
            6..=8 => Action::LeaseHooks(rpc::LeaseHooks {
                holder,
                lasts_ms: [0, 60_000, 60_000, 60_000][self.dice.below(4) as usize],
            }),
            _ => {
                let (through, error) =
                    (1 + self.dice.below(4), self.perhaps("no answer").unwrap_or_default());
                Action::SettleHook(rpc::SettleHook { holder, bot_id, through, error })
            }
        }
    }

    pub(super) fn action(&mut self) -> Action {
        match self.dice.below(18) {
            0..=4 => self.said(),
            5..=7 => self.of_messages(),
            8..=11 => self.of_groups(),
            12..=14 => self.of_people(),
            15 if self.version >= VERSION_FILES => self.of_files(),
            16 | 17 if self.version >= VERSION_BOTS => self.of_bots(),
            // Of a newer program: now and then.
            _ => match self.dice.below(8) {
                0 => self.of_files(),
                1 => self.of_bots(),
                2..=4 => self.of_messages(),
                _ => self.of_groups(),
            },
        }
    }
}
