//! Hosts: by which names a server may be asked, so that no page reaches it under a name of its own (DNS rebinding).

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

/// A host as a URL names it, in the one spelling in which two are compared.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Host {
    Name(String),
    Address(IpAddr),
}

/// A host that a server may be asked by: a name, an address, or any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowedHost(Option<Host>);

/// The hosts that a server may be asked by.
#[derive(Clone, Debug)]
pub struct Hosts {
    listen: IpAddr,
    allowed: Vec<AllowedHost>,
}

impl Host {
    /// Of a name or address as it stands in a URL: an address of IPv6 in brackets.
    fn read(text: &str) -> Option<Self> {
        let address = match text.strip_prefix('[') {
            Some(rest) => Some(rest.strip_suffix(']')?.parse().ok()?),
            None => text.parse().ok().map(IpAddr::V4),
        };
        if let Some(address) = address {
            return Some(Self::Address(IpAddr::to_canonical(&address)));
        }
        let in_names = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        let is_name = !text.is_empty() && text.bytes().all(in_names);
        is_name.then(|| Self::Name(text.to_ascii_lowercase()))
    }

    /// Of a `Host` header, whose port does not matter: whoever forwards one port to another leaves that of the client.
    fn of_header(text: &str) -> Option<Self> {
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, port),
            _ => (text, ""),
        };
        let is_port = port.bytes().all(|byte| byte.is_ascii_digit());
        is_port.then(|| Self::read(host)).flatten()
    }
}

impl FromStr for AllowedHost {
    type Err = String;

    /// Errors: it is no name and no address, or has more than that, such as a port.
    fn from_str(text: &str) -> Result<Self, String> {
        if text == "*" {
            return Ok(Self(None));
        }
        let address = text
            .parse()
            .ok()
            .map(|address: IpAddr| address.to_canonical());
        let host = address.map(Host::Address).or_else(|| Host::read(text));
        host.map(|host| Self(Some(host))).ok_or_else(|| {
            "must be a host alone, without scheme and port, such as shop.example or 192.0.2.7, or * for any".to_owned()
        })
    }
}

impl Hosts {
    /// Those of a server that listens on an address, and others that its operator allows.
    pub fn new(listen: SocketAddr, allowed: Vec<AllowedHost>) -> Self {
        let listen = listen.ip().to_canonical();
        Self { listen, allowed }
    }

    /// Whether a `Host` header names one of them: the machine itself, the address listened on, or one that is allowed.
    ///
    /// A server that listens on every address may be asked by any address, though by no name: only a name can be made to lead
    /// elsewhere than it did, and with an address in it, a page's origin is the server's own.
    pub(crate) fn have(&self, header: &str) -> bool {
        let Some(host) = Host::of_header(header) else {
            return false;
        };
        let own = match &host {
            Host::Name(name) => name == "localhost",
            Host::Address(address) => {
                address.is_loopback() || *address == self.listen || self.listen.is_unspecified()
            }
        };
        let is_it = |AllowedHost(allowed): &AllowedHost| {
            allowed.as_ref().is_none_or(|allowed| *allowed == host)
        };
        own || self.allowed.iter().any(is_it)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(listen: &str, allowed: &[&str]) -> Hosts {
        let allowed = allowed.iter().map(|host| host.parse().expect("a host"));
        Hosts::new(listen.parse().expect("an address"), allowed.collect())
    }

    #[test]
    fn a_server_is_asked_by_the_names_of_its_machine_on_any_port_and_by_no_other() {
        let hosts = hosts("127.0.0.1:8080", &[]);
        for host in [
            "localhost",
            "LocalHost:9000",
            "127.0.0.1:8080",
            "127.9.9.9",
            "[::1]:80",
            "[::ffff:127.0.0.1]",
            "localhost:",
        ] {
            assert!(hosts.have(host), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "evil.example:8080",
            "localhost@evil.example",
            "localhost:8080@evil.example",
            "evil.example/localhost",
            "localhost:http",
            "192.0.2.7:8080",
            "0.0.0.0:8080",
            "::1",
            "[::1",
            "[::1]x",
            "[::1]:8080:",
            "[localhost]",
            "localhost localhost",
            "localhost,evil.example",
            "*",
        ] {
            assert!(!hosts.have(host), "{host}");
        }
    }

    #[test]
    fn a_server_on_every_address_is_asked_by_any_address_and_by_no_name() {
        let everywhere = hosts("0.0.0.0:8080", &[]);
        for host in ["192.0.2.7:8080", "[2001:db8::7]", "localhost:8080"] {
            assert!(everywhere.have(host), "{host}");
        }
        assert!(!everywhere.have("evil.example:8080"));
        let one = hosts("192.0.2.7:8080", &[]);
        assert!(one.have("192.0.2.7") && !one.have("192.0.2.8"));
    }

    #[test]
    fn an_operator_allows_hosts_by_name_or_all_of_them() {
        let some = hosts(
            "127.0.0.1:0",
            &["Shop.Example", "192.0.2.7", "::2", "[::3]"],
        );
        for host in [
            "shop.example:443",
            "SHOP.example",
            "192.0.2.7",
            "[::2]:1",
            "[::3]",
        ] {
            assert!(some.have(host), "{host}");
        }
        assert!(!some.have("www.shop.example") && !some.have("[::4]"));
        assert!(hosts("127.0.0.1:0", &["*"]).have("evil.example"));
    }

    #[test]
    fn what_is_no_host_alone_cannot_be_allowed() {
        for text in [
            "",
            "shop.example:80",
            "http://shop.example",
            "*.example",
            "a b",
            "[::1]:80",
            "a/b",
        ] {
            let error = text.parse::<AllowedHost>().expect_err(text);
            assert!(error.contains("such as shop.example"), "{error}");
        }
    }
}
