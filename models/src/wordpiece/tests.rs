//! The same ids as `tokenizers`, text by text, for every setting of BERT's normalizer and for the real vocabulary.

use super::*;
use crate::registry::{DEFAULT_MODEL, find};
use crate::tokens::Tokens;
use crate::weights::{NoProgress, PullOptions, pull};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::OnceLock;

/// `clean_text`, `handle_chinese_chars`, `strip_accents`, `lowercase`.
type Settings = (bool, bool, Option<bool>, bool);

/// The settings in use (uncased, cased, uncased with accents), then each of the others turned at least once.
const SETTINGS: [Settings; 6] = [
    (true, true, None, true),
    (true, true, None, false),
    (true, true, Some(false), true),
    (true, false, Some(true), false),
    (false, true, None, true),
    (false, false, Some(false), false),
];

const SPECIAL: [&str; 5] = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];

/// A tokenizer whose pieces are nearly all characters up to `last`, so that its ids spell out what the normalizer
/// made of a text, and some words to choose the longest of.
fn alphabet(settings: Settings, last: char) -> Value {
    let (clean_text, handle_chinese_chars, strip_accents, lowercase) = settings;
    let mut vocabulary: serde_json::Map<String, Value> = serde_json::Map::new();
    let words = ["hello", "##llo", "international", "internationalise", "internationalisation"];
    let more = ["##ationalisation", "##isation", "##is", "ist", "élan", "ελλαδα", "日本"];
    let letters = ('\u{1}'..=last).flat_map(|c| [c.to_string(), format!("##{c}")]);
    for piece in SPECIAL.into_iter().chain(words).chain(more).map(String::from).chain(letters) {
        let id = vocabulary.len();
        // Left out for the sake of words that cannot be put together.
        if !piece.ends_with(['q', 'Q', 'ő', '\u{4E01}']) {
            vocabulary.insert(piece, id.into());
        }
    }
    let marker = |id: usize, token: &str| {
        json!({"id": id, "content": token, "single_word": false, "lstrip": token == "[MASK]", "rstrip": false,
               "normalized": false, "special": true})
    };
    let added: Vec<Value> = SPECIAL.iter().enumerate().map(|(id, token)| marker(id, token)).collect();
    json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": added,
        "normalizer": {"type": "BertNormalizer", "clean_text": clean_text, "strip_accents": strip_accents,
                       "handle_chinese_chars": handle_chinese_chars, "lowercase": lowercase},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2]},
        "decoder": null,
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                  "max_input_chars_per_word": 100, "vocab": vocabulary},
    })
}

fn load(json: &Value, max_tokens: usize) -> Tokens {
    Tokens::from_json(json.to_string().as_bytes(), max_tokens).unwrap()
}

/// One tokenizer for each of [`SETTINGS`]: the first with all characters, some short ones for the sake of cuts.
fn alphabets() -> &'static [Tokens] {
    static ALL: OnceLock<Vec<Tokens>> = OnceLock::new();
    ALL.get_or_init(|| {
        let shape =
            |which| if which == 0 { ('\u{1_FFFF}', 256) } else { ('\u{FFF}', [24, 64, 256][which % 3]) };
        let one = |(which, settings)| load(&alphabet(settings, shape(which).0), shape(which).1);
        SETTINGS.into_iter().enumerate().map(one).collect()
    })
}

/// The tokenizer of the default model.
fn real() -> &'static Tokens {
    static REAL: OnceLock<Tokens> = OnceLock::new();
    REAL.get_or_init(|| {
        let spec = find(DEFAULT_MODEL).unwrap();
        let files = pull(spec, &PullOptions::default(), &NoProgress).unwrap();
        Tokens::from_json(&files.read(spec, "tokenizer.json").unwrap(), spec.max_tokens).unwrap()
    })
}

fn fast(tokens: &Tokens) -> &WordPiece {
    tokens.fast.as_ref().expect("the fast path is meant for this tokenizer")
}

/// Fails unless both ways give the same. Returns whether the fast one took the text.
#[track_caller]
fn same(tokens: &Tokens, text: &str) -> bool {
    let slow = tokens.encode_slowly(text).unwrap();
    let fast = fast(tokens).encode(text);
    let taken = fast.is_some();
    assert_eq!(fast.unwrap_or_else(|| tokens.encode(text).unwrap()), slow, "{text:?}");
    taken
}

fn texts() -> Vec<String> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/embeddings/texts.jsonl");
    let lines = std::fs::read_to_string(file).unwrap();
    let text = |line| serde_json::from_str::<Value>(line).unwrap()["text"].as_str().unwrap().to_owned();
    lines.lines().map(text).collect()
}

