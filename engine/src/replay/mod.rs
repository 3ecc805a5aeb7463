//! Replays a labelled stream of prompts through the very cache that serves requests, and counts what was right.
//!
//! The caller gives the vectors. Upstream is simulated: it answers with the prompt's intent, and with its id as well where
//! the answer can't be shared.

mod boost;
pub mod fit;
pub mod materials;
pub mod pairs;
pub mod stats;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::cache::{CacheConfig, Deciding, Decision, Insert, Question, SemanticCache, Ticket};
use crate::clock::ManualClock;
use crate::decide::prior::Shipped;
use crate::decide::{Policy, Tightening};
use crate::entry::{Entry, Hit, Tier};
use crate::features::Profile;
use crate::normalise;
use crate::partition::{KeyHasher, PartitionKey};
use stats::{Interval, clopper_pearson};

/// One prompt of a stream.
#[derive(Clone, Serialize, Deserialize)]
pub struct Line {
    /// Its name.
    pub id: String,
    /// What was asked.
    pub prompt: String,
    /// What was meant: prompts of one intent have the same answer.
    pub intent: String,
    /// Whether the answer may be given to other prompts of the intent. It may if nothing is said.
    #[serde(default = "yes")]
    pub shareable: bool,
}

fn yes() -> bool {
    true
}

/// Two prompts of a stream that don't mean the same, whatever their intents say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Different {
    /// One prompt.
    pub a_id: String,
    /// The other.
    pub b_id: String,
    /// How that is known. `labelled_non_duplicate` and `look_alike_entity_differs` are certain.
    pub kind: String,
}

/// How to replay.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// The rule.
    pub policy: Policy,
    /// The order of the stream: 0 is the file's, others are shuffled.
    pub seed: u64,
    /// The chance that a comparison of two answers comes out wrong.
    pub judge_error: f64,
    /// Whether the cache is told that chance; else it has to measure it.
    pub judge_error_known: bool,
    /// Whether half of the intents get another answer halfway through.
    pub drift: bool,
    /// Candidates that are only learnt from before the first hit.
    pub shadow: u64,
    /// Serve every candidate at least this probable instead of letting the cache find the cut: for sweeps in hindsight.
    pub cut: Option<f64>,
}

impl Default for Options {
    fn default() -> Self {
        let policy = Policy::default();
        Self {
            policy,
            seed: 0,
            judge_error: 0.0,
            judge_error_known: false,
            drift: false,
            shadow: 0,
            cut: None,
        }
    }
}

/// What became of one request.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Served {
    /// Which one.
    pub id: String,
    /// `hit`, `miss` or `shadow`.
    pub outcome: &'static str,
    /// How a hit was found.
    pub tier: Option<&'static str>,
    /// Whose answer was served.
    pub matched_id: Option<String>,
    /// Cosine similarity to the nearest prompt that has the answer.
    pub similarity: Option<f32>,
    /// The probability that it is right, as the cache thought.
    pub confidence: Option<f32>,
}

/// Hits by what they were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Requests.
    pub requests: u64,
    /// Hits with the right answer.
    pub right: u64,
    /// Hits with a wrong one.
    pub wrong: u64,
    /// Wrong ones among them that are so by a list of different prompts.
    pub certain_wrong: u64,
    /// Hits whose answer depends on more than the intent.
    pub uncounted: u64,
    /// Hits by exact or normalised key.
    pub exact: u64,
    /// Served hits that were asked upstream as well.
    pub spot_checks: u64,
}

impl Counts {
    /// All hits.
    pub fn hits(&self) -> u64 {
        self.right + self.wrong + self.uncounted
    }

    /// Share of the counted hits that was wrong, 0 without hits.
    pub fn false_hit_rate(&self) -> f64 {
        stats::share(self.wrong, self.right + self.wrong)
    }

    /// Its 95 % interval.
    pub fn false_hit_interval(&self) -> Interval {
        clopper_pearson(self.wrong, self.right + self.wrong, 0.95)
    }

    /// Right hits per request.
    pub fn right_rate(&self) -> f64 {
        stats::share(self.right, self.requests)
    }

    /// Requests answered wrongly.
    pub fn unsafe_rate(&self) -> f64 {
        stats::share(self.wrong, self.requests)
    }
}

/// The result of a replay.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// All together.
    pub total: Counts,
    /// The same for each tenth of the stream, in order.
    pub over_time: Vec<Counts>,
    /// What the cache believes at the end about its hits and about the judge.
    pub believed: Option<Believed>,
    /// What happened to each request, in the order served.
    #[serde(skip)]
    pub decisions: Vec<Served>,
    /// Time spent deciding (search and weighing), over all requests.
    #[serde(skip)]
    pub deciding: Duration,
}

