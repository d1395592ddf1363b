//! What belongs to users and those who administer them, counted again.

use std::collections::{BTreeSet, HashMap, HashSet};

use bytes::Bytes;

use super::{Report, decode, number};
use crate::machine::records::{self, AuditEntry, Counters, ROLE_ADMIN, Seen, Session, User};
use crate::store::{Key, Space, StoreError};

/// What is remembered of users while the rest goes by. Keys come in order, so users come first.
#[derive(Debug, Default)]
pub(super) struct People {
    /// Who is deleted or disabled.
    shut_out: HashSet<u64>,
    /// How many users somebody has blocked as her record says, and how many she has.
    blocked: HashMap<u64, (u32, u32)>,
    /// The same of reports that are open.
    open_reports: HashMap<u64, (u32, u32)>,
    /// Reports that are listed as open, crossed out by themselves.
    listed: BTreeSet<u64>,
    reports: u64,
    audit: u64,
}

impl People {
    pub(super) fn user(&mut self, id: u64, user: &User, report: &mut Report) {
        if !user.is_active() {
            self.shut_out.insert(id);
            if user.role == ROLE_ADMIN {
                report.problem(format!("user {id} is an admin and shut out"));
            }
        }
        let kept =
            [&user.password_phc, &user.display_name, &user.status].into_iter().any(|it| !it.is_empty())
                || !user.reset_hash.is_empty()
                || !user.recovery_hashes.is_empty()
                || !user.avatar.is_empty();
        if user.is_deleted() && kept {
            report.problem(format!("user {id} is deleted and more than her name is left"));
        }
        if user.blocked != 0 {
            self.blocked.entry(id).or_default().0 = user.blocked;
        }
        if user.open_reports != 0 {
            self.open_reports.entry(id).or_default().0 = user.open_reports;
        }
    }

    pub(super) fn session(&mut self, session: &Session, report: &mut Report) {
        if session.ended_ms == 0 && self.shut_out.contains(&session.user_id) {
            report.problem(format!("user {} is shut out and has a session that lasts", session.user_id));
        }
    }

    /// The kind to count a record as.
    pub(super) fn record(
        &mut self,
        key: &Key,
        value: Bytes,
        users: &HashSet<u64>,
        report: &mut Report,
    ) -> Result<Option<&'static str>, StoreError> {
        const BLOCKED: u8 = Space::Blocked as u8;
        const REPORT: u8 = Space::Report as u8;
        const SEEN: u8 = Space::Seen as u8;
        const OPEN_KEY_BYTES: usize = 17;
        let raw = key.as_bytes();
        let id = number(&raw[1..]);
        Ok(match raw[0] {
            BLOCKED => {
                self.blocked.entry(id).or_default().1 += 1;
                for user in [id, key.ordinal()].iter().filter(|user| !users.contains(user)) {
                    report.problem(format!("a block of user {user}, who does not exist"));
                }
                Some("blocked users")
            }
            REPORT if raw.len() == OPEN_KEY_BYTES => {
                self.listed.insert(key.ordinal());
                None
            }
            REPORT => {
                let it: records::Report = decode(key, value)?;
                self.reports += 1;
                if self.reports != id {
                    report.problem(format!("reports go from {} to {id}", self.reports - 1));
                    self.reports = id;
                }
                let is_open = it.resolved_ms == 0;
                if self.listed.remove(&id) != is_open {
                    report.problem(format!("report {id} is open, or listed as open, and not both"));
                }
                if is_open {
                    self.open_reports.entry(it.by).or_default().1 += 1;
                }
                Some("reports")
            }
            SEEN => {
                let _: Seen = decode(key, value)?;
                if !users.contains(&id) {
                    report.problem(format!("user {id} was seen and does not exist"));
                }
                Some("users seen")
            }
            _ => {
                let _: AuditEntry = decode(key, value)?;
                self.audit += 1;
                if self.audit != key.ordinal() {
                    let line = format!("the audit log goes from {} to {}", self.audit - 1, key.ordinal());
                    report.problem(line);
                    self.audit = key.ordinal();
                }
                Some("audit entries")
            }
        })
    }

    pub(super) fn finish(self, counters: &Counters, problems: &mut Vec<String>) {
        let counted = [("blocked users", self.blocked), ("open reports", self.open_reports)];
        for (what, users) in counted {
            for (user, (said, found)) in users.into_iter().filter(|(_, (said, found))| said != found) {
                problems.push(format!("user {user} says {said} {what} and has {found}"));
            }
        }
        for id in self.listed {
            problems.push(format!("report {id} is listed as open only"));
        }
        let counted =
            [("reports", counters.reports, self.reports), ("audit entries", counters.audit, self.audit)];
        for (what, said, found) in counted.into_iter().filter(|(_, said, found)| said != found) {
            problems.push(format!("the counters say {said} {what}, and there are {found}"));
        }
    }
}
