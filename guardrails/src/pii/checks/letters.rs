//! Numbers that end in, or are made of, letters.

use super::dates::{is_day, number};
use super::{Check, Digits, Verdict, compact};

pub(crate) const CHECKS: &[Check] = &[
    Check { name: "es_cif", random: 0.0267, run: es_cif },
    Check { name: "es_nif", random: 0.0385, run: es_nif },
    Check { name: "fi_personal_identity_code", random: 0.00102, run: fi_personal_identity_code },
    Check { name: "ie_pps", random: 0.0385, run: ie_pps },
    Check { name: "in_gstin", random: 0.0278, run: in_gstin },
    Check { name: "it_fiscal_code", random: 0.0385, run: it_fiscal_code },
    Check { name: "mx_curp", random: 0.00365, run: mx_curp },
    Check { name: "sg_nric", random: 0.0385, run: sg_nric },
    Check { name: "sg_uen", random: 0.0385, run: sg_uen },
];

/// The letter at `at` of `table`.
fn letter(table: &str, at: u32) -> Option<u8> {
    usize::try_from(at).ok().and_then(|at| table.as_bytes().get(at)).copied()
}

/// Spanish NIF of a person, DNI or NIE: up to eight digits, with X, Y, Z before them counting as 0, 1, 2 and K, L, M as
/// nothing; the letter is that of the remainder by 23 (real decreto 1553/2005; orden INT/2058/2008).
fn es_nif(value: &str) -> Verdict {
    let text = compact(value);
    let (Some(first), Some(last)) = (text.bytes().next(), text.bytes().last()) else {
        return Verdict::Invalid;
    };
    let prefix = match first {
        b'Y' => 10_000_000,
        b'Z' => 20_000_000,
        b'X' | b'K' | b'L' | b'M' | b'0'..=b'9' => 0,
        _ => return Verdict::Invalid,
    };
    let digits = Digits::of(&text);
    let expected = usize::from(first.is_ascii_uppercase()) + digits.len() + 1;
    if !(7..=8).contains(&digits.len()) || text.len() != expected || number(&digits) == 0 {
        return Verdict::Invalid;
    }
    Verdict::of(letter("TRWAGMYFPDXBNJZSQVHLCKE", (prefix + number(&digits)) % 23) == Some(last))
}

/// Spanish NIF of a body (once CIF): a letter for its kind, seven digits and a check digit or its letter, by kind (orden
/// EHA/451/2008).
fn es_cif(value: &str) -> Verdict {
    let text = compact(value);
    let digits = Digits::of(text.get(1..8).unwrap_or_default());
    if text.len() != 9 || digits.len() != 7 {
        return Verdict::Invalid;
    }
    let doubled = |digit: u8| u32::from(digit) * 2 / 10 + u32::from(digit) * 2 % 10;
    let sum: u32 = digits
        .iter()
        .enumerate()
        .map(|(at, digit)| if at % 2 == 0 { doubled(*digit) } else { u32::from(*digit) })
        .sum();
    let check = (10 - sum % 10) % 10;
    let (kind, last) = (text.as_bytes()[0], text.as_bytes()[8]);
    let as_digit = letter("0123456789", check) == Some(last);
    let as_letter = letter("JABCDEFGHI", check) == Some(last);
    Verdict::of(match kind {
        b'A' | b'B' | b'E' | b'H' => as_digit,
        b'K' | b'P' | b'Q' | b'R' | b'S' | b'N' | b'W' => as_letter,
        b'C' | b'D' | b'F' | b'G' | b'J' | b'U' | b'V' => as_digit || as_letter,
        _ => false,
    })
}

/// Finnish personal identity code: day of birth, a sign for the century (+ for 1800; - and U to Y for 1900; A to F for
/// 2000, all new ones since 2023), three digits and one of 31 characters by the remainder of the nine digits by 31
/// (Digital and Population Data Services Agency).
fn fi_personal_identity_code(value: &str) -> Verdict {
    let text = value.trim();
    if !text.is_ascii() || text.len() != 11 {
        return Verdict::Invalid;
    }
    let upper = text.to_ascii_uppercase();
    let century = match upper.as_bytes()[6] {
        b'+' => 1800,
        b'-' | b'U'..=b'Y' => 1900,
        b'A'..=b'F' => 2000,
        _ => return Verdict::Invalid,
    };
    let digits = Digits::of(&format!("{}{}", &upper[..6], &upper[7..10]));
    if digits.len() != 9 || number(&digits[6..]) < 2 {
        return Verdict::Invalid;
    }
    let born = is_day(century + number(&digits[4..6]), number(&digits[2..4]), number(&digits[..2]));
    let check = letter("0123456789ABCDEFHJKLMNPRSTUVWXY", number(&digits) % 31);
    Verdict::of(born && check == upper.bytes().last())
}

