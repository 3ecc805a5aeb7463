//! Parts of messages as Converse's blocks: text, images and documents by their bytes, places up to which prompts are kept.

use std::borrow::Cow;
use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use super::super::EncodeError;

/// Longest name of a document.
const LONGEST_NAME: usize = 200;

/// Formats of documents, by what they are called in data URLs and by the ends of files' names.
const DOCUMENTS: &[(&str, &str)] = &[
    ("pdf", "application/pdf"),
    ("csv", "text/csv"),
    ("doc", "application/msword"),
    ("docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
    ("xls", "application/vnd.ms-excel"),
    ("xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
    ("html", "text/html"),
    ("txt", "text/plain"),
    ("md", "text/markdown"),
];

/// The names of documents so far, since no two may be the same.
#[derive(Default)]
pub(super) struct Documents(BTreeSet<String>);

/// The block that says a part, whose path is `path`; none if it says nothing.
pub(super) fn block(
    part: &Value,
    path: &str,
    documents: &mut Documents,
) -> Result<Option<Value>, EncodeError> {
    let text = |field: &str| part.get(field).and_then(Value::as_str);
    match text("type").unwrap_or_default() {
        "text" => Ok(text("text").and_then(text_block)),
        "refusal" => Ok(text("refusal").and_then(text_block)),
        "image_url" => {
            let at = format!("{path}.image_url.url");
            let image = &part["image_url"];
            let url = image.as_str().or_else(|| image.get("url")?.as_str());
            let url = url.ok_or_else(|| EncodeError::invalid(&at, format!("'{at}' must be a string")))?;
            image_block(&Data::of_url(url, &at)?, &at).map(Some)
        }
        "file" => documents.block(&part["file"], &format!("{path}.file")).map(Some),
        "input_audio" => audio_block(&part["input_audio"], &format!("{path}.input_audio")).map(Some),
        _ => Err(unsupported(&format!("{path}.type"), "expected text, image_url, file or input_audio")),
    }
}

/// A block of text; there is none without any.
pub(super) fn text_block(text: &str) -> Option<Value> {
    (!text.trim().is_empty()).then(|| json!({ "text": text }))
}

/// The place up to which a prompt is to be kept, if something marked so stands before it.
pub(super) fn cache_point(marked: &Value) -> Option<Value> {
    let control = marked.get("cache_control").filter(|control| control.is_object())?;
    let mut point = json!({ "type": "default" });
    if let Some(ttl @ ("5m" | "1h")) = control.get("ttl").and_then(Value::as_str) {
        point["ttl"] = json!(ttl);
    }
    Some(json!({ "cachePoint": point }))
}

/// An error about something that can't be said there, whatever is done about fields that don't matter.
pub(super) fn unsupported(path: &str, expected: &str) -> EncodeError {
    let message = format!("'{path}' can't be sent to this target: {expected}");
    EncodeError::Unsupported { param: path.to_owned(), message }
}

/// What a data URL holds.
struct Data<'a> {
    /// Its media type, in small letters and without parameters.
    media_type: String,
    base64: Cow<'a, str>,
}

impl<'a> Data<'a> {
    fn of_url(url: &'a str, path: &str) -> Result<Self, EncodeError> {
        let expected = "expected a data: URL; images and files at other addresses are not fetched";
        let prefix = url.get(..5).filter(|prefix| prefix.eq_ignore_ascii_case("data:"));
        let rest = prefix.and_then(|prefix| url.strip_prefix(prefix));
        let (kind, data) =
            rest.and_then(|rest| rest.split_once(',')).ok_or_else(|| unsupported(path, expected))?;
        let mut parameters = kind.split(';').map(str::trim);
        let media_type = parameters.next().unwrap_or_default().to_ascii_lowercase();
        let base64 = if parameters.any(|parameter| parameter.eq_ignore_ascii_case("base64")) {
            checked(data, path)?
        } else {
            Cow::Owned(STANDARD.encode(percent_decode_str(data).collect::<Vec<u8>>()))
        };
        Ok(Self { media_type, base64 })
    }
}

/// Base64 that every decoder reads.
fn checked<'a>(base64: &'a str, path: &str) -> Result<Cow<'a, str>, EncodeError> {
    if STANDARD.decode(base64).is_ok_and(|bytes| !bytes.is_empty()) {
        return Ok(Cow::Borrowed(base64));
    }
    // Lines may be broken, and the letters those for addresses.
    let letters = base64.bytes().filter(|byte| !byte.is_ascii_whitespace() && *byte != b'=');
    let letters = letters.map(|byte| match byte {
        b'-' => b'+',
        b'_' => b'/',
        byte => byte,
    });
    let bytes = base64::engine::general_purpose::STANDARD_NO_PAD.decode(letters.collect::<Vec<u8>>());
    let bytes = bytes.ok().filter(|bytes| !bytes.is_empty());
    let bytes = bytes.ok_or_else(|| EncodeError::invalid(path, format!("'{path}' must hold base64")))?;
    Ok(Cow::Owned(STANDARD.encode(bytes)))
}

