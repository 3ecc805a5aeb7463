//! Values of all entities that are replaced by default, made with right check digits and printed as people print them.

use proptest::prelude::*;
use proptest::sample::select;
use sha2::{Digest, Sha256};

/// A value, and the words before it without which some are just numbers.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    pub(crate) entity: &'static str,
    pub(crate) lead: &'static str,
    pub(crate) value: String,
}

impl Said {
    /// Whether one of two values holds the other, however they are printed.
    pub(crate) fn is_alike(&self, other: &Said) -> bool {
        let letters = |said: &Said| -> String {
            said.value.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_uppercase()).collect()
        };
        let (a, b) = (letters(self), letters(other));
        a.contains(&b) || b.contains(&a)
    }
}

/// What is made.
pub(crate) const ENTITIES: [&str; 18] = [
    "ABA_ROUTING_NUMBER",
    "ADDRESS",
    "CREDIT_CARD",
    "CRYPTO",
    "EMAIL_ADDRESS",
    "IBAN_CODE",
    "IMEI",
    "IP_ADDRESS",
    "MAC_ADDRESS",
    "MEDICAL_LICENSE",
    "PHONE_NUMBER",
    "US_EIN",
    "US_ITIN",
    "US_MBI",
    "US_NPI",
    "US_PASSPORT",
    "US_SSN",
    "VIN",
];

/// Any of them.
pub(crate) fn said() -> impl Strategy<Value = Said> {
    let of = |entity: &'static str, lead: &'static str, values: BoxedStrategy<String>| {
        values.prop_map(move |value| Said { entity, lead, value })
    };
    prop_oneof![
        of("EMAIL_ADDRESS", "", email()),
        of("CREDIT_CARD", "", card()),
        of("IBAN_CODE", "", iban()),
        of("PHONE_NUMBER", "Call ", phone()),
        of("IP_ADDRESS", "", ip()),
        of("MAC_ADDRESS", "", mac()),
        of("CRYPTO", "wallet ", crypto()),
        of("IMEI", "IMEI ", grouped(luhn("35[0-9]{12}", ""), &[2, 6, 6, 1], "-")),
        of("VIN", "VIN ", vin()),
        of("US_SSN", "SSN ", grouped(ssn(), &[3, 2, 4], "- ")),
        of("US_ITIN", "ITIN ", grouped("9[0-9]{2}7[0-9]{5}".boxed(), &[3, 2, 4], "-")),
        of("US_EIN", "EIN ", "(12|20|36|45|52|94)-[0-9]{7}".boxed()),
        of("US_PASSPORT", "Passport number ", "[A-Z][0-9]{8}".boxed()),
        of("US_NPI", "NPI ", luhn("1[0-9]{8}", "80840")),
        of("MEDICAL_LICENSE", "DEA number ", dea()),
        of("US_MBI", "Medicare ", "[1-9][AC-HJKMNP-RT-Y]{2}[0-9]-[AC-HJKMNP-RT-Y]{2}[0-9]-[AC-HJKMNP-RT-Y]{2}[0-9]{2}".boxed()),
        of("ABA_ROUTING_NUMBER", "routing number ", aba()),
        of("ADDRESS", "I live at ", "[1-9][0-9]{1,3} (Maple|Oak Hill|Harbor) (Street|Avenue|Lane), (Springfield|Salem), (IL|OR) [1-9][0-9]{4}".boxed()),
    ]
}

fn digits(text: &str) -> impl Iterator<Item = u32> + '_ {
    text.chars().map(|c| c.to_digit(36).unwrap_or(0))
}

/// With Luhn's check digit (ISO/IEC 7812-1), computed over `before` too.
fn luhn(body: &'static str, before: &'static str) -> BoxedStrategy<String> {
    let with = move |body: String| {
        let all = format!("{before}{body}");
        let doubled = digits(&all).collect::<Vec<_>>().into_iter().rev().enumerate();
        let sum: u32 = doubled.map(|(at, d)| if at % 2 == 0 { d * 2 / 10 + d * 2 % 10 } else { d }).sum();
        format!("{body}{}", (10 - sum % 10) % 10)
    };
    body.prop_map(with).boxed()
}

