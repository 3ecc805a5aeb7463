//! Text files within a request: `data:` URLs of text in base64, which are read like any other text.

use crate::canon::from_base64;
use crate::media::{base64_url, is_base64};

/// Types beside `text/…` whose files are text.
const TEXTS: &[&str] = &[
    "application/csv",
    "application/json",
    "application/jsonl",
    "application/sql",
    "application/x-ndjson",
    "application/x-yaml",
    "application/xml",
    "application/yaml",
];

/// What such an URL says.
pub(crate) struct TextFile<'t> {
    /// All before the data.
    head: &'t str,
    /// The file's text.
    pub(crate) text: String,
}

impl TextFile<'_> {
    /// Reads an URL; none if it is another one, or its file no text that we can read: such a one is read as it stands there.
    pub(crate) fn read(url: &str) -> Option<TextFile<'_>> {
        let (media, data) = base64_url(url)?;
        let (kind, parameters) = media.split_once(';').unwrap_or((media, ""));
        let readable = kind.starts_with("text/") || TEXTS.contains(&kind) || kind.ends_with("+json");
        let known = ["", "charset=utf-8", "charset=UTF-8", "charset=us-ascii", "charset=US-ASCII"];
        if !readable || !known.contains(&parameters) || !is_base64(data) {
            return None;
        }
        let text = from_base64(data.trim_end_matches('='))?;
        Some(TextFile { head: &url[..url.len() - data.len()], text })
    }

    /// The URL of this text instead.
    pub(crate) fn with(&self, text: &str) -> String {
        let mut url = String::with_capacity(self.head.len() + text.len().div_ceil(3) * 4);
        url.push_str(self.head);
        for three in text.as_bytes().chunks(3) {
            let byte = |at: usize| u32::from(three.get(at).copied().unwrap_or(0));
            let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
            for at in 0..4 {
                let digit =
                    if at <= three.len() { ALPHABET[(bits >> (18 - 6 * at) & 63) as usize] } else { b'=' };
                url.push(char::from(digit));
            }
        }
        url
    }
}

/// Of base64 (RFC 4648, section 4).
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Guard, Policy, Vault};
    use proptest::prelude::*;
    use serde_json::json;

    fn file(kind: &str, text: &str) -> String {
        let head = format!("data:{kind};base64,");
        TextFile { head: &head, text: String::new() }.with(text)
    }

    #[test]
    fn base64_is_written_as_rfc_4648_shows_it() {
        for (text, data) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(file("text/plain", text), format!("data:text/plain;base64,{data}"));
        }
    }

    #[test]
    fn a_text_file_is_redacted_inside_and_stays_a_file() {
        let (guard, mut vault) = (Guard::new(&Policy::default()), Vault::new());
        vault.keep_decisions();
        let url = file("text/csv;charset=utf-8", "name,mail\nZoë,ada@example.org\n");
        let mut value = json!({ "file": { "file_data": url }, "note": "ada@example.org" });
        vault.redact_json(&guard, &mut value, &|_, _| false).unwrap();
        let sent = value["file"]["file_data"].as_str().unwrap();
        assert_eq!(TextFile::read(sent).unwrap().text, "name,mail\nZoë,[EMAIL_ADDRESS_1]\n");
        assert_eq!(value["note"], "[EMAIL_ADDRESS_1]");
        assert_eq!(vault.decisions()[0].bytes, 15..30, "places are those in the file");
    }

    #[test]
    fn a_json_file_is_read_as_the_document_that_it_is() {
        let (guard, mut vault) = (Guard::new(&Policy::default()), Vault::new());
        let mut value = json!({ "data": file("application/json", r#"{"ssn":"536228143","n":1}"#) });
        vault.redact_json(&guard, &mut value, &|_, _| false).unwrap();
        let sent = TextFile::read(value["data"].as_str().unwrap()).unwrap().text;
        assert_eq!(sent, r#"{"ssn":"[US_SSN_1]","n":1}"#);
    }

    #[test]
    fn a_file_without_a_finding_keeps_its_bytes() {
        let (guard, mut vault) = (Guard::new(&Policy::default()), Vault::new());
        // Neither padded nor in the usual alphabet.
        let before = json!({ "data": "data:text/plain;base64,8J-Yg_CfmIA" });
        let mut value = before.clone();
        assert_eq!(vault.redact_json(&guard, &mut value, &|_, _| false), Ok(false));
        assert_eq!(value, before);
    }

    #[test]
    fn what_is_no_file_is_read_as_it_stands() {
        for other in [
            "data:text/plain,ada@example.org",
            "data:text/plain;name=ada@example.org;base64,QUJD",
            "data:text/plain;base64,ada@example.org",
            "data:application/pdf;base64,QUJD",
            "data:text/plain;charset=utf-16;base64,QUJD",
            "data:text/plain;base64,AAEC",
        ] {
            assert!(TextFile::read(other).is_none(), "{other}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_is_written_can_be_read(text in "[ -~\\n\\tà-ÿ😀]{0,40}") {
            let url = file("text/markdown", &text);
            prop_assert_eq!(TextFile::read(&url).unwrap().text, text);
        }
    }
}
