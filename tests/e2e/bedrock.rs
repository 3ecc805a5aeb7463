//! AWS Bedrock behind an OpenAI client: signed, said and read as Converse wants it, and its failures like anybody's.

use serde_json::{Value, json};
use sluice_tests::bedrock::{Answer, Asked, Bedrock, Shown, event, exception, read_frames};
use sluice_tests::{Client, Gate, Reply, question, script, streamed};

const MODEL: &str = "anthropic.claude-3-5-sonnet-20241022-v2:0";
const CONVERSE: &str = "/model/anthropic.claude-3-5-sonnet-20241022-v2%3A0/converse";

fn signature() -> Shown {
    let (id, secret) = ("sk-test-id".to_owned(), "sk-test-secret".to_owned());
    Shown::Signature { id, secret, token: Some("sk-test-token".to_owned()), region: "eu-west-1" }
}

/// A gateway with this provider and a mock behind it.
fn gate(bedrock: &Bedrock, model: &str, more: &str) -> Gate {
    let aws = "{access_key_id: 'env:TEST_ID', secret_access_key: 'env:TEST_SECRET', session_token: 'env:TEST_TOKEN'}";
    let gate = Gate::start(&format!(
        "
providers:
  bedrock: {{kind: bedrock, base_url: '{}', region: eu-west-1, aws: {aws}}}
  backup: {{kind: mock, base_url: '{{backup}}'}}
routes:
  - {{model: chat, targets: ['bedrock/{model}', backup/model-b]{more}}}
  - {{model: alone, targets: ['bedrock/{model}']}}
retry: {{rounds: 0}}
cache: {{enabled: false}}
",
        bedrock.base_url()
    ));
    gate.backup.script(script("reply: {answer: 'From the backup.'}"));
    gate
}

/// A Bedrock that answers each request so, whole or streamed.
async fn answering(whole: Value, frames: Vec<u8>) -> Bedrock {
    Bedrock::start(signature(), move |asked: &Asked| {
        if asked.path.ends_with("/converse-stream") {
            Answer::Stream(frames.clone())
        } else {
            Answer::Json(200, whole.clone())
        }
    })
    .await
}

#[expect(clippy::needless_pass_by_value, reason = "what is given is made on the spot")]
fn whole(content: Value, reason: &str) -> Value {
    json!({ "output": { "message": { "role": "assistant", "content": content } }, "stopReason": reason,
        "usage": usage(), "metrics": { "latencyMs": 5 } })
}

fn usage() -> Value {
    json!({ "inputTokens": 10, "outputTokens": 4, "totalTokens": 24, "cacheReadInputTokens": 10, "cacheWriteInputTokens": 0 })
}

fn begin() -> Vec<u8> {
    event("messageStart", &json!({ "role": "assistant" }))
}

#[expect(clippy::needless_pass_by_value, reason = "what is given is made on the spot")]
fn delta(at: u64, delta: Value) -> Vec<u8> {
    event("contentBlockDelta", &json!({ "contentBlockIndex": at, "delta": delta, "p": "abcd" }))
}

fn text(text: &str) -> Vec<u8> {
    delta(0, json!({ "text": text }))
}

fn end(reason: &str) -> Vec<u8> {
    let stop = event("messageStop", &json!({ "stopReason": reason }));
    [stop, event("metadata", &json!({ "usage": usage(), "metrics": { "latencyMs": 5 } }))].concat()
}

fn call(at: u64, id: &str, name: &str, input: &[&str]) -> Vec<u8> {
    let start = json!({ "contentBlockIndex": at, "start": { "toolUse": { "toolUseId": id, "name": name } } });
    let mut bytes = event("contentBlockStart", &start);
    input.iter().for_each(|part| bytes.extend(delta(at, json!({ "toolUse": { "input": part } }))));
    bytes.extend(event("contentBlockStop", &json!({ "contentBlockIndex": at })));
    bytes
}

