//! Addresses of the web: whole URLs, and names of domains in them or by themselves.

use super::Candidate;
use crate::text::{Scan, floor_boundary, is_word};
use std::net::Ipv4Addr;
use std::ops::Range;

/// Top-level domains that occur in writing without a scheme before them: those of countries (ISO 3166-1 and `eu`,
/// `uk`), and the generic ones with the most names in the root zone.
const COUNTRIES: &str = "ac ad ae af ag ai al am ao aq ar as at au aw ax az ba bb bd be bf bg bh bi bj bm bn bo br bs bt bw by bz \
ca cc cd cf cg ch ci ck cl cm cn co cr cu cv cw cx cy cz de dj dk dm do dz ec ee eg er es et eu fi fj fk fm fo fr ga gb gd ge gf gg \
gh gi gl gm gn gp gq gr gs gt gu gw gy hk hm hn hr ht hu id ie il im in io iq ir is it je jm jo jp ke kg kh ki km kn kp kr kw ky kz \
la lb lc li lk lr ls lt lu lv ly ma mc me mg mh mk ml mm mn mo mp mq mr ms mt mu mv mw mx my mz na nc ne nf ng ni nl no np nr nu nz \
om pa pe pf pg ph pk pn pr pt pw qa re ro ru rw sa sb sc sd se sg si sk sl sm sn sr st su sv sx sy sz tc td tf tg th tj tk tl tm tn \
to tr tt tv tw tz ua ug uk us uy uz va vc ve vg vi vn vu wf ws ye yt za zm zw";
const GENERIC: &str = "com org net edu gov mil int info biz name pro museum coop aero jobs mobi travel tel cat asia xxx app dev blog shop \
online site website store tech space cloud live life world today news agency digital email company solutions services systems network \
media group club design studio photography guru expert academy education school university bank finance money insurance health care \
clinic hospital doctor legal law consulting marketing social community events tickets restaurant bar cafe pizza recipes fitness \
games game fun xyz top icu wiki page link click work works global international london berlin paris tokyo nyc moscow amsterdam wien \
hamburg koeln bayern arpa test example invalid webcam party review science stream trade download win bid loan date racing men";
/// Country codes that are also endings of files, or words: a bare name with one needs context.
const ALSO_ENDINGS: &str = "ai al am as at be bz by cc cd cl cs do hm id in is it js la li ma md me ml mm mo ms my no pa pl pm pn pr \
ps pt py re rs sh so st tf to ts us vi ws name pro test example invalid date work works page link group live life media date int";

/// URLs with a scheme, or with a host that starts with `www.`; the keywords are `://` and `www.`.
pub(super) fn urls(scan: &Scan<'_>, hits: &[Range<usize>], out: &mut Vec<Candidate>) {
    out.extend(written(scan, hits).map(|url| Candidate::new(url.start..url.end, 0.0)));
}

/// Names of domains: the hosts of URLs, and bare ones.
pub(super) fn domains(scan: &Scan<'_>, _: &[Range<usize>], out: &mut Vec<Candidate>) {
    let mut taken = Vec::new();
    for url in written(scan, &starts(scan.text)) {
        taken.push(url.start..url.end);
        if scan.text[url.host.clone()].parse::<Ipv4Addr>().is_err() {
            out.push(Candidate::new(url.host, 0.5));
        }
    }
    out.extend(bare_hosts(scan, &taken));
}

/// Bare names of domains, which are URLs to whoever types them.
pub(super) fn bare(scan: &Scan<'_>, _: &[Range<usize>], out: &mut Vec<Candidate>) {
    let taken: Vec<_> = written(scan, &starts(scan.text)).map(|url| url.start..url.end).collect();
    out.extend(bare_hosts(scan, &taken));
}

/// Where URLs may start.
fn starts(text: &str) -> Vec<Range<usize>> {
    let all = |mark: &'static str| text.match_indices(mark).map(move |(at, _)| at..at + mark.len());
    let mut starts: Vec<_> = all("://").chain(all("www.")).collect();
    starts.sort_by_key(|start| start.start);
    starts
}

struct Url {
    start: usize,
    end: usize,
    host: Range<usize>,
}

fn written(scan: &Scan<'_>, hits: &[Range<usize>]) -> impl Iterator<Item = Url> {
    let mut free = 0;
    hits.iter().filter_map(move |hit| {
        if hit.start < free {
            return None;
        }
        let (url, end) = url_at(scan, hit);
        free = end;
        url
    })
}

