//! Five replicas get a newer build one by one, while people write.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use quorate_cluster::{Member, wait_until};
use quorate_proto::error::ErrorCode;
use quorate_proto::ids::ConversationId;
use quorate_proto::rest::SessionGrant;
use quorate_tests::client::{Person, PersonHandle, rest};
use quorate_tests::harness::TestCluster;
use quorate_tests::scene::states_agree;
use quorate_tests::{load, oracle};

use super::asker::{Asker, edit, send};
use super::{WAIT, versions};

#[tokio::test(flavor = "multi_thread")]
async fn five_replicas_are_upgraded_one_by_one_under_load() -> anyhow::Result<()> {
    let test = TestCluster::start_with("upgrade", |mut spec| {
        spec.replica_keys.insert("machine_version_max".to_owned(), 1.into());
        spec
    })
    .await?;
    let result = upgrade(&test).await;
    test.finish(result).await
}

async fn upgrade(test: &TestCluster) -> anyhow::Result<()> {
    let front = test.cluster.front();
    let grants = load::sign_up_many(front, "u", 7).await?;
    let (editor, talkers) = grants.split_last().context("seven")?;
    let talking: Vec<&SessionGrant> = talkers.iter().collect();
    let rooms =
        [load::make_group(front, "one", &talking).await?, load::make_group(front, "two", &talking).await?];
    let own = load::make_group(front, "own", &[editor]).await?;
    let mut asker = Asker::new(front, editor);
    let written = asker.ask(send(own, "first")).await?.map_err(|error| anyhow::anyhow!("{error:?}"))?;
    let sequence = written.sequence.context("a send has its sequence")?;
    // The same command, refused by version 1 and accepted by version 2.
    let request = edit(own, sequence, "second", Some(0));

    let people: Vec<PersonHandle> = talkers
        .iter()
        .map(|grant| {
            Person::start(front, grant.user.id, &grant.user.name, &grant.access_token, &test.recorder)
        })
        .collect();
    for person in &people {
        person.pace(rooms.to_vec(), Duration::from_millis(40)).await;
    }
    let acks_flow = async |since: u64, what: &str| {
        wait_until(&format!("100 acks {what}"), WAIT, || async {
            let acks = test.recorder.acks_between(since, u64::MAX);
            if acks >= 100 { Ok(()) } else { Err(format!("{acks} so far")) }
        })
        .await
    };
    acks_flow(test.recorder.now(), "before the upgrade").await?;

    // What the program before knows is what this one knows when it is told so.
    let config = test.cluster.layout().config("replica.toml");
    let text = std::fs::read_to_string(&config)?;
    ensure!(text.contains("machine_version_max = 1"), "{text}");
    std::fs::write(&config, text.replace("machine_version_max = 1", ""))?;

    for id in 1..=test.cluster.replicas() {
        // 0: it did not answer in time.
        let before = versions(test).await;
        ensure!(before.iter().all(|version| *version <= 1), "not all are upgraded: {before:?}");
        match asker.ask(request.clone()).await? {
            Err(error) => ensure!(error.code == ErrorCode::Unsupported, "{error:?}"),
            Ok(ack) => bail!("version 1 edits: {ack:?}"),
        }
        test.cluster.stop(&Member::Replica(id)).await?;
        test.cluster.start_member(&Member::Replica(id))?;
        let back = test.recorder.mark(format!("replica {id} is upgraded"));
        let target = test.cluster.leader_commit().await?;
        wait_until(&format!("replica {id} to apply {target}"), WAIT, || async {
            let applied = test.cluster.replica_status(id, 0).await?.applied_index;
            if applied >= target { Ok(()) } else { Err(format!("it has applied {applied}")) }
        })
        .await?;
        acks_flow(back, &format!("after replica {id}")).await?;
        states_agree(test).await.with_context(|| format!("after replica {id}"))?;
    }
    let newest = wait_until("replica 1 to answer", WAIT, || test.cluster.replica_status(1, 0)).await?;
    let newest = newest.machine_version_max;
    ensure!(newest >= 2, "this program supports version {newest} only");
    wait_until(&format!("all replicas to reach machine version {newest}"), WAIT, || async {
        let versions = versions(test).await;
        if versions.iter().all(|version| *version == newest) { Ok(()) } else { Err(format!("{versions:?}")) }
    })
    .await?;
    let raised = test.recorder.mark(format!("every replica is at machine version {newest}"));
    let ack =
        asker.ask(request).await?.map_err(|error| anyhow::anyhow!("version 2 does not edit: {error:?}"))?;
    ensure!((ack.revision, ack.sequence, ack.replay) == (Some(1), Some(sequence), false), "{ack:?}");
    let late = asker.ask(edit(own, sequence, "third", Some(0))).await?;
    ensure!(late.as_ref().is_err_and(|error| error.revision == Some(1)), "no conflict: {late:?}");
    acks_flow(raised, "after the upgrade").await?;
    states_agree(test).await.context("after the upgrade")?;

    finish_load(test, people, &talkers[0], &rooms).await
}

/// Ends the load and holds what everybody saw to the oracle.
async fn finish_load(
    test: &TestCluster,
    people: Vec<PersonHandle>,
    reader: &SessionGrant,
    rooms: &[ConversationId],
) -> anyhow::Result<()> {
    for person in &people {
        person.quiet().await;
    }
    wait_until("every send to be decided", WAIT, || async {
        let open: usize = people.iter().map(|person| person.tally().open).sum();
        if open == 0 { Ok(()) } else { Err(format!("{open} are open")) }
    })
    .await?;
    wait_until("everybody to have everything", WAIT, || async {
        let tallies: Vec<_> = people.iter().map(PersonHandle::tally).collect();
        for room in rooms {
            // An ack may be faster than its event, which then nobody has.
            let newest = tallies.iter().map(|tally| tally.newest(*room)).max().unwrap_or(0);
            let versions: Vec<_> =
                tallies.iter().map(|tally| tally.versions.get(room).copied().unwrap_or(0)).collect();
            if versions.iter().any(|version| *version < newest) {
                return Err(format!("{versions:?} of {newest} in room {room}"));
            }
        }
        Ok(())
    })
    .await?;
    let newest: BTreeMap<_, _> = people[0].tally().versions;
    for person in people {
        let tally = person.leave().await;
        ensure!(tally.defects.is_empty(), "{:?}", tally.defects);
    }
    for gateway in test.cluster.gateways() {
        let address = test.cluster.gateway_address(&gateway)?;
        // A session that begins here is newer than all that was said, and so is what this gateway reads from now on.
        let reader = rest::sign_in(address, &reader.user.name).await?;
        for room in rooms {
            let source = format!("gateway {gateway}");
            let mut pages = rest::whole_history(address, &reader.access_token, *room, &source).await?;
            pages.version = newest.get(room).copied().context("a version")?;
            test.recorder.history().finals.push(pages);
        }
    }
    let history = test.recorder.history().clone();
    let violations = oracle::check(&history);
    let listed: Vec<String> = violations.iter().take(20).map(ToString::to_string).collect();
    ensure!(violations.is_empty(), "{} violations:\n{}", violations.len(), listed.join("\n"));
    ensure!(history.closes.is_empty(), "sockets closed although only replicas stopped: {:?}", history.closes);
    test.recorder
        .mark(format!("judged {} sends: nothing lost, doubled or out of order", history.sends.len()));
    Ok(())
}
