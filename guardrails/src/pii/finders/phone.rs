//! Telephone numbers: international, North American, and national prints.

use super::{Candidate, numbering};
use crate::text::{Scan, is_dash, is_space, is_word};
use std::ops::Range;

/// Numbers in every print. National ones need context: such a print is that of many numbers.
pub(super) fn find(scan: &Scan<'_>, _: &[Range<usize>], out: &mut Vec<Candidate>) {
    let (mut first, mut free) = (0, 0);
    while first < scan.digits.len() {
        let phone = Run::at(scan, first, free).and_then(|run| run.candidate(scan));
        if let Some((_, last)) = phone {
            free = last + 1;
        }
        first = phone.as_ref().map_or(first, |(_, last)| *last) + 1;
        out.extend(phone.map(|(candidate, _)| candidate));
    }
}

/// National numbers of three groups or more, or with an area code in parentheses: enough where a text only says "number".
pub(super) fn grouped(scan: &Scan<'_>, _: &[Range<usize>], out: &mut Vec<Candidate>) {
    let mut all = Vec::new();
    find(scan, &[], &mut all);
    out.extend(all.into_iter().filter(|candidate| {
        let value = &scan.text[candidate.span.clone()];
        let groups = value.split(|c: char| !c.is_ascii_digit()).filter(|group| !group.is_empty()).count();
        candidate.bare && (groups > 2 || value.starts_with('('))
    }));
}

/// Fewer digits than these are no number to call from elsewhere.
const SHORTEST: usize = 6;

/// Digit groups which may be one telephone number.
struct Run<'t> {
    start: usize,
    /// Index of the first group among the scan's digit runs.
    first: usize,
    /// Lengths of the groups and the text before each (empty before the first).
    sizes: Vec<usize>,
    gaps: Vec<&'t str>,
    digits: String,
    plus: bool,
    /// Whether other digits stand before, so that this may be the rest of something longer ("1 200 000").
    rest: bool,
}

