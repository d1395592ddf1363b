//! The cluster as an admin sees and steers it over REST, while people talk: how it stands, how a killed leader is replaced, who leads,
//! and who its members are. One cluster and one story; at its end the audit log tells who asked for what.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use quorate_cluster::{Member, wait_until};
use quorate_proto::error::ErrorCode;
use quorate_proto::ids::ConversationId;
use quorate_proto::rest::{
    Audit, ClusterChanged, ClusterView, Failover, FailoverCause, Failovers, MadeToken, MemberKind,
    ReplicaRole, SessionGrant,
};
use quorate_tests::client::{Person, PersonHandle, rest};
use quorate_tests::harness::{TestCluster, read};
use quorate_tests::load;
use quorate_tests::scene::{caught_up, leader};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::chat::{all_is_well, cluster};
use crate::people::calls::{self, Caller};

const VIEW: &str = "/api/v1/admin/cluster";
const FAILOVERS: &str = "/api/v1/admin/cluster/failovers";
const LEADER: &str = "/api/v1/admin/cluster/leader";
const MEMBERS: &str = "/api/v1/admin/cluster/members";

/// People who talk, at both gateways.
const PEOPLE: usize = 6;
/// One message of each in this time: some write always waits when a leader dies.
const PACE: Duration = Duration::from_millis(20);
/// Every wait for what comes by itself.
const WAIT: Duration = Duration::from_secs(60);
/// A view is there within this, whoever does not answer: a second for those, and what else there is to do on two busy cores.
const VIEW_WAIT: Duration = Duration::from_secs(15);
/// By how much the gateway's clock may be off when it is compared with the new leader's: half a round trip on busy cores.
const CLOCKS_APART_MS: u64 = 500;

struct Stage {
    a: SocketAddr,
    b: SocketAddr,
    ann: SessionGrant,
    bob: SessionGrant,
    room: ConversationId,
    people: Vec<PersonHandle>,
    /// Where the newest record of a change stands.
    index: u64,
    /// What the audit log must tell of the cluster in the end: the word and the detail.
    asked: Vec<(&'static str, String)>,
}

#[tokio::test(flavor = "multi_thread")]
async fn an_admin_sees_and_steers_the_cluster_whoever_leads() -> anyhow::Result<()> {
    let test = cluster("cluster-api").await?;
    let result = story(&test).await;
    test.finish(result).await
}

async fn story(test: &TestCluster) -> anyhow::Result<()> {
    let mut stage = Stage::set(test).await?;
    stage.looks_around(test).await.context("the view")?;
    stage.keeps_others_out().await.context("others")?;
    stage.loses_the_leader(test).await.context("a leader that is killed")?;
    stage.moves_leadership(test).await.context("another leader")?;
    stage.changes_members(test).await.context("members")?;
    stage.sees_without_a_majority(test).await.context("without a majority")?;
    stage.audit_tells_all().await.context("the audit log")?;
    for person in stage.people {
        let defects = person.leave().await.defects;
        ensure!(defects.is_empty(), "clients saw what the protocol does not allow:\n{}", defects.join("\n"));
    }
    for gateway in test.cluster.gateways() {
        let log = read(&test.cluster.log(&Member::Gateway(gateway)))?;
        let undocumented = log.lines().find(|line| line.contains("an undocumented status"));
        ensure!(undocumented.is_none(), "{undocumented:?}");
    }
    all_is_well(test).await
}

impl Stage {
    async fn set(test: &TestCluster) -> anyhow::Result<Self> {
        let (a, b) = (test.cluster.gateway_address("a")?, test.cluster.gateway_address("b")?);
        let (ann, bob) = tokio::try_join!(rest::sign_up(a, "ann"), rest::sign_up(b, "bob"))?;
        let secret = test.cluster.operate(&["admin", "offer", "--first"]).await?.trim().to_owned();
        calls::at(b, &ann).ask("POST", "/api/v1/admin/claim", json!({ "secret": secret })).await?.is(204)?;
        let grants = load::sign_up_many(a, "p", PEOPLE).await?;
        let everybody: Vec<&SessionGrant> = grants.iter().collect();
        let room = load::make_group(a, "room", &everybody).await?;
        let start = |(place, grant): (usize, &SessionGrant)| {
            let at = if place % 2 == 0 { a } else { b };
            Person::start(at, grant.user.id, &grant.user.name, &grant.access_token, &test.recorder)
        };
        let people: Vec<PersonHandle> = grants.iter().enumerate().map(start).collect();
        for person in &people {
            person.pace(vec![room], PACE).await;
        }
        Ok(Self { a, b, ann, bob, room, people, index: 0, asked: Vec::new() })
    }

    fn admin(&self) -> Caller<'_> {
        calls::at(self.a, &self.ann)
    }

