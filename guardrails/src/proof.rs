//! The post-condition of redaction: none of a request's originals stands in the bytes that go out.
//!
//! What the redactor replaced is looked for once more in what is really sent, in every spelling that somebody at the
//! other end would read as the same: raw, escaped as in JSON however often, percent-encoded, and numbers with other
//! separators or none. It knows nothing of how redaction works, so that a mistake there, or a field that was
//! forgotten, shows here.
//!
//! When a value counts as found:
//! - Values of fewer than [`LEAST`] characters are exempt; [`Proof::exempt`] says how many there are.
//! - One of four characters must stand by itself: no letter or digit at either side.
//! - A number of fewer than [`STRONG`] digits must not be the part of a longer number.
//! - Everything else counts wherever it stands, also within a word.
//! - The numbers and names within placeholders that this vault issued are ours, and do not count.

mod compact;
mod matcher;
mod readings;
mod spot;

use std::fmt;
use std::ops::Range;
use std::sync::OnceLock;

use crate::text::ceil_boundary;
use compact::{Compact, Form};
use matcher::Matcher;
pub use spot::{Kind, Spot};

/// Values of fewer characters are exempt: they stand everywhere.
pub const LEAST: usize = 4;
/// Values of fewer characters count only by themselves.
const ALONE: usize = 5;
/// A number of so many digits counts also within a longer one: chance does not write it there.
const STRONG: usize = 9;
/// A number of fewer digits is not looked for with other separators.
const LEAST_LOOSE: usize = 7;
/// Entities that are no numbers or ids, whose separators mean something.
const SPELLED: &[&str] = &[
    "ADDRESS",
    "AGE",
    "COORDINATES",
    "DATE_TIME",
    "DE_KFZ",
    "DOMAIN_NAME",
    "EMAIL_ADDRESS",
    "GEO_COORDINATES",
    "IP_ADDRESS",
    "NRP",
    "SECRET",
    "TITLE",
    "URL",
];

/// The originals of one request, to be looked for in what goes out. Never logged: its `Debug` prints counts.
pub struct Proof {
    originals: Vec<Original>,
    placeholders: Vec<String>,
    exempt: usize,
    /// Made when it is first needed: an answer out of memory needs none.
    search: OnceLock<Search>,
}

struct Original {
    /// Which of those given it is.
    number: usize,
    entity: &'static str,
    text: String,
    /// The same without separators, where that says the same.
    loose: Option<Vec<u8>>,
    stands: Stands,
}

/// How an original must stand to count.
#[derive(Clone, Copy, PartialEq)]
enum Stands {
    Anywhere,
    /// No letter or digit at either side.
    Alone,
    /// No digit at either side.
    OwnNumber,
}

struct Search {
    exact: Matcher,
    loose: Option<(Matcher, Form)>,
}

/// An original stands in what was to be sent. Names the kind, never the value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a redacted value ({entity}) stands in what was to be sent")]
pub struct Leak {
    /// The value's entity.
    pub entity: &'static str,
}

/// Whether a hit is excused.
type Excuse<'e> = &'e dyn Fn(&Range<usize>, Stands) -> bool;