fn told_of_bedrock(reply: &Reply) {
    assert_eq!(reply.status, 200, "{:?}", reply.body);
    assert_eq!(reply.header("x-sluice-provider"), "bedrock");
}

/// The calls of an answer, whole or streamed, as names and arguments.
fn calls(reply: &Reply) -> Vec<(String, String)> {
    let part = if reply.is_stream() { "delta" } else { "message" };
    let mut calls: Vec<(String, String)> = Vec::new();
    for chunk in reply.chunks() {
        let list = chunk.pointer(&format!("/choices/0/{part}/tool_calls")).cloned();
        for (at, call) in list.as_ref().and_then(Value::as_array).into_iter().flatten().enumerate() {
            let at = call["index"].as_u64().map_or(at, |at| usize::try_from(at).unwrap());
            if calls.len() <= at {
                calls.push((call["function"]["name"].as_str().unwrap().to_owned(), String::new()));
            }
            calls[at].1.push_str(call["function"]["arguments"].as_str().unwrap_or_default());
        }
    }
    calls
}

#[tokio::test]
async fn a_chat_is_signed_said_and_read_whole_and_streamed() {
    let frames = [begin(), text("Good "), text("morning."), end("end_turn")].concat();
    let bedrock = answering(whole(json!([{ "text": "Good morning." }]), "end_turn"), frames).await;
    let gate = gate(&bedrock, MODEL, "");
    for stream in [false, true] {
        let reply = gate.client.chat(&streamed(question("Hello"), stream)).await;
        told_of_bedrock(&reply);
        assert_eq!((reply.text().as_str(), reply.finish_reason().as_str()), ("Good morning.", "stop"));
        let usage = reply.usage();
        assert_eq!((&usage["prompt_tokens"], &usage["total_tokens"]), (&json!(20), &json!(24)));
        assert_eq!(usage["prompt_tokens_details"]["cached_tokens"], 10);
        assert!(!stream || reply.is_done());
        let chunks = reply.chunks();
        assert!(chunks.iter().all(|chunk| chunk["id"] == chunks[0]["id"] && chunk["model"] == MODEL));
        assert!(chunks[0]["id"].as_str().is_some_and(|id| id.starts_with("chatcmpl-")));
        assert!(
            !String::from_utf8_lossy(&reply.body).contains("latencyMs"),
            "nothing of Bedrock's own is left"
        );
    }
    let paths: Vec<String> = bedrock.asked().into_iter().map(|asked| asked.path).collect();
    assert_eq!(paths, [CONVERSE.to_owned(), format!("{CONVERSE}-stream")]);
    assert_eq!(
        bedrock.asked()[0].body,
        json!({ "messages": [{ "role": "user", "content": [{ "text": "Hello" }] }] })
    );
}

#[tokio::test]
async fn an_arn_is_signed_as_one_segment_of_the_path() {
    let bedrock = answering(whole(json!([{ "text": "Yes." }]), "end_turn"), Vec::new()).await;
    let gate =
        gate(&bedrock, "arn:aws:bedrock:eu-west-1:123456789012:application-inference-profile/ab c", "");
    told_of_bedrock(&gate.ask("Hello").await);
    assert_eq!(
        bedrock.asked()[0].path,
        "/model/arn%3Aaws%3Abedrock%3Aeu-west-1%3A123456789012%3Aapplication-inference-profile%2Fab%20c/converse"
    );
}

#[tokio::test]
async fn a_bearer_key_goes_along_instead_of_a_signature() {
    let answer = whole(json!([{ "text": "Yes." }]), "end_turn");
    let shown = Shown::Bearer("sk-test-key".to_owned());
    let bedrock = Bedrock::start(shown, move |_| Answer::Json(200, answer.clone())).await;
    let gate = Gate::start(&format!(
        "providers: {{bedrock: {{kind: bedrock, base_url: '{}', api_key: 'env:TEST_KEY'}}}}\nroutes: [{{model: chat, targets: [bedrock/amazon.nova-lite-v1:0]}}]\n",
        bedrock.base_url()
    ));
    told_of_bedrock(&gate.ask("Hello").await);
    assert_eq!(bedrock.asked()[0].authorization, "Bearer sk-test-key");
}

