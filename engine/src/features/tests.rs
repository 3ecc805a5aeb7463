//! What profiles and their differences promise.

use proptest::prelude::*;

use super::{Differences, Profile};

fn between(a: &str, b: &str) -> Differences {
    Differences::between(&Profile::of(a), &Profile::of(b))
}

#[track_caller]
fn agree(a: &str, b: &str) {
    let differences = between(a, b);
    assert!(!differences.contradicts(), "{a} / {b}: {differences:?}");
}

#[test]
fn equal_numbers_agree_however_they_are_written() {
    for (a, b) in [
        ("pay 1,000 now", "pay 1000 now"),
        ("pay 1000 now", "pay one thousand now"),
        ("pay 1k now", "pay 1000 now"),
        ("1.5 million people", "1,500,000 people"),
        ("the 1st floor", "the first floor"),
        ("twenty-one days", "21 days"),
        ("two hundred and five", "two hundred and 5"),
        ("call me at 5pm", "call me at 17:00"),
        ("call me at 5 pm", "call me at 5:00 pm"),
        ("it costs $20", "it costs 20 dollars"),
        ("iPhone12 case", "iPhone 12 case"),
    ] {
        let d = between(a, b);
        assert_eq!((d.number_conflict, d.unit_conflict), (0.0, 0.0), "{a} / {b}");
    }
}

#[test]
fn other_numbers_conflict() {
    for (a, b) in [
        ("version 1.5", "version 15"),
        ("is -5 a valid index", "is 5 a valid index"),
        ("python 3.10.1", "python 3.11.1"),
        ("iPhone 12 battery", "iPhone 13 battery"),
        ("meet at 5pm", "meet at 5am"),
        ("fifteen guests", "fifty guests"),
        ("on 2024-01-05", "on 2024-01-06"),
        ("the 1st floor", "the second floor"),
    ] {
        assert_eq!(between(a, b).number_conflict, 1.0, "{a} / {b}");
    }
}

#[test]
fn a_hyphen_in_a_range_or_a_word_is_no_sign() {
    agree("pages 5-10", "pages 5 to 10");
    agree("covid-19 rules", "covid 19 rules");
}

proptest! {
    #[test]
    fn any_text_has_a_profile_that_agrees_with_itself(text in any::<String>()) {
        let profile = Profile::of(&text);
        let d = Differences::between(&profile, &profile);
        prop_assert!(!d.contradicts());
        prop_assert_eq!(d.jaccard, 1.0);
    }

    #[test]
    fn every_difference_stays_in_its_range_and_is_symmetric(a in any::<String>(), b in any::<String>()) {
        let (a, b) = (Profile::of(&a), Profile::of(&b));
        let (ab, ba) = (Differences::between(&a, &b), Differences::between(&b, &a));
        for (name, value) in Differences::NAMES.iter().zip(ab.to_array()) {
            let most = if *name == "length_log_ratio" { 3.0 } else { 1.0 };
            prop_assert!((0.0..=most).contains(&value), "{} = {}", name, value);
        }
        let turned = Differences { containment_a: ba.containment_b, containment_b: ba.containment_a, ..ba };
        prop_assert_eq!(ab, turned);
    }
}
