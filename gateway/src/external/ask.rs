//! One question to one guard: sent only if nothing that was redacted stands in it, answered in time and within bounds, or failed.

use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use sluice_guardrails::proof::{Kind as SpotKind, Spot};

use super::presidio::texts as presidio_texts;
use super::{Failure, Kind, Outside, Question, Verdict};
use crate::chat::LARGE_BODY;
use crate::upstream::{Check, Destination, Outgoing, Unsent, Upstream};

impl Outside {
    pub(super) async fn ask(
        &self,
        upstream: &Upstream,
        question: &Arc<Question>,
    ) -> Result<Verdict, Failure> {
        if !self.kind.wants(question) {
            return Ok(Verdict::Allow);
        }
        let pass = self.breaker.enter(Instant::now()).ok_or(Failure::Open)?;
        // Our own mistakes are none of its failures: the pass is dropped.
        let outgoing = self.outgoing(question).await?;
        let answered = tokio::time::timeout(self.timeout, self.exchange(upstream, outgoing)).await;
        let verdict = match answered.unwrap_or(Err(Failure::Timeout)) {
            Ok(answer) => self.kind.read(answer, question).await,
            Err(failure) => Err(failure),
        };
        match &verdict {
            Ok(_) => pass.succeeded(),
            Err(_) => pass.failed(Instant::now()),
        }
        verdict
    }

    /// What is sent.
    pub(super) async fn outgoing(&self, question: &Arc<Question>) -> Result<Outgoing, Failure> {
        let (uri, fixed) = (self.uri.clone(), self.address.clone());
        let to = Destination::of_guard(uri, fixed, self.authorization.clone(), self.in_house);
        let (kind, asked) = (self.kind.clone(), Arc::clone(question));
        let make = move || -> Result<Outgoing, Unsent> {
            let body = Bytes::from(kind.encode(&asked).to_string());
            let signature = match &kind {
                Kind::Webhook(webhook) => {
                    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
                    webhook.sign(now, &body)
                }
                Kind::Presidio(_) | Kind::Moderation(_) => None,
            };
            let check =
                Check { secured: asked.secured.as_deref(), protocol: &|spot: &Spot<'_>| kind.is_own(spot) };
            let outgoing = Outgoing::json(to, "application/json", &body, &check)?;
            Ok(match signature {
                Some(headers) => outgoing.signed(headers),
                None => outgoing,
            })
        };
        let size: usize = question.passages.iter().map(|passage| passage.text.len()).sum();
        off_thread(size, make).await?.map_err(|unsent| match unsent {
            Unsent::Leak(leak) => Failure::Leak(leak.entity),
            Unsent::OutOfHouse(_) | Unsent::Unsigned(_) | Unsent::Malformed(_) => Failure::Unsendable,
        })
    }

    /// Sends it and reads the answer, within bounds. Redirects are answers like any other, and not the right ones.
    async fn exchange(&self, upstream: &Upstream, outgoing: Outgoing) -> Result<Bytes, Failure> {
        let response = upstream.send(outgoing).await.map_err(|_| Failure::Connection)?;
        if !response.status().is_success() {
            return Err(Failure::Status(response.status().as_u16()));
        }
        let (mut body, mut bytes) = (response.into_body(), BytesMut::new());
        while let Some(frame) = body.frame().await {
            if let Ok(data) = frame.map_err(|_| Failure::Connection)?.into_data() {
                bytes.extend_from_slice(&data);
            }
            if bytes.len() as u64 > self.max_answer {
                return Err(Failure::TooLarge);
            }
        }
        Ok(bytes.freeze())
    }
}

impl Kind {
    /// Whether there is anything to ask about.
    fn wants(&self, question: &Question) -> bool {
        match self {
            Self::Presidio(_) => !presidio_texts(question).is_empty(),
            Self::Moderation(_) => !question.passages.is_empty(),
            Self::Webhook(_) => true,
        }
    }

    fn encode(&self, question: &Question) -> serde_json::Value {
        match self {
            Self::Presidio(analyzer) => analyzer.encode(question),
            Self::Moderation(moderation) => moderation.encode(question),
            Self::Webhook(_) => super::webhook::encode(question),
        }
    }

    async fn read(&self, answer: Bytes, question: &Arc<Question>) -> Result<Verdict, Failure> {
        let (kind, asked) = (self.clone(), Arc::clone(question));
        off_thread(answer.len(), move || match &kind {
            Self::Presidio(analyzer) => analyzer.decode(&answer, &asked),
            Self::Moderation(moderation) => moderation.decode(&answer, &asked),
            Self::Webhook(_) => super::webhook::decode(&answer, &asked),
        })
        .await?
    }

    /// Whether this is a word of ours, which stands in what is sent whoever wrote the texts.
    fn is_own(&self, spot: &Spot<'_>) -> bool {
        if spot.depth == 1 && spot.kind == SpotKind::Key {
            return true;
        }
        match self {
            // Everything but the texts, which stand in an array under their name.
            Self::Presidio(_) => spot.key != "text",
            Self::Moderation(_) => spot.key != "input",
            Self::Webhook(_) => super::webhook::is_own(spot),
        }
    }
}

/// Large pieces of work are done where they keep no other client waiting.
async fn off_thread<T: Send + 'static>(
    size: usize,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Failure> {
    if size < LARGE_BODY {
        return Ok(work());
    }
    tokio::task::spawn_blocking(work).await.map_err(|_| Failure::Unsendable)
}
