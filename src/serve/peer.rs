//! The client of a connection, or behind a proxy.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

/// The source of a request, or a proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Peer {
    /// By TCP.
    Address(IpAddr),
    /// A local program on a Unix socket: `unix`.
    Unix,
}

impl Peer {
    /// The network by which wrong secrets count: 64 bits of IPv6 are one customer of a provider, with any number of addresses.
    pub(crate) fn network(self) -> Self {
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
