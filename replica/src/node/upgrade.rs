//! Rolling upgrades: the machine version rises by a committed command, and only when every member supports it. Pure.

use std::collections::BTreeMap;

use thiserror::Error;

/// The state follows rules that this program does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error(
    "the cluster has reached machine version {needed} and this replica supports {supported}: start it with a newer program, \
     and with --machine-version-max {needed} or more if that is set"
)]
pub struct TooNew {
    needed: u32,
    supported: u32,
}

impl TooNew {
    /// # Errors
    /// When `needed` is more than `supported`.
    pub fn check(needed: u32, supported: u32) -> Result<(), Self> {
        if needed > supported { Err(Self { needed, supported }) } else { Ok(()) }
    }
}

/// The version to propose: one more than the present, if every member is known to support it. `supports` has what each member
/// last said, or `None` for one that did not answer: an absent replica may come back with the old program.
pub fn next_version(present: u32, supports: &BTreeMap<u64, Option<u32>>) -> Option<u32> {
    let next = present.max(1).checked_add(1)?;
    let all = supports.values().all(|max| max.is_some_and(|max| max >= next));
    (all && !supports.is_empty()).then_some(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(supports: &[Option<u32>]) -> BTreeMap<u64, Option<u32>> {
        (1..).zip(supports.iter().copied()).collect()
    }

    #[test]
    fn the_version_rises_by_one_when_every_member_supports_it() {
        assert_eq!(next_version(0, &members(&[Some(2); 5])), Some(2), "0 is the first version, unsaid");
        assert_eq!(next_version(1, &members(&[Some(2), Some(2), Some(1)])), None, "one is not upgraded");
        assert_eq!(next_version(1, &members(&[Some(2), Some(2), None])), None, "one did not answer");
        assert_eq!(next_version(2, &members(&[Some(2); 5])), None);
        assert_eq!(next_version(2, &members(&[Some(9); 5])), Some(3), "one step at a time");
        assert_eq!(next_version(1, &members(&[])), None);
    }

    #[test]
    fn a_version_beyond_support_is_refused_in_words_that_help() {
        assert!(TooNew::check(2, 2).is_ok());
        let line = TooNew::check(3, 2).expect_err("too new").to_string();
        assert!(line.contains("newer program") && !line.contains('\n'), "{line}");
    }
}
