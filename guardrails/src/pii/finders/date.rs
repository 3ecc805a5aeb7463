//! Dates, with the time behind them: in figures, with a month's name, and lone years where the text says so.

use super::Candidate;
use crate::text::{Scan, ceil_boundary, floor_boundary};
use regex::Regex;
use std::ops::Range;
use std::sync::LazyLock;

fn expression(pattern: &str) -> Regex {
    // Constant, and a test uses each.
    Regex::new(pattern).expect("a constant expression compiles")
}

/// What may follow a date as its time of day.
static TIME: LazyLock<Regex> = LazyLock::new(|| {
    expression(
        r"\A(?:T|,? (?:at |um |à |alle |kl\. ?)?)(?:[01]?[0-9]|2[0-4])[:.h][0-5][0-9](?::[0-5][0-9](?:[.,][0-9]{1,9})?)?(?:Z\b|(?: ?[AaPp]\.?[Mm]\b\.?|(?-u:\b))(?: ?(?:UTC\b|GMT\b|[+-][0-9]{2}:?[0-9]{2}\b))?)",
    )
});
/// A day of the month before a month's name, at the end of what stands before.
static DAY_BEFORE: LazyLock<Regex> = LazyLock::new(|| {
    expression(
        r"(?:\A|[^\w.,/-])((?:0?[1-9]|[12][0-9]|3[01])(?:st|nd|rd|th|er|º|\.)?[ \u{a0}-]?(?:of |de |d'|day of )?)\z",
    )
});
/// A day, a year or both behind a month's name.
static AFTER: LazyLock<Regex> = LazyLock::new(|| {
    expression(
        r"(?i)\A(?:(\.?[ -](?:the )?(?:0?[1-9]|[12][0-9]|3[01])(?:st|nd|rd|th)?(?:,? (?:of |de |del )?(?:1[5-9]|20)[0-9]{2}|,? '[0-9]{2})?)|(\.?,?[ -](?:of |de |del )?(?:1[5-9]|20)[0-9]{2}|\.? ['’][0-9]{2})|(-[0-9]{2}))(?-u:\b)",
    )
});

/// Dates in figures: year first or last, with one separator.
pub(super) fn numeric(scan: &Scan<'_>, _: &[Range<usize>], out: &mut Vec<Candidate>) {
    for first in 0..scan.digits.len() {
        out.extend(numeric_at(scan, first));
    }
}

fn numeric_at(scan: &Scan<'_>, first: usize) -> Option<Candidate> {
    let last = scan.digits.get(first + 2)?;
    let (gap, second) = (scan.gap(first)?, scan.gap(first + 1)?);
    let part = |at: usize| {
        let run = &scan.digits[first + at];
        (run.len() <= 4).then(|| scan.text[run.clone()].parse::<u32>().ok()).flatten()
    };
    let parts = [part(0)?, part(1)?, part(2)?];
    let sizes = [scan.digits[first].len(), scan.digits[first + 1].len(), last.len()];
    let east_asian = (gap, second) == ("年", "月");
    if !(east_asian || (gap == second && matches!(gap, "-" | "/" | "."))) {
        return None;
    }
    let odds = reading(sizes, parts, gap)?;
    let start = scan.digits[first].start;
    let mut end = last.end;
    if east_asian {
        end += scan.text[end..].chars().next().filter(|c| matches!(c, '日' | '号')).map_or(0, char::len_utf8);
    }
    let timed = time_behind(scan, end);
    let free = scan.starts_token(start)
        && !scan.began_earlier(start, "-./,")
        && (timed.is_some() || (scan.ends_token(end) && !scan.goes_on(end, "-./")) || east_asian);
    let slashed = scan.before(start).is_some_and(|c| matches!(c, '/' | '-'));
    (free && !slashed).then(|| Candidate::new(start..timed.unwrap_or(end), odds))
}

/// What speaks for three numbers being a date, if they can be one.
fn reading(sizes: [usize; 3], [a, b, c]: [u32; 3], separator: &str) -> Option<f32> {
    let day_and_month = |a: u32, b: u32| (1..=31).contains(&a) && (1..=31).contains(&b) && a.min(b) <= 12;
    let year = |year: u32| (1500..2200).contains(&year);
    match sizes {
        [4, 1 | 2, 1 | 2] => (year(a) && (1..=12).contains(&b) && (1..=31).contains(&c)).then_some(1.0),
        [1 | 2, 1 | 2, 4] => (year(c) && day_and_month(a, b)).then_some(1.0),
        // With two figures for the year it is also a version, a score or a fraction.
        [1 | 2, 1 | 2, 2] if day_and_month(a, b) => Some(if separator == "/" { 0.4 } else { -0.6 }),
        _ => None,
    }
}

/// The end of a time of day that stands behind a date ending at `end`.
fn time_behind(scan: &Scan<'_>, end: usize) -> Option<usize> {
    let to = floor_boundary(scan.text, (end + 48).min(scan.text.len()));
    TIME.find(&scan.text[end..to]).map(|time| end + time.end())
}