fn image_block(data: &Data<'_>, path: &str) -> Result<Value, EncodeError> {
    let format = match data.media_type.as_str() {
        "image/png" => "png",
        "image/jpeg" | "image/jpg" => "jpeg",
        "image/gif" => "gif",
        "image/webp" => "webp",
        _ => return Err(unsupported(path, "expected image/png, image/jpeg, image/gif or image/webp")),
    };
    Ok(json!({ "image": { "format": format, "source": { "bytes": data.base64 } } }))
}

fn audio_block(audio: &Value, path: &str) -> Result<Value, EncodeError> {
    let text = |field: &str| audio.get(field).and_then(Value::as_str);
    let (Some(data), Some(format)) = (text("data"), text("format")) else {
        return Err(EncodeError::invalid(
            path,
            format!("'{path}' must be an object with 'data' and 'format'"),
        ));
    };
    if !matches!(format, "mp3" | "wav" | "aac" | "flac" | "opus") {
        return Err(unsupported(&format!("{path}.format"), "expected mp3, wav, aac, flac or opus"));
    }
    let bytes = checked(data, &format!("{path}.data"))?;
    Ok(json!({ "audio": { "format": format, "source": { "bytes": bytes } } }))
}

impl Documents {
    fn block(&mut self, file: &Value, path: &str) -> Result<Value, EncodeError> {
        let text = |field: &str| file.get(field).and_then(Value::as_str);
        if file.get("file_id").is_some_and(|id| !id.is_null()) {
            return Err(unsupported(&format!("{path}.file_id"), "expected the file itself, in 'file_data'"));
        }
        let path = format!("{path}.file_data");
        let Some(data) = text("file_data") else {
            return Err(EncodeError::invalid(&path, format!("'{path}' must be a data: URL")));
        };
        let filename = text("filename").unwrap_or_default();
        let (stem, end) = filename.rsplit_once('.').unwrap_or((filename, ""));
        let data = if data.get(..5).is_some_and(|prefix| prefix.eq_ignore_ascii_case("data:")) {
            Data::of_url(data, &path)?
        } else {
            Data { media_type: String::new(), base64: checked(data, &path)? }
        };
        if data.media_type.starts_with("image/") {
            return image_block(&data, &path);
        }
        let by_type = DOCUMENTS.iter().find(|(_, media_type)| *media_type == data.media_type);
        let by_end = || DOCUMENTS.iter().find(|(format, _)| format.eq_ignore_ascii_case(end));
        let Some((format, _)) = by_type.or_else(by_end) else {
            return Err(unsupported(&path, "expected a PDF, CSV, Word, Excel, HTML, text or Markdown file"));
        };
        let name = self.name(stem);
        Ok(json!({ "document": { "format": format, "name": name, "source": { "bytes": data.base64 } } }))
    }