impl<'t> Run<'t> {
    /// Joins groups from digit run `first` on, up to the 15 digits of E.164 (and a written `00` or `(0)`). Runs
    /// before `free` belong to other numbers.
    fn at(scan: &Scan<'t>, first: usize, free: usize) -> Option<Run<'t>> {
        let group = &scan.digits[first];
        let mut start = group.start;
        let mut plus = false;
        for sign in ['(', '+', '('] {
            if scan.before(start) == Some(sign) && !(sign == '+' && plus) {
                plus |= sign == '+';
                start -= 1;
            }
        }
        let refused = |c: char| is_word(c) || "#$€£¥".contains(c) || (plus && c == ')');
        let joined = scan.before(start).is_some_and(|c| "-./,*=".contains(c))
            && scan.text[..start - 1].chars().next_back().is_some_and(|c| c.is_alphanumeric() && !plus);
        if scan.before(start).is_some_and(refused) || joined {
            return None;
        }
        let rest = (free..first).next_back().and_then(|before| scan.gap(before)).is_some_and(joins);
        let (sizes, gaps, digits) = (Vec::new(), Vec::new(), String::new());
        let mut run = Run { start, first, sizes, gaps, digits, plus, rest };
        run.push(&scan.text[group.clone()], "");
        while let Some(gap) = scan.gap(run.last()).filter(|gap| joins(gap)) {
            let next = &scan.digits[run.last() + 1];
            if run.digits.len() + next.len() > 17 {
                break;
            }
            run.push(&scan.text[next.clone()], gap);
        }
        Some(run)
    }

    fn push(&mut self, digits: &str, gap: &'t str) {
        self.digits.push_str(digits);
        self.sizes.push(digits.len());
        self.gaps.push(gap);
    }

    fn pop(&mut self) {
        let size = self.sizes.pop().unwrap_or(0);
        self.digits.truncate(self.digits.len() - size);
        self.gaps.pop();
    }

    fn last(&self) -> usize {
        self.first + self.sizes.len() - 1
    }

    fn end(&self, scan: &Scan<'_>) -> usize {
        scan.digits[self.last()].end
    }

    /// The candidate and the index of its last group, dropping groups from the end until one form fits.
    fn candidate(mut self, scan: &Scan<'_>) -> Option<(Candidate, usize)> {
        while self.digits.len() >= SHORTEST {
            if let Some((odds, bare)) = self.shape() {
                let end = self.end(scan);
                let span = self.start..extension(scan, end).unwrap_or(end);
                let signs = |sign| scan.text[span.clone()].matches(sign).count();
                if signs('(') == signs(')') && ends(scan, span.end) {
                    return Some((Candidate { span, odds, bare }, self.last()));
                }
            }
            self.pop();
        }
        None
    }

    /// What the form of the digits says for them, and whether that is nothing without context.
    fn shape(&self) -> Option<(f32, bool)> {
        let abroad = self.digits.strip_prefix("00").or_else(|| self.digits.strip_prefix("011"));
        if self.plus {
            self.international(&self.digits).then_some((1.2, false))
        } else if abroad.is_some_and(|digits| self.international(digits)) {
            Some((if self.sizes.len() > 1 { 0.5 } else { 0.0 }, false))
        } else if let Some(odds) = self.north_american() {
            // Ten digits in one run are that of many things.
            Some((odds, self.sizes.len() == 1))
        } else {
            self.national().filter(|_| !self.rest).map(|odds| (odds, true))
        }
    }

    /// Whether `digits`, country code first, are as long as that country's numbers. A trunk zero in parentheses
    /// is no part of the number.
    fn international(&self, digits: &str) -> bool {
        let trunk = self.sizes.iter().zip(&self.gaps).any(|(size, gap)| *size == 1 && gap.ends_with('('));
        let Some((code, plan)) = numbering::country(digits) else { return false };
        let national = digits.len() - code - usize::from(trunk);
        let allowed = plan.contains(&national);
        allowed && (code != 1 || !digits.starts_with('1') || numbering::area_code(&digits[1..]))
    }

    /// The prior of a North American print, by how distinct it is.
    fn north_american(&self) -> Option<f32> {
        let national = self.digits.strip_prefix("001").unwrap_or(&self.digits);
        let national = national.strip_prefix('1').filter(|rest| rest.len() == 10).unwrap_or(national);
        let sizes: &[usize] = match self.sizes.as_slice() {
            [1 | 3, rest @ ..] if rest.len() == 3 => rest,
            sizes => sizes,
        };
        if !numbering::north_american(national) || self.digits.len() < 10 {
            return None;
        }
        let gap = self.gaps.last().copied().unwrap_or("");
        let area = self.gaps.len().checked_sub(2).map_or("", |i| self.gaps[i]);
        match sizes {
            [3, 3, 4] if area.contains(')') => Some(1.0),
            [3, 3, 4] if gap.chars().all(is_dash) && area.chars().all(is_dash) => Some(0.8),
            [3, 3, 4] if gap == area && gap == "." => Some(0.5),
            [3, 3, 4] => Some(-0.2),
            [3, 7] if area.contains(')') || gap.contains(')') => Some(0.8),
            [10 | 11] => Some(-0.3),
            _ => None,
        }
    }

    /// The prior of some country's national print, `None` for dates, ranges, versions and amounts.
    fn national(&self) -> Option<f32> {
        let count = self.digits.len();
        let dots = self.gaps.iter().filter(|gap| **gap == ".").count();
        let all_small = self.sizes.iter().all(|size| *size <= 2);
        let trunk = self.digits.starts_with('0');
        match self.sizes.len() {
            1 => (7..=12).contains(&count).then_some(if trunk { 0.0 } else { -0.4 }),
            groups => {
                let version = dots > 0 && groups >= 4 && self.sizes.iter().all(|size| *size <= 3) && !trunk;
                let clock = dots > 0 && all_small && self.gaps.iter().any(|gap| gap.contains('-'));
                // Digits one by one are a list of numbers.
                let list = self.sizes.iter().filter(|size| **size == 1).count() > 2;
                let plain = (6..=13).contains(&count) && !list && !self.date() && !version && !clock;
                plain.then_some(if trunk || self.gaps.iter().any(|gap| gap.contains(')')) {
                    0.4
                } else {
                    0.0
                })
            }
        }
    }

    /// Whether the groups are a date, or a range of years or sums.
    fn date(&self) -> bool {
        let mut rest = self.digits.as_str();
        let mut parts = Vec::new();
        for size in &self.sizes {
            let (part, tail) = rest.split_at(*size);
            parts.push(part.parse::<u32>().unwrap_or(u32::MAX));
            rest = tail;
        }
        let year = |part: u32| (1900..2100).contains(&part);
        let day_month = |a: u32, b: u32| (1..=31).contains(&a) && (1..=31).contains(&b) && a.min(b) <= 12;
        match (self.sizes.as_slice(), parts.as_slice()) {
            ([4, 4], [from, to]) if year(*from) && year(*to) => true,
            // A span of round sums ("3000 - 4000").
            ([3..=6, 3..=6], [from, to]) => {
                self.gaps[1].contains(is_dash)
                    && from < to
                    && from % 10 == 0
                    && to % 10 == 0
                    && !self.digits.starts_with('0')
            }
            ([4, 1 | 2, 1 | 2, ..], [y, m, d, ..]) => year(*y) && day_month(*m, *d),
            ([1 | 2, 1 | 2, 4, ..], [d, m, y, ..]) => year(*y) && day_month(*d, *m),
            ([2, 2, 2], [d, m, _]) => day_month(*d, *m) && self.gaps[1] != " ",
            _ => false,
        }
    }
}

/// Whether `gap` separates two groups of one number: a space, dash, dot or slash, parentheses, or two of these.
fn joins(gap: &str) -> bool {
    let sign = |c: char| is_dash(c) || matches!(c, '.' | '/');
    let mut chars = gap.chars();
    match (chars.next(), chars.next(), chars.next(), chars.next()) {
        (Some(c), None, ..) => is_space(c) || sign(c) || matches!(c, '(' | ')'),
        (Some(a), Some(b), None, _) => {
            (is_space(a) && b == '(') || (a == ')' && (is_space(b) || sign(b))) || (sign(a) && b == '(')
        }
        (Some(a), Some(b), Some(c), None) => is_space(a) && is_dash(b) && is_space(c),
        _ => false,
    }
}

/// Whether a number may end at `end`: nothing that makes it part of a word, a time, an amount or a longer number.
fn ends(scan: &Scan<'_>, end: usize) -> bool {
    let unit = scan.after(end).is_some_and(|c| is_word(c) || "%€$£°".contains(c));
    !unit && !scan.goes_on(end, ":,-./")
}

/// The end of an extension written behind a number that ends at `end` (`x12`, `ext. 12`).
fn extension(scan: &Scan<'_>, end: usize) -> Option<usize> {
    let rest = &scan.text[end..];
    let trimmed = rest.trim_start_matches([' ', ',']);
    let mark = ["extension", "ext.", "ext", "x"]
        .into_iter()
        .find(|mark| trimmed.get(..mark.len()).is_some_and(|head| head.eq_ignore_ascii_case(mark)))?;
    let number = trimmed[mark.len()..].trim_start_matches([' ', ':']);
    let digits = number.bytes().take_while(u8::is_ascii_digit).count();
    let end = end + (rest.len() - number.len()) + digits;
    ((1..=6).contains(&digits) && scan.ends_token(end)).then_some(end)
}

#[cfg(test)]
mod tests {
    use crate::pii::found;

