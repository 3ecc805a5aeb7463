//! From a plan to the first content of an answer: ask, pass over who is left alone, fall back, ask again.
//!
//! Until the first content nothing has been sent to the client, so a failing target costs time and nothing else.

use std::time::Duration;

use tokio::time::Instant;

use super::Target;
use super::answer::Answer;
use super::asking::Asking;
use super::cooldown::{Rest, Why};
use super::credentials::Choice;
use super::failure::{Blame, CONTENT_FILTER, Failure, LEFT_ALONE, Next};
use super::health::Attempt;
use super::plan::{Plan, Refusal, Step};
use crate::breaker::Standing;
use crate::chat::request::ChatRequest;
use crate::error::ApiError;
use crate::wire::usage::Usage;

/// What targets are asked.
pub(super) trait Question {
    /// An answer that begins.
    type Answer;
    /// What is kept of a failure for whoever asks.
    type Kept;

    /// Whether the answer is a stream.
    fn stream(&self) -> bool;

    /// The rounds of asking again, of those that are configured.
    fn rounds(&self, configured: u32) -> u32;

    /// How long the client waits at most, if it said so.
    fn patience(&self) -> Option<Duration>;

    /// Asks a target once, with the credential of this number. The answer begins by the first time, and is over by the second.
    fn ask(
        &self,
        asking: &Asking<'_>,
        asked: (&Target, usize),
        until: (Instant, Instant),
    ) -> impl Future<Output = Result<Self::Answer, Failed<Self::Kept>>> + Send;

    /// Its answer begins: from now on the attempt learns how it fares. In one word, what it is.
    fn began(answer: &mut Self::Answer, attempt: Attempt) -> String;

    /// Whether its vendor did not want to give the answer, of which nothing was passed on yet.
    fn is_filtered(_answer: &Self::Answer) -> bool {
        false
    }

    /// What an answer took that nobody gets, as far as its provider says so.
    fn usage(answer: Self::Answer) -> impl Future<Output = Option<Usage>> + Send {
        drop(answer);
        async { None }
    }

    /// Where a share of all requests, by weight, is asked with each credential: which share this one is of.
    fn chance(&self) -> f64 {
        fastrand::f64()
    }

    /// Whether the failure tells something of the credential beyond this question.
    fn cools(&self, _failure: &Failure) -> bool {
        true
    }
}

/// An attempt that failed.
pub(super) struct Failed<K> {
    pub(super) failure: Failure,
    pub(super) kept: K,
    /// Whatever follows from such a failure, nobody is to be asked again: it may be done already.
    pub(super) last: bool,
}

/// How it ended if nobody answered.
pub(super) struct End<K> {
    /// What tells the client most.
    failure: Failure,
    /// What was kept of that, if somebody was asked.
    pub(super) kept: Option<K>,
    /// Every attempt and how it failed.
    log: Vec<String>,
    /// When asking again makes sense.
    wait: Option<Duration>,
}

/// An answer that begins, and how it came about.
pub(super) struct Begun<A> {
    /// Who answers.
    pub(super) target: Target,
    /// How many attempts it took, this one included.
    pub(super) attempts: u32,
    /// How often another target had to be asked.
    pub(super) fallbacks: u32,
    /// How long it took, with every failed attempt and pause.
    pub(super) waited: Duration,
    pub(super) answer: A,
}

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
struct Run<'a, Q: Question> {
    asking: &'a Asking<'a>,
    question: &'a Q,
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
    telling: Option<(Failure, Q::Kept)>,
    /// An answer that a vendor's policy ended: others are asked instead, but it is better than none.
    aside: Option<Begun<Q::Answer>>,
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
        let begun = self.ask_all(request, plan).await.map_err(|end| end.into_error())?;
        let Begun { target, attempts, fallbacks, waited, answer: (chunks, dropped) } = begun;
        Ok(Answer { target, attempts, fallbacks, waited, dropped, chunks })
    }

    /// Asks the targets of a plan until one begins to answer.
    pub(super) async fn ask_all<Q: Question>(
        &self,
        question: &Q,
        plan: Plan,
    ) -> Result<Begun<Q::Answer>, Box<End<Q::Kept>>> {
        let mut run = Run::new(self, question, plan);
        let ended = run.rounds().await;
        match run.aside.take() {
            Some(aside) if ended.is_err() => {
                let (attempts, fallbacks, waited) = (run.attempts, run.fallbacks, run.begun.elapsed());
                Ok(Begun { attempts, fallbacks, waited, ..aside })
            }
            Some(Begun { target, answer, .. }) => {
                self.paid_in_vain(&target, Q::usage(answer).await);
                ended
            }
            None => ended,
        }
    }

    /// Counts an answer that was set aside: its provider bills for it, though another one answers.
    fn paid_in_vain(&self, target: &Target, usage: Option<Usage>) {
        let provider = &target.provider;
        let cost = usage.as_ref().and_then(|usage| self.prices.cost(&provider.kind, &target.model, usage));
        self.metrics.cost(cost);
        let usage = usage.unwrap_or_default();
        self.metrics.spent(&provider.name, &usage);
        tracing::info!(
            tried = target.name(),
            input_tokens = usage.prompt_tokens,
            output_tokens = usage.completion_tokens,
            cost_nanodollars = cost,
            "an answer that its vendor's policy ended was paid for, and another target answers"
        );
    }

    /// Exponential with jitter: between half of the pause and all of it, so that clients do not come back in step.
    fn backoff(&self, round: u32) -> Duration {
        let full =
            self.retry.backoff.0.saturating_mul(2_u32.saturating_pow(round)).min(self.retry.max_backoff.0);
        full.mul_f64(0.5 + fastrand::f64() / 2.0)
    }
}

