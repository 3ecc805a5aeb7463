//! Checks that no country owns.

use super::{Check, Digits, Verdict, compact, luhn};
use sha2::{Digest, Sha256};

pub(crate) const CHECKS: &[Check] = &[
    Check { name: "luhn", random: 0.1, run: |value| Verdict::of(luhn(&Digits::of(value))) },
    Check { name: "mac_address", random: 1.0, run: mac_address },
    Check { name: "bic", random: 0.35, run: bic },
    Check { name: "base58check", random: 1e-9, run: base58check },
    Check { name: "bech32", random: 1e-9, run: bech32 },
    Check { name: "eip55", random: 1e-4, run: eip55 },
    Check { name: "vin", random: 0.09, run: vin },
    Check { name: "geo", random: 0.8, run: geo },
];

/// No device has the broadcast address, or the one of all zeros that stands for none.
fn mac_address(value: &str) -> Verdict {
    let address = compact(value);
    Verdict::of(address.bytes().any(|byte| byte != b'F') && address.bytes().any(|byte| byte != b'0'))
}

/// Places five and six of a BIC are a country (ISO 3166-1, and XK).
fn bic(value: &str) -> Verdict {
    const COUNTRIES: &str = "AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV BW \
BY BZ CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK FM FO FR GA GB GD GE \
GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE JM JO JP KE KG KH KI KM KN KP KR KW \
KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR MS MT MU MV MW MX MY MZ NA NC NE NF NG NI NL NO \
NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW PY QA RE RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX \
SY SZ TC TD TF TG TH TJ TK TL TM TN TO TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS XK YE YT ZA ZM ZW";
    // The place never starts with 0 or 1, and an 8-letter word is more often a word.
    let country =
        value.get(4..6).is_some_and(|code| COUNTRIES.split_ascii_whitespace().any(|known| known == code));
    Verdict::of(country && !value[6..].starts_with(['0', '1']))
}

/// Base58Check of 21 bytes and four of double SHA-256 behind them (Bitcoin's address format).
fn base58check(value: &str) -> Verdict {
    const ALPHABET: &[u8] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
    let mut bytes = [0u8; 25];
    for digit in value.bytes() {
        let Some(place) = ALPHABET.iter().position(|known| *known == digit) else { return Verdict::Invalid };
        let mut carry = place;
        for byte in bytes.iter_mut().rev() {
            carry += usize::from(*byte) * 58;
            *byte = (carry & 0xff) as u8;
            carry >>= 8;
        }
        if carry > 0 {
            return Verdict::Invalid;
        }
    }
    let sum = Sha256::digest(Sha256::digest(&bytes[..21]));
    Verdict::of(sum[..4] == bytes[21..])
}

/// The checksums of BIP 173 (bech32) and BIP 350 (bech32m).
fn bech32(value: &str) -> Verdict {
    const ALPHABET: &[u8] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";
    const GENERATOR: [u32; 5] = [0x3b6a_57b2, 0x2650_8e6d, 0x1ea1_19fa, 0x3d42_33dd, 0x2a14_62b3];
    let one_case = value.bytes().all(|byte| !byte.is_ascii_uppercase())
        || value.bytes().all(|byte| !byte.is_ascii_lowercase());
    let value = value.to_ascii_lowercase();
    let Some((human, data)) = value.rsplit_once('1') else { return Verdict::Invalid };
    let step = |sum: u32, next: u32| {
        let top = sum >> 25;
        let mixed = GENERATOR.iter().enumerate().filter(|(bit, _)| (top >> bit) & 1 == 1);
        mixed.fold(((sum & 0x01ff_ffff) << 5) ^ next, |sum, (_, generator)| sum ^ generator)
    };
    let high = human.bytes().map(|byte| u32::from(byte >> 5));
    let low = human.bytes().map(|byte| u32::from(byte & 31));
    let mut sum = high.chain([0]).chain(low).fold(1, step);
    for byte in data.bytes() {
        let Some(place) = ALPHABET.iter().position(|known| *known == byte) else { return Verdict::Invalid };
        sum = step(sum, place as u32);
    }
    Verdict::of(one_case && matches!(sum, 1 | 0x2bc8_30a3))
}

