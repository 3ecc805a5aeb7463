//! Answers by the path alone, for programs that nobody can tell what they will be answered: a conversation's name stands in it.

use serde_json::{Value, json};

use super::cases::{self, Case};
use super::{Answer, pieces};

/// What a provider of this format answers to `/ANYTHING/NAME/…`: `plain` and the like with the conversation's answer, `error.rate_limit` and the like with
/// the refusal, `parsed` as `structured_output`.
///
/// # Panics
/// If there is nothing of this name.
pub(super) fn answer(format: &str, path: &str, body: &Value) -> Answer {
    let name = name(path);
    if let Some(error) = name.strip_prefix("error.") {
        let refusal = cases::refusals(format).into_iter().find(|refusal| refusal.name == error);
        return Answer::of_refusal(&refusal.unwrap_or_else(|| panic!("{format} has no refusal {error}")));
    }
    let case = case(name);
    if path.ends_with("/count_tokens") {
        let counted = json!({ "input_tokens": case.answer(format)["usage"]["input_tokens"] }).to_string();
        return Answer { status: 200, headers: Vec::new(), pieces: pieces(counted.as_bytes()) }
            .typed("application/json");
    }
    let by_path = path.contains(":streamGenerateContent") || path.ends_with("/converse-stream");
    Answer::of_case(format, &case, by_path || body["stream"] == true)
}

/// The conversation's name in a path.
pub fn name(path: &str) -> &str {
    path.split('/').nth(2).unwrap_or_default()
}

/// The conversation of this name.
///
/// # Panics
/// If there is none.
pub fn case(name: &str) -> Case {
    let folder = if name == "parsed" { "structured_output" } else { name };
    let case = cases::all().into_iter().find(|case| case.name == folder);
    case.unwrap_or_else(|| panic!("there is no conversation '{name}'"))
}
