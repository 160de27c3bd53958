//! Access control. A request that passes is still untrusted data, but it is meant for this server, and
//! has its token.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::http::{HeaderMap, Method, StatusCode, Uri, header};

use super::problem::Problem;
use super::token::{Rights, Secrets};

/// Wrong secrets that an address may send within [`WINDOW`].
const TRIES: usize = 5;
const WINDOW: Duration = Duration::from_mins(1);
pub(crate) const COOKIE: &str = "voisin";

/// The client of a request, behind a trusted proxy the one that it names.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Caller(pub(crate) IpAddr);

/// Among the hosts: any address, for clients that use addresses of another machine, as with a container's port.
const EVERY_ADDRESS: &str = "0.0.0.0";

/// The rules of this server.
#[derive(Debug, Default)]
pub(crate) struct Guard {
    /// `None`: no secret is needed.
    pub secrets: Option<Secrets>,
    /// Names and addresses besides its own addresses, in lower case.
    pub hosts: Vec<String>,
    /// Prefix of every path; empty or such as `/voisin`.
    pub base_path: String,
    pub proxies: Vec<IpAddr>,
    /// Wrong secrets of each network.
    wrong: Mutex<HashMap<IpAddr, Vec<Instant>>>,
}

/// The host in a Host header, without its port: `None` if it is invalid.
fn name_of_host(host: &str) -> Option<&str> {
    // Strict: a lenient parser may take for localhost what a browser takes for another host.
    let (name, port) = match host.strip_prefix('[') {
        Some(rest) => {
            let (name, rest) = rest.split_once(']')?;
            // Brackets are for IPv6 only.
            name.parse::<std::net::Ipv6Addr>().ok()?;
            (
                name,
                rest.strip_prefix(':')
                    .or_else(|| rest.is_empty().then_some("0"))?,
            )
        }
        None => host.split_once(':').unwrap_or((host, "0")),
    };
    port.parse::<u16>().ok()?;
    (!name.is_empty()).then_some(name)
}

/// Suffixes of names in home networks, which cannot be registered in public.
const AT_HOME: [&str; 7] = [
    "local",
    "lan",
    "home",
    "internal",
    "home.arpa",
    "fritz.box",
    "localdomain",
];

/// The names of a machine in its own network.
///
/// - `name`: its host name
pub(crate) fn own_names(name: &str) -> Vec<String> {
    let name = name.trim().to_ascii_lowercase();
    if name.is_empty()
        || !name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_'))
    {
        return Vec::new();
    }
    // The host name is "nas" or "nas.example.org"; routers add their own suffix to the first part.
    let first = name.split('.').next().unwrap_or_default().to_owned();
    let at_home = AT_HOME.iter().map(|end| format!("{first}.{end}"));
    [name.clone(), first.clone()]
        .into_iter()
        .chain(at_home)
        .filter(|name| !name.starts_with('.'))
        .collect()
}

/// The network by which wrong secrets count: 64 bits of IPv6 are one customer of a provider, with any number of addresses.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        address @ IpAddr::V4(_) => address,
    }
}

impl Guard {
    /// Whether requests for this host are for this server: others may come from a foreign page whose name was made to point
    /// here (DNS rebinding).
    ///
    /// - `local`: the address that the connection was made to
    fn allows_host(&self, host: &str, local: IpAddr) -> bool {
        let Some(name) = name_of_host(host) else {
            return false;
        };
        let name = name.to_ascii_lowercase();
        let knows = |host: &str| self.hosts.iter().any(|known| known == host);
        name == "localhost"
            || knows(&name)
            // Addresses cannot be rebound by a name server, so this machine's own are safe.
            || name.parse::<IpAddr>().is_ok_and(|address| {
                let address = address.to_canonical();
                address.is_loopback() || local == address || knows(EVERY_ADDRESS)
            })
    }

