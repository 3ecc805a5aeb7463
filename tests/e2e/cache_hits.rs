//! The same question twice, in other words, as a stream: answered from memory.

use serde_json::{Value, json};
use sluice_tests::{Gate, Reply, question, script, streamed};

/// A hit is described by three headers, and cost no attempt.
fn assert_hit(reply: &Reply, tier: &str) -> f32 {
    assert_eq!((reply.status, reply.cache().as_str()), (200, format!("hit {tier}").as_str()));
    assert_eq!(reply.header("x-sluice-attempts"), "0");
    reply.header("x-sluice-cache-similarity").parse().expect("a number")
}

#[tokio::test]
async fn the_same_question_twice_is_an_exact_hit() {
    let gate = Gate::with("");
    let first = gate.ask("When do you open?").await;
    assert_eq!(first.cache(), "miss");
    assert_eq!(first.header("x-sluice-cache-similarity"), "");
    let second = gate.ask("When do you open?").await;
    assert_eq!(assert_hit(&second, "exact"), 1.0);
    assert_eq!(second.text(), first.text());
    assert_eq!(second.header("x-sluice-provider"), "primary");
    assert_eq!(second.header("x-sluice-model"), "model-a");
    assert!(second.header("age").parse::<u64>().is_ok());
    assert!(second.header("x-sluice-overhead-ms").parse::<f64>().is_ok());
    assert_eq!(gate.primary.count(), 1);
}

#[tokio::test]
async fn other_capitals_spaces_and_end_marks_are_a_normalised_hit() {
    let gate = Gate::with("");
    let first = gate.ask("What are your opening hours?").await;
    for text in
        ["what are your opening hours", "  What are  your opening hours ?", "What are your opening hours?!"]
    {
        let again = gate.ask(text).await;
        assert_eq!(assert_hit(&again, "normalised"), 1.0, "{text}");
        assert_eq!(again.text(), first.text());
    }
    assert_eq!(gate.primary.count(), 1);
}

#[tokio::test]
async fn a_paraphrase_is_a_semantic_hit() {
    let gate = Gate::with_weights("");
    let first = gate.ask("How do I reset my password?").await;
    let again = gate.ask("How can I reset my password?").await;
    let similarity = assert_hit(&again, "semantic");
    assert!((0.90..1.0).contains(&similarity), "{similarity}");
    assert_eq!(again.text(), first.text());
    assert_eq!(gate.ask("How do I close my account?").await.cache(), "miss");
    assert_eq!(gate.primary.count(), 2);
}

#[tokio::test]
async fn both_indexes_find_a_paraphrase() {
    for index in ["flat", "hnsw", "auto"] {
        let gate = Gate::with_weights(&format!("cache: {{index: {index}}}"));
        gate.ask("How do I reset my password?").await;
        let again = gate.ask("How can I reset my password?").await;
        assert_eq!(again.cache(), "hit semantic", "{index}");
    }
}

#[tokio::test]
async fn a_client_may_ask_for_more_similarity_and_never_for_less() {
    let gate = Gate::with("cache: {similarity: 0.5}");
    let near = "please tell me when your shop in town opens today";
    gate.ask("please tell me when your shop in town opens tomorrow").await;
    let strict = gate.client.with("x-sluice-cache-similarity", "0.999");
    assert_eq!(strict.chat(&question(near)).await.cache(), "miss");

    let gate = Gate::with("cache: {similarity: 0.5}");
    gate.ask("please tell me when your shop in town opens tomorrow").await;
    assert!(assert_hit(&gate.ask(near).await, "semantic") < 0.999);

    let gate = Gate::with("cache: {similarity: 0.999}");
    gate.ask("please tell me when your shop in town opens tomorrow").await;
    let lax = gate.client.with("x-sluice-cache-similarity", "0.1");
    assert_eq!(lax.chat(&question(near)).await.cache(), "miss");
}

