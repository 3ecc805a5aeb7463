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

#[test]
fn a_word_that_only_one_negates_contradicts() {
    for (a, b) in [
        ("Why is my card working?", "Why isn't my card working?"),
        ("can I travel with a visa", "can I travel without a visa"),
        ("is the fee refundable", "is the fee not refundable"),
        ("dates that are available", "dates that are unavailable"),
        ("I am able to log in", "I am unable to log in"),
    ] {
        assert_eq!(between(a, b).polarity, 1.0, "{a} / {b}");
    }
    agree("my card isn't working", "my card doesn't seem to work");
    agree("it is not unusual to wait", "it is usual to wait");
    agree("I don't know how to top up", "how to top up");
}

#[test]
fn opposites_contradict_in_all_their_forms() {
    for (a, b) in [
        ("raise my limit", "lower my limit"),
        ("how do I increase it", "how is it decreased"),
        ("turn on the wifi", "turned off the wifi"),
        ("the first train", "the last train"),
        ("where was it bought", "where was it sold"),
    ] {
        assert_eq!(between(a, b).antonym, 1.0, "{a} / {b}");
    }
    agree("is this wrong", "is this not right");
}

#[test]
fn other_names_conflict_in_small_letters_too() {
    for (a, b) in [
        ("weather in paris", "weather in rome"),
        ("flights to New York", "flights to San Francisco"),
        ("Is Anna Schmidt home?", "Is Anna Weber home?"),
        ("learn C++ fast", "learn C# fast"),
    ] {
        assert_eq!(between(a, b).entity_conflict, 1.0, "{a} / {b}");
    }
    agree("weather in NYC", "weather in new york");
    agree("Who is Rahul Gandhi?", "who is rahul gandhi");
    agree("Malmö café tips", "Malmo cafe tips");
    agree("HOW DO I GET MY MONEY BACK", "how do I get my money back");
}

#[test]
fn the_way_from_here_to_there_is_not_the_way_back() {
    for (a, b) in [
        ("move money from savings to checking", "move money from checking to savings"),
        ("convert km to miles", "convert miles to km"),
        ("how many grams in an ounce", "how many ounces in a gram"),
        ("is Python faster than Java", "is Java faster than Python"),
        ("Did Germany invade Poland", "Did Poland invade Germany"),
    ] {
        assert_eq!(between(a, b).direction, 1.0, "{a} / {b}");
    }
    agree("difference between Python and Java", "difference between Java and Python");
    agree("python logging to json examples", "examples of logging to json in python");
}

#[test]
fn literals_are_compared_letter_by_letter() {
    assert_eq!(between("what does \"carpe diem\" mean", "what does \"memento mori\" mean").quoted, 1.0);
    for (a, b) in [
        ("run `ls -l` now", "run `ls -a` now"),
        ("open /etc/hosts", "open /etc/passwd"),
        ("mail to <EMAIL_1>", "mail to <PERSON_1>"),
        ("what does sort_by() do", "what does group_by() do"),
        ("read https://example.com/a", "read https://example.com/b"),
    ] {
        assert_eq!(between(a, b).code, 1.0, "{a} / {b}");
    }
    agree("what is ‘rust’", "what is 'rust'");
    agree("the dogs' house", "the dogs house");
}

#[test]
fn other_units_dates_and_languages_are_seen() {
    assert_eq!(between("run 5 km", "run 5 miles").unit_conflict, 1.0);
    assert_eq!(between("pay 5€", "pay 5$").unit_conflict, 1.0);
    assert_eq!(between("the daily limit", "the monthly limit").unit_conflict, 1.0);
    assert_eq!(between("news of today", "news of yesterday").date_conflict, 1.0);
    assert_eq!(between("closed on Monday", "closed on tuesday").date_conflict, 1.0);
    assert_eq!(between("wie ist das Wetter in Rom", "what is the weather in Rome").language, 1.0);
    assert_eq!(between("今日の天気", "what is the weather").language, 1.0);
    assert_eq!(between("it may rain", "it might rain").date_difference, 0.0);
}

#[test]
fn a_short_prompt_has_a_small_profile() {
    assert!(
        Profile::of("How do I transfer 200 dollars from my savings account to a friend abroad?").bytes()
            <= 300
    );
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
