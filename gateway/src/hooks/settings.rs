//! What operators choose about webhooks, and what addresses of webhooks must be like.

use std::net::IpAddr;

use quorate_proto::error::{ErrorCode, WireError};
use quorate_proto::limits::HOOK_URL_BYTES_MAX;
use reqwest::Url;
use serde::{Deserialize, Serialize};

use super::addresses::may_reach;
use crate::network::Network;

/// The `[hooks]` of a configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Addresses that outgoing webhooks may lead to although they are not reachable from everywhere, such as `10.0.0.0/8`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allow_addresses: Vec<String>,
}

impl Settings {
    /// Checks what was chosen.
    ///
    /// # Errors
    /// One line that says what to do.
    pub fn check(&self) -> Result<(), String> {
        self.networks().map(|_| ())
    }

    /// The operator's networks.
    ///
    /// # Errors
    /// As [`Self::check`].
    pub(super) fn networks(&self) -> Result<Vec<Network>, String> {
        let network = |text: &String| {
            Network::parse(text).ok_or_else(|| {
                format!("hooks.allow_addresses holds {text:?}, which is no network: write it like 127.0.0.0/8 or fd00::/8")
            })
        };
        self.allow_addresses.iter().map(network).collect()
    }

    /// The address of a webhook, as it will be asked for. A name is looked up each time it is told, and checked then.
    ///
    /// # Errors
    /// [`ErrorCode::Invalid`] or [`ErrorCode::TooLarge`], for who sets it.
    pub fn check_url(&self, text: &str) -> Result<Url, WireError> {
        let invalid = |what: &str| WireError::new(ErrorCode::Invalid, what);
        let too_long = || {
            let message = format!("the address of a webhook has at most {HOOK_URL_BYTES_MAX} bytes");
            WireError::new(ErrorCode::TooLarge, message)
        };
        if text.len() > HOOK_URL_BYTES_MAX {
            return Err(too_long());
        }
        let url = Url::parse(text).map_err(|error| {
            invalid(&format!("that is no address of a webhook: {error}; write it like https://host/path"))
        })?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(invalid("the address of a webhook begins with https:// or http://"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(invalid(
                "the address of a webhook holds no user and no password: check the signature instead",
            ));
        }
        if url.fragment().is_some() {
            return Err(invalid("the address of a webhook has no part after #: no server would be told it"));
        }
        // Escapes have made it longer.
        if url.as_str().len() > HOOK_URL_BYTES_MAX {
            return Err(too_long());
        }
        let networks = self.networks().unwrap_or_default();
        if literal(&url).is_some_and(|address| !may_reach(address, &networks)) {
            return Err(invalid(
                "the address of a webhook must be reachable from everywhere: this one is private or special",
            ));
        }
        Ok(url)
    }
}

/// The address that an URL names by number, in whatever notation.
pub(super) fn literal(url: &Url) -> Option<IpAddr> {
    let host = url.host_str()?;
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_networks_earn_a_line_that_says_what_to_do() {
        assert_eq!(Settings::default().check(), Ok(()));
        let settings = |text: &str| Settings { allow_addresses: vec![text.to_owned()] };
        assert_eq!(settings("10.0.0.0/8").check(), Ok(()));
        let line = settings("10.0.0.0/99").check().unwrap_err();
        assert!(
            line.contains("10.0.0.0/99") && line.contains("127.0.0.0/8") && !line.contains('\n'),
            "{line}"
        );
    }

    #[test]
    fn addresses_of_webhooks_lead_outside_and_hold_no_secret() {
        let settings = Settings::default();
        for (text, as_told) in [
            ("https://example.org/hook?a=1", "https://example.org/hook?a=1"),
            ("HTTP://EXAMPLE.org:8080", "http://example.org:8080/"),
            ("http://1.1.1.1/", "http://1.1.1.1/"),
            ("https://bücher.example/ü", "https://xn--bcher-kva.example/%C3%BC"),
        ] {
            assert_eq!(settings.check_url(text).expect(text).as_str(), as_told);
        }
        for (bad, why) in [
            ("", "no address"),
            ("example.org", "no address"),
            ("ftp://example.org/", "https://"),
            ("file:///etc/passwd", "https://"),
            ("javascript:alert(1)", "https://"),
            ("https://", "no address"),
            ("https://user@example.org/", "user"),
            ("https://user:word@example.org/", "password"),
            ("https://example.org/#x", "#"),
            ("http://127.0.0.1/", "private"),
            ("http://0x7f.1/", "private"),
            ("http://2130706433/", "private"),
            ("http://017700000001/", "private"),
            ("http://[::1]/", "private"),
            ("http://[::ffff:10.0.0.1]/", "private"),
            ("http://169.254.169.254/latest/meta-data", "private"),
        ] {
            let error = settings.check_url(bad).unwrap_err();
            assert_eq!(error.code, ErrorCode::Invalid, "{bad}");
            assert!(error.message.contains(why), "{bad}: {}", error.message);
        }
        for long in [
            format!("https://example.org/{}", "x".repeat(HOOK_URL_BYTES_MAX)),
            format!("https://example.org/{}", "ü".repeat(400)),
        ] {
            assert_eq!(settings.check_url(&long).unwrap_err().code, ErrorCode::TooLarge);
        }
        let own = Settings { allow_addresses: vec!["127.0.0.0/8".into()] };
        assert!(own.check_url("http://127.0.0.1:9/").is_ok() && own.check_url("http://10.0.0.1/").is_err());
    }
}