/// As it is, or in groups with one of these signs between them.
fn grouped(
    values: BoxedStrategy<String>,
    groups: &'static [usize],
    signs: &'static str,
) -> BoxedStrategy<String> {
    let signs: Vec<String> = signs.chars().map(String::from).chain([String::new()]).collect();
    (values, select(signs)).prop_map(|(value, sign)| parts(&value, groups).join(&sign)).boxed()
}

/// The last group is the rest, the last length repeats.
fn parts(value: &str, groups: &[usize]) -> Vec<String> {
    let (mut rest, mut out) = (value, Vec::new());
    for at in 0.. {
        let len = groups[at.min(groups.len() - 1)].min(rest.len());
        if len == 0 {
            break;
        }
        out.push(rest[..len].to_owned());
        rest = &rest[len..];
    }
    out
}

fn email() -> BoxedStrategy<String> {
    "[a-z]{2,8}([._+-][a-z]{2,8})?[0-9]{0,2}@([a-z]{3,9}-)?[a-z]{3,9}\\.(org|com|net|de|co\\.uk)".boxed()
}

fn card() -> BoxedStrategy<String> {
    let sixteen = select(vec![
        "4[0-9]{14}",
        "5[1-5][0-9]{13}",
        "222[1-9][0-9]{11}",
        "6011[0-9]{11}",
        "35[3-8][0-9]{12}",
    ]);
    prop_oneof![
        4 => grouped(sixteen.prop_flat_map(|body| luhn(body, "")).boxed(), &[4], "- "),
        1 => grouped(luhn("3[47][0-9]{12}", ""), &[4, 6, 5], "- "),
    ]
    .boxed()
}

/// With the check digits of ISO 13616.
fn iban() -> BoxedStrategy<String> {
    let with = |(country, account): (&'static str, String)| {
        let turned = format!("{account}{country}00");
        let rest = digits(&turned).fold(0, |rest, d| (rest * if d > 9 { 100 } else { 10 } + d) % 97);
        format!("{country}{:02}{account}", 98 - rest)
    };
    let accounts = prop_oneof![
        (Just("DE"), "[0-9]{18}"),
        (Just("GB"), "[A-Z]{4}[0-9]{14}"),
        (Just("NL"), "[A-Z]{4}[0-9]{10}"),
    ];
    grouped(accounts.prop_map(with).boxed(), &[4], " ")
}

fn phone() -> BoxedStrategy<String> {
    prop_oneof![
        "\\+1 (212|415|312|617)-[2-9]([02-9][0-9]|1[02-9])-[0-9]{4}",
        "\\((212|415|312|617)\\) [2-9]([02-9][0-9]|1[02-9])-[0-9]{4}",
        "(212|415|312|617)[.-][2-9]([02-9][0-9]|1[02-9])[.-][0-9]{4}",
        "\\+49 30 [2-9][0-9]{6}",
        "\\+44 20 7[0-9]{3} [0-9]{4}",
        "\\+33 1 4[0-9]( [0-9]{2}){3}",
    ]
    .boxed()
}

fn ip() -> BoxedStrategy<String> {
    prop_oneof![
        "(8[0-9]|9[1-7])(\\.(1[0-9]{2}|[1-9][0-9])){3}",
        "2a0[0-7]:[1-9a-f][0-9a-f]{3}:[1-9a-f][0-9a-f]{2}::[1-9a-f][0-9a-f]{0,3}"
    ]
    .boxed()
}

