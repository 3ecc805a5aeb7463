//! What the packs promise together; each row's own examples run where packs are read.

use sluice_guardrails::pii::{DEFAULT_PACKS, Selection, built_in};
use sluice_guardrails::{Band, Guard, Policy};

/// A guard with all packs but the default ones, that is, with those of the countries.
fn countries() -> Guard {
    let others = built_in().iter().filter(|pack| !DEFAULT_PACKS.contains(&pack.pack.as_str()));
    let names: Vec<String> = others.map(|pack| pack.pack.clone()).collect();
    Guard::with(&Policy::default(), &Selection::of(&names).expect("built-in names"))
}

/// `count` numbers of `len` random digits, the same on every machine (xorshift, Marsaglia 2003).
fn numbers(len: usize, count: usize) -> Vec<String> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut digit = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from_digit((state >> 11) as u32 % 10, 10).unwrap_or('0')
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
fn words_that_stand_before_any_number_make_one_in_five_hundred_likely_at_most() {
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
    let (mut found, mut read) = (Vec::new(), 0);
    for carrier in carriers {
        for len in 8..=13 {
            for number in numbers(len, 100) {
                let text = carrier.replace('N', &number);
                read += 1;
                found.extend(guard.report(&text, Band::Likely).iter().map(|f| (carrier, len, f.rule)));
            }
        }
    }
    assert!(500 * found.len() <= read, "{found:?}");
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

/// Names of fields as programs have them, with numbers that issuers or encyclopedias print.
const FIELDS: &[(&str, &str, &str)] = &[
    ("nhsNumber", "9434765919", "UK_NHS"),
    ("ni_number", "AB123456C", "UK_NINO"),
    ("nationalInsuranceNumber", "ab 12 34 56 c", "UK_NINO"),
    ("utr", "5617151228", "UK_UTR"),
    ("passport_number", "533401372", "UK_PASSPORT"),
    ("steuerId", "36574261809", "DE_TAX_ID"),
    ("steuer_id", "86095742719", "DE_TAX_ID"),
    ("sozialversicherungsnummer", "65170839J003", "DE_SOCIAL_SECURITY"),
    ("krankenversichertennummer", "A123456780", "DE_HEALTH_INSURANCE"),
    ("personalausweisnummer", "L3VK7M29T", "DE_ID_CARD"),
    ("kennzeichen", "M-AB 1234", "DE_KFZ"),
    ("numero_securite_sociale", "255081416802538", "FR_NIR"),
    ("nir", "255081416802538", "FR_NIR"),
    ("siret", "73282932000074", "FR_SIRET"),
    ("dni", "12345678Z", "ES_NIF"),
    ("codice_fiscale", "RSSMRA85T10A562S", "IT_FISCAL_CODE"),
    ("partitaIva", "00743110157", "IT_VAT_CODE"),
    ("bsn", "111222333", "NL_BSN"),
    ("pesel", "44051401359", "PL_PESEL"),
    ("nip", "8567346215", "PL_NIP"),
    ("personnummer", "196408233234", "SE_PERSONNUMMER"),
    ("orgNr", "5560360793", "SE_ORGANISATIONSNUMMER"),
    ("henkilotunnus", "131052-308T", "FI_PERSONAL_IDENTITY_CODE"),
    ("aadhaarNumber", "999941057058", "IN_AADHAAR"),
    ("pan", "ACUPA7085R", "IN_PAN"),
    ("voterId", "WKH1186253", "IN_VOTER"),
    ("cpf", "11144477735", "BR_CPF"),
    ("cnpj", "11222333000181", "BR_CNPJ"),
    ("abn", "51824753556", "AU_ABN"),
    ("tfn", "123456782", "AU_TFN"),
    ("medicareNumber", "2123456701", "AU_MEDICARE"),
    ("nric", "S1234567D", "SG_NRIC_FIN"),
    ("thaiId", "1234567890121", "TH_TNIN"),
    ("sssNumber", "34-4820173-9", "PH_SSS"),
    ("rrn", "9710139019902", "KR_RRN"),
    ("tcKimlikNo", "10000000146", "TR_NATIONAL_ID"),
    ("vergiNo", "4540536920", "TR_TAX_ID"),
    ("saIdNumber", "8001015009087", "ZA_ID_NUMBER"),
    ("sin", "274618354", "CA_SIN"),
    ("niss", "85073003328", "BE_NATIONAL_NUMBER"),
    ("nif", "123456789", "PT_NIF"),
    ("cprNummer", "0707614285", "DK_CPR"),
    ("fodselsnummer", "15108695088", "NO_NATIONAL_ID"),
    ("ahvNummer", "7569217076985", "CH_AHV"),
    ("ppsn", "1234567FA", "IE_PPSN"),
    ("curp", "BOXW310820HNERXN09", "MX_CURP"),
    ("nin", "12345678901", "NG_NIN"),
];

#[test]
fn a_fields_name_says_what_its_number_is() {
    let guard = countries();
    let mut missed = Vec::new();
    for (field, value, entity) in FIELDS {
        let whole = guard.inspect_labelled(value, field);
        if whole.len() != 1 || whole[0].span != (0..value.len()) {
            missed.push(format!("{field} of an object: {whole:?}"));
        }
        let text = format!("{{\"{field}\": \"{value}\"}}");
        let told = guard.report(&text, Band::Likely);
        if !told.iter().any(|f| f.entity == *entity && &text[f.span.clone()] == *value) {
            missed.push(format!("{field} in a text: {told:?}"));
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}
