//! Which hosts mean this machine alone.

use std::net::IpAddr;

/// `localhost`, or an address of this machine alone.
pub fn is_loopback_name(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

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
