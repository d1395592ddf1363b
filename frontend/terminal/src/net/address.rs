//! Where the chat is: `http://host[:port]` or `https://host[:port]`, as one opens it in a browser.

use std::fmt;

use hyper::Uri;

use crate::failure::Failure;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// Whether it is reached over TLS.
    pub tls: bool,
    /// A name or an address; one of IPv6 without its brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl Address {
    /// Reads what a person wrote. Without a scheme `http` is meant for this machine, `https` for any other.
    ///
    /// # Errors
    /// When it is no such address; in words what is expected.
    pub fn parse(text: &str) -> Result<Self, Failure> {
        let wrong = |why: &str| {
            Failure::usage(format!(
                "--url {text:?} {why}. Give the address of the chat, such as https://chat.example.org or \
                 http://localhost:8080."
            ))
        };
        let trimmed = text.trim();
        let full = if trimmed.contains("://") {
            trimmed.to_owned()
        } else {
            let scheme = if is_here(trimmed) { "http" } else { "https" };
            format!("{scheme}://{trimmed}")
        };
        let uri: Uri = full.parse().map_err(|_| wrong("is no address"))?;
        let tls = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(wrong("is neither http nor https")),
        };
        let authority = uri.authority().ok_or_else(|| wrong("names no host"))?;
        if authority.as_str().contains('@') {
            return Err(wrong("has a user name or password in it, which belongs nowhere near an address"));
        }
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(wrong("has a path, and the chat has none"));
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        if host.is_empty() {
            return Err(wrong("names no host"));
        }
        let given = authority.as_str().rsplit_once(':').filter(|(_, port)| !port.contains(']'));
        let port = match (uri.port_u16(), given) {
            (Some(0), _) | (None, Some(_)) => return Err(wrong("has no port from 1 to 65535")),
            (Some(port), _) => port,
            (None, None) => {
                if tls {
                    443
                } else {
                    80
                }
            }
        };
        Ok(Self { tls, host, port })
    }

    /// Host and port as the header `Host` has them.
    pub fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        match (self.tls, self.port) {
            (false, 80) | (true, 443) => host,
            (_, port) => format!("{host}:{port}"),
        }
    }

    /// The origin that a page opened here would have: what a refresh is asked to name.
    pub fn origin(&self) -> String {
        format!("{}://{}", if self.tls { "https" } else { "http" }, self.authority())
    }

    /// Whether what is said travels over the network as anybody there can read it.
    pub fn is_open_to_eavesdroppers(&self) -> bool {
        !self.tls && !is_here(&self.host)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(&self.origin())
    }
}

/// Whether a host, with a port or without, is this machine.
fn is_here(host: &str) -> bool {
    let bare = host.trim_start_matches('[');
    let name = bare.split(['/', ':', ']']).next().unwrap_or_default();
    name == "localhost" || name.ends_with(".localhost") || name.starts_with("127.") || bare.starts_with("::1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_people_write_them() {
        for (text, origin) in [
            ("http://localhost:8080", "http://localhost:8080"),
            ("localhost:8080", "http://localhost:8080"),
            ("127.0.0.1:8083/", "http://127.0.0.1:8083"),
            ("chat.example.org", "https://chat.example.org"),
            ("https://chat.example.org:443", "https://chat.example.org"),
            ("https://[2001:db8::1]:8443", "https://[2001:db8::1]:8443"),
            ("[::1]:8080", "http://[::1]:8080"),
            (" http://chat.lan ", "http://chat.lan"),
        ] {
            let address = Address::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(address.origin(), origin, "{text}");
        }
        assert_eq!(Address::parse("https://[2001:db8::1]:8443").expect("good").host, "2001:db8::1");
    }

    #[test]
    fn what_is_no_address_is_told_what_one_looks_like() {
        for text in [
            "",
            "ftp://host",
            "http://",
            "http://a:b@host",
            "http://host/path",
            "http://host:0",
            "http://host:99999",
            "http://host:",
            "not a host",
            "http://host?x=1",
        ] {
            let error = Address::parse(text).expect_err(text);
            assert!(error.message.contains("http://localhost:8080"), "{text}: {error}");
        }
    }

    #[test]
    fn who_could_listen_is_known() {
        let open = |text| Address::parse(text).expect("good").is_open_to_eavesdroppers();
        assert!(open("http://chat.lan") && !open("https://chat.lan") && !open("http://127.0.0.1:1"));
        assert!(!open("http://localhost") && open("http://localhost.example.org"));
    }
}
