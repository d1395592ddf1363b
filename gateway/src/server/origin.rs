//! Which web pages may speak to this gateway. Pure.

/// An exact allow-list; empty, it allows the gateway's own host only.
#[derive(Debug, Clone)]
pub struct OriginPolicy {
    allowed: Vec<String>,
}

impl OriginPolicy {
    /// A policy from the configuration.
    pub fn new(allowed: &[String]) -> Self {
        Self { allowed: allowed.to_vec() }
    }

    /// Whether a browser's `Origin` may go on, given the request's `Host`. Compared byte for byte: browsers send both in
    /// lower case, without a default port.
    pub fn allows(&self, origin: &str, host: Option<&str>) -> bool {
        if !self.allowed.is_empty() {
            return self.allowed.iter().any(|allowed| allowed == origin);
        }
        let authority = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
        matches!((authority, host), (Some(authority), Some(host)) if !host.is_empty() && authority == host)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_listed_origins_pass() {
        let policy = OriginPolicy::new(&["https://chat.example.org".to_owned()]);
        let host = Some("chat.example.org");
        assert!(policy.allows("https://chat.example.org", host));
        for foreign in [
            "https://evil.example",
            "null",
            "",
            "https://chat.example.org.evil.example",
            "https://evilchat.example.org",
            "https://chat.example.org:444",
            "http://chat.example.org",
            "https://CHAT.example.org",
            "https://chat.example.org/",
            "https://user@chat.example.org",
            "https://sub.chat.example.org",
        ] {
            assert!(!policy.allows(foreign, host), "{foreign}");
        }
    }

    #[test]
    fn without_a_list_only_the_own_host_passes() {
        let policy = OriginPolicy::new(&[]);
        assert!(policy.allows("http://127.0.0.1:8101", Some("127.0.0.1:8101")));
        for (origin, host) in [
            ("http://127.0.0.1:8102", Some("127.0.0.1:8101")),
            ("http://localhost:8101", Some("127.0.0.1:8101")),
            ("ftp://127.0.0.1:8101", Some("127.0.0.1:8101")),
            ("http://", Some("")),
            ("http://127.0.0.1:8101", None),
            ("null", Some("null")),
        ] {
            assert!(!policy.allows(origin, host), "{origin}");
        }
    }
}
