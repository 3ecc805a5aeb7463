//! Refusals of a request that another target may take, told from the words of the vendors. Most of them have no code for it.
//! And how they say that they have no such model, which some do with the status of a wrong request.

use http::StatusCode;
use serde_json::Value;

use super::plan::Refusal;

/// Codes and types by which some say that a prompt is too long.
const TOO_LONG_CODES: [&str; 5] = [
    "context_length_exceeded",
    "context_window_exceeded",
    "exceed_context_size_error",
    "model_context_window_exceeded",
    "string_above_max_length",
];

/// Words by which the others do, in small letters.
const TOO_LONG: [&str; 17] = [
    // OpenAI, vLLM, DeepSeek, OpenRouter.
    "maximum context length",
    // xAI.
    "maximum prompt length",
    // Anthropic.
    "prompt is too long",
    "exceed context limit",
    // Gemini and Vertex.
    "exceeds the maximum number of tokens allowed",
    // Bedrock.
    "input is too long for requested model",
    "too many input tokens",
    // llama.cpp.
    "exceeds the available context size",
    "exceed the available context size",
    // Mistral.
    "too large for model with",
    // Cohere.
    "too many tokens",
    // vLLM's engine.
    "longer than the maximum model length",
    // Text Generation Inference and Together.
    "`inputs` tokens + `max_new_tokens` must be",
    // Ollama.
    "input length exceeds the context length",
    // Groq: larger than all that may be sent in a minute.
    "request too large for model",
    // Several.
    "reduce the length of the messages",
    "exceeds the context window",
];

/// Codes by which vendors say that they do not want to answer.
const UNWANTED_CODES: [&str; 7] = [
    "content_filter",
    "content_policy_violation",
    "responsibleaipolicyviolation",
    "responsible_ai_policy_violation",
    "data_inspection_failed",
    "moderation_blocked",
    "prohibited_content",
];

/// Words by which they do.
const UNWANTED: [&str; 8] = [
    // Azure.
    "content management policy",
    // OpenAI.
    "rejected as a result of our safety system",
    "violating our usage policy",
    // Anthropic.
    "blocked by content filtering policy",
    // OpenRouter.
    "your input was flagged",
    // Gemini.
    "blocked due to safety",
    "blocked by the safety filter",
    // Bedrock.
    "blocked by our content filters",
];

/// Codes and types by which vendors say that they have no such model, or not in this way.
const NO_MODEL_CODES: [&str; 9] = [
    "model_not_found",
    "deploymentnotfound",
    // Groq.
    "model_decommissioned",
    // Mistral and Perplexity.
    "invalid_model",
    // Together.
    "model_not_available",
    // Hugging Face.
    "model_not_supported",
    // Azure.
    "unknown_model",
    "unavailable_model",
    // Older deployments of models that left.
    "deprecated_model",
];

/// Words by which others do, in small letters, each with all that must stand there.
const NO_MODEL: [&[&str]; 10] = [
    // DeepSeek.
    &["model not exist"],
    // OpenRouter.
    &["is not a valid model id"],
    // Mistral.
    &["invalid model:"],
    // vLLM, OpenAI and those who speak like them.
    &["the model", "does not exist"],
    &["the requested model", "not supported"],
    // Bedrock, also of models that are to be had by an inference profile alone.
    &["model identifier is invalid"],
    &["invocation of model id", "on-demand throughput"],
    // Vertex: where the model is not to be had in this region.
    &["publisher model", "not servable in region"],
    &["publisher model", "not found"],
    // Azure: a deployment of another kind of model.
    &["does not work with the specified model"],
];

/// Whether an error with this status says that the target has no such model: it is the configuration's mistake, not the client's.
pub(super) fn is_unknown_model(status: StatusCode, error: &Value) -> bool {
    if !matches!(status.as_u16(), 400 | 404 | 422) {
        return false;
    }
    let (codes, message) = words(error);
    is_no_model_code(&codes) || NO_MODEL.iter().any(|all| all.iter().all(|words| message.contains(words)))
}

/// Whether its code says so. Words alone may be the client's, whose values vendors quote.
pub(super) fn is_unknown_model_by_code(error: &Value) -> bool {
    is_no_model_code(&words(error).0)
}

fn is_no_model_code(codes: &[String]) -> bool {
    codes.iter().any(|code| NO_MODEL_CODES.contains(&code.as_str()))
}

/// The codes and the message of an error, in small letters.
fn words(error: &Value) -> (Vec<String>, String) {
    let word = |value: &Value| value.as_str().map(str::to_ascii_lowercase);
    let codes = ["/code", "/type", "/innererror/code", "/metadata/error_type"]
        .into_iter()
        .filter_map(|pointer| word(error.pointer(pointer)?))
        .collect();
    (codes, word(&error["message"]).unwrap_or_default())
}