    async fn view(&self) -> anyhow::Result<ClusterView> {
        let asked = self.admin().ask("GET", VIEW, Value::Null);
        let reply = tokio::time::timeout(VIEW_WAIT, asked).await.context("no view in time")??;
        reply.is(200)?.json()
    }

    async fn view_until(
        &self,
        what: &str,
        good: impl Fn(&ClusterView) -> bool,
    ) -> anyhow::Result<ClusterView> {
        Ok(wait_until(what, WAIT, || async {
            let view = self.view().await.map_err(|error| format!("{error:#}"))?;
            if good(&view) { Ok(view) } else { Err(format!("{view:?}")) }
        })
        .await?)
    }

    async fn looks_around(&self, test: &TestCluster) -> anyhow::Result<()> {
        // A gateway tells how many sockets it has every three seconds; on busy cores somebody else may come to lead meanwhile.
        let (view, leading) =
            wait_until("both gateways with their sockets, and whoever leads", WAIT, || async {
                let view = self.view().await.map_err(|error| format!("{error:#}"))?;
                let (leading, _) = test.cluster.leader().await?;
                let sessions: u64 = view.gateways.iter().filter_map(|gateway| gateway.sessions).sum();
                let fed = view.gateways.iter().all(|gateway| gateway.feed.is_some());
                let told = view.quorum.reachable == 5
                    && view.replicas.iter().all(|row| row.hash.is_some() && row.lag.is_some());
                let is_whole = view.gateways.len() == 2 && sessions == PEOPLE as u64 && fed && told;
                if is_whole && view.agree == Some(true) && view.leader == Some(u64::from(leading)) {
                    Ok((view, leading))
                } else {
                    Err(format!("replica {leading} leads: {view:?}"))
                }
            })
            .await?;
        ensure!(view.answered_by == "a", "{view:?}");
        let quorum = (view.quorum.voters, view.quorum.needed, view.quorum.reachable);
        ensure!(quorum == (5, 3, 5) && view.former.is_empty(), "{view:?}");
        ensure!(view.replicas.iter().map(|row| row.id).eq(1..=5), "{view:?}");
        for row in &view.replicas {
            let id = u16::try_from(row.id)?;
            ensure!(row.address == test.cluster.replica_grpc(id)?.to_string(), "{row:?}");
            ensure!(row.reachable && row.kind == Some(MemberKind::Voter) && !row.storage_low, "{row:?}");
            let role = if id == leading { ReplicaRole::Leader } else { ReplicaRole::Follower };
            ensure!(row.role == Some(role) && row.lag.is_some() && row.hash.is_some(), "{row:?}");
            ensure!(row.round_trip_ms.is_some_and(|ms| ms > 0.0) && row.version.is_some(), "{row:?}");
        }
        ensure!(view.gateways.iter().all(|gateway| gateway.since.is_some_and(|since| since > 0)), "{view:?}");
        Ok(())
    }

    async fn keeps_others_out(&self) -> anyhow::Result<()> {
        let label = json!({ "label": "ci", "scopes": ["read", "send", "manage"] });
        let made: MadeToken = self.admin().ask("POST", "/api/v1/tokens", label).await?.is(201)?.json()?;
        let bob = calls::at(self.b, &self.bob);
        for caller in [bob, calls::by_token(self.b, &made.token)] {
            for path in [VIEW, FAILOVERS] {
                caller.ask("GET", path, Value::Null).await?.refused(ErrorCode::Forbidden)?;
            }
            caller.ask("POST", LEADER, json!({})).await?.refused(ErrorCode::Forbidden)?;
            let remove = json!({ "remove": { "id": 2 } });
            caller.ask("POST", MEMBERS, remove).await?.refused(ErrorCode::Forbidden)?;
        }
        calls::stranger(self.a).ask("GET", VIEW, Value::Null).await?.refused(ErrorCode::Unauthenticated)?;
        Ok(())
    }

    /// The newest change of leader from this one as a gateway tells it, once it has all its steps: on busy cores an election more may follow.
    async fn newest(&self, at: SocketAddr, old: u16, with_marks: bool) -> anyhow::Result<Failover> {
        Ok(wait_until("the change of leader to be told", WAIT, || async {
            let told: anyhow::Result<Failovers> =
                async { calls::at(at, &self.ann).ask("GET", FAILOVERS, Value::Null).await?.is(200)?.json() }
                    .await;
            let told = told.map_err(|error| format!("{error:#}"))?.failovers;
            let newest = told.iter().find(|it| it.old_leader == Some(u64::from(old)));
            let newest = newest.filter(|it| it.committed_ms.is_some());
            let newest =
                newest.filter(|it| !with_marks || (it.answered_ms.is_some() && it.pushed_ms.is_some()));
            newest.cloned().ok_or_else(|| format!("{told:?}"))
        })
        .await?)
    }

