//! Who is an admin, decided by the admins, one of whom there always is; and their log.

use anyhow::ensure;
use quorate_cluster::wait_until;
use quorate_proto::error::ErrorCode;
use quorate_proto::rest::{AdminUsers, Audit, AuditEntry, UserProfile};
use quorate_tests::client::rest;
use quorate_tests::harness::TestCluster;
use serde_json::json;

use super::calls::{self, Caller};
use super::{Stage, WAIT, while_the_leader_dies};

const USERS: &str = "/api/v1/admin/users";
const LOG: &str = "/api/v1/admin/audit";
/// The version whose rules begin the log.
const LOGGED_SINCE: u32 = 4;

pub(super) async fn given_and_taken(test: &TestCluster, stage: &mut Stage) -> anyhow::Result<()> {
    let (a, b) = (stage.a, stage.b);
    let of = |name: &str| format!("{USERS}/{name}");
    let (make, unmake) = (json!({ "admin": true }), json!({ "admin": false }));
    let (ann, bob) = (calls::at(a, &stage.ann), calls::at(b, &stage.bob));
    bob.ask("PATCH", &of("bob"), make.clone()).await?.refused(ErrorCode::Forbidden)?;
    ann.ask("PATCH", &of("ann"), unmake.clone()).await?.refused(ErrorCode::Invalid)?;

    let made = ann.ask("PATCH", &of("bob"), make.clone()).await?.written()?;
    let index = while_the_leader_dies(test, async {
        bob.read::<AdminUsers>(USERS, made.index).await?;
        let index = bob.ask("PATCH", &of("ann"), unmake.clone()).await?.written()?.index;
        ann.ask("PATCH", &of("dan"), make).await?.refused(ErrorCode::Forbidden)?;
        // He is the last one.
        bob.ask("PATCH", &of("bob"), unmake).await?.refused(ErrorCode::Invalid)?;
        bob.ask("PATCH", &of("bob"), json!({ "disabled": true })).await?.refused(ErrorCode::Invalid)?;
        Ok(index)
    })
    .await?;
    for at in [a, b] {
        for path in [USERS, LOG] {
            calls::at(at, &stage.ann).look(path, index).await?.refused(ErrorCode::Forbidden)?;
        }
        for (name, admin) in [("ann", false), ("bob", true), ("dan", false)] {
            let seen: UserProfile =
                calls::at(at, &stage.dan).read(&format!("/api/v1/users/{name}"), index).await?;
            ensure!(seen.admin == admin, "{seen:?}");
        }
    }
    ensure!(!rest::sign_in(b, "ann").await?.admin, "a session of ann's begins as an admin's");
    let (ann, bob) = (stage.ann.user.id, stage.bob.user.id);
    stage.done.extend([(ann, "admin_made", bob), (bob, "admin_unmade", ann)]);
    Ok(())
}

/// The whole log, oldest first, so many entries at a time.
async fn log(caller: Caller<'_>, limit: usize) -> anyhow::Result<Vec<AuditEntry>> {
    let mut entries: Vec<AuditEntry> = Vec::new();
    let mut before = String::new();
    loop {
        let page: Audit = caller.read(&format!("{LOG}?limit={limit}{before}"), 0).await?;
        ensure!(page.entries.len() <= limit, "{} entries for {limit}", page.entries.len());
        entries.extend(page.entries);
        let Some(next) = page.next else { break };
        before = format!("&before={next}");
    }
    entries.reverse();
    Ok(entries)
}

/// What every chapter did stands there once, in the order in which it was done, wherever it is read.
pub(super) async fn log_tells_all(test: &TestCluster, stage: &Stage) -> anyhow::Result<()> {
    let whole = log(calls::at(stage.a, &stage.bob), 100).await?;
    ensure!(log(calls::at(stage.b, &stage.bob), 3).await? == whole, "another log at the other gateway");
    let (raised, done): (Vec<_>, Vec<_>) = whole.iter().partition(|entry| entry.action == "version_raised");
    let answers = wait_until("replica 1 to answer", WAIT, || test.cluster.replica_status(1, 0)).await?;
    let newest = answers.machine_version_max;
    let versions: Vec<String> = (LOGGED_SINCE..=newest).map(|version| version.to_string()).collect();
    ensure!(raised.iter().map(|entry| &entry.detail).eq(versions.iter()), "{raised:#?}");
    let id = |user: &Option<quorate_proto::frame::User>| user.as_ref().map_or(0, |user| user.id);
    let told: Vec<_> =
        done.iter().map(|entry| (id(&entry.by), entry.action.as_str(), id(&entry.subject))).collect();
    ensure!(told == stage.done, "{told:#?} instead of {:#?}", stage.done);
    ensure!(
        whole.windows(2).all(|two| two[0].index <= two[1].index && two[0].time <= two[1].time),
        "{whole:#?}"
    );
    Ok(())
}
