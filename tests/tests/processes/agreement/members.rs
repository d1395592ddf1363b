//! The set of voters as a register: two operators change it while leaders die.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, ensure};
use quorate_cluster::{Member, wait_until};
use quorate_proto::rpc::operator_client::OperatorClient;
use quorate_proto::rpc::{PromoteRequest, ReplaceRequest, StoredMembership, member_response};
use quorate_tests::harness::TestCluster;
use quorate_tests::linear::{Timed, Voters, VotersCall};
use quorate_tls::Role;

use super::{WAIT, judge};

/// An operator's call; the replica gives up before.
const CHANGE_WAIT: Duration = Duration::from_secs(20);
/// The leader dies so long after two operators began: in the middle of it.
const KILL_AFTER: Duration = Duration::from_millis(15);
/// Reads that the run must have made, or it proves little.
const MEMBER_READS_MIN: usize = 20;
/// Of them so many after each change, however long they take.
const READS_AFTER_CHANGE_MIN: usize = 7;

/// What an operator tells the leader.
enum Order {
    Replace(ReplaceRequest),
    Promote(PromoteRequest),
}

/// `None`: surely nothing came of it, ask again.
async fn tell_leader(test: &TestCluster, order: Order) -> anyhow::Result<Option<member_response::Result>> {
    let Ok((leading, _)) = test.cluster.leader().await else { return Ok(None) };
    let mut client = OperatorClient::new(test.channel(leading, Role::Operator)?);
    let asked = async {
        anyhow::Ok(match order {
            Order::Replace(replace) => client.replace(test.call(replace)?).await,
            Order::Promote(promote) => client.promote(test.call(promote)?).await,
        })
    };
    let unknown = member_response::Result::Unknown;
    Ok(match tokio::time::timeout(CHANGE_WAIT, asked).await {
        Ok(answer) => match answer? {
            Ok(response) => response.into_inner().result,
            Err(status) => Some(unknown(status.message().to_owned())),
        },
        Err(_) => Some(unknown("no answer in time".to_owned())),
    })
}

/// Replaces a voter, and says every attempt's fate, until it is done or the voter is none any more.
async fn replace_voter(test: &TestCluster, old: u64, new: u64) -> anyhow::Result<Vec<Timed<VotersCall>>> {
    let mut calls = Vec::new();
    let began = tokio::time::Instant::now();
    loop {
        ensure!(began.elapsed() < WAIT, "replica {old} is not replaced by {new} after {WAIT:?}: {calls:?}");
        let invoked = test.recorder.now();
        let answer = tell_leader(test, Order::Replace(ReplaceRequest { old_id: old, new_id: new })).await?;
        let returned = Some(test.recorder.now());
        let (call, done) = match answer {
            Some(member_response::Result::Membership(_)) => (VotersCall::Replaced(old, new), true),
            Some(member_response::Result::Refused(why)) if why.contains("is no voter") => {
                (VotersCall::NoVoter(old), true)
            }
            Some(member_response::Result::Unknown(_)) => (VotersCall::Unknown(old, new), false),
            // Surely not made.
            _ => {
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            }
        };
        let returned = if matches!(call, VotersCall::Unknown(..)) { None } else { returned };
        calls.push(Timed { invoked, returned, call });
        if done {
            return Ok(calls);
        }
    }
}

/// Reads who votes until told to stop, and counts: giving a vote to who has one changes nothing and answers with what is.
async fn read_voters(
    test: &TestCluster,
    stop: &AtomicBool,
    count: &AtomicUsize,
) -> anyhow::Result<Vec<Timed<VotersCall>>> {
    let mut calls = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let invoked = test.recorder.now();
        let answer = tell_leader(test, Order::Promote(PromoteRequest { id: 1 })).await?;
        if let Some(member_response::Result::Membership(StoredMembership { membership: Some(now), .. })) =
            answer
        {
            ensure!(now.voters.len() == 1, "half of a change was read: {now:?}");
            let voters = now.voters.into_iter().flat_map(|set| set.node_ids).collect();
            let returned = Some(test.recorder.now());
            calls.push(Timed { invoked, returned, call: VotersCall::Read(voters) });
            count.fetch_add(1, Ordering::Relaxed);
        }
        tokio::time::sleep(Duration::from_millis(15)).await;
    }
    Ok(calls)
}

