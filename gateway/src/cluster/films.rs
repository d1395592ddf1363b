//! The films of changes of leader that the replicas tell, put together with what this gateway saw. Pure.
//!
//! A replica says how long ago, by its own clock, it last heard from the old leader; this gateway knows when it asked, and how long
//! the answer took. So the replica's beginning is placed on this gateway's clock, give or take half a round trip.

use std::time::{Duration, Instant};

use quorate_proto::limits::{FAILOVERS_MAX, SUBMIT_WAIT_MS};
use quorate_proto::rest::{Failover, FailoverCause};
use quorate_proto::rpc;

use super::marks::{Mark, Seen};
use super::{Answer, view};

/// No command waits for longer than a submit: what is seen later speaks of nobody having written.
const SEEN_MAX: Duration = Duration::from_millis(SUBMIT_WAIT_MS);

/// A film and when, by this gateway's clock, the new leader last heard from the old one.
struct Placed {
    film: rpc::Failover,
    heard: Option<Instant>,
}

/// The changes of leader that the replicas remember, newest first, with what this gateway saw of each.
pub fn failovers(answers: &[Answer], marks: &[Mark]) -> Vec<Failover> {
    let told = answers.iter().filter_map(|answer| Some((answer, answer.status.as_ref()?)));
    let placed = told.flat_map(|(answer, status)| {
        let asked = answer.asked + answer.round_trip / 2;
        status.failovers.iter().map(move |film| {
            let ago = film.heard_ago_us.map(Duration::from_micros);
            Placed { film: *film, heard: ago.and_then(|ago| asked.checked_sub(ago)) }
        })
    });
    let mut placed: Vec<Placed> = placed.collect();
    // A term may have several leaders, one after the other with a rising id.
    placed.sort_by_key(|placed| std::cmp::Reverse((placed.film.term, placed.film.leader_id)));
    placed.dedup_by_key(|placed| (placed.film.term, placed.film.leader_id));
    placed.truncate(FAILOVERS_MAX);
    let mut end = None;
    let told = placed.iter().map(|placed| {
        let told = told_of(placed, end, marks);
        // Where the next older one ends, as far as that is known.
        end = placed.heard.or(end);
        told
    });
    told.collect()
}

/// One change; `end`: from then on a mark is of the next one.
fn told_of(placed: &Placed, end: Option<Instant>, marks: &[Mark]) -> Failover {
    let Placed { film, heard } = placed;
    let first = |wanted: &dyn Fn(&Mark, Instant) -> bool| {
        let heard = (*heard)?;
        let of_it = marks.iter().filter(|mark| mark.leader == film.leader_id && mark.at >= heard);
        let of_it = of_it.filter(|mark| end.is_none_or(|end| mark.at < end) && wanted(mark, heard));
        let after = of_it.map(|mark| mark.at).min()?.checked_duration_since(heard)?;
        if after > SEEN_MAX { None } else { view::ms(after) }
    };
    // Who began to wait when everything was over was served as ever.
    let over = |heard: Instant| film.committed_ms.map(|ms| heard + Duration::from_millis(ms));
    let answered_ms = first(&|mark, heard| match mark.seen {
        Seen::Answer { waited_since } => over(heard).is_some_and(|over| waited_since <= over),
        Seen::Push => false,
    });
    Failover {
        term: film.term,
        leader: film.leader_id,
        old_leader: Some(film.old_leader_id).filter(|id| *id != 0),
        cause: if film.handed_over { FailoverCause::HandedOver } else { FailoverCause::Lost },
        time: film.time_ms,
        suspected_ms: film.suspected_ms,
        election_ms: film.election_ms,
        majority_ms: film.majority_ms,
        leading_ms: film.leading_ms,
        committed_ms: film.committed_ms,
        answered_ms,
        pushed_ms: first(&|mark, _| mark.seen == Seen::Push),
    }
}

#[cfg(test)]
mod tests {
    use quorate_proto::rpc::StatusResponse;

    use super::*;

    fn film(term: u64, leader_id: u64, heard_ago_ms: Option<u64>) -> rpc::Failover {
        rpc::Failover {
            term,
            leader_id,
            old_leader_id: 1,
            heard_ago_us: heard_ago_ms.map(|ms| ms * 1_000),
            committed_ms: heard_ago_ms.map(|_| 100),
            ..rpc::Failover::default()
        }
    }

    fn answer(asked: Instant, films: Vec<rpc::Failover>) -> Answer {
        let status = StatusResponse { failovers: films, ..StatusResponse::default() };
        Answer {
            at: 0,
            address: "h:1".into(),
            id: Some(1),
            status: Some(status),
            round_trip: Duration::from_millis(4),
            asked,
        }
    }

    #[test]
    fn what_the_gateway_saw_is_placed_after_what_the_new_leader_heard() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        // Asked at 10 s, answered 4 ms later: heard at 10,002 - 9,000 = 1,002 ms.
        let answers = [answer(at(10_000), vec![film(5, 2, Some(9_000))])];
        let seen = |waited, answered| Mark {
            leader: 2,
            at: at(answered),
            seen: Seen::Answer { waited_since: at(waited) },
        };
        let push = |ms| Mark { leader: 2, at: at(ms), seen: Seen::Push };
        let of = |marks: &[Mark]| {
            let told = failovers(&answers, marks).remove(0);
            (told.answered_ms, told.pushed_ms)
        };
        assert_eq!(of(&[seen(1_050, 1_152), push(1_162)]), (Some(150), Some(160)));
        assert_eq!(of(&[seen(1_200, 1_210), push(1_162)]), (None, Some(160)), "nobody had waited for it");
        assert_eq!(of(&[seen(900, 950), push(900)]), (None, None), "before it");
        assert_eq!(of(&[push(20_000)]), (None, None), "nobody wrote for long");
        let other = Mark { leader: 3, ..push(1_162) };
        assert_eq!(of(&[other]), (None, None), "of another leader");
    }

    #[test]
    fn changes_are_in_order_and_a_mark_counts_for_one() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let handed = rpc::Failover { handed_over: true, old_leader_id: 0, ..film(7, 2, Some(2_000)) };
        let answers = [
            answer(at(10_000), vec![film(5, 2, Some(9_002))]),
            answer(at(10_000), vec![film(6, 3, None), handed]),
        ];
        let marks = [Mark { leader: 2, at: at(8_102), seen: Seen::Push }];
        let told = failovers(&answers, &marks);
        let terms: Vec<u64> = told.iter().map(|told| told.term).collect();
        assert_eq!(terms, [7, 6, 5]);
        assert_eq!(
            (told[0].cause, told[0].old_leader, told[0].pushed_ms),
            (FailoverCause::HandedOver, None, Some(100))
        );
        assert_eq!((told[1].committed_ms, told[1].pushed_ms), (None, None), "nothing to count from");
        assert_eq!((told[2].cause, told[2].pushed_ms), (FailoverCause::Lost, None));
    }

    #[test]
    fn no_more_are_told_than_the_limit() {
        let films = (1..=40).map(|term| film(term, 2, None)).collect();
        let told = failovers(&[answer(Instant::now(), films)], &[]);
        assert_eq!((told.len(), told[0].term), (FAILOVERS_MAX, 40));
    }
}
