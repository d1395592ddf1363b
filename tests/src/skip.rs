//! Tests that this machine cannot run: named, counted by `tests/all`, and a failure in CI.

/// Says that a test did not run and why. `tests/all` counts these lines; with `CI=true` one of them is a failure.
pub fn skip(test: &str, why: &str) {
    eprintln!("SKIPPED: {test}: {why}");
}