fn mac() -> BoxedStrategy<String> {
    let six = "00[1-9A-F][0-9A-F]{9}".prop_map(|hex| parts(&hex, &[2]));
    let printed = (six, select(vec![":", "-"]), any::<bool>());
    printed
        .prop_map(
            |(pairs, sign, small)| if small { pairs.join(sign).to_lowercase() } else { pairs.join(sign) },
        )
        .boxed()
}

/// Addresses of Bitcoin, with their hash, and the examples of EIP-55.
fn crypto() -> BoxedStrategy<String> {
    let ether = vec![
        "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
        "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
        "0xdbF03B407c01E7cD3CBea99509d93f8DDDC8C6FB",
        "0xD1220A0cf47c7B9Be7A2E6BA89F429762e7b9aDb",
    ];
    let bitcoin = (select(vec![0_u8, 5]), any::<[u8; 20]>()).prop_map(|(version, hash)| {
        let mut bytes = [&[version][..], &hash].concat();
        let sum = Sha256::digest(Sha256::digest(&bytes));
        bytes.extend_from_slice(&sum[..4]);
        base58(&bytes)
    });
    prop_oneof![select(ether).prop_map(str::to_owned), bitcoin].boxed()
}

fn base58(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 58] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
    let mut out = Vec::new();
    for byte in bytes {
        let mut carry = usize::from(*byte);
        for digit in &mut out {
            carry += *digit * 256;
            *digit = carry % 58;
            carry /= 58;
        }
        while carry > 0 {
            out.push(carry % 58);
            carry /= 58;
        }
    }
    out.extend(bytes.iter().take_while(|byte| **byte == 0).map(|_| 0));
    out.iter().rev().map(|digit| char::from(LETTERS[*digit])).collect()
}

/// With the check digit of 49 CFR 565.
fn vin() -> BoxedStrategy<String> {
    let with = |(front, back): (String, String)| {
        let weights = [8, 7, 6, 5, 4, 3, 2, 10, 9, 8, 7, 6, 5, 4, 3, 2];
        let value = |c: char| match c {
            'A'..='H' => u32::from(c) - 64,
            'J'..='N' => u32::from(c) - 73,
            'P' => 7,
            'R' => 9,
            'S'..='Z' => u32::from(c) - 81,
            digit => digit.to_digit(10).unwrap_or(0),
        };
        let sum: u32 =
            front.chars().chain(back.chars()).zip(weights).map(|(c, weight)| value(c) * weight).sum();
        let check = if sum % 11 == 10 { 'X' } else { char::from_digit(sum % 11, 10).unwrap_or('0') };
        format!("{front}{check}{back}")
    };
    ("1[A-HJ-NPR-Z][A-HJ-NPR-Z0-9]{6}", "[A-HJ-NPR-TV-Y1-9][A-HJ-NPR-Z0-9]{2}[0-9]{5}").prop_map(with).boxed()
}

fn ssn() -> BoxedStrategy<String> {
    "(2[0-9]{2}|5[0-9]{2})(2[0-9]|[3-9][1-9])[1-9][0-9]{3}".boxed()
}

/// With the check digit of the Drug Enforcement Administration.
fn dea() -> BoxedStrategy<String> {
    let with = |(letters, number): (String, String)| {
        let d: Vec<u32> = digits(&number).collect();
        format!("{letters}{number}{}", (d[0] + d[2] + d[4] + 2 * (d[1] + d[3] + d[5])) % 10)
    };
    ("[ABFM][A-Z]", "[0-9]{6}").prop_map(with).boxed()
}

/// With the check digit of the American Bankers Association.
fn aba() -> BoxedStrategy<String> {
    let with = |body: String| {
        let sum: u32 = digits(&body).zip([3, 7, 1, 3, 7, 1, 3, 7]).map(|(d, weight)| d * weight).sum();
        format!("{body}{}", (10 - sum % 10) % 10)
    };
    grouped("(0[1-9]|1[0-2]|2[1-9])[0-9]{6}".prop_map(with).boxed(), &[4, 4, 1], "-")
}