#[test]
fn ascii_and_latin_texts_take_the_fast_path() {
    let mut taken = 0;
    for text in texts() {
        let latin = text.chars().all(|c| c < '\u{250}' || matches!(c, '\u{2010}'..'\u{2070}' | '€'));
        let fast = same(real(), &text);
        assert!(fast || !latin, "{text:?}");
        taken += usize::from(fast);
    }
    assert!(taken * 100 >= texts().len() * 98, "{taken} of {} texts", texts().len());
    for text in [
        "Hello, world! It's 5 o'clock (UTC+2) <b>&amp;</b> a_b@c.de #1 ~ `x` {y} \"z\" \\ ^",
        "Où est le café de l’hôtel « Zürich » ? Ça coûte 3 € – ou 4 £… Łódź, Ærø, İstanbul, straße, señor",
        "e\u{301}te\u{301} nai\u{308}ve Z\u{336}alg\u{30D}\u{311}o",
        "tab\there\u{A0}and\u{2009}there\u{200B} \u{FEFF}zero\u{0}width",
        "用中文问一个问题。 日本語もできる 한국어 Привет Ελλάδα שלום مرحبا नमस्ते สวัสดี 👩‍👩‍👧 ½ ①",
    ] {
        assert!(same(real(), text), "{text:?}");
        alphabets().iter().for_each(|tokens| assert!(same(tokens, text) || text.contains('\0'), "{text:?}"));
    }
}

#[test]
fn every_character_becomes_what_it_becomes_in_tokenizers() {
    let all: Vec<char> = ('\0'..'\u{1_FFFF}').collect();
    for (which, tokens) in alphabets().iter().enumerate() {
        let (mut known, mut tried) = (0, 0);
        for (i, few) in all.chunks(8).enumerate() {
            // All with the usual settings; with the others all of Europe, and a sample of the rest.
            if which > 0 && few[0] > '\u{600}' && i % 16 != which {
                continue;
            }
            // On its own, in a word, and where marks could change places.
            let text: String = few.iter().map(|c| format!("{c} a{c}e\u{345}{c}\u{31B}\u{334} ")).collect();
            known += usize::from(same(tokens, &text));
            tried += 1;
        }
        assert!(known * 100 >= tried * 95, "{known} of {tried} texts with {:?}", SETTINGS[which]);
    }
}

#[test]
fn words_at_the_limit_of_length_are_told_apart() {
    for tokens in alphabets().iter().chain([real()]) {
        for letter in ["x", "é", "e\u{301}", "日", "ग", "🙂", "İ", "각", "\u{1D400}", "\u{200B}y"] {
            for count in [99, 100, 101, 127, 128, 129, 200, 513, 2000] {
                same(tokens, &letter.repeat(count));
                same(tokens, &format!("a{} b", letter.repeat(count)));
            }
        }
    }
}

#[test]
fn the_cut_is_at_the_same_piece_with_the_same_flag() {
    for tokens in alphabets().iter().chain([real()]) {
        for count in (0..30).chain(55..70).chain(245..260) {
            for part in ["a ", "a", "internationalisation ", "[SEP]", ",", "日", "zqz ", "hello\u{301} "] {
                assert!(same(tokens, &part.repeat(count)));
                assert!(same(tokens, &format!("x{} ", part.repeat(count))));
            }
        }
    }
    assert!(same(real(), &"word ".repeat(100_000)));
}

#[test]
fn added_tokens_stand_for_themselves_wherever_they_occur() {
    let ids = fast(real()).encode("a[MASK]b [SEP]").unwrap().ids;
    assert_eq!(ids, [101, 1037, 103, 1038, 102, 102]);
    for text in
        ["[[SEP]]", "[sep]", "[SEP", "[ SEP]", "[SE\u{301}P]", "  [MASK]  x", "[CLS][PAD]é[UNK]", "[\0SEP]"]
    {
        for tokens in alphabets().iter().chain([real()]) {
            assert!(same(tokens, text) || text.contains('\0'), "{text:?}");
        }
    }
}

#[test]
fn a_tokenizer_of_another_shape_is_left_to_the_library() {
    let change = |pointer: &str, value: Value| {
        let mut json = alphabet(SETTINGS[0], 'z');
        *json.pointer_mut(pointer).unwrap() = value;
        load(&json, 256)
    };
    for tokens in [
        change("/normalizer", json!({"type": "Lowercase"})),
        change("/normalizer", Value::Null),
        change("/pre_tokenizer", json!({"type": "Whitespace"})),
        change("/pre_tokenizer", Value::Null),
        change("/post_processor", Value::Null),
        change("/model/continuing_subword_prefix", json!("@@")),
        change("/model/max_input_chars_per_word", json!(200)),
        change("/added_tokens/4/normalized", json!(true)),
        change("/added_tokens/4/single_word", json!(true)),
        change("/added_tokens/4/content", json!("mask")),
    ] {
        assert!(tokens.fast.is_none());
        assert!(!tokens.encode("Some text, [MASK] mask").unwrap().ids.is_empty());
    }
    assert!(load(&alphabet(SETTINGS[0], 'z'), 2).fast.is_none(), "no room for a piece");
}