    #[test]
    fn international_numbers_need_no_context() {
        for number in [
            "+49 30 901820",
            "+44 (0)20 7946 0958",
            "+1-212-555-0142",
            "+12125550142",
            "(+34) 912 345 678",
            "+33 1 99 00 12 34",
            "0044 20 7946 0958",
            "+41 44 668 18 00",
        ] {
            assert_eq!(found("PHONE_NUMBER", &format!("It is {number}.")), [number]);
        }
    }

    #[test]
    fn north_american_prints_need_no_context_but_bare_digits_do() {
        for number in
            ["(212) 555-0142", "212-555-0142", "212.555.0142", "1-212-555-0142", "(212) 555-0142 x33"]
        {
            assert_eq!(found("PHONE_NUMBER", &format!("It is {number}.")), [number]);
        }
        assert!(found("PHONE_NUMBER", "It is 2125550142").is_empty());
        assert_eq!(found("PHONE_NUMBER", "Fax: 2125550142"), ["2125550142"]);
    }

    #[test]
    fn national_numbers_need_context() {
        assert!(found("PHONE_NUMBER", "Es waren 030 901820").is_empty());
        assert_eq!(found("PHONE_NUMBER", "Telefon 030 901820"), ["030 901820"]);
        assert_eq!(found("PHONE_NUMBER", "You can call 01 99 00 12 34 today"), ["01 99 00 12 34"]);
    }

    #[test]
    fn dates_versions_orders_and_sums_are_no_numbers_to_call() {
        for text in [
            "call me on 2024-11-05",
            "call on 05.11.2024",
            "call about order 48-219-33",
            "text version 1.2.3.4567",
            "phone booked 2019-2023",
            "a phone for 3000 - 4000",
            "C++11 and 1+442079460958",
            "call UTC+10000000",
            "it is 212-555-01422",
            "the phone costs $1 200 000",
            "212-555-0142-77",
            "+999 123 4567",
            "+1 911 555 0142",
        ] {
            assert!(found("PHONE_NUMBER", text).is_empty(), "{text}");
        }
    }
}
