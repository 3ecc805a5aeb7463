//! Numbers of companies with remainders by 11 and 10.

use super::{Check, Digits, Verdict, compact};

pub(crate) const CHECKS: &[Check] = &[
    Check { name: "au_acn", random: 0.1, run: au_acn },
    Check { name: "br_cnpj", random: 0.01, run: br_cnpj },
    Check { name: "ch_uid", random: 0.0909, run: ch_uid },
    Check { name: "dk_cvr", random: 0.0818, run: dk_cvr },
    Check { name: "fi_business_id", random: 0.0909, run: fi_business_id },
    Check { name: "kr_brn", random: 0.1, run: kr_brn },
    Check { name: "no_organisation", random: 0.0182, run: no_organisation },
    Check { name: "pl_nip", random: 0.0818, run: pl_nip },
    Check { name: "pl_regon", random: 0.1, run: pl_regon },
    Check { name: "tr_vkn", random: 0.1, run: tr_vkn },
];

/// Australian company number: nine digits, the last the complement to ten of the others weighted by 8 to 1 (Australian
/// Securities and Investments Commission). The even weights make it miss one wrong digit in nine.
fn au_acn(value: &str) -> Verdict {
    let digits = Digits::of(value);
    Verdict::of(
        digits.len() == 9
            && digits.iter().any(|digit| *digit != 0)
            && (digits.weighted(&[8, 7, 6, 5, 4, 3, 2, 1]) + u32::from(digits[8])).is_multiple_of(10),
    )
}

/// Brazilian CNPJ: twelve digits, or from July 2026 also letters (by their ASCII code less 48), and two check digits by
/// 11 (Receita Federal, instrução normativa 2.229/2024).
fn br_cnpj(value: &str) -> Verdict {
    let text = compact(value);
    if text.len() != 14 || text.bytes().all(|byte| byte == b'0') {
        return Verdict::Invalid;
    }
    let check = |len: usize| {
        let weights = [6, 5, 4, 3, 2, 9, 8, 7, 6, 5, 4, 3, 2];
        let used = &weights[weights.len() - len..];
        let sum: u32 = text.bytes().zip(used).map(|(byte, weight)| u32::from(byte - b'0') * weight).sum();
        u8::try_from(if sum % 11 < 2 { 0 } else { 11 - sum % 11 }).unwrap_or_default() + b'0'
    };
    let bytes = text.as_bytes();
    Verdict::of(check(12) == bytes[12] && check(13) == bytes[13])
}

/// Swiss UID: `CHE` and nine digits, weighted by 5, 4, 3, 2, 7, 6, 5, 4, 1 a multiple of 11 (eCH-0097).
fn ch_uid(value: &str) -> Verdict {
    let digits = Digits::of(value);
    Verdict::of(digits.len() == 9 && digits.weighted(&[5, 4, 3, 2, 7, 6, 5, 4, 1]).is_multiple_of(11))
}

/// Danish CVR number: eight digits, not starting with 0, weighted by 2, 7, 6, 5, 4, 3, 2, 1 a multiple of 11
/// (Erhvervsstyrelsen).
fn dk_cvr(value: &str) -> Verdict {
    let digits = Digits::of(value);
    let sum = digits.weighted(&[2, 7, 6, 5, 4, 3, 2, 1]);
    Verdict::of(digits.len() == 8 && digits[0] != 0 && sum.is_multiple_of(11))
}

/// Finnish Y-tunnus: seven digits weighted by 7, 9, 10, 5, 8, 4, 2 and a check digit by 11 (Patent and Registration
/// Office).
fn fi_business_id(value: &str) -> Verdict {
    let digits = Digits::of(value);
    let sum = digits.weighted(&[7, 9, 10, 5, 8, 4, 2, 1]);
    Verdict::of(digits.len() == 8 && digits.iter().any(|digit| *digit != 0) && sum.is_multiple_of(11))
}

/// Korean business registration number: ten digits weighted by 1, 3, 7, 1, 3, 7, 1, 3, 5, the tens of the last product
/// added once more (National Tax Service).
fn kr_brn(value: &str) -> Verdict {
    let digits = Digits::of(value);
    if digits.len() != 10 || digits.iter().all(|digit| *digit == 0) {
        return Verdict::Invalid;
    }
    let sum = digits.weighted(&[1, 3, 7, 1, 3, 7, 1, 3, 5, 1]) + u32::from(digits[8]) * 5 / 10;
    Verdict::of(sum.is_multiple_of(10))
}

