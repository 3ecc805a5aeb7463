//! The canonical form's promises.

use super::*;
use proptest::prelude::*;

fn canonical(text: &str) -> String {
    Canon::new(text).text().to_owned()
}

#[test]
fn ascii_is_its_own_form_and_not_copied() {
    let text = "Call +49 30 901820 <b>";
    let canon = Canon::new(text);
    assert!(std::ptr::eq(canon.text(), text));
    assert!(matches!(Canon::new("Grüße aus Köln").text, Cow::Borrowed(_)));
}

#[test]
fn digits_dashes_spaces_and_signs_of_all_kinds_become_ascii() {
    for (text, form) in [
        ("４１１１\u{a0}１１１１", "4111 1111"),
        ("٤١١١ ۴۵ ४५ ๔๕", "4111 45 45 45"),
        ("536–22—8143", "536-22-8143"),
        ("ａｄａ＠ｅｘａｍｐｌｅ．ｏｒｇ", "ada@example.org"),
        ("𝟜𝟙 𝖆𝖉𝖆", "41 𝖆𝖉𝖆"),
        ("x𝖆𝖉", "xad"),
        ("4\u{200b}1\u{2060}1\u{ad}1\u{202e}1\u{e0041}", "41111"),
    ] {
        assert_eq!(canonical(text), form, "{text}");
    }
}

#[test]
fn look_alikes_fold_only_in_words_that_are_partly_ascii() {
    assert_eq!(canonical("аdа@ехample.org"), "ada@example.org");
    assert_eq!(canonical("DЕ89 АВ12"), "DE89 AB12");
    for text in ["Это почта Анны", "Αθήνα και", "5 лет", "½ ﬁ ① café"] {
        assert_eq!(canonical(text), text);
    }
}

#[test]
fn a_place_maps_back_to_whole_characters_with_their_marks() {
    let text = "n° ４\u{200b}２e\u{301}!";
    let canon = Canon::new(text);
    assert_eq!(canon.text(), "n° 42e\u{301}!");
    let at = canon.text().find("42").unwrap();
    assert_eq!(&text[canon.original(&(at..at + 2))], "４\u{200b}２");
    assert_eq!(&text[canon.original(&(at..at + 3))], "４\u{200b}２e\u{301}");
}

#[test]
fn views_show_what_is_escaped_or_encoded() {
    for (text, shown, whole) in [
        ("to=ada%40example.org&x", "ada@example.org", "ada%40example.org"),
        ("ada&#64;example&period;org", "ada@example.org", "ada&#64;example&period;org"),
        ("ada&#x40;example.org", "ada@example.org", "ada&#x40;example.org"),
        (r"ada\u0040example.org", "ada@example.org", r"ada\u0040example.org"),
        ("x%C3%BCy", "ü", "%C3%BC"),
        ("b64 YWRhQGV4YW1wbGUub3Jn.", "ada@example.org", "YWRhQGV4YW1wbGUub3Jn"),
        ("b64 YWRhQGV4YW1wbGUub3JnLg==.", "ada@example.org", "YWRhQGV4YW1wbGUub3JnLg=="),
        ("hex 616461406578616d706c652e6f7267", "ada@example.org", "616461406578616d706c652e6f7267"),
    ] {
        let views = views(text);
        let found = views.iter().find_map(|view| view.text.find(shown).map(|at| (view, at)));
        let (view, at) = found.unwrap_or_else(|| panic!("{text}"));
        assert_eq!(&text[view.original(&(at..at + shown.len()))], whole, "{text}");
    }
    assert!(views("4111111111111111111 and 100% of /usr/local/share/whatever-this-is").is_empty());
}

#[test]
fn tags_spell_a_hidden_text() {
    let text = "hi\u{e0061}\u{e0040}\u{e0062}!";
    let view = tagged(text).unwrap();
    assert_eq!(view.text, "hia@b!");
    assert_eq!(&text[view.original(&(3..4))], "\u{e0040}");
}

/// Characters of every kind that matters here, and any others.
fn texts() -> impl Strategy<Value = String> {
    let special = prop::sample::select(
        "a1 @.-%&;#x40\\u٤４–\u{200b}\u{202e}аЕ\u{301}\u{e0041}😀漢é%41=\u{ad}𝟜ＡAb/+"
            .chars()
            .collect::<Vec<_>>(),
    );
    prop::collection::vec(prop_oneof![4 => special, 1 => any::<char>()], 0..60)
        .prop_map(|chars| chars.into_iter().collect())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_span_of_the_form_maps_to_whole_characters_in_order(text in texts(), a in 0usize..80, b in 0usize..80) {
        let canon = Canon::new(&text);
        let places: Vec<usize> = canon.text().char_indices().map(|(at, _)| at).chain([canon.text().len()]).collect();
        let (a, b) = (places[a % places.len()], places[b % places.len()]);
        let (from, to) = (a.min(b), a.max(b));
        let span = canon.original(&(from..to));
        prop_assert!(span.start <= span.end && text.get(span.clone()).is_some());
        // What the span stands for has the span's own form, up to marks behind it.
        if from < to {
            let form = canonical(&text[span]);
            prop_assert!(form.chars().count() >= canon.text()[from..to].chars().count());
        }
    }

    #[test]
    fn the_form_of_a_form_is_itself(text in texts()) {
        let once = canonical(&text);
        // Folding may make a word partly ASCII in which a look-alike stood alone; then the second form folds it.
        let twice = canonical(&once);
        prop_assert_eq!(canonical(&twice), twice);
    }

    #[test]
    fn every_span_of_every_view_maps_into_the_text(text in texts(), a in 0usize..80, b in 0usize..80) {
        for view in views(&text).into_iter().chain(tagged(&text)) {
            let places: Vec<usize> = view.text.char_indices().map(|(at, _)| at).chain([view.text.len()]).collect();
            let (a, b) = (places[a % places.len()], places[b % places.len()]);
            prop_assert!(text.get(view.original(&(a.min(b)..a.max(b)))).is_some());
        }
    }
}
