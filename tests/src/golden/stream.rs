//! Streams as a client of each format reads them, strictly: from events back to the whole answer, and Bedrock's events in their frames.
//!
//! The unit tests of the gateway read this file as well, so it needs nothing but JSON.

use serde_json::{Map, Value, json};

/// The whole answer that a stream of this format says.
///
/// # Errors
/// What is wrong with the stream, as far as a client could notice.
pub fn whole(format: &str, bytes: &[u8]) -> Result<Value, String> {
    let events = events(bytes)?;
    match format {
        "openai" => openai(&events),
        "anthropic" => anthropic(&events),
        "responses" => responses(&events),
        other => panic!("no client streams {other}"),
    }
}

/// One server-sent event: its name, and what it holds.
struct Event {
    name: String,
    data: String,
}

impl Event {
    /// The data, which repeats the name.
    fn named(&self) -> Result<Value, String> {
        let data: Value =
            serde_json::from_str(&self.data).map_err(|e| format!("an event is no JSON: {e}"))?;
        if data["type"] == self.name.as_str() {
            Ok(data)
        } else {
            Err(format!("the event '{}' says it is {}", self.name, data["type"]))
        }
    }
}

fn events(bytes: &[u8]) -> Result<Vec<Event>, String> {
    let text = String::from_utf8(bytes.to_vec()).map_err(|_| "the stream is no UTF-8")?.replace("\r\n", "\n");
    let text = text.strip_suffix("\n\n").ok_or("the stream ends inside an event")?;
    let mut events = Vec::new();
    for block in text.split("\n\n") {
        let field = |name: &str| {
            let values = block.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            values.map(|value| value.strip_prefix(' ').unwrap_or(value)).collect::<Vec<_>>().join("\n")
        };
        if block.lines().any(|line| !line.starts_with(':')) {
            events.push(Event { name: field("event"), data: field("data") });
        }
    }
    Ok(events)
}

fn openai(events: &[Event]) -> Result<Value, String> {
    let (last, chunks) = events.split_last().ok_or("there is no event")?;
    if last.data != "[DONE]" {
        return Err(format!("the last event is {}", last.data));
    }
    let mut whole = json!({ "object": "chat.completion", "usage": null });
    let (mut message, mut finish) = (json!({}), Value::Null);
    for chunk in chunks {
        let chunk: Value =
            serde_json::from_str(&chunk.data).map_err(|e| format!("a chunk is no JSON: {e}"))?;
        if chunk["object"] != "chat.completion.chunk" {
            return Err(format!("no chunk: {chunk}"));
        }
        for name in ["id", "created", "model"] {
            if whole.get(name).is_some_and(|known| *known != chunk[name]) {
                return Err(format!("'{name}' changes to {}", chunk[name]));
            }
            whole[name] = chunk[name].clone();
        }
        if chunk["usage"].is_object() {
            whole["usage"] = chunk["usage"].clone();
        }
        for choice in chunk["choices"].as_array().into_iter().flatten() {
            if !finish.is_null() {
                return Err("there is a choice after its end".to_owned());
            }
            grow(&mut message, &choice["delta"]);
            finish = choice["finish_reason"].clone();
        }
    }
    whole["choices"] = json!([{ "index": 0, "message": message, "finish_reason": finish }]);
    Ok(whole)
}

/// Adds a delta of OpenAI's: texts and lists are continued, items by their index.
fn grow(whole: &mut Value, delta: &Value) {
    for (key, more) in delta.as_object().into_iter().flatten() {
        let at = &mut whole[key];
        match (&*at, more) {
            (_, Value::Null) => {}
            (Value::String(text), Value::String(more)) if !matches!(key.as_str(), "id" | "type" | "role") => {
                *at = json!(format!("{text}{more}"));
            }
            (Value::Array(_) | Value::Null, Value::Array(more)) => {
                let mut items = at.as_array().cloned().unwrap_or_default();
                for item in more {
                    match items.iter_mut().find(|known| known["index"] == item["index"]) {
                        Some(known) => grow(known, item),
                        None => items.push(item.clone()),
                    }
                }
                *at = json!(items);
            }
            (Value::Object(_), Value::Object(_)) => grow(at, more),
            _ => *at = more.clone(),
        }
    }
}

fn anthropic(events: &[Event]) -> Result<Value, String> {
    let mut message = Value::Null;
    let (mut open, mut input, mut ended) = (None::<usize>, String::new(), false);
    for event in events {
        if ended {
            return Err(format!("'{}' comes after the end", event.name));
        }
        let event = event.named()?;
        let blocks = message["content"].as_array().map_or(0, Vec::len);
        match event["type"].as_str().unwrap_or_default() {
            "ping" => {}
            "message_start" if message.is_null() => message = event["message"].clone(),
            "content_block_start" if open.is_none() && event["index"] == blocks => {
                open = Some(blocks);
                let content = message["content"].as_array_mut().ok_or("a block comes before its message")?;
                content.push(event["content_block"].clone());
            }
            "content_block_delta" if open.is_some_and(|open| event["index"] == open) => {
                block_delta(&mut message["content"][blocks - 1], &event["delta"], &mut input)?;
            }
            "content_block_stop" if open.is_some_and(|open| event["index"] == open) => {
                if !input.is_empty() {
                    let said =
                        serde_json::from_str(&input).map_err(|e| format!("an input is no JSON: {e}"))?;
                    message["content"][blocks - 1]["input"] = said;
                }
                (open, input) = (None, String::new());
            }
            "message_delta" if open.is_none() => {
                merge(&mut message, event["delta"].as_object());
                merge(&mut message["usage"], event["usage"].as_object());
            }
            "message_stop" if open.is_none() => ended = true,
            other => return Err(format!("'{other}' has no place here: {event}")),
        }
    }
    if ended { Ok(message) } else { Err("there is no 'message_stop'".to_owned()) }
}