#[tokio::test]
async fn tools_are_called_in_parallel_under_the_names_the_client_gave_them() {
    // What a name becomes that does not fit is the gateway's affair: the answer uses what the request said.
    let bedrock = Bedrock::start(signature(), |asked: &Asked| {
        let sent = asked.body["toolConfig"]["tools"][0]["toolSpec"]["name"].as_str().unwrap();
        if asked.path.ends_with("/converse-stream") {
            let frames = [
                begin(),
                text("Looking."),
                call(1, "t1", sent, &["", "{\"city\":", "\"Ulm\"}"]),
                call(2, "t2", "now", &[]),
                end("tool_use"),
            ];
            return Answer::Stream(frames.concat());
        }
        let blocks = json!([
            { "text": "Looking." },
            { "toolUse": { "toolUseId": "t1", "name": sent, "input": { "city": "Ulm" } } },
            { "toolUse": { "toolUseId": "t2", "name": "now", "input": {} } },
        ]);
        Answer::Json(200, whole(blocks, "tool_use"))
    })
    .await;
    let gate = gate(&bedrock, MODEL, "");
    let tool = |name: &str| json!({ "type": "function", "function": { "name": name, "parameters": { "type": "object" } } });
    for stream in [false, true] {
        let mut body = streamed(question("The weather?"), stream);
        body["tools"] = json!([tool("weather.of/city"), tool("now")]);
        body["tool_choice"] = json!("required");
        let reply = gate.client.chat(&body).await;
        told_of_bedrock(&reply);
        let expected = [("weather.of/city", "{\"city\":\"Ulm\"}"), ("now", "{}")];
        assert_eq!(calls(&reply), expected.map(|(name, arguments)| (name.to_owned(), arguments.to_owned())));
        assert_eq!((reply.text().as_str(), reply.finish_reason().as_str()), ("Looking.", "tool_calls"));
    }
    let tools = &bedrock.asked()[0].body["toolConfig"];
    let sent = tools["tools"][0]["toolSpec"]["name"].as_str().unwrap();
    assert!(sent.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b)), "{sent}");
    assert_eq!(tools["toolChoice"], json!({ "any": {} }));
}

#[tokio::test]
async fn a_schema_of_the_answer_is_kept_by_a_tool_and_the_client_sees_text() {
    let frames = [begin(), call(0, "t", "city", &["{\"name\":", "\"Ulm\"}"]), end("tool_use")].concat();
    let called = json!([{ "toolUse": { "toolUseId": "t", "name": "city", "input": { "name": "Ulm" } } }]);
    let bedrock = answering(whole(called, "tool_use"), frames).await;
    let gate = gate(&bedrock, MODEL, "");
    for stream in [false, true] {
        let mut body = streamed(question("A city?"), stream);
        let schema = json!({ "type": "object", "properties": { "name": { "type": "string" } }, "required": ["name"], "additionalProperties": false });
        body["response_format"] = json!({ "type": "json_schema", "json_schema": { "name": "city", "strict": true, "schema": schema } });
        let reply = gate.client.chat(&body).await;
        told_of_bedrock(&reply);
        assert_eq!((reply.text().as_str(), reply.finish_reason().as_str()), ("{\"name\":\"Ulm\"}", "stop"));
        assert!(calls(&reply).is_empty());
        let config = &bedrock.asked()[usize::from(stream)].body["toolConfig"];
        assert_eq!(config["toolChoice"], json!({ "tool": { "name": "city" } }));
        assert_eq!(config["tools"][0]["toolSpec"]["inputSchema"]["json"], schema);
    }
}