    /// The host that a request is for, if it is this server's.
    ///
    /// - `local`: the address that the connection was made to
    pub(crate) fn check_host<'a>(
        &self,
        headers: &'a HeaderMap,
        uri: &Uri,
        local: IpAddr,
    ) -> Result<&'a str, Problem> {
        let mut named = headers.get_all(header::HOST).iter();
        // Proxies and servers interpret two Host headers differently.
        let (Some(host), None) = (named.next(), named.next()) else {
            return Err(Problem::bad("one Host header", "none or several"));
        };
        let host = host.to_str().unwrap_or_default();
        // Requests through a proxy have a second host in the request line.
        if uri.authority().is_some_and(|named| named.as_str() != host) {
            return Err(Problem::bad("one host", "two different ones"));
        }
        if self.allows_host(host, local) {
            return Ok(host);
        }
        Err(Problem::new(
            StatusCode::FORBIDDEN,
            format!("this server does not answer for the host {host:?}"),
            "use localhost or the server's address, or start the server with this host allowed (--allow-host)",
        ))
    }

    /// Refuses a request of a page that is not the server's own.
    pub(crate) fn check_origin(&self, headers: &HeaderMap, host: &str) -> Result<(), Problem> {
        // Both schemes, as a proxy may add TLS.
        let is_own = |origin: &str| {
            ["http://", "https://"].iter().any(|scheme| {
                origin
                    .strip_prefix(scheme)
                    .is_some_and(|rest| rest.eq_ignore_ascii_case(host))
            })
        };
        let mut named = headers.get_all(header::ORIGIN).iter();
        if named.all(|origin| origin.to_str().is_ok_and(is_own)) {
            return Ok(());
        }
        Err(Problem::new(
            StatusCode::FORBIDDEN,
            "this server does not accept requests from pages of another origin",
            "open the server's own page",
        ))
    }

    /// The rights of a request, by its secret or cookie. A cookie is enough to read; to send something the request must also
    /// have the origin of the page itself.
    ///
    /// - `log`: receives each wrong secret's address
    pub(crate) fn check_secret(
        &self,
        headers: &HeaderMap,
        method: &Method,
        caller: IpAddr,
        log: &dyn Fn(&str),
    ) -> Result<Rights, Problem> {
        let Some(secrets) = &self.secrets else {
            return Ok(Rights::Change);
        };
        if let Some(offered) = bearer(headers) {
            // A wrong secret is refused even with a valid cookie, since the client means the secret.
            return Ok(self.open(secrets, offered, caller, log)?.0);
        }
        let Some(rights) = cookie(headers).and_then(|cookie| secrets.of_cookie(cookie)) else {
            return Err(Problem::new(
                StatusCode::UNAUTHORIZED,
                "this needs the server's token",
                "send \"Authorization: Bearer TOKEN\"; the owner of the server can show it",
            ));
        };
        // The origin has been compared before; a request without one may be a form of another page.
        if method.is_safe() || headers.contains_key(header::ORIGIN) {
            Ok(rights)
        } else {
            Err(Problem::new(
                StatusCode::FORBIDDEN,
                "a cookie alone does not allow this: the request has no Origin header",
                "send the token as \"Authorization: Bearer TOKEN\"",
            ))
        }
    }

    /// The rights and the cookie of a secret. An address that sent too many wrong ones is refused before the comparison.
    pub(crate) fn open(
        &self,
        secrets: &Secrets,
        offered: &str,
        caller: IpAddr,
        log: &dyn Fn(&str),
    ) -> Result<(Rights, String), Problem> {
        let mut wrong = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        // Expired tries are removed first, so that a scan from many addresses does not fill the memory.
        wrong.retain(|_, times| {
            times.retain(|time| time.elapsed() < WINDOW);
            !times.is_empty()
        });
        let network = network(caller);
        if wrong
            .get(&network)
            .is_some_and(|times| times.len() >= TRIES)
        {
            return Err(Problem::new(
                StatusCode::TOO_MANY_REQUESTS,
                "too many wrong tokens from this address: try again in a minute",
                "wait, then send the right one; the owner of the server can show it",
            )
            .retry_after(WINDOW.as_secs() as u32));
        }
        secrets.of_secret(offered).ok_or_else(|| {
            wrong.entry(network).or_default().push(Instant::now());
            // In the format of fail2ban's filter in docs/serve.md.
            log(&format!("wrong token from {caller}"));
            Problem::new(
                StatusCode::UNAUTHORIZED,
                "this is not the server's token",
                "the owner of the server can show it",
            )
        })
    }

    /// The client behind a trusted proxy: the address that it appended. Those before it came with the request and may be
    /// forged.
    ///
    /// - `peer`: the other end of the connection
    pub(crate) fn caller(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        if !self.proxies.contains(&peer) {
            return peer;
        }
        // Proxies append to the header or add another one.
        let last = headers.get_all("x-forwarded-for").iter().next_back();
        let last = last.and_then(|line| line.to_str().ok()?.rsplit(',').next());
        last.and_then(|address| address.trim().parse::<IpAddr>().ok())
            .map_or(peer, |address| address.to_canonical())
    }
}

/// The token of a request; empty if it has another kind of authorization.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let text = headers
        .get(header::AUTHORIZATION)?
        .to_str()
        .unwrap_or_default();
    match text.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Some(token.trim()),
        // "Basic …" counts as a wrong token, so that a cookie beside it has no effect.
        _ => Some(""),
    }
}

/// The page's cookie.
pub(crate) fn cookie(headers: &HeaderMap) -> Option<&str> {
    let all = headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok());
    all.flat_map(|value| value.split(';')).find_map(|pair| {
        let (name, value) = pair.trim().split_once('=')?;
        (name == COOKIE).then_some(value)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_addresses_are_allowed_and_foreign_hosts_are_refused() {
        let mut guard = Guard {
            hosts: own_names("NAS.example.org"),
            ..Guard::default()
        };
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let here = address("192.168.1.10");
        for (host, to) in [
            ("192.168.1.10:8766", "192.168.1.10"),
            ("[fd00::1]:8766", "fd00::1"),
            ("[FD00:0::1]", "fd00::1"),
            ("[::ffff:10.0.0.2]", "10.0.0.2"),
        ] {
            assert!(guard.allows_host(host, address(to)), "{host}");
            assert!(!guard.allows_host(host, address("192.168.1.11")), "{host}");
        }
        for host in ["nas", "nas.local", "Nas.fritz.box:1", "nas.example.org"] {
            assert!(guard.allows_host(host, here), "{host}");
        }
        for host in [
            "nas.evil.com",
            "evil.local",
            "192.168.1.10.evil.com",
            "nas.local.evil.com",
            "local",
            "",
        ] {
            assert!(!guard.allows_host(host, here), "{host}");
        }
        // A container, whose ports are reached by addresses of another machine.
        guard.hosts = vec![EVERY_ADDRESS.to_owned()];
        assert!(guard.allows_host("192.168.1.10:8766", address("172.17.0.2")));
        assert!(!guard.allows_host("nas.lan", address("172.17.0.2")));
        assert!(own_names("").is_empty() && own_names("a/b").is_empty());
    }
}
