//! `/{provider}/*`: a provider's own API, with its credential in the place of the client's, its text scanned and its usage counted.

mod address;
mod answer;
mod errors;
mod events;
mod frames;
mod headers;
mod usage;

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, Uri, header};
use hyper::body::Incoming;
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};

use crate::aliases;
use crate::body::{self, Body};
use crate::chat::foreign::{self, Asked};
use crate::chat::{self, Call};
use crate::client_api::{Format, anthropic_messages};
use crate::config::DropParams;
use crate::endpoints::refuse_foreign_pages;
use crate::error::ApiError;
use crate::gateway::Core;
use crate::keys::{CREDENTIAL_HEADERS, Caller};
use crate::raw::Raw;
use crate::route::passed::{About, Outcome, Passed};
use crate::route::{Provider, Routes, Target};
use crate::wire::json as strict;
use address::Address;
use errors::Shape;

/// What stands for all models of a provider, and for what is about none.
const ANY: &str = "*";

/// A path that leads into a provider's own API.
pub struct Passage {
    provider: Arc<Provider>,
    /// The path behind the provider's name.
    rest: String,
}

/// What a body is to the guards.
enum Said {
    /// There is none.
    Nothing,
    /// A JSON object, which they read.
    Fields(Map<String, Value>),
    /// Something else.
    Unreadable,
}

impl Passage {
    /// The passage of a path whose first segment is a provider's name.
    pub fn of(routes: &Routes, path: &str) -> Option<Self> {
        let inner = path.strip_prefix('/')?;
        let (name, _) = inner.split_once('/')?;
        let provider = routes.provider(&percent_decode_str(name).decode_utf8().ok()?)?;
        Some(Self { provider: Arc::clone(provider), rest: inner[name.len()..].to_owned() })
    }

    fn shape(&self) -> Shape {
        Shape::of(self.provider.api.name())
    }

    /// An error of ours as the provider's clients read one.
    pub fn error(&self, error: &ApiError, id: &str) -> Response<Body> {
        self.shape().response(error, id)
    }

    /// The chat that a request is, if it is one of a format that has a pipeline of its own.
    fn chat(&self, method: &Method, address: &Address) -> Option<(Format, bool)> {
        let plain = self.provider.quirks.path.is_none() && *method == Method::POST;
        let query = address.query.as_str();
        match (self.provider.api.name(), address.path.as_str()) {
            _ if !plain => None,
            ("openai", "/chat/completions") if query.is_empty() => Some((Format::OpenAiChat, false)),
            ("anthropic", "/messages") => Some((Format::AnthropicMessages, false)),
            ("anthropic", "/messages/count_tokens") => Some((Format::AnthropicMessages, true)),
            _ => None,
        }
    }
}

/// Answers a request to a provider's own API.
///
/// # Errors
/// [`ApiError`], to be told by [`Passage::error`].
pub async fn answer(
    core: &Arc<Core>,
    passage: &Passage,
    request: Request<Incoming>,
    id: String,
    started: Instant,
) -> Result<Response<Body>, ApiError> {
    let gateway = &core.gateway;
    let (mut head, incoming) = request.into_parts();
    let query = head.uri.query().unwrap_or_default();
    with_key(&mut head.headers, query);
    let caller = gateway.keys.authenticate(&head.headers)?;
    if gateway.keys.are_none() {
        refuse_foreign_pages(&head.headers)?;
    }
    aliases::translate(&mut head.headers)?;
    if head.headers.get(header::CONTENT_ENCODING).is_some_and(|value| value != "identity") {
        let message = "send the body uncompressed: 'content-encoding' is not supported";
        return Err(ApiError::invalid("content-encoding", message));
    }
    let provider = &passage.provider;
    let address = Address::of(&provider.base_url, &passage.rest, query)?.for_api(provider.api.name());
    if format!("{}{}", address.fixed, address.rest()).parse::<Uri>().is_err() {
        return Err(ApiError::invalid("path", "the path can't be sent"));
    }
    let body = body::read(incoming, gateway.limits.max_body.0, gateway.timeouts.client.0).await?;
    let chat = passage.chat(&head.method, &address);
    let format = chat.map_or(Format::OpenAiChat, |(format, _)| format);
    let policy = gateway.policy.current();
    let addressed = chat.map(|chat| addressed(&passage.provider, chat, &body)).transpose()?;
    let (called, addressed) = addressed.unzip();
    let call = Arc::new(Call { caller, id, headers: head.headers, format, called, started, policy });
    match (chat, addressed) {
        (Some((_, counts)), Some(body)) => {
            if counts {
                return Box::pin(chat::count::count(core, &call, body)).await;
            }
            chat::chat(core, &call, body).await
        }
        _ => pass(core, &call, passage, (head.method, address), body).await,
    }
}

