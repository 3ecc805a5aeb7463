//! Which hosts mean this machine alone, or what stands right beside it.

use std::net::{IpAddr, Ipv6Addr};

/// `localhost`, or an address of this machine alone.
pub fn is_loopback_name(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// This machine, or its neighbour on the same link, as the services are that give machines and containers their credentials. No
/// proxy stands between, and none is to see what they say.
pub fn is_beside(host: &str) -> bool {
    /// Amazon's for IPv6, which are no link-local ones: of machines, of containers.
    const AMAZON: [Ipv6Addr; 2] = [
        Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254),
        Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23),
    ];
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let beside = match bare.parse() {
        Ok(IpAddr::V4(address)) => address.is_link_local(),
        Ok(IpAddr::V6(address)) => address.is_unicast_link_local() || AMAZON.contains(&address),
        Err(_) => host.eq_ignore_ascii_case("metadata.google.internal"),
    };
    beside || is_loopback_name(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_that_give_out_credentials_are_beside_this_machine() {
        let beside = ["169.254.169.254", "169.254.170.2", "[fd00:ec2::254]", "[fe80::1]", "127.0.0.1"];
        assert!(beside.into_iter().chain(["Metadata.Google.Internal"]).all(is_beside));
        assert!(
            !["169.255.0.1", "10.0.0.1", "fd00:ec2::1", "metadata.google.internal.evil.example"]
                .into_iter()
                .any(is_beside)
        );
    }

    #[test]
    fn only_loopback_is_this_machine() {
        assert!(
            ["localhost", "LocalHost", "127.0.0.1", "127.8.9.1", "[::1]", "::1"]
                .into_iter()
                .all(is_loopback_name)
        );
        assert!(
            !["", "localhost.evil.example", "10.0.0.1", "[::]", "0.0.0.0"].into_iter().any(is_loopback_name)
        );
    }
}