#[tokio::test]
async fn an_image_goes_by_its_bytes_and_one_that_would_have_to_be_fetched_is_refused() {
    let bedrock = answering(whole(json!([{ "text": "A dot." }]), "end_turn"), Vec::new()).await;
    let gate = gate(&bedrock, MODEL, "");
    let ask = |url: &str| {
        let content = json!([{ "type": "text", "text": "What is it?" }, { "type": "image_url", "image_url": { "url": url } }]);
        json!({ "model": "alone", "messages": [{ "role": "user", "content": content }] })
    };
    told_of_bedrock(&gate.client.chat(&ask("data:image/png;base64,iVBORw0KGgo=")).await);
    assert_eq!(
        bedrock.asked()[0].body["messages"][0]["content"][1],
        json!({ "image": { "format": "png", "source": { "bytes": "iVBORw0KGgo=" } } })
    );
    let refused = gate.client.chat(&ask("https://example.org/dot.png")).await;
    assert_eq!(
        (refused.status, refused.error()["param"].as_str()),
        (400, Some("messages[0].content[1].image_url.url"))
    );
    assert_eq!(bedrock.asked().len(), 1, "nothing was sent");
}

#[tokio::test]
async fn errors_come_in_openais_shape_with_its_codes() {
    let cases = [
        (
            400,
            "ValidationException",
            "Input is too long for requested model.",
            400,
            Some("context_length_exceeded"),
        ),
        (
            400,
            "ValidationException",
            "The value at temperature is invalid.",
            400,
            Some("ValidationException"),
        ),
        (404, "ResourceNotFoundException", "No such model.", 404, Some("model_not_found")),
        (429, "ThrottlingException", "Too many requests, please wait.", 429, None),
        (503, "ServiceUnavailableException", "Try again.", 503, None),
        (403, "AccessDeniedException", "No access to the model.", 502, None),
    ];
    for (status, name, message, told, code) in cases {
        let bedrock = Bedrock::start(signature(), move |_| Answer::Error(status, name, message)).await;
        for stream in [false, true] {
            // One of its own each time: a key that is limited is not used again so soon.
            let gate = gate(&bedrock, MODEL, "");
            let mut body = streamed(question("Hello"), stream);
            body["model"] = json!("alone");
            let reply = gate.client.chat(&body).await;
            assert_eq!(reply.status, told, "{name}: {:?}", reply.body);
            if let Some(code) = code {
                assert_eq!(
                    (&reply.error()["code"], &reply.error()["message"]),
                    (&json!(code), &json!(message))
                );
            }
        }
        assert_eq!(bedrock.asked().len(), 2, "{name}");
    }
}

#[tokio::test]
async fn what_fails_before_the_first_content_is_answered_by_the_next_target() {
    let damaged = |mut frame: Vec<u8>| {
        frame[20] ^= 1;
        frame
    };
    let half = text("Half a frame");
    let failures = [
        ("an exception at once", exception("throttlingException", "Too many tokens")),
        ("an exception after the role", [begin(), exception("internalServerException", "It broke")].concat()),
        ("an exception that nobody knows", [begin(), exception("someNewException", "x")].concat()),
        ("a flipped bit", [begin(), damaged(text("Hello")), end("end_turn")].concat()),
        ("a cut inside the first content", [begin(), half[..half.len() / 2].to_vec()].concat()),
        ("no content and no end", begin()),
        ("nothing", Vec::new()),
        (
            "a spoilt call",
            [begin(), event("messageStop", &json!({ "stopReason": "malformed_tool_use" }))].concat(),
        ),
    ];
    for (what, frames) in failures {
        let bedrock = answering(json!({}), frames).await;
        let gate = gate(&bedrock, MODEL, "");
        let reply = gate.client.chat(&streamed(question("Hello"), true)).await;
        assert_eq!((reply.status, reply.header("x-sluice-provider")), (200, "backup"), "{what}");
        assert_eq!((reply.text().as_str(), reply.is_done()), ("From the backup.", true), "{what}");
        assert_eq!(bedrock.asked().len(), 1, "{what}");
    }
    for status in [429, 500, 503] {
        let bedrock = Bedrock::start(signature(), move |_| Answer::Error(status, "SomeException", "x")).await;
        assert_eq!(gate(&bedrock, MODEL, "").ask("Hello").await.text(), "From the backup.");
    }
}

