//! Who is at the other end of a connection, or behind the proxy that is.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use super::devices::Rights;

/// Where a request comes from, or a proxy that passes requests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Peer {
    /// By TCP.
    Address(IpAddr),
    /// Somebody who may open the socket's file: `unix`.
    Unix,
}

impl Peer {
    /// As it is counted: an IPv6 network of 64 bits is one customer of a provider, with as many addresses as they like.
    pub(super) fn network(self) -> Self {
        match self {
            Self::Address(IpAddr::V6(address)) => {
                Self::Address(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into())
            }
            other => other,
        }
    }
}

impl FromStr for Peer {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "unix" {
            return Ok(Self::Unix);
        }
        let address = text.parse::<IpAddr>().map_err(|_| {
            format!("expected an address such as 127.0.0.1 or fd00::2, or unix, found \"{text}\"")
        })?;
        Ok(Self::Address(address.to_canonical()))
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Unix => f.write_str("unix"),
        }
    }
}

/// Who asks, as limits count it: all guests have one cookie, so that each of their addresses is one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Caller {
    pub(super) rights: Rights,
    /// As [`Peer::network`] says.
    pub(super) network: Peer,
}

impl Caller {
    pub(super) fn is_guest(self) -> bool {
        self.rights == Rights::Listen
    }
}
