//! Parts of messages as Gemini's parts.

use serde_json::{Map, Value, json};

use super::super::EncodeError;

/// Where the files are that Google AI Studio names `files/…`.
const FILES: &str = "https://generativelanguage.googleapis.com/v1beta/";

/// Kinds of files by the ends of their names.
const KINDS: &[(&str, &str)] = &[
    ("avif", "image/avif"),
    ("csv", "text/csv"),
    ("gif", "image/gif"),
    ("heic", "image/heic"),
    ("htm", "text/html"),
    ("html", "text/html"),
    ("jpeg", "image/jpeg"),
    ("jpg", "image/jpeg"),
    ("json", "application/json"),
    ("md", "text/markdown"),
    ("mov", "video/quicktime"),
    ("mp3", "audio/mp3"),
    ("mp4", "video/mp4"),
    ("mpeg", "video/mpeg"),
    ("pdf", "application/pdf"),
    ("png", "image/png"),
    ("txt", "text/plain"),
    ("wav", "audio/wav"),
    ("webm", "video/webm"),
    ("webp", "image/webp"),
];

/// The content of a message, which stands at `at`, as parts; empty texts say nothing.
pub(super) fn parts(content: Option<&Value>, at: &str) -> Result<Vec<Value>, EncodeError> {
    match content {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::String(text)) => Ok(text_part(text).into_iter().collect()),
        Some(Value::Array(parts)) => {
            let parts = parts.iter().enumerate().map(|(n, value)| part(value, &format!("{at}[{n}]")));
            let parts: Result<Vec<Option<Value>>, EncodeError> = parts.collect();
            Ok(parts?.into_iter().flatten().collect())
        }
        Some(_) => Err(EncodeError::invalid(at, format!("'{at}' must be a string or an array of parts"))),
    }
}

fn text_part(text: &str) -> Option<Value> {
    (!text.is_empty()).then(|| json!({ "text": text }))
}

/// One part; none if it says nothing here.
fn part(part: &Value, at: &str) -> Result<Option<Value>, EncodeError> {
    let kind = part.get("type").and_then(Value::as_str).unwrap_or_default();
    let text = |name: &str| part.get(name).and_then(Value::as_str);
    let missing =
        |what: &str| EncodeError::invalid(format!("{at}.{what}"), format!("'{at}.{what}' is missing"));
    // OpenAI's chat completions have an object where others have the address.
    let address = |name: &str| match part.get(name) {
        Some(Value::String(url)) => Ok(url.as_str()),
        Some(value) => {
            value.get("url").and_then(Value::as_str).ok_or_else(|| missing(&format!("{name}.url")))
        }
        None => Err(missing(name)),
    };
    match kind {
        "text" | "input_text" | "output_text" => Ok(text_part(text("text").ok_or_else(|| missing("text"))?)),
        "refusal" => Ok(text_part(text("refusal").unwrap_or_default())),
        // What was thought is not said again: its signatures are, where they stood.
        "thinking" | "redacted_thinking" | "reasoning" => Ok(None),
        "image_url" | "video_url" => media(address(kind)?, None, &format!("{at}.{kind}.url")).map(Some),
        "input_audio" => {
            let audio = part.get(kind).unwrap_or(&Value::Null);
            let data = audio["data"].as_str().ok_or_else(|| missing("input_audio.data"))?;
            let format = audio["format"].as_str().ok_or_else(|| missing("input_audio.format"))?;
            Ok(Some(inline(&format!("audio/{format}"), data)))
        }
        "file" => file(part.get(kind).and_then(Value::as_object), at).map(Some),
        _ => Err(EncodeError::Unsupported {
            param: at.to_owned(),
            message: format!("'{at}' is of a type that the target does not take"),
        }),
    }
}

fn file(file: Option<&Map<String, Value>>, at: &str) -> Result<Value, EncodeError> {
    let text = |name: &str| file.and_then(|file| file.get(name)).and_then(Value::as_str);
    let kind = text("format").or_else(|| kind_of(text("filename")?));
    match (text("file_data"), text("file_id").or_else(|| text("file_url"))) {
        (Some(data), _) if data.starts_with("data:") => media(data, kind, &format!("{at}.file.file_data")),
        (Some(data), _) => {
            let unknown = || {
                let at = format!("{at}.file.file_data");
                EncodeError::invalid(
                    &at,
                    format!("'{at}' must be a data URL, or 'filename' must tell its kind"),
                )
            };
            Ok(inline(kind.ok_or_else(unknown)?, data))
        }
        (None, Some(id)) if id.starts_with("files/") => Ok(linked(&format!("{FILES}{id}"), kind)),
        (None, Some(id)) => media(id, kind, &format!("{at}.file.file_id")),
        (None, None) => {
            let at = format!("{at}.file");
            Err(EncodeError::invalid(&at, format!("'{at}' must have 'file_data' or 'file_id'")))
        }
    }
}

/// What an address leads to: data of its own, or a file that the provider fetches.
pub(super) fn media(url: &str, kind: Option<&str>, at: &str) -> Result<Value, EncodeError> {
    if let Some(data) = url.strip_prefix("data:") {
        let wrong =
            || EncodeError::invalid(at, format!("'{at}' must be a data URL in base64 with its media type"));
        let (head, data) = data.split_once(',').ok_or_else(wrong)?;
        let mut words = head.split(';');
        let named = words.next().filter(|kind| !kind.is_empty()).or(kind).ok_or_else(wrong)?;
        if !words.any(|word| word == "base64") {
            return Err(wrong());
        }
        return Ok(inline(named, data));
    }
    if !["https://", "http://", "gs://"].iter().any(|scheme| url.starts_with(scheme)) {
        return Err(EncodeError::Unsupported {
            param: at.to_owned(),
            message: format!(
                "'{at}' must be a data URL or an address (https, gs): the target has no other files"
            ),
        });
    }
    Ok(linked(url, kind.or_else(|| kind_of(url.split(['?', '#']).next()?))))
}

fn kind_of(name: &str) -> Option<&'static str> {
    let (_, end) = name.rsplit_once('.')?;
    KINDS.iter().find(|(known, _)| end.eq_ignore_ascii_case(known)).map(|(_, kind)| *kind)
}

fn inline(kind: &str, data: &str) -> Value {
    json!({ "inlineData": { "mimeType": kind, "data": data } })
}

fn linked(url: &str, kind: Option<&str>) -> Value {
    let mut data = json!({ "fileUri": url });
    if let Some(kind) = kind {
        data["mimeType"] = json!(kind);
    }
    json!({ "fileData": data })
}