#[tokio::test]
async fn what_fails_after_the_first_content_is_an_error_and_never_an_end() {
    let good = [begin(), text("Good "), text("morning."), end("end_turn")].concat();
    let mut flipped = good.clone();
    let last = flipped.len() - 1;
    flipped[last] ^= 0x80;
    let begun = [begin(), text("Good ")].concat();
    let stopped = [begun.clone(), event("messageStop", &json!({ "stopReason": "end_turn" }))].concat();
    let failures = [
        ("an exception", [begun.clone(), exception("modelStreamErrorException", "It broke")].concat()),
        ("a cut between frames", begun.clone()),
        ("a cut in the middle of a frame", good[..good.len() - 10].to_vec()),
        ("a flipped bit of a checksum", flipped),
        ("no token counts", stopped),
        ("other bytes", [begun, b"<html>no</html>".to_vec()].concat()),
    ];
    for (what, frames) in failures {
        let bedrock = answering(json!({}), frames).await;
        let gate = gate(&bedrock, MODEL, "");
        let reply = gate.client.chat(&streamed(question("Hello"), true)).await;
        assert_eq!((reply.status, reply.header("x-sluice-provider")), (200, "bedrock"), "{what}");
        assert!(reply.text().starts_with("Good "), "{what}");
        assert!(!reply.is_done(), "{what}: no end is made up");
        assert!(reply.events().last().unwrap()["error"]["message"].is_string(), "{what}");
    }
}

#[tokio::test]
async fn a_field_that_converse_has_no_place_for_is_dropped_and_told_or_the_target_is_passed_over() {
    let bedrock = answering(whole(json!([{ "text": "Yes." }]), "end_turn"), Vec::new()).await;
    let mut body = question("Hello");
    body["seed"] = json!(7);
    body["top_k"] = json!(40);
    let reply = gate(&bedrock, MODEL, "").client.chat(&body).await;
    told_of_bedrock(&reply);
    assert_eq!(reply.header("x-sluice-dropped-params"), "seed");
    assert_eq!(bedrock.asked()[0].body["additionalModelRequestFields"], json!({ "top_k": 40 }));
    let reply = gate(&bedrock, MODEL, ", drop_params: strict").client.chat(&body).await;
    assert_eq!(reply.text(), "From the backup.");
    told_of_bedrock(&gate(&bedrock, MODEL, ", drop_params: pass").client.chat(&body).await);
    let passed = bedrock.asked()[1].body["additionalModelRequestFields"].clone();
    assert_eq!((&passed["seed"], bedrock.asked().len()), (&json!(7), 2));
}

#[tokio::test]
async fn what_was_redacted_stays_here_and_comes_back_in_the_answer() {
    let bedrock = Bedrock::start(signature(), |asked: &Asked| {
        let said = asked.body["messages"][0]["content"][0]["text"].as_str().unwrap();
        let name = said.rsplit(' ').next().unwrap();
        let (first, second) = name.split_at(name.len() / 2);
        if asked.path.ends_with("/converse-stream") {
            Answer::Stream([begin(), text("To "), text(first), text(second), end("end_turn")].concat())
        } else {
            Answer::Json(200, whole(json!([{ "text": format!("To {name}") }]), "end_turn"))
        }
    })
    .await;
    let gate = gate(&bedrock, MODEL, "");
    for stream in [false, true] {
        let reply = gate.client.chat(&streamed(question("Write to ada@example.org"), stream)).await;
        told_of_bedrock(&reply);
        assert_eq!(reply.text(), "To ada@example.org");
    }
    assert!(bedrock.asked().iter().all(|asked| !asked.body.to_string().contains("ada@example.org")));
}