#[test]
fn markers_are_those_of_the_post_processor() {
    let special = |id: u32, token: &str| json!({"id": token, "ids": [id], "tokens": [token]});
    let piece = |token: &str, type_id: u32| json!({"SpecialToken": {"id": token, "type_id": type_id}});
    let text = |type_id: u32| json!({"Sequence": {"id": "A", "type_id": type_id}});
    let template = |single: Value| {
        let mut json = alphabet(SETTINGS[0], 'z');
        json["post_processor"] = json!({"type": "TemplateProcessing", "single": single, "pair": [],
            "special_tokens": {"[CLS]": special(2, "[CLS]"), "[SEP]": special(3, "[SEP]")}});
        Tokens::from_json(json.to_string().as_bytes(), 8)
    };
    let tokens = template(json!([text(0), piece("[SEP]", 0), piece("[CLS]", 0)])).unwrap();
    assert!(same(&tokens, "abc") && same(&tokens, "abcdefghi"));
    assert_eq!(tokens.encode("").unwrap().ids, [3, 2]);
    assert!(template(json!([text(0), text(0)])).unwrap().fast.is_none());
    let error = template(json!([piece("[CLS]", 0), text(1)])).err().unwrap();
    assert!(error.contains("type id"), "{error}");
}

/// A bit of text of one of the kinds that could go wrong.
fn part() -> impl Strategy<Value = String> {
    let common = prop_oneof![
        "[a-z]{1,8}",
        "[a-zA-Z]{1,12}",
        "[0-9]{1,4}",
        Just(" ".to_owned()),
        "[ \t\n\r]{1,2}",
        "[!-/:-@\\[-`{-~]{1,3}",
        "(hello|internationali[sz]ations?|ists?|élan|Ελλάδα|日本)",
        "[aeéqő]{1,3}",
    ];
    let latin = prop_oneof![
        "[\u{C0}-\u{24F}]{1,4}",
        "[\u{1E00}-\u{1EFF}]{1,3}",
        "[a-zA-Z][\u{300}-\u{36F}]{1,3}",
        "[\u{300}-\u{36F}]",
        "[\u{2010}-\u{206F}]",
        "[\u{20A0}-\u{20C0}]",
        "[\u{A0}-\u{BF}]",
        "(İ|ı|ß|ẞ|ﬁ|Σς|ŉ|Ǆ|ǅ|\u{212B}|\u{2126}|½|´|\u{37E}|\u{1FEF})",
    ];
    let scripts = prop_oneof![
        "[\u{370}-\u{52F}]{1,5}",
        "[\u{590}-\u{E7F}]{1,4}",
        "[\u{3040}-\u{30FF}]{1,3}",
        "[\u{AC00}-\u{D7A3}]{1,2}",
        "[\u{1100}-\u{11FF}]{1,3}",
        "[\u{4E00}-\u{9FFF}]{1,3}",
        "[\u{F900}-\u{FAFF}]",
        "[\u{20000}-\u{2FA1F}]",
        "[\u{1F300}-\u{1FAFF}]{1,2}",
        Just("👨\u{200D}👩\u{200D}👧🏽".to_owned()),
        any::<char>().prop_map(String::from),
    ];
    let odd = prop_oneof![
        "[\u{0}-\u{1F}\u{7F}-\u{9F}]",
        "[\u{200B}-\u{200F}\u{2060}-\u{2064}\u{FEFF}\u{FE0F}\u{AD}]",
        "[\u{A0}\u{1680}\u{2000}-\u{200A}\u{2028}\u{2029}\u{202F}\u{205F}\u{3000}]",
        "\\[(CLS|SEP|PAD|UNK|MASK|sep|S\u{301}EP|SEP\\])\\]?",
        "x{95,105}",
        "é{48,52}",
        "(e\u{301}){95,105}",
        "🙂{95,130}",
        "\u{FFFD}",
    ];
    prop_oneof![4 => common, 2 => latin, 1 => scripts, 1 => odd]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn any_text_gets_the_ids_of_tokenizers(parts in prop::collection::vec(part(), 0..14), which in 0..6_usize) {
        let text = parts.concat();
        same(real(), &text);
        same(&alphabets()[which], &text);
    }
}
