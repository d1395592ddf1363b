//! Messages that people show to the admins: each report once, with the text as it was, until somebody was done with it.

use anyhow::ensure;
use quorate_proto::error::ErrorCode;
use quorate_proto::frame::{Action, EventKind};
use quorate_proto::rest::{ReportInfo, Reports};
use quorate_tests::harness::TestCluster;
use serde_json::json;
use uuid::Uuid;

use super::{Stage, calls, while_the_leader_dies};
use crate::chat::device::Device;

const OFFER: &str = "Cheap boats, only today!";
const QUEUE: &str = "/api/v1/admin/reports";
const ALL: &str = "/api/v1/admin/reports?all=true";

/// The text of the message as the report shows it.
fn text(report: &ReportInfo) -> &str {
    match report.message.as_ref().map(|event| &event.kind) {
        Some(EventKind::Message(message)) => &message.text,
        _ => "",
    }
}

pub(super) async fn made_and_resolved(test: &TestCluster, stage: &mut Stage) -> anyhow::Result<()> {
    let (a, b, room) = (stage.a, stage.b, stage.room);
    let mut bob = Device::open(b, stage.bob.clone()).await?;
    let mut dan = Device::open(a, stage.dan.clone()).await?;
    let said = bob.send(room, OFFER).await?;
    dan.hears_message(room, said).await?;
    let of = format!("/api/v1/conversations/{room}/messages/{said}");
    let path = format!("{of}/report");

    let (key, why) = (Uuid::now_v7(), json!({ "reason": "He says this to everybody" }));
    let first = calls::at(b, &stage.eve).under(key, "POST", &path, &why).await?.written()?;
    let index = while_the_leader_dies(test, async {
        let again = calls::at(a, &stage.eve).under(key, "POST", &path, &why).await?.written()?;
        ensure!(again.replay && again.index == first.index, "{again:?} is no replay of {first:?}");
        let report = Action::Report { conversation: room, sequence: said, reason: "I have a boat".into() };
        dan.act(report).await?;
        // Who is in no room of his cannot tell of it.
        let foreign = calls::at(b, &stage.kim).ask("POST", &path, why.clone()).await?;
        foreign.refused(ErrorCode::NotFound)?;
        let milder = json!({ "text": "Boats, perhaps" });
        Ok(calls::at(b, &stage.bob).ask("PUT", &of, milder).await?.written()?.index)
    })
    .await?;
    calls::at(a, &stage.bob).look(QUEUE, index).await?.refused(ErrorCode::Forbidden)?;
    for at in [a, b] {
        let queue: Reports = calls::at(at, &stage.ann).read(QUEUE, index).await?;
        let shown: Vec<_> = queue
            .reports
            .iter()
            .map(|report| {
                (report.by.name.as_str(), report.reason.as_str(), text(report), report.edited_since)
            })
            .collect();
        let wanted =
            [("dan", "I have a boat", OFFER, true), ("eve", "He says this to everybody", OFFER, true)];
        ensure!(shown == wanted && !queue.more, "{queue:#?}");
    }

    let queue: Reports = calls::at(b, &stage.ann).read(QUEUE, index).await?;
    let resolve = format!("{QUEUE}/{}/resolve", queue.reports[1].id);
    let (key, how) = (Uuid::now_v7(), json!({ "resolution": "Talked to him" }));
    calls::at(b, &stage.bob).ask("POST", &resolve, how.clone()).await?.refused(ErrorCode::Forbidden)?;
    let index = while_the_leader_dies(test, async {
        let first = calls::at(a, &stage.ann).under(key, "POST", &resolve, &how).await?.written()?;
        let again = calls::at(b, &stage.ann).under(key, "POST", &resolve, &how).await?.written()?;
        ensure!(again.replay && again.index == first.index, "{again:?} is no replay of {first:?}");
        calls::at(b, &stage.ann).ask("POST", &resolve, how.clone()).await?.refused(ErrorCode::Conflict)?;
        Ok(first.index)
    })
    .await?;
    let queue: Reports = calls::at(b, &stage.ann).read(QUEUE, index).await?;
    ensure!(queue.reports.len() == 1 && queue.reports[0].by.name == "dan", "{queue:#?}");
    let all: Reports = calls::at(b, &stage.ann).read(ALL, index).await?;
    let [_, resolved] = all.reports.as_slice() else { anyhow::bail!("{all:#?}") };
    let by_ann = resolved.resolved_by.as_ref().is_some_and(|by| by.id == stage.ann.user.id);
    ensure!(by_ann && resolved.resolution == "Talked to him" && text(resolved) == OFFER, "{resolved:#?}");

    stage.done.push((stage.ann.user.id, "report_resolved", stage.eve.user.id));
    Ok(())
}
