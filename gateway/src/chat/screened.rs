//! An answer read by the policy's rules for answers, before anybody else has it: who asked, who follows, the cache.

use std::sync::Arc;

use sluice_guardrails::answers::Prompt;
use sluice_guardrails::{Action, Blocked, Guard};

use super::heard::Heard;
use super::request::ChatRequest;
use super::{Call, LARGE_BODY, audited};
use crate::audit::Subject;
use crate::config::Phase;
use crate::gateway::Core;
use crate::relay::Answers;
use crate::route::Target;
use crate::route::answer::{Broken, Chunks};
use crate::wire::chat::Chunk;

/// How answers to a call are read.
pub(super) struct Screening {
    pub(super) core: Arc<Core>,
    pub(super) call: Arc<Call>,
    /// What reads them, if the policy wants that.
    guard: Option<Arc<Guard>>,
    subject: Option<Arc<Subject>>,
    prompt: Option<Prompt>,
    heard: Option<Box<Heard>>,
}

/// The chunks of an answer as they may go on. What was decided is written down when it is dropped, however far it came.
pub(super) struct Screened {
    chunks: Chunks,
    reading: Option<Box<Reading>>,
    /// What others are to hear before anybody has any of it.
    heard: Option<Box<Heard>>,
    done: bool,
}

/// An answer that is read by a policy's rules.
struct Reading {
    answers: Answers,
    screening: Screening,
}

impl Screening {
    /// For answers to this call, by the policy it came under.
    pub(super) fn new(core: &Arc<Core>, call: &Arc<Call>, request: &ChatRequest, targets: &[Target]) -> Self {
        let guard = call.guard(&request.model).answers().map(Arc::clone);
        let output = guard.as_ref().map(|guard| guard.output());
        let audited = core.gateway.audit.is_some() && output.is_some();
        let external = core.gateway.external.is_asked(Phase::Output);
        let subject = (audited || external).then(|| audited::subject(call, &request.model, targets));
        let heard = subject.clone().filter(|_| external);
        let heard = heard.map(|subject| Box::new(Heard::new(core, subject, request.secured().cloned())));
        let compared = output.is_some_and(|output| output.system_prompt != Action::Off);
        let prompt = compared.then(|| Prompt::new(request.system_texts().into_iter())).flatten();
        Self { core: Arc::clone(core), call: Arc::clone(call), guard, subject, prompt, heard }
    }

    /// Reads one answer.
    pub(super) fn read(mut self, chunks: Chunks) -> Screened {
        let heard = self.heard.take();
        let answers = self.guard.take().map(|guard| Answers::new(guard, self.prompt.take()));
        let reading = answers.map(|answers| Box::new(Reading { answers, screening: self }));
        Screened { chunks, reading, heard, done: false }
    }

    /// Counts and writes down what was decided.
    fn note(&self, answers: Answers) {
        let gateway = &self.core.gateway;
        let decisions = answers.decisions();
        for decision in &decisions {
            let (entity, action) = (decision.entity, decision.action.name());
            if decision.shadow {
                gateway.metrics.shadowed(entity, action, 1);
            } else {
                gateway.metrics.found_in_answer(entity, action);
            }
        }
        if let (Some(audit), Some(subject)) = (&gateway.audit, &self.subject)
            && audit.record(audited::answer_events(subject, &decisions)).is_err()
        {
            tracing::error!(
                request_id = subject.request_id,
                "decisions about an answer are missing from the audit log"
            );
        }
    }
}

impl Screened {
    /// The next chunk; none when the answer is whole.
    ///
    /// # Errors
    /// [`Broken`], once.
    pub(super) async fn next(&mut self) -> Result<Option<Chunk>, Broken> {
        while let Some(chunk) = self.read().await? {
            match &mut self.heard {
                // May be dropped while it waits: what came is kept.
                Some(heard) => heard.push(&chunk),
                None => return Ok(Some(chunk)),
            }
        }
        let Some(heard) = &self.heard else { return Ok(None) };
        let judged = heard.judged().await.map_err(|error| Broken::Refused(Box::new(error)));
        self.heard = None;
        judged.map(Some)
    }

    /// The next chunk as our own rules have it.
    async fn read(&mut self) -> Result<Option<Chunk>, Broken> {
        if self.done {
            return Ok(None);
        }
        let next = self.chunks.next().await?;
        let Some(Reading { answers, .. }) = self.reading.as_deref_mut() else {
            self.done = next.is_none();
            return Ok(next);
        };
        let blocked = |Blocked { entity, .. }| Broken::Blocked(entity);
        match next {
            Some(chunk) => answers.push(chunk).map(Some).map_err(blocked),
            None => {
                self.done = true;
                answers.finish().map_err(blocked)
            }
        }
    }
}

impl From<Chunks> for Screened {
    fn from(chunks: Chunks) -> Self {
        Self { chunks, reading: None, heard: None, done: false }
    }
}

impl Drop for Screened {
    fn drop(&mut self) {
        let Some(reading) = self.reading.take() else { return };
        let Reading { answers, screening } = *reading;
        let is_large = answers.size() >= LARGE_BODY;
        let note = move || screening.note(answers);
        match tokio::runtime::Handle::try_current() {
            // Reading it again takes milliseconds, which the other clients of this thread would wait.
            Ok(runtime) if is_large => drop(runtime.spawn_blocking(note)),
            _ => note(),
        }
    }
}
