//! From a scripted reply to bytes.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use http::{Response, header};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::script::{Reply, last_user_text};
use crate::wire::sse;

pub(super) type MockBody = BoxBody<Bytes, io::Error>;

/// Writes the reply to this chat request.
pub(super) async fn respond(reply: Reply, request: &Value) -> Response<MockBody> {
    if let Some(latency) = reply.latency {
        tokio::time::sleep(latency.0).await;
    }
    if reply.hang {
        std::future::pending::<()>().await;
    }
    if let Some(status) = reply.status {
        return error(status, reply.retry_after);
    }
    if let Some(raw) = reply.raw {
        return json_body(200, Bytes::from(raw));
    }
    let stream = request.get("stream") == Some(&Value::Bool(true));
    let answer = Answered::new(&reply, request);
    if stream {
        let counts = request.pointer("/stream_options/include_usage") == Some(&Value::Bool(true));
        let events = answer.events(&reply, counts);
        return event_stream(&reply, events);
    }
    let body = Bytes::from(answer.whole().to_string());
    if reply.cut_after.is_none() && reply.stall_after.is_none() {
        return json_body(200, body);
    }
    let parts = vec![body.slice(..body.len() / 2), body.slice(body.len() / 2..)];
    let reply =
        Reply { cut_after: reply.cut_after.map(|_| 1), stall_after: reply.stall_after.map(|_| 1), ..reply };
    let mut response = event_stream(&reply, parts);
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    response
}

/// A JSON body with a status.
pub(super) fn json_body(status: u16, body: Bytes) -> Response<MockBody> {
    let mut response = Response::new(Full::new(body).map_err(|never| match never {}).boxed());
    *response.status_mut() =
        http::StatusCode::from_u16(status).unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    response
}

fn error(status: u16, retry_after: Option<f64>) -> Response<MockBody> {
    let body = json!({ "error": { "message": format!("scripted error {status}"), "type": "mock_error", "param": null, "code": null } });
    let mut response = json_body(status, Bytes::from(body.to_string()));
    if let Some(value) = retry_after.and_then(|s| header::HeaderValue::from_str(&s.to_string()).ok()) {
        response.headers_mut().insert(header::RETRY_AFTER, value);
    }
    response
}

/// Sends the parts, breaking or stalling where the reply says so.
fn event_stream(reply: &Reply, parts: Vec<Bytes>) -> Response<MockBody> {
    let (sender, mut receiver) = mpsc::channel::<Result<Bytes, io::Error>>(1);
    let (cut, stall) = (reply.cut_after, reply.stall_after);
    let delay = reply.chunk_delay.map_or(Duration::ZERO, |span| span.0);
    tokio::spawn(async move {
        for (number, part) in parts.into_iter().enumerate() {
            if cut == Some(number) {
                let broken = io::Error::new(io::ErrorKind::ConnectionReset, "cut by the script");
                drop(sender.send(Err(broken)).await);
                return;
            }
            if stall == Some(number) {
                sender.closed().await;
                return;
            }
            if number > 0 && !delay.is_zero() {
                tokio::time::sleep(delay).await;
            }
            if sender.send(Ok(part)).await.is_err() {
                return;
            }
        }
    });
    let stream = futures_util::stream::poll_fn(move |context| receiver.poll_recv(context));
    let frames = futures_util::StreamExt::map(stream, |part| part.map(Frame::data));
    let mut response = Response::new(BodyExt::boxed(StreamBody::new(frames)));
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, header::HeaderValue::from_static("text/event-stream"));
    response
}

/// An answer, ready to be written whole or in chunks.
struct Answered {
    model: String,
    text: Option<String>,
    call: Option<(String, String)>,
    finish_reason: String,
    usage: Value,
}

impl Answered {
    fn new(reply: &Reply, request: &Value) -> Self {
        let prompt = last_user_text(request).unwrap_or_default();
        let messages = request.get("messages").map_or_else(String::new, Value::to_string);
        let fill = |text: &str| text.replace("{prompt}", &prompt).replace("{messages}", &messages);
        let call = reply
            .tool_call
            .as_ref()
            .map(|call| (call.name.clone(), fill_json(&call.arguments, &prompt, &messages)));
        let text = match &call {
            Some(_) => None,
            None => Some(match reply.tokens {
                Some(count) => vec!["word"; count].join(" "),
                None => fill(reply.answer.as_deref().unwrap_or("You said: {prompt}")),
            }),
        };
        let finish = reply
            .finish_reason
            .clone()
            .unwrap_or_else(|| if call.is_some() { "tool_calls" } else { "stop" }.to_owned());
        let written = text.as_deref().or(call.as_ref().map(|(_, a)| a.as_str())).unwrap_or_default().len();
        // About four bytes to a token.
        let (input, output) = (messages.len().div_ceil(4), reply.tokens.unwrap_or(written.div_ceil(4)));
        let usage =
            json!({ "prompt_tokens": input, "completion_tokens": output, "total_tokens": input + output });
        let model = request.get("model").and_then(Value::as_str).unwrap_or("mock").to_owned();
        Self { model, text, call, finish_reason: finish, usage }
    }

