//! How many bots are told at one server at a time, so that one that is slow does not hold every place there is. Pure.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use reqwest::Url;

/// Turns at a time of bots that are told at one host: a quarter of all.
pub(super) const TURNS_PER_HOST_MAX: usize = 4;

const NOT_POISONED: &str = "no holder of this lock panics";

/// Turns under way by their host.
#[derive(Debug, Default)]
pub(super) struct Hosts(Arc<Mutex<HashMap<String, usize>>>);

/// A turn at a host; dropping it frees it.
#[derive(Debug)]
pub(super) struct HostPlace {
    host: String,
    hosts: Arc<Mutex<HashMap<String, usize>>>,
}

impl Hosts {
    /// A turn at the host of this address; `None` while there are enough.
    pub(super) fn enter(&self, url: &str) -> Option<HostPlace> {
        // An address that is none is not connected to.
        let parsed = Url::parse(url).ok();
        let host = parsed.as_ref().and_then(Url::host_str).unwrap_or_default().to_owned();
        let mut turns = self.0.lock().expect(NOT_POISONED);
        let count = turns.entry(host.clone()).or_default();
        if *count >= TURNS_PER_HOST_MAX {
            return None;
        }
        *count += 1;
        Some(HostPlace { host, hosts: Arc::clone(&self.0) })
    }
}

impl Drop for HostPlace {
    fn drop(&mut self) {
        let mut turns = self.hosts.lock().expect(NOT_POISONED);
        if let Some(count) = turns.get_mut(&self.host) {
            *count -= 1;
            if *count == 0 {
                turns.remove(&self.host);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_host_has_so_many_turns_and_leaves_the_others_to_others() {
        let hosts = Hosts::default();
        let enter = |path: usize| hosts.enter(&format!("https://Example.org:{}/{path}", 8_000 + path));
        let mut held: Vec<HostPlace> = (0..TURNS_PER_HOST_MAX).map(|at| enter(at).expect("room")).collect();
        assert!(hosts.enter("https://example.org/other").is_none(), "whatever its port and path");
        assert!(hosts.enter("https://example.net/").is_some());
        held.pop();
        assert!(hosts.enter("https://example.org/other").is_some());
        drop(held);
        assert!(hosts.0.lock().unwrap().is_empty());
    }
}