/// What a cache found out by itself.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Believed {
    /// Share of recent hits that is wrong, by spot checks.
    pub false_hit_rate: f64,
    /// Its standard error.
    pub standard_error: f64,
    /// How often the judge errs.
    pub judge_error: f64,
}

/// A candidate as it was decided on, with the truth.
pub struct Observation<'a> {
    /// What spoke for it.
    pub ticket: &'a Ticket,
    /// Whether its answer was the one upstream gives.
    pub right: bool,
}

/// The stream's prompts in the order of `seed`.
pub fn order(count: usize, seed: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    if seed > 0 {
        fastrand::Rng::with_seed(seed).shuffle(&mut order);
    }
    order
}

struct Run<'a> {
    lines: &'a [Line],
    vectors: &'a [Vec<f32>],
    profiles: &'a [Profile],
    certain: &'a HashSet<(usize, usize)>,
    options: &'a Options,
    cache: SemanticCache,
    partition: PartitionKey,
    rng: fastrand::Rng,
    at: usize,
    length: usize,
    total: Counts,
    decisions: Vec<Served>,
    deciding: Duration,
}

/// A stream that is ready to be replayed many times.
pub struct Stream<'a> {
    lines: &'a [Line],
    vectors: &'a [Vec<f32>],
    profiles: Vec<Profile>,
    certain: HashSet<(usize, usize)>,
}

impl<'a> Stream<'a> {
    /// Reads the prompts once. `vectors` has the vector of each line.
    pub fn new(lines: &'a [Line], vectors: &'a [Vec<f32>], different: &[Different]) -> Self {
        let places: HashMap<&str, usize> =
            lines.iter().enumerate().map(|(at, line)| (line.id.as_str(), at)).collect();
        let sure = ["labelled_non_duplicate", "look_alike_entity_differs"];
        let certain = different
            .iter()
            .filter(|pair| sure.contains(&pair.kind.as_str()))
            .filter_map(|pair| Some((*places.get(pair.a_id.as_str())?, *places.get(pair.b_id.as_str())?)))
            .flat_map(|(a, b)| [(a, b), (b, a)])
            .collect();
        let profiles = lines.iter().map(|line| Profile::of(&line.prompt)).collect();
        Self { lines, vectors, profiles, certain }
    }

    /// What a line means.
    pub(crate) fn intent(&self, line: usize) -> &str {
        &self.lines[line].intent
    }

    /// Replays the lines of `order`, from an empty cache that knows `shipped`. `observe` sees every candidate.
    pub fn replay(
        &self,
        order: &[usize],
        options: &Options,
        shipped: &Shipped,
        observe: &mut dyn FnMut(&Observation<'_>),
    ) -> Report {
        let judge_error = options.judge_error_known.then_some(options.judge_error);
        let deciding =
            Deciding { policy: options.policy, shadow: options.shadow, judge_error, seed: options.seed };
        let clock = Arc::new(ManualClock::new(std::time::SystemTime::UNIX_EPOCH));
        let config = CacheConfig { max_bytes: 4 << 30, ..CacheConfig::default() };
        let cache = SemanticCache::with_clock(config, clock)
            .deciding(deciding)
            .knowing(shipped.clone())
            .with_cut(options.cut);
        let mut run = Run {
            lines: self.lines,
            vectors: self.vectors,
            profiles: &self.profiles,
            certain: &self.certain,
            options,
            cache,
            partition: KeyHasher::new(&[0; 32]).partition(),
            rng: fastrand::Rng::with_seed(options.seed ^ 0x5eed),
            at: 0,
            length: order.len(),
            total: Counts::default(),
            decisions: Vec::with_capacity(order.len()),
            deciding: Duration::ZERO,
        };
        let mut over_time: Vec<Counts> = Vec::new();
        for (at, &line) in order.iter().enumerate() {
            run.at = at;
            let before = run.total;
            run.request(line, observe);
            if at * 10 / order.len() == over_time.len() {
                over_time.push(Counts::default());
            }
            if let Some(part) = over_time.last_mut() {
                part.add(&run.total, &before);
            }
        }
        let believed = run.cache.reports().first().map(|report| Believed {
            false_hit_rate: report.estimate.rate,
            standard_error: report.estimate.error,
            judge_error: report.judge_error,
        });
        Report { total: run.total, over_time, believed, decisions: run.decisions, deciding: run.deciding }
    }
}

impl Counts {
    fn add(&mut self, after: &Self, before: &Self) {
        self.requests += after.requests - before.requests;
        self.right += after.right - before.right;
        self.wrong += after.wrong - before.wrong;
        self.certain_wrong += after.certain_wrong - before.certain_wrong;
        self.uncounted += after.uncounted - before.uncounted;
        self.exact += after.exact - before.exact;
        self.spot_checks += after.spot_checks - before.spot_checks;
    }
}

impl Run<'_> {
    /// What upstream answers now.
    fn answer(&self, line: usize) -> String {
        let Line { id, intent, shareable, .. } = &self.lines[line];
        let changes = blake3::hash(intent.as_bytes()).as_bytes()[0].is_multiple_of(2);
        let late = self.options.drift && changes && self.at * 2 >= self.length;
        let version = if late { "new" } else { "old" };
        if *shareable { format!("{intent} {version}") } else { format!("{intent} {version} {id}") }
    }