/// Dates with a month's name, which the row's keywords are.
pub(super) fn month(scan: &Scan<'_>, hits: &[Range<usize>], out: &mut Vec<Candidate>) {
    let mut free = 0;
    for hit in hits {
        if hit.start < free || !scan.starts_token(hit.start) || !scan.ends_token(hit.end) {
            continue;
        }
        let from = ceil_boundary(scan.text, hit.start.saturating_sub(24)).max(free);
        let to = floor_boundary(scan.text, (hit.end + 24).min(scan.text.len()));
        let day = DAY_BEFORE.captures(&scan.text[from..hit.start]).and_then(|found| found.get(1));
        let after = AFTER.captures(&scan.text[hit.end..to]);
        // "5 May 6" is no day, month and day.
        let follows = after.as_ref().filter(|after| day.is_none() || after.get(1).is_none());
        let dated = |group: usize| follows.is_some_and(|after| after.get(group).is_some());
        let with_year = follows.and_then(|after| after.get(0)).is_some_and(|after| {
            after
                .as_str()
                .as_bytes()
                .last_chunk::<4>()
                .is_some_and(|year| year.iter().all(u8::is_ascii_digit))
        });
        let name = &scan.text[hit.clone()];
        let word_too =
            matches!(name, "may" | "march" | "mars" | "set" | "sept" | "mar" | "dec" | "jan" | "out");
        if (day.is_none() && !dated(1) && !dated(2)) || (word_too && !with_year) {
            continue;
        }
        let start = day.map_or(hit.start, |day| from + day.start());
        let mut end = follows.and_then(|after| after.get(0)).map_or(hit.end, |whole| hit.end + whole.end());
        end = time_behind(scan, end).unwrap_or(end);
        free = end;
        out.push(Candidate::new(start..end, 0.0));
    }
}

/// Years by themselves: behind a word of time, within parentheses, or before what they date ("a 1973 film").
pub(super) fn year(scan: &Scan<'_>, _: &[Range<usize>], out: &mut Vec<Candidate>) {
    const BEFORE: &[&str] = &[
        "in", "since", "of", "from", "until", "till", "by", "before", "after", "during", "around", "circa",
        "year", "seit", "jahr", "bis", "en", "depuis", "desde", "año", "nel", "dal", "anno", "late", "early",
        "mid",
    ];
    const ARTICLES: &[&str] = &["a", "an", "the"];
    for run in scan.digits.iter().filter(|run| run.len() == 4) {
        let century = &scan.text[run.start..run.start + 2];
        let joined = scan.began_earlier(run.start, "-./,:") || scan.goes_on(run.end, "-./,:");
        // "the 1990s"
        let decade = scan.text.as_bytes().get(run.start + 3..run.start + 5) == Some(b"0s");
        let end = run.end + usize::from(decade);
        if !matches!(century, "17" | "18" | "19" | "20") || joined || !scan.ends_token(end) {
            continue;
        }
        let left = &scan.text[ceil_boundary(scan.text, run.start.saturating_sub(16))..run.start];
        let word = left
            .strip_suffix(' ')
            .map_or("", |left| left.rsplit(|c: char| !c.is_alphabetic()).next().unwrap_or(""));
        let is = |words: &[&str]| words.iter().any(|known| known.eq_ignore_ascii_case(word));
        let mut right = scan.text[run.end..].chars();
        let (next, second) = (right.next(), right.next());
        let modifies = decade || (next == Some(' ') && second.is_some_and(char::is_alphabetic));
        let enclosed = left.ends_with('(') && next == Some(')');
        if enclosed || is(BEFORE) || (is(ARTICLES) && modifies) {
            out.push(Candidate::new(run.start..end, 0.0));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(find: super::super::Find, keywords: &[&str], text: &str) -> Vec<String> {
        let (scan, mut out) = (Scan::new(text, ""), Vec::new());
        let mut hits: Vec<Range<usize>> = keywords
            .iter()
            .flat_map(|word| text.match_indices(word).map(|(at, word)| at..at + word.len()))
            .collect();
        hits.sort_by_key(|hit| hit.start);
        find(&scan, &hits, &mut out);
        out.into_iter().map(|candidate| text[candidate.span].to_owned()).collect()
    }

    #[test]
    fn a_date_in_figures_takes_its_time_along() {
        for date in [
            "2024-11-05",
            "2024-11-05T08:30:00Z",
            "2024-11-05 08:30:00.123 +01:00",
            "5/11/2024",
            "05.11.2024, 08:30",
            "11/5/2024 8:30 pm",
            "2024年11月5日",
        ] {
            assert_eq!(found(numeric, &[], &format!("on {date} it was")), [date]);
        }
    }

    #[test]
    fn versions_addresses_and_impossible_days_are_no_dates() {
        for text in
            ["2024-13-05", "32/13/2024", "1.2.3.4", "2024-11-05-7", "10/20/30/40", "5-11/2024", "a5/11/2024"]
        {
            assert!(found(numeric, &[], text).is_empty(), "{text}");
        }
    }

    #[test]
    fn a_months_name_needs_a_day_or_a_year() {
        let months = ["March", "März", "mars", "may", "enero"];
        for (text, date) in [
            ("on March 3rd, 2024 at 5", "March 3rd, 2024"),
            ("on the 3rd of March 2024.", "3rd of March 2024"),
            ("in March 2024", "March 2024"),
            ("in March '98", "March '98"),
            ("am 3. März 2024 um 10:30", "3. März 2024 um 10:30"),
            ("le 3 mars 2024", "3 mars 2024"),
            ("el 3 de enero de 2024", "3 de enero de 2024"),
        ] {
            assert_eq!(found(month, &months, text), [date]);
        }
        for text in ["March on", "you may 5", "it may be 2024", "Marching 2024", "x3 March"] {
            assert!(found(month, &months, text).is_empty(), "{text}");
        }
    }

    #[test]
    fn a_lone_year_needs_a_word_of_time() {
        assert_eq!(
            found(year, &[], "founded in 1971, a 1973 film (1980), the 1990s"),
            ["1971", "1973", "1980", "1990s"]
        );
        assert!(found(year, &[], "room 1971, the 1984.5, in 1971-1975, 2010").is_empty());
    }
}