    async fn loses_the_leader(&self, test: &TestCluster) -> anyhow::Result<()> {
        let (victim, _) = leader(test).await?;
        test.cluster.kill(&Member::Replica(victim)).await?;
        test.recorder.mark(format!("killed the leader, replica {victim}"));
        let mut first = None;
        for at in [self.a, self.b] {
            // Both must tell of the same.
            let told = self.newest(at, victim, true).await?;
            test.recorder.mark(format!("{told:?}"));
            let new = *first.get_or_insert(told.leader);
            let who = (told.leader, told.old_leader, told.cause);
            let wanted = (new, Some(u64::from(victim)), FailoverCause::Lost);
            ensure!(who == wanted, "{told:?}");
            let steps =
                [told.suspected_ms, told.election_ms, told.majority_ms, told.leading_ms, told.committed_ms];
            ensure!(steps.iter().all(Option::is_some) && steps.is_sorted(), "{told:?}");
            ensure!(steps[4] < Some(10_000), "{told:?}");
            let committed = told.committed_ms.unwrap_or(0);
            for seen in [told.answered_ms, told.pushed_ms] {
                let seen = seen.context("absent")?;
                ensure!(seen + CLOCKS_APART_MS >= committed && seen < 10_000, "{told:?}");
            }
        }
        let view = self.view_until("the dead one to be missed", |view| view.quorum.reachable == 4).await?;
        let row = view.replicas.iter().find(|row| row.id == u64::from(victim)).context("its row")?;
        let unknown = (row.role, row.term, row.hash.as_ref(), row.round_trip_ms) == (None, None, None, None);
        ensure!(!row.reachable && unknown && row.kind == Some(MemberKind::Voter), "{row:?}");
        test.cluster.start_member(&Member::Replica(victim))?;
        caught_up(test, victim).await
    }

    /// Asks for another leader until there is one: a replica that has not been heard for a moment, on busy cores, may not lead. Each
    /// time is written down.
    async fn moves(&mut self, to: Value, detail: &str) -> anyhow::Result<ClusterChanged> {
        let until = Instant::now() + WAIT;
        loop {
            self.asked.push(("leader_change_asked", detail.to_owned()));
            let reply = self.admin().ask("POST", LEADER, to.clone()).await?;
            if reply.status() != 409 || Instant::now() >= until {
                let changed: ClusterChanged = reply.is(200)?.json()?;
                self.index = changed.index;
                return Ok(changed);
            }
            sleep(Duration::from_millis(200)).await;
        }
    }

    async fn moves_leadership(&mut self, test: &TestCluster) -> anyhow::Result<()> {
        let (old, _) = leader(test).await?;
        let to = (1..=5_u16).find(|id| *id != old).context("there are five")?;
        let changed = self.moves(json!({ "to": to }), &format!("to replica {to}")).await?;
        ensure!(
            changed.done && changed.leader == Some(u64::from(to)) && changed.members.len() == 5,
            "{changed:?}"
        );
        let (new, _) = leader(test).await?;
        ensure!(new == to, "replica {new} leads");
        let told = self.newest(self.b, old, false).await?;
        let who = (told.leader, told.old_leader, told.cause, told.suspected_ms);
        ensure!(who == (u64::from(to), Some(u64::from(old)), FailoverCause::HandedOver, None), "{told:?}");
        // Whoever the leader chooses.
        let changed = self.moves(json!({}), "").await?;
        ensure!(changed.leader.is_some_and(|leader| leader != u64::from(to)), "{changed:?}");
        let nobody = self.admin().ask("POST", LEADER, json!({ "to": 99 })).await?;
        nobody.refused(ErrorCode::Conflict)?;
        self.asked.push(("leader_change_asked", "to replica 99".to_owned()));
        Ok(())
    }

    /// Asks for a change of members until it is done: a new replica may have to catch up.
    async fn members(&self, change: &Value) -> anyhow::Result<ClusterChanged> {
        Ok(wait_until("the members to be changed", WAIT, || async {
            let changed: anyhow::Result<ClusterChanged> =
                async { self.admin().ask("POST", MEMBERS, change.clone()).await?.json() }.await;
            let changed = changed.map_err(|error| format!("{error:#}"))?;
            if changed.done { Ok(changed) } else { Err(format!("{changed:?}")) }
        })
        .await?)
    }

