//! Which order puts like beside like: from each body on to the one that shares most of its runs of bytes.

use std::ops::Range;

/// Bytes in a run: of 5 to 8 the best for the page, by 1 % at most.
const RUN_BYTES: usize = 6;
/// A run that more bodies have says nothing about any two of them.
const BODIES_MAX: usize = 400;

/// The places of the bodies in their new order: every place once, the same for the same bodies.
pub(super) fn order(bodies: &[&[u8]]) -> Vec<usize> {
    let shared = Shared::of(bodies);
    let mut by_size: Vec<usize> = (0..bodies.len()).collect();
    by_size.sort_by_key(|at| (std::cmp::Reverse(bodies[*at].len()), *at));
    let mut largest = by_size.into_iter();
    let mut is_placed = vec![false; bodies.len()];
    let mut counts = vec![0; bodies.len()];
    let mut order = Vec::with_capacity(bodies.len());
    let mut next = None;
    while let Some(at) = next.or_else(|| largest.find(|at| !is_placed[*at])) {
        is_placed[at] = true;
        order.push(at);
        next = shared.nearest(at, &is_placed, &mut counts);
    }
    order
}

/// Which bodies have which runs in common.
struct Shared {
    /// The bodies of each run, run after run.
    bodies: Vec<usize>,
    /// For each body, where in `bodies` those are that share a run with it.
    groups: Vec<Vec<Range<usize>>>,
    /// How many different runs a body has, those included that nobody shares.
    runs: Vec<u64>,
}

impl Shared {
    fn of(bodies: &[&[u8]]) -> Self {
        let mut all: Vec<([u8; RUN_BYTES], usize)> = Vec::new();
        for (at, body) in bodies.iter().enumerate() {
            all.extend(body.windows(RUN_BYTES).filter_map(|run| Some((run.try_into().ok()?, at))));
        }
        all.sort_unstable();
        all.dedup();
        let mut groups = vec![Vec::new(); bodies.len()];
        let mut runs = vec![0; bodies.len()];
        let mut begin = 0;
        for group in all.chunk_by(|one, other| one.0 == other.0) {
            let range = begin..begin + group.len();
            begin = range.end;
            for (_, at) in group {
                runs[*at] += 1;
                if (2..=BODIES_MAX).contains(&group.len()) {
                    groups[*at].push(range.clone());
                }
            }
        }
        Self { bodies: all.into_iter().map(|(_, at)| at).collect(), groups, runs }
    }

    /// The body that shares most with this one, measured by what both have; none if nobody who is left shares anything. `counts` is
    /// all zeros before and after.
    fn nearest(&self, at: usize, is_placed: &[bool], counts: &mut [u64]) -> Option<usize> {
        let mut met = Vec::new();
        for group in &self.groups[at] {
            for other in &self.bodies[group.clone()] {
                if !is_placed[*other] {
                    if counts[*other] == 0 {
                        met.push(*other);
                    }
                    counts[*other] += 1;
                }
            }
        }
        let of_both = |other: usize| self.runs[at] + self.runs[other];
        // a / b < c / d, without division.
        let nearest = met.iter().copied().max_by(|one, other| {
            let (left, right) = (counts[*one] * of_both(*other), counts[*other] * of_both(*one));
            // Of equals the one that stood closest: the sizes are in order, too.
            left.cmp(&right).then(at.abs_diff(*other).cmp(&at.abs_diff(*one))).then(other.cmp(one))
        });
        for other in met {
            counts[other] = 0;
        }
        nearest
    }
}