    fn calls(&self, index: bool) -> Option<Value> {
        let (name, arguments) = self.call.as_ref()?;
        let mut call = json!({ "id": "call_mock_1", "type": "function", "function": { "name": name, "arguments": arguments } });
        if index {
            call["index"] = json!(0);
        }
        Some(json!([call]))
    }

    fn head(&self, object: &str) -> Value {
        json!({ "id": "chatcmpl-mock", "object": object, "created": 1_700_000_000, "model": self.model, "system_fingerprint": "fp_mock" })
    }

    fn whole(&self) -> Value {
        let mut message = json!({ "role": "assistant", "content": self.text, "refusal": null });
        if let Some(calls) = self.calls(false) {
            message["tool_calls"] = calls;
        }
        let mut body = self.head("chat.completion");
        body["choices"] = json!([{ "index": 0, "message": message, "logprobs": null, "finish_reason": self.finish_reason }]);
        body["usage"] = self.usage.clone();
        body
    }

    fn events(&self, reply: &Reply, counts: bool) -> Vec<Bytes> {
        let chunk = |delta: Value, finish: Option<&str>| {
            let mut body = self.head("chat.completion.chunk");
            body["choices"] =
                json!([{ "index": 0, "delta": delta, "logprobs": null, "finish_reason": finish }]);
            sse::event(body.to_string().as_bytes())
        };
        let mut events = vec![chunk(
            json!({ "role": "assistant", "content": if self.call.is_some() { None } else { Some("") } }),
            None,
        )];
        for piece in pieces(self.text.as_deref().unwrap_or_default(), reply.chunk_chars) {
            events.push(chunk(json!({ "content": piece }), None));
        }
        if let (Some(calls), Some((_, arguments))) = (self.calls(true), &self.call) {
            let mut first = calls.clone();
            first[0]["function"]["arguments"] = json!("");
            events.push(chunk(json!({ "tool_calls": first }), None));
            for piece in pieces(arguments, reply.chunk_chars) {
                events.push(chunk(
                    json!({ "tool_calls": [{ "index": 0, "function": { "arguments": piece } }] }),
                    None,
                ));
            }
        }
        events.push(chunk(json!({}), Some(&self.finish_reason)));
        if counts {
            let mut body = self.head("chat.completion.chunk");
            body["choices"] = json!([]);
            body["usage"] = self.usage.clone();
            events.push(sse::event(body.to_string().as_bytes()));
        }
        events.push(sse::event(b"[DONE]"));
        events
    }
}

/// Puts texts into a JSON text, escaped as the inside of its strings.
fn fill_json(template: &str, prompt: &str, messages: &str) -> String {
    let inside = |text: &str| {
        let quoted = json!(text).to_string();
        quoted[1..quoted.len() - 1].to_owned()
    };
    template.replace("{prompt}", &inside(prompt)).replace("{messages}", &inside(messages))
}

/// Pieces of so many characters, or of a word each.
fn pieces(text: &str, chars: Option<usize>) -> Vec<String> {
    match chars {
        Some(count) => {
            let all: Vec<char> = text.chars().collect();
            all.chunks(count.max(1)).map(|piece| piece.iter().collect()).collect()
        }
        None => text.split_inclusive(' ').map(str::to_owned).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_of_so_many_tokens_has_so_many_words_and_counts_them() {
        let reply = Reply { tokens: Some(12), ..Reply::default() };
        let request = json!({ "model": "m", "messages": [{ "role": "user", "content": "Hi" }] });
        let whole = Answered::new(&reply, &request).whole();
        let text = whole["choices"][0]["message"]["content"].as_str().unwrap();
        assert_eq!((text.split(' ').count(), &whole["usage"]["completion_tokens"]), (12, &json!(12)));
    }
}
