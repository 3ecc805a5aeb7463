//! Where a pass-through request goes: the path within the provider's API, and the query without what is ours.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use crate::error::ApiError;

/// Google's clients may send the key there.
const KEY: &str = "key";

/// What a provider does with a model that its request names, so that a key for that model is enough: ends of paths.
const OF_BODY: &[&str] = &[
    "/chat/completions",
    "/completions",
    "/responses",
    "/responses/input_tokens",
    "/embeddings",
    "/messages",
    "/messages/count_tokens",
    "/moderations",
    "/images/generations",
    "/audio/speech",
    "/rerank",
];

/// What is done with a model that the path names.
const OF_PATH: &[&str] = &[
    "converse",
    "converse-stream",
    "invoke",
    "invoke-with-response-stream",
    "chat/completions",
    "completions",
    "embeddings",
];
const OF_GEMINI: &[&str] = &[
    "generateContent",
    "streamGenerateContent",
    "countTokens",
    "embedContent",
    "batchEmbedContents",
    "predict",
    "rawPredict",
    "streamRawPredict",
];

/// A path and query, as they are sent.
#[derive(Debug, PartialEq)]
pub(super) struct Address {
    /// What of the whole address is the operator's.
    pub(super) fixed: String,
    /// The path within the API, encoded as it came.
    pub(super) path: String,
    /// The query, without the client's key.
    pub(super) query: String,
}

/// The key in a query, if one is there.
pub(super) fn key(query: &str) -> Option<String> {
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let (_, value) = pairs.find(|(name, _)| decoded(name) == KEY)?;
    Some(decoded(&value.replace('+', " ")).into_owned())
}

fn decoded(text: &str) -> Cow<'_, str> {
    percent_decode_str(text).decode_utf8_lossy()
}

impl Address {
    /// The address of what a client asks of a provider: `rest` is its path behind the provider's name.
    ///
    /// # Errors
    /// [`ApiError::Invalid`] for a path that could lead elsewhere.
    pub(super) fn of(base_url: &str, rest: &str, query: &str) -> Result<Self, ApiError> {
        check(rest)?;
        let origin_end = base_url.find("://").map_or(0, |at| at + 3);
        let origin_end = base_url[origin_end..].find('/').map_or(base_url.len(), |at| origin_end + at);
        let base_path = &base_url[origin_end..];
        let inner = rest.strip_prefix(base_path).filter(|inner| inner.is_empty() || inner.starts_with('/'));
        let path = inner.unwrap_or(rest).to_owned();
        let kept = query.split('&').filter(|pair| {
            let name = pair.split('=').next().unwrap_or_default();
            !pair.is_empty() && decoded(name) != KEY
        });
        let query = kept.collect::<Vec<_>>().join("&");
        Ok(Self { fixed: base_url.to_owned(), path, query })
    }

    /// As this provider API has it: on Vertex AI models stand below their publisher, which is Google where nobody is named.
    pub(super) fn for_api(mut self, api: &str) -> Self {
        if api == "vertex" && self.path.starts_with("/models/") {
            self.path.insert_str(0, "/publishers/google");
        }
        self
    }

    /// What follows the operator's part.
    pub(super) fn rest(&self) -> String {
        if self.query.is_empty() { self.path.clone() } else { format!("{}?{}", self.path, self.query) }
    }

    /// Everything that the client says in it, in plain letters.
    pub(super) fn texts(&self) -> Vec<String> {
        let parts = self.path.split('/').map(|part| decoded(part).into_owned());
        let query = self.query.split(['&', '=']).map(|part| decoded(&part.replace('+', " ")).into_owned());
        // Also as one, over whose borders something may reach.
        let whole = [decoded(&self.path).into_owned(), decoded(&self.query).into_owned()];
        parts.chain(query).chain(whole).filter(|text| !text.is_empty()).collect()
    }

    /// The models that are asked, where that is all that the request is about; `said`: what its body calls the model.
    pub(super) fn models(&self, said: Option<&str>) -> Vec<String> {
        let mut models = Vec::new();
        let segments: Vec<&str> = self.path.split('/').collect();
        for (at, pair) in segments.windows(2).enumerate() {
            let behind = segments.get(at + 2..).unwrap_or_default().join("/");
            let name = decoded(pair[1]).into_owned();
            match pair[0] {
                "models" if behind.is_empty() => {
                    let named = name.rsplit_once(':').filter(|(_, verb)| OF_GEMINI.contains(verb));
                    models.extend(named.map(|(model, _)| model.to_owned()));
                }
                "model" | "deployments" if OF_PATH.contains(&behind.as_str()) => models.push(name),
                _ => {}
            }
        }
        if !models.is_empty() || OF_BODY.iter().any(|end| self.path.ends_with(end)) {
            models.extend(said.map(|model| model.strip_prefix("models/").unwrap_or(model).to_owned()));
        }
        models.dedup();
        models
    }

    /// Whether a stream is asked for by the address.
    pub(super) fn streams(&self) -> bool {
        let last = self.path.rsplit('/').next().unwrap_or_default();
        last.contains(":stream") || last.ends_with("-stream")
    }
}

