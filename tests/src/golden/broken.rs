//! What a client of each format is told when something went wrong, read strictly.

use serde_json::Value;

/// An error as a whole answer in this format.
///
/// # Errors
/// What is wrong with it.
pub fn error(format: &str, body: &Value) -> Result<(), String> {
    let error = &body["error"];
    let fields = if format == "anthropic" { &["type", "message"][..] } else { &["type", "message", "code"] };
    let has_all = fields.iter().all(|name| error[name].as_str().is_some_and(|word| !word.is_empty()));
    let is_typed = format != "anthropic" || body["type"] == "error";
    if has_all && is_typed { Ok(()) } else { Err(format!("no error of this format: {body}")) }
}

/// The text that came in a stream of this format before its one error, which is its last event.
///
/// # Errors
/// What is wrong with it.
pub fn stream(format: &str, bytes: &[u8]) -> Result<String, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "the stream is no UTF-8")?;
    let text = text.strip_suffix("\n\n").ok_or("the stream ends inside an event")?;
    let (mut said, mut ended) = (String::new(), false);
    for (at, block) in text.split("\n\n").filter(|block| !block.starts_with(':')).enumerate() {
        let data =
            block.lines().find_map(|line| line.strip_prefix("data: ")).ok_or("an event without data")?;
        let event: Value =
            serde_json::from_str(data).map_err(|e| format!("an event is no JSON: {e}: {data}"))?;
        if ended {
            return Err(format!("there is something after the error: {event}"));
        }
        let name = block.lines().find_map(|line| line.strip_prefix("event: ")).unwrap_or_default();
        if format != "openai" && event["type"] != name {
            return Err(format!("the event '{name}' says it is {}", event["type"]));
        }
        if format == "responses" && event["sequence_number"] != at {
            return Err(format!("the event {at} has the number {}", event["sequence_number"]));
        }
        match (format, name) {
            ("openai", _) if event.get("error").is_some() => {
                error(format, &event)?;
                ended = true;
            }
            ("anthropic", "error") => {
                error(format, &event)?;
                ended = true;
            }
            ("responses", "response.failed") => {
                let response = &event["response"];
                let is_failed = response["status"] == "failed" && response["error"]["message"].is_string();
                ended = is_failed.then_some(true).ok_or_else(|| format!("no failure: {event}"))?;
            }
            ("responses", "error") => {
                ended = event["message"].is_string().then_some(true).ok_or("no message")?;
            }
            (_, "message_delta" | "message_stop" | "response.completed" | "response.incomplete") => {
                return Err(format!("a fake end: {event}"));
            }
            _ => said.push_str(piece(format, name, &event)),
        }
        if format == "openai" && event["choices"][0]["finish_reason"].is_string() {
            return Err(format!("a fake end: {event}"));
        }
    }
    if ended { Ok(said) } else { Err("there is no error".to_owned()) }
}

fn piece<'a>(format: &str, name: &str, event: &'a Value) -> &'a str {
    let piece = match (format, name) {
        ("openai", _) => &event["choices"][0]["delta"]["content"],
        ("anthropic", "content_block_delta") => &event["delta"]["text"],
        ("responses", "response.output_text.delta") => &event["delta"],
        _ => &Value::Null,
    };
    piece.as_str().unwrap_or_default()
}