    async fn changes_members(&mut self, test: &TestCluster) -> anyhow::Result<()> {
        let refused = async |change: Value, expected: &str| {
            // Another guard may be quicker: the change before is not settled everywhere.
            let what = format!("a refusal with {expected:?}");
            let told = wait_until(&what, WAIT, || async {
                let refused = async {
                    let reply = self.admin().ask("POST", MEMBERS, change.clone()).await?;
                    reply.refused(ErrorCode::Conflict)?;
                    anyhow::Ok(String::from_utf8_lossy(reply.body()).into_owned())
                };
                match refused.await {
                    Ok(body) if body.contains(expected) => Ok(()),
                    Ok(body) => Err(body),
                    Err(error) => Err(format!("{error:#}")),
                }
            });
            anyhow::Ok(told.await?)
        };
        let new = test.cluster.start_newcomer().await?;
        let address = test.cluster.replica_grpc(new)?.to_string();
        let add = json!({ "add": { "id": new, "address": address } });
        let own = json!({ "add": { "id": 9, "address": test.cluster.replica_grpc(2)?.to_string() } });
        refused(own, "has the address").await?;
        let changed = self.members(&add).await?;
        let voters = changed.members.iter().filter(|member| member.kind == MemberKind::Voter).count();
        ensure!(voters == 6 && changed.members.iter().any(|member| member.address == address), "{changed:?}");
        self.view_until("six voters", |view| view.quorum.voters == 6 && view.quorum.reachable == 6).await?;

        let changed = self.members(&json!({ "remove": { "id": new } })).await?;
        ensure!(changed.members.len() == 5, "{changed:?}");
        test.cluster.dismiss(new).await?;
        refused(add, "never used again").await?;

        let (leading, _) = leader(test).await?;
        let old = (1..=5_u16).find(|id| *id != leading).context("there are five")?;
        test.cluster.kill(&Member::Replica(old)).await?;
        let by = test.cluster.start_newcomer().await?;
        let address = test.cluster.replica_grpc(by)?.to_string();
        let replace = json!({ "replace": { "old": old, "id": by, "address": address } });
        let changed = self.members(&replace).await?;
        self.index = changed.index;
        let ids: Vec<u64> = changed.members.iter().map(|member| member.id).collect();
        ensure!(ids.len() == 5 && ids.contains(&u64::from(by)) && !ids.contains(&u64::from(old)), "{ids:?}");
        test.cluster.dismiss(old).await?;
        let view = self.view_until("the new one", |view| view.quorum.reachable == 5).await?;
        let former = std::collections::BTreeSet::from([old, new].map(u64::from));
        ensure!(view.former.iter().copied().eq(former), "{view:?}");
        Ok(())
    }

    async fn sees_without_a_majority(&self, test: &TestCluster) -> anyhow::Result<()> {
        for person in &self.people {
            person.quiet().await;
        }
        let victims: Vec<u16> = test.cluster.replica_ids().into_iter().take(3).collect();
        for victim in &victims {
            test.cluster.kill(&Member::Replica(*victim)).await?;
        }
        let view = self
            .view_until("two of five", |view| view.quorum.reachable == 2 && view.leader.is_none())
            .await?;
        ensure!(
            view.replicas.len() == 5 && view.replicas.iter().filter(|row| row.reachable).count() == 2,
            "{view:?}"
        );
        for victim in &victims {
            test.cluster.start_member(&Member::Replica(*victim))?;
        }
        for victim in &victims {
            caught_up(test, *victim).await?;
        }
        self.view_until("all of them", |view| view.quorum.reachable == 5 && view.leader.is_some()).await?;
        let token = rest::sign_in(self.a, "p0").await?.access_token;
        let history = rest::whole_history(self.a, &token, self.room, "at the end").await;
        ensure!(
            history.is_ok_and(|pages| !pages.rows.is_empty()),
            "nobody said anything: the story proves little"
        );
        Ok(())
    }

    async fn audit_tells_all(&self) -> anyhow::Result<()> {
        // At the other gateway, whose replica may lag.
        let log: Audit =
            calls::at(self.b, &self.ann).read("/api/v1/admin/audit?limit=100", self.index).await?;
        let of_cluster = log.entries.iter().rev().filter(|entry| entry.action.ends_with("_change_asked"));
        let of_cluster: Vec<_> = of_cluster.collect();
        ensure!(
            of_cluster.iter().all(|entry| entry.by.as_ref().is_some_and(|by| by.name == "ann")),
            "{of_cluster:#?}"
        );
        let moved: Vec<_> = of_cluster
            .iter()
            .filter(|entry| entry.action == "leader_change_asked")
            .map(|entry| ("leader_change_asked", entry.detail.clone()))
            .collect();
        ensure!(moved == self.asked, "{moved:?} instead of {:?}", self.asked);
        for words in ["add replica", "remove replica", "replace replica"] {
            ensure!(
                of_cluster.iter().any(|entry| entry.detail.starts_with(words)),
                "no {words:?}: {of_cluster:#?}"
            );
        }
        Ok(())
    }
}