/// The refusal that an error with this status is, if it is one.
pub(super) fn refusal(status: StatusCode, error: &Value) -> Option<Refusal> {
    if !matches!(status.as_u16(), 400 | 403 | 413 | 422) {
        return None;
    }
    let (codes, message) = words(error);
    let coded = |known: &[&str]| codes.iter().any(|code| known.contains(&code.as_str()));
    let says = |known: &[&str]| known.iter().any(|words| message.contains(words));
    if coded(&TOO_LONG_CODES) || says(&TOO_LONG) {
        return Some(Refusal::ContextWindow);
    }
    (coded(&UNWANTED_CODES) || says(&UNWANTED)).then_some(Refusal::ContentPolicy)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn told(status: u16, error: &Value) -> Option<Refusal> {
        refusal(StatusCode::from_u16(status).unwrap(), error)
    }

    #[test]
    fn a_prompt_that_is_too_long_is_known_from_every_vendor_s_words() {
        let by_message = [
            "This model's maximum context length is 8192 tokens, but the messages have 9000.",
            "prompt is too long: 201000 tokens > 200000 maximum",
            "input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000",
            "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).",
            "Input is too long for requested model.",
            "request (5000 tokens) exceeds the available context size (4096 tokens)",
            "the request exceeds the available context size, try increasing it",
            "Prompt contains 40000 tokens, too large for model with 32768 maximum context length",
            "too many tokens: the prompt may have 4096 at most",
            "`inputs` tokens + `max_new_tokens` must be <= 4096",
        ];
        for message in by_message {
            let error = json!({ "message": message, "type": "invalid_request_error", "code": null });
            assert_eq!(told(400, &error), Some(Refusal::ContextWindow), "{message}");
        }
        let coded = json!({ "message": "no", "code": "context_length_exceeded" });
        assert_eq!(told(400, &coded), Some(Refusal::ContextWindow));
        let typed = json!({ "message": "no", "code": 400, "type": "exceed_context_size_error" });
        assert_eq!(told(400, &typed), Some(Refusal::ContextWindow));
    }

    #[test]
    fn what_a_vendor_does_not_want_is_known_from_code_or_words() {
        let errors = [
            json!({ "message": "filtered", "code": "content_filter" }),
            json!({ "message": "no", "code": null, "innererror": { "code": "ResponsibleAIPolicyViolation" } }),
            json!({ "message": "no", "code": "content_policy_violation" }),
            json!({ "message": "Output blocked by content filtering policy", "type": "invalid_request_error" }),
            json!({ "message": "It triggered Azure OpenAI's content management policy." }),
        ];
        for error in errors {
            assert_eq!(told(400, &error), Some(Refusal::ContentPolicy), "{error}");
        }
        let moderated = json!({ "message": "This model requires moderation and your input was flagged" });
        assert_eq!(told(403, &moderated), Some(Refusal::ContentPolicy));
    }

    #[test]
    fn that_there_is_no_such_model_is_known_from_every_vendor_s_words() {
        let unknown = |error: &Value| is_unknown_model(StatusCode::BAD_REQUEST, error);
        let errors = [
            json!({ "message": "no", "code": "model_not_found" }),
            json!({ "message": "The API deployment for this resource does not exist.", "code": "DeploymentNotFound" }),
            json!({ "message": "The model `x` has been decommissioned", "type": "invalid_request_error", "code": "model_decommissioned" }),
            json!({ "message": "Invalid model: x", "type": "invalid_model", "code": "1500" }),
            json!({ "message": "Model Not Exist", "type": "invalid_request_error", "code": "invalid_request_error" }),
            json!({ "message": "a/b is not a valid model ID", "code": 400 }),
            json!({ "message": "The model `x` does not exist.", "type": "NotFoundError", "code": 404 }),
            json!({ "message": "Invocation of model ID x with on-demand throughput isn't supported.", "code": "ValidationException" }),
            json!({ "message": "Publisher Model `p/x` is not servable in region us-east5.", "code": "failed_precondition" }),
        ];
        for error in errors {
            assert!(unknown(&error), "{error}");
        }
        for error in [
            json!({ "message": "The model does not support images", "code": "invalid_value" }),
            json!({ "message": "messages[0].file_id does not exist", "code": "file_not_found" }),
            json!({ "message": "temperature is out of range", "code": "ValidationException" }),
        ] {
            assert!(!unknown(&error), "{error}");
        }
        let forbidden = json!({ "message": "no access", "code": "model_not_found" });
        assert!(!is_unknown_model(StatusCode::FORBIDDEN, &forbidden), "it may be this key alone");
    }

    #[test]
    fn other_errors_are_no_refusal_of_this_kind() {
        let wrong = json!({ "message": "temperature: must be at most 2", "type": "invalid_request_error" });
        assert_eq!(told(400, &wrong), None);
        assert_eq!(told(400, &json!("context_length_exceeded")), None);
        assert_eq!(told(500, &json!({ "code": "context_length_exceeded" })), None);
        assert_eq!(told(429, &json!({ "message": "Request too large for model" })), None);
    }
}
