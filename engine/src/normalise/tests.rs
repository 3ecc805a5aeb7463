//! What normalising may merge and what it must keep apart.

use proptest::prelude::*;

use super::normalise;

/// All of these have the same form.
fn same(texts: &[&str]) {
    let form = normalise(texts[0]);
    assert!(form.is_some(), "{:?} has no form", texts[0]);
    for text in texts {
        assert_eq!(normalise(text), form, "{text:?}");
    }
}

/// No two of these share a form.
fn apart(texts: &[&str]) {
    for (i, a) in texts.iter().enumerate() {
        for b in &texts[..i] {
            let (form, other) = (normalise(a), normalise(b));
            assert!(form.is_none() || form != other, "{a:?} and {b:?} became {form:?}");
        }
    }
}

#[test]
fn white_space_capitals_of_words_and_closing_punctuation_do_not_matter() {
    same(&[
        "what is the capital of france",
        "What is the capital of France?",
        "  What is  the capital\u{a0}of\u{3000}France ?\n",
        "What is the\tCapital of France!",
        "What is the capital of france.",
        "What is the capital of France???",
    ]);
    same(&["I need a hotel", "i need a hotel."]);
    same(&["A dog barked. Why?", "a dog barked. why"]);
    same(&["Hello.\r\nHow are you?", "hello.\nhow are you"]);
    same(&["One.\n\n\nTwo", "One.  \n\nTwo"]);
}

#[test]
fn the_encoding_of_a_character_does_not_matter() {
    same(&["Caf\u{e9} near me", "Cafe\u{301} near me"]);
    same(&["ｗｈａｔ ｉｓ １２ ＋ ３？", "what is 12 + 3"]);
    same(&["ｶﾞｲﾄﾞ", "ガイド"]);
    same(&["What’s new", "what's new"]);
    same(&["what does “Carpe Diem” mean?", "What does \"Carpe Diem\" mean"]);
    same(&["你好吗？", "你好吗?", "你好吗"]);
}

#[test]
fn symbols_and_numbers_keep_prompts_apart() {
    apart(&["What is C?", "What is C++?", "What is C#?", "What is c?"]);
    apart(&["-5", "5", "+5", "5!", "5.", "5%", ".5"]);
    apart(&["1.5", "15", "1,5", "1 5"]);
    apart(&["<b>", "b", "b."]);
    apart(&["10²", "102", "10"]);
    apart(&["What is 5!?", "What is 5?"]);
    apart(&["half ½", "half 1⁄2", "half 1/2"]);
    apart(&["a/b", "a b", "ab"]);
    apart(&["What is the price of $5", "what is the price of 5"]);
    apart(&["use *nix", "use nix"]);
    apart(&["write :)", "write"]);
    apart(&["continue: once upon a time...", "continue: once upon a time"]);
    apart(&["x != y", "x y"]);
    same(&["What is 1.5?", "what is 1.5"]);
    same(&["What is C++?", "what is C++"]);
    same(&["Who leads the U.S.?", "who leads the U.S."]);
}

#[test]
fn acronyms_and_lone_letters_keep_their_case() {
    apart(&["US", "us"]);
    apart(&["Where does the US live", "Where does the us live"]);
    apart(&["What is vitamin A", "what is vitamin a"]);
    apart(&["What is R?", "What is r?"]);
    apart(&["WHO IS WHO", "who is who"]);
    apart(&["what is an iPhone", "what is an iphone", "what is an IPHONE"]);
}

#[test]
fn a_word_that_appears_with_and_without_a_capital_keeps_both() {
    apart(&["Compare Object and object", "compare object and object", "compare object and Object"]);
    same(&["Compare Object and object?", "compare Object and object"]);
    same(&["The dog and the cat", "the dog and the cat"]);
    // A technical word: only the first word of the sentence is folded.
    apart(&["Open readme.md in Code", "open readme.md in code"]);
    same(&["Open readme.md in Code", "open readme.md in Code"]);
}

#[test]
fn quoted_text_is_left_as_it_is() {
    apart(&[
        "translate \"Hello  World\"",
        "translate \"hello world\"",
        "translate \"Hello World\"",
        "translate Hello World",
    ]);
    apart(&["say \"yes.\"", "say \"yes\""]);
    apart(&["was heißt «Guten Morgen»", "was heißt «guten morgen»"]);
    same(&["Translate “Hello World”.", "translate \"Hello World\" ?"]);
    for unclear in [
        "say \"yes",
        "a 5\" pipe or a 6\" pipe",
        "what is \"?\"",
        "x\"y\"z",
        "the dogs' house",
        "say 'Yes' now",
    ] {
        assert_eq!(normalise(unclear), None, "{unclear}");
    }
}

#[test]
fn code_tables_and_layout_have_no_normalised_form() {
    for code in [
        "if (a) { b(); }",
        "what does `LS` do",
        "a = B",
        "print(X)",
        "std::Vec",
        "let x;y",
        "echo $HOME",
        "snake_case",
        "one\n  two",
        "a   b\nc   d",
        "1\t2",
        "a\u{b}b",
        "｛a｝",
        "|a|b|",
    ] {
        assert_eq!(normalise(code), None, "{code:?}");
    }
    apart(&["apples\noranges", "apples oranges", "apples\n\noranges"]);
}

#[test]
fn tasks_about_spelling_have_no_normalised_form() {
    for task in
        ["Capitalise hello world.", "hash of Hello", "Is Summer a good password?", "Proofread: i like cats."]
    {
        assert_eq!(normalise(task), None, "{task}");
    }
    assert!(normalise("Share this").is_some());
}

#[test]
fn nothing_and_too_much_have_no_normalised_form() {
    assert_eq!(normalise(""), None);
    assert_eq!(normalise(" \n\t "), None);
    assert_eq!(normalise(&"word ".repeat(2000)), None);
    assert_eq!(normalise("?").as_deref(), Some("?"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn normalising_twice_is_normalising_once(text in "\\PC{0,40}") {
        if let Some(form) = normalise(&text) {
            prop_assert_eq!(normalise(&form), Some(form));
        }
    }

    #[test]
    fn normalising_prose_twice_is_normalising_once(text in "([A-Za-z]{1,3}|İ|J\u{30c}|Ω|ｶﾞ|[0-9.?!,:;'’\"“”()+#%$/-]{1,3}| |  |\n|\t|é|e\u{301}|。|？){0,14}") {
        if let Some(form) = normalise(&text) {
            prop_assert_eq!(normalise(&form), Some(form.clone()), "{:?}", text);
        }
    }

    #[test]
    fn letters_and_digits_are_never_added_lost_or_reordered(text in "([A-Za-z]{1,4}|[0-9]{1,2}|[.?!,+#%/ -]|é){0,20}") {
        if let Some(form) = normalise(&text) {
            let kept = |s: &str| s.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect::<String>();
            prop_assert_eq!(kept(&form), kept(&text));
            // What is lost is white space and closing punctuation, nothing else.
            let signs = |s: &str| s.chars().filter(|c| "+#%/-,".contains(*c)).collect::<String>();
            prop_assert_eq!(signs(&form), signs(&text));
        }
    }
}
