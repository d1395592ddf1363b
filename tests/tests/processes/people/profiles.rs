//! A display name and a status: said once, seen alike by everybody.

use anyhow::ensure;
use quorate_proto::error::ErrorCode;
use quorate_proto::frame::{Action, EventKind, MeKind};
use quorate_proto::rest::{Members, Profile, UserProfile};
use quorate_tests::harness::TestCluster;
use serde_json::json;
use uuid::Uuid;

use super::{Stage, calls, while_the_leader_dies};
use crate::chat::device::{Device, command};

const ME: &str = "/api/v1/me";

fn profile(display_name: Option<&str>, status: Option<&str>) -> Action {
    Action::SetProfile {
        display_name: display_name.map(str::to_owned),
        status: status.map(str::to_owned),
        avatar: None,
    }
}

pub(super) async fn told(test: &TestCluster, stage: &Stage) -> anyhow::Result<()> {
    let (a, b) = (stage.a, stage.b);
    let mut here = Device::open(b, stage.bob.clone()).await?;
    let mut there = Device::open(a, stage.bob.clone()).await?;
    let mut ann = Device::open(a, stage.ann.clone()).await?;
    let bob = calls::at(b, &stage.bob);

    let (key, packing) = (Uuid::now_v7(), json!({ "status": "packing" }));
    let first = bob.under(key, "PATCH", ME, &packing).await?.written()?;
    let index = while_the_leader_dies(test, async {
        here.act(profile(None, Some("at sea"))).await?;
        let named = bob.ask("PATCH", ME, json!({ "display_name": "Robert" })).await?.written()?;
        // What was said before comes once more, by another way: it is answered, and not done again.
        let again = calls::at(a, &stage.bob).under(key, "PATCH", ME, &packing).await?.written()?;
        ensure!(again.replay && again.index == first.index, "{again:?} is no replay of {first:?}");
        let long = json!({ "status": "x".repeat(101) });
        bob.ask("PATCH", ME, long).await?.refused(ErrorCode::Invalid)?;
        here.refused(command(profile(Some(" "), None)), ErrorCode::Invalid).await?;
        Ok(named.index)
    })
    .await?;

    // Both devices hear of it: three changes, in order, and as it is now.
    for device in [&mut here, &mut there] {
        let last = |device: &Device| {
            let is = |kind: &MeKind| matches!(kind, MeKind::Profile { user, status } if user.display_name == "Robert" && status == "at sea");
            device.me.iter().any(|me| me.index == index && is(&me.kind)).then_some(())
        };
        device.hears("the profile", last).await?;
        let told = device.me.iter().filter(|me| matches!(me.kind, MeKind::Profile { .. })).count();
        ensure!(told == 3, "{told} changes of the profile: {:#?}", device.me);
        device.has_dense_versions()?;
    }
    let seen: UserProfile = calls::at(a, &stage.ann).read("/api/v1/users/bob", index).await?;
    let as_told = seen.user.display_name == "Robert" && seen.status == "at sea";
    ensure!(as_told && !seen.admin && !seen.blocked && seen.recovery_codes.is_none(), "{seen:?}");
    let own: Profile = calls::at(a, &stage.bob).read(ME, index).await?;
    ensure!(own.user == seen.user && own.status == seen.status, "{own:?}");
    let members: Members = calls::at(a, &stage.ann)
        .read(&format!("/api/v1/conversations/{}/members", stage.room), index)
        .await?;
    let listed = members.members.iter().find(|member| member.user.id == seen.user.id);
    ensure!(
        listed.is_some_and(|member| member.user == seen.user && member.status == "at sea"),
        "{members:?}"
    );
    // What he says from now on is said by that name.
    let said = here.send(stage.room, "It is me").await?;
    let is_his = |kind: &EventKind| matches!(kind, EventKind::Message(message) if message.sequence == said && message.from == seen.user);
    ann.hears_event("bob by his new name", stage.room, is_his).await?;
    Ok(())
}
