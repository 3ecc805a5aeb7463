//! Numbers without a check digit whose form leaves out so much that it is evidence.

use super::dates::number;
use super::{Check, Digits, Verdict, compact};

pub(crate) const CHECKS: &[Check] = &[
    Check { name: "es_social_security", random: 0.01, run: es_social_security },
    Check { name: "uk_nino", random: 0.552, run: uk_nino },
    Check { name: "uk_postcode", random: 0.18, run: uk_postcode },
];

/// Postal areas of the United Kingdom, the Crown dependencies and Gibraltar (Royal Mail).
const AREAS: &str = " AB AL B BA BB BD BH BL BN BR BS BT CA CB CF CH CM CO CR CT CV CW DA DD DE DG DH DL DN DT DY E EC EH EN EX FK FY G GL GU GX GY HA HD HG HP HR HS HU HX IG IM IP IV JE KA KT KW KY L LA LD LE LL LN LS LU M ME MK ML N NE NG NN NP NR NW OL OX PA PE PH PL PO PR RG RH RM S SA SE SG SK SL SM SN SO SP SR SS ST SW SY TA TD TF TN TQ TR TS TW UB W WA WC WD WF WN WR WS WV YO ZE ";

/// British National Insurance number: which letters and pairs of letters are issued (HMRC, NIM39110). Not D, F, I, Q, U, V
/// at all, not O as the second, and seven pairs are kept for other uses.
fn uk_nino(value: &str) -> Verdict {
    let text = compact(value);
    let Some(pair) = text.get(..2) else { return Verdict::Invalid };
    Verdict::of(
        !pair.contains(['D', 'F', 'I', 'Q', 'U', 'V'])
            && !pair.ends_with('O')
            && !matches!(pair, "BG" | "GB" | "KN" | "NK" | "NT" | "TN" | "ZZ"),
    )
}

/// British postcode: whether its first letters are a postal area.
fn uk_postcode(value: &str) -> Verdict {
    let text = compact(value);
    let area = text.split(|c: char| c.is_ascii_digit()).next().unwrap_or_default();
    Verdict::of(!area.is_empty() && AREAS.contains(&format!(" {area} ")))
}

/// Spanish número de la Seguridad Social: province, up to eight digits and the remainder of both by 97; with less than
/// eight, they follow the province without zeros between (Tesorería General de la Seguridad Social).
fn es_social_security(value: &str) -> Verdict {
    let digits = Digits::of(value);
    if digits.len() != 12 {
        return Verdict::Invalid;
    }
    let (province, serial) = (u64::from(number(&digits[..2])), u64::from(number(&digits[2..10])));
    let body =
        if serial < 10_000_000 { province * 10_000_000 + serial } else { province * 100_000_000 + serial };
    Verdict::of(province != 0 && serial != 0 && body % 97 == u64::from(number(&digits[10..])))
}

#[cfg(test)]
mod tests {
    use super::super::proof::{Case, prove};
    use super::*;

    #[test]
    fn published_numbers_pass_and_random_ones_as_often_as_stated() {
        prove(&[
            Case {
                name: "es_social_security",
                published: &["28/12345678/40"],
                form: "dddddddddddd",
                errors: 0.97,
                swaps: 0.9,
            },
            Case {
                name: "uk_nino",
                published: &["AB 12 34 56 C"],
                form: "lldddddd",
                errors: 0.0,
                swaps: 0.0,
            },
            Case {
                name: "uk_postcode",
                published: &["SW1A 1AA", "EC1A 1BB"],
                form: "lld dll",
                errors: 0.0,
                swaps: 0.0,
            },
        ]);
    }

    #[test]
    fn pairs_that_are_kept_for_other_uses_are_refused() {
        for number in ["BG123456A", "GB123456A", "QQ123456C", "AO123456A", "DA123456A"] {
            assert_eq!(uk_nino(number), Verdict::Invalid, "{number}");
        }
    }
}