impl<K> End<K> {
    /// How often somebody was asked.
    pub(super) fn attempts(&self) -> u32 {
        u32::try_from(self.log.len()).unwrap_or(u32::MAX)
    }

    /// What the client is told.
    pub(super) fn into_error(self) -> ApiError {
        self.failure.into_error(self.log, self.wait)
    }
}

impl<'a, Q: Question> Run<'a, Q> {
    fn new(asking: &'a Asking<'a>, question: &'a Q, mut plan: Plan) -> Self {
        let begun = Instant::now();
        let total = asking.timeouts.total.0;
        let own = question.patience().filter(|patience| *patience < total);
        let entries = std::mem::take(&mut plan.steps).into_iter().map(Entry::from).collect();
        plan.budget.request(begun.into_std());
        Self {
            asking,
            question,
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
            aside: None,
        }
    }

    async fn rounds(&mut self) -> Result<Begun<Q::Answer>, Box<End<Q::Kept>>> {
        for round in 0..=self.question.rounds(self.asking.retry.rounds) {
            let before = self.attempts;
            for last_resort in [false, true] {
                if let Some(begun) = self.pass(last_resort, round > 0).await? {
                    return Ok(begun);
                }
            }
            if self.denied && self.attempts == before {
                break;
            }
            self.pause(round).await?;
        }
        Err(self.end())
    }