    /// A name that is allowed and not there yet. What is not allowed becomes a hyphen, and white space one blank.
    fn name(&mut self, wish: &str) -> String {
        let stays = |c: char| c.is_ascii_alphanumeric() || c == ' ' || "-()[]".contains(c);
        let words: Vec<&str> = wish.split_whitespace().collect();
        let name: String = words.join(" ").chars().map(|c| if stays(c) { c } else { '-' }).collect();
        let name: String = name.chars().take(LONGEST_NAME - 8).collect();
        let name = if name.chars().any(|c| c.is_ascii_alphanumeric()) { name } else { "document".to_owned() };
        let mut free = name.trim().to_owned();
        let mut number = 2;
        while !self.0.insert(free.clone()) {
            free = format!("{} ({number})", name.trim());
            number += 1;
        }
        free
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(part: &Value) -> Result<Option<Value>, EncodeError> {
        block(part, "messages[0].content[1]", &mut Documents::default())
    }

    #[test]
    fn an_image_goes_by_its_bytes() {
        let of = |url: &str| said(&json!({ "type": "image_url", "image_url": { "url": url } }));
        let png = json!({ "image": { "format": "png", "source": { "bytes": "iVBORw0KGgo=" } } });
        assert_eq!(of("data:image/png;base64,iVBORw0KGgo="), Ok(Some(png.clone())));
        assert_eq!(of("DATA:image/PNG;base64,iVBORw0K\nGgo"), Ok(Some(png)), "as every decoder reads it");
        let gif = json!({ "image": { "format": "gif", "source": { "bytes": "YSBi" } } });
        assert_eq!(of("data:image/gif,a%20b"), Ok(Some(gif)));
        assert_eq!(
            said(&json!({ "type": "image_url", "image_url": "data:image/jpg;base64,YSBi" }))
                .unwrap()
                .unwrap()["image"]["format"],
            "jpeg"
        );
    }

    #[test]
    fn what_would_have_to_be_fetched_or_is_of_another_kind_is_an_error_with_its_place() {
        let path = "messages[0].content[1]";
        let image = |url: &str| json!({ "type": "image_url", "image_url": { "url": url } });
        let file = |file: Value| json!({ "type": "file", "file": file });
        let cases = [
            (image("https://example.org/a.png"), "image_url.url"),
            (image("data:image/tiff;base64,YSBi"), "image_url.url"),
            (image("data:image/png;base64,!!"), "image_url.url"),
            (image("data:image/png;base64,"), "image_url.url"),
            (file(json!({ "file_id": "f1" })), "file.file_id"),
            (
                file(json!({ "filename": "a.exe", "file_data": "data:application/x;base64,YSBi" })),
                "file.file_data",
            ),
            (file(json!({})), "file.file_data"),
            (
                json!({ "type": "input_audio", "input_audio": { "data": "YSBi", "format": "midi" } }),
                "input_audio.format",
            ),
            (json!({ "type": "video_url", "video_url": {} }), "type"),
        ];
        for (part, end) in cases {
            match said(&part) {
                Err(
                    EncodeError::Unsupported { param, message } | EncodeError::Invalid { param, message },
                ) => {
                    assert_eq!(param, format!("{path}.{end}"));
                    assert!(message.contains(&param) && !message.contains("example.org"), "{message}");
                }
                other => panic!("{part}: {other:?}"),
            }
        }
    }

    #[test]
    fn a_document_has_its_format_and_a_name_that_is_allowed_and_its_own() {
        let mut documents = Documents::default();
        let mut document = |name: &str, data: &str| {
            let part = json!({ "type": "file", "file": { "filename": name, "file_data": data } });
            block(&part, "p", &mut documents).unwrap().unwrap()["document"].take()
        };
        let first = document("Q3 report\t(final)_v2.pdf", "data:application/pdf;base64,JVBERi0=");
        assert_eq!(
            first,
            json!({ "format": "pdf", "name": "Q3 report (final)-v2", "source": { "bytes": "JVBERi0=" } })
        );
        assert_eq!(document("Q3 report (final)_v2.pdf", "JVBERi0=")["name"], "Q3 report (final)-v2 (2)");
        assert_eq!(document("notes.MD", "data:application/octet-stream;base64,YSBi")["format"], "md");
        let nameless = document("", "data:text/plain,hello");
        assert_eq!((&nameless["format"], &nameless["name"]), (&json!("txt"), &json!("document")));
    }

    #[test]
    fn a_marked_part_ends_what_is_kept() {
        assert_eq!(cache_point(&json!({})), None);
        let five = cache_point(&json!({ "cache_control": { "type": "ephemeral" } }));
        assert_eq!(five, Some(json!({ "cachePoint": { "type": "default" } })));
        let hour = cache_point(&json!({ "cache_control": { "type": "ephemeral", "ttl": "1h" } }));
        assert_eq!(hour, Some(json!({ "cachePoint": { "type": "default", "ttl": "1h" } })));
    }
}
