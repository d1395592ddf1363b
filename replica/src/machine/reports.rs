//! Messages that members show to the admins.

use quorate_proto::error::ErrorCode;
use quorate_proto::limits::OPEN_REPORTS_PER_USER_MAX;
use quorate_proto::rpc::{self, outcome};
use quorate_proto::text;

use super::audit::{Audited, Concerning};
use super::records::Report;
use super::{Decision, PeopleTables as _, Step, Tables as _, done, rejected};
use crate::store::View;

impl<V: View> Step<'_, V> {
    /// Who was removed may still report what she may still read.
    pub(super) fn report(&mut self, by: u64, report: &rpc::Report) -> Decision<outcome::Result> {
        let reason = text::canonical_reason(&report.reason)?;
        let (id, sequence) = (report.conversation_id, report.sequence);
        let (Some(member), Some(conversation)) = (self.state.member(id, by)?, self.state.conversation(id)?)
        else {
            return rejected(ErrorCode::NotFound, "you are not in this conversation");
        };
        let last = if member.is_present() { conversation.sequence } else { member.left_sequence };
        let found = self.state.message(id, sequence)?;
        let is_hers_to_see = member.base_sequence < sequence && sequence <= last;
        let Some(message) = found.filter(|message| is_hers_to_see && message.deleted_ms == 0) else {
            return rejected(ErrorCode::NotFound, "there is no such message");
        };
        let mut user = self.present_user(by)?;
        if user.open_reports as usize >= OPEN_REPORTS_PER_USER_MAX {
            return rejected(
                ErrorCode::RateLimited,
                "the admins have many reports of yours to look at: wait until they did",
            );
        }
        user.open_reports += 1;
        self.state.put_user(by, &user);
        let mut counters = self.state.counters()?;
        counters.reports += 1;
        self.state.put_counters(&counters);
        let report = Report {
            by,
            created_ms: self.context.log_time_ms,
            reason,
            conversation_id: id,
            sequence,
            revision: message.revision,
            ..Report::default()
        };
        self.state.put_report(counters.reports, &report);
        Ok(done())
    }

    pub(super) fn resolve_report(
        &mut self,
        by: u64,
        resolve: &rpc::ResolveReport,
    ) -> Decision<outcome::Result> {
        self.must_be_admin(by)?;
        let resolution = text::canonical_reason(&resolve.resolution)?;
        let Some(mut report) = self.state.report(resolve.report_id)? else {
            return rejected(ErrorCode::NotFound, "there is no such report");
        };
        if report.resolved_ms != 0 {
            return rejected(ErrorCode::Conflict, "somebody was done with this report before you");
        }
        report.resolved_ms = self.context.log_time_ms;
        report.resolved_by = by;
        report.resolution = resolution;
        self.state.put_report(resolve.report_id, &report);
        // Of an account that was deleted since, too.
        if let Some(mut user) = self.state.user(report.by)? {
            user.open_reports = user.open_reports.saturating_sub(1);
            self.state.put_user(report.by, &user);
        }
        let on = Concerning {
            detail: format!("report {}", resolve.report_id),
            ..Concerning::member(report.conversation_id, report.by)
        };
        self.audit(by, Audited::ReportResolved, on)?;
        Ok(done())
    }
}