#[tokio::test(flavor = "multi_thread")]
async fn membership_changes_are_linearizable_while_leaders_are_killed() -> anyhow::Result<()> {
    let test = TestCluster::start("linearizable-members").await?;
    let result = linearizable_members(&test).await;
    test.finish(result).await
}

async fn linearizable_members(test: &TestCluster) -> anyhow::Result<()> {
    let mut newcomers = Vec::new();
    for _ in 0..4 {
        let new = test.cluster.start_newcomer().await?;
        let (id, address) = (new.to_string(), test.cluster.replica_grpc(new)?.to_string());
        test.cluster.operate(&["member", "add", "--id", &id, "--address", &address, "--wait"]).await?;
        newcomers.push(u64::from(new));
    }
    let mut calls = Vec::new();
    for (round, victim) in [3, 4, 5].into_iter().enumerate() {
        // Who dies is none of those that are replaced.
        let leading = u16::try_from(round % 2 + 1)?;
        wait_until("the leader that is to die", WAIT, || async {
            let to = leading.to_string();
            let said = test.cluster.operate(&["member", "transfer-leader", "--to", &to]).await;
            said.map_err(|error| error.to_string())?;
            let (now, _) = test.cluster.leader().await?;
            if now == leading { Ok(()) } else { Err(format!("{now} leads")) }
        })
        .await?;
        let (stop, count) = (AtomicBool::new(false), AtomicUsize::new(0));
        let both = async {
            let (one, other) = tokio::join!(
                replace_voter(test, victim, newcomers[0]),
                replace_voter(test, victim, newcomers[1])
            );
            // Some more looks at the end.
            let wanted = count.load(Ordering::Relaxed) + READS_AFTER_CHANGE_MIN;
            let looked = wait_until("reads of the membership", WAIT, || async {
                let count = count.load(Ordering::Relaxed);
                if count >= wanted { Ok(()) } else { Err(format!("{count} of {wanted}")) }
            })
            .await;
            stop.store(true, Ordering::Relaxed);
            looked?;
            anyhow::Ok([one?, other?].concat())
        };
        let kill = async {
            tokio::time::sleep(KILL_AFTER).await;
            test.cluster.kill(&Member::Replica(leading)).await?;
            test.recorder.mark(format!("killed {leading} while two replace {victim}"));
            tokio::time::sleep(Duration::from_millis(500)).await;
            test.cluster.start_member(&Member::Replica(leading))?;
            anyhow::Ok(())
        };
        let (made, killed, read, more) =
            tokio::join!(both, kill, read_voters(test, &stop, &count), read_voters(test, &stop, &count));
        killed?;
        let (read, more) = (read?, more?);
        let made = made?;
        let winner = made.iter().find_map(|timed| match timed.call {
            VotersCall::Replaced(_, new) => Some(new),
            _ => None,
        });
        let winner = winner.with_context(|| format!("nobody replaced {victim}: {made:?}"))?;
        newcomers.retain(|id| *id != winner);
        calls.extend([made, read, more].into_iter().flatten());
        test.cluster.dismiss(u16::try_from(victim)?).await?;
    }
    let reads = calls.iter().filter(|timed| matches!(timed.call, VotersCall::Read(_))).count();
    let unknown = calls.iter().filter(|timed| matches!(timed.call, VotersCall::Unknown(..))).count();
    ensure!(reads >= MEMBER_READS_MIN, "only {reads} reads of the membership");
    let judged = judge::<Voters>("the membership", calls, VotersCall::forget)?;
    test.recorder
        .mark(format!("judged {judged} calls ({reads} reads, {unknown} of unknown fate): linearizable"));
    Ok(())
}
