//! From a plan to the first content of an answer: ask, pass over who is left alone, fall back, ask again.
//!
//! Until the first content nothing has been sent to the client, so a failing target costs time and nothing else.

use std::time::Duration;

use tokio::time::Instant;

use super::Target;
use super::answer::{Answer, Chunks};
use super::asking::Asking;
use super::credentials::Choice;
use super::failure::{Blame, Failure, Next};
use super::health::Attempt;
use super::plan::{Plan, Step};
use crate::breaker::Standing;
use crate::chat::request::ChatRequest;
use crate::error::ApiError;

/// A target of the plan, and what became of it in this request.
struct Entry {
    step: Step,
    /// The credentials that it was asked with in this round.
    with: Vec<usize>,
    /// It was asked.
    asked: bool,
    /// It is not to be asked again.
    never: bool,
}

impl From<Step> for Entry {
    fn from(step: Step) -> Self {
        Self { step, with: Vec::new(), asked: false, never: false }
    }
}

/// One request on its way through its targets.
struct Run<'a> {
    asking: &'a Asking<'a>,
    request: &'a ChatRequest,
    begun: Instant,
    deadline: Instant,
    /// The deadline is the client's: that it passed says nothing about a target.
    hurried: bool,
    entries: Vec<Entry>,
    plan: Plan,
    log: Vec<String>,
    attempts: u32,
    /// Targets beside the first that were asked.
    fallbacks: u32,
    last: Option<Target>,
    /// The budget for asking again was spent.
    denied: bool,
    telling: Option<Failure>,
}

/// What to do after an attempt.
enum Then {
    /// The same target, with another credential.
    Same,
    /// The next target.
    Next,
    /// From the beginning, since the plan has changed.
    Anew,
}

impl Asking<'_> {
    /// Asks the targets of a request until one begins to answer. Who failed too often or asked to be left alone is passed over
    /// while there are others.
    ///
    /// # Errors
    /// [`ApiError::Provider`] if a provider refuses the request itself, [`ApiError::TargetsFailed`] if none answers.
    pub async fn first_answer(&self, targets: &[Target], request: &ChatRequest) -> Result<Answer, ApiError> {
        let plan = self.routes.plan(&request.model, &request.facts(), targets, false);
        let mut run = Run::new(self, request, plan);
        for round in 0..=request.rounds(self.retry.rounds) {
            let before = run.attempts;
            for last_resort in [false, true] {
                if let Some(answer) = run.pass(last_resort, round > 0).await? {
                    return Ok(answer);
                }
            }
            if run.denied && run.attempts == before {
                break;
            }
            run.pause(round).await?;
        }
        Err(run.end(None))
    }

    /// Exponential with jitter: between half of the pause and all of it, so that clients do not come back in step.
    fn backoff(&self, round: u32) -> Duration {
        let full =
            self.retry.backoff.0.saturating_mul(2_u32.saturating_pow(round)).min(self.retry.max_backoff.0);
        full.mul_f64(0.5 + fastrand::f64() / 2.0)
    }
}

impl<'a> Run<'a> {
    fn new(asking: &'a Asking<'a>, request: &'a ChatRequest, mut plan: Plan) -> Self {
        let begun = Instant::now();
        let total = asking.timeouts.total.0;
        let own = request.patience().filter(|patience| *patience < total);
        let entries = std::mem::take(&mut plan.steps).into_iter().map(Entry::from).collect();
        plan.budget.request(begun.into_std());
        Self {
            asking,
            request,
            begun,
            deadline: begun + own.unwrap_or(total),
            hurried: own.is_some(),
            entries,
            plan,
            log: Vec::new(),
            attempts: 0,
            fallbacks: 0,
            last: None,
            denied: false,
            telling: None,
        }
    }

    /// Asks those that can be asked. `last_resort`: those whose breaker is open and that were not asked yet. `again`: they all
    /// were asked before.
    async fn pass(&mut self, last_resort: bool, again: bool) -> Result<Option<Answer>, ApiError> {
        let mut at = 0;
        while at < self.entries.len() {
            let Some((attempt, credential)) = self.enter(at, last_resort, again) else {
                at += 1;
                continue;
            };
            if Instant::now() >= self.deadline {
                let failure = self.telling.take().unwrap_or(Failure::Timeout("total"));
                return Err(failure.into_error(std::mem::take(&mut self.log), None));
            }
            match self.attempt(at, credential, attempt).await {
                Ok(answer) => return Ok(Some(answer)),
                Err(failure) => match self.after(at, credential, failure)? {
                    Then::Same => {}
                    Then::Next => at += 1,
                    Then::Anew => at = 0,
                },
            }
        }
        Ok(None)
    }