    /// Asks those that can be asked. `last_resort`: those whose breaker is open and that were not asked yet. `again`: they all
    /// were asked before.
    async fn pass(
        &mut self,
        last_resort: bool,
        again: bool,
    ) -> Result<Option<Begun<Q::Answer>>, Box<End<Q::Kept>>> {
        let mut at = 0;
        while at < self.entries.len() {
            let Some((attempt, credential)) = self.enter(at, last_resort, again) else {
                at += 1;
                continue;
            };
            if Instant::now() >= self.deadline {
                let (failure, kept) = match self.telling.take() {
                    Some((failure, kept)) => (failure, Some(kept)),
                    None => (Failure::Timeout("total"), None),
                };
                return Err(self.end_with(failure, kept, None));
            }
            match self.attempt(at, credential, attempt).await {
                Ok(begun) => {
                    let others = Q::is_filtered(&begun.answer) && self.instead(Refusal::ContentPolicy);
                    if !others || self.entries.is_empty() {
                        return Ok(Some(begun));
                    }
                    self.log.push(format!("{}: {CONTENT_FILTER}", begun.target.name()));
                    self.aside = Some(begun);
                    at = 0;
                }
                Err(failed) => match self.after(at, credential, failed)? {
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
        let Choice::Use(credential) =
            credentials.choose(&entry.step.state, &entry.with, now, self.question.chance())
        else {
            return None;
        };
        let attempt = entry.step.attempt(self.question.stream(), last_resort, now)?;
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
        attempt: Attempt,
    ) -> Result<Begun<Q::Answer>, Failed<Q::Kept>> {
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
        let tried = self.question.ask(self.asking, (&target, credential), until).await;
        let now = std::time::Instant::now();
        match tried {
            Ok(mut answer) => {
                let entry = &self.entries[at];
                entry.step.state.cooldowns.forget(credential);
                target.provider.credentials.accepted(credential);
                let outcome = Q::began(&mut answer, attempt);
                self.asking.metrics.attempt(&target.provider.name, &outcome);
                let (attempts, fallbacks, waited) = (self.attempts, self.fallbacks, self.begun.elapsed());
                Ok(Begun { target, attempts, fallbacks, waited, answer })
            }
            Err(failed) => {
                let hurried = self.hurried && Instant::now() >= self.deadline;
                match failed.failure.blame() {
                    Blame::Target if !(hurried && matches!(failed.failure, Failure::Timeout(_))) => {
                        attempt.failed(now);
                    }
                    Blame::Request => attempt.succeeded(now),
                    Blame::Target | Blame::Credential | Blame::Nobody => attempt.excused(),
                }
                Err(failed)
            }
        }
    }

    /// Until when the first content must be there.
    fn first_content(&self, at: usize, attempt: &Attempt) -> Instant {
        let (now, usual) = (Instant::now(), self.asking.timeouts.until_first_byte(self.question.stream()));
        let standing = |entry: &Entry| entry.step.standing(now.into_std());
        let mut others = self.entries.iter().skip(at + 1).filter(|entry| !entry.never);
        let patience = attempt
            .patience(now.into_std())
            .filter(|_| others.any(|entry| standing(entry) == Standing::Closed));
        (now + patience.map_or(usual, |patience| patience.min(usual))).min(self.deadline)
    }

    /// What follows from a failure.
    fn after(
        &mut self,
        at: usize,
        credential: usize,
        failed: Failed<Q::Kept>,
    ) -> Result<Then, Box<End<Q::Kept>>> {
        let Failed { failure, kept, last } = failed;
        let entry = &mut self.entries[at];
        self.asking.note(&entry.step.target, &failure, &mut self.log);
        if self.question.cools(&failure) {
            failure.cool(&entry.step, credential, std::time::Instant::now());
        }
        if failure.refusal().is_some_and(|refusal| self.instead(refusal)) {
            if self.entries.is_empty() {
                return Err(self.end_with(failure, Some(kept), None));
            }
            self.telling = Some((failure, kept));
            return Ok(Then::Anew);
        }
        let next = failure.next();
        if next == Next::Stop || last {
            return Err(self.end_with(failure, Some(kept), None));
        }
        let entry = &mut self.entries[at];
        let of_credential = failure.blame() == Blame::Credential;
        let another = of_credential && {
            let credentials = &entry.step.target.provider.credentials;
            let now = std::time::Instant::now();
            matches!(credentials.choose(&entry.step.state, &entry.with, now, 0.0), Choice::Use(_))
        };
        entry.never = next == Next::Never && !another;
        if self.telling.as_ref().is_none_or(|(other, _)| failure.weight() >= other.weight()) {
            self.telling = Some((failure, kept));
        }
        Ok(if another { Then::Same } else { Then::Next })
    }

    /// Whether there is somebody to ask after this refusal: then they are the ones who are asked. Those that refused it are not asked
    /// again, nor are their like, so that nobody may be left.
    fn instead(&mut self, refusal: Refusal) -> bool {
        let Some(at) = self.plan.instead.iter().position(|(other, _)| *other == refusal) else {
            return false;
        };
        let steps = self.plan.instead.swap_remove(at).1;
        let before = std::mem::take(&mut self.entries);
        let refused =
            |step: &Step| before.iter().any(|entry| entry.asked && entry.step.target.is(&step.target));
        self.entries = steps.into_iter().filter(|step| !refused(step)).map(Entry::from).collect();
        true
    }

    /// Waits for the next round.
    async fn pause(&mut self, round: u32) -> Result<(), Box<End<Q::Kept>>> {
        let now = Instant::now();
        for entry in &mut self.entries {
            entry.with.clear();
        }
        let open = |entry: &Entry| entry.step.breaker(now.into_std()) == Standing::Open;
        let left_alone = self.entries.iter().filter(|entry| !entry.never && !open(entry)).map(|entry| {
            let credentials = &entry.step.target.provider.credentials;
            match credentials.choose(&entry.step.state, &[], now.into_std(), 0.0) {
                Choice::Wait(until) => until.saturating_duration_since(now.into_std()),
                Choice::Use(_) | Choice::Nothing => Duration::ZERO,
            }
        });
        let Some(left_alone) = left_alone.min() else { return Err(self.end()) };
        let pause = left_alone.max(self.asking.backoff(round));
        let too_long = pause > self.asking.retry.max_backoff.0 || now + pause >= self.deadline;
        if too_long || round == self.question.rounds(self.asking.retry.rounds) {
            return Err(self.end());
        }
        tokio::time::sleep(pause).await;
        Ok(())
    }

    /// No target answered.
    fn end(&mut self) -> Box<End<Q::Kept>> {
        let now = std::time::Instant::now();
        let left = || self.entries.iter().filter(|entry| !entry.never);
        let rest = left().filter_map(|entry| entry.step.rest(now)).reduce(Rest::or);
        let is_ready =
            |entry: &Entry| entry.step.rest(now).is_none() && entry.step.breaker(now) != Standing::Open;
        // Of use only where nobody could be asked sooner, and where time alone mends it.
        let wait = rest.filter(|rest| rest.why.passes() && !left().any(is_ready));
        let wait = wait.map(|rest| rest.until.saturating_duration_since(now));
        let resting = Failure::LeftAlone(rest.map_or(Why::Busy, |rest| rest.why));
        match self.telling.take() {
            Some((failure, kept)) if rest.is_none() || failure.weight() >= resting.weight() => {
                self.end_with(failure, Some(kept), wait)
            }
            _ => {
                let lines = self.entries.iter().filter(|entry| !entry.asked).map(|entry| {
                    let why = entry.step.rest(now).map_or("", |rest| rest.why.word());
                    format!("{}: {LEFT_ALONE} {why}", entry.step.target.name()).trim_end().to_owned()
                });
                self.log.extend(lines);
                self.end_with(resting, None, wait)
            }
        }
    }

    fn end_with(
        &mut self,
        failure: Failure,
        kept: Option<Q::Kept>,
        wait: Option<Duration>,
    ) -> Box<End<Q::Kept>> {
        Box::new(End { failure, kept, log: std::mem::take(&mut self.log), wait })
    }
}

#[cfg(test)]
mod tests;