impl Proof {
    /// A proof of these originals by entity, for which these placeholders were issued.
    pub(crate) fn new<'v>(
        originals: impl Iterator<Item = (&'static str, &'v str)>,
        placeholders: Vec<String>,
    ) -> Proof {
        let (mut kept, mut exempt) = (Vec::new(), 0);
        for (number, (entity, text)) in originals.enumerate() {
            if text.chars().nth(LEAST - 1).is_none() {
                exempt += 1;
            } else {
                kept.push(Original::new(number, entity, text));
            }
        }
        Proof { originals: kept, placeholders, exempt, search: OnceLock::new() }
    }

    /// How many originals are too short to be looked for.
    pub fn exempt(&self) -> usize {
        self.exempt
    }

    /// Looks for the originals in bytes that are sent as they are: a path with its query, a header's value.
    ///
    /// # Errors
    /// [`Leak`] if one of them is there.
    pub fn check(&self, bytes: &[u8]) -> Result<(), Leak> {
        readings::each(bytes, &mut |reading| self.reading(reading))
    }

    /// Looks for the originals in a JSON document. `protocol` says whether a key, text or number is a word of the
    /// protocol, which stands in the document whoever wrote it, and is excused; numbers are only where they may be
    /// there by chance.
    ///
    /// # Errors
    /// [`Leak`] if one of them is there.
    pub fn check_json(&self, bytes: &[u8], protocol: &dyn Fn(&Spot<'_>) -> bool) -> Result<(), Leak> {
        let excuse = |hit: &Range<usize>, stands: Stands| {
            let by_chance = stands != Stands::Anywhere;
            spot::at(bytes, hit).is_some_and(|(spot, place)| {
                let spot = Spot { by_chance, ..spot };
                match spot.kind {
                    // Another number, with a fraction or exponent.
                    Kind::Number => by_chance && (place != *hit || protocol(&spot)),
                    Kind::Key | Kind::Text => protocol(&spot),
                }
            })
        };
        self.exact(bytes, &excuse)?;
        let mut done = 0;
        for token in spot::strings(bytes) {
            if readings::is_encoded(&bytes[token.clone()]) {
                self.loose(bytes, done..token.start, &excuse)?;
                done = token.end;
                readings::of_string(&bytes[token], &mut |reading| self.reading(reading))?;
            }
        }
        self.loose(bytes, done..bytes.len(), &excuse)
    }

    /// Where originals stand in a text as it is, and which; in no order and possibly overlapping.
    pub(crate) fn places(&self, text: &str) -> Vec<(usize, Range<usize>)> {
        let mut places = Vec::new();
        let Some(Search { exact, loose }) = self.search() else { return places };
        let bytes = text.as_bytes();
        let mut from = 0;
        while let Some(start) = exact.find(bytes, from) {
            let found = self.exactly_at(bytes, start, &|_, _| false);
            places.extend(found.map(|(original, place)| (original.number, place)));
            from = start + 1;
        }
        let Some((loose, form)) = loose else { return places };
        let (compact, mut from) = (Compact::of(bytes, 0..bytes.len(), form), 0);
        while let Some(start) = loose.find(&compact.bytes, from) {
            let found = self.loosely_at(bytes, &compact, start, &|_, _| false);
            let whole = |place: Range<usize>| place.start..ceil_boundary(text, place.end);
            places.extend(found.map(|(original, place)| (original.number, whole(place))));
            from = start + 1;
        }
        places
    }

    /// A text with placeholders for the originals that stand in it; none if none does.
    pub fn hide(&self, text: &str) -> Option<String> {
        let mut places = self.places(text);
        places.sort_by_key(|(_, place)| (place.start, std::cmp::Reverse(place.end)));
        let (mut out, mut from) = (String::new(), 0);
        for (number, place) in &places {
            if place.start >= from {
                out.push_str(&text[from..place.start]);
                out.push_str(self.placeholders.get(*number).map_or("", String::as_str));
            }
            from = from.max(place.end);
        }
        out.push_str(&text[from..]);
        (!places.is_empty()).then_some(out)
    }

    /// Whether a text is an original and nothing else.
    pub(crate) fn is_one(&self, text: &str) -> bool {
        self.originals.iter().any(|original| {
            original.text == text || original.loose.as_ref().is_some_and(|loose| loose == text.as_bytes())
        })
    }

    /// Looks into one reading of bytes, where nothing is excused.
    fn reading(&self, bytes: &[u8]) -> Result<(), Leak> {
        self.exact(bytes, &|_, _| false)?;
        self.loose(bytes, 0..bytes.len(), &|_, _| false)
    }

    /// What is searched with; none if there is nothing to look for.
    fn search(&self) -> Option<&Search> {
        (!self.originals.is_empty()).then(|| self.search.get_or_init(|| Search::of(&self.originals)))
    }

    fn exact(&self, bytes: &[u8], excuse: Excuse<'_>) -> Result<(), Leak> {
        let Some(Search { exact, .. }) = self.search() else { return Ok(()) };
        let mut from = 0;
        while let Some(start) = exact.find(bytes, from) {
            if let Some((leaked, _)) = self.exactly_at(bytes, start, excuse).next() {
                return Err(Leak { entity: leaked.entity });
            }
            from = start + 1;
        }
        Ok(())
    }

    /// Looks for numbers and ids with other separators in a part of the bytes.
    fn loose(&self, bytes: &[u8], part: Range<usize>, excuse: Excuse<'_>) -> Result<(), Leak> {
        let Some((loose, form)) = self.search().and_then(|search| search.loose.as_ref()) else {
            return Ok(());
        };
        let compact = Compact::of(bytes, part, form);
        let mut from = 0;
        while let Some(start) = loose.find(&compact.bytes, from) {
            if let Some((leaked, _)) = self.loosely_at(bytes, &compact, start, excuse).next() {
                return Err(Leak { entity: leaked.entity });
            }
            from = start + 1;
        }
        Ok(())
    }

    /// The originals that start here, and count; and where they stand.
    fn exactly_at<'p>(
        &'p self,
        bytes: &'p [u8],
        start: usize,
        excuse: Excuse<'p>,
    ) -> impl Iterator<Item = (&'p Original, Range<usize>)> {
        self.originals.iter().filter_map(move |original| {
            let hits = original.spellings().map(|spelling| (start..start + spelling.len(), spelling));
            let mut hits = hits.filter(|(_, spelling)| bytes[start..].starts_with(spelling.as_bytes()));
            let (hit, _) = hits.find(|(hit, _)| self.counts(bytes, hit, original.stands, excuse))?;
            Some((original, hit))
        })
    }

    fn loosely_at<'p>(
        &'p self,
        bytes: &'p [u8],
        compact: &'p Compact,
        start: usize,
        excuse: Excuse<'p>,
    ) -> impl Iterator<Item = (&'p Original, Range<usize>)> {
        self.originals.iter().filter_map(move |original| {
            let loose = original.loose.as_ref().filter(|loose| compact.bytes[start..].starts_with(loose))?;
            let hit = compact.place(start..start + loose.len());
            let counts = self.counts(bytes, &hit, original.stands_loosely(loose), excuse);
            counts.then_some((original, hit))
        })
    }

    fn counts(&self, bytes: &[u8], hit: &Range<usize>, stands: Stands, excuse: Excuse<'_>) -> bool {
        stands.holds(bytes, hit) && !self.is_in_placeholder(bytes, hit) && !excuse(hit, stands)
    }

    /// Whether a hit is within a placeholder that this vault issued.
    fn is_in_placeholder(&self, bytes: &[u8], hit: &Range<usize>) -> bool {
        self.placeholders.iter().any(|placeholder| {
            let first = hit.end.saturating_sub(placeholder.len());
            (first..=hit.start.min(bytes.len())).any(|at| bytes[at..].starts_with(placeholder.as_bytes()))
        })
    }
}