/// Puts a key that came in the query where keys are looked for, unless one is there.
fn with_key(headers: &mut HeaderMap, query: &str) {
    let there = CREDENTIAL_HEADERS.iter().any(|name| headers.contains_key(*name));
    if there || aliases::key(headers).is_some() {
        return;
    }
    if let Some(value) = address::key(query).and_then(|key| HeaderValue::from_str(&key).ok()) {
        headers.insert("x-goog-api-key", value);
    }
}

/// What the client calls the model, and the same chat for that model of this provider.
fn addressed(
    provider: &Provider,
    (format, counts): (Format, bool),
    body: &Raw<Bytes>,
) -> Result<(Arc<str>, Raw<Bytes>), ApiError> {
    let body = body.expose();
    let request = if counts { anthropic_messages::parse(body, false) } else { format.api().parse(body) }?;
    let model = format!("{}/{}", provider.name, request.model);
    let body = Raw::new(request.respelled(Some(&model), &Map::new(), &|_| true));
    Ok((request.model.into(), body))
}

async fn pass(
    core: &Arc<Core>,
    call: &Arc<Call>,
    passage: &Passage,
    (method, address): (Method, Address),
    body: Raw<Bytes>,
) -> Result<Response<Body>, ApiError> {
    let said = read(&body)?;
    let fields = match &said {
        Said::Fields(fields) => Some(fields),
        Said::Nothing | Said::Unreadable => None,
    };
    let named = fields.and_then(|fields| fields.get("model")?.as_str());
    let target = target(&call.caller, &passage.provider, address.models(named))?;
    let guard = call.guard(&target.name());
    if address.texts().iter().any(|text| foreign::is_remarkable(guard, text)) {
        let message = "the path or query holds what looks like personal data or a secret";
        return Err(ApiError::invalid("path", message));
    }
    if matches!(said, Said::Unreadable) && !target.provider.in_house && !foreign::is_idle(guard) {
        let message = "the guardrails can read JSON objects only: another body goes to a provider with 'in_house: true', or where they have nothing to do";
        return Err(ApiError::Unsupported { param: "body".to_owned(), message: message.to_owned() });
    }
    let asked_for = |name: &str| fields.and_then(|fields| fields.get(name)?.as_bool()) == Some(true);
    let stream = address.streams() || asked_for("stream");
    let fields = match said {
        Said::Fields(fields) if !fields.is_empty() => Some(fields),
        _ => None,
    };
    let (body, passed) = (body.expose().clone(), headers::sent(&call.headers));
    let asked = Asked { fields, body, stream, passed: passed.clone(), target: target.clone() };
    let mut cleared = foreign::guard(core, call, asked).await?;
    let (patience, retries) = foreign::limits(call)?;
    let passed = Passed {
        about: about(&target, &address, stream),
        method,
        address: (address.fixed.clone(), address.rest()),
        headers: passed,
        body: std::mem::take(&mut cleared.body),
        secured: cleared.secured.clone(),
        stream,
        patience,
        retries,
        target,
    };
    let Outcome { answered, attempts, waited, deadline } = foreign::ask(core, &passed).await?;
    let (target, shape) = (&passed.target, passage.shape());
    let way = answer::Way { core, call, target, shape, attempts, waited, deadline };
    way.back(answered, cleared).await
}

/// What a request is about, by where it goes.
fn about(target: &Target, address: &Address, stream: bool) -> About {
    if target.model == ANY {
        return About::Account;
    }
    let how = target.provider.encoding(&target.model, stream, target.drop_params);
    let plain = |path: &str| percent_decode_str(path).decode_utf8_lossy().into_owned();
    let is_chat = Format::ALL.iter().any(|format| {
        let path = target.api(*format).path(&how).unwrap_or_default();
        plain(path.split('?').next().unwrap_or_default()) == plain(&address.path)
    });
    if is_chat { About::Chat } else { About::Model }
}

fn read(body: &Raw<Bytes>) -> Result<Said, ApiError> {
    let bytes = body.expose();
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Ok(Said::Nothing);
    }
    if bytes.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'{') {
        return Ok(Said::Unreadable);
    }
    match strict::parse(bytes).map_err(ApiError::Json)? {
        Value::Object(fields) => Ok(Said::Fields(fields)),
        _ => Ok(Said::Unreadable),
    }
}

/// Who is asked, if the caller may: by the models that are asked for, else for all of the provider's.
fn target(caller: &Caller, provider: &Arc<Provider>, mut models: Vec<String>) -> Result<Target, ApiError> {
    if models.is_empty() {
        models.push(ANY.to_owned());
    }
    for model in &models {
        let name = format!("{}/{model}", provider.name);
        if !caller.may_use(&name) {
            return Err(ApiError::ModelNotAllowed { model: name.chars().take(200).collect() });
        }
    }
    let model = models.swap_remove(0);
    Ok(Target { provider: Arc::clone(provider), model, drop_params: DropParams::default() })
}