/// A client of its own API.
fn own(gate: &Gate) -> Client {
    let client = gate.client.with("content-type", "application/json");
    client.with("accept", "application/vnd.amazon.eventstream")
}

#[tokio::test]
async fn its_own_stream_is_passed_through_with_what_was_redacted_back_in_its_frames() {
    let bedrock = Bedrock::start(signature(), |asked: &Asked| {
        let said = asked.body["messages"][0]["content"][0]["text"].as_str().unwrap();
        let name = said.rsplit(' ').next().unwrap();
        let (first, second) = name.split_at(name.len() / 2);
        let said = [
            begin(),
            text("To "),
            text(first),
            text(second),
            event("contentBlockStop", &json!({ "contentBlockIndex": 0 })),
        ];
        Answer::Stream([said.concat(), end("end_turn")].concat())
    })
    .await;
    let gate = gate(&bedrock, MODEL, "");
    let asked =
        json!({ "messages": [{ "role": "user", "content": [{ "text": "Write to ada@example.org" }] }] });
    let path = format!("/bedrock{CONVERSE}-stream");
    let reply = own(&gate).post(&path, asked.to_string()).await;
    assert_eq!((reply.status, reply.header("content-type")), (200, "application/vnd.amazon.eventstream"));
    let frames = read_frames(&reply.body);
    let texts: String = frames.iter().filter_map(|(_, said)| said.pointer("/delta/text")?.as_str()).collect();
    assert_eq!(texts, "To ada@example.org");
    assert_eq!(
        frames.last().map(|(kind, said)| (kind.as_str(), said["usage"].clone())),
        Some(("metadata", usage()))
    );
    assert!(!bedrock.asked()[0].body.to_string().contains("ada@example.org"));
    gate.until("sluice_tokens_total{provider=\"bedrock\",direction=\"input\"} 20").await;
    // Nothing to put back, and no rule for answers that acts: the bytes as they came.
    let asked = json!({ "messages": [{ "role": "user", "content": [{ "text": "Write to nobody" }] }] });
    let reply = own(&gate).post(&path, asked.to_string()).await;
    let texts: String = read_frames(&reply.body)
        .iter()
        .filter_map(|(_, said)| said.pointer("/delta/text").map(ToString::to_string))
        .collect();
    assert_eq!(texts, "\"To \"\"nob\"\"ody\"");
    gate.until("sluice_tokens_total{provider=\"bedrock\",direction=\"input\"} 40").await;
}

#[tokio::test]
async fn a_stream_of_its_own_that_holds_what_must_not_go_on_ends_with_an_exception() {
    let bedrock =
        answering(json!({}), [begin(), text("Ask tom.ha"), text("rt@example.org"), end("end_turn")].concat())
            .await;
    let yaml = "providers: {bedrock: {kind: bedrock, base_url: 'URL', region: eu-west-1, aws: {access_key_id: 'env:TEST_ID', secret_access_key: 'env:TEST_SECRET', session_token: 'env:TEST_TOKEN'}}}\nguardrails: {output: {pii: block}}\n";
    let gate = Gate::start(&yaml.replace("URL", &bedrock.base_url()));
    let asked = json!({ "messages": [{ "role": "user", "content": [{ "text": "Who?" }] }] });
    let reply = own(&gate).post(&format!("/bedrock{CONVERSE}-stream"), asked.to_string()).await;
    let frames = read_frames(&reply.body);
    let (kind, said) = frames.last().unwrap();
    assert_eq!(kind, "validationException");
    assert!(said["message"].as_str().unwrap().contains("EMAIL_ADDRESS"), "{said}");
    assert!(!format!("{frames:?}").contains("example.org"));
}