/// Irish PPS number: seven digits weighted by 8 to 2, a second letter of new numbers by 9, and the letter of the
/// remainder by 23 (Department of Social Protection). The old second letters W, T and X are not counted.
fn ie_pps(value: &str) -> Verdict {
    let text = compact(value);
    let digits = Digits::of(text.get(..7).unwrap_or_default());
    let second = match text.as_bytes().get(8) {
        Some(second @ b'A'..=b'I') => u32::from(second - b'A') + 1,
        Some(b'W' | b'T' | b'X') | None => 0,
        Some(_) => return Verdict::Invalid,
    };
    if digits.len() != 7 || !(8..=9).contains(&text.len()) {
        return Verdict::Invalid;
    }
    let rest = (digits.weighted(&[8, 7, 6, 5, 4, 3, 2]) + 9 * second) % 23;
    Verdict::of(letter("WABCDEFGHIJKLMNOPQRSTUV", rest) == text.as_bytes().get(7).copied())
}

/// Indian GSTIN: state, PAN, entity, `Z` and Luhn's formula in base 36 over all (GST Network).
fn in_gstin(value: &str) -> Verdict {
    let text = compact(value);
    if text.len() != 15 {
        return Verdict::Invalid;
    }
    let code =
        |byte: u8| if byte.is_ascii_digit() { u32::from(byte - b'0') } else { u32::from(byte - b'A') + 10 };
    let sum: u32 = text
        .bytes()
        .take(14)
        .zip([1, 2].iter().cycle())
        .map(|(byte, factor)| code(byte) * factor / 36 + code(byte) * factor % 36)
        .sum();
    Verdict::of(text.bytes().last().map(code) == Some((36 - sum % 36) % 36))
}

/// Italian codice fiscale of a person: fifteen characters by two tables, for odd and even places, and the letter of the sum
/// by 26 (decreto ministeriale of 12 March 1974). Digits may be replaced by letters of their own where two persons would
/// share a code. A wrong letter says that it is mistyped or made up; nothing else has that form, so it proves nothing.
fn it_fiscal_code(value: &str) -> Verdict {
    const ODD: [u32; 26] =
        [1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23];
    let text = compact(value);
    if text.len() != 16 {
        return Verdict::Invalid;
    }
    let rank = |byte: u8| if byte.is_ascii_digit() { byte - b'0' } else { byte - b'A' };
    let sum: u32 = text
        .bytes()
        .take(15)
        .enumerate()
        .map(|(at, byte)| if at % 2 == 0 { ODD[usize::from(rank(byte))] } else { u32::from(rank(byte)) })
        .sum();
    let fits = letter("ABCDEFGHIJKLMNOPQRSTUVWXYZ", sum % 26) == text.bytes().last();
    if fits { Verdict::Valid } else { Verdict::Unknown }
}

/// Mexican CURP: four letters of the name, day of birth, sex, state, three consonants, one character that tells the
/// century, and a check digit over the alphabet with Ñ weighted by 18 to 2 (RENAPO, instructivo normativo).
fn mx_curp(value: &str) -> Verdict {
    const ALPHABET: &str = "0123456789ABCDEFGHIJKLMN\x00OPQRSTUVWXYZ";
    let text = compact(value);
    if text.len() != 18 {
        return Verdict::Invalid;
    }
    let digits = Digits::of(&text[4..10]);
    let born = digits.len() == 6 && is_day(number(&digits[..2]), number(&digits[2..4]), number(&digits[4..]));
    let sum: usize = text
        .bytes()
        .take(17)
        .zip((2..=18).rev())
        .map(|(byte, weight)| ALPHABET.bytes().position(|known| known == byte).unwrap_or(0) * weight)
        .sum();
    let check = u8::try_from((10 - sum % 10) % 10).ok().map(|digit| b'0' + digit);
    Verdict::of(born && text.bytes().last() == check)
}