/// EIP-55: a letter is a capital where the Keccak-256 of the address in small letters has a nibble of 8 or more.
/// Addresses in one case carry no check.
fn eip55(value: &str) -> Verdict {
    let address = &value[2..];
    let has = |kind: fn(&u8) -> bool| address.bytes().any(|byte| kind(&byte));
    if !(has(u8::is_ascii_uppercase) && has(u8::is_ascii_lowercase)) {
        // Zeros and other fillers are nobody's.
        let distinct = address.bytes().collect::<std::collections::BTreeSet<_>>().len();
        return if distinct < 5 { Verdict::Invalid } else { Verdict::Unknown };
    }
    let hash = super::keccak::keccak256(address.to_ascii_lowercase().as_bytes());
    Verdict::of(address.bytes().enumerate().all(|(at, byte)| {
        let nibble = (hash[at / 2] >> (4 * (1 - at % 2))) & 15;
        !byte.is_ascii_alphabetic() || byte.is_ascii_uppercase() == (nibble >= 8)
    }))
}

/// The check digit of North American VINs (49 CFR 565.15); elsewhere place nine is free.
fn vin(value: &str) -> Verdict {
    const WEIGHTS: [u32; 17] = [8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2];
    let letter = |byte: u8| match byte {
        b'0'..=b'9' => u32::from(byte - b'0'),
        b'A'..=b'H' => u32::from(byte - b'A') + 1,
        b'J'..=b'N' => u32::from(byte - b'J') + 1,
        b'P' => 7,
        b'R' => 9,
        _ => u32::from(byte.saturating_sub(b'S')) + 2,
    };
    let digits = value.bytes().filter(u8::is_ascii_digit).count();
    // The last four places are digits with every maker.
    if digits == 17 || !value.bytes().rev().take(4).all(|byte| byte.is_ascii_digit()) {
        return Verdict::Invalid;
    }
    let sum: u32 = value.bytes().zip(WEIGHTS).map(|(byte, weight)| letter(byte) * weight).sum();
    let check = if sum % 11 == 10 { b'X' } else { b'0' + (sum % 11) as u8 };
    match value.as_bytes().get(8) {
        Some(digit) if *digit == check => Verdict::Valid,
        // First places 1 to 5 are North America, where the check is the law.
        _ if value.starts_with(['1', '2', '3', '4', '5']) => Verdict::Invalid,
        _ => Verdict::Unknown,
    }
}

/// A latitude up to 90 degrees and a longitude up to 180.
fn geo(value: &str) -> Verdict {
    let within = |part: Option<&str>, most: f64| {
        let number = part.map(|part| part.trim_matches(|c: char| !c.is_ascii_digit()).parse::<f64>());
        number.is_some_and(|number| number.is_ok_and(|number| number <= most))
    };
    let mut parts = value.split(',');
    Verdict::of(within(parts.next(), 90.0) && within(parts.next(), 180.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_addresses_pass_and_none_with_one_letter_changed() {
        // BIP 13, the genesis block; BIP 173 and BIP 350, test vectors; EIP-55, test cases.
        for (check, address) in [
            (base58check as fn(&str) -> Verdict, "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa"),
            (base58check, "3P14159f73E4gFr7JterCCQh9QjiTjiZrG"),
            (bech32, "BC1QW508D6QEJXTDG4Y5R3ZARVARY0C5XW7KV8F3T4"),
            (bech32, "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqzk5jj0"),
            (eip55, "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359"),
        ] {
            assert_eq!(check(address), Verdict::Valid, "{address}");
            let at = address.len() - 3;
            let other = if &address[at..=at] == "5" { "6" } else { "5" };
            let changed = format!("{}{other}{}", &address[..at], &address[at + 1..]);
            assert_eq!(check(&changed), Verdict::Invalid, "{changed}");
        }
        assert_eq!(eip55("0xfb6916095ca1df60bb79ce92ce3ea74c37c5d359"), Verdict::Unknown);
    }

    #[test]
    fn a_vin_of_north_america_has_its_check_digit_and_others_may() {
        // The example of 49 CFR 565, and ISO 3779's of all ones.
        assert_eq!(vin("1M8GDM9AXKP042788"), Verdict::Valid);
        assert_eq!(vin("1M8GDM9A1KP042788"), Verdict::Invalid);
        assert_eq!(vin("WVWZZZ1JZXW000001"), Verdict::Unknown);
    }

    #[test]
    fn a_bic_names_a_country_and_a_pair_of_degrees_is_on_earth() {
        assert_eq!((bic("COBADEFF"), bic("COBAQQFF")), (Verdict::Valid, Verdict::Invalid));
        assert_eq!((geo("52.52, 13.40"), geo("95.1, 13.4")), (Verdict::Valid, Verdict::Invalid));
    }
}
