//! What the packs promise together; each row's own examples run where packs are read.

use sluice_guardrails::pii::{DEFAULT_PACKS, Selection, built_in};
use sluice_guardrails::{Band, Guard, Policy};

/// A guard with all packs but the default ones, that is, with those of the countries.
fn countries() -> Guard {
    let others = built_in().iter().filter(|pack| !DEFAULT_PACKS.contains(&pack.pack.as_str()));
    let names: Vec<String> = others.map(|pack| pack.pack.clone()).collect();
    Guard::with(&Policy::default(), &Selection::of(&names).unwrap())
}

/// `count` numbers of `len` random digits, the same on every machine (xorshift, Marsaglia 2003).
fn numbers(len: usize, count: usize) -> Vec<String> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64 ^ u64::try_from(len).unwrap();
    let mut digit = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from(b'0' + u8::try_from((state >> 11) % 10).unwrap())
    };
    (0..count).map(|_| (0..len).map(|_| digit()).collect()).collect()
}

#[test]
fn random_numbers_without_a_word_are_never_likely() {
    let guard = countries();
    for len in 8..=14 {
        let likely = numbers(len, 2_000).iter().filter(|n| !guard.report(n, Band::Likely).is_empty()).count();
        assert_eq!(likely, 0, "{len} digits");
    }
}

#[test]
fn words_that_stand_before_any_number_make_none_likely() {
    let guard = countries();
    let carriers = [
        "Order #N has shipped",
        "{\"id\": N, \"user_id\": N}",
        "account N was credited, reference N",
        "SELECT * FROM t WHERE id = N;",
        "timestamp: N, pid N, session N",
        "ticket N, case no. N, invoice number N",
        "Bestellnummer N",
        "numéro de commande N",
        "call me at N",
        "N rows, N dollars, version N",
        "a,N,b,N",
        "id number: N",
        "registration number N",
    ];
    let mut found = Vec::new();
    for carrier in carriers {
        for len in 8..=13 {
            for number in numbers(len, 100) {
                let text = carrier.replace('N', &number);
                found.extend(guard.report(&text, Band::Likely).iter().map(|f| (carrier, len, f.rule)));
            }
        }
    }
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn two_countries_whose_number_it_may_be_are_both_told() {
    // Passes Britain's check by 11 and Korea's by 10.
    let told = countries().report("4010000066", Band::Possible);
    for entity in ["UK_NHS", "KR_BRN"] {
        assert!(told.iter().any(|finding| finding.entity == entity), "{entity}: {told:?}");
    }
    assert!(told.iter().all(|finding| finding.score < Band::Likely.least()), "{told:?}");
}

#[test]
fn the_list_of_entities_is_whole() {
    let listed = include_str!("../packs/README.md");
    for pack in built_in().iter().filter(|pack| !DEFAULT_PACKS.contains(&pack.pack.as_str())) {
        let line = listed.lines().find(|line| line.starts_with(&format!("| `{}` |", pack.pack)));
        let line = line.unwrap_or_else(|| panic!("packs/README.md has no line for {}", pack.pack));
        for row in &pack.rows {
            assert!(line.contains(&row.entity), "packs/README.md does not list {}", row.entity);
        }
    }
}
