//! Where a request holds images, sound or files, which no guard looks into.
//!
//! A part of a message is told by its `type` or by the field that holds the data or its address; a `data:` URL by itself,
//! wherever it stands, since the scanner leaves these alone wherever they stand.

use serde_json::{Map, Value};
use sluice_guardrails::{Channel, Guard, Media, MediaAction, MediaKind, Step};

use super::guards;
use super::parts::{Fate, Part, Setting};

/// How deep JSON documents within texts are read; deeper ones are texts to the scanner, too.
const DEEPEST: usize = 4;

/// What of a request is not simply allowed, each part once.
pub(super) fn find(guard: &Guard, request: &Value) -> Vec<Part> {
    let media = guard.media();
    let mut finder = Finder { media, shadow: guard.is_tried(), path: Vec::new(), parts: Vec::new() };
    if !media.allows_all() {
        finder.request(request);
    }
    for part in &mut finder.parts {
        part.channel = guards::channel(request, &part.path);
    }
    finder.parts
}

struct Finder {
    media: Media,
    shadow: bool,
    path: Vec<Step>,
    parts: Vec<Part>,
}

/// What of a value is looked at.
#[derive(Clone, Copy, PartialEq)]
enum Within {
    /// Parts of messages.
    Content,
    /// Definitions, settings and the like, where only `data:` URLs count.
    Others,
}

impl Finder {
    fn request(&mut self, request: &Value) {
        for (key, value) in request.as_object().into_iter().flatten() {
            self.step(Step::Key(key.clone()), |finder| match (key.as_str(), value) {
                ("messages", Value::Array(messages)) => finder.messages(messages),
                ("input" | "contents" | "generateContentRequest" | "generate_content_request", value) => {
                    finder.walk(value, Within::Content, 0);
                }
                (_, value) => finder.walk(value, Within::Others, 0),
            });
        }
    }

    fn messages(&mut self, messages: &[Value]) {
        for (number, message) in messages.iter().enumerate() {
            self.step(Step::Item(number), |finder| {
                for (key, value) in message.as_object().into_iter().flatten() {
                    let within = if key == "content" { Within::Content } else { Within::Others };
                    finder.step(Step::Key(key.clone()), |finder| finder.walk(value, within, 0));
                }
            });
        }
    }

