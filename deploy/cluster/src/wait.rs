//! Waiting on a condition, with a reason and a deadline.

use std::future::Future;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};

/// How often a condition is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Asks `condition` until it answers `Ok`, or until `deadline` has passed since the call.
///
/// The condition's `Err` says what is still missing; the last one becomes part of the failure.
///
/// # Errors
/// [`Error::Failed`] with the reason, the time waited and what was missing last.
pub async fn wait_until<T, F, Fut>(reason: &str, deadline: Duration, mut condition: F) -> Result<T>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = std::result::Result<T, String>>,
{
    let began = Instant::now();
    loop {
        let missing = match condition().await {
            Ok(value) => return Ok(value),
            Err(missing) => missing,
        };
        if began.elapsed() >= deadline {
            return Err(Error::Failed(format!("waited {deadline:?} for {reason}: {missing}")));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_wait_ends_with_its_reason() {
        let mut left = 3;
        let value = wait_until("a countdown", Duration::from_secs(5), || {
            left -= 1;
            let left = left;
            async move { if left == 0 { Ok(7) } else { Err(format!("{left} left")) } }
        })
        .await;
        assert_eq!(value.unwrap(), 7);
        let error =
            wait_until::<(), _, _>("nothing", Duration::ZERO, || async { Err("all".to_owned()) }).await;
        let text = error.unwrap_err().to_string();
        assert!(text.contains("nothing") && text.contains("all"), "{text}");
    }
}
