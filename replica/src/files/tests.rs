//! The rule of majorities.

use super::*;

#[test]
fn a_majority_is_one_of_each_set() {
    let set = |ids: &[u64]| ids.iter().copied().collect::<BTreeSet<u64>>();
    assert!(!is_majority(&[], &set(&[1, 2, 3])), "nobody votes");
    assert!(is_majority(&[set(&[1, 2, 3])], &set(&[1, 2, 9])));
    assert!(!is_majority(&[set(&[1, 2, 3])], &set(&[1, 8, 9])));
    assert!(!is_majority(&[set(&[1, 2, 3, 4])], &set(&[1, 2])), "half is none");
    let joint = [set(&[1, 2, 3]), set(&[3, 4, 5])];
    assert!(!is_majority(&joint, &set(&[1, 2, 3])));
    assert!(is_majority(&joint, &set(&[1, 3, 4])));
}