fn block_delta(block: &mut Value, delta: &Value, input: &mut String) -> Result<(), String> {
    let (kind, field) = match delta["type"].as_str().unwrap_or_default() {
        "input_json_delta" => {
            input.push_str(delta["partial_json"].as_str().unwrap_or_default());
            return Ok(());
        }
        "text_delta" => ("text", "text"),
        "thinking_delta" => ("thinking", "thinking"),
        "signature_delta" => ("thinking", "signature"),
        other => return Err(format!("there is no delta '{other}'")),
    };
    if block["type"] != kind {
        return Err(format!("a block of type {} gets {delta}", block["type"]));
    }
    let (text, more) = (block[field].as_str().unwrap_or_default(), delta[field].as_str().unwrap_or_default());
    block[field] = json!(format!("{text}{more}"));
    Ok(())
}

fn merge(into: &mut Value, more: Option<&Map<String, Value>>) {
    for (name, value) in more.into_iter().flatten() {
        into[name] = value.clone();
    }
}

/// What the pieces come to must be what the last event says.
fn responses(events: &[Event]) -> Result<Value, String> {
    let (mut output, mut last) = (json!([]), Value::Null);
    for (at, event) in events.iter().enumerate() {
        let event = event.named()?;
        if event["sequence_number"] != at {
            return Err(format!("the event {at} has the number {}", event["sequence_number"]));
        }
        if !last.is_null() {
            return Err(format!("{} comes after the end", event["type"]));
        }
        let place = event["output_index"].as_u64().unwrap_or_default() as usize;
        let part = event["content_index"].as_u64().unwrap_or_default() as usize;
        match event["type"].as_str().unwrap_or_default() {
            "response.created" if at == 0 => {}
            "response.in_progress" if at == 1 => {}
            "response.output_item.added" => added(&mut output, place, &event["item"])?,
            "response.content_part.added" => added(&mut output[place]["content"], part, &event["part"])?,
            "response.output_text.delta" => {
                more(&mut output[place]["content"][part], "text", &event["delta"]);
            }
            "response.refusal.delta" => more(&mut output[place]["content"][part], "refusal", &event["delta"]),
            "response.function_call_arguments.delta" => {
                more(&mut output[place], "arguments", &event["delta"]);
            }
            "response.output_text.done" => same(&output[place]["content"][part]["text"], &event["text"])?,
            "response.refusal.done" => same(&output[place]["content"][part]["refusal"], &event["refusal"])?,
            "response.function_call_arguments.done" => {
                same(&output[place]["arguments"], &event["arguments"])?;
            }
            "response.content_part.done" => {
                let (said, done) = (&output[place]["content"][part], &event["part"]);
                same(&json!([said["text"], said["refusal"]]), &json!([done["text"], done["refusal"]]))?;
            }
            "response.output_item.done" => {
                output[place]["status"] = event["item"]["status"].clone();
                same(&output[place], &event["item"])?;
            }
            "response.completed" | "response.incomplete" => last = event["response"].clone(),
            other => return Err(format!("'{other}' has no place here")),
        }
    }
    same(&output, &last["output"])?;
    Ok(last)
}

fn added(list: &mut Value, place: usize, item: &Value) -> Result<(), String> {
    match list.as_array_mut() {
        Some(list) if list.len() == place => {
            list.push(item.clone());
            Ok(())
        }
        _ => Err(format!("there is no place {place} for {item}")),
    }
}

fn more(value: &mut Value, name: &str, delta: &Value) {
    let text = value[name].as_str().unwrap_or_default();
    value[name] = json!(format!("{text}{}", delta.as_str().unwrap_or_default()));
}

fn same(pieces: &Value, said: &Value) -> Result<(), String> {
    if pieces == said {
        Ok(())
    } else {
        Err(format!("the pieces come to {pieces}, and are said to be {said}"))
    }
}

/// The frames of an event stream, from lines that say an event each.
///
/// # Panics
/// If a line is none.
pub fn frames(lines: &str) -> Vec<u8> {
    lines
        .lines()
        .flat_map(|line| {
            let line: Value = serde_json::from_str(line).expect("a line is JSON");
            frame(
                line["event"].as_str().expect("an event has a name"),
                line["payload"].to_string().as_bytes(),
            )
        })
        .collect()
}

/// One message: lengths, their checksum, headers, payload, a checksum of it all.
fn frame(event: &str, payload: &[u8]) -> Vec<u8> {
    let mut headers = Vec::new();
    for (name, value) in
        [(":message-type", "event"), (":event-type", event), (":content-type", "application/json")]
    {
        headers.push(name.len() as u8);
        headers.extend_from_slice(name.as_bytes());
        // 7: a text.
        headers.push(7);
        headers.extend_from_slice(&(value.len() as u16).to_be_bytes());
        headers.extend_from_slice(value.as_bytes());
    }
    let total = 4 + 4 + 4 + headers.len() + payload.len() + 4;
    let mut out = (total as u32).to_be_bytes().to_vec();
    out.extend_from_slice(&(headers.len() as u32).to_be_bytes());
    out.extend_from_slice(&crc32(&out).to_be_bytes());
    out.extend_from_slice(&headers);
    out.extend_from_slice(payload);
    out.extend_from_slice(&crc32(&out).to_be_bytes());
    out
}

/// The checksum of ISO 3309, as in gzip.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |sum: u32, byte: &u8| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| (sum >> 1) ^ (0xEDB8_8320 & (sum & 1).wrapping_neg()))
    };
    !bytes.iter().fold(u32::MAX, step)
}
