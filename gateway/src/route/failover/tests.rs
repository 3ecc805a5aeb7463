//! What becomes of a request's time, and of answers that are set aside.

use super::super::Routes;
use super::super::catalogue::Catalogue;
use super::*;
use crate::client_api::openai_chat::parse;
use crate::config::{RetrySection, Span, TimeoutSection};
use crate::ledger::Prices;
use crate::mock::{Mock, Script};
use crate::telemetry::metrics::Metrics;
use crate::upstream::Upstream;
use bytes::Bytes;

/// Asks the targets of a model by this configuration.
async fn asked(
    yaml: &str,
    (model, stream): (&str, bool),
    timeouts: &TimeoutSection,
    metrics: &Metrics,
) -> Result<Answer, ApiError> {
    drop(rustls::crypto::ring::default_provider().install_default());
    let config = crate::config::parse(yaml, "test").unwrap();
    let (catalogue, prices) = (Catalogue::shipped().unwrap(), Prices::shipped().unwrap());
    let (routes, _) = Routes::build(&config, &catalogue, &prices, None, &|_| None).unwrap();
    let asking = Asking {
        routes: &routes,
        upstream: &Upstream::new(Duration::from_secs(5)),
        timeouts,
        retry: &RetrySection { rounds: 0, ..RetrySection::default() },
        max_answer: 65536,
        metrics,
        prices: &prices,
        audit: None,
    };
    let body =
        format!(r#"{{"model":"{model}","stream":{stream},"messages":[{{"role":"user","content":"Hi"}}]}}"#);
    let request = parse(&Bytes::from(body)).ok().unwrap();
    asking.first_answer(&routes.resolve(model).unwrap(), &request).await
}

#[tokio::test]
async fn whoever_has_no_time_left_to_ask_in_ran_out_of_time() {
    let yaml = "providers: {a: {kind: ollama, base_url: 'http://127.0.0.1:1/v1'}}";
    let timeouts = TimeoutSection { total: Span::seconds(0), ..TimeoutSection::default() };
    let error = asked(yaml, ("a/m", false), &timeouts, &Metrics::default()).await.err().unwrap();
    assert_eq!(error.status(), 504, "{error}");
}

fn mock(reply: &str) -> Mock {
    let script = Script::parse(&format!("reply: {{{reply}}}")).unwrap();
    Mock::start(([127, 0, 0, 1], 0).into(), script).unwrap()
}

#[tokio::test]
async fn an_answer_that_was_set_aside_is_counted_unless_it_is_the_best_there_is() {
    for (stream, reply, is_aside) in [
        (false, "answer: Hello", true),
        (true, "answer: Hello", true),
        (false, "status: 503", false),
        (true, "status: 503", false),
    ] {
        let (filtered, other) = (mock("answer: '', finish_reason: content_filter"), mock(reply));
        let yaml = format!(
            "providers: {{a: {{kind: openai, base_url: '{}', api_key: x}}, b: {{kind: ollama, base_url: '{}'}}}}\n\
            routes: [{{model: chat, targets: [a/gpt-4o-mini], fallbacks: {{content_policy: [b/m]}}}}]",
            filtered.base_url(),
            other.base_url()
        );
        let metrics = Metrics::default();
        let answer = asked(&yaml, ("chat", stream), &TimeoutSection::default(), &metrics).await.ok().unwrap();
        assert_eq!((answer.attempts, answer.fallbacks), (2, 1), "{reply}, stream: {stream}");
        assert_eq!(answer.target.name(), if is_aside { "b/m" } else { "a/gpt-4o-mini" });
        let text = metrics.scrape(0, 0, 0);
        let counted = |name: &str| {
            let value = text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<f64>().ok());
            value.unwrap_or(0.0) > 0.0
        };
        let input = counted(r#"sluice_tokens_total{provider="a",direction="input"}"#);
        assert_eq!((input, counted("sluice_cost_nanodollars_total")), (is_aside, is_aside), "{text}");
    }
}
