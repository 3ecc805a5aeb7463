//! Checks that no country owns.

use super::{Check, Digits, Verdict, compact, luhn};

pub(crate) const CHECKS: &[Check] = &[
    Check { name: "luhn", random: 0.1, run: |value| Verdict::of(luhn(&Digits::of(value))) },
    Check { name: "mac_address", random: 1.0, run: mac_address },
];

/// No device has the broadcast address, or the one of all zeros that stands for none.
fn mac_address(value: &str) -> Verdict {
    let address = compact(value);
    Verdict::of(address.bytes().any(|byte| byte != b'F') && address.bytes().any(|byte| byte != b'0'))
}