/// A path of plain segments, none of which leads up or hides another.
fn check(path: &str) -> Result<(), ApiError> {
    let wrong = |what: &str| Err(ApiError::invalid("path", format!("the path must not hold {what}")));
    if !path.is_ascii() {
        return wrong("letters that are not ASCII");
    }
    for (at, segment) in path.split('/').enumerate() {
        let plain = decoded(segment);
        if matches!(plain.as_ref(), "." | "..") || plain.starts_with("..;") {
            return wrong("'.' or '..' as a segment");
        }
        if plain.contains(['/', '\\', '%']) || segment.contains('\\') {
            return wrong("an encoded slash, a backslash or a doubly encoded character");
        }
        if plain.chars().any(char::is_control) || plain.contains('\u{fffd}') {
            return wrong("control characters or what is no UTF-8");
        }
        let inner = at > 0 && path.split('/').nth(at + 1).is_some();
        if inner && segment.is_empty() {
            return wrong("an empty segment");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOGLE: &str = "https://generativelanguage.googleapis.com/v1beta";

    fn sent(base: &str, rest: &str, query: &str) -> String {
        let address = Address::of(base, rest, query).unwrap();
        address.fixed.clone() + &address.rest()
    }

    #[test]
    fn the_base_url_s_own_path_is_not_repeated() {
        let wanted = format!("{GOOGLE}/models/m:generateContent");
        assert_eq!(sent(GOOGLE, "/v1beta/models/m:generateContent", ""), wanted);
        assert_eq!(sent(GOOGLE, "/models/m:generateContent", ""), wanted);
        assert_eq!(sent(GOOGLE, "/v1beta2/x", ""), format!("{GOOGLE}/v1beta2/x"));
        assert_eq!(sent("http://127.0.0.1:1", "/v1/files", "a=b"), "http://127.0.0.1:1/v1/files?a=b");
    }

    #[test]
    fn on_vertex_models_are_google_s_unless_a_publisher_is_named() {
        let base = "https://aiplatform.googleapis.com/v1/projects/p/locations/global";
        let sent = |rest: &str, api| {
            let address = Address::of(base, rest, "alt=sse").unwrap().for_api(api);
            assert_eq!(address.models(None), ["m"], "{rest}");
            address.fixed.clone() + &address.rest()
        };
        let wanted = format!("{base}/publishers/google/models/m:generateContent?alt=sse");
        for rest in [
            "/models/m:generateContent",
            "/publishers/google/models/m:generateContent",
            "/v1/projects/p/locations/global/models/m:generateContent",
            "/v1/projects/p/locations/global/publishers/google/models/m:generateContent",
        ] {
            assert_eq!(sent(rest, "vertex"), wanted, "{rest}");
        }
        let claude = "/publishers/anthropic/models/m:rawPredict";
        assert_eq!(sent(claude, "vertex"), format!("{base}{claude}?alt=sse"));
        let plain = "/models/m:generateContent";
        assert_eq!(sent(plain, "gemini"), format!("{base}{plain}?alt=sse"));
    }

    #[test]
    fn the_key_stays_here_and_the_rest_of_the_query_goes_on() {
        let query = "alt=sse&key=sk-1&%6bey=sk-2&pageSize=5";
        assert_eq!(sent(GOOGLE, "/models", query), format!("{GOOGLE}/models?alt=sse&pageSize=5"));
        assert_eq!(key(query).as_deref(), Some("sk-1"));
        assert_eq!(key("%6Bey=a%2Bb").as_deref(), Some("a+b"));
        assert_eq!(key("monkey=1&a"), None);
    }

    #[test]
    fn what_could_lead_elsewhere_is_refused() {
        for path in [
            "/..",
            "/a/../b",
            "/%2e%2e/b",
            "/.%2E/b",
            "/a%2fb",
            "/a%2F..%2Fb",
            "/a%5cb",
            "/a\\b",
            "/%252e%252e/b",
            "//evil.example/x",
            "/a//b",
            "/a%00b",
            "/a/./b",
            "/..;/b",
            "/%c0%ae%c0%ae/b",
        ] {
            assert!(matches!(Address::of(GOOGLE, path, ""), Err(ApiError::Invalid { .. })), "{path}");
        }
        assert!(Address::of(GOOGLE, "/model/a.b-v1%3A0/converse", "").is_ok());
        assert!(Address::of(GOOGLE, "/files/", "").is_ok());
    }

    #[test]
    fn the_models_are_those_that_are_asked() {
        let models = |path: &str, said| Address::of("https://x.example", path, "").unwrap().models(said);
        assert_eq!(
            models("/v1beta/models/gemini-2.5-flash:streamGenerateContent", None),
            ["gemini-2.5-flash"]
        );
        assert_eq!(models("/models/a:countTokens", Some("models/b")), ["a", "b"]);
        assert_eq!(models("/model/a.b-v1%3A0/converse", None), ["a.b-v1:0"]);
        assert_eq!(models("/openai/deployments/d/chat/completions", Some("m")), ["d", "m"]);
        assert_eq!(models("/v1/responses", Some("gpt-5")), ["gpt-5"]);
        assert_eq!(models("/v1/fine_tuning/jobs", Some("gpt-5")), [""; 0], "it is about more than a model");
        assert_eq!(models("/models/a:delete", None), [""; 0]);
        assert_eq!(models("/models/a", None), [""; 0]);
    }
}