/// Singaporean NRIC and FIN: S or T for citizens, F, G and (from 2022) M for others, seven digits weighted by 2, 7, 6, 5,
/// 4, 3, 2 and a letter by the remainder by 11; T and G add 4, M adds 3. The authority has never printed the rule, so
/// that a wrong letter (a mistyped or made-up number) proves nothing.
fn sg_nric(value: &str) -> Verdict {
    let text = compact(value);
    let digits = Digits::of(text.get(1..8).unwrap_or_default());
    if text.len() != 9 || digits.len() != 7 {
        return Verdict::Invalid;
    }
    let (offset, table) = match text.as_bytes()[0] {
        b'S' => (0, "JZIHGFEDCBA"),
        b'T' => (4, "JZIHGFEDCBA"),
        b'F' => (0, "XWUTRQPNMLK"),
        b'G' => (4, "XWUTRQPNMLK"),
        b'M' => (3, "XWUTRQPNJLK"),
        _ => return Verdict::Invalid,
    };
    let rest = (digits.weighted(&[2, 7, 6, 5, 4, 3, 2]) + offset) % 11;
    if letter(table, rest) == text.bytes().last() { Verdict::Valid } else { Verdict::Unknown }
}

/// Singaporean unique entity number: eight digits (businesses) or a year and five digits (local companies), each with a
/// letter by 11; or a letter for the century, the year, two letters for the kind, four digits and a letter (ACRA; OECD,
/// tax identification numbers, Singapore).
fn sg_uen(value: &str) -> Verdict {
    const OTHERS: &str = "ABCDEFGHJKLMNPQRSTUVWX0123456789";
    let text = compact(value);
    let last = text.bytes().last();
    let digits = Digits::of(&text);
    let fits = match (text.len(), digits.len()) {
        (9, 8) => letter("XMKECAWLJDB", digits.weighted(&[10, 4, 9, 3, 8, 2, 7, 1]) % 11) == last,
        (10, 9) => letter("ZKCMDNERGWH", digits.weighted(&[10, 8, 6, 4, 9, 7, 5, 3, 1]) % 11) == last,
        (10, 6) => {
            let rank = |byte: u8| OTHERS.bytes().position(|known| known == byte).unwrap_or(0);
            let weights = [4, 3, 5, 3, 10, 2, 2, 5, 7];
            let sum: usize = text.bytes().zip(weights).map(|(byte, weight)| rank(byte) * weight).sum();
            // 6 is -5 by 11.
            u32::try_from((sum + 6) % 11).ok().and_then(|rest| letter(OTHERS, rest)) == last
        }
        _ => return Verdict::Invalid,
    };
    Verdict::of(fits)
}

#[cfg(test)]
mod tests {
    use super::super::proof::{Case, prove};
    use super::*;

    #[test]
    fn published_numbers_pass_mistyped_ones_do_not_and_random_ones_as_often_as_stated() {
        let case = |name, published, form, errors| Case { name, published, form, errors, swaps: 0.75 };
        prove(&[
            // The first stands on the police's specimen card; the others are es.wikipedia's.
            case("es_nif", &["12345678Z", "X1234567L", "54362315-K"], "ddddddddl", 0.95),
            // es.wikipedia "Código de identificación fiscal" works through the first. The letter in front is not checked.
            case("es_cif", &["A58818501", "J99216582"], "ldddddddx", 0.85),
            // The agency's example.
            case("fi_personal_identity_code", &["131052-308T"], "dddddd-dddx", 0.9),
            // The first two are the Commission's examples of Irish TINs.
            case("ie_pps", &["1234567T", "1234567FA", "6433435OA"], "dddddddl", 0.85),
            case("in_gstin", &["27AAPFU0939F1ZV"], "ddlllllddddl1Zx", 1.0),
            // it.wikipedia "Codice fiscale".
            case("it_fiscal_code", &["MRTMTT25D09F205Z", "RSSMRA85T10A562S"], "llllllddlddldddl", 1.0),
            // RENAPO's example; letters ten apart are not told apart.
            case("mx_curp", &["BOXW310820HNERXN09"], "llllddddddHDFlllxd", 0.8),
            case("sg_nric", &["S1234567D", "T1234567J", "G1234567X", "F1234567N"], "Sdddddddl", 0.9),
            case("sg_uen", &["00192200M", "197401143C", "T01FC6132D", "S16FC0121D"], "ddddddddl", 0.85),
        ]);
    }

    #[test]
    fn every_century_sign_is_read_and_none_is_invented() {
        for sign in ["-", "U", "V", "W", "X", "Y", "A", "B", "C", "D", "E", "F", "+"] {
            assert_eq!(fi_personal_identity_code(&format!("131052{sign}308T")), Verdict::Valid, "{sign}");
        }
        assert_eq!(fi_personal_identity_code("131052G308T"), Verdict::Invalid);
        // 1900 was no leap year, 2000 was one.
        assert_eq!(fi_personal_identity_code("290200-308T"), Verdict::Invalid);
    }
}
