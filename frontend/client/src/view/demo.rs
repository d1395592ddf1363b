//! The demo in words: what may be done to a process, and what the probe's counts mean.

use quorate_proto::rest::{DemoProcess, Fault, ProbeReport, ProcessKind, ProcessState};

use super::cluster::grouped;
use super::film::time;
use crate::words::{keyed, t, tf};

/// A write that waits for longer is said to wait; each takes some milliseconds when all is well.
const WAITS_MS: u64 = 1_000;

/// A count of the probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counter {
    /// What is counted, in English; it has a key.
    pub words: &'static str,
    /// The count or the time, in words.
    pub value: String,
    /// What must never be.
    pub bad: bool,
}

/// What can be done to a process as it is; nothing to the balancer, by which the page itself comes.
pub fn faults(process: &DemoProcess) -> &'static [Fault] {
    match (process.kind, process.state) {
        (ProcessKind::Balancer, _) => &[],
        (_, ProcessState::Running) => &[Fault::Kill, Fault::Pause, Fault::Cut],
        (_, ProcessState::Paused | ProcessState::Cut) => &[Fault::Heal, Fault::Kill],
        (_, ProcessState::Stopped) => &[Fault::Start],
    }
}

/// What brings a process back to running; `None` for one that runs.
pub fn remedy(process: &DemoProcess) -> Option<Fault> {
    match process.state {
        ProcessState::Running => None,
        ProcessState::Paused | ProcessState::Cut => Some(Fault::Heal),
        ProcessState::Stopped => Some(Fault::Start),
    }
}

/// What a button says.
pub fn fault_words(fault: Fault) -> &'static str {
    match fault {
        Fault::Kill => t("Kill"),
        Fault::Pause => t("Pause"),
        Fault::Cut => t("Cut off"),
        Fault::Heal => t("Heal"),
        Fault::Start => t("Start"),
    }
}

/// What it means for the process.
pub fn fault_meaning(fault: Fault) -> &'static str {
    match fault {
        Fault::Kill => t("Ends at once, without a word (kill -9)"),
        Fault::Pause => t("Stands still, as if its machine hung"),
        Fault::Cut => t("Runs on, and nothing reaches it or leaves it"),
        Fault::Heal => t("Goes on, and is reachable again"),
        Fault::Start => t("Starts again with what is on its disk"),
    }
}

/// How a process is, in a word of English that has a key.
pub fn state_words(state: ProcessState) -> &'static str {
    match state {
        ProcessState::Running => keyed("running"),
        ProcessState::Paused => keyed("paused"),
        ProcessState::Cut => keyed("cut off"),
        ProcessState::Stopped => keyed("stopped"),
    }
}

/// A process as people call it: `Replica 3`, `Gateway b`, `Balancer`.
pub fn process_words(process: &DemoProcess) -> String {
    let name = process.name.split_once('-').map_or(&*process.name, |(_, name)| name);
    match process.kind {
        ProcessKind::Replica => tf("Replica {}", &[&name]),
        ProcessKind::Gateway => tf("Gateway {}", &[&name]),
        ProcessKind::Balancer => t("Balancer").to_owned(),
    }
}

/// The probe's counts, in the order of worth.
pub fn counters(probe: &ProbeReport) -> [Counter; 7] {
    let count = |words, value| Counter { words, value: grouped(value), bad: false };
    let never = |words, value| Counter { words, value: grouped(value), bad: value > 0 };
    [
        Counter { words: keyed("Write gap now"), value: time(probe.write_gap_ms), bad: false },
        Counter { words: keyed("Longest write gap"), value: time(probe.write_gap_max_ms), bad: false },
        count(keyed("Sent"), probe.sent),
        count(keyed("Acknowledged"), probe.acknowledged),
        never(keyed("Lost"), probe.lost),
        never(keyed("Doubled"), probe.doubled),
        never(keyed("Reordered"), probe.reordered),
    ]
}

/// What the counts say, as a sentence.
pub fn verdict(probe: &ProbeReport) -> String {
    let wrong: Vec<String> = counters(probe)
        .into_iter()
        .filter(|counter| counter.bad)
        .map(|counter| format!("{} {}", counter.value, t(counter.words).to_lowercase()))
        .collect();
    if !wrong.is_empty() {
        return tf("Something is wrong: {}.", &[&wrong.join(", ")]);
    }
    let all = grouped(probe.acknowledged);
    match (probe.running, probe.settled) {
        (false, _) if probe.sent == 0 => {
            t("Started, the probe sends ten numbered messages a second and reads them at another gateway.")
                .to_owned()
        }
        // Without its time, which stands beside it: whoever hears the page is told once.
        (true, _) if probe.write_gap_ms >= WAITS_MS => {
            t("Writes wait just now. Nothing that was acknowledged is lost.").to_owned()
        }
        (true, _) => t("So far everything that was acknowledged is there, once and in order.").to_owned(),
        (false, true) => tf("All {} acknowledged messages are there, each once and in order.", &[&all]),
        (false, false) => {
            t("What was acknowledged is still being compared with what can be read.").to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(name: &str, kind: ProcessKind, state: ProcessState) -> DemoProcess {
        DemoProcess { name: name.to_owned(), kind, state, pid: None }
    }

    #[test]
    fn every_state_that_a_fault_leads_to_can_be_left_again() {
        for state in [ProcessState::Running, ProcessState::Paused, ProcessState::Cut, ProcessState::Stopped] {
            for kind in [ProcessKind::Replica, ProcessKind::Gateway] {
                let process = process("replica-3", kind, state);
                let remedy = remedy(&process);
                assert_eq!(remedy.is_none(), state == ProcessState::Running);
                assert!(remedy.is_none_or(|remedy| faults(&process).contains(&remedy)), "{process:?}");
            }
        }
    }

    #[test]
    fn nothing_is_done_to_what_carries_the_page() {
        let balancer = process("balancer", ProcessKind::Balancer, ProcessState::Running);
        assert!(faults(&balancer).is_empty());
        let names = [balancer, process("gateway-b", ProcessKind::Gateway, ProcessState::Cut)];
        assert_eq!(names.each_ref().map(process_words), ["Balancer", "Gateway b"]);
    }

    #[test]
    fn whole_is_said_only_once_everything_was_compared() {
        let probe = ProbeReport { running: true, sent: 1_210, acknowledged: 1_204, ..ProbeReport::default() };
        assert!(verdict(&probe).starts_with("So far"));
        assert!(verdict(&ProbeReport { running: false, ..probe.clone() }).contains("still being compared"));
        let settled = ProbeReport { running: false, settled: true, ..probe.clone() };
        assert_eq!(verdict(&settled), "All 1,204 acknowledged messages are there, each once and in order.");
        let waits = ProbeReport { write_gap_ms: 1_350, ..probe.clone() };
        assert!(verdict(&waits).starts_with("Writes wait just now."));
        assert!(verdict(&ProbeReport::default()).starts_with("Started, the probe"));
    }

    #[test]
    fn what_must_never_be_comes_first() {
        let probe = ProbeReport {
            running: true,
            sent: 9,
            lost: 2,
            reordered: 1,
            write_gap_ms: 5_000,
            ..ProbeReport::default()
        };
        assert_eq!(verdict(&probe), "Something is wrong: 2 lost, 1 reordered.");
        let bad: Vec<_> =
            counters(&probe).into_iter().filter(|counter| counter.bad).map(|counter| counter.words).collect();
        assert_eq!(bad, ["Lost", "Reordered"]);
    }
}
