//! Letters that are read as ASCII letters: accented ones, those of other scripts that look like them, and signs made of them.
//!
//! Wider than what the canonical form folds: there an altered value would be a wrong finding, here it costs a glance.

use std::sync::LazyLock;

/// How a character is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reads {
    /// As it is.
    Itself,
    /// As the letter under its accent.
    Accented(char),
    /// As an ASCII letter, in a word of ASCII letters or of nothing but look-alikes.
    Letter(char),
    /// As the ASCII letter or digit it shows in another style.
    Sign(char),
}

/// Accented letters of Latin scripts, behind the letter they are read as.
const ACCENTED: &[(char, &str)] = &[
    ('a', "àáâãäåāăąǎạảấầẩẫậắằẳẵặÀÁÂÃÄÅĀĂĄ"),
    ('c', "çćĉċčÇĆČ"),
    ('d', "ďđðĎĐ"),
    ('e', "èéêëēĕėęěẹẻẽếềểễệÈÉÊËĒĘĚ"),
    ('g', "ĝğġģĞ"),
    ('h', "ĥħ"),
    ('i', "ìíîïĩīĭįıỉịÌÍÎÏİ"),
    ('j', "ĵ"),
    ('k', "ķ"),
    ('l', "ĺļľŀłŁĽ"),
    ('n', "ñńņňÑŃŇ"),
    ('o', "òóôõöøōŏőơọỏốồổỗộớờởỡợÒÓÔÕÖØŐ"),
    ('r', "ŕŗřŘ"),
    ('s', "śŝşšșŚŠŞ"),
    ('t', "ţťŧțŤ"),
    ('u', "ùúûüũūŭůűųưụủứừửữựÙÚÛÜŮŰ"),
    ('w', "ŵ"),
    ('y', "ýÿŷỳỵỷỹÝ"),
    ('z', "źżžŹŻŽ"),
];

/// Letters of other scripts, behind the letter they look like (after Unicode's confusables).
const LETTERS: &[(char, &str)] = &[
    ('a', "аАαΑɑ"),
    ('b', "ВвΒЬьƄ"),
    ('c', "сСϲϹᴄ"),
    ('d', "ԁɗ"),
    ('e', "еЕεΕєҽ"),
    ('f', "ƒϝ"),
    ('g', "ɡցԌ"),
    ('h', "һнНΗհ"),
    ('i', "іІιΙїɩ"),
    ('j', "јЈϳ"),
    ('k', "кКκΚ"),
    ('l', "ӏӀǀן"),
    ('m', "мМΜ"),
    ('n', "пηΝռո"),
    ('o', "оОοΟσօס"),
    ('p', "рРρΡ"),
    ('q', "ԛգ"),
    ('r', "г"),
    ('s', "ѕЅ"),
    ('t', "тТτΤ"),
    ('u', "υսцμ"),
    ('v', "νѵ"),
    ('w', "ԝшωѡ"),
    ('x', "хХχΧ"),
    ('y', "уУγΥү"),
    ('z', "ʐΖ"),
];

/// Small capitals and phonetic letters, which no running text is written in.
const SMALL_CAPITALS: &str = "ᴀaʙbᴄcᴅdᴇeɢgʜhɪiᴊjᴋkʟlᴍmɴnᴏoᴘpʀrᴛtᴜuᴠvᴡwʏyᴢz";

/// Whether a character combines with the one before it.
pub(super) fn is_mark(c: char) -> bool {
    matches!(c, '\u{300}'..='\u{36f}' | '\u{483}'..='\u{489}' | '\u{1ab0}'..='\u{1aff}' | '\u{1dc0}'..='\u{1dff}' | '\u{20d0}'..='\u{20ff}')
}

/// Whether a character that is no letter shows one.
pub(super) fn is_sign(c: char) -> bool {
    c as u32 >= 0x2000 && matches!(read(c), Reads::Sign(_))
}

/// How a character is read.
pub(super) fn read(c: char) -> Reads {
    match c as u32 {
        0..=0x7f => Reads::Itself,
        0x1d400..=0x1d6a3 => Reads::Sign(letter((c as u32 - 0x1d400) % 26)),
        0x1d7ce..=0x1d7ff => Reads::Sign(digit((c as u32 - 0x1d7ce) % 10)),
        0x24b6..=0x24e9 => Reads::Sign(letter((c as u32 - 0x24b6) % 26)),
        0x249c..=0x24b5 => Reads::Sign(letter(c as u32 - 0x249c)),
        0x1f110..=0x1f129 => Reads::Sign(letter(c as u32 - 0x1f110)),
        0x1f130..=0x1f149 => Reads::Sign(letter(c as u32 - 0x1f130)),
        0x1f150..=0x1f169 => Reads::Sign(letter(c as u32 - 0x1f150)),
        0x1f170..=0x1f189 => Reads::Sign(letter(c as u32 - 0x1f170)),
        0xff21..=0xff3a => Reads::Sign(letter(c as u32 - 0xff21)),
        0xff41..=0xff5a => Reads::Sign(letter(c as u32 - 0xff41)),
        code @ (0x0c0..=0x5ff | 0x1d00..=0x1eff) => {
            let place = if code < 0x600 { code - 0xc0 } else { code - 0x1d00 + 0x540 };
            TABLE.get(place as usize).copied().unwrap_or(Reads::Itself)
        }
        0xa730 => Reads::Sign('f'),
        0xa731 => Reads::Sign('s'),
        _ => Reads::Itself,
    }
}

/// What the lists say of U+00C0 to U+05FF and U+1D00 to U+1EFF, by place.
static TABLE: LazyLock<Vec<Reads>> =
    LazyLock::new(|| ('\u{c0}'..='\u{5ff}').chain('\u{1d00}'..='\u{1eff}').map(listed).collect());

fn listed(c: char) -> Reads {
    let among = |table: &[(char, &str)]| table.iter().find(|(_, like)| like.contains(c)).map(|(to, _)| *to);
    if let Some(to) = among(ACCENTED) {
        return Reads::Accented(to);
    }
    let mut capitals = SMALL_CAPITALS.chars();
    while let (Some(capital), Some(to)) = (capitals.next(), capitals.next()) {
        if capital == c {
            return Reads::Sign(to);
        }
    }
    among(LETTERS).map_or(Reads::Itself, Reads::Letter)
}

fn letter(place: u32) -> char {
    char::from_u32(0x61 + place).unwrap_or('?')
}

fn digit(value: u32) -> char {
    char::from_digit(value, 10).unwrap_or('?')
}