    /// The right to ask a target now, and with what; none if it is passed over.
    fn enter(&mut self, at: usize, last_resort: bool, again: bool) -> Option<(Attempt, usize)> {
        let now = std::time::Instant::now();
        let first = self.attempts == 0;
        let entry = &self.entries[at];
        if entry.never || (last_resort && entry.asked) {
            return None;
        }
        let credentials = &entry.step.target.provider.credentials;
        let Choice::Use(credential) = credentials.choose(&entry.step.state, &entry.with, now) else {
            return None;
        };
        let attempt = entry.step.attempt(self.request.stream, last_resort, now)?;
        let is_free = first || !(last_resort || (again && entry.asked));
        if !is_free && !self.plan.budget.retry(now) {
            self.denied = true;
            self.asking.metrics.retry_budget_spent();
            return None;
        }
        Some((attempt, credential))
    }

    async fn attempt(
        &mut self,
        at: usize,
        credential: usize,
        mut attempt: Attempt,
    ) -> Result<Answer, Failure> {
        let entry = &mut self.entries[at];
        let target = entry.step.target.clone();
        (entry.asked, self.attempts) = (true, self.attempts + 1);
        entry.with.push(credential);
        if self.last.as_ref().is_some_and(|last| !last.is(&target)) {
            self.fallbacks += 1;
            self.asking.metrics.fallback();
        }
        self.last = Some(target.clone());
        let until = (self.first_content(at, &attempt), self.deadline);
        let tried = self.asking.attempt((&target, credential), self.request, until).await;
        let now = std::time::Instant::now();
        match tried {
            Ok((mut chunks, dropped)) => {
                let entry = &self.entries[at];
                entry.step.state.cooldowns.forget(credential);
                target.provider.credentials.accepted(credential);
                self.asking.metrics.attempt(&target.provider.name, "ok");
                attempt.began(now);
                chunks.watch(attempt);
                Ok(self.answer(target, dropped, chunks))
            }
            Err(failure) => {
                let hurried = self.hurried && Instant::now() >= self.deadline;
                match failure.blame() {
                    Blame::Target if !(hurried && matches!(failure, Failure::Timeout(_))) => {
                        attempt.failed(now);
                    }
                    Blame::Request => attempt.succeeded(now),
                    Blame::Target | Blame::Credential | Blame::Nobody => attempt.excused(),
                }
                Err(failure)
            }
        }
    }

    /// Until when the first content must be there.
    fn first_content(&self, at: usize, attempt: &Attempt) -> Instant {
        let (now, usual) = (Instant::now(), self.asking.timeouts.until_first_byte(self.request.stream));
        let standing = |entry: &Entry| entry.step.standing(now.into_std());
        let mut others = self.entries.iter().skip(at + 1).filter(|entry| !entry.never);
        let patience = attempt
            .patience(now.into_std())
            .filter(|_| others.any(|entry| standing(entry) == Standing::Closed));
        (now + patience.map_or(usual, |patience| patience.min(usual))).min(self.deadline)
    }

    fn answer(&self, target: Target, dropped: Vec<String>, chunks: Chunks) -> Answer {
        let (attempts, fallbacks, waited) = (self.attempts, self.fallbacks, self.begun.elapsed());
        Answer { target, attempts, fallbacks, waited, dropped, chunks }
    }

