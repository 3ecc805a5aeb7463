//! E-mail addresses, other scripts' letters included.

use super::Candidate;
use crate::text::{Scan, is_word};
use std::ops::Range;

/// Endings of file and package names that are no top-level domains (`logo@2x.png`, `core@next.tsx`).
const FILE_ENDINGS: &[&str] = &[
    "png", "jpg", "jpeg", "gif", "svg", "webp", "bmp", "ico", "css", "scss", "js", "jsx", "ts", "tsx",
    "json", "yaml", "yml", "toml", "html", "htm", "xml", "pdf", "txt", "csv", "log", "lock", "exe", "dll",
    "jar", "local", "service", "target", "timer", "socket",
];

pub(super) fn find(scan: &Scan<'_>, _: &[Range<usize>], out: &mut Vec<Candidate>) {
    let mut free = 0;
    for &at in &scan.ats {
        if let Some(found) = email_at(scan, at, free) {
            free = found.span.end;
            out.push(found);
        }
    }
}

/// The address around the `@` at `at` which starts at `free` or later. Lengths are capped as RFC 5321 4.5.3.1
/// caps them (64 and 255), which also keeps a text of many `@` linear.
fn email_at(scan: &Scan<'_>, at: usize, free: usize) -> Option<Candidate> {
    let (left, right) = (&scan.text[free..at], &scan.text[at + 1..]);
    let local_chars =
        left.chars().rev().take(64).take_while(|c| c.is_alphanumeric() || "._%+-'&~!#$=/".contains(*c));
    let from = at - local_chars.map(char::len_utf8).sum::<usize>();
    // Of the signs that RFC 5322 allows, `=`, `/`, `$` … mostly stand before an address, not in it.
    let from = from + scan.text[from..at].rfind(['=', '/', '$', '!', '#']).map_or(0, |sign| sign + 1);
    let local = scan.text[from..at].trim_start_matches(|c: char| !is_word(c) && c != '+');
    let start = at - local.len();

    let domain_chars = right.chars().take(255).take_while(|c| c.is_alphanumeric() || matches!(c, '.' | '-'));
    let domain = &right[..domain_chars.map(char::len_utf8).sum::<usize>()];
    let domain = domain.split("..").next()?.trim_end_matches(['.', '-']);
    let domain = within_top_level(domain)?;
    let end = at + 1 + domain.len();
    let goes_on = scan.after(end).is_some_and(|c| is_word(c) || c == '@');
    if local.is_empty() || goes_on || remote_repository(scan, local, end) || url_password(scan, start) {
        return None;
    }
    let labels =
        domain.split('.').all(|label| !label.is_empty() && !label.starts_with('-') && !label.ends_with('-'));
    labels.then(|| Candidate::new(start..end, 0.0))
}

/// `domain` if its last label may be a top-level domain: letters of any script, or punycode, and no file ending.
fn within_top_level(domain: &str) -> Option<&str> {
    let (_, top) = domain.rsplit_once('.')?;
    let letters = top.chars().count() >= 2 && top.chars().all(char::is_alphabetic);
    let punycode = top.get(..4).is_some_and(|head| head.eq_ignore_ascii_case("xn--"));
    let file = FILE_ENDINGS.iter().any(|ending| ending.eq_ignore_ascii_case(top));
    ((letters || punycode) && !file).then_some(domain)
}

/// `git@host:path` names a repository, not a person.
fn remote_repository(scan: &Scan<'_>, local: &str, end: usize) -> bool {
    matches!(local, "git" | "hg" | "svn") && matches!(scan.after(end), Some(':' | '/'))
}

/// Whether what starts at `start` is the password of `scheme://user:password@host`; that is a secret's rule.
fn url_password(scan: &Scan<'_>, start: usize) -> bool {
    let Some(user) = scan.text[..start].strip_suffix(':') else { return false };
    let name = user.chars().rev().take(64).take_while(|c| !c.is_whitespace() && *c != '/');
    user[..user.len() - name.map(char::len_utf8).sum::<usize>()].ends_with("://")
}

#[cfg(test)]
mod tests {
    use crate::pii::found;

    #[test]
    fn an_address_is_found_without_its_surroundings() {
        for (text, address) in [
            ("Mail <ada.l+news@mail.example.org>, now.", "ada.l+news@mail.example.org"),
            ("mailto:o'brien@example.ie?subject=x", "o'brien@example.ie"),
            ("to=ada@example.org&x=1", "ada@example.org"),
            ("jörg@müller.example", "jörg@müller.example"),
            ("the end is ada@example.org...", "ada@example.org"),
            ("'ada@example.org'", "ada@example.org"),
        ] {
            assert_eq!(found("EMAIL_ADDRESS", text), [address], "{text}");
        }
    }

    #[test]
    fn an_at_sign_alone_makes_no_address() {
        for text in [
            "git@github.com:me/x.git",
            "react@18.2.0",
            "logo@2x.png",
            "user@localhost",
            "@dataclass",
            "a @ b.com",
            "x@.com",
        ] {
            assert!(found("EMAIL_ADDRESS", text).is_empty(), "{text}");
        }
    }
}
