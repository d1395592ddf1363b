//! What can be done to the demo's own processes, and what cannot. Nothing else on the machine is touched: a process is named by
//! what it is in this cluster, and signalled by its number and start time.

use quorate_proto::error::{ErrorCode, WireError};
use quorate_proto::rest::{DemoProcess, Fault, NewFault, ProcessKind, ProcessState, UnavailableFault};

use crate::cluster::Cluster;
use crate::error::Error;
use crate::process::{Activity, Send};
use crate::state::Member;

/// Why processes cannot be cut off.
const NO_CUT: &str = "cutting a process off needs a network of its own for each (network namespaces and a packet filter), and \
                      here all share the loopback interface; a pause looks the same to the others";

type Decided<T> = Result<T, WireError>;

/// What cannot be had here.
pub(crate) fn unavailable() -> Vec<UnavailableFault> {
    vec![UnavailableFault { fault: Fault::Cut, reason: NO_CUT.to_owned() }]
}

/// All processes and how they are.
///
/// # Errors
/// `internal` when the runner's own list cannot be read.
pub(crate) fn processes(cluster: &Cluster) -> Decided<Vec<DemoProcess>> {
    let row = |member: Member| {
        let (activity, pid) = cluster.activity(&member).map_err(|error| broken(&error))?;
        let kind = match member {
            Member::Replica(_) => ProcessKind::Replica,
            Member::Gateway(_) => ProcessKind::Gateway,
            Member::Balancer => ProcessKind::Balancer,
        };
        let state = match activity {
            Activity::Running => ProcessState::Running,
            Activity::Paused => ProcessState::Paused,
            Activity::Gone => ProcessState::Stopped,
        };
        Ok(DemoProcess { name: member.to_string(), kind, state, pid })
    };
    cluster.members().into_iter().map(row).collect()
}

/// Which process is meant, if the fault may be done to it as things are.
///
/// # Errors
/// `not_found` for a name that is none; `invalid` with what to do instead for what makes no sense; `unavailable` for a leader
/// while there is none.
pub(crate) async fn target(cluster: &Cluster, asked: &NewFault) -> Decided<Member> {
    let rows = processes(cluster)?;
    let name = if asked.target == "leader" {
        let leader = cluster.leader().await.map_err(|why| {
            let text = format!("nobody leads just now: {why}");
            WireError::new(ErrorCode::Unavailable, text)
        })?;
        Member::Replica(leader.0).to_string()
    } else {
        asked.target.clone()
    };
    check(&rows, asked.fault, &name)?;
    name.parse().map_err(|text: String| WireError::new(ErrorCode::NotFound, text))
}

fn check(rows: &[DemoProcess], fault: Fault, name: &str) -> Decided<()> {
    let invalid = |text: String| Err(WireError::new(ErrorCode::Invalid, text));
    let Some(row) = rows.iter().find(|row| row.name == name) else {
        let names: Vec<&str> = rows.iter().map(|row| row.name.as_str()).collect();
        let text = format!("there is no {name}; there are leader, {}", names.join(", "));
        return Err(WireError::new(ErrorCode::NotFound, text));
    };
    if fault == Fault::Cut {
        return invalid(NO_CUT.to_owned());
    }
    let hurts = matches!(fault, Fault::Kill | Fault::Pause);
    if hurts && row.kind == ProcessKind::Balancer {
        return invalid("the balancer is the way to this panel: take a replica or a gateway".to_owned());
    }
    let others = rows.iter().filter(|other| {
        other.kind == ProcessKind::Gateway && other.state == ProcessState::Running && other.name != name
    });
    if hurts && row.kind == ProcessKind::Gateway && others.count() == 0 {
        return invalid(format!(
            "{name} is the last gateway that runs, and the way to this panel: start another first"
        ));
    }
    match (fault, row.state) {
        (Fault::Kill | Fault::Pause | Fault::Heal, ProcessState::Stopped) => {
            invalid(format!("{name} does not run: start it"))
        }
        (Fault::Pause, ProcessState::Paused) => invalid(format!("{name} is paused already")),
        (Fault::Heal, ProcessState::Running) => invalid(format!("{name} runs: there is nothing to heal")),
        (Fault::Start, ProcessState::Paused) => invalid(format!("{name} is paused: heal it")),
        (Fault::Start, ProcessState::Running | ProcessState::Cut) => invalid(format!("{name} runs already")),
        _ => Ok(()),
    }
}

/// Does it. A start is not waited for.
///
/// # Errors
/// `internal` in words, when the system refuses.
pub(crate) async fn carry_out(cluster: &Cluster, fault: Fault, member: &Member) -> Decided<()> {
    let done = match fault {
        Fault::Kill => cluster.kill(member).await,
        Fault::Pause => cluster.signal(member, Send::Pause).map(|_| ()),
        Fault::Heal => cluster.signal(member, Send::Resume).map(|_| ()),
        Fault::Start => cluster.start_member(member).map(|_| ()),
        Fault::Cut => return Err(WireError::new(ErrorCode::Invalid, NO_CUT)),
    };
    done.map_err(|error| broken(&error))
}

fn broken(error: &Error) -> WireError {
    WireError { temporary: false, ..WireError::new(ErrorCode::Internal, error.to_string()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str, kind: ProcessKind, state: ProcessState) -> DemoProcess {
        DemoProcess { name: name.to_owned(), kind, state, pid: None }
    }

    #[test]
    fn what_makes_no_sense_is_refused_in_words_that_say_what_to_do() {
        use ProcessKind::{Balancer, Gateway, Replica};
        use ProcessState::{Paused, Running, Stopped};
        let rows = [
            row("replica-1", Replica, Running),
            row("replica-2", Replica, Paused),
            row("replica-3", Replica, Stopped),
            row("gateway-a", Gateway, Running),
            row("gateway-b", Gateway, Paused),
            row("balancer", Balancer, Running),
        ];
        for (fault, name) in [
            (Fault::Kill, "replica-1"),
            (Fault::Pause, "replica-1"),
            (Fault::Kill, "replica-2"),
            (Fault::Heal, "replica-2"),
            (Fault::Start, "replica-3"),
            (Fault::Kill, "gateway-b"),
            (Fault::Heal, "gateway-b"),
        ] {
            assert_eq!(check(&rows, fault, name), Ok(()), "{fault:?} {name}");
        }
        for (fault, name, word) in [
            (Fault::Kill, "replica-9", "replica-3"),
            (Fault::Kill, "init", "there are leader"),
            (Fault::Kill, "replica-3", "start it"),
            (Fault::Pause, "replica-2", "already"),
            (Fault::Heal, "replica-1", "nothing to heal"),
            (Fault::Start, "replica-2", "heal it"),
            (Fault::Start, "replica-1", "runs already"),
            (Fault::Kill, "gateway-a", "last gateway"),
            (Fault::Kill, "balancer", "way to this panel"),
            (Fault::Cut, "replica-1", "pause"),
        ] {
            let error = check(&rows, fault, name).unwrap_err();
            assert!(error.message.contains(word), "{fault:?} {name}: {}", error.message);
            assert!(!error.temporary);
        }
        assert_eq!(check(&rows, Fault::Kill, "replica-9").unwrap_err().code, ErrorCode::NotFound);
    }
}
