//! As much of XML as AWS's answers need: the texts of the innermost elements. What is not well-formed is refused whole, and so is a
//! document that brings a grammar of its own.

/// No answer is deeper.
const DEEPEST: usize = 32;

/// An element that holds nothing but text.
#[derive(Debug, PartialEq)]
pub(super) struct Leaf {
    /// The element around it.
    parent: String,
    name: String,
    text: String,
}

/// The text of the first element of this name within one of that name.
pub(super) fn text<'l>(leaves: &'l [Leaf], parent: &str, name: &str) -> Option<&'l str> {
    let leaf = leaves.iter().find(|leaf| leaf.parent == parent && leaf.name == name)?;
    Some(leaf.text.trim())
}

/// An element that has begun.
struct Open<'x> {
    /// As it was spelled.
    tag: &'x str,
    text: String,
    has_children: bool,
}

/// The innermost elements of a document, in order; none if it is none.
pub(super) fn leaves(xml: &str) -> Option<Vec<Leaf>> {
    let (mut rest, mut open, mut leaves) =
        (xml.trim_start_matches('\u{feff}'), Vec::<Open<'_>>::new(), Vec::new());
    let mut has_begun = false;
    while let Some(at) = rest.find('<') {
        add(&mut open, &unescaped(&rest[..at])?)?;
        rest = &rest[at..];
        if let Some(after) = rest.strip_prefix("<?") {
            rest = behind(after, "?>")?.1;
        } else if let Some(after) = rest.strip_prefix("<!--") {
            rest = behind(after, "-->")?.1;
        } else if let Some(after) = rest.strip_prefix("<![CDATA[") {
            let (raw, after) = behind(after, "]]>")?;
            add(&mut open, raw)?;
            rest = after;
        } else if rest.starts_with("<!") {
            return None;
        } else if let Some(after) = rest.strip_prefix("</") {
            let (tag, after) = behind(after, ">")?;
            close(&mut open, tag.trim_end(), &mut leaves)?;
            rest = after;
        } else {
            let (tag, after) = begun(&rest[1..])?;
            if open.len() >= DEEPEST || (open.is_empty() && has_begun) {
                return None;
            }
            has_begun = true;
            if let Some(outer) = open.last_mut() {
                outer.has_children = true;
            }
            let (tag, is_whole) = tag.strip_suffix('/').map_or((tag, false), |tag| (tag, true));
            let name = tag.split(char::is_whitespace).next().filter(|name| !name.is_empty())?;
            open.push(Open { tag: name, text: String::new(), has_children: false });
            if is_whole {
                close(&mut open, name, &mut leaves)?;
            }
            rest = after;
        }
    }
    (has_begun && open.is_empty() && rest.trim().is_empty()).then_some(leaves)
}

/// Text belongs to an element; around the outermost there may be white space alone.
fn add(open: &mut [Open<'_>], text: &str) -> Option<()> {
    match open.last_mut() {
        Some(element) => element.text.push_str(text),
        None if text.trim().is_empty() => {}
        None => return None,
    }
    Some(())
}

fn close(open: &mut Vec<Open<'_>>, tag: &str, leaves: &mut Vec<Leaf>) -> Option<()> {
    let element = open.pop().filter(|element| element.tag == tag)?;
    if !element.has_children {
        let parent = open.last().map_or("", |outer| local(outer.tag)).to_owned();
        leaves.push(Leaf { parent, name: local(tag).to_owned(), text: element.text });
    }
    Some(())
}

/// A name without the prefix of its namespace.
fn local(tag: &str) -> &str {
    tag.rsplit(':').next().unwrap_or(tag)
}

/// What stands before this mark, and what behind it.
fn behind<'x>(text: &'x str, mark: &str) -> Option<(&'x str, &'x str)> {
    text.split_once(mark)
}

/// The inside of a tag, which ends at the first `>` that stands in no attribute.
fn begun(text: &str) -> Option<(&str, &str)> {
    let mut quote = None;
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (None, '>') => return Some((&text[..at], &text[at + 1..])),
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), c) if open == c => quote = None,
            _ => {}
        }
    }
    None
}

fn unescaped(text: &str) -> Option<String> {
    let (mut out, mut rest) = (String::with_capacity(text.len()), text);
    while let Some((before, after)) = rest.split_once('&') {
        let (name, after) = after.split_once(';')?;
        out.push_str(before);
        out.push(match name {
            "lt" => '<',
            "gt" => '>',
            "amp" => '&',
            "quot" => '"',
            "apos" => '\'',
            number => {
                let number = number.strip_prefix('#')?;
                let hex = number.strip_prefix('x').map(|digits| u32::from_str_radix(digits, 16).ok());
                char::from_u32(hex.unwrap_or_else(|| number.parse().ok())?)?
            }
        });
        rest = after;
    }
    out.push_str(rest);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_read_however_they_are_spelled() {
        let xml = "\u{feff}<?xml version='1.0'?>\n<!-- <a> --><r:Answer xmlns:r='urn:x>y'><Result><Credentials at=\"a>b\">\n\
            <Id>A&amp;B&#x2603;&#33;</Id><Secret><![CDATA[<&]]>x</Secret><Empty/><Token > t </Token ></Credentials></Result>\
            <Other><Id>other</Id></Other></r:Answer>\n";
        let leaves = leaves(xml).unwrap();
        let of = |name: &str| text(&leaves, "Credentials", name);
        assert_eq!((of("Id"), of("Secret"), of("Empty")), (Some("A&B\u{2603}!"), Some("<&x"), Some("")));
        assert_eq!((of("Token"), of("None")), (Some("t"), None));
        assert_eq!(text(&leaves, "Other", "Id"), Some("other"));
    }

    #[test]
    fn what_is_no_document_is_refused_whole() {
        let deep = "<a>".repeat(DEEPEST + 1) + &"</a>".repeat(DEEPEST + 1);
        for wrong in [
            "",
            "text",
            "<a>",
            "<a></b>",
            "</a>",
            "<a/><b/>",
            "<a/>x",
            "x<a/>",
            "<a>&lol;</a>",
            "<a>&amp</a>",
            "<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>",
            "<a b='>",
            "<>x</>",
            "<a><!-- </a>",
            "<a>&#xD800;</a>",
            "<html><br></html>",
            deep.as_str(),
        ] {
            assert_eq!(leaves(wrong), None, "{wrong}");
        }
        let whole = "<a><b>x</b></a>";
        assert!((0..whole.len()).all(|end| leaves(&whole[..end]).is_none()) && leaves(whole).is_some());
    }
}