/// Norwegian organisation number: nine digits that start with 8 or 9, weighted by 3, 2, 7, 6, 5, 4, 3, 2, 1 a multiple of
/// 11 (Brønnøysundregistrene).
fn no_organisation(value: &str) -> Verdict {
    let digits = Digits::of(value);
    let sum = digits.weighted(&[3, 2, 7, 6, 5, 4, 3, 2, 1]);
    Verdict::of(digits.len() == 9 && digits[0] >= 8 && sum.is_multiple_of(11))
}

/// Polish NIP: ten digits, the last the remainder by 11 of the others weighted by 6, 5, 7, 2, 3, 4, 5, 6, 7; the first is
/// never 0 (ustawa of 13 October 1995 on the identification of taxpayers).
fn pl_nip(value: &str) -> Verdict {
    let digits = Digits::of(value);
    let rest = digits.weighted(&[6, 5, 7, 2, 3, 4, 5, 6, 7]) % 11;
    Verdict::of(digits.len() == 10 && digits[0] != 0 && rest == u32::from(digits[9]))
}

/// Polish REGON of nine digits, or of fourteen that begin with one (rozporządzenie of 30 November 2015 on REGON); a
/// remainder of 10 counts as 0.
fn pl_regon(value: &str) -> Verdict {
    let digits = Digits::of(value);
    let fits = |len: usize, weights: &[u32]| digits.weighted(weights) % 11 % 10 == u32::from(digits[len - 1]);
    let some = digits.iter().any(|digit| *digit != 0);
    Verdict::of(match digits.len() {
        9 => some && fits(9, &[8, 9, 2, 3, 4, 5, 6, 7]),
        14 => {
            some && fits(9, &[8, 9, 2, 3, 4, 5, 6, 7]) && fits(14, &[2, 4, 8, 5, 0, 9, 7, 3, 6, 1, 2, 4, 8])
        }
        _ => false,
    })
}

/// Turkish tax number (vergi kimlik numarası): ten digits; each of the first nine, moved on by its place, is multiplied by
/// a power of two modulo 9 (Gelir İdaresi Başkanlığı).
fn tr_vkn(value: &str) -> Verdict {
    let digits = Digits::of(value);
    if digits.len() != 10 || digits.iter().all(|digit| *digit == 0) {
        return Verdict::Invalid;
    }
    let sum: u32 = (1..10u32)
        .zip(digits.iter())
        .map(|(place, digit)| {
            let moved = (u32::from(*digit) + 10 - place) % 10;
            match moved * (1 << (10 - place)) % 9 {
                0 if moved != 0 => 9,
                rest => rest,
            }
        })
        .sum();
    Verdict::of((sum + u32::from(digits[9])).is_multiple_of(10))
}

#[cfg(test)]
mod tests {
    use super::super::proof::{Case, prove};

    #[test]
    fn published_numbers_pass_mistyped_ones_do_not_and_random_ones_as_often_as_stated() {
        let case = |name, published, form, errors| Case { name, published, form, errors, swaps: 0.75 };
        prove(&[
            // The commission works through the first and lists the others as valid.
            case("au_acn", &["004 085 616", "000 000 019", "010 499 966"], "ddddddddd", 0.85),
            // The second is the example of the Receita Federal for numbers with letters.
            case("br_cnpj", &["11.222.333/0001-81"], "dd.ddd.ddd/dddd-dd", 1.0),
            case("ch_uid", &["100.155.212", "109.322.551"], "CHE-ddd.ddd.ddd", 1.0),
            case("dk_cvr", &["13585628"], "dddddddd", 1.0),
            case("fi_business_id", &["2077474-0", "0737546-2"], "ddddddd-d", 1.0),
            case("kr_brn", &["116-82-00276", "124-81-00998"], "ddd-dd-ddddd", 1.0),
            case("no_organisation", &["988 077 917"], "ddddddddd", 1.0),
            // pl.wikipedia on both numbers.
            case("pl_nip", &["123-456-32-18", "856-734-62-15"], "dddddddddd", 1.0),
            case("pl_regon", &["123456785", "12345678512347"], "ddddddddd", 0.95),
            case("tr_vkn", &["4540536920"], "dddddddddd", 0.85),
        ]);
    }

    #[test]
    fn a_number_with_letters_is_checked_by_their_codes() {
        use super::*;
        // The example that the Receita Federal publishes.
        assert_eq!(br_cnpj("12.ABC.345/01DE-35"), Verdict::Valid);
        assert_eq!(br_cnpj("12.ABD.345/01DE-35"), Verdict::Invalid);
    }
}
