//! Somebody whom an admin shuts out is out everywhere at once, and let in again she begins anew.

use anyhow::ensure;
use quorate_cluster::wait_until;
use quorate_proto::error::ErrorCode;
use quorate_proto::rest::{AdminUsers, Sessions};
use quorate_tests::client::rest::PASSWORD;
use quorate_tests::harness::TestCluster;
use serde_json::json;

use super::{Stage, WAIT, calls, while_the_leader_dies};
use crate::accounts::device::closed;
use crate::chat::device::Device;

const EVE: &str = "/api/v1/admin/users/eve";

pub(super) async fn and_let_in(test: &TestCluster, stage: &mut Stage) -> anyhow::Result<()> {
    let (a, b) = (stage.a, stage.b);
    let (ann_here, ann_there) = (calls::at(a, &stage.ann), calls::at(b, &stage.ann));
    let laptop = calls::stranger(b).sign_in("eve", PASSWORD).await?.device()?;
    let mut sockets = [laptop.connect(a).await?, laptop.connect(b).await?];
    let phone = Device::open(b, stage.eve.clone()).await?;
    let (out, back) = (json!({ "disabled": true }), json!({ "disabled": false }));
    calls::at(b, &stage.bob).ask("PATCH", EVE, out.clone()).await?.refused(ErrorCode::Forbidden)?;
    let own = ann_here.ask("PATCH", "/api/v1/admin/users/ann", out.clone()).await?;
    own.refused(ErrorCode::Invalid)?;

    let of_eve = format!("{EVE}/sessions");
    let hers: Sessions = ann_there.read(&of_eve, 0).await?;
    ensure!(hers.sessions.len() >= 2 && hers.sessions.iter().all(|session| !session.current), "{hers:?}");
    calls::at(b, &stage.bob).ask("GET", &of_eve, json!(null)).await?.refused(ErrorCode::Forbidden)?;

    let index = while_the_leader_dies(test, async {
        let index = ann_here.ask("PATCH", EVE, out).await?.written()?.index;
        for socket in &mut sockets {
            ensure!(closed(socket).await? == 4403, "another close code");
        }
        ensure!(phone.ends().await? == 4403, "another close code");
        Ok(index)
    })
    .await?;
    for at in [a, b] {
        laptop.is_out(at).await?;
        calls::stranger(at).sign_in("eve", PASSWORD).await?.refused(ErrorCode::Unauthenticated)?;
        // For a moment it may be that nobody leads, and nobody can say.
        let refused = wait_until("a refresh to be decided", WAIT, || async {
            match laptop.try_refresh(at).await {
                Ok(answer) if answer.status != 503 => Ok(answer),
                other => Err(format!("{other:?}")),
            }
        });
        refused.await?.expect(401)?;
    }
    let of = "/api/v1/admin/users?pattern=eve";
    let listed: AdminUsers = ann_there.read(of, index).await?;
    let [row] = listed.users.as_slice() else { anyhow::bail!("{listed:?}") };
    ensure!(row.user.name == "eve" && row.disabled && row.sessions == 0, "{row:?}");

    let (index, again) = while_the_leader_dies(test, async {
        let index = ann_there.ask("PATCH", EVE, back).await?.written()?.index;
        Ok((index, calls::stranger(a).sign_in("eve", PASSWORD).await?.device()?))
    })
    .await?;
    let listed: AdminUsers = ann_here.read(of, index).await?;
    ensure!(listed.users.len() == 1 && !listed.users[0].disabled, "{listed:?}");
    // What was ended stays ended; what she is a member of she still is.
    laptop.is_out(b).await?;
    let mut bob = Device::open(a, stage.bob.clone()).await?;
    let mut eve = Device::open(b, again.grant.clone()).await?;
    let said = eve.send(stage.room, "I am back").await?;
    bob.hears_message(stage.room, said).await?;

    let (by, whom) = (stage.ann.user.id, stage.eve.user.id);
    stage.done.extend([(by, "user_disabled", whom), (by, "user_enabled", whom)]);
    stage.eve = again.grant;
    Ok(())
}