    fn insert(&self, line: usize) -> Insert {
        let prompt = self.lines[line].prompt.as_str();
        let normal = normalise(prompt);
        Insert {
            partition: self.partition,
            exact: self.partition.exact(&[b"prompt", prompt.as_bytes()]),
            normalised: normal.map(|form| self.partition.exact(&[b"normal", form.as_bytes()])),
            vector: self.vectors.get(line).cloned(),
            payload: Bytes::from(format!("{line} {}", self.answer(line))),
            ttl: None,
            owner: 0,
            note: Bytes::new(),
            tags: Vec::new(),
        }
    }

    fn request(&mut self, line: usize, observe: &mut dyn FnMut(&Observation<'_>)) {
        self.total.requests += 1;
        let any = |_: &Entry| true;
        let insert = self.insert(line);
        let equal = self.cache.exact(&insert.exact, &any);
        let normal = insert.normalised.as_ref();
        if let Some(hit) = equal.or_else(|| self.cache.normalised(normal?, &any)) {
            self.total.exact += 1;
            return self.count(line, &hit, None);
        }
        let question = Question {
            partition: &self.partition,
            vector: self.vectors.get(line).map_or(&[], Vec::as_slice),
            profile: &self.profiles[line],
            tightening: Tightening::default(),
            policy: None,
            shadow: None,
        };
        let begun = Instant::now();
        let decision = self.cache.look_up(&question, &any);
        self.deciding += begun.elapsed();
        match decision {
            Decision::Serve { hit, confidence, id, spot_check } => {
                if let Some(ticket) = self.cache.ticket(id) {
                    observe(&Observation { ticket: &ticket, right: self.truth(line, ticket.candidate()) });
                }
                self.count(line, &hit, Some(confidence));
                if let Some(ticket) = spot_check {
                    self.total.spot_checks += 1;
                    self.remember(line, insert, Some(&ticket));
                }
            }
            Decision::Miss { candidate, would_serve } => {
                if let Some(ticket) = &candidate {
                    observe(&Observation { ticket, right: self.truth(line, ticket.candidate()) });
                }
                self.decisions.push(Served {
                    id: self.lines[line].id.clone(),
                    outcome: if would_serve { "shadow" } else { "miss" },
                    tier: None,
                    matched_id: None,
                    similarity: candidate.as_ref().map(Ticket::similarity),
                    confidence: candidate.as_ref().map(Ticket::confidence),
                });
                self.remember(line, insert, candidate.as_ref());
            }
        }
    }

    /// Whether the entry holds what upstream would answer now.
    fn truth(&self, line: usize, entry: &Entry) -> bool {
        said(entry.payload()).1 == self.answer(line)
    }

    fn remember(&mut self, line: usize, insert: Insert, ticket: Option<&Ticket>) {
        let fresh = self.answer(line);
        let (rng, error) = (&mut self.rng, self.options.judge_error);
        let mut same = |answer: &crate::entry::Answer| {
            let right = said(&answer.payload).1 == fresh;
            Some(right != (error > 0.0 && rng.f64() < error))
        };
        self.cache.remember(insert, self.profiles[line].clone(), ticket, &mut same);
    }

    /// Counts a hit.
    fn count(&mut self, line: usize, hit: &Hit, confidence: Option<f32>) {
        let (source, served) = said(hit.entry.payload());
        let (asked, remembered) = (&self.lines[line], &self.lines[source]);
        let listed = self.certain.contains(&(line, source));
        if served == self.answer(line) && !listed {
            self.total.right += 1;
        } else if asked.intent == remembered.intent && !asked.shareable && !listed {
            self.total.uncounted += 1;
        } else {
            self.total.wrong += 1;
            self.total.certain_wrong += u64::from(listed);
        }
        self.decisions.push(Served {
            id: asked.id.clone(),
            outcome: "hit",
            tier: Some(hit.tier.as_str()),
            matched_id: Some(remembered.id.clone()),
            similarity: Some(hit.similarity).filter(|_| hit.tier == Tier::Semantic),
            confidence,
        });
    }
}

/// Which line's answer a payload is, and what it says.
fn said(payload: &Bytes) -> (usize, &str) {
    let text = std::str::from_utf8(payload).unwrap_or_default();
    let (line, answer) = text.split_once(' ').unwrap_or_default();
    (line.parse().unwrap_or_default(), answer)
}