#[tokio::test]
async fn a_similarity_that_is_no_number_is_refused_by_name() {
    let gate = Gate::with("");
    for wrong in ["abc", "1.5", "-1", "NaN", ""] {
        let reply = gate.client.with("x-sluice-cache-similarity", wrong).chat(&question("hi")).await;
        assert_eq!(reply.status, 400, "{wrong}");
        assert_eq!(reply.error()["param"], "x-sluice-cache-similarity");
        assert!(reply.error()["message"].as_str().unwrap().contains("x-sluice-cache-similarity"));
    }
    assert_eq!(gate.primary.count(), 0);
}

#[tokio::test]
async fn an_answer_stored_in_one_way_is_served_in_both() {
    for stored_as_stream in [false, true] {
        let gate = Gate::with("");
        gate.primary
            .script(script("reply: {answer: 'From nine to five, and on Sundays from ten to two. Grüße 🙂'}"));
        let first = gate.client.chat(&streamed(question("When do you open?"), stored_as_stream)).await;
        assert_eq!(first.is_stream(), stored_as_stream);
        for stream in [false, true] {
            let again = gate.client.chat(&streamed(question("When do you open?"), stream)).await;
            assert_hit(&again, "exact");
            assert_eq!(again.is_stream(), stream);
            assert_eq!(again.text(), first.text());
            assert_eq!(again.finish_reason(), "stop");
            assert_eq!(again.usage(), first.usage());
        }
        assert_eq!(gate.primary.count(), 1);
    }
}

#[tokio::test]
async fn a_replayed_stream_is_one_that_any_client_can_read() {
    let gate = Gate::with("");
    gate.ask("When do you open?").await;
    let replayed = gate.client.chat(&streamed(question("When do you open?"), true)).await;
    assert!(replayed.is_done());
    let chunks = replayed.chunks();
    assert_eq!(chunks[0]["choices"][0]["delta"]["role"], "assistant");
    assert!(
        chunks
            .iter()
            .all(|chunk| chunk["object"] == "chat.completion.chunk" && chunk["id"] == chunks[0]["id"])
    );
    let (last, rest) = chunks.split_last().unwrap();
    assert_eq!(last["choices"], json!([]), "the token counts come in a chunk of their own");
    let sum = last["usage"]["prompt_tokens"].as_u64().unwrap()
        + last["usage"]["completion_tokens"].as_u64().unwrap();
    assert_eq!(last["usage"]["total_tokens"].as_u64(), Some(sum));
    assert!(rest.iter().all(|chunk| chunk["usage"].is_null()));

    let mut uncounted = question("When do you open?");
    uncounted["stream"] = json!(true);
    let replayed = gate.client.chat(&uncounted).await;
    assert_eq!(replayed.cache(), "hit exact");
    assert!(replayed.is_done() && replayed.chunks().iter().all(|chunk| chunk["usage"].is_null()));
}

#[tokio::test]
async fn every_hit_has_an_id_and_a_date_of_its_own() {
    let gate = Gate::with("");
    let name = |reply: &Reply| {
        (reply.json()["id"].as_str().unwrap().to_owned(), reply.json()["created"].as_u64().unwrap())
    };
    let live = name(&gate.ask("When do you open?").await);
    let (first, second) =
        (name(&gate.ask("When do you open?").await), name(&gate.ask("When do you open?").await));
    assert!(live.0 != first.0 && first.0 != second.0);
    assert!(first.0.starts_with("chatcmpl-"));
    // The scripted provider's answers are all of November 2023.
    assert!(live.1 < first.1 && first.1 <= second.1);
}

#[tokio::test]
async fn a_cache_that_is_off_is_bypassed() {
    let gate = Gate::with("cache: {enabled: false}");
    for _ in 0..2 {
        assert_eq!(gate.ask("When do you open?").await.cache(), "bypass");
    }
    assert_eq!(gate.primary.count(), 2);
}

#[tokio::test]
async fn without_the_embedding_model_exact_and_normalised_questions_still_hit() {
    let gate = Gate::build(sluice_tests::TWO_TARGETS, None);
    assert_eq!(gate.ask("When do you open?").await.cache(), "bypass");
    assert_eq!(gate.ask("When do you open?").await.cache(), "hit exact");
    assert_eq!(gate.ask("when do you open").await.cache(), "hit normalised");
    let health: Value = gate.client.get("/health/ready").await.json();
    assert_eq!(health["semantic_cache"], false);
}