    /// What follows from a failure.
    fn after(&mut self, at: usize, credential: usize, failure: Failure) -> Result<Then, ApiError> {
        let entry = &mut self.entries[at];
        self.asking.note(&entry.step.target, &failure, &mut self.log);
        failure.cool(&entry.step, credential, std::time::Instant::now());
        if let Some(refusal) = failure.refusal()
            && let Some(steps) = take(&mut self.plan, refusal)
        {
            // Those that refused it are not asked again, nor are their like.
            let refused: Vec<Target> = self
                .entries
                .iter()
                .filter(|entry| entry.asked)
                .map(|entry| entry.step.target.clone())
                .collect();
            self.entries = steps.into_iter().map(Entry::from).collect();
            self.entries.retain(|entry| !refused.iter().any(|target| target.is(&entry.step.target)));
            if self.entries.is_empty() {
                return Err(failure.into_error(std::mem::take(&mut self.log), None));
            }
            self.telling = Some(failure);
            return Ok(Then::Anew);
        }
        let next = failure.next();
        if next == Next::Stop {
            return Err(failure.into_error(std::mem::take(&mut self.log), None));
        }
        let of_credential = failure.blame() == Blame::Credential;
        let another = of_credential && {
            let credentials = &entry.step.target.provider.credentials;
            let now = std::time::Instant::now();
            matches!(credentials.choose(&entry.step.state, &entry.with, now), Choice::Use(_))
        };
        entry.never = next == Next::Never && !another;
        if self.telling.as_ref().is_none_or(|other| failure.weight() >= other.weight()) {
            self.telling = Some(failure);
        }
        Ok(if another { Then::Same } else { Then::Next })
    }

    /// Waits for the next round.
    async fn pause(&mut self, round: u32) -> Result<(), ApiError> {
        let now = Instant::now();
        for entry in &mut self.entries {
            entry.with.clear();
        }
        let open = |entry: &Entry| entry.step.breaker(now.into_std()) == Standing::Open;
        let left_alone = self.entries.iter().filter(|entry| !entry.never && !open(entry)).map(|entry| {
            let credentials = &entry.step.target.provider.credentials;
            match credentials.choose(&entry.step.state, &[], now.into_std()) {
                Choice::Wait(until) => until.saturating_duration_since(now.into_std()),
                Choice::Use(_) | Choice::Nothing => Duration::ZERO,
            }
        });
        let Some(left_alone) = left_alone.min() else { return Err(self.end(None)) };
        let pause = left_alone.max(self.asking.backoff(round));
        let too_long = pause > self.asking.retry.max_backoff.0 || now + pause >= self.deadline;
        if too_long || round == self.request.rounds(self.asking.retry.rounds) {
            return Err(self.end((!left_alone.is_zero()).then_some(left_alone)));
        }
        tokio::time::sleep(pause).await;
        Ok(())
    }

    /// No target answered.
    fn end(&mut self, wait: Option<Duration>) -> ApiError {
        let mut log = std::mem::take(&mut self.log);
        if log.is_empty() {
            log.extend(self.entries.iter().map(|entry| format!("{}: left_alone", entry.step.target.name())));
        }
        self.telling.take().unwrap_or(Failure::LeftAlone).into_error(log, wait)
    }
}

/// Who is asked after this refusal; once.
fn take(plan: &mut Plan, refusal: super::plan::Refusal) -> Option<Vec<Step>> {
    let at = plan.instead.iter().position(|(other, _)| *other == refusal)?;
    Some(plan.instead.swap_remove(at).1)
}

#[cfg(test)]
mod tests {
    use super::super::Routes;
    use super::super::catalogue::Catalogue;
    use super::*;
    use crate::client_api::openai_chat::parse;
    use crate::config::{RetrySection, Span, TimeoutSection};
    use crate::ledger::Prices;
    use crate::telemetry::metrics::Metrics;
    use crate::upstream::Upstream;
    use bytes::Bytes;

    #[tokio::test]
    async fn whoever_has_no_time_left_to_ask_in_ran_out_of_time() {
        let yaml = "providers: {a: {kind: ollama, base_url: 'http://127.0.0.1:1/v1'}}";
        let config = crate::config::parse(yaml, "test").unwrap();
        let (catalogue, prices) = (Catalogue::shipped().unwrap(), Prices::shipped().unwrap());
        let (routes, _) = Routes::build(&config, &catalogue, &prices, None, &|_| None).unwrap();
        let timeouts = TimeoutSection { total: Span::seconds(0), ..TimeoutSection::default() };
        let asking = Asking {
            routes: &routes,
            upstream: &Upstream::new(Duration::from_secs(1)),
            timeouts: &timeouts,
            retry: &RetrySection::default(),
            max_answer: 1024,
            metrics: &Metrics::default(),
            audit: None,
        };
        let body = r#"{"model":"a/m","messages":[{"role":"user","content":"Hi"}]}"#;
        let request = parse(&Bytes::from_static(body.as_bytes())).ok().unwrap();
        let targets = routes.resolve("a/m").unwrap();
        let error = asking.first_answer(&targets, &request).await.err().unwrap();
        assert_eq!(error.status(), 504, "{error}");
    }
}