impl Original {
    fn new(number: usize, entity: &'static str, text: &str) -> Original {
        let digits = text.bytes().filter(u8::is_ascii_digit).count();
        let numeric = digits > 0 && !text.chars().any(char::is_alphabetic);
        let stands = if text.chars().nth(ALONE - 1).is_none() {
            Stands::Alone
        } else if numeric && digits < STRONG {
            Stands::OwnNumber
        } else {
            Stands::Anywhere
        };
        let loose = (!SPELLED.contains(&entity)).then(|| compact::whole(text.as_bytes())).flatten();
        let loose = loose.filter(|loose| {
            let digits = loose.iter().filter(|byte| byte.is_ascii_digit()).count();
            // An id with letters has enough of them both.
            loose.len() >= LEAST_LOOSE && (digits == loose.len() || digits >= LEAST)
        });
        Original { number, entity, text: text.to_owned(), loose, stands }
    }

    /// The value, and as forms send it: with a plus for each space.
    fn spellings(&self) -> impl Iterator<Item = std::borrow::Cow<'_, str>> {
        let form = self.text.contains(' ').then(|| self.text.replace(' ', "+").into());
        std::iter::once(self.text.as_str().into()).chain(form)
    }

    fn stands_loosely(&self, loose: &[u8]) -> Stands {
        match (loose.len() >= STRONG, loose.iter().all(u8::is_ascii_digit)) {
            (true, _) => Stands::Anywhere,
            (false, true) => Stands::OwnNumber,
            (false, false) => Stands::Alone,
        }
    }
}

impl Stands {
    fn holds(self, bytes: &[u8], hit: &Range<usize>) -> bool {
        let joins = |neighbour: Option<char>| {
            neighbour.is_some_and(|c| match self {
                Stands::Anywhere => false,
                Stands::Alone => c.is_alphanumeric(),
                Stands::OwnNumber => c.is_numeric(),
            })
        };
        self == Stands::Anywhere
            || !(joins(compact::last_char(&bytes[..hit.start]))
                || joins(compact::first_char(&bytes[hit.end..])))
    }
}

impl Search {
    fn of(originals: &[Original]) -> Search {
        let exact: Vec<Vec<u8>> = originals
            .iter()
            .flat_map(Original::spellings)
            .map(|spelling| spelling.into_owned().into_bytes())
            .collect();
        let loose: Vec<&Vec<u8>> = originals.iter().filter_map(|original| original.loose.as_ref()).collect();
        let loose = (!loose.is_empty()).then(|| (Matcher::new(&loose), Form::of(&loose)));
        Search { exact: Matcher::new(&exact), loose }
    }
}

impl fmt::Debug for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proof")
            .field("originals", &self.originals.len())
            .field("exempt", &self.exempt)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