    fn walk(&mut self, value: &Value, within: Within, depth: usize) {
        match value {
            Value::String(text) => self.text(text, depth),
            Value::Array(items) => {
                for (number, item) in items.iter().enumerate() {
                    self.step(Step::Item(number), |finder| finder.walk(item, within, depth));
                }
            }
            Value::Object(object) => match kind_of(object).filter(|_| within == Within::Content) {
                Some(kind) => self.part(kind, value),
                None => {
                    for (key, member) in object {
                        self.step(Step::Key(key.clone()), |finder| finder.walk(member, within, depth));
                    }
                }
            },
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    fn text(&mut self, text: &str, depth: usize) {
        if let Some(kind) = MediaKind::of_data_url(text) {
            self.push(kind);
        } else if depth < DEEPEST
            && text.trim_start().starts_with(['{', '['])
            && let Ok(document) = serde_json::from_str::<Value>(text)
        {
            self.step(Step::Document, |finder| {
                // Which of its texts it is would have to be counted as the scanner does: the field is enough.
                let mut inside = Finder { path: Vec::new(), parts: Vec::new(), ..*finder };
                inside.walk(&document, Within::Others, depth + 1);
                if let Some(part) = inside.parts.into_iter().max_by_key(|part| part.fate) {
                    finder.parts.push(Part { path: finder.path.clone(), ..part });
                }
            });
        }
    }

    /// A part of a kind, which may hold something of another kind for which more is said.
    fn part(&mut self, kind: MediaKind, value: &Value) {
        let mut kinds = vec![kind];
        inner_kinds(value, &mut kinds);
        if let Some(strictest) = kinds.into_iter().max_by_key(|kind| self.media.action(*kind)) {
            self.push(strictest);
        }
    }

    fn push(&mut self, kind: MediaKind) {
        let fate = match self.media.action(kind) {
            MediaAction::Allow => return,
            MediaAction::Route => Fate::Routed,
            MediaAction::Block => Fate::Blocked,
        };
        let (path, setting, entity) = (self.path.clone(), Setting::Media, kind.entity());
        let (channel, shadow) = (Channel::default(), self.shadow);
        self.parts.push(Part { path, channel, setting, entity, fate, shadow });
    }

    fn step(&mut self, step: Step, inside: impl FnOnce(&mut Self)) {
        self.path.push(step);
        inside(self);
        self.path.pop();
    }
}

fn inner_kinds(value: &Value, kinds: &mut Vec<MediaKind>) {
    match value {
        Value::String(text) => kinds.extend(MediaKind::of_data_url(text)),
        Value::Array(items) => items.iter().for_each(|item| inner_kinds(item, kinds)),
        Value::Object(object) => object.values().for_each(|member| inner_kinds(member, kinds)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// What kind of media a part of a message is, by what OpenAI's two APIs, Anthropic's and those like them call it.
fn kind_of(part: &Map<String, Value>) -> Option<MediaKind> {
    let by_type = match part.get("type").and_then(Value::as_str) {
        Some(
            "image_url" | "input_image" | "image" | "image_file" | "output_image" | "image_generation_call",
        ) => Some(MediaKind::Image),
        Some("input_audio" | "audio" | "audio_url" | "output_audio") => Some(MediaKind::Audio),
        Some("video_url" | "input_video" | "video") => Some(MediaKind::Video),
        Some("file" | "input_file" | "document") => Some(MediaKind::File),
        _ => None,
    };
    // As Google writes them.
    let mut blob = ["inlineData", "inline_data", "fileData", "file_data"].iter();
    let blob = blob.find_map(|name| part.get(*name).filter(|value| value.is_object())).map(|blob| {
        let said = ["mimeType", "mime_type"].iter().find_map(|name| blob.get(*name)?.as_str());
        match said.unwrap_or_default().split('/').next() {
            Some("image") => MediaKind::Image,
            Some("audio") => MediaKind::Audio,
            Some("video") => MediaKind::Video,
            _ => MediaKind::File,
        }
    });
    let has = |name: &&str| part.get(*name).is_some_and(|value| !value.is_null());
    let by_field = || {
        [
            (MediaKind::Image, ["image_url", "image_file", "image"].as_slice()),
            (MediaKind::Audio, &["input_audio", "audio_url", "audio"]),
            (MediaKind::Video, &["video_url", "input_video", "video"]),
            (MediaKind::File, &["file", "file_data", "file_id", "file_url", "inline_data"]),
        ]
        .into_iter()
        .find_map(|(kind, names)| names.iter().any(has).then_some(kind))
    };
    by_type.or(blob).or_else(by_field)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::audited::field;
    use serde_json::json;
    use sluice_guardrails::Rules;

    const PICTURE: &str = "data:image/png;base64,iVBORw0KGgo=";

    fn found(media: &Value, request: &Value) -> Vec<(String, &'static str, Fate)> {
        let rules: Rules = serde_json::from_value(json!({ "media": media })).unwrap();
        let guard = Guard::compile(&rules, &|_| Err("no secret".to_owned())).unwrap();
        find(&guard, request).into_iter().map(|part| (field(&part.path), part.entity, part.fate)).collect()
    }

    fn content(part: &Value) -> Value {
        json!({ "messages": [{ "role": "user", "content": [{ "type": "text", "text": "Look" }, part] }] })
    }

    #[test]
    fn every_spelling_of_a_part_is_known() {
        let all = json!({ "image": "block", "audio": "block", "file": "block" });
        for (part, entity) in [
            (
                json!({ "type": "image_url", "image_url": { "url": "https://pictures.example/a.png" } }),
                "IMAGE",
            ),
            (json!({ "type": "image_url", "image_url": { "url": PICTURE } }), "IMAGE"),
            (json!({ "type": "input_image", "image_url": PICTURE }), "IMAGE"),
            (json!({ "type": "image_generation_call", "result": "QUJD" }), "IMAGE"),
            (json!({ "type": "image", "source": { "type": "base64", "data": "QUJD" } }), "IMAGE"),
            (json!({ "type": "input_audio", "input_audio": { "data": "QUJD", "format": "wav" } }), "AUDIO"),
            (json!({ "type": "file", "file": { "file_id": "file-1" } }), "FILE"),
            (json!({ "type": "input_file", "file_url": "https://files.example/a.pdf" }), "FILE"),
            (json!({ "type": "document", "source": { "type": "text", "data": "a" } }), "FILE"),
            (json!({ "type": "video_url", "video_url": { "url": "https://films.example/a" } }), "VIDEO"),
            (json!({ "type": "new", "image_url": { "url": "https://pictures.example/a.png" } }), "IMAGE"),
            (json!({ "type": "tool_result", "content": [{ "type": "image", "source": {} }] }), "IMAGE"),
        ] {
            let found = found(&all, &content(&part));
            assert_eq!(found.len(), 1, "{part}");
            assert_eq!((found[0].1, found[0].2), (entity, Fate::Blocked), "{part}");
            assert!(found[0].0.starts_with("messages[0].content[1]"), "{}", found[0].0);
        }
    }

    #[test]
    fn google_s_parts_are_known_by_their_type() {
        let all = json!({ "image": "block", "audio": "block", "file": "block" });
        for (part, entity) in [
            (json!({ "inlineData": { "mimeType": "image/png", "data": "QUJD" } }), "IMAGE"),
            (json!({ "inline_data": { "mime_type": "audio/wav", "data": "QUJD" } }), "AUDIO"),
            (
                json!({ "fileData": { "mimeType": "video/mp4", "fileUri": "https://films.example/a" } }),
                "VIDEO",
            ),
            (json!({ "fileData": { "fileUri": "https://files.example/a" } }), "FILE"),
        ] {
            let request = json!({ "contents": [{ "parts": [{ "text": "Look" }, part] }] });
            let found = found(&all, &request);
            assert_eq!((found.len(), found[0].1, found[0].2), (1, entity, Fate::Blocked), "{request}");
        }
    }

    #[test]
    fn a_part_is_what_it_holds_if_more_is_said_of_that() {
        let file = json!({ "type": "file", "file": { "filename": "a", "file_data": PICTURE } });
        assert_eq!(found(&json!({ "image": "block", "file": "route" }), &content(&file))[0].1, "IMAGE");
        let told = found(&json!({ "image": "route", "file": "block" }), &content(&file));
        assert_eq!((told[0].1, told[0].2), ("FILE", Fate::Blocked));
    }

    #[test]
    fn what_the_scanner_leaves_alone_is_found_wherever_it_stands() {
        let media = json!({ "image": "route" });
        for (request, path) in [
            (json!({ "messages": [{ "role": "user", "content": PICTURE }] }), "messages[0].content"),
            (json!({ "metadata": { "a": PICTURE } }), "metadata.*"),
            (content(&json!({ "type": "text", "text": PICTURE })), "messages[0].content[1].text"),
            (
                json!({ "messages": [{ "role": "assistant", "tool_calls": [
                    { "function": { "arguments": json!({ "see": [PICTURE] }).to_string() } },
                ]}]}),
                "messages[0].tool_calls[0].function.arguments#",
            ),
        ] {
            assert_eq!(found(&media, &request), [(path.to_owned(), "IMAGE", Fate::Routed)], "{request}");
        }
    }

    #[test]
    fn definitions_and_texts_are_no_media() {
        let all = json!({ "image": "block", "audio": "block", "file": "block" });
        for request in [
            json!({ "tools": [{ "type": "function", "function": { "name": "f", "parameters": {
                "type": "object", "properties": { "file": { "type": "string" }, "image_url": { "type": "string" } } } } }] }),
            json!({ "audio": { "voice": "alloy", "format": "wav" }, "modalities": ["text", "audio"] }),
            content(&json!({ "type": "text", "text": "data: what image_url means" })),
            json!({ "messages": [{ "role": "assistant", "content": null, "audio": { "id": "audio_1" } }] }),
        ] {
            assert_eq!(found(&all, &request), [], "{request}");
        }
        let picture = content(&json!({ "type": "image_url", "image_url": { "url": PICTURE } }));
        assert_eq!(found(&json!({ "audio": "block" }), &picture), []);
    }
}
