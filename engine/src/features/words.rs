//! Words as hashes: lower case, light stemming, and a hash that stays the same between builds and machines.
//!
//! The stemmer takes off English inflection (plural, -ing, -ed, -ly, -tion) and a final e, so that the forms of one verb
//! meet. It is coarser than a dictionary and finer than Porter's: two words that merge wrongly would hide a difference.

use unicode_normalization::char::decompose_canonical;

/// The bits of a word's hash that are left free for marks (see [`NEGATED`] and `direction`).
pub(super) const MARKS: u32 = 0b1111;
/// The mark of a word that is negated where it stands.
pub(super) const NEGATED: u32 = 0b0001;

/// FNV-1a, 64 bits (Fowler, Noll, Vo): short inputs, no seed, since profiles are kept on disk.
pub(super) const fn hash(bytes: &[u8]) -> u64 {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    let mut at = 0;
    while at < bytes.len() {
        hash = (hash ^ bytes[at] as u64).wrapping_mul(0x0000_0100_0000_01b3);
        at += 1;
    }
    hash
}

/// The hash of one more thing after those that gave `before`.
pub(super) fn chain(before: u64, next: u64) -> u64 {
    (before.rotate_left(5) ^ next).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// A 64-bit hash as it is kept in a profile: 28 bits, the marks empty.
pub(super) fn short(hash: u64) -> u32 {
    let mixed = hash.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 32) as u32 & !MARKS
}

/// Writes `word` in lower case, with plain apostrophes and Latin letters without accents, into `out`: names are typed with
/// and without them.
pub(super) fn lower_into(word: &str, out: &mut String) {
    out.clear();
    if word.is_ascii() {
        out.push_str(word);
        out.make_ascii_lowercase();
        return;
    }
    for c in word.chars() {
        match c {
            '’' | '‘' | 'ʼ' | '＇' => out.push('\''),
            '\u{300}'..='\u{36f}' => {}
            '\u{c0}'..='\u{24f}' | '\u{1e00}'..='\u{1eff}' => {
                let mut plain = None;
                decompose_canonical(c, |part| {
                    plain.get_or_insert(part);
                });
                let plain = plain.unwrap_or(c);
                out.extend(plain.to_lowercase());
            }
            _ => out.extend(c.to_lowercase()),
        }
    }
}

/// Takes the clitic off a word in lower case ("it's", "we'll"). True if it was "n't".
pub(super) fn strip_clitic(word: &mut String) -> bool {
    let Some(at) = word.rfind('\'') else { return false };
    if &word[at..] == "'t" && word[..at].ends_with('n') {
        // "can't" keeps its n by itself; "won't" and "shan't" have lost letters, but are function words either way.
        let keep = if &word[..at] == "can" { at } else { at - 1 };
        word.truncate(keep);
        return true;
    }
    if matches!(&word[at..], "'s" | "'" | "'re" | "'ve" | "'ll" | "'d" | "'m") {
        word.truncate(at);
    }
    false
}

/// Reduces a word in lower case to its stem, in place. Words that are not plain ASCII letters stay as they are.
pub(super) fn stem(word: &mut String) {
    if word.len() <= 3 || !word.bytes().all(|b| b.is_ascii_lowercase()) {
        return;
    }
    plural(word);
    if !participle(word) {
        derived(word);
    }
    if word.len() > 3 && word.ends_with('e') {
        word.pop();
    }
}

fn plural(word: &mut String) {
    let n = word.len();
    if word.ends_with("ies") && n > 4 {
        word.truncate(n - 3);
        word.push('y');
    } else if ["sses", "xes", "ches", "shes", "zes"].iter().any(|end| word.ends_with(end)) {
        word.truncate(n - 2);
    } else if word.ends_with('s') && !["ss", "us", "is"].iter().any(|end| word.ends_with(end)) {
        word.pop();
    }
}

/// -ing and -ed, with the doubled consonant they bring. True if there was one.
fn participle(word: &mut String) -> bool {
    let n = word.len();
    if word.ends_with("ied") && n > 4 {
        word.truncate(n - 3);
        word.push('y');
        return true;
    }
    let cut = if word.ends_with("ing") && n > 5 {
        n - 3
    } else if word.ends_with("ed") && n > 4 && !word.ends_with("eed") {
        n - 2
    } else {
        return false;
    };
    if !word[..cut].bytes().any(|b| b"aeiouy".contains(&b)) {
        return false;
    }
    word.truncate(cut);
    let bytes = word.as_bytes();
    if let [.., a, b] = bytes
        && a == b
        && !b"lsz".contains(b)
        && word.len() > 3
    {
        word.pop();
    }
    true
}

/// -ly after at least five letters, and the -ion of -tion.
fn derived(word: &mut String) {
    let n = word.len();
    if word.ends_with("ly") && n >= 7 {
        word.truncate(n - 2);
    } else if word.ends_with("tion") && n >= 8 {
        word.truncate(n - 3);
    }
}

/// The stem of `word`, which may have capitals and a clitic, and whether "n't" was taken off.
fn stem_of(word: &str) -> (String, bool) {
    let mut out = String::with_capacity(word.len());
    lower_into(word, &mut out);
    let negated = strip_clitic(&mut out);
    stem(&mut out);
    (out, negated)
}

/// The hash of `word`'s stem, as a token has it.
pub(super) fn stem_hash(word: &str) -> u64 {
    let (stem, negated) = stem_of(word);
    mark_negated(hash(stem.as_bytes()), negated)
}

/// Keeps "can't" apart from "can" where phrases are looked up.
pub(super) fn mark_negated(stem: u64, negated: bool) -> u64 {
    if negated { chain(stem, 7) } else { stem }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_forms_of_a_verb_have_one_stem() {
        for forms in [
            &["change", "changes", "changed", "changing"][..],
            &["activate", "activated", "activation", "activating"],
            &["verify", "verifies", "verified", "verifying"],
            &["top", "tops", "topping", "topped"],
            &["card", "cards", "card's"],
        ] {
            let stems: Vec<String> = forms.iter().map(|form| stem_of(form).0).collect();
            assert!(stems.iter().all(|stem| *stem == stems[0]), "{stems:?}");
        }
    }

    #[test]
    fn words_of_other_meaning_keep_apart() {
        for (a, b) in
            [("app", "apply"), ("bus", "bu"), ("sing", "s"), ("need", "ne"), ("off", "of"), ("sup", "supply")]
        {
            assert_ne!(stem_of(a).0, stem_of(b).0);
        }
    }

    #[test]
    fn a_clitic_is_no_part_of_the_word() {
        let mut word = "doesn't".to_owned();
        assert!(strip_clitic(&mut word));
        assert_eq!(word, "does");
        let mut word = "it's".to_owned();
        assert!(!strip_clitic(&mut word));
        assert_eq!(word, "it");
    }
}