/// The URL that starts around `hit`, and up to where there is no other.
fn url_at(scan: &Scan<'_>, hit: &Range<usize>) -> (Option<Url>, usize) {
    /// Longer ones are no addresses to write down.
    const LONGEST: usize = 2048;
    const LONGEST_HOST: usize = 384;
    /// What closes a sentence rather than an address.
    const CLOSING: &[char] = &['.', ',', ';', ':', '!', '?', '*', '_', ')', ']'];
    let with_scheme = scan.text[hit.clone()].ends_with('/');
    let (start, from) = if with_scheme {
        let scheme =
            scan.text[..hit.start].bytes().rev().take(16).take_while(u8::is_ascii_alphanumeric).count();
        (hit.start - scheme, hit.end)
    } else {
        (hit.start, hit.start)
    };
    if (with_scheme && hit.start - start < 2) || !scan.starts_token(start) {
        return (None, hit.end);
    }
    let window =
        |length: usize| &scan.text[from..floor_boundary(scan.text, (from + length).min(scan.text.len()))];
    let ends = |c: char| c.is_whitespace() || "<>\"'`{}|\\^".contains(c);
    // The host first: it is short, and most of what is none ends here.
    let authority = window(LONGEST_HOST);
    let authority = &authority[..authority.find(|c| ends(c) || "/?#".contains(c)).unwrap_or(authority.len())];
    let host_from = authority.rfind('@').map_or(0, |at| at + 1);
    let host = &authority[host_from..];
    let host = host.split(':').next().unwrap_or(host).trim_end_matches(CLOSING);
    let named = labels(host) && host.rsplit('.').next().is_some_and(is_top);
    let known = with_scheme || known_top(host).is_some();
    if !(named && known || with_scheme && host.parse::<Ipv4Addr>().is_ok()) {
        return (None, from + authority.len());
    }
    let text = window(LONGEST);
    let text = text[..text.find(ends).unwrap_or(text.len())].trim_end_matches(CLOSING);
    let host_from = from + host_from;
    let end = from + text.len();
    (Some(Url { start, end, host: host_from..host_from + host.len() }), end)
}

/// Bare names outside of `taken`, of addresses of mail and of longer names.
fn bare_hosts(scan: &Scan<'_>, taken: &[Range<usize>]) -> Vec<Candidate> {
    let (bytes, mut found, mut free) = (scan.text.as_bytes(), Vec::new(), 0);
    let mut taken = taken.iter().peekable();
    for (at, _) in scan.text.match_indices('.') {
        let inner = at > free
            && bytes[at - 1].is_ascii_alphanumeric()
            && bytes.get(at + 1).is_some_and(u8::is_ascii_alphanumeric);
        if !inner {
            continue;
        }
        let part = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
        let start = at - bytes[free..at].iter().rev().take_while(|byte| part(byte)).count();
        let end = at + bytes[at..].iter().take_while(|byte| part(byte)).count();
        free = end;
        while taken.next_if(|url| url.end <= start).is_some() {}
        if taken.peek().is_some_and(|url| url.start < end) {
            continue;
        }
        let host = scan.text[start..end].trim_end_matches(['.', '-', '_']);
        let end = start + host.len();
        let of_mail = scan.before(start) == Some('@') || scan.after(end) == Some('@');
        let in_code = scan.after(end).is_some_and(|c| is_word(c) || c == '(')
            || scan.before(start).is_some_and(|c| is_word(c) || matches!(c, '/' | '\\' | '$' | '.' | '-'));
        if host.len() > 253 || of_mail || in_code || !labels(host) || host.contains('_') {
            continue;
        }
        if let Some(bare) = known_top(host) {
            found.push(Candidate { span: start..end, odds: if bare { -0.6 } else { 0.0 }, bare });
        }
    }
    found
}

/// Whether a label may be a top-level domain at all.
fn is_top(label: &str) -> bool {
    label.starts_with("xn--") || (label.len() > 1 && label.chars().all(char::is_alphabetic))
}

/// Whether a host is made of two labels or more, each of letters, digits and inner dashes.
fn labels(host: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.chars().all(|c| c.is_alphanumeric() || c == '-' || c == '_')
    };
    host.contains('.') && host.split('.').all(label)
}

/// Whether the host's top-level domain is known; and if so, whether it is also a word or an ending of files.
fn known_top(host: &str) -> Option<bool> {
    let top = host.rsplit('.').next()?.to_ascii_lowercase();
    let in_list = |list: &str| list.split_ascii_whitespace().any(|known| known == top);
    // `Node.js`, `e.g`, `Fig.This`: an ending with a capital is the start of a sentence.
    let sentence = host.rsplit('.').next()?.starts_with(|c: char| c.is_ascii_uppercase())
        && host.chars().any(|c| c.is_ascii_lowercase());
    (!sentence && (in_list(COUNTRIES) || in_list(GENERIC) || top.starts_with("xn--")))
        .then(|| in_list(ALSO_ENDINGS))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(find: super::super::Find, text: &str) -> Vec<String> {
        let mut out = Vec::new();
        find(&Scan::new(text, ""), &starts(text), &mut out);
        out.into_iter().filter(|found| !found.bare).map(|found| text[found.span].to_owned()).collect()
    }

    #[test]
    fn a_url_ends_where_the_sentence_goes_on() {
        assert_eq!(
            found(urls, "See (https://a.example/b?c=d), www.sluice.example. and http://91.198.174.192:80/x"),
            ["https://a.example/b?c=d", "www.sluice.example", "http://91.198.174.192:80/x"]
        );
        assert!(found(urls, "http://localhost x://a.com www.sluice a://").is_empty());
    }

    #[test]
    fn domains_are_found_in_urls_and_alone_but_not_in_mail_files_or_code() {
        assert_eq!(
            found(domains, "https://me@a.example:8080/x sluice.org, mail.sluice.co.uk."),
            ["a.example", "sluice.org", "mail.sluice.co.uk"]
        );
        for text in
            ["ada@sluice.org", "main.rs", "foo.com()", "end.So we", "1.5.2", "a.b.c", "self.name", "/x.com"]
        {
            assert!(found(domains, text).is_empty(), "{text}");
        }
    }
}
